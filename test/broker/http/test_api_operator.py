"""The API as operators see it."""

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
from rig import IDS, NO_IDS, OFFER, Rig

from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.media.backend import MediaError, MediaSessionGone


async def test_the_list_shows_live_robots(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot, robot_id='go2', robot_name='Gö 2', robot_type='go2')
    await rig.heartbeat(session, robot, rtt_ms=20, packet_loss_pct=1.5)
    row = {
        'session_id': session,
        'robot_id': 'go2',
        'robot_name': 'Gö 2',
        'robot_type': 'go2',
        'state': 'idle',
        'operator_id': None,
        'rtt_ms': 20.0,
        'packet_loss_pct': 1.5,
        'created_at': '2023-11-14T22:13:20+00:00',
        'control_epoch': 0,
        'control_request': None,
        'viewers': 0,
        'watching': [],
    }
    assert (await rig.get('/sessions', operator)).body == [row]
    assert (await rig.get(f'/sessions/{session}/status', operator)).body == row
    await rig.join(session, operator)
    row |= {'state': 'active', 'operator_id': 'alice', 'control_epoch': 1, 'operator_is_you': True}
    assert (await rig.get('/sessions', operator)).body == [row]
    rig.clock.now_s += 30.0  # silent, but not swept yet
    assert (await rig.get('/sessions', operator)).body == []
    assert (await rig.get(f'/sessions/{session}/status', operator)).status == 404
    assert (await rig.join(session, operator)).status == 404


async def test_join_answers_with_both_media_sessions(rig: Rig) -> None:
    session = await rig.dial(rig.robot())
    answer = await rig.join(session, rig.operator())
    assert answer.status == 200
    assert answer.body == {
        'sdp_answer': 'answer to media2',
        'cf_session_id': 'media2',
        'robot_cf_session_id': 'media1',
        'ice_servers': [],
        'role': 'operator',
        'operator_id': 'alice',
        'control_epoch': 1,
    }


async def test_host_names_never_reach_media(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    candidate = 'a=candidate:1 1 udp 1 {} 9 typ host\r\n'
    offer = OFFER + candidate.format('abc.local') + candidate.format('192.0.2.1')
    joined = await rig.join(session, operator, sdp_offer=offer)
    seen = rig.media.sessions[joined.body['cf_session_id']]
    assert '.local' not in seen.offer
    assert '192.0.2.1' in seen.offer
    await rig.bridge(session, operator)
    body = {'sdp_answer': offer}
    await rig.post(f'/sessions/{session}/renegotiate-answer', operator, body)
    assert '.local' not in seen.answers[0]


@pytest.mark.parametrize(
    ('fields', 'status'),
    [
        ({'role': 'king'}, 422),
        ({'sdp_offer': None}, 422),
        ({'sdp_offer': 'not sdp'}, 400),
        ({'sdp_offer': OFFER + 'unusable'}, 400),
    ],
)
async def test_a_join_that_is_refused_leaves_the_slot_free(
    rig: Rig, fields: dict[str, object], status: int
) -> None:
    session = await rig.dial(rig.robot())
    assert (await rig.join(session, rig.operator(), **fields)).status == status
    row = (await rig.get(f'/sessions/{session}/status', rig.operator())).body
    assert (row['state'], row['operator_id']) == ('idle', None)
    assert (await rig.join(session, rig.operator())).status == 200


async def test_a_session_has_one_operator(rig: Rig) -> None:
    session = await rig.dial(rig.robot())
    admin = rig.operator('root', Role.ADMIN)
    assert (await rig.join(session, rig.operator())).status == 200
    answer = await rig.join(session, admin)
    assert (answer.status, answer.detail) == (409, 'Session already has operator: alice')
    for call in ('bridge-datachannel', 'op-heartbeat'):
        assert (await rig.post(f'/sessions/{session}/{call}', admin)).status == 403
    left = await rig.post(f'/sessions/{session}/leave', admin, {'reason': 'x'})
    assert (left.status, left.body) == (200, {'session_id': session, 'state': 'active'})


async def test_the_slot_is_taken_while_the_join_is_under_way(rig: Rig) -> None:
    session = await rig.dial(rig.robot())
    rig.media.gates['new_session'] = asyncio.Event()
    while not rig.media.calls.empty():
        rig.media.calls.get_nowait()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5.0):
        first = tasks.create_task(rig.join(session, rig.operator()))
        await rig.media.entered('new_session')
        second = await rig.join(session, rig.operator('root', Role.ADMIN))
        rig.media.gates['new_session'].set()
        assert second.status == 409
        assert (await first).status == 200


async def test_of_two_joins_of_one_operator_the_newer_wins(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    gate = rig.media.gates['new_session'] = asyncio.Event()
    while not rig.media.calls.empty():
        rig.media.calls.get_nowait()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5.0):
        first = tasks.create_task(rig.join(session, operator))
        await rig.media.entered('new_session')
        second = tasks.create_task(rig.join(session, operator))
        await rig.media.entered('new_session')
        gate.set()
        assert {(await first).status, (await second).status} == {200, 409}
    assert len(rig.media.sessions) == 2


async def test_a_reloaded_page_takes_over_from_the_older_one(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    first = (await rig.join(session, operator)).body['cf_session_id']
    await rig.bridge(session, operator)
    second = (await rig.join(session, operator)).body['cf_session_id']
    assert set(rig.media.sessions) == {'media1', second}
    assert rig.media.open_streams('media1') == set()
    answer = await rig.heartbeat(session, robot)
    assert answer.body['control_epoch'] == 2
    assert {name: answer.body[name] for name in IDS} == NO_IDS
    # The older page still runs, and names its join.
    older = {'cf_session_id': first}
    refused = await rig.post(f'/sessions/{session}/op-heartbeat', operator, older)
    assert refused.status == 403
    # This tells the page that it must not take the robot back by itself.
    assert refused.detail == 'A newer join of the same operator took over'
    assert (await rig.bridge(session, operator, **older)).status == 403
    left = await rig.post(f'/sessions/{session}/leave', operator, older)
    assert left.body['state'] == 'active'
    newer = {'cf_session_id': second}
    beat = await rig.post(f'/sessions/{session}/op-heartbeat', operator, newer)
    assert (beat.status, beat.body) == (200, {'ack': True})


async def test_a_join_is_called_replaced_only_to_its_person_and_while_the_newer_one_lasts(
    rig: Rig,
) -> None:
    operator = rig.operator()
    session = await rig.dial(rig.robot())
    first = {'cf_session_id': (await rig.join(session, operator)).body['cf_session_id']}
    second = {'cf_session_id': (await rig.join(session, operator)).body['cf_session_id']}
    beat = f'/sessions/{session}/op-heartbeat'
    plain = 'Not the operator of this session'
    for other in (
        rig.operator('alice', Role.VIEWER, 'alice'),
        rig.operator('ben', tenant='alice'),
    ):
        for named in (first, second):
            assert (await rig.post(beat, other, named)).detail == plain
    await rig.post(f'/sessions/{session}/leave', operator, second)
    assert (await rig.post(beat, operator, first)).detail == plain


async def test_the_list_tells_people_which_robots_they_drive(rig: Rig) -> None:
    operator = rig.operator()
    session = await rig.dial(rig.robot())
    status = f'/sessions/{session}/status'
    assert 'operator_is_you' not in (await rig.get(status, operator)).body
    await rig.join(session, operator)
    assert (await rig.get(status, operator)).body['operator_is_you'] is True
    for other in (
        rig.operator('alice', Role.VIEWER, 'alice'),
        rig.operator('ben', tenant='alice'),
    ):
        assert 'operator_is_you' not in (await rig.get(status, other)).body


async def test_a_rejoin_that_fails_leaves_the_operator_at_the_controls(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    before = await rig.robot_ids(session, robot)
    assert (await rig.join(session, operator, sdp_offer=OFFER + 'unusable')).status == 400
    assert await rig.robot_ids(session, robot) == before


async def test_a_bridge_joins_each_channel_in_its_direction(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    bridge = (await rig.bridge(session, operator)).body
    assert (bridge['video_status'], bridge['video_offer']) == ('ok', 'video offer from media1')
    ids = await rig.robot_ids(session, robot)
    at_robot, at_operator = rig.media.sessions['media1'], rig.media.sessions['media2']
    assert at_operator.published == {
        'cmd_unreliable': bridge['cmd_channel_id'],
        'state_reliable': bridge['state_channel_id'],
    }
    assert at_robot.subscribed == {
        ids['cmd_channel_subscriber_id']: ('media2', 'cmd_unreliable'),
        ids['state_channel_subscriber_id']: ('media2', 'state_reliable'),
    }
    assert at_robot.published == {
        'state_reliable_back': ids['state_back_channel_publisher_id'],
        'map_unreliable': ids['map_channel_publisher_id'],
    }
    assert at_operator.subscribed == {
        bridge['state_back_channel_id']: ('media1', 'state_reliable_back'),
        bridge['map_channel_id']: ('media1', 'map_unreliable'),
    }


async def test_each_bridge_has_fresh_ids_and_the_older_channels_are_closed(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    first, before = (
        (await rig.bridge(session, operator)).body,
        await rig.robot_ids(session, robot),
    )
    second, after = (
        (await rig.bridge(session, operator)).body,
        await rig.robot_ids(session, robot),
    )
    assert not set(before.values()) & set(after.values())
    assert first['cmd_channel_id'] != second['cmd_channel_id']
    assert rig.media.open_streams('media1') == set(after.values())
    assert len(rig.media.open_streams('media2')) == 4


async def test_the_robot_is_ready_once_it_calls_again_after_it_was_told(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    for expected in (0, 1, 1):
        await rig.heartbeat(session, robot)
        assert rig.media.ready.count('media1') == expected
    await rig.bridge(session, operator)
    for expected in (1, 2):
        await rig.heartbeat(session, robot)
        assert rig.media.ready.count('media1') == expected


async def test_the_operator_is_ready_with_its_bridge(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    assert rig.media.ready == []
    await rig.bridge(session, operator)
    assert rig.media.ready == ['media2']


async def test_video_trouble_never_fails_a_bridge(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    rig.media.has_video = False
    answer = await rig.bridge(session, operator)
    assert (answer.status, answer.body['video_status']) == (200, 'no_published_track')
    for failure in (MediaError('x'), MediaSessionGone('x')):
        rig.media.failures['pull_video'] = failure
        answer = await rig.bridge(session, operator)
        assert (answer.status, answer.body['video_status']) == (200, 'pull_error')
        assert answer.body['video_offer'] is None
        assert None not in [answer.body['cmd_channel_id'], answer.body['map_channel_id']]


async def test_a_video_offer_is_answered_once(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    path, body = f'/sessions/{session}/renegotiate-answer', {'sdp_answer': OFFER}
    assert (await rig.post(path, operator, body)).status == 409
    await rig.bridge(session, operator)
    answer = await rig.post(path, operator, body)
    assert (answer.status, answer.body) == (200, {'ok': True})
    assert (await rig.post(path, operator, body)).status == 409
    assert len(rig.media.sessions['media2'].answers) == 1


async def test_after_an_unusable_answer_the_video_offer_still_stands(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    path = f'/sessions/{session}/renegotiate-answer'
    for _ in range(2):
        answer = await rig.post(path, operator, {'sdp_answer': OFFER + 'unusable'})
        assert (answer.status, answer.detail) == (
            400,
            'The session description cannot be used: it says so',
        )
    assert (await rig.post(path, operator, {'sdp_answer': OFFER})).status == 200
    assert (await rig.post(path, operator, {'sdp_answer': OFFER})).status == 409


@pytest.mark.parametrize('error', [AttributeError('ours'), KeyError('ours'), ValueError('ours')])
async def test_a_bug_of_the_broker_is_not_blamed_on_the_caller(
    rig: Rig, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    rig.media.failures['new_session'] = error
    assert (await rig.join(session, operator)).status == 500
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
    del rig.media.failures['new_session']
    assert (await rig.join(session, operator)).status == 200


async def test_a_failed_bridge_leaves_nothing_open(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    rig.media.failures['new_data_channels'] = MediaError('x')
    assert (await rig.bridge(session, operator)).status == 502
    assert await rig.robot_ids(session, robot) == NO_IDS
    assert rig.media.open_streams('media1') == set()
    assert rig.media.open_streams('media2') == set()


@pytest.mark.parametrize('gone', ['media1', 'media2'])
async def test_a_bridge_without_media_is_409(rig: Rig, gone: str) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    del rig.media.sessions[gone]
    answer = await rig.bridge(session, operator)
    assert answer.status in (403, 404) or answer.detail == 'media session gone'


async def test_a_bridge_waits_a_moment_for_the_connection(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    rig.media.sessions['media2'].connected.clear()
    async with asyncio.TaskGroup() as tasks:
        bridge = tasks.create_task(rig.bridge(session, operator))
        beat = await rig.post(f'/sessions/{session}/op-heartbeat', operator)
        assert beat.status == 200
        rig.media.sessions['media2'].connected.set()
        assert (await bridge).status == 200


async def test_bridges_of_one_session_are_made_one_after_the_other(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    gate = rig.media.gates['new_data_channels'] = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5.0):
        first = tasks.create_task(rig.bridge(session, operator))
        await rig.media.entered('new_data_channels')
        second = tasks.create_task(rig.bridge(session, operator))
        for _ in range(3):  # answered after the second bridge was requested
            await rig.post(f'/sessions/{session}/op-heartbeat', operator)
        gate.set()
        assert [(await first).status, (await second).status] == [200, 200]
    assert len(rig.media.open_streams('media1')) == 4


async def test_channels_that_were_opened_for_an_operator_that_left_are_closed(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    opened = 0

    async def leave_at_the_last_moment() -> None:
        nonlocal opened
        opened += 1
        if opened == 4:
            await rig.post(f'/sessions/{session}/leave', operator)

    rig.media.after_opening = leave_at_the_last_moment
    assert (await rig.bridge(session, operator)).status == 403
    assert await rig.robot_ids(session, robot) == NO_IDS
    assert rig.media.open_streams('media1') == set()


async def test_an_answer_that_nobody_got_proves_nothing(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    await rig.heartbeat(session, robot)
    await rig.heartbeat(session, robot)
    assert rig.media.ready.count('media1') == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await rig.heartbeat(session, robot, wait_s=5)
    await rig.bridge(session, operator)
    for expected in (1, 2):
        await rig.heartbeat(session, robot)
        assert rig.media.ready.count('media1') == expected


async def test_an_operator_that_leaves_during_its_bridge_leaves_nothing_open(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    gate = rig.media.gates['new_data_channels'] = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5.0):
        bridge = tasks.create_task(rig.bridge(session, operator))
        await rig.media.entered('new_data_channels')
        await rig.post(f'/sessions/{session}/leave', operator)
        gate.set()
        assert (await bridge).status in (403, 409)
    assert await rig.robot_ids(session, robot) == NO_IDS
    assert rig.media.open_streams('media1') == set()
