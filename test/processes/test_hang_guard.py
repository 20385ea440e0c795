"""A process that hangs in C with the interpreter's lock ends all the same."""

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

import asyncio
from pathlib import Path
import signal
import subprocess
import sys

from driven_robot import driven_robot, FORWARD
from programs import ROOT, wait_for
import psutil
import pytest
from sensor_msgs.msg import Image
from small_camera import SmallCamera, VideoDiagnostics
from tree import SUPPORT

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

HANGING_BRIDGE = str(SUPPORT / 'hanging_bridge.py')
PATIENCE_S = 60.0

SLEEP_WITH_THE_LOCK = 'import ctypes; ctypes.PyDLL(None).sleep(600)'
SPIN_WITH_THE_LOCK = "import re; re.match('(a+)+$', 100 * 'a' + 'b')"
WORK = 'import time\nwhile time.process_time() < 2.0: pass'


def run(guard: str, then: str) -> subprocess.CompletedProcess[str]:
    code = f'from teleop_webrtc_bridge.processes import hang_guard\nhang_guard.{guard}\n{then}'
    return subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, timeout=PATIENCE_S, capture_output=True, text=True
    )


@pytest.mark.parametrize('status', [0, 1])
def test_a_process_exits_in_time_whatever_it_hangs_in(status: int) -> None:
    assert run(f'exit_within(0.2, {status})', SLEEP_WITH_THE_LOCK).returncode == status


def test_a_process_that_ends_in_time_has_its_own_status() -> None:
    assert run('exit_within(60.0, 0)', 'raise SystemExit(3)').returncode == 3


def test_a_process_that_spins_in_c_dies_and_says_where() -> None:
    ended = run('give_up_when_spinning(0.3)', SPIN_WITH_THE_LOCK)
    assert ended.returncode == -signal.SIGPROF
    assert 'Current thread' in ended.stderr
    assert 'in match' in ended.stderr


def test_a_process_that_works_hard_lives() -> None:
    ended = run('give_up_when_spinning(0.5)', WORK)
    assert (ended.returncode, ended.stderr) == (0, '')


async def test_a_bridge_whose_node_cannot_be_destroyed_stops_leaves_and_exits_with_0(
    tmp_path: Path,
) -> None:
    async with driven_robot(
        tmp_path, launcher=(sys.executable, HANGING_BRIDGE, 'spins_at_the_end', '-')
    ) as robot:
        await robot.set_off()
        assert await asyncio.to_thread(robot.bridge.end, signal.SIGTERM) == 0
        assert robot.probe.standing()
        assert await robot.person.robots() == []


async def test_a_bridge_that_hangs_while_it_drives_takes_its_webrtc_half_along(
    tmp_path: Path,
) -> None:
    hang = tmp_path / 'hang'
    launcher = (sys.executable, HANGING_BRIDGE, 'spins', str(hang))
    async with driven_robot(tmp_path, launcher=launcher) as robot:
        await robot.set_off()
        (half,) = psutil.Process(robot.bridge.pid).children()
        hang.touch()
        status = await asyncio.to_thread(robot.bridge.process.wait, PATIENCE_S)
        assert status == -signal.SIGPROF
        assert 'in hang' in robot.bridge.output()
        await asyncio.to_thread(wait_for, lambda: not half.is_running())
        async with asyncio.timeout(PATIENCE_S):
            while robot.person.can_drive:  # noqa: ASYNC110 - real processes have no event for it
                await asyncio.sleep(0.05)


def picture() -> Image:
    return Image(width=32, height=24, step=32, encoding='mono8', data=bytes(32 * 24))


async def test_a_bridge_in_which_no_image_comes_back_from_dds_drives_on_slowly_and_ends_in_time(
    tmp_path: Path,
) -> None:
    """The thread that takes images hangs; the other threads don't wait for it."""
    hang = tmp_path / 'hang'
    launcher = (sys.executable, HANGING_BRIDGE, 'take_hangs', str(hang))
    async with driven_robot(tmp_path, launcher=launcher) as robot:
        SmallCamera(robot.node, 'image', [picture()])
        said = VideoDiagnostics(robot.node)
        await robot.set_off()
        await robot.hold(FORWARD, lambda: said.message == 'receiving')
        hang.touch()
        await robot.hold(FORWARD, lambda: 'event=camera_stalled' in robot.bridge.output())
        await robot.hold(
            FORWARD, lambda: 0.0 < robot.probe.commands[-1].linear_x < FORWARD.linear_x
        )
        await robot.falls_silent()
        assert await asyncio.to_thread(robot.bridge.end, signal.SIGTERM) == 0
        assert await robot.person.robots() == []


async def test_a_bridge_whose_images_fail_as_nobody_expects_stops_and_says_so(
    tmp_path: Path,
) -> None:
    fail = tmp_path / 'fail'
    launcher = (sys.executable, HANGING_BRIDGE, 'take_raises', str(fail))
    async with driven_robot(tmp_path, launcher=launcher) as robot:
        SmallCamera(robot.node, 'image', [picture()])
        await robot.set_off()
        fail.touch()
        assert await asyncio.to_thread(robot.bridge.process.wait, PATIENCE_S) == 1
        assert 'a thread failed: LookupError' in robot.bridge.output()
        await asyncio.to_thread(wait_for, robot.probe.standing)
