"""The program as people run it, in real processes with fake media."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
import os
from pathlib import Path
import re
import signal
import sqlite3
import stat
import sys
from typing import Any

import aiohttp
import pytest
from tree import ROOT, SUPPORT

from teleop_webrtc_bridge.broker.access.store import Store

pytestmark = pytest.mark.real_programs

PROGRAM = SUPPORT / 'broker_on_fake_media.py'
LINE = re.compile(r'Operator page: (http://127\.0\.0\.1:\d+)/(?: \(sign-in link: (.+)\))?\n')
WAIT_S = 20.0


class Program:
    """A running broker."""

    def __init__(self, process: asyncio.subprocess.Process, line: str) -> None:
        match = LINE.fullmatch(line)
        assert match is not None, line
        self.process = process
        self.url = match[1]
        self.link = Path(match[2]) if match[2] else None
        self.token: str | None = None
        if self.link is not None:
            page, _, self.token = self.link.read_text().strip().partition('#token=')
            assert page == f'{self.url}/'

    async def sessions_status(self) -> int:
        """Return the HTTP status of a call with the printed token."""
        return (await self._sessions())[0]

    async def round_trip_ms(self) -> float:
        """Return the only robot's newest heartbeat."""
        return float((await self._sessions())[1][0]['rtt_ms'] or 0)

    async def _sessions(self) -> tuple[int, Any]:
        headers = {'Authorization': f'Bearer {self.token}'}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.get(f'{self.url}/api/v1/sessions') as response,
        ):
            return response.status, await response.json()


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        *arguments,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[str, str]:
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate()
    return out.decode(), err.decode()


@asynccontextmanager
async def running(folder: Path, *arguments: str) -> AsyncIterator[Program]:
    process = await start('--port', '0', '--state-dir', str(folder), *arguments)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            yield Program(process, (await process.stdout.readline()).decode())
    finally:
        if process.returncode is None:
            process.kill()
            await finish(process)


@pytest.mark.parametrize(
    'arguments',
    [
        ['--port', 'x'],
        ['--log-level', 'loud'],
        ['--nonsense'],
        ['--config', '/nowhere.yaml'],
        ['--state-dir', '/proc/nothing'],
        ['--host', 'no.such.host.invalid'],
    ],
)
async def test_a_bad_setting_is_one_line_and_status_2(
    arguments: list[str], tmp_path: Path
) -> None:
    folder = [] if '--state-dir' in arguments else ['--state-dir', str(tmp_path)]
    process = await start('--port', '0', *folder, *arguments)
    out, err = await finish(process)
    assert (process.returncode, out) == (2, '')
    assert err.startswith('teleop_broker: ')
    assert err.count('\n') == 1
    assert arguments[0] in err
    assert 'allowed: ' in err
    assert not (tmp_path / 'robot_api_key').exists()


async def test_a_port_in_use_is_one_line_and_status_2(tmp_path: Path) -> None:
    async with running(tmp_path / 'a') as program:
        port = program.url.rpartition(':')[2]
        process = await start('--port', port, '--state-dir', str(tmp_path / 'b'))
        out, err = await finish(process)
    assert (process.returncode, out) == (2, '')
    assert err.count('\n') == 1
    assert f'--port: {port} ' in err
    # This does not count as the first start, so no token is lost.
    async with running(tmp_path / 'b') as program:
        assert program.token is not None


async def test_the_first_start_gives_a_token_and_a_robot_key(tmp_path: Path) -> None:
    async with running(tmp_path / 'state') as program:
        assert await program.sessions_status() == 200
        file = tmp_path / 'state' / 'robot_api_key'
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert program.link == tmp_path / 'state' / 'operator_page_link'
        assert stat.S_IMODE(program.link.stat().st_mode) == 0o600
        key = file.read_text().strip()
        async with (
            aiohttp.ClientSession(headers={'X-Robot-API-Key': key}) as http,
            http.post(f'{program.url}/api/v1/sessions/x/heartbeat') as response,
        ):
            assert response.status == 404  # not 401
        program.process.send_signal(signal.SIGTERM)
        out, err = await finish(program.process)
    assert (program.process.returncode, out) == (0, '')
    assert program.token is not None
    assert program.token not in err
    assert key not in err


async def test_on_a_terminal_the_link_is_printed_and_kept_nowhere(tmp_path: Path) -> None:
    main_end, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), '--port', '0', '--state-dir', str(tmp_path)),
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=terminal,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(terminal)  # so that the other end is told when the program ends
    try:
        said = b''
        while not said.endswith(b'\n'):
            said += await asyncio.to_thread(os.read, main_end, 4096)
    finally:
        process.kill()
        await process.wait()
        os.close(main_end)
    found = re.fullmatch(rb'Operator page: http://127\.0\.0\.1:\d+/#token=(\S+)\r\n', said)
    assert found is not None, said
    assert not (tmp_path / 'operator_page_link').exists()
    with closing(Store.open(tmp_path)) as store:
        assert store.token_record(found[1].decode()).sub == 'owner'


async def test_the_link_is_that_of_the_public_address(tmp_path: Path) -> None:
    settings = tmp_path / 'broker.yaml'
    settings.write_text('public_urls: [https://a.example/teleop, https://b.example]\n')
    folder = tmp_path / 'state'
    process = await start('--port', '0', '--state-dir', str(folder), '--config', str(settings))
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = (await process.stdout.readline()).decode()
    finally:
        process.kill()
        await finish(process)
    link = folder / 'operator_page_link'
    # With a trailing slash: the page loads its files relative to it.
    assert line == f'Operator page: https://a.example/teleop/ (sign-in link: {link})\n'
    assert link.read_text().startswith('https://a.example/teleop/#token=')


async def test_later_starts_print_the_address_only(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    key = (tmp_path / 'robot_api_key').read_text()
    async with running(tmp_path) as program:
        assert program.token is None
    assert (tmp_path / 'robot_api_key').read_text() == key


async def test_a_login_link_is_made_when_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, '--login-link') as first:
        pass
    async with running(tmp_path, '--login-link', '--ros-args', '--log-level', 'x') as second:
        assert second.token not in (None, first.token)
        assert await second.sessions_status() == 200


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
async def test_signals_stop_it_while_a_heartbeat_is_held(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with running(tmp_path) as program, aiohttp.ClientSession() as http:
        key = (tmp_path / 'robot_api_key').read_text().strip()
        offer = 'v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n'
        headers = {'X-Robot-API-Key': key}
        sessions = f'{program.url}/api/v1/sessions'
        robot = {'robot_name': 'a', 'sdp_offer': offer}
        async with http.post(sessions, json=robot, headers=headers) as response:
            session = (await response.json())['session_id']
        url = f'{sessions}/{session}/heartbeat'
        async with http.post(url, headers=headers) as response:
            assert response.status == 200
        async with asyncio.TaskGroup() as tasks:
            held = tasks.create_task(
                http.post(url, json={'wait_s': 5, 'rtt_ms': 7}, headers=headers)
            )
            async with asyncio.timeout(WAIT_S):
                while await program.round_trip_ms() != 7:
                    pass
            async with asyncio.timeout(WAIT_S):
                program.process.send_signal(number)
                program.process.send_signal(number)
                _, err = await finish(program.process)
            assert (await held).status == 200
    assert program.process.returncode == 0
    assert 'Traceback' not in err


async def test_a_locked_database_keeps_it_from_nothing_that_ends_it(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        with closing(sqlite3.connect(tmp_path / 'broker.sqlite3', isolation_level=None)) as other:
            other.execute('BEGIN EXCLUSIVE')
            assert await program.sessions_status() == 200  # which the audit trail must report
            async with asyncio.timeout(4.0):  # less than SQLite waits for the lock
                program.process.send_signal(signal.SIGTERM)
                _, err = await finish(program.process)
    assert program.process.returncode == 0
    assert 'event=audit_lost lines=' in err
    assert 'Traceback' not in err
