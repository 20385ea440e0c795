"""Network namespaces: whether they can be created here, and the prefix of their names."""

# Copyright 2026 The teleop_webrtc_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
from typing import Final

PREFIX: Final = 'teleop'
"""Prefix of their names; the pid of the process that creates them follows."""


def why_no_namespaces() -> str:
    """Return what is missing for network namespaces here; empty: nothing."""
    if os.geteuid() != 0:
        return 'network namespaces need root'
    if shutil.which('ip') is None:
        return 'network namespaces need the program ip (package iproute2)'
    if not Path('/dev/net/tun').exists():
        return 'the relay needs /dev/net/tun'
    name = f'{PREFIX}-{os.getpid()}-try'
    tried = subprocess.run(
        ['ip', 'netns', 'add', name], capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        return f'cannot create a network namespace: {tried.stderr.strip()}'
    subprocess.run(['ip', 'netns', 'delete', name], check=True)
    return ''
