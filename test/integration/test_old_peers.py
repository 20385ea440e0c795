"""Peers without our extensions: old robots and old operator consoles."""

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
from pathlib import Path
from typing import Any

from counted_broker import CountedBroker
from old_robot import old_robot
import pytest
from python_operator import operator, PythonOperator
from webrtc_half import configuration, webrtc_half

from teleop_webrtc_bridge.core.messages import Velocity


async def drive_until(person: PythonOperator, condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30.0):
        while not condition():
            person.drive(Velocity(linear_x=0.25))
            await asyncio.sleep(0.02)


async def test_an_old_robot_is_driven_through_our_broker(broker: CountedBroker) -> None:
    key = broker.key_file.read_text()
    async with (
        old_robot(broker.url, key, 'old-1') as robot,
        operator(broker.url, broker.token) as person,
    ):
        await person.connect(await person.wait_for_robot('old-1'))
        assert person.bridged['video_status'] == 'ok'
        await drive_until(person, lambda: len(robot.commands) > 20 and person.frames > 5)
        assert {command.velocity.linear_x for command in robot.commands} == {0.25}
        opened = robot.opened[:4]
        assert opened.index('state_reliable_back') < opened.index('state_reliable')
        assert robot.last_status == 200
    assert 'instance_id' not in broker.created[0]


async def test_an_old_robot_hears_commands_before_it_says_that_it_is_ready(
    broker: CountedBroker,
) -> None:
    key = broker.key_file.read_text()
    async with (
        old_robot(broker.url, key, 'old-1') as robot,
        operator(broker.url, broker.token, with_video=False) as person,
    ):
        may_beat = asyncio.Event()

        async def until_next_beat() -> None:
            # Its channels are open, but nobody knows until its next heartbeat.
            await (may_beat.wait() if robot.opened else asyncio.sleep(0.2))

        robot.until_next_beat = until_next_beat
        session = await person.wait_for_robot('old-1')
        # connect() returns when the robot has answered a ping, which is reliable and must wait.
        connecting = asyncio.create_task(person.connect(session))
        async with asyncio.timeout(30.0):
            while len(robot.commands) <= 5:
                if person.can_drive:
                    person.drive(Velocity(linear_x=0.25))
                await asyncio.sleep(0.02)
        assert robot.states == []
        assert not connecting.done()
        may_beat.set()
        await connecting
        assert [state['type'] for state in robot.states] == ['ping']


async def test_an_old_robot_that_dials_again_gets_its_place_back(broker: CountedBroker) -> None:
    key = broker.key_file.read_text()
    async with (
        old_robot(broker.url, key, 'old-1'),
        old_robot(broker.url, key, 'old-1') as second,
        operator(broker.url, broker.token, with_video=False) as person,
    ):
        assert len(await person.robots()) == 1
        await person.connect(await person.wait_for_robot('old-1'))
        await drive_until(person, lambda: len(second.commands) > 5)


@pytest.mark.real_programs
@pytest.mark.parametrize(
    ('with_video', 'with_microphone'),
    [(False, False), (True, True)],
    ids=['data-only', 'video-and-microphone'],
)
async def test_old_consoles_drive_our_robot(
    broker: CountedBroker, tmp_path: Path, with_video: bool, with_microphone: bool
) -> None:
    robot = configuration(broker.url, broker.key_file.read_text(), 'go2-a')
    async with (
        webrtc_half(robot, tmp_path) as half,
        operator(
            broker.url, broker.token, with_video=with_video, with_microphone=with_microphone
        ) as person,
    ):
        await half.connected()
        await person.connect(await person.wait_for_robot('go2-a'))
        pictures = iter(range(10**6))

        def driven() -> bool:
            half.show(next(pictures))
            return len(half.commands) > 20 and (person.frames > 5 or not with_video)

        await drive_until(person, driven)
        assert (person.bridged['video_offer'] is not None) or not with_video
