"""The audit trail: its contents, its independence from the database, and its listing."""

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
from contextlib import closing
import json
import os
from pathlib import Path
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from rig import Rig, running
from tree import ROOT

from teleop_webrtc_bridge.broker.access.audit import AuditAction
from teleop_webrtc_bridge.broker.access.store import AuditRow, Store
from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.main import main
from teleop_webrtc_bridge.broker.media.backend import StopSeen

HERE = '127.0.0.1'
ANN = Identity(tenant='yard', sub='ann', role=Role.OPERATOR)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the path of the rig's database."""
    return tmp_path / 'state'


async def trail(rig: Rig, is_complete: Callable[[list[AuditRow]], bool]) -> list[AuditRow]:
    """Return the stored lines, once they are complete."""
    async with asyncio.timeout(30.0):
        while not is_complete(  # noqa: ASYNC110
            rows := await rig.database.read(lambda store: list(store.audit()))
        ):
            await asyncio.sleep(0.02)
        return rows


async def written(rig: Rig) -> list[AuditRow]:
    """Return the trail once everything so far is in it."""
    mark = f'until {time.monotonic_ns()}'
    rig.audit.record(AuditAction.DATABASE, None, detail=mark)
    rows = await trail(rig, lambda rows: any(row.detail == mark for row in rows))
    return [row for row in rows if not row.detail.startswith('until ')]


def told(rows: list[AuditRow], *actions: AuditAction) -> list[tuple[str, str, str]]:
    """Return who did what and the detail, by default without sign-ins."""
    wanted = {action.value for action in actions or set(AuditAction) - {AuditAction.SIGN_IN}}
    return [(row.action, row.subject, row.detail) for row in rows if row.action in wanted]


async def test_who_drives_and_watches_is_in_it_until_they_leave(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    guest = rig.operator('guest', Role.VIEWER, tenant='alice')
    session = await rig.dial(robot, robot_id='go2')
    await rig.join(session, alice)
    await rig.join(session, guest, role='viewer')
    await rig.join(session, alice)
    await rig.post(f'/sessions/{session}/leave', alice, {})
    await rig.post(f'/sessions/{session}/leave', guest, {})
    rows = await written(rig)
    assert told(rows) == [
        ('join', 'alice', ''),
        ('watch', 'guest', ''),
        ('leave', 'alice', 'joined_again'),
        ('join', 'alice', ''),
        ('leave', 'alice', 'left'),
        ('leave', 'guest', ''),
    ]
    watch = next(row for row in rows if row.action == 'watch')
    assert (watch.tenant, watch.role, watch.robot_id) == ('alice', 'viewer', 'go2')
    assert (watch.session_id, watch.address, watch.at_s) == (session, HERE, rig.wall())


@pytest.mark.parametrize(
    ('how', 'why'),
    [
        ('silent', 'operator_silent'),
        ('revoked', 'operator_revoked'),
        ('key revoked', 'key_revoked'),
        ('robot hangs up', 'deleted'),
        ('robot dials again', 'superseded'),
    ],
)
async def test_who_is_put_out_has_left_too(rig: Rig, how: str, why: str) -> None:
    robot, alice, root = rig.robot(), rig.operator(), rig.operator('root', Role.ADMIN)
    session = await rig.dial(robot, robot_id='go2')
    await rig.join(session, alice)
    match how:
        case 'silent':
            await rig.pass_time(21.0)
        case 'revoked':
            rig.store.revoke_operator_tokens('alice', rig.wall())
            await rig.pass_time(0.5)
        case 'key revoked':
            (key,) = (await rig.get('/keys', root)).body['keys']
            await rig.call('DELETE', f'/keys/{key["id"]}', root)
        case 'robot hangs up':
            await rig.call('DELETE', f'/sessions/{session}', robot)
        case _:
            await rig.dial(robot, robot_id='go2')
    leaving = told(await written(rig), AuditAction.JOIN, AuditAction.LEAVE)
    assert leaving == [('join', 'alice', ''), ('leave', 'alice', why)]


async def test_how_control_goes_from_one_to_another_is_in_it(rig: Rig) -> None:
    ann, bob = rig.operator('ann', tenant='yard'), rig.operator('bob', tenant='yard')
    root = rig.operator('root', Role.ADMIN)
    session = await rig.dial(rig.robot('yard'))
    await rig.join(session, ann)
    await rig.post(f'/sessions/{session}/request-control', bob, {})
    await rig.post(f'/sessions/{session}/grant-control', ann, {'operator_id': 'bob'})
    await rig.join(session, bob)
    await rig.post(f'/sessions/{session}/take-control', root, {})
    await rig.join(session, root)
    assert (await rig.join(session, ann)).status == 409
    assert told(await written(rig)) == [
        ('join', 'ann', ''),
        ('grant', 'ann', 'to bob (operator of yard)'),
        ('take_over', 'bob', 'from ann (operator of yard)'),
        ('leave', 'ann', 'taken_over'),
        ('join', 'bob', ''),
        ('take_over', 'root', 'with the next join'),
        ('take_over', 'root', 'from bob (operator of yard)'),
        ('leave', 'bob', 'taken_over'),
        ('join', 'root', ''),
    ]


async def test_who_stops_a_robot_and_who_is_put_out_for_it_is_in_it(rig: Rig) -> None:
    alice = rig.operator()
    guest = rig.operator('guest', Role.VIEWER, tenant='alice')
    session = await rig.dial(rig.robot(), robot_id='go2')
    driving = await rig.join(session, alice)
    watching = await rig.join(session, guest, role='viewer')
    people = (
        (watching, Identity(tenant='alice', sub='guest', role=Role.VIEWER), False),
        (driving, Identity(tenant='alice', sub='alice', role=Role.OPERATOR), True),
    )
    for joined, who, is_release in people:
        media_id = joined.body['cf_session_id']
        rig.media.on_stop(StopSeen(media_id=media_id, by=who, is_release=is_release))
    removal = await rig.post(f'/sessions/{session}/remove-viewer', alice, {'operator_id': 'guest'})
    assert removal.status == 200
    rows = await written(rig)
    wanted = (AuditAction.ESTOP, AuditAction.ESTOP_CLEAR, AuditAction.VIEWER_REMOVED)
    assert told(rows, *wanted) == [
        ('estop', 'guest', ''),
        ('estop_clear', 'alice', ''),
        ('viewer_removed', 'alice', 'guest (viewer of alice)'),
    ]
    stop = next(row for row in rows if row.action == 'estop')
    assert (stop.robot_id, stop.session_id, stop.address) == ('go2', session, HERE)
    assert (stop.tenant, stop.role) == ('alice', 'viewer')


async def test_a_sign_in_is_the_first_use_within_an_hour(rig: Rig) -> None:
    ann = rig.operator('ann', tenant='yard')
    for minutes in (0, 1, 59, 59, 61):
        rig.wall.now_s += 60.0 * minutes
        assert (await rig.get('/sessions', ann)).status == 200
    assert (await rig.get('/sessions', rig.operator('bob'))).status == 200
    assert (await rig.get('/sessions', {'Authorization': 'Bearer x'})).status == 401
    assert (await rig.get('/sessions/turn-credentials', rig.robot())).status == 200
    rows = await written(rig)
    assert told(rows, AuditAction.SIGN_IN) == [
        ('sign_in', 'ann', ''),
        ('sign_in', 'ann', ''),
        ('sign_in', 'bob', ''),
    ]
    assert {(row.tenant, row.role, row.address) for row in rows[:2]} == {
        ('yard', 'operator', HERE)
    }


async def test_keys_and_tokens_are_in_it_whoever_makes_them(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = rig.operator('root', Role.ADMIN)
    key = (await rig.post('/keys', root, {'name': 'yard', 'robot_id': 'go2'})).body
    token = (await rig.post('/operators', root, {'operator_id': 'bob', 'tenant': 'yard'})).body
    await rig.call('DELETE', f'/keys/{key["id"]}', root)
    await rig.call('DELETE', f'/operators/{token["id"]}', root)
    about = [
        ('key_created', 'root', f"key {key['id']} 'yard' of root"),
        ('token_created', 'root', f'token {token["id"]} of bob (operator of yard)'),
        ('key_revoked', 'root', f"key {key['id']} 'yard' of root"),
        ('token_revoked', 'root', f'token {token["id"]} of bob (operator of yard)'),
    ]
    rows = await written(rig)
    assert told(rows) == about
    assert [row.robot_id for row in rows if row.action.startswith('key')] == ['go2', 'go2']
    for words in (
        ('keys', 'add', 'arm', '--robot-id', 'arm'),
        ('operators', 'add', 'eve', '--role', 'viewer'),
        ('operators', 'revoke', 'eve'),
    ):
        assert main([*words, '--state-dir', str(folder)]) == 0
    secrets = capsys.readouterr().out.split()
    rows = (await written(rig))[len(rows) :]
    assert [(row.action, row.subject, row.address) for row in rows] == [
        (action, 'command line', 'command line')
        for action in ('key_created', 'token_created', 'token_revoked')
    ]
    assert rows[0].robot_id == 'arm'
    assert rows[1].detail.endswith(' of eve (viewer of owner)')
    text = str(await written(rig))
    for secret in (key['api_key'], token['token'], *secrets):
        assert secret[9:] not in text


# --- nothing waits for it ----------------------------------------------------------------------


async def test_lines_are_kept_up_to_a_bound_and_then_counted(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    await written(rig)
    for number in range(10_100):
        rig.audit.record(AuditAction.ESTOP, ANN, detail=str(number))
    rows = await trail(rig, lambda rows: 'lost' in rows[-1].detail)
    details = [row.detail for row in rows if row.action == 'estop']
    assert details == [str(number) for number in range(10_000)]
    assert rows[-1].detail == '100 lines were lost while the database failed'
    assert 'event=audit_lost lines=100' in caplog.messages


async def test_what_happened_just_before_the_end_is_in_it(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.audit.record(AuditAction.ESTOP, ANN, robot_id='go2', detail='the last one')
    with closing(Store.open(tmp_path)) as store:
        assert [row.detail for row in store.audit()] == ['the last one']


async def test_what_is_too_old_is_forgotten(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path)) as store:
        for days in (8.0, 6.0):
            at_s = 1.7e9 - days * 86_400.0
            store.append_audit([line(at_s, f'{days:g} days')])
    async with running(tmp_path, audit_days=7) as rig:
        rows = await trail(rig, lambda rows: len(rows) < 2)
        assert [row.detail for row in rows] == ['6 days']


# --- reading it --------------------------------------------------------------------------------


def line(at_s: float, detail: str, robot_id: str = 'go2') -> AuditRow:
    return AuditRow(
        at_s=at_s,
        action='estop',
        tenant='yard',
        subject='ann',
        role='viewer',
        robot_id=robot_id,
        session_id='0123456789abcdef',
        address='192.0.2.1',
        detail=detail,
    )


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    now_s = time.time()
    with closing(Store.open(tmp_path)) as store:
        store.append_audit(
            [
                line(1_700_000_000.5, 'long ago'),
                line(now_s - 7200.0, 'two hours ago', 'arm'),
                line(now_s - 60.0, 'just now'),
            ]
        )
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> Any:
    assert main(['audit', '--json', '--state-dir', str(folder), *words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ('words', 'details'),
    [
        ((), ['long ago', 'two hours ago', 'just now']),
        (('--since', '3h'), ['two hours ago', 'just now']),
        (('--since', '90m'), ['just now']),
        (('--since', '5s'), []),
        (('--since', '2023-11-14T22:13:21'), ['two hours ago', 'just now']),
        (('--since', '2023-11-14T22:13:20Z'), ['long ago', 'two hours ago', 'just now']),
        (('--since', '2023-11-15'), ['two hours ago', 'just now']),
        (('--robot', 'arm'), ['two hours ago']),
        (('--robot', 'go2', '--since', '1d'), ['just now']),
        (('--robot', 'none'), []),
    ],
)
def test_it_is_listed_by_time_and_robot(
    filled: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], details: list[str]
) -> None:
    assert [row['detail'] for row in listed(capsys, filled, *words)] == details


def test_json_has_everything_and_the_table_is_for_people(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys, filled)[0] == {
        'at': '2023-11-14T22:13:20.500+00:00',
        'action': 'estop',
        'tenant': 'yard',
        'subject': 'ann',
        'role': 'viewer',
        'robot_id': 'go2',
        'session_id': '0123456789abcdef',
        'address': '192.0.2.1',
        'detail': 'long ago',
    }
    assert main(['audit', '--state-dir', str(filled)]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ['TIME', '(UTC)']
    assert re.split(' +', first, maxsplit=9) == [
        *('2023-11-14', '22:13:20', 'estop', 'ann', 'viewer', 'yard', 'go2', '01234567'),
        *('192.0.2.1', 'long ago'),
    ]


@pytest.mark.parametrize('when', ['', 'yesterday', '2h30m', '-2h', '2026-13-01', '1e9'])
def test_a_time_that_is_none_is_one_line(
    filled: Path, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    assert main(['audit', f'--since={when}', '--state-dir', str(filled)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count('\n')) == ('', 1)
    assert f'--since: {when!r} is not usable; allowed: ' in said.err


@pytest.mark.real_programs
def test_whoever_reads_only_the_beginning_is_told_no_more(filled: Path) -> None:
    with closing(Store.open(filled)) as store:
        store.append_audit([line(2e9, 'x' * 100) for _ in range(3000)])
    reading, writing = os.pipe()
    arguments = ['audit', '--json', '--state-dir', str(filled)]
    words = [sys.executable, '-m', 'teleop_webrtc_bridge.broker.main', *arguments]
    process = subprocess.Popen(words, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert os.read(reading, 10)
    os.close(reading)
    assert process.communicate(timeout=60.0)[1] == b''
    assert process.returncode == 0


def test_names_do_nothing_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store.open(tmp_path)) as store:
        store.append_audit([line(1.0, '\x1b[2J', 'a\nb')])
    assert main(['audit', '--state-dir', str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert '\x1b' not in said
    assert len(said.splitlines()) == 2
