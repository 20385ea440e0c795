"""The store: keys, tokens and the audit trail on disk."""

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

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
import re
import sqlite3
import stat
import time

import pytest

from teleop_webrtc_bridge.broker.access.store import (
    AuditRow,
    hash_of,
    Known,
    Store,
    TooManyCredentials,
)
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.broker.main import main
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

ALICE = OperatorCaller(sub='alice', role=Role.OPERATOR)
BOB = OperatorCaller(sub='bob', role=Role.OPERATOR)
ROOT = OperatorCaller(sub='root', role=Role.ADMIN)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / 'a' / 'state')
    yield store
    store.close()


def new_key(store: Store, owner: str = 'alice', robot_id: str | None = None) -> tuple[str, str]:
    record, key = store.create_robot_key(name='k', robot_id=robot_id, owner=owner, now_s=1.0)
    return record.key_id, key


def test_keys_look_as_the_protocol_says(store: Store) -> None:
    assert re.fullmatch('dtk_live_[0-9a-f]{40}', new_key(store)[1])


def test_only_hashes_are_on_disk(store: Store, tmp_path: Path) -> None:
    _, key = new_key(store)
    token = store.create_operator_token(
        sub='alice', role=Role.OPERATOR, now_s=1.0, expires_at_s=None
    )
    files = list((tmp_path / 'a' / 'state').iterdir())
    assert len(files) == 3  # the database, its log and its index
    content = b''.join(file.read_bytes() for file in files)
    assert b'alice' in content
    for secret in (key, token):
        assert secret.encode() not in content
        assert bytes.fromhex(secret[9:]) not in content
        assert secret[-16:].encode() not in content


def test_only_the_owner_of_the_files_can_read_them(store: Store, tmp_path: Path) -> None:
    new_key(store)
    folder = tmp_path / 'a' / 'state'
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_key_is_its_owners_until_it_is_revoked(store: Store) -> None:
    key_id, key = new_key(store, robot_id='go2')
    robot = RobotCaller(key_id=key_id, owner='alice', robot_id='go2')
    assert store.robot_of(hash_of(key)) == Known(caller=robot, is_revoked=False)
    assert not store.revoke_robot_key(key_id, BOB, 2.0)
    assert store.in_force([key_id, 'x'], [], 2.0) == ({key_id}, set())
    revoked = store.revoke_robot_key(key_id, ALICE, 2.0)
    assert revoked is not None
    assert (revoked.key_id, revoked.robot_id) == (key_id, 'go2')
    assert store.robot_of(hash_of(key)) == Known(caller=robot, is_revoked=True)
    assert store.in_force([key_id], [], 2.0) == (set(), set())
    assert not store.revoke_robot_key(key_id, ALICE, 3.0)


@pytest.mark.parametrize('key', ['', 'dtk_live_', 'dtk_live_' + '0' * 40, 'x' * 10**6, '\udcff'])
def test_unknown_secrets_are_nobodys(store: Store, key: str) -> None:
    new_key(store)
    assert store.robot_of(hash_of(key)) is None
    assert store.operator_of(hash_of(key)) is None


def test_tenants_see_their_own_keys_and_admins_all(store: Store) -> None:
    alices, bobs = new_key(store, 'alice')[0], new_key(store, 'bob')[0]
    assert [key.key_id for key in store.robot_keys(ALICE)] == [alices]
    assert [key.key_id for key in store.robot_keys(BOB)] == [bobs]
    assert [key.key_id for key in store.robot_keys(ROOT)] == [alices, bobs]


def test_tokens_expire_and_are_revoked(store: Store) -> None:
    for_ever = store.create_operator_token(
        sub='alice', role=Role.ADMIN, now_s=1.0, expires_at_s=None
    )
    short = store.create_operator_token(
        sub='alice', role=Role.OPERATOR, now_s=1.0, expires_at_s=10.0
    )
    records = [store.token_record(token) for token in (for_ever, short)]
    ids = [record.token_id for record in records]
    alice = OperatorCaller(sub='alice', role=Role.ADMIN)
    assert store.operator_of(hash_of(for_ever)) == Known(caller=alice, is_revoked=False)
    assert store.operator_of(hash_of(short)) == Known(caller=ALICE, is_revoked=False)
    assert store.in_force([], ids, 9.9) == (set(), set(ids))
    assert store.in_force([], ids, 10.0) == (set(), {ids[0]})
    assert store.revoke_operator_tokens('alice', 5.0) == records
    assert store.in_force([], ids, 5.0) == (set(), set())
    known = store.operator_of(hash_of(short))
    assert known is not None
    assert known.is_revoked


def test_what_is_stored_survives(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    assert store.is_empty()
    _, key = new_key(store)
    store.close()
    again = Store.open(tmp_path)
    assert not again.is_empty()
    assert again.robot_of(hash_of(key)) is not None
    again.close()


def test_a_transaction_keeps_all_or_nothing(store: Store) -> None:
    def fail() -> None:
        with store.transaction():
            new_key(store)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.is_empty()
    with store.transaction():
        new_key(store)
    assert not store.is_empty()


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigurationError, match='--state-dir'):
        Store.open(tmp_path / 'file')
    (tmp_path / 'broker.sqlite3').write_bytes(b'no database' * 100)
    with pytest.raises(ConfigurationError, match='--state-dir'):
        Store.open(tmp_path)


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    database = sqlite3.connect(tmp_path / 'broker.sqlite3')
    database.execute('PRAGMA user_version = 99')
    database.close()
    with pytest.raises(ConfigurationError, match='newer version'):
        Store.open(tmp_path)


def test_a_tenant_has_only_so_many_keys_and_tokens_that_work(store: Store) -> None:
    key_id, _ = new_key(store)
    new_key(store, 'bob')

    def one_more() -> None:
        store.create_robot_key(name='k', robot_id=None, owner='alice', now_s=1.0, most=1)

    with pytest.raises(TooManyCredentials, match="'alice' has 1 API keys.*caps.keys_per_tenant"):
        one_more()
    assert store.revoke_robot_key(key_id, ALICE, 2.0)
    one_more()

    def token(now_s: float, sub: str = 'alice') -> None:
        store.create_operator_token(
            sub=sub,
            role=Role.VIEWER,
            tenant_name='yard',
            now_s=now_s,
            expires_at_s=now_s + 10.0,
            most=2,
        )

    token(1.0)
    token(2.0, 'bob')
    with pytest.raises(TooManyCredentials, match="'yard' has 2 operator tokens"):
        token(3.0)
    token(11.0)


def row(at_s: float, action: str = 'join', robot_id: str = 'go2') -> AuditRow:
    return AuditRow(
        at_s=at_s,
        action=action,
        tenant='yard',
        subject='ann',
        role='operator',
        robot_id=robot_id,
        session_id='s',
        address='192.0.2.1',
        detail='',
    )


def test_the_audit_trail_is_read_by_time_and_robot(store: Store) -> None:
    rows = [row(1.0), row(2.0, robot_id='arm'), row(3.0, 'leave')]
    store.append_audit(rows)
    assert list(store.audit()) == rows
    assert list(store.audit(since_s=2.0)) == rows[1:]
    assert list(store.audit(robot_id='go2')) == [rows[0], rows[2]]
    store.forget_audit(2.0)
    assert list(store.audit()) == rows[1:]


def test_a_long_audit_trail_is_read_in_order_and_holds_nobody_up(
    store: Store, tmp_path: Path
) -> None:
    rows = [row(float(number // 700), str(number)) for number in range(1600)]
    store.append_audit(rows)
    reading = store.audit()
    read = [next(reading)]
    with closing(Store.open(tmp_path / 'a' / 'state')) as other:
        assert other.checkpoint() > 0
    assert (tmp_path / 'a' / 'state' / 'broker.sqlite3-wal').stat().st_size == 0
    assert read + list(reading) == rows


@pytest.mark.parametrize(
    'statement',
    [
        "UPDATE audit SET subject = 'nobody'",
        'DELETE FROM audit',
        "REPLACE INTO audit SELECT number, 0, '', '', '', '', '', '', '', '' FROM audit",
    ],
)
def test_the_audit_trail_is_append_only(store: Store, tmp_path: Path, statement: str) -> None:
    store.append_audit([row(time.time())])
    with (
        closing(sqlite3.connect(tmp_path / 'a' / 'state' / 'broker.sqlite3')) as database,
        pytest.raises(sqlite3.IntegrityError, match='append-only'),
    ):
        database.execute(statement)


# --- older databases, and those of others ------------------------------------------------------

FIRST = """
CREATE TABLE robot_key (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, prefix TEXT NOT NULL, name TEXT NOT NULL,
    robot_id TEXT, owner TEXT NOT NULL, created_at_s REAL NOT NULL, revoked_at_s REAL
) STRICT;
CREATE TABLE operator_token (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, sub TEXT NOT NULL, role TEXT NOT NULL,
    created_at_s REAL NOT NULL, expires_at_s REAL, revoked_at_s REAL
) STRICT;
PRAGMA user_version = 1;
"""
SECOND = f"""
{FIRST}
ALTER TABLE operator_token ADD COLUMN tenant TEXT;
PRAGMA user_version = 2;
"""


def written(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
        database.commit()
    return path


@pytest.mark.parametrize('script', [FIRST, SECOND])
def test_a_database_of_an_older_version_is_brought_up_to_date(tmp_path: Path, script: str) -> None:
    path = written(tmp_path / 'broker.sqlite3', script)
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            'INSERT INTO robot_key VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
            ('k1', hash_of('key'), 'dtk', 'first key', None, 'owner', 1.0, None),
        )
        database.execute(
            'INSERT INTO operator_token (id, hash, sub, role, created_at_s)'
            ' VALUES (?, ?, ?, ?, ?)',
            ('t1', hash_of('token'), 'alice', 'operator', 1.0),
        )
        database.commit()
    for _ in range(2):
        with closing(Store.open(tmp_path)) as store:
            robot, person = store.robot_of(hash_of('key')), store.operator_of(hash_of('token'))
            assert robot is not None
            assert robot.caller == RobotCaller(key_id='k1', owner='owner', robot_id=None)
            assert person is not None
            assert isinstance(person.caller, OperatorCaller)
            assert (person.caller.sub, person.caller.tenant) == ('alice', 'alice')
            store.append_audit([row(1.0)])
    with closing(sqlite3.connect(path)) as database:
        assert database.execute('PRAGMA user_version').fetchone() == (4,)
        assert database.execute('PRAGMA integrity_check').fetchall() == [('ok',)]


@pytest.mark.parametrize(
    'script',
    [
        'CREATE TABLE users (name);',
        'CREATE VIEW things AS SELECT 1;',
        'CREATE TABLE users (name); PRAGMA user_version = 1;',
        'CREATE TABLE users (name); PRAGMA user_version = 3;',
        f'{SECOND} CREATE TABLE users (name);',
        f'{SECOND} PRAGMA user_version = 7;',
        f'{SECOND} DROP TABLE robot_key;',
        f'{FIRST} PRAGMA user_version = 0;',
        'PRAGMA application_id = 7;',
        'PRAGMA user_version = 2;',
        'PRAGMA user_version = -1;',
    ],
)
def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / 'broker.sqlite3', script)
    before = path.read_bytes()
    for words in ([], ['keys', 'add', 'yard'], ['operators', 'list']):
        assert main([*words, '--state-dir', str(tmp_path)]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count('\n')) == ('', 1)
        assert 'another program has written it' in said.err
        assert str(tmp_path) in said.err
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
