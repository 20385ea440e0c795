"""Identity of robots: same id, other instance, no id; real bridges and real WebRTC halves."""

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
from contextlib import AsyncExitStack
from pathlib import Path

from counted_broker import CountedBroker
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from programs import Programs
import pytest
from python_operator import operator
from ros_probe import ros_node, RosProbe
from twins import take_turns
from waiting import until
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.session import BridgeState

TAKEOVERS = 4

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]


async def test_an_operator_never_ends_up_on_another_robot_of_the_same_id(
    broker: CountedBroker, started: Programs
) -> None:
    with ros_node() as node:
        probes = {name: RosProbe(node, f'/{name}/') for name in ('one', 'two')}
        statuses: list[DiagnosticStatus] = []
        node.create_subscription(
            DiagnosticArray, '/diagnostics', lambda array: statuses.extend(array.status), 50
        )
        first = started.start_bridge(broker.url, broker.key_file, 'twin', '-r', '__ns:=/one')
        await until(lambda: probes['one'].state == 'connected', 'the first one is there')
        async with operator(broker.url, broker.token, with_video=False) as person:
            await person.connect(await person.wait_for_robot('twin'))

            async def drive() -> None:
                while person.can_drive:
                    moving = probes['one'].moving() or probes['two'].moving()
                    person.drive(Velocity(linear_x=0.3 if len(sent) > 10 or moving else 0.0))
                    sent.append(0)
                    await asyncio.sleep(0.02)

            sent: list[int] = []
            driving = asyncio.create_task(drive())
            await until(probes['one'].moving, 'the first one moves')
            started.start_bridge(broker.url, broker.key_file, 'twin', '-r', '__ns:=/two')
            await until(lambda: probes['two'].state == 'connected', 'the second one is there')
            await until(driving.done, 'the operator is told')
        await until(probes['one'].standing, 'the first one stands')
        await until(lambda: probes['one'].state == 'superseded', 'the first one is told')
        told = [line for line in first.output().splitlines() if 'state="superseded"' in line]
        assert len(told) == 1
        assert 'ERROR' in told[0]
        assert "robot_id 'twin' is used by another" in told[0]
        assert 'give one of them another robot_id' in told[0]

        def errors() -> list[str]:
            return [
                status.message
                for status in statuses
                if status.level == DiagnosticStatus.ERROR and 'superseded' in status.message
            ]

        await until(errors, 'the reason on /diagnostics')
        assert "robot_id 'twin'" in errors()[0]
        assert not any(not command.is_zero for command in probes['two'].commands)
        assert [body['robot_id'] for body in broker.created] == ['twin', 'twin']


async def test_twins_that_take_over_from_each_other_never_mix(
    broker: CountedBroker, tmp_path: Path
) -> None:
    turns = await take_turns(broker, tmp_path, TAKEOVERS)
    assert all(turn.arrived > 0 for turn in turns)
    assert all(turn.astray == 0 for turn in turns)


async def test_a_robot_that_dials_again_replaces_itself_silently(
    broker: CountedBroker, tmp_path: Path
) -> None:
    robot = configuration(broker.url, broker.key_file.read_text(), 'go2-a')
    async with (
        webrtc_half(robot, tmp_path) as half,
        operator(broker.url, broker.token) as person,
    ):
        await half.connected()
        for _ in range(2):
            half.statuses.clear()
            half.kill()
            await half.connected()
        assert BridgeState.SUPERSEDED not in half.states()
        assert len(await person.robots()) == 1
    assert len(broker.created) == 3


async def test_robots_without_an_id_stay_apart(broker: CountedBroker, tmp_path: Path) -> None:
    key = broker.key_file.read_text()
    async with AsyncExitStack() as stack:
        halves = [
            await stack.enter_async_context(
                webrtc_half(configuration(broker.url, key, ''), tmp_path)
            )
            for _ in range(3)
        ]
        for half in halves:
            await half.connected()
        async with operator(broker.url, broker.token, with_video=False) as person:
            robots = await person.robots()
            assert len({robot['session_id'] for robot in robots}) == 3
            await person.connect(robots[1]['session_id'])

            def driven() -> list[WebrtcHalf]:
                return [half for half in halves if half.commands]

            async with asyncio.timeout(10.0):
                while not driven():
                    person.drive(Velocity(linear_x=0.2))
                    await asyncio.sleep(0.02)
            assert len(driven()) == 1
        assert all(half.state is not BridgeState.SUPERSEDED for half in halves)
