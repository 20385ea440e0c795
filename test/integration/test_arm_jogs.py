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

"""Jogs of an arm that come where the commands of the base do: the real robot and broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from driven_robot import driven_robot, FORWARD
from programs import wait_for
import pytest

from teleop_webrtc_bridge.messages import Velocity

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

JOGS = 15


async def test_jogs_of_an_arm_do_not_move_the_base_and_are_named(tmp_path: Path) -> None:
    async with driven_robot(tmp_path) as robot:
        gate: dict[str, str] = {}

        def take(array: DiagnosticArray) -> None:
            for status in array.status:
                if status.name.endswith(': command gate'):
                    gate.update({pair.key: pair.value for pair in status.values})

        robot.node.create_subscription(DiagnosticArray, '/diagnostics', take, 10)

        async def jog(frame_id: str) -> None:
            # Neutral first, as the gate wants it of whoever drives.
            for number in range(2 * JOGS):
                velocity = Velocity() if number < JOGS else FORWARD
                robot.person.drive(velocity, frame_id=frame_id)
                await asyncio.sleep(0.02)

        for frame_id in ('eef_twist_arm', 'Right '):
            await jog(frame_id)
        await asyncio.to_thread(wait_for, lambda: int(gate.get('dropped_frame', 0)) >= JOGS)
        assert not any(not command.is_zero for command in robot.probe.commands)
        assert gate['refused_frame'] in ('eef_twist_arm', 'Right')
        line = await asyncio.to_thread(robot.bridge.wait_for_line, 'event=command_refused')
        assert 'frame_id="eef_twist_arm"' in line
        assert 'WARN' in line
        # The base is driven as ever, and no jog holds it alive.
        await robot.set_off()
        jogging = asyncio.create_task(jog('eef_twist_arm'))
        await robot.falls_silent()
        await jogging
        await robot.set_off()
        assert robot.bridge.output().count('event=command_refused') <= 3
