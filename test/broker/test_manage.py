"""Keys and tokens by command line and API, and the immediate effect of revoking one."""

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

from contextlib import closing
from pathlib import Path

import pytest
from rig import IDS, NO_IDS, Rig, running

from teleop_webrtc_bridge.broker.access.store import hash_of, Store
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.broker.main import main


def command(folder: Path, *words: str) -> int:
    return main([*words, '--state-dir', str(folder)])


def test_a_key_is_added_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, 'keys', 'add', 'yard', '--robot-id', 'go2', '--tenant', 'alice') == 0
    key = capsys.readouterr().out.strip()
    with closing(Store.open(tmp_path)) as store:
        known = store.robot_of(hash_of(key))
        assert known is not None
        assert isinstance(known.caller, RobotCaller)
        assert (known.caller.owner, known.caller.robot_id) == ('alice', 'go2')
    assert command(tmp_path, 'keys', 'list') == 0
    listed = capsys.readouterr().out
    assert key not in listed
    key_id, *rest = listed.splitlines()[1].split()
    assert rest[:3] == ['yard', 'alice', 'go2']
    assert command(tmp_path, 'keys', 'revoke', key_id) == 0
    assert command(tmp_path, 'keys', 'revoke', key_id) == 1
    assert 'there is no key' in capsys.readouterr().err
    with closing(Store.open(tmp_path)) as store:
        known = store.robot_of(hash_of(key))
        assert known is not None
        assert known.is_revoked


def test_an_operator_is_added_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ('operators', 'add', 'bob', '--role', 'viewer', '--days', '1')
    assert command(tmp_path, *words) == 0
    assert command(tmp_path, 'operators', 'add', 'bob') == 0
    first, second = capsys.readouterr().out.split()
    with closing(Store.open(tmp_path)) as store:
        record = store.token_record(first)
        assert (record.sub, record.role, record.tenant) == ('bob', Role.VIEWER, 'owner')
        assert record.expires_at_s is not None
    assert command(tmp_path, 'operators', 'list') == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1:4] for row in rows] == [['bob', 'viewer', 'owner'], ['bob', 'operator', 'owner']]
    assert command(tmp_path, 'operators', 'revoke', rows[0][0]) == 0
    with closing(Store.open(tmp_path)) as store:
        ids = [store.token_record(token).token_id for token in (first, second)]
        assert store.in_force([], ids, 0.0) == (set(), {ids[1]})
    assert command(tmp_path, 'operators', 'revoke', 'bob') == 0
    assert command(tmp_path, 'operators', 'revoke', 'bob') == 1


def test_a_tenant_has_only_so_many_keys_and_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / 'broker.yaml'
    file.write_text('caps: {keys_per_tenant: 1, tokens_per_tenant: 1}')
    for subject in ('keys', 'operators'):
        words = (subject, 'add', 'a', '--config', str(file))
        assert command(tmp_path, *words) == 0
        assert capsys.readouterr().out.startswith('dt')
        assert command(tmp_path, *words) == 1
        said = capsys.readouterr()
        assert (said.out, said.err.count('\n')) == ('', 1)
        assert said.err.startswith("teleop_broker: Tenant 'owner' has 1 ")
        assert command(tmp_path, *words, '--tenant', 'yard') == 0
        assert command(tmp_path, subject, 'list') == 0
        assert len(capsys.readouterr().out.splitlines()) == 1 + 1 + 2


@pytest.mark.parametrize(
    'words',
    [
        ('keys',),
        ('keys', 'steal'),
        ('keys', 'add', '<b>'),
        ('keys', 'add', 'a', '--robot-id', 'x' * 65),
        ('operators', 'add', 'bob', '--role', 'king'),
        ('operators', 'add', 'bob', '--days', '0'),
        ('operators', 'add', 'bob', '--tenant', ''),
        ('operators', 'revoke'),
    ],
)
def test_a_bad_command_is_one_line_and_status_2(
    tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *(['--state-dir', str(tmp_path)] if len(words) > 1 else [])]) == 2
    output = capsys.readouterr()
    assert output.out == ''
    assert output.err.startswith('teleop_broker: ')
    assert output.err.count('\n') == 1


async def test_a_key_revoked_beside_a_running_broker_ends_what_it_is_used_for(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as rig:
        robot = rig.robot()
        session = await rig.dial(robot)
        await rig.join(session, rig.operator())
        with closing(Store.open(tmp_path)) as other:
            (key,) = other.robot_keys(OperatorCaller(sub='', role=Role.ADMIN))
        assert command(tmp_path, 'keys', 'revoke', key.key_id) == 0
        await rig.pass_time(0.5)
        assert (await rig.heartbeat(session, robot)).status == 401
        assert rig.media.sessions == {}


async def test_an_operator_revoked_beside_a_running_broker_is_evicted(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        robot, alice = rig.robot(), rig.operator()
        eve = rig.operator('eve', tenant='alice')
        session = await rig.dial(robot)
        await rig.join(session, eve)
        await rig.bridge(session, eve)
        await rig.join(session, eve, role='viewer')
        assert command(tmp_path, 'operators', 'revoke', 'eve') == 0
        await rig.pass_time(0.5)
        assert (await rig.post(f'/sessions/{session}/op-heartbeat', eve)).status == 401
        assert list(rig.media.sessions) == ['media1']
        assert await rig.robot_ids(session, robot) == NO_IDS
        assert set(NO_IDS) == set(IDS)
        row = (await rig.get(f'/sessions/{session}/status', alice)).body
        assert (row['operator_id'], row['viewers']) == (None, 0)


async def test_a_token_that_expires_ends_what_it_was_used_for(rig: Rig) -> None:
    token = rig.store.create_operator_token(
        sub='alice', role=Role.OPERATOR, now_s=rig.wall(), expires_at_s=rig.wall() + 60.0
    )
    session = await rig.dial(rig.robot())
    await rig.join(session, {'Authorization': f'Bearer {token}'})
    await rig.pass_time(0.5)
    assert len(rig.media.sessions) == 2
    rig.wall.now_s += 60.0
    await rig.pass_time(0.5)
    assert len(rig.media.sessions) == 1


async def test_administrators_manage_operators(rig: Rig) -> None:
    admin = rig.operator('root', Role.ADMIN)
    body = {'operator_id': 'bob', 'role': 'viewer', 'tenant': 'alice', 'expires_in_s': 60}
    made = await rig.post('/operators', admin, body)
    assert made.status == 201
    bob = {'Authorization': f'Bearer {made.body.pop("token")}'}
    fields = ('operator_id', 'role', 'tenant')
    assert [made.body[name] for name in fields] == ['bob', 'viewer', 'alice']
    await rig.dial(rig.robot())
    assert len((await rig.get('/sessions', bob)).body) == 1
    listed = (await rig.get('/operators', admin)).body
    assert made.body in listed
    assert len(listed) == 2
    for other in (rig.operator(), bob):
        assert (await rig.get('/operators', other)).status == 403
        assert (await rig.post('/operators', other, body)).status == 403
        path = f'/operators/{made.body["id"]}'
        assert (await rig.call('DELETE', path, other)).status == 403
    assert (await rig.call('DELETE', path, admin)).status == 204
    assert (await rig.call('DELETE', path, admin)).status == 404
    assert (await rig.get('/sessions', bob)).status == 401


@pytest.mark.parametrize(
    'fields',
    [
        {'operator_id': '<'},
        {'role': 'king'},
        {'role': 7},
        {'tenant': ''},
        {'expires_in_s': 0},
        {'expires_in_s': 'x'},
    ],
)
async def test_a_bad_operator_is_refused(rig: Rig, fields: dict[str, object]) -> None:
    admin = rig.operator('root', Role.ADMIN)
    body = {'operator_id': 'bob', **fields}
    assert (await rig.post('/operators', admin, body)).status == 422
