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

"""Clients that take their time, against a real server and with a clock of the test."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rig import Rig, running

from teleop_webrtc_bridge.broker.caps import Caps
from teleop_webrtc_bridge.broker.connections import ConnectionGuard


class FakeConnection:
    """Something that can be dropped."""

    def force_close(self) -> None:
        raise AssertionError('overdue() only tells')


def test_a_connection_without_a_request_is_overdue_after_5_s() -> None:
    guard, connection = ConnectionGuard(2), FakeConnection()
    assert guard.overdue([connection], 100.0) == []
    assert guard.overdue([connection], 105.0) == []
    assert guard.overdue([connection], 105.1) == [connection]


def test_a_connection_that_is_being_served_is_never_overdue() -> None:
    guard, connection = ConnectionGuard(2), FakeConnection()
    guard.overdue([connection], 100.0)
    guard.request_started(connection, 101.0)
    assert guard.overdue([connection], 200.0) == []


def test_between_requests_a_connection_has_30_s() -> None:
    guard, connection = ConnectionGuard(2), FakeConnection()
    guard.request_started(connection, 100.0)
    guard.request_finished(connection, 101.0)
    assert guard.overdue([connection], 131.0) == []
    assert guard.overdue([connection], 131.1) == [connection]


def test_closed_connections_are_forgotten() -> None:
    guard, connection = ConnectionGuard(2), FakeConnection()
    guard.overdue([connection], 100.0)
    guard.overdue([], 101.0)
    assert guard.overdue([connection], 110.0) == []


def test_one_address_has_so_many_unknown_connections_and_the_newest_stays() -> None:
    guard, (first, second, third) = ConnectionGuard(2), [FakeConnection() for _ in range(3)]
    assert guard.opened(first, 'a', 100.0) is None
    assert guard.opened(second, 'a', 100.1) is None
    assert guard.opened(FakeConnection(), 'b', 100.1) is None
    assert guard.opened(third, 'a', 100.2) is first
    assert guard.opened(first, 'a', 100.3) is second


def test_a_connection_that_is_being_served_is_not_dropped_for_another() -> None:
    guard, (first, second, third) = ConnectionGuard(2), [FakeConnection() for _ in range(3)]
    for connection in (first, second):
        guard.opened(connection, 'a', 100.0)
        guard.request_started(connection, 100.0)
    assert guard.opened(third, 'a', 101.0) is third
    guard.request_finished(second, 102.0)
    assert guard.opened(third, 'a', 103.0) is second


def test_connections_with_a_valid_secret_are_not_counted() -> None:
    guard = ConnectionGuard(2)
    for _ in range(9):
        connection = FakeConnection()
        assert guard.opened(connection, 'a', 100.0) is None
        guard.authenticated(connection)


async def test_an_address_with_many_silent_connections_is_still_served(tmp_path: Path) -> None:
    async with running(tmp_path, caps=Caps(connections_per_address=5)) as rig:
        opened = [await asyncio.open_connection('127.0.0.1', rig.port) for _ in range(20)]
        assert (await rig.get('/health')).status == 200
        async with asyncio.timeout(2.0):
            for reader, _ in opened[:15]:
                assert await reader.read() == b''
        for _, writer in opened:
            writer.close()


@pytest.mark.parametrize('sent', [b'', b'GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n'])
async def test_an_unfinished_header_is_not_waited_for(rig: Rig, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection('127.0.0.1', rig.port)
    writer.write(sent)
    async with asyncio.timeout(9.0):
        assert await reader.read() == b''
    writer.close()


async def test_an_unfinished_body_is_not_waited_for(rig: Rig) -> None:
    reader, writer = await asyncio.open_connection('127.0.0.1', rig.port)
    headers = {'Host': '127.0.0.1', **rig.robot(), 'Content-Length': '100'}
    lines = ''.join(f'{name}: {value}\r\n' for name, value in headers.items())
    writer.write(f'POST /api/v1/sessions HTTP/1.1\r\n{lines}\r\n{{'.encode())
    async with asyncio.timeout(9.0):
        answer = await reader.read()
    assert answer.startswith(b'HTTP/1.1 408 ')
    assert b'"detail"' in answer
    writer.close()
