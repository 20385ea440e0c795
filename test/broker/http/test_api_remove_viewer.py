"""Removing viewers, and whether viewers may stop the robot: HTTP on fake media."""

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
from typing import Any

import pytest
from rig import NO_IDS, Rig, running

from teleop_webrtc_bridge.broker import channel_setup
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.registry.people import BAN_S


async def driven(rig: Rig, **fields: Any) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return the session of a robot that alice drives, its key and her token."""
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot, **fields)
    assert (await rig.join(session, alice)).status == 200
    assert (await rig.bridge(session, alice)).status == 200
    return session, robot, alice


async def watch(rig: Rig, session: str, headers: dict[str, str]) -> dict[str, str]:
    """Join as a viewer, bridge, and return the body that names this viewer."""
    joined = await rig.join(session, headers, role='viewer')
    assert joined.status == 200, joined.text
    me = {'cf_session_id': str(joined.body['cf_session_id'])}
    assert (await rig.bridge(session, headers, **me)).status == 200
    return me


def put_out_path(session: str) -> str:
    return f'/sessions/{session}/remove-viewer'


async def test_who_is_put_out_is_cut_off_and_kept_out_for_ten_minutes(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO')
    session, robot, alice = await driven(rig, robot_id='go2')
    told = await rig.robot_ids(session, robot)
    eve = rig.operator('eve', Role.VIEWER, 'alice')
    viewers = [await watch(rig, session, eve) for _ in range(2)]
    await watch(rig, session, rig.operator('ann', Role.VIEWER, 'alice'))
    removed = await rig.post(put_out_path(session), alice, {'operator_id': 'eve'})
    assert (removed.status, removed.body) == (200, {'removed': 2})
    assert not {viewer['cf_session_id'] for viewer in viewers} & set(rig.media.sessions)
    assert "viewer='eve (viewer of alice)' by='alice (operator of alice)'" in caplog.text
    row = (await rig.get(f'/sessions/{session}/status', alice)).body
    assert row['watching'] == [{'operator_id': 'ann', 'role': 'viewer'}]
    for call in ('op-heartbeat', 'bridge-datachannel'):
        refused = await rig.post(f'/sessions/{session}/{call}', eve, viewers[0])
        assert refused.status == 403
    media = len(rig.media.sessions)
    refused = await rig.join(session, eve, role='viewer')
    assert (refused.status, refused.headers['Retry-After']) == (403, '600')
    assert refused.detail.startswith('You were removed by')
    assert len(rig.media.sessions) == media
    assert await rig.robot_ids(session, robot) == told
    # They may watch other robots, and other people of that name may watch this one.
    other = await rig.dial(robot, robot_id='spot')
    await watch(rig, other, eve)
    await watch(rig, session, rig.operator('eve', tenant='alice'))
    # A robot that dials again is the same robot.
    rig.clock.now_s += BAN_S - 1.0
    again = await rig.dial(robot, robot_id='go2')
    refused = await rig.join(again, eve, role='viewer')
    assert (refused.status, refused.headers['Retry-After']) == (403, '1')
    rig.clock.now_s += 1.0
    await watch(rig, again, eve)


async def test_a_ban_is_of_the_session_where_the_robot_has_no_name(rig: Rig) -> None:
    session, robot, alice = await driven(rig)
    eve = rig.operator('eve', Role.VIEWER, 'alice')
    await watch(rig, session, eve)
    await rig.post(put_out_path(session), alice, {'operator_id': 'eve'})
    assert (await rig.join(session, eve, role='viewer')).status == 403
    await watch(rig, await rig.dial(robot), eve)


async def test_an_operator_who_watches_is_kept_from_driving_too(rig: Rig) -> None:
    session, _, alice = await driven(rig)
    bob = rig.operator('bob', tenant='alice')
    await watch(rig, session, bob)
    path = f'/sessions/{session}'
    await rig.post(f'{path}/request-control', bob)
    assert (await rig.post(f'{path}/grant-control', alice, {'operator_id': 'bob'})).status == 200
    removed = await rig.post(put_out_path(session), alice, {'operator_id': 'bob'})
    assert removed.body == {'removed': 1}
    assert (await rig.get(f'{path}/status', alice)).body['control_request'] is None
    for role in ('viewer', 'operator'):
        assert (await rig.join(session, bob, role=role)).headers['Retry-After'] == '600'
    assert (await rig.post(f'{path}/request-control', bob)).status == 403
    await rig.post(f'{path}/leave', alice)
    assert (await rig.join(session, bob)).status == 403
    assert (await rig.get(f'{path}/status', bob)).status == 200


async def test_nobody_who_drives_and_no_admin_is_put_out(rig: Rig) -> None:
    session, _, alice = await driven(rig)
    root = rig.operator('root', Role.ADMIN)
    for headers in (alice, root):
        await watch(rig, session, headers)
    media = set(rig.media.sessions)
    for headers in (alice, root):
        for name, why in (('alice', 'the operator'), ('root', 'administrator')):
            refused = await rig.post(put_out_path(session), headers, {'operator_id': name})
            assert refused.status == 409
            assert why in refused.detail
    assert set(rig.media.sessions) == media
    for headers in (alice, root):
        await watch(rig, session, headers)
    assert (await rig.join(session, alice)).status == 200


async def test_who_is_about_to_drive_is_not_put_out(rig: Rig) -> None:
    robot, root = rig.robot(), rig.operator('root', Role.ADMIN)
    session, alice = await rig.dial(robot), rig.operator()
    await watch(rig, session, alice)
    gate = rig.media.gates['new_session'] = asyncio.Event()
    while not rig.media.calls.empty():
        rig.media.calls.get_nowait()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5.0):
        joining = tasks.create_task(rig.join(session, alice))
        await rig.media.entered('new_session')
        refused = await rig.post(put_out_path(session), root, {'operator_id': 'alice'})
        gate.set()
        assert (refused.status, (await joining).status) == (409, 200)


async def test_who_is_put_out_while_another_join_is_under_way_does_not_get_in(rig: Rig) -> None:
    session, _, alice = await driven(rig)
    eve = rig.operator('eve', Role.VIEWER, 'alice')
    await watch(rig, session, eve)
    gate = rig.media.gates['new_session'] = asyncio.Event()
    while not rig.media.calls.empty():
        rig.media.calls.get_nowait()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5.0):
        joining = tasks.create_task(rig.join(session, eve, role='viewer'))
        await rig.media.entered('new_session')
        await rig.post(put_out_path(session), alice, {'operator_id': 'eve'})
        gate.set()
        assert (await joining).status == 403
    assert set(rig.media.sessions) == {'media1', 'media2'}


async def test_an_admin_puts_out_who_watches_a_robot_that_nobody_drives(rig: Rig) -> None:
    robot, root = rig.robot(), rig.operator('root', Role.ADMIN)
    session = await rig.dial(robot)
    await rig.robot_ids(session, robot)
    await watch(rig, session, rig.operator('eve', Role.VIEWER, 'alice'))
    assert await rig.robot_ids(session, robot) != NO_IDS
    # alice sees that somebody watches, but she does not drive, so she cannot remove them.
    alice = rig.operator()
    assert (await rig.post(put_out_path(session), alice, {'operator_id': 'eve'})).status == 403
    assert (await rig.post(put_out_path(session), root, {'operator_id': 'eve'})).status == 200
    assert await rig.robot_ids(session, robot) == NO_IDS
    assert list(rig.media.sessions) == ['media1']


async def test_several_of_one_name_are_told_apart(rig: Rig) -> None:
    session, _, alice = await driven(rig)
    for role in (Role.VIEWER, Role.OPERATOR):
        await watch(rig, session, rig.operator('eve', role, 'alice'))
    for tenant in ('alice', 'yard'):
        await watch(rig, session, rig.operator('eve', Role.ADMIN, tenant))
    path, eve = put_out_path(session), {'operator_id': 'eve'}
    refused = await rig.post(path, alice, eve)
    assert refused.status == 409
    assert "add 'role', one of ['operator', 'viewer']" in refused.detail
    assert (await rig.post(path, alice, eve | {'role': 'viewer'})).body == {'removed': 1}
    assert (await rig.post(path, alice, eve | {'tenant': 'alice'})).body == {'removed': 1}
    assert (await rig.post(path, alice, eve)).status == 409
    assert (await rig.post(path, alice, eve | {'role': 'viewer'})).status == 404
    assert (await rig.post(path, alice, eve | {'tenant': 'nobody'})).status == 404


@pytest.mark.parametrize(
    'fields',
    [
        {},
        {'operator_id': 7},
        {'operator_id': ''},
        {'operator_id': 'eve', 'role': 'king'},
        {'operator_id': 'eve', 'tenant': 7},
    ],
)
@pytest.mark.parametrize('call', ['remove-viewer', 'grant-control'])
async def test_a_request_names_somebody(rig: Rig, call: str, fields: dict[str, object]) -> None:
    session, _, alice = await driven(rig)
    assert (await rig.post(f'/sessions/{session}/{call}', alice, fields)).status == 422


async def test_who_watches_is_told_to_the_driver_and_to_admins(rig: Rig) -> None:
    session, _, alice = await driven(rig)
    eve, bob = rig.operator('eve', Role.VIEWER, 'alice'), rig.operator('bob', tenant='alice')
    root = rig.operator('root', Role.ADMIN)
    for headers in (eve, bob, eve, alice, root):
        await watch(rig, session, headers)
    everybody = [
        {'operator_id': 'eve', 'role': 'viewer'},
        {'operator_id': 'bob', 'role': 'operator'},
        # A page offers no button that the broker would refuse.
        {'operator_id': 'alice', 'role': 'operator', 'removable': False},
        {'operator_id': 'root', 'role': 'admin', 'removable': False},
    ]
    namesake = rig.operator('alice', Role.VIEWER, 'alice')
    told = {'alice': alice, 'root': root, 'eve': eve, 'bob': bob, 'namesake': namesake}
    for name, headers in told.items():
        expected = everybody if name in ('alice', 'root') else []
        listed = (await rig.get('/sessions', headers)).body[0]
        row = (await rig.get(f'/sessions/{session}/status', headers)).body
        for answer in (listed, row):
            assert (answer['viewers'], answer['watching']) == (5, expected), name


async def test_of_several_who_ask_control_is_given_to_the_one_that_is_meant(rig: Rig) -> None:
    session, _, alice = await driven(rig)
    path = f'/sessions/{session}'
    bob, boss = rig.operator('bob', tenant='alice'), rig.operator('bob', Role.ADMIN, 'alice')
    chief = rig.operator('bob', Role.ADMIN, 'yard')
    for headers in (bob, boss, chief):
        assert (await rig.post(f'{path}/request-control', headers)).body['state'] == 'pending'
    named: dict[str, str] = {'operator_id': 'bob'}
    for add, missing in (
        ({}, "add 'role', one of ['admin', 'operator']"),
        ({'role': 'admin'}, "add 'tenant', one of ['alice', 'yard']"),
    ):
        refused = await rig.post(f'{path}/grant-control', alice, named | add)
        assert refused.status == 409
        assert missing in refused.detail
    for headers in (bob, boss, chief):
        assert (await rig.join(session, headers)).status == 409
    granted = await rig.post(f'{path}/grant-control', alice, named | {'role': 'operator'})
    assert granted.body == {'ok': True}
    for headers, status in ((boss, 409), (chief, 409), (bob, 200)):
        assert (await rig.join(session, headers)).status == status


# --- whether they may stop ---------------------------------------------------------------------


@pytest.mark.parametrize('may_stop', [True, False])
async def test_a_viewer_is_told_whether_its_stop_counts(tmp_path: Path, may_stop: bool) -> None:
    async with running(tmp_path, viewers_may_stop=may_stop) as rig:
        session, _, _ = await driven(rig)
        for role in Role:
            joined = await rig.join(session, rig.operator('eve', role, 'alice'), role='viewer')
            assert joined.body['may_stop'] is may_stop


# --- what a viewer cannot hold up --------------------------------------------------------------


async def test_a_viewer_that_never_connects_holds_up_nobody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_setup, 'CONNECT_TIMEOUT_S', 600.0)
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    eve = rig.operator('eve', Role.VIEWER, 'alice')
    me = {'cf_session_id': (await rig.join(session, eve, role='viewer')).body['cf_session_id']}
    rig.media.sessions[me['cf_session_id']].connected.clear()
    assert (await rig.join(session, alice)).status == 200
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(rig.bridge(session, eve, **me)) for _ in range(3)]
        # Answered after their requests came in, and before the first of those is answered.
        assert (await rig.get(f'/sessions/{session}/status', eve)).status == 200
        assert (await rig.bridge(session, alice)).status == 200
        assert not any(task.done() for task in waiting)
        rig.media.sessions[me['cf_session_id']].connected.set()
    assert {task.result().status for task in waiting} == {200}
    # The channels of all requests but the last are closed again.
    assert len(rig.media.open_streams(me['cf_session_id'])) == 4
