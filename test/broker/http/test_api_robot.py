"""The API as robots see it."""

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

import pytest
from rig import OFFER, Rig

from teleop_webrtc_bridge.broker.media.backend import MediaError, MediaFull


async def test_a_robot_dials_in(rig: Rig) -> None:
    answer = await rig.post(
        '/sessions',
        rig.robot(),
        {'robot_name': 'Go2', 'robot_id': 'go2-1', 'sdp_offer': OFFER, 'new_field': [1]},
    )
    assert answer.status == 201
    assert set(answer.body) == {'session_id', 'sdp_answer', 'cf_session_id', 'ice_servers'}
    assert answer.body['sdp_answer'] == f'answer to {answer.body["cf_session_id"]}'
    assert answer.headers['Cache-Control'] == 'no-store'
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'


@pytest.mark.parametrize('fields', [{}, {'rtt_ms': 12.5, 'packet_loss_pct': None, 'x': {}}])
async def test_a_heartbeat_without_operator_has_null_ids(
    rig: Rig, fields: dict[str, object]
) -> None:
    robot = rig.robot()
    answer = await rig.heartbeat(await rig.dial(robot), robot, **fields)
    assert answer.status == 200
    assert answer.body == {
        'ack': True,
        'cmd_channel_subscriber_id': None,
        'state_channel_subscriber_id': None,
        'state_back_channel_publisher_id': None,
        'map_channel_publisher_id': None,
        'renegotiate_offer': None,
        'control_epoch': 0,
    }


async def test_a_heartbeat_may_have_no_body(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    assert (await rig.post(f'/sessions/{session}/heartbeat', robot)).status == 200


@pytest.mark.parametrize(
    'change',
    [
        {'robot_name': ''},
        {'robot_name': None},
        {'robot_name': 7},
        {'robot_name': '   '},
        {'robot_name': '<img src=x onerror=alert(1)>'},
        {'robot_name': 'a\nb'},
        {'video_codecs': 'vp8'},
        {'video_codecs': [8]},
        {'robot_name': 'x' * 65},
        {'robot_type': '<b>'},
        {'robot_id': 'x' * 65},
        {'robot_id': 'a\x1b[31m'},
        {'robot_id': 7},
        {'instance_id': ['a']},
        {'sdp_offer': None},
        {'sdp_offer': 7},
        {'sdp_offer': ''},
    ],
)
async def test_schema_violations_are_422(rig: Rig, change: dict[str, object]) -> None:
    body = {'robot_name': 'Go2', 'sdp_offer': OFFER, **change}
    answer = await rig.post('/sessions', rig.robot(), body)
    assert answer.status == 422
    assert next(iter(change)) in answer.detail
    assert rig.media.sessions == {}


@pytest.mark.parametrize('data', [b'{', b'[]', b'\xff', b'{"a":' * 5000, b'{"rtt_ms": NaN}'])
async def test_bodies_that_are_no_json_object_are_422(rig: Rig, data: bytes) -> None:
    answer = await rig.call('POST', '/sessions', rig.robot(), data=data)
    assert answer.status == 422
    assert answer.detail


@pytest.mark.parametrize(
    'offer',
    [
        'unusable ' + OFFER,
        OFFER + 'unusable',
        OFFER + 'a=x\r\n' * 8000,
        OFFER + 'a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n' * 800,
        'v=0\r\n' + 'm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n' * 9,
    ],
)
async def test_offers_that_cannot_be_used_are_400(rig: Rig, offer: str) -> None:
    answer = await rig.post('/sessions', rig.robot(), {'robot_name': 'Go2', 'sdp_offer': offer})
    assert answer.status == 400
    assert answer.detail


async def test_a_large_body_is_413(rig: Rig) -> None:
    answer = await rig.call('POST', '/sessions', rig.robot(), data=b' ' * 65537)
    assert answer.status == 413
    assert answer.detail


async def test_no_port_for_media_is_told(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    text = 'no UDP port is free: all of udp_ports 50000-50001 are taken'
    session = await rig.dial(rig.robot())
    rig.media.failures['new_session'] = MediaFull(text)
    answer = await rig.post('/sessions', rig.robot(), {'robot_name': 'Go2', 'sdp_offer': OFFER})
    told_caller = (502, 'the broker has no UDP port left')
    assert (answer.status, answer.detail) == told_caller
    answer = await rig.join(session, rig.operator())
    assert (answer.status, answer.detail) == told_caller
    told = [record for record in caplog.messages if 'event=media_full' in record]
    assert len(told) == 2
    assert all(text in line for line in told)


async def test_a_failing_media_backend_is_502(rig: Rig) -> None:
    rig.media.failures['new_session'] = MediaError('secret internals')
    answer = await rig.post('/sessions', rig.robot(), {'robot_name': 'Go2', 'sdp_offer': OFFER})
    assert (answer.status, answer.detail) == (502, 'media backend failed')


async def test_a_bug_is_500_and_says_nothing(rig: Rig) -> None:
    rig.media.failures['new_session'] = ZeroDivisionError('secret internals')
    answer = await rig.post('/sessions', rig.robot(), {'robot_name': 'Go2', 'sdp_offer': OFFER})
    assert (answer.status, answer.detail) == (500, 'internal error')


async def test_a_redial_ends_the_older_session_and_its_heartbeat_is_404(rig: Rig) -> None:
    robot = rig.robot()
    first = await rig.dial(robot, robot_id='go2', instance_id='i1')
    await rig.dial(robot, robot_id='go2', instance_id='i1')
    assert (await rig.heartbeat(first, robot)).status == 404
    assert len(rig.media.sessions) == 1


@pytest.mark.parametrize('instances', [('i1', 'i2'), (None, None), ('i1', None), (None, 'i2')])
async def test_another_instance_gets_409_that_names_the_robot(
    rig: Rig, instances: tuple[str | None, str | None]
) -> None:
    robot = rig.robot()
    first = await rig.dial(robot, robot_id='go2', instance_id=instances[0])
    second = await rig.dial(robot, robot_id='go2', instance_id=instances[1])
    answer = await rig.heartbeat(first, robot)
    assert answer.status == 409
    assert "'go2'" in answer.detail
    assert (await rig.heartbeat(second, robot)).status == 200


async def test_robots_without_id_and_of_other_owners_stay(rig: Rig) -> None:
    alice, bob = rig.robot('alice'), rig.robot('bob')
    sessions = [
        (await rig.dial(alice), alice),
        (await rig.dial(alice), alice),
        (await rig.dial(alice, robot_id='go2'), alice),
        (await rig.dial(bob, robot_id='go2'), bob),
    ]
    for session, robot in sessions:
        assert (await rig.heartbeat(session, robot)).status == 200


async def test_a_failed_redial_leaves_the_older_session(rig: Rig) -> None:
    robot = rig.robot()
    first = await rig.dial(robot, robot_id='go2')
    body = {'robot_name': 'Go2', 'robot_id': 'go2', 'sdp_offer': OFFER + 'unusable'}
    assert (await rig.post('/sessions', robot, body)).status == 400
    assert (await rig.heartbeat(first, robot)).status == 200


async def test_a_key_bound_to_a_robot_is_good_for_no_other(rig: Rig) -> None:
    robot = rig.robot(robot_id='go2')
    session = await rig.dial(robot)
    body = {'robot_name': 'Go2', 'robot_id': 'spot', 'sdp_offer': OFFER}
    answer = await rig.post('/sessions', robot, body)
    assert (answer.status, answer.detail) == (403, "This API key is for robot_id 'go2' only")
    rows = (await rig.get('/sessions', rig.operator())).body
    assert [(row['session_id'], row['robot_id']) for row in rows] == [(session, 'go2')]


async def test_a_deleted_session_is_gone(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    answer = await rig.call('DELETE', f'/sessions/{session}', robot)
    assert (answer.status, answer.text) == (204, '')
    assert rig.media.sessions == {}
    assert (await rig.heartbeat(session, robot)).status == 404
    assert (await rig.call('DELETE', f'/sessions/{session}', robot)).status == 404


async def test_a_robot_that_is_silent_for_30_s_is_reaped(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    await rig.pass_time(29.0)
    assert (await rig.heartbeat(session, robot)).status == 200
    await rig.pass_time(30.0)
    assert (await rig.heartbeat(session, robot)).status == 404
    assert rig.media.sessions == {}


async def test_a_robot_whose_media_is_gone_is_told_to_dial_again(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    rig.media.sessions.clear()
    await rig.broker.sweep()
    assert (await rig.heartbeat(session, robot)).status == 404


async def test_a_held_heartbeat_is_answered_when_the_snapshot_changes(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.heartbeat(session, robot)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(4.0):
        held = tasks.create_task(rig.heartbeat(session, robot, wait_s=5))
        assert (await rig.join(session, operator)).status == 200
        assert (await held).body['control_epoch'] == 1
        held = tasks.create_task(rig.heartbeat(session, robot, wait_s=5))
        bridge = await rig.bridge(session, operator)
        assert bridge.status == 200
        assert (await held).body['cmd_channel_subscriber_id'] is not None


async def test_a_held_heartbeat_of_a_session_that_ends_is_answered_at_once(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot, robot_id='go2')
    await rig.heartbeat(session, robot)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(4.0):
        held = tasks.create_task(rig.heartbeat(session, robot, wait_s=5))
        await rig.dial(robot, robot_id='go2')
        assert (await held).status == 409


async def test_a_newer_heartbeat_releases_the_held_one(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    await rig.heartbeat(session, robot)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(4.0):
        held = [tasks.create_task(rig.heartbeat(session, robot, wait_s=5)) for _ in range(2)]
        await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        await rig.call('DELETE', f'/sessions/{session}', robot)


async def test_a_heartbeat_is_held_no_longer_than_asked(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    await rig.heartbeat(session, robot)
    async with asyncio.timeout(2.0):
        assert (await rig.heartbeat(session, robot, wait_s=0.05)).status == 200


@pytest.mark.parametrize('wait_s', ['5', -1, True])
async def test_an_absurd_wait_is_422(rig: Rig, wait_s: object) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    assert (await rig.heartbeat(session, robot, wait_s=wait_s)).status == 422


async def test_what_nobody_offered_cannot_be_answered(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot)
    body = {'sdp_answer': OFFER}
    answer = await rig.post(f'/sessions/{session}/renegotiate-robot', robot, body)
    assert answer.status == 409
