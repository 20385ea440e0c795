"""Reads the package's description from setup.py."""

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

import setuptools  # provides distutils where Python has none
from tree import ROOT


def read_setup() -> setuptools.Distribution:
    """Return the arguments of setup(), without running it."""
    from distutils.core import run_setup

    before = Path.cwd()
    os.chdir(ROOT)
    try:
        return run_setup('setup.py', stop_after='init')
    finally:
        os.chdir(before)


def entry_points() -> dict[str, str]:
    """Return ``module:function`` of each executable."""
    scripts = read_setup().entry_points['console_scripts']
    return dict(script.split(' = ') for script in scripts)


def python_command(executable: str) -> str:
    """Return code for ``python -c`` that starts an executable without building the package."""
    module, function = entry_points()[executable].split(':')
    return f'import sys; from {module} import {function}; sys.exit({function}())'
