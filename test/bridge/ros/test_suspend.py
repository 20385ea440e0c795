"""The real node after its process or its computer was suspended while the robot drove."""

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
import time

from driven_robot import driven_robot, FORWARD
from programs import wait_for
import pytest

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

ASLEEP_S = 2.0


@pytest.mark.parametrize('period_s', [0.02, 0.07])
async def test_after_its_sleep_the_first_thing_is_a_zero_and_motion_needs_neutral(
    tmp_path: Path, period_s: float
) -> None:
    """Fast commands fill the link at once; slow ones keep coming almost until the end."""
    async with driven_robot(tmp_path) as robot:
        probe = robot.probe
        # What is being published when the process stops is published when it continues.
        await robot.move_with_nothing_under_way()
        robot.bridge.process.send_signal(signal.SIGSTOP)
        # The key is held all the time, so that commands wait for the bridge.
        await robot.hold_for(FORWARD, ASLEEP_S, period_s=period_s, still=True)
        asleep = len(probe.commands)
        assert time.monotonic() - probe.commands[-1].arrival_s > ASLEEP_S / 2
        robot.bridge.process.send_signal(signal.SIGCONT)
        await robot.hold(
            FORWARD, lambda: len(probe.commands) > asleep, period_s=period_s, still=True
        )
        await robot.hold_for(FORWARD, 1.0, period_s=period_s, still=True)
        assert all(command.is_zero for command in probe.commands[asleep:])
        await robot.set_off()
        await asyncio.to_thread(wait_for, probe.standing, what='the zero after silence')
