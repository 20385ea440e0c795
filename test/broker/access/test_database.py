"""The broker while its database is locked, missing, replaced or foreign."""

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
from collections.abc import Callable, Iterator
from contextlib import closing
import os
from pathlib import Path
import re
import shutil
import sqlite3
import threading

import pytest
from rig import Rig

from teleop_webrtc_bridge.broker.access.authenticator import Credentials
from teleop_webrtc_bridge.broker.access.database import Database, DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role
from teleop_webrtc_bridge.broker.main import main

FILE = 'broker.sqlite3'
EVERYBODY = OperatorCaller(sub='', role=Role.ADMIN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the path of the rig's database."""
    return tmp_path / 'state'


def copied(folder: Path, name: str) -> Path:
    """Return a copy of the current database."""
    path = folder.parent / name
    with closing(sqlite3.connect(folder / FILE)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
    return path


def foreign_database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute('CREATE TABLE users (name)')
        database.commit()
    return path


async def healthy_session(rig: Rig) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return a session with an operator, its robot and that operator."""
    robot, driver = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    assert (await rig.join(session, driver)).status == 200
    assert (await rig.bridge(session, driver)).status == 200
    return session, robot, driver


async def goes_on(rig: Rig, session: str, robot: dict[str, str], driver: dict[str, str]) -> None:
    assert (await rig.heartbeat(session, robot)).status == 200
    answer = await rig.post(f'/sessions/{session}/op-heartbeat', driver)
    assert answer.status == 200
    assert len(rig.media.sessions) == 2


async def until(rig: Rig, condition: Callable[[], bool]) -> None:
    """Check the database until a condition holds: a pending write may delay it."""
    async with asyncio.timeout(20.0):
        while not condition():
            await rig.broker.let_revoked_go()
            await asyncio.sleep(0.02)


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [text for text in caplog.messages if text.startswith(f'event={event} ')]


# --- locked ------------------------------------------------------------------------------------


async def test_a_locked_database_makes_only_the_one_who_writes_wait(
    rig: Rig, folder: Path
) -> None:
    session, robot, driver = await healthy_session(rig)
    newcomer = rig.operator('newcomer', tenant='alice')
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute('BEGIN EXCLUSIVE')
        writing = asyncio.create_task(rig.post('/keys', driver, {'name': 'yard'}))
        for _ in range(5):
            await goes_on(rig, session, robot, driver)
            await rig.pass_time(0.5)
            assert (await rig.get('/sessions', newcomer)).status == 200
        assert not writing.done()
        assert (await rig.get('/health')).body == {'status': 'ok'}
        other.execute('ROLLBACK')
    assert (await writing).status == 201


async def test_a_database_that_stays_locked_is_told_of_and_ends_nothing(
    rig: Rig, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session, robot, driver = await healthy_session(rig)
    newcomer = rig.operator('newcomer', tenant='alice')
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute('BEGIN EXCLUSIVE')
        answer = await rig.post('/keys', driver, {'name': 'yard'})
        assert (answer.status, answer.headers['Retry-After']) == (503, '5')
        assert answer.detail.startswith('The database fails: ')
        health = await rig.get('/health')
        assert (health.status, health.body['status']) == (200, 'degraded')
        # However long it lasts: keys and tokens can still be read, so nobody is disconnected.
        for _ in range(5):
            await rig.pass_time(15.0)
            await goes_on(rig, session, robot, driver)
        assert (await rig.get('/sessions', newcomer)).status == 200
        other.execute('ROLLBACK')
    assert (await rig.post('/keys', driver, {'name': 'yard'})).status == 201
    assert (await rig.get('/health')).body == {'status': 'ok'}
    assert len(lines(caplog, 'database_fails')) == 1
    assert len(lines(caplog, 'database_works_again')) == 1
    assert 'Traceback' not in caplog.text


# --- gone, or no database of ours --------------------------------------------------------------


def removed(folder: Path) -> None:
    (folder / FILE).rename(folder / 'elsewhere')


def overwritten(folder: Path) -> None:
    copied(folder, 'state/elsewhere')
    (folder / FILE).write_bytes(b'no database' * 1000)


def emptied(folder: Path) -> None:
    copied(folder, 'state/elsewhere')
    (folder / FILE).write_bytes(b'')


def of_another_program(folder: Path) -> None:
    foreign = foreign_database(folder / 'foreign')
    (folder / FILE).rename(folder / 'elsewhere')
    foreign.rename(folder / FILE)


def a_directory(folder: Path) -> None:
    (folder / FILE).rename(folder / 'elsewhere')
    (folder / FILE).mkdir()


DEFECTS: dict[Callable[[Path], None], str] = {
    removed: 'broker.sqlite3 is missing',
    overwritten: 'file is not a database',
    emptied: 'broker.sqlite3 is empty|file is not a database',
    of_another_program: "another program has written it: it has tables 'users'",
    a_directory: 'unable to open database file',
}


def put_back(folder: Path) -> None:
    if (folder / FILE).is_dir():
        (folder / FILE).rmdir()
    os.replace(folder / 'elsewhere', folder / FILE)


@pytest.mark.parametrize('damage', DEFECTS, ids=lambda damage: damage.__name__)
async def test_what_is_known_holds_for_a_minute_and_then_nobody_is_let_in(
    rig: Rig,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    session, robot, driver = await healthy_session(rig)
    newcomer, new_robot = rig.operator('newcomer', tenant='alice'), rig.robot()
    await rig.pass_time(0.5)
    damage(folder)
    await until(rig, lambda: rig.database.health.reason is not None)
    for seconds in (15.0, 15.0, 15.0, 14.0):
        await goes_on(rig, session, robot, driver)
        health = await rig.get('/health', newcomer)
        assert health.status == 200
        assert health.body['status'] == 'degraded'
        assert re.fullmatch(DEFECTS[damage], health.body['database'])
        for answer in (
            await rig.get('/sessions', newcomer),
            await rig.post('/sessions', new_robot, {}),
            await rig.post('/keys', driver, {'name': 'yard'}),
        ):
            assert (answer.status, answer.headers['Retry-After']) == (503, '5')
            assert re.fullmatch(f'The database fails: ({DEFECTS[damage]})', answer.detail)
        assert (await rig.get('/sessions', {'Authorization': 'Bearer x'})).status == 401
        await rig.pass_time(seconds)
    await goes_on(rig, session, robot, driver)
    await rig.pass_time(2.0)
    assert rig.media.sessions == {}
    for answer in (
        await rig.heartbeat(session, robot),
        await rig.get('/sessions', driver),
        await rig.get('/health'),
    ):
        assert (answer.status, answer.headers['Retry-After']) == (503, '5')
    put_back(folder)
    await rig.pass_time(0.5)
    assert (await rig.get('/sessions', newcomer)).status == 200
    assert (await rig.heartbeat(session, robot)).status == 404
    assert (await rig.get('/health')).body['status'] == 'ok'
    for event in ('database_fails', 'credentials_void', 'database_works_again'):
        assert len(lines(caplog, event)) == 1
    assert f'file={folder / FILE} ' in lines(caplog, 'database_fails')[0]
    assert re.search(DEFECTS[damage], lines(caplog, 'database_fails')[0])
    assert 'Traceback' not in caplog.text


async def test_an_error_in_what_is_done_twice_a_second_ends_nothing(
    rig: Rig, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session, robot, driver = await healthy_session(rig)
    with closing(sqlite3.connect(folder / FILE)) as database:
        database.execute('ALTER TABLE operator_token RENAME TO elsewhere')
        database.commit()
    for _ in range(4):
        await rig.pass_time(14.0)
        await goes_on(rig, session, robot, driver)
    assert (await rig.get('/health')).body['database'] == 'no such table: operator_token'
    with closing(sqlite3.connect(folder / FILE)) as database:
        database.execute('ALTER TABLE elsewhere RENAME TO operator_token')
        database.commit()
    await rig.pass_time(0.5)
    assert (await rig.get('/health')).body == {'status': 'ok'}
    await goes_on(rig, session, robot, driver)
    assert len(lines(caplog, 'database_fails')) == 1


async def test_what_ends_by_time_ends_without_the_database(rig: Rig, folder: Path) -> None:
    session = await rig.dial(rig.robot())
    token = rig.store.create_operator_token(
        sub='alice', role=Role.OPERATOR, now_s=rig.wall(), expires_at_s=rig.wall() + 10.0
    )
    driver = {'Authorization': f'Bearer {token}'}
    assert (await rig.join(session, driver)).status == 200
    await rig.pass_time(0.5)
    removed(folder)
    rig.wall.now_s += 10.0
    await rig.pass_time(0.5)
    assert len(rig.media.sessions) == 1
    answer = await rig.get('/sessions', driver)
    assert (answer.status, answer.detail) == (401, 'This operator token has expired')


async def test_while_the_database_hangs_who_is_in_goes_on(rig: Rig) -> None:
    session, robot, driver = await healthy_session(rig)
    newcomer = rig.operator('newcomer', tenant='alice')
    hanging = threading.Event()
    try:
        rig.database.ask(lambda store: hanging.wait(60.0))
        signing_in = asyncio.create_task(rig.get('/sessions', newcomer))
        for _ in range(20):
            await goes_on(rig, session, robot, driver)
            assert (await rig.get('/health', newcomer)).status == 200
        answer = await signing_in
        assert (answer.status, answer.headers['Retry-After']) == (503, '5')
        assert answer.detail == 'The database fails: reading takes longer than 2 s'
        await goes_on(rig, session, robot, driver)
    finally:
        hanging.set()
    assert (await rig.get('/sessions', newcomer)).status == 200


# --- replaced by another one of ours -----------------------------------------------------------


@pytest.mark.parametrize('in_place', [False, True])
async def test_a_replaced_database_is_in_use_at_once(
    rig: Rig, folder: Path, caplog: pytest.LogCaptureFixture, in_place: bool
) -> None:
    session, robot, driver = await healthy_session(rig)
    guest = rig.operator('guest', tenant='alice')
    assert (await rig.join(session, guest, role='viewer')).status == 200
    await rig.pass_time(0.5)
    copy = copied(folder, 'copy')
    with closing(Store.of_file(copy)) as other:
        assert other.revoke_operator_tokens('guest', rig.wall())
        late = other.create_operator_token(
            sub='late', role=Role.OPERATOR, tenant_name='alice', now_s=1.0, expires_at_s=None
        )
    if in_place:
        # As the broker and its command line do. SQLite also shares the state of a file among all
        # connections of a process, so this connection must not stay open.
        rig.store.checkpoint()
        rig.store.close()
        shutil.copyfile(copy, folder / FILE)
    else:
        os.replace(copy, folder / FILE)
    await until(rig, lambda: len(rig.media.sessions) == 2)
    await goes_on(rig, session, robot, driver)
    assert (await rig.get('/sessions', guest)).status == 401
    assert (await rig.get('/sessions', {'Authorization': f'Bearer {late}'})).status == 200
    assert (await rig.get('/health')).body['status'] == 'ok'
    if not in_place:
        (line,) = lines(caplog, 'database_replaced')
        assert f'file={folder / FILE} ' in line
        note = 'the file was replaced; the new one is in use'
        assert (await rig.get('/health')).body == {'status': 'ok', 'database': note}
    assert main(['operators', 'revoke', 'late', '--state-dir', str(folder)]) == 0
    await rig.pass_time(61.0)
    assert (await rig.get('/sessions', {'Authorization': f'Bearer {late}'})).status == 401
    assert (await rig.get('/health')).body == {'status': 'ok'}


async def test_what_the_old_file_has_left_is_not_added_to_the_new_one(
    rig: Rig, folder: Path
) -> None:
    """A reader stays active, so the log of the old file is not empty."""
    new, old = copied(folder, 'copy'), rig.operator('old')
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as reader:
        reader.execute('BEGIN')
        reader.execute('SELECT count(*) FROM operator_token').fetchone()
        await rig.post('/keys', old, {'name': 'yard'})
        assert (folder / f'{FILE}-wal').stat().st_size > 0
        os.replace(new, folder / FILE)
        await rig.pass_time(0.5)
        assert (await rig.get('/sessions', old)).status == 401
    with closing(sqlite3.connect(folder / FILE)) as database:
        assert database.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
        assert database.execute('SELECT count(*) FROM robot_key').fetchone() == (0,)


# --- keys and tokens in use --------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path)) as database:
        yield database


def new_key(store: Store) -> tuple[str, str]:
    record, key = store.create_robot_key(name='k', robot_id=None, owner='alice', now_s=1.0)
    return record.key_id, key


async def test_who_comes_with_one_secret_at_once_asks_once(database: Database) -> None:
    credentials = Credentials(database, lambda: 1.0)
    _, key = await database.write(new_key)
    hanging = threading.Event()
    database.ask(lambda store: hanging.wait(60.0))
    lookups = [asyncio.create_task(credentials.robot(key)) for _ in range(2000)]
    await asyncio.sleep(0)
    hanging.set()  # had each of them asked, most would be refused: that is too many calls
    assert {known.caller.owner for known in await asyncio.gather(*lookups) if known} == {'alice'}


async def test_guesses_are_refused_by_their_form_or_bounded(database: Database) -> None:
    credentials = Credentials(database, lambda: 1.0)
    hanging = threading.Event()
    database.ask(lambda store: hanging.wait(60.0))
    try:
        for secret in ('', 'x', 'dtk_live_', 'dtk_live_' + 'g' * 40, 'dto_live_' + '0' * 41):
            assert await credentials.robot(secret) is None
            assert await credentials.operator(secret) is None
        guesses = [
            asyncio.create_task(credentials.robot(f'dtk_live_{number:040x}'))
            for number in range(300)
        ]
        refused, _ = await asyncio.wait(guesses, timeout=1.0)
        assert len(refused) == 300 - 256
        assert all(isinstance(guess.exception(), DatabaseUnavailable) for guess in refused)
    finally:
        hanging.set()
    assert not [
        known
        for known in await asyncio.gather(*guesses, return_exceptions=True)
        if known is not None and not isinstance(known, DatabaseUnavailable)
    ]


async def test_what_is_revoked_while_it_is_looked_up_is_noticed(
    database: Database, tmp_path: Path
) -> None:
    credentials = Credentials(database, lambda: 1.0)
    key_id, key = await database.write(new_key)
    await credentials.ended([], [])
    hanging = threading.Event()

    def revoke(store: Store) -> None:
        with closing(Store.open(tmp_path)) as other:
            assert other.revoke_robot_key(key_id, EVERYBODY, 2.0)

    # The thread runs these in turn: look up the key, revoke it, check for changes.
    database.ask(lambda store: hanging.wait(60.0))
    looking_up = asyncio.create_task(credentials.robot(key))
    await asyncio.sleep(0)
    database.ask(revoke)
    checking = asyncio.create_task(credentials.ended([], []))
    await asyncio.sleep(0)
    hanging.set()
    known = await looking_up
    assert known is not None
    assert not known.is_revoked
    ended = (await checking).key_ids | (await credentials.ended([], [])).key_ids
    assert ended == {key_id}
    known = await credentials.robot(key)
    assert known is not None
    assert known.is_revoked


async def test_only_what_is_in_use_is_asked_about(database: Database) -> None:
    """A check asks only about keys that were presented, however many others exist."""
    credentials = Credentials(database, lambda: 1.0)
    used_id, used = await database.write(new_key)
    for _ in range(20):
        await database.write(new_key)
    assert await credentials.robot(used) is not None
    await database.write(lambda store: store.revoke_robot_key(used_id, EVERYBODY, 2.0))
    assert (await credentials.ended(['unknown'], [])).key_ids == {used_id, 'unknown'}
    assert (await credentials.ended([], [])).key_ids == frozenset()


async def test_a_write_that_came_too_late_for_its_caller_leaves_nothing(
    database: Database,
) -> None:
    writing = asyncio.Event()
    loop, hanging = asyncio.get_running_loop(), threading.Event()

    def slow(store: Store) -> None:
        loop.call_soon_threadsafe(writing.set)
        new_key(store)
        hanging.wait(60.0)

    caller = asyncio.create_task(database.write(slow))
    await writing.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    hanging.set()
    await database.write(lambda store: None)
    assert await database.read(lambda store: store.robot_keys(EVERYBODY)) == []


# --- the command line --------------------------------------------------------------------------


@pytest.mark.parametrize(
    'words',
    [
        ('keys', 'list'),
        ('keys', 'revoke', 'x'),
        ('operators', 'list'),
        ('operators', 'revoke', 'alice'),
        ('audit',),
    ],
)
@pytest.mark.parametrize('exists', [False, True])
def test_only_add_makes_a_database(
    tmp_path: Path, words: tuple[str, ...], exists: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path if exists else tmp_path / 'none'
    assert main([*words, '--state-dir', str(folder)]) == 2
    output = capsys.readouterr()
    assert output.out == ''
    assert output.err.count('\n') == 1
    assert 'there is no broker.sqlite3' in output.err
    assert str(folder) in output.err
    assert list(tmp_path.iterdir()) == []


async def test_who_is_revoked_after_the_file_was_moved_away_is_not_said_to_be_unknown(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await healthy_session(rig)
    await rig.pass_time(0.5)
    removed(folder)
    assert main(['operators', 'revoke', 'alice', '--state-dir', str(folder)]) == 2
    assert 'there is no broker.sqlite3' in capsys.readouterr().err
    assert not (folder / FILE).exists()
