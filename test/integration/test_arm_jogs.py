"""Jogs of an arm that arrive on the channel of the base's commands: real robot and broker."""

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
from collections.abc import Callable
import itertools
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from driven_robot import driven_robot, FORWARD, PATIENCE_S, PERIOD_S
import pytest

from teleop_webrtc_bridge.core.messages import Velocity

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

NEUTRAL_JOGS = 10
"""Zeros before the motion: the gate requires neutral first."""


async def test_jogs_of_an_arm_do_not_move_the_base_and_are_named(tmp_path: Path) -> None:
    async with driven_robot(tmp_path) as robot:
        gate: dict[str, str] = {}

        def take(array: DiagnosticArray) -> None:
            for status in array.status:
                if status.name.endswith(': command gate'):
                    gate.update({pair.key: pair.value for pair in status.values})

        async def jog(frame_id: str, condition: Callable[[], Any]) -> None:
            async with asyncio.timeout(PATIENCE_S):
                for number in itertools.count():
                    if condition() and number > 2 * NEUTRAL_JOGS:
                        return
                    velocity = Velocity() if number < NEUTRAL_JOGS else FORWARD
                    robot.person.drive(velocity, frame_id=frame_id)
                    await asyncio.sleep(PERIOD_S)

        robot.node.create_subscription(DiagnosticArray, '/diagnostics', take, 10)
        await jog('eef_twist_arm', lambda: 'event=command_refused' in robot.bridge.output())
        line = robot.bridge.wait_for_line('event=command_refused')
        assert 'frame_id="eef_twist_arm"' in line
        assert 'WARN' in line
        await jog('Right ', lambda: gate.get('refused_frame') == 'Right')
        assert int(gate['dropped_frame']) > NEUTRAL_JOGS
        assert all(command.is_zero for command in robot.probe.commands)
        # The base can be driven as before, and no jog keeps it moving.
        await robot.set_off()
        await jog('eef_twist_arm', robot.probe.standing)
        assert robot.person.can_drive
        assert robot.probe.state == 'operated'
