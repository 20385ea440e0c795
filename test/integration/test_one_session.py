"""Each robot has one session and one peer connection: counted at the broker, real bridges."""

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
import functools
from typing import Any

from counted_broker import CountedBroker
from programs import Programs
import pytest
from python_operator import operator, PythonOperator
from ros_probe import ros_node, RosProbe
from waiting import until

from teleop_webrtc_bridge.core.messages import CHANNELS, Velocity

pytestmark = pytest.mark.real_programs

LABELS = sorted(spec.label for spec in CHANNELS)


async def let_go(person: PythonOperator) -> None:
    """Send zeros, as a newly connected operator does: neutral comes before motion."""
    for _ in range(5):
        person.drive(Velocity())
        await asyncio.sleep(0.02)


async def drive_until(
    person: PythonOperator, velocity: Velocity, condition: Callable[[], Any]
) -> None:
    """Send a command at 50 Hz until a condition is true."""
    async with asyncio.timeout(10.0):
        while not condition():
            person.drive(velocity)
            await asyncio.sleep(0.02)


async def test_video_and_channels_of_a_robot_ride_one_peer_connection(
    broker: CountedBroker, started: Programs
) -> None:
    started.start_simulation()
    started.start_bridge(broker.url, broker.key_file, 'go2-a', '-r', 'image:=camera/image_raw')
    async with operator(broker.url, broker.token) as person:
        await person.connect(await person.wait_for_robot('go2-a'))
        await until(lambda: person.frames > 10, 'frames at the operator')
        assert person.bridged['video_status'] == 'ok'

        assert [body['robot_id'] for body in broker.created] == ['go2-a']
        assert len(await person.robots()) == 1
        robot, person_media = broker.media.offers
        sections = [
            line for line in broker.media.offers[robot].splitlines() if line.startswith('m=')
        ]
        assert [section.split()[0] for section in sections] == [
            'm=video',
            'm=audio',
            'm=application',
        ]
        assert sorted(broker.media.channels[robot]) == LABELS
        assert sorted(broker.media.channels[person_media]) == LABELS
        assert len(broker.media.offers) == 2  # one for the robot, one for the operator


def _heard_more(probe: RosProbe, count: int) -> bool:
    return len(probe.commands) > count


async def test_two_robots_under_one_key_are_driven_by_their_own_operators_only(
    broker: CountedBroker, started: Programs
) -> None:
    for robot_id, namespace in (('go2-a', '/a'), ('go2-b', '/b')):
        started.start_bridge(
            broker.url,
            broker.key_file,
            robot_id,
            *('-r', f'__ns:={namespace}'),
            *('-p', 'max_linear_acceleration:=0.0'),
        )
    with ros_node() as node:
        probes = {'go2-a': RosProbe(node, '/a/'), 'go2-b': RosProbe(node, '/b/')}
        async with (
            operator(broker.url, broker.token, with_video=False) as anna,
            operator(broker.url, broker.token) as bert,
        ):
            await anna.connect(await anna.wait_for_robot('go2-a'))
            await bert.connect(await bert.wait_for_robot('go2-b'))
            assert sorted(robot['robot_id'] for robot in await anna.robots()) == [
                'go2-a',
                'go2-b',
            ]
            drives = (
                (anna, probes['go2-a'], Velocity(linear_x=0.1)),
                (bert, probes['go2-b'], Velocity(linear_x=0.2)),
            )
            for person, _, _ in drives:
                await let_go(person)
            async with asyncio.TaskGroup() as tasks:
                for person, probe, velocity in drives:
                    enough = functools.partial(_heard_more, probe, len(probe.commands) + 50)
                    tasks.create_task(drive_until(person, velocity, enough))
        speeds = {
            robot_id: {command.linear_x for command in probe.commands if not command.is_zero}
            for robot_id, probe in probes.items()
        }
        assert speeds == {'go2-a': {0.1}, 'go2-b': {0.2}}
        assert sorted(body['robot_id'] for body in broker.created) == ['go2-a', 'go2-b']
        assert len({body['instance_id'] for body in broker.created}) == 2


async def test_a_request_that_arrives_before_the_robot_listens_is_not_lost(
    broker: CountedBroker, started: Programs
) -> None:
    started.start_bridge(broker.url, broker.key_file, 'go2-a')
    async with operator(broker.url, broker.token, with_video=False) as person:
        session_id = await person.wait_for_robot('go2-a')
        await person.connect(session_id)
        # New channels were opened; the robot learns of them a moment later.
        await person.bridge()
        assert (await person.request('estop', 'first'))['ok'] is True
        assert (await person.request('estop_clear', 7))['ok'] is True
        refused = await person.request('sport_cmd', 'third')
        assert refused['ok'] is False


async def test_garbage_on_every_channel_changes_nothing(
    broker: CountedBroker, started: Programs
) -> None:
    started.start_bridge(broker.url, broker.key_file, 'go2-a')
    garbage: tuple[bytes | str, ...] = (
        b'',
        b'\x00',
        b'{',
        '{"type":',
        '{"type":"ping"}',
        '{"type":"ping","client_ts":"now"}',
        '{"a":' * 2000,
        bytes.fromhex('9cd2bcbe6cb2a7c0') + b'\xff' * 40,
        b'\x01\x00\x00\x00\xff\xff\xff\xff',
        b'\xff' * 20_000,
    )
    with ros_node() as node:
        probe = RosProbe(node)
        async with operator(broker.url, broker.token, with_video=False) as person:
            await person.connect(await person.wait_for_robot('go2-a'))
            for label in ('cmd_unreliable', 'state_reliable'):
                for message in garbage:
                    person.send(label, message)
            await person.ping()
            await let_go(person)
            await drive_until(person, Velocity(linear_x=0.3), probe.moving)
