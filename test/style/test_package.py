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

import subprocess
import sys

import pytest
from tree import ROOT

pytestmark = pytest.mark.real_programs

HEAVY = ('aiohttp', 'aiortc', 'asyncio', 'av', 'cv2', 'numpy', 'rclpy')
CORE = sorted(
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in (ROOT / 'teleop_webrtc_bridge' / 'core').rglob('*.py')
    if path.stem != '__init__'
)


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after these imports."""
    program = f'import sys, {", ".join(modules)}; print(*sys.modules)'
    found = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    return {name.partition('.')[0] for name in found.stdout.split()}


def test_importing_the_package_loads_neither_rclpy_nor_aiortc() -> None:
    loaded = loaded_by('teleop_webrtc_bridge')
    assert 'teleop_webrtc_bridge' in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_core_loads_neither_ros_nor_webrtc() -> None:
    assert 'teleop_webrtc_bridge.core.motion.command_gate' in CORE
    loaded = loaded_by(*CORE)
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ('module', 'absent'),
    [
        ('teleop_webrtc_bridge.broker.main', {'rclpy'}),
        ('teleop_webrtc_bridge.bridge.webrtc.__main__', {'rclpy'}),
        ('teleop_webrtc_bridge.bridge.ros.main', {'aiohttp', 'aiortc', 'av'}),
    ],
)
def test_each_half_loads_only_what_it_needs(module: str, absent: set[str]) -> None:
    loaded = loaded_by(module)
    assert loaded.isdisjoint(absent)
