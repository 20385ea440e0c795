"""Viewers, and how control passes from one operator to another: HTTP on fake media."""

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

from pathlib import Path
from typing import Any

import pytest
from rig import IDS, NO_IDS, Rig, running

from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.limits import Limits

CMD, STATE, BACK, MAP = IDS


async def watching(rig: Rig, session: str, headers: dict[str, str]) -> dict[str, Any]:
    """Join as a viewer, bridge, and return the body that names this viewer."""
    joined = await rig.join(session, headers, role='viewer')
    assert joined.status == 200, joined.text
    me = {'cf_session_id': joined.body['cf_session_id']}
    bridged = await rig.bridge(session, headers, **me)
    assert bridged.status == 200, bridged.text
    return me


async def settled(rig: Rig, session: str, robot: dict[str, str]) -> dict[str, int | None]:
    """Let the robot receive every change, and return its last snapshot."""
    for _ in range(3):
        await rig.robot_ids(session, robot)
        await rig.pass_time(0.5)
    return await rig.robot_ids(session, robot)


# --- watching ----------------------------------------------------------------------------------


async def test_a_viewer_of_a_driven_robot_changes_nothing_for_it(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, alice)
    await rig.bridge(session, alice)
    before = await settled(rig, session, robot)
    streams = rig.media.open_streams('media1')
    epoch = (await rig.heartbeat(session, robot)).body['control_epoch']
    bob = rig.operator('bob', tenant='alice')
    joined = await rig.join(session, bob, role='viewer')
    assert joined.status == 200
    assert (joined.body['role'], joined.body['operator_id']) == ('viewer', 'bob')
    me = {'cf_session_id': joined.body['cf_session_id']}
    bridged = (await rig.bridge(session, bob, **me)).body
    assert (bridged['video_status'], bridged['video_offer']) == ('ok', 'video offer from media1')
    answer = {'sdp_answer': joined_answer(), **me}
    path = f'/sessions/{session}/renegotiate-answer'
    unusable = answer | {'sdp_answer': joined_answer() + 'unusable'}
    assert (await rig.post(path, bob, unusable)).status == 400
    assert (await rig.post(path, bob, answer)).body == {'ok': True}
    assert (await rig.post(path, bob, answer)).status == 409
    assert await settled(rig, session, robot) == before
    assert rig.media.open_streams('media1') == streams
    assert (await rig.heartbeat(session, robot)).body['control_epoch'] == epoch
    row = (await rig.get(f'/sessions/{session}/status', bob)).body
    assert (row['operator_id'], row['viewers']) == ('alice', 1)


def joined_answer() -> str:
    return 'v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n'


async def test_a_robot_that_nobody_drives_sends_to_its_viewers(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    assert await rig.robot_ids(session, robot) == NO_IDS
    me = await watching(rig, session, alice)
    ids = await rig.robot_ids(session, robot)
    assert ids[CMD] is None
    assert None not in (ids[STATE], ids[BACK], ids[MAP])
    assert rig.media.open_streams('media1') == {ids[STATE], ids[BACK], ids[MAP]}
    row = (await rig.get(f'/sessions/{session}/status', alice)).body
    assert (row['state'], row['operator_id'], row['viewers']) == ('idle', None, 1)
    assert (await rig.post(f'/sessions/{session}/leave', alice, me)).status == 200
    assert await rig.robot_ids(session, robot) == NO_IDS
    assert rig.media.open_streams('media1') == set()
    assert list(rig.media.sessions) == ['media1']


async def test_an_operator_comes_and_goes_while_others_watch(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.robot_ids(session, robot)
    await watching(rig, session, rig.operator('bob', tenant='alice'))
    alone = await rig.robot_ids(session, robot)
    joined = await rig.join(session, alice)
    await rig.bridge(session, alice)
    driven = await settled(rig, session, robot)
    assert None not in driven.values()
    assert not set(driven.values()) & set(alone.values())
    assert rig.media.open_streams('media1') == set(driven.values())
    assert joined.body['control_epoch'] == 1
    await rig.post(f'/sessions/{session}/leave', alice, {'reason': 'done'})
    # The robot learns that its operator has left before it hears about viewers again.
    assert await rig.robot_ids(session, robot) == NO_IDS
    again = await settled(rig, session, robot)
    assert again[CMD] is None
    assert again[STATE] not in (None, driven[STATE], alone[STATE])


async def test_one_person_takes_no_more_of_a_robots_viewers_than_they_may(tmp_path: Path) -> None:
    async with running(tmp_path, caps=Limits(viewers_per_person=2)) as rig:
        await person_takes_two_places(rig)


async def person_takes_two_places(rig: Rig) -> None:
    robot, eve = rig.robot(), rig.operator('eve', Role.VIEWER, tenant='alice')
    session, other = await rig.dial(robot), await rig.dial(robot)
    first, _ = [await watching(rig, session, eve) for _ in range(2)]
    # Another token of theirs is still the same person.
    again = rig.operator('eve', Role.VIEWER, tenant='alice')
    refused = await rig.join(session, again, role='viewer')
    assert (refused.status, refused.headers['Retry-After']) == (429, '30')
    assert refused.detail == 'you already watch this robot 2 times'
    await watching(rig, session, rig.operator('dan', Role.VIEWER, tenant='alice'))
    await watching(rig, other, eve)
    await rig.post(f'/sessions/{session}/leave', eve, first)
    await watching(rig, session, eve)


async def test_viewers_leave_udp_ports_to_robots_and_operators(tmp_path: Path) -> None:
    async with running(tmp_path, udp_ports=(50000, 50007)) as rig:
        robot, alice = rig.robot(), rig.operator()
        session = await rig.dial(robot, robot_id='r1')
        assert (await rig.join(session, alice)).status == 200
        people = [rig.operator(f'eve{it}', Role.VIEWER, tenant='alice') for it in range(5)]
        viewers = [await watching(rig, session, person) for person in people[:4]]
        refused = await rig.join(session, people[4], role='viewer')
        assert refused.status == 429
        assert refused.detail == 'the last UDP ports of the broker are for robots and operators'
        await rig.post(f'/sessions/{session}/leave', people[0], viewers[0])
        await watching(rig, session, people[4])
        # Nobody else is refused.
        await rig.dial(robot, robot_id='r2')
        await rig.dial(robot, robot_id='r1')


async def test_there_may_be_so_many_viewers(tmp_path: Path) -> None:
    async with running(tmp_path, caps=Limits(viewers_per_robot=2)) as rig:
        session, alice = await rig.dial(rig.robot()), rig.operator()
        viewers = [await watching(rig, session, alice) for _ in range(2)]
        media = len(rig.media.sessions)
        refused = await rig.join(session, alice, role='viewer')
        assert (refused.status, refused.headers['Retry-After']) == (429, '30')
        assert len(rig.media.sessions) == media
        await rig.post(f'/sessions/{session}/leave', alice, viewers[0])
        await watching(rig, session, alice)


async def test_a_viewers_token_is_good_for_watching_only(rig: Rig) -> None:
    session = await rig.dial(rig.robot())
    viewer = rig.operator('eve', Role.VIEWER, tenant='alice')
    assert len((await rig.get('/sessions', viewer)).body) == 1
    for path in ('join', 'request-control', 'take-control'):
        body = {'role': 'operator', 'sdp_offer': joined_answer()}
        assert (await rig.post(f'/sessions/{session}/{path}', viewer, body)).status == 403
    assert (await rig.get('/keys', viewer)).status == 403
    assert (await rig.post('/keys', viewer, {'name': 'a'})).status == 403
    me = await watching(rig, session, viewer)
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', viewer, me)).status == 200
    other = rig.operator('eve', Role.VIEWER, tenant='bob')
    assert (await rig.join(session, other, role='viewer')).status == 404


async def test_silent_and_lost_viewers_are_let_go(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    me, lost = [await watching(rig, session, alice) for _ in range(2)]
    await rig.media.close_session(lost['cf_session_id'])
    await rig.pass_time(0.5)
    status = f'/sessions/{session}/status'
    assert (await rig.get(status, alice)).body['viewers'] == 1
    for _ in range(3):
        await rig.pass_time(10.0)
        await rig.heartbeat(session, robot)
        assert (await rig.post(f'/sessions/{session}/op-heartbeat', alice, me)).status == 200
    await rig.pass_time(20.0)
    assert (await rig.get(status, alice)).body['viewers'] == 0
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', alice, me)).status == 403


async def test_viewers_end_with_their_robot(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    me = await watching(rig, session, alice)
    await rig.call('DELETE', f'/sessions/{session}', robot)
    assert rig.media.sessions == {}
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', alice, me)).status == 404


# --- handing control over ----------------------------------------------------------------------


async def test_control_is_asked_for_granted_and_taken(rig: Rig) -> None:
    robot, alice, bob = rig.robot(), rig.operator(), rig.operator('bob', tenant='alice')
    session = await rig.dial(robot)
    path = f'/sessions/{session}'
    asked = await rig.post(f'{path}/request-control', bob)
    assert asked.body == {'state': 'free', 'operator_id': None}
    first = (await rig.join(session, alice)).body
    await rig.bridge(session, alice)
    holder = await rig.post(f'{path}/request-control', alice)
    assert holder.body == {'state': 'holder', 'operator_id': 'alice'}
    assert (await rig.join(session, bob)).detail == 'Session already has operator: alice'
    no_request = await rig.post(f'{path}/grant-control', alice, {'operator_id': 'bob'})
    assert no_request.status == 409
    asked = await rig.post(f'{path}/request-control', bob)
    assert asked.body == {'state': 'pending', 'operator_id': 'alice'}
    assert (await rig.get(f'{path}/status', alice)).body['control_request'] == 'bob'
    assert (await rig.post(f'{path}/grant-control', bob, {'operator_id': 'bob'})).status == 403
    granted = await rig.post(f'{path}/grant-control', alice, {'operator_id': 'bob'})
    assert granted.body == {'ok': True}
    assert (await rig.post(f'{path}/request-control', bob)).body['state'] == 'granted'
    taken = (await rig.join(session, bob)).body
    assert taken['control_epoch'] == first['control_epoch'] + 1
    assert first['cf_session_id'] not in rig.media.sessions
    row = (await rig.get(f'{path}/status', alice)).body
    assert (row['operator_id'], row['control_request']) == ('bob', None)
    for call in ('op-heartbeat', 'bridge-datachannel'):
        assert (await rig.post(f'{path}/{call}', alice)).status == 403
    # A grant is valid once: it cannot replace an operator a second time.
    await rig.post(f'{path}/leave', bob, {'reason': 'done'})
    await rig.join(session, alice)
    assert (await rig.join(session, bob)).status == 409


async def test_a_request_and_a_grant_lapse(rig: Rig) -> None:
    robot, alice, bob = rig.robot(), rig.operator(), rig.operator('bob', tenant='alice')
    session = await rig.dial(robot)
    path = f'/sessions/{session}'
    await rig.join(session, alice)
    await rig.post(f'{path}/request-control', bob)
    rig.clock.now_s += 10.0
    assert (await rig.get(f'{path}/status', alice)).body['control_request'] is None
    late = await rig.post(f'{path}/grant-control', alice, {'operator_id': 'bob'})
    assert late.status == 409
    # A sweep may come at any time: alice is not silent, so she must keep her place.
    rig.media.hear_all()
    await rig.post(f'{path}/op-heartbeat', alice)
    await rig.post(f'{path}/request-control', bob)
    await rig.post(f'{path}/grant-control', alice, {'operator_id': 'bob'})
    rig.clock.now_s += 15.0
    await rig.heartbeat(session, robot)
    assert (await rig.join(session, bob)).status == 409


async def test_an_administrator_takes_control_without_asking(rig: Rig) -> None:
    session, alice = await rig.dial(rig.robot()), rig.operator()
    admin = rig.operator('root', Role.ADMIN)
    await rig.join(session, alice)
    path = f'/sessions/{session}/take-control'
    assert (await rig.post(path, rig.operator('bob', tenant='alice'))).status == 403
    assert (await rig.post(path, admin)).body == {'state': 'granted', 'operator_id': 'root'}
    assert (await rig.join(session, admin)).status == 200
    assert (await rig.get(f'/sessions/{session}/status', alice)).body['operator_id'] == 'root'


@pytest.mark.parametrize('fields', [{}, {'operator_id': 7}, {'operator_id': ''}])
async def test_a_grant_names_somebody(rig: Rig, fields: dict[str, object]) -> None:
    session, alice = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, alice)
    assert (await rig.post(f'/sessions/{session}/grant-control', alice, fields)).status == 422


async def test_many_requests_are_bounded_and_keep_their_order(rig: Rig) -> None:
    session, alice = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, alice)
    path = f'/sessions/{session}'
    people = {f'p{number}': rig.operator(f'p{number}', tenant='alice') for number in range(10)}
    for headers in people.values():
        await rig.post(f'{path}/request-control', headers)
    assert (await rig.get(f'{path}/status', alice)).body['control_request'] == 'p0'
    statuses = [
        (await rig.post(f'{path}/grant-control', alice, {'operator_id': name})).status
        for name in people
    ]
    assert statuses == [200] * 8 + [409] * 2
