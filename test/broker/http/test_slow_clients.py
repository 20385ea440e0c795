"""Slow, silent and greedy clients, against a server on a real socket."""

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
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
import errno
import ipaddress
from pathlib import Path
import socket
from typing import Any

import pytest
from rig import Rig, running
from waiting import until

from teleop_webrtc_bridge.broker.caller_addresses import TrustedProxies
from teleop_webrtc_bridge.broker.http import connections
from teleop_webrtc_bridge.broker.http.admission import ConnectionTable, RequestClass, Share, SHARES
from teleop_webrtc_bridge.broker.http.connections import ClientConnection, HttpFront
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.core.rate_limit import RateLimit

LITTLE = Share(total=1e-9, total_burst_s=1e-6, each=1e-9, each_burst_s=1e-6)
"""Enough for one request."""
LITTLE_EACH = Share(total=1.0, total_burst_s=1.0, each=1e-9, each_burst_s=1e-6)
SOME_EACH = Share(total=1.0, total_burst_s=1.0, each=1e-9, each_burst_s=0.03)
"""Enough for five requests of each party, whatever they cost, but not for 151."""
PLENTY = Share(total=1.0, total_burst_s=1e9, each=1.0, each_burst_s=1e9)
MANY = 151
HEALTH = b'GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'


def little(kind: RequestClass, share: Share = LITTLE) -> Mapping[RequestClass, Share]:
    return {**SHARES, kind: share}


class Wire:
    """A connection that sends raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def to(port: int, address: str = '127.0.0.1') -> Wire:
        return Wire(*await asyncio.open_connection('127.0.0.1', port, local_addr=(address, 0)))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """Return the status and the body of one answer."""
        async with asyncio.timeout(20.0):
            head = await self.reader.readuntil(b'\r\n\r\n')
            length = int(head.lower().partition(b'content-length: ')[2].split()[0])
            return int(head.split()[1]), await self.reader.readexactly(length)

    async def is_dropped(self) -> bool:
        async with asyncio.timeout(20.0):
            try:
                return await self.reader.read() == b''
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()


# --- slow clients ------------------------------------------------------------------------------


async def test_an_address_with_many_silent_connections_is_still_served(tmp_path: Path) -> None:
    async with running(tmp_path, caps=Limits(connections_per_address=5)) as rig:
        opened = [await Wire.to(rig.port) for _ in range(20)]
        assert (await rig.get('/health')).status == 200
        assert all([await wire.is_dropped() for wire in opened[:15]])
        for wire in opened:
            wire.close()


async def test_silent_addresses_keep_out_nobody_when_all_connections_are_taken(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, caps=Limits(connections=16)) as rig:
        opened = [await Wire.to(rig.port, f'127.0.0.{2 + it % 4}') for it in range(40)]
        assert (await rig.get('/health')).status == 200
        assert sum([await wire.is_dropped() for wire in opened[:24]]) == 24
        for wire in opened:
            wire.close()


@pytest.mark.parametrize(
    'caps',
    [Limits(connections=16), Limits(connections=32, connections_per_token=4)],
    ids=['a quarter', 'as configured'],
)
async def test_one_token_keeps_out_nobody(tmp_path: Path, caps: Limits) -> None:
    async with running(tmp_path, caps=caps) as rig:
        viewer = rig.operator('eve', Role.VIEWER)['Authorization']
        request = (
            f'GET /api/v1/sessions HTTP/1.1\r\nHost: [::1]\r\nAuthorization: {viewer}\r\n\r\n'
        )
        opened = []
        for _ in range(12):
            wire = await Wire.to(rig.port, '127.0.0.2')
            wire.send(request.encode())
            assert (await wire.answer())[0] == 200
            opened.append(wire)
        assert all([await wire.is_dropped() for wire in opened[:8]])
        opened[-1].send(request.encode())
        assert (await opened[-1].answer())[0] == 200
        for wire in opened:
            wire.close()


@pytest.mark.parametrize('sent', [b'', HEALTH[:-2]])
async def test_an_unfinished_header_is_not_waited_for(rig: Rig, sent: bytes) -> None:
    wire = await Wire.to(rig.port)
    wire.send(sent)
    assert await wire.is_dropped()
    wire.close()


async def test_an_unfinished_body_is_not_waited_for(rig: Rig) -> None:
    wire = await Wire.to(rig.port)
    headers = {'Host': '127.0.0.1', **rig.robot(), 'Content-Length': '100'}
    lines = ''.join(f'{name}: {value}\r\n' for name, value in headers.items())
    wire.send(f'POST /api/v1/sessions HTTP/1.1\r\n{lines}\r\n{{'.encode())
    status, body = await wire.answer()
    assert status == 408
    assert b'"detail"' in body
    wire.close()


async def test_who_sends_a_header_byte_by_byte_is_dropped(rig: Rig) -> None:
    wire = await Wire.to(rig.port)
    wire.writer.get_extra_info('socket').setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for byte in HEALTH[: 2 * connections.MAX_READS]:
            wire.send(bytes([byte]))
            await asyncio.sleep(0.005)
    except ConnectionError:
        pass
    assert await wire.is_dropped()
    wire.close()


async def test_a_header_that_never_ends_is_refused(rig: Rig) -> None:
    wire = await Wire.to(rig.port)
    wire.send(HEALTH[:-2] + b'X-Long: ' + b'a' * connections.MAX_HEAD_BYTES)
    status, _ = await wire.answer()
    assert status == 431
    assert await wire.is_dropped()
    wire.close()


# --- fragmented and pipelined requests ---------------------------------------------------------


async def test_requests_in_one_packet_are_answered_in_order(rig: Rig) -> None:
    wire = await Wire.to(rig.port)
    missing = HEALTH.replace(b'health', b'missing')
    wire.send((HEALTH + missing) * 20 + b'\r\n' + HEALTH)
    statuses = [(await wire.answer())[0] for _ in range(41)]
    assert statuses == [200, 404] * 20 + [200]
    wire.close()


async def test_bodies_and_heads_may_come_in_any_pieces(rig: Rig) -> None:
    operator = rig.operator()['Authorization']
    body = '{"name": "a key"}'
    post = (
        f'POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: {operator}\r\n'
        f'Content-Length: {len(body)}\r\n\r\n{body}'
    ).encode()
    chunked = (
        f'POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: {operator}\r\n'
        f'Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n'
    ).encode()
    for size in (7, 30, 200, 2000):
        wire = await Wire.to(rig.port)
        everything = post + post + HEALTH + chunked
        for start in range(0, len(everything), max(size, len(everything) // 25)):
            wire.send(everything[start : start + max(size, len(everything) // 25)])
            await asyncio.sleep(0.002)
        assert [(await wire.answer())[0] for _ in range(4)] == [201, 201, 200, 201]
        # The end of a chunked body is unknown until the body is parsed.
        assert await wire.is_dropped()
        wire.close()
        rig.clock.now_s += 60.0


async def test_a_refused_body_is_not_taken_for_a_request(rig: Rig) -> None:
    wire = await Wire.to(rig.port)
    hidden = HEALTH
    wire.send(
        b'POST /api/v1/keys HTTP/1.1\r\nHost: 127.0.0.1\r\n'
        + f'Content-Length: {len(hidden)}\r\n\r\n'.encode()
        + hidden
        + HEALTH.replace(b'health', b'missing')
    )
    assert [(await wire.answer())[0] for _ in range(2)] == [401, 404]
    wire.close()


async def test_what_is_no_http_is_answered_400(rig: Rig) -> None:
    wire = await Wire.to(rig.port)
    wire.send(b'\x16\x03\x01 hello\r\n\r\n')
    assert (await wire.answer())[0] == 400
    assert await wire.is_dropped()
    wire.close()


@pytest.mark.parametrize(
    ('sent', 'status'),
    [
        (HEALTH.replace(b'Host', b'Expect: foo\r\nHost'), 417),
        (b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505),
        (HEALTH.replace(b'Host', b'Content-Length: 00000000000000005\r\nHost'), 400),
        (HEALTH.replace(b'Host', b'Connection: Upgrade\r\nUpgrade: websocket\r\nHost'), 200),
        (HEALTH.replace(b'GET', b'CONNECT'), 404),
    ],
)
async def test_what_aiohttp_could_keep_for_itself_is_the_last_of_its_connection(
    rig: Rig, sent: bytes, status: int
) -> None:
    wire = await Wire.to(rig.port)
    wire.send(HEALTH)
    assert (await wire.answer())[0] == 200
    wire.send(sent)
    assert (await wire.answer())[0] == status
    wire.send(HEALTH)
    assert await wire.is_dropped()
    wire.close()


async def test_who_waits_for_100_continue_gets_it(rig: Rig) -> None:
    wire = await Wire.to(rig.port)
    body = b'{"name": "a key"}'
    operator = rig.operator()['Authorization']
    wire.send(
        f'POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: {operator}\r\n'
        f'Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
    )
    async with asyncio.timeout(20.0):
        assert await wire.reader.readuntil(b'\r\n\r\n') == b'HTTP/1.1 100 Continue\r\n\r\n'
    wire.send(body)
    assert (await wire.answer())[0] == 201
    wire.close()


@pytest.mark.parametrize(
    'sent', [b'GET / HTTP/1.1\r\nHo st: a\r\n\r\n', b'FOO / HTTP/1.1\r\n\r\n']
)
async def test_what_cannot_be_parsed_leaves_no_traceback(
    rig: Rig, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    caplog.set_level('INFO')
    wire = await Wire.to(rig.port)
    wire.send(sent)
    async with asyncio.timeout(20.0):
        assert b' 400 ' in await wire.reader.readline()
    assert await wire.reader.read()
    await until(lambda: 'event=request' in caplog.text)
    assert not any(record.exc_info for record in caplog.records)
    wire.close()


# --- requests that reach no route --------------------------------------------------------------


class Swallowing(asyncio.Protocol):
    """An HTTP server that never passes a request to a route."""

    def __init__(self) -> None:
        self.is_lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


class Closing(Swallowing):
    """A server that closes after an answer that no client reads."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(bytes(64 << 20))
        self.transport.close()


@asynccontextmanager
async def serving_with(
    protocol: type[Swallowing], total: int
) -> AsyncIterator[tuple[HttpFront, list[Swallowing], int]]:
    """Yield a front, the protocols of its connections, and its port."""
    made: list[Swallowing] = []

    def make() -> Swallowing:
        made.append(protocol())
        return made[-1]

    table: ConnectionTable[ClientConnection] = ConnectionTable(
        total=total, per_address=total, per_token=total
    )
    front = HttpFront(table, TrustedProxies(), RateLimit(per_minute=6, burst=1), lambda: None)
    listener = socket.create_server(('127.0.0.1', 0))
    port = listener.getsockname()[1]
    front.listen([listener])
    serving = asyncio.create_task(front.serve(make))
    yield front, made, port
    serving.cancel()
    await asyncio.wait([serving])


async def test_a_request_that_no_route_has_got_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, 'HEAD_DEADLINE_S', 1e9)
    async with serving_with(Swallowing, 2) as (_, made, port):
        wires = []
        for number in range(4):
            wires.append(await Wire.to(port))
            wires[-1].send(HEALTH)
            await until(lambda: len(made) == number + 1)  # noqa: B023
        assert all([await wire.is_dropped() for wire in wires[:2]])
        for wire in wires:
            wire.close()


@pytest.mark.parametrize('protocol', [Swallowing, Closing])
async def test_a_request_that_no_route_has_got_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, protocol: type[Swallowing]
) -> None:
    monkeypatch.setattr(connections, 'HEAD_DEADLINE_S', 0.1)
    async with serving_with(protocol, 2) as (front, made, port):
        wire = await Wire.to(port)
        wire.send(HEALTH)
        await until(lambda: made and made[0].is_lost)
        assert len(front) == 0
        wire.close()


# --- budgets -----------------------------------------------------------------------------------


async def test_strangers_above_their_budget_wait_and_are_refused_and_nobody_else_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, shares=little(RequestClass.ANONYMOUS)) as rig:
        robot, operator = rig.robot(), rig.operator()
        session = await rig.dial(robot)
        wires = [await Wire.to(rig.port) for _ in range(3)]
        for wire in wires:
            wire.send(HEALTH * 50)
        answers = [await wire.answer() for wire in wires]
        statuses = [status for status, _ in answers]
        # One request has been served; the next one on its connection waits like all others.
        assert sorted(statuses) == [200, 429, 429]
        assert b'budget of processor time' in next(b for s, b in answers if s == 429)
        for wire, status in zip(wires, statuses, strict=True):
            if status == 200:
                assert (await wire.answer())[0] == 429
            assert await wire.is_dropped()
            wire.close()
        assert (await rig.heartbeat(session, robot)).status == 200
        assert (await rig.join(session, operator)).status == 200
        assert (await rig.get('/sessions', operator)).status == 200
    lines = [line for line in caplog.messages if 'event=over_budget' in line]
    assert len(lines) == 1
    assert 'class=anonymous caller="127.0.0.1"' in lines[0]


async def test_a_refusal_says_when_to_come_again(tmp_path: Path) -> None:
    async with running(tmp_path, shares=little(RequestClass.ANONYMOUS)) as rig:
        await rig.get('/health')
        answer = await rig.get('/health')
        assert answer.status == 429
        assert answer.headers['Retry-After'] == '5'
        assert 'budget' in answer.detail


async def test_an_address_has_a_budget_of_its_own(tmp_path: Path) -> None:
    shares = little(RequestClass.ANONYMOUS, LITTLE_EACH)
    async with running(tmp_path, shares=shares) as rig:
        greedy, modest = [await Wire.to(rig.port, f'127.0.0.{it}') for it in (2, 3)]
        greedy.send(HEALTH * 2)
        assert (await greedy.answer())[0] == 200
        modest.send(HEALTH)
        assert (await modest.answer())[0] == 200
        assert (await greedy.answer())[0] == 429
        greedy.close()
        modest.close()


async def test_behind_a_trusted_proxy_each_caller_has_a_budget(tmp_path: Path) -> None:
    proxies = (ipaddress.ip_network('127.0.0.1'),)
    shares = little(RequestClass.ANONYMOUS, LITTLE_EACH)
    async with running(tmp_path, shares=shares, trusted_proxies=proxies) as rig:
        callers = [{'X-Forwarded-For': f'192.0.2.{it}'} for it in range(2)]
        for expected in (200, 429):
            for caller in callers:
                assert (await rig.get('/health', caller)).status == expected


async def test_who_has_no_valid_secret_uses_up_no_budget_of_who_has(tmp_path: Path) -> None:
    async with running(tmp_path, shares=little(RequestClass.UNVERIFIED)) as rig:
        operator = rig.operator()
        assert (await rig.get('/sessions', operator)).status == 200  # known from now on
        bad = {'Authorization': 'Bearer dto_live_' + '0' * 40}
        assert (await rig.get('/sessions', bad)).status == 429
        assert (await rig.get('/sessions', operator)).status == 200
        assert (await rig.get('/health')).status == 200


async def test_a_token_that_hammers_the_list_starves_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path, shares=little(RequestClass.QUERY, SOME_EACH)) as rig:
        robot, operator = rig.robot(), rig.operator()
        viewer = rig.operator('eve', Role.VIEWER, tenant='alice')
        session = await rig.dial(robot)
        assert (await rig.join(session, operator)).status == 200
        wire = await Wire.to(rig.port)
        lines = f'Host: localhost\r\nAuthorization: {viewer["Authorization"]}\r\n\r\n'
        wire.send(f'GET /api/v1/sessions HTTP/1.1\r\n{lines}'.encode() * MANY)
        while (await wire.answer())[0] == 200:
            pass
        assert await wire.is_dropped()
        # Another token of the same tenant, and other calls of the same token, are not affected.
        path = f'/sessions/{session}/op-heartbeat'
        assert (await rig.post(path, operator)).status == 200
        assert (await rig.get('/sessions', operator)).status == 200
        assert (await rig.join(session, viewer, role='viewer')).status == 200
        assert (await rig.heartbeat(session, robot)).status == 200
        wire.close()


async def test_a_robot_key_that_hammers_heartbeats_starves_no_other(tmp_path: Path) -> None:
    async with running(tmp_path, shares=little(RequestClass.ROBOT_CALL, SOME_EACH)) as rig:
        robot, hostile = rig.robot(), rig.robot('mallory')
        session, other = await rig.dial(robot), await rig.dial(hostile)
        for _ in range(MANY):
            if (await rig.heartbeat(other, hostile)).status == 429:
                break
        else:
            raise AssertionError('never refused')
        assert (await rig.heartbeat(session, robot)).status == 200


async def test_a_fleet_under_one_key_meets_no_limit(tmp_path: Path) -> None:
    # Budgets of processor time are lifted: the cost of a request depends on the machine, and a
    # fleet never sends 769 requests at once, round after round.
    async with running(tmp_path, shares=dict.fromkeys(SHARES, PLENTY)) as rig:
        robot, operator = rig.robot(), rig.operator()
        names = [f'robot{number}' for number in range(Limits().robots_per_key)]
        dialled = await asyncio.gather(*(rig.dial(robot, robot_id=name) for name in names))
        for _ in range(5):
            answers = await asyncio.gather(*(rig.heartbeat(it, robot) for it in dialled))
            assert {answer.status for answer in answers} == {200}
            assert (await rig.get('/sessions', operator)).status == 200


async def test_who_hangs_up_while_it_waits_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path, shares=little(RequestClass.ANONYMOUS)) as rig:
        assert (await rig.get('/health')).status == 200
        wires = [await Wire.to(rig.port) for _ in range(5)]
        for wire in wires:
            wire.send(HEALTH)
            wire.writer.transport.abort()
        robot = rig.robot()
        session = await rig.dial(robot)
        assert (await rig.heartbeat(session, robot)).status == 200


async def test_a_revoked_token_is_a_strangers_again(tmp_path: Path) -> None:
    async with running(tmp_path, shares=little(RequestClass.UNVERIFIED)) as rig:
        operator = rig.operator('alice')
        assert [(await rig.get('/keys', operator)).status for _ in range(3)] == [200] * 3
        rig.store.revoke_operator_tokens('alice', rig.wall())
        await rig.pass_time(0.5)
        # Charged to the token's own budget for the last time.
        assert (await rig.get('/keys', operator)).status == 401
        assert (await rig.get('/keys', operator)).status == 429


# --- accepting ---------------------------------------------------------------------------------


class Exhausted(socket.socket):
    """A listening socket of a process that has run out of descriptors for some time."""

    failures = 0
    is_over = False

    def accept(self) -> Any:
        if self.is_over:
            return super().accept()
        self.failures += 1
        raise OSError(errno.EMFILE, 'Too many open files')


async def test_a_failed_accept_is_one_line_and_accepting_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table: ConnectionTable[ClientConnection] = ConnectionTable(total=9, per_address=9, per_token=9)
    front = HttpFront(table, TrustedProxies(), RateLimit(per_minute=6, burst=1), lambda: None)
    listener = Exhausted()
    listener.bind(('127.0.0.1', 0))
    front.listen([listener])
    serving = asyncio.create_task(front.serve(asyncio.Protocol))
    wire = await Wire.to(listener.getsockname()[1])
    await until(lambda: listener.failures >= 3)
    listener.is_over = True
    await until(lambda: len(front) == 1)
    lines = [line for line in caplog.messages if 'event=accept_failed' in line]
    assert len(lines) == 1
    assert 'ulimit -n' in lines[0]
    wire.close()
    serving.cancel()
    await asyncio.wait([serving])


async def test_without_descriptors_the_oldest_idle_connection_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, 'HEAD_DEADLINE_S', 1e9)
    table: ConnectionTable[ClientConnection] = ConnectionTable(total=9, per_address=9, per_token=9)
    front = HttpFront(table, TrustedProxies(), RateLimit(per_minute=6, burst=1), lambda: None)
    listener = Exhausted()
    listener.is_over = True
    listener.bind(('127.0.0.1', 0))
    front.listen([listener])
    serving = asyncio.create_task(front.serve(asyncio.Protocol))
    port = listener.getsockname()[1]
    first, second = await Wire.to(port), await Wire.to(port)
    await until(lambda: len(front) == 2)
    listener.is_over = False
    third = await Wire.to(port)
    assert await first.is_dropped()
    listener.is_over = True
    await until(lambda: len(front) >= 1)
    for wire in (first, second, third):
        wire.close()
    serving.cancel()
    await asyncio.wait([serving])
