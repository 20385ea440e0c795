"""
HTTP connections between socket and aiohttp: accepted, counted and admitted within budgets.

Until the first request is complete, a connection is only a socket and a few bytes: silent
connections and incomplete requests cost little. Each request then waits for its budget before
aiohttp sees it, one at a time on each connection, so that a refusal costs next to nothing.
"""

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
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar, copy_context
import enum
import errno
import json
import logging
import socket
import time
from typing import Final

from teleop_webrtc_bridge.broker.caller_addresses import network_of, TrustedProxies
from teleop_webrtc_bridge.broker.http.admission import (
    Activity,
    ConnectionTable,
    END_OF_HEAD,
    FairQueue,
    fault_of,
    HeadFault,
    read_head,
    RequestClass,
    RequestHead,
    Share,
    SHARES,
)
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = ['CONNECTION', 'ClientConnection', 'HttpFront']

CONNECTION: Final[ContextVar[ClientConnection]] = ContextVar('connection')
"""The connection of the request that a task answers."""

# --- limits of a connection --------------------------------------------------------------------

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_READS: Final = 32
"""Maximum reads of one head: a client that sends single bytes costs a read for each."""
RECEIVE_BYTES: Final = 16 * 1024
HEAD_DEADLINE_S: Final = 5.0
"""Applies to the first head, and to the time until aiohttp passes a request to a route."""
IDLE_DEADLINE_S: Final = 30.0
"""Between two requests of one connection."""
HOLD_S: Final = 2.0
"""A request that has waited for its budget longer than this is refused."""
READ_S: Final = 20e-6
"""Processor time that the event loop needs for each read of a body."""
MOST_MEASURED_S: Final = 5e-3
"""Maximum charge for one request: longer ones have limits of their own."""


def _refusal(status: str, detail: str, *headers: str) -> bytes:
    body = json.dumps({'detail': detail})
    lines = (
        f'HTTP/1.1 {status}',
        'Content-Type: application/json',
        f'Content-Length: {len(body)}',
        'Cache-Control: no-store',
        'X-Content-Type-Options: nosniff',
        'Connection: close',
        *headers,
    )
    return '\r\n'.join((*lines, '', body)).encode()


OVER_BUDGET: Final = _refusal(
    '429 Too Many Requests',
    'Too many requests: the budget of processor time of this address, key or token is used up',
    'Retry-After: 5',
)
TOO_LARGE: Final = _refusal(
    '431 Request Header Fields Too Large', f'More than {MAX_HEAD_BYTES} bytes of headers'
)
FAULTS: Final = {
    HeadFault.NO_REQUEST: _refusal('400 Bad Request', 'Not a request of HTTP/1.0 or HTTP/1.1'),
    HeadFault.EXPECTATION: _refusal(
        '417 Expectation Failed', 'Expect may be 100-continue and nothing else'
    ),
    HeadFault.VERSION: _refusal(
        '505 HTTP Version Not Supported', 'HTTP/1.0 and HTTP/1.1 are supported'
    ),
}

# --- limits of all connections -----------------------------------------------------------------

BACKLOG: Final = 4096
"""Clients that wait in the kernel cost us nothing, not even a descriptor."""
ACCEPTED_AT_ONCE: Final = 8
"""New connections that are accepted before other work gets its turn."""
ACCEPT_S: Final = 60e-6
"""Processor time of a new connection until it is closed."""
ACCEPT_SHARE: Final = 0.1
ACCEPT_BURST_S: Final = 0.02
ACCEPT_RETRY_S: Final = 0.1
REQUEST_S: Final = 500e-6
"""Unmeasured processor time of a request: aiohttp and the kernel."""
SIGN_IN_S: Final = 500e-6
"""Additional time to look up an unknown key or token, in the database thread."""
PACE: Final = 0.8
PACE_BURST_S: Final = 1e-3
"""Admit a few requests of all classes at a time: between them, the event loop can read from the
media processes and answer the heartbeats that it holds."""
LEAST_WAIT_S: Final = 1e-3
MOST_KNOWN_SECRETS: Final = 4096
SWEEP_PERIOD_S: Final = 1.0
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger(__name__)


class _State(enum.Enum):
    IDLE = 'idle'
    WAITING = 'waiting'
    """A request waits for its budget."""
    PASSED = 'passed'
    """aiohttp has a request, but no route has it yet; aiohttp may answer it itself."""
    BUSY = 'busy'
    """A request is being answered."""
    CLOSED = 'closed'


class ClientConnection(asyncio.Protocol):
    """
    Separates the requests of one connection, and hands each to aiohttp when its turn comes.

    :param accepted: The socket; it becomes a transport when the first request is admitted.
    :param peer: The address of its other end.
    :param now_s: Monotonic seconds, of the event loop.
    """

    def __init__(self, front: HttpFront, accepted: socket.socket, peer: str, now_s: float) -> None:
        self.peer = peer
        self.head = RequestHead()
        """Head of the newest request."""
        self.charged: tuple[RequestClass, str] = (RequestClass.ANONYMOUS, peer)
        """The budget that the newest request uses; set by the front."""
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = accepted
        self._transport: asyncio.Transport | None = None
        self._handler: asyncio.Protocol | None = None
        self._state = _State.IDLE
        self._since_s = now_s
        self._is_first = True
        self._is_last = False
        """The body of the newest request has no known end, so all further bytes belong to it."""
        self._buffer = bytearray()
        self._head_bytes = 0
        """Size of the head of the waiting request."""
        self._body_bytes = 0
        """Bytes of the newest request's body that have not arrived yet."""
        self._reads = 0
        self._resuming: asyncio.TimerHandle | None = None
        self._loop.add_reader(accepted, self._on_readable)

    # --- a bare socket -------------------------------------------------------------------------

    def _on_readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''
        if data:
            self._received(data)
        else:
            self.drop()

    # --- a transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket = None
        if self._state is _State.CLOSED:
            transport.abort()
            return
        self._transport = transport
        self._handler = self._front.make_handler()
        # The tasks that aiohttp starts now inherit it.
        context = copy_context()
        context.run(CONNECTION.set, self)
        context.run(self._handler.connection_made, transport)
        self._pass_head()

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def eof_received(self) -> bool | None:
        return None if self._handler is None else self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        if self._handler is not None:
            self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    # --- requests ------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        self._buffer += data
        self._reads += 1
        self._go_on()

    def _go_on(self) -> None:
        """Process the bytes that have arrived, as far as possible."""
        if self._is_last:
            self._pass(len(self._buffer))
        elif self._body_bytes and self._state is not _State.WAITING:
            self._pass(min(self._body_bytes, len(self._buffer)))
        if not self._buffer or self._state is _State.CLOSED:
            return
        if self._state is not _State.IDLE:
            self._pause()  # pipelined requests have to wait
            return
        while self._buffer.startswith(b'\r\n'):
            del self._buffer[:2]
        end = self._buffer.find(END_OF_HEAD, 0, MAX_HEAD_BYTES)
        if end >= 0:
            self._wait(end + len(END_OF_HEAD))
        elif len(self._buffer) >= MAX_HEAD_BYTES:
            self._answer(TOO_LARGE)
        elif self._reads > MAX_READS:
            self.drop()

    def _wait(self, size: int) -> None:
        self._state = _State.WAITING
        self._since_s = self._loop.time()
        self._head_bytes = size
        self._reads = 0
        self._pause()
        head = bytes(self._buffer[:size])
        fault = fault_of(head)
        if fault is not None:
            # aiohttp would answer some of these before any route, and never answer others.
            self._answer(FAULTS[fault])
            return
        self.head = read_head(head)
        self._front.head_came(self, self.head)

    def admit(self) -> None:
        """Admit the waiting request."""
        self._state = _State.PASSED
        self._since_s = self._loop.time()
        if self._transport is not None:
            self._pass_head()
        elif self._socket is not None:
            self._front.make_transport(self, self._socket)

    def _pass_head(self) -> None:
        self._is_first = False
        self._is_last = self.head.is_last
        self._body_bytes = self.head.body_bytes
        self._pass(self._head_bytes, is_body=False)
        if self._resuming is None:
            self._resume()

    def _pass(self, size: int, *, is_body: bool = True) -> None:
        """Hand some bytes to aiohttp, and charge the time that it takes to parse them."""
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        if is_body:
            self._body_bytes = max(0, self._body_bytes - size)
        if self._handler is None or not data:
            return
        began_s = time.thread_time()
        self._handler.data_received(data)
        cost_s = time.thread_time() - began_s + (READ_S if is_body else 0.0)
        wait_s = self._front.spent(self, cost_s)
        if is_body and wait_s > 0.0 and self._resuming is None:
            self._pause()
            self._resuming = self._loop.call_later(min(wait_s, HOLD_S), self._resume)

    def request_begun(self) -> None:
        """Note that a route is answering the newest request."""
        if self._state is _State.PASSED:
            self._state = _State.BUSY
            # Not earlier: a request without a route must not hold a place that others need.
            self._front.now(self, Activity.BUSY)

    def request_finished(self, cpu_s: float) -> bool:
        """
        Note that the newest request has been answered.

        :param cpu_s: Processor time that it took.
        :returns: Whether this connection may carry another request.
        """
        self._front.spent(self, min(cpu_s, MOST_MEASURED_S))
        if self._state is _State.BUSY:
            self._state = _State.IDLE
            self._since_s = self._loop.time()
            self._reads = 0
            self._front.now(self, Activity.IDLE)
            if self._buffer:
                # Not at once: aiohttp still has to write this answer.
                self._loop.call_soon(self._resume)
        return not self._is_last

    def refuse(self) -> None:
        """Answer the waiting request with 429, and hang up."""
        self._front.refused(self)
        self._answer(OVER_BUDGET)

    def _answer(self, answer: bytes) -> None:
        """Answer without aiohttp, which has no request now, and hang up."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(answer)
        elif self._transport is not None:
            self._transport.write(answer)
            if self._transport.get_write_buffer_size() == 0:
                self._transport.close()
        self.drop()

    # --- reading and closing -------------------------------------------------------------------

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()
        elif self._socket is not None:
            self._loop.remove_reader(self._socket)

    def _resume(self) -> None:
        self._resuming = None
        if self._transport is None or self._state in (_State.CLOSED, _State.WAITING):
            return
        self._transport.resume_reading()
        if self._buffer:
            self._go_on()

    def check(self, now_s: float) -> None:
        """Refuse a request that has waited too long; hang up on a peer that is silent too long."""
        silent_s = now_s - self._since_s
        if self._state is _State.WAITING and silent_s > HOLD_S:
            self.refuse()
        if self._state is _State.IDLE:
            is_overdue = silent_s > (HEAD_DEADLINE_S if self._is_first else IDLE_DEADLINE_S)
        else:
            is_overdue = self._state is _State.PASSED and silent_s > HEAD_DEADLINE_S
        if is_overdue:
            self.drop()

    @property
    def has_transport(self) -> bool:
        return self._transport is not None

    def drop(self) -> None:
        """Hang up now."""
        transport, accepted = self._transport, self._socket
        is_becoming_transport = self._state is _State.PASSED and transport is None
        self._end()
        if transport is not None:
            # Even if it is closing: it could wait forever for a peer that does not read.
            transport.abort()
        elif accepted is not None and not is_becoming_transport:
            self._socket = None
            self._loop.remove_reader(accepted)
            accepted.close()

    def _end(self) -> None:
        if self._state is _State.CLOSED:
            return
        self._state = _State.CLOSED
        self._buffer.clear()
        if self._resuming is not None:
            self._resuming.cancel()
        self._front.closed(self)


class HttpFront:
    """
    Accepts connections and admits their requests, each within its budget.

    :param table: The connection table, with the broker's limits.
    :param seldom: Bounds log lines that clients can cause.
    :param count_refusal: Called for each request that is refused before aiohttp sees it.
    """

    def __init__(
        self,
        table: ConnectionTable[ClientConnection],
        proxies: TrustedProxies,
        seldom: RateLimit,
        count_refusal: Callable[[], None],
        shares: Mapping[RequestClass, Share] = SHARES,
    ) -> None:
        self._table = table
        self._proxies = proxies
        self._seldom = seldom
        self._count_refusal = count_refusal
        self._queues: dict[RequestClass, FairQueue[ClientConnection]] = {
            kind: FairQueue(share, _request_s(kind)) for kind, share in shares.items()
        }
        self._accepts = RateLimit(per_minute=60.0 * ACCEPT_SHARE, burst=ACCEPT_BURST_S)
        self._pace = RateLimit(per_minute=60.0 * PACE, burst=PACE_BURST_S)
        self._known: OrderedDict[bytes, tuple[str, bool]] = OrderedDict()
        """Digest of a valid secret → the party that is charged, and whether it is a robot."""
        self._listening: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._table)

    @property
    def capacity(self) -> int:
        """Maximum number of open connections."""
        return self._table.total

    # --- accepting -----------------------------------------------------------------------------

    def listen(self, listening: Iterable[socket.socket]) -> None:
        """
        Start listening; clients queue until :meth:`serve` accepts them.

        :param listening: Bound sockets; closed when :meth:`serve` ends.
        :raises OSError: Another program listens there.
        """
        self._listening = list(listening)
        for listener in self._listening:
            listener.setblocking(False)
            listener.listen(BACKLOG)

    async def serve(self, make_handler: Callable[[], asyncio.Protocol]) -> None:
        """
        Accept and serve until cancelled.

        :param make_handler: Returns aiohttp's protocol for one connection.
        """
        self.make_handler = make_handler
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as self._tasks:
            try:
                self._accept_again()
                while True:
                    await asyncio.sleep(SWEEP_PERIOD_S)
                    now_s = self._loop.time()
                    for connection in self._table:
                        connection.check(now_s)
            finally:
                # Before the tasks end: from now on, nothing may be admitted.
                self._close()

    def _close(self) -> None:
        self._stop_accepting()
        for listener in self._listening:
            listener.close()
        self._listening.clear()
        if self._timer is not None:
            self._timer.cancel()
        for connection in self._table:
            if not connection.has_transport:
                connection.drop()

    def _accept_again(self) -> None:
        for listener in self._listening:
            self._loop.add_reader(listener, self._accept, listener)

    def _stop_accepting(self) -> None:
        for listener in self._listening:
            self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        now_s = self._loop.time()
        for _ in range(ACCEPTED_AT_ONCE):
            wait_s = self._accepts.wait_s('', now_s)
            if wait_s > 0.0:
                # The kernel keeps the connections until then.
                self._pause_accepting(max(wait_s, LEAST_WAIT_S))
                return
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error, now_s)
                return
            self._accepts.spend('', ACCEPT_S, now_s)
            self._take(accepted, str(peer[0]), now_s)

    def _accept_failed(self, error: OSError, now_s: float) -> None:
        if self._seldom.take('accept', now_s) is None:
            _log.error(
                'event=accept_failed error="%s" connections=%d hint="ulimit -n, caps.connections"',
                error.strerror,
                len(self._table),
            )
        if error.errno in OUT_OF_RESOURCES:
            expendable = self._table.expendable()
            if expendable is not None:
                expendable.drop()
        self._pause_accepting(ACCEPT_RETRY_S)

    def _pause_accepting(self, seconds: float) -> None:
        self._stop_accepting()
        self._loop.call_later(seconds, self._accept_again)

    def _take(self, accepted: socket.socket, peer: str, now_s: float) -> None:
        accepted.setblocking(False)
        connection = ClientConnection(self, accepted, peer, now_s)
        victim = self._table.opened(
            connection, network_of(peer), is_proxy=self._proxies.trust(peer)
        )
        if victim is not None:
            victim.drop()

    # --- called by connections -----------------------------------------------------------------

    def head_came(self, connection: ClientConnection, head: RequestHead) -> None:
        """Queue a request until it has budget."""
        kind, party, is_known = self._charged(connection.peer, head)
        connection.charged = (kind, party)
        if is_known:
            victim = self._table.identified(connection, party)
            if victim is connection:
                connection.refuse()
                return
            if victim is not None:
                victim.drop()
        self._table.now(connection, Activity.WAITING)
        self._queues[kind].enter(party, connection)
        self._go_on()

    def _charged(self, peer: str, head: RequestHead) -> tuple[RequestClass, str, bool]:
        """Return the class and party to charge, and whether the party is a known key or token."""
        for secret in head.secrets:
            if secret in self._known:
                self._known.move_to_end(secret)
                party, is_robot = self._known[secret]
                return _class_of(head, is_robot=is_robot), party, True
        kind = RequestClass.UNVERIFIED if head.secrets else RequestClass.ANONYMOUS
        return kind, network_of(self._proxies.caller(peer, head.forwarded)), False

    def make_transport(self, connection: ClientConnection, accepted: socket.socket) -> None:
        """Turn the socket of a connection whose first request was admitted into a transport."""
        self._tasks.create_task(self._make_transport(connection, accepted))

    async def _make_transport(self, connection: ClientConnection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            accepted.close()
            connection.drop()

    def refused(self, connection: ClientConnection) -> None:
        """Note that a request was refused."""
        self._count_refusal()
        kind, party = connection.charged
        if self._seldom.take('over budget', self._loop.time()) is None:
            _log.warning(
                'event=over_budget class=%s caller="%s" connections=%d',
                kind.value,
                party,
                len(self._table),
            )

    def spent(self, connection: ClientConnection, seconds: float) -> float:
        """Charge processor time; return how long to wait until the budget is positive again."""
        kind, party = connection.charged
        now_s = self._loop.time()
        self._pace.spend('', seconds, now_s)
        self._queues[kind].spend(party, seconds, now_s)
        return self._queues[kind].debt_s(party, now_s)

    def now(self, connection: ClientConnection, activity: Activity) -> None:
        """Set the activity of a connection."""
        self._table.now(connection, activity)

    def closed(self, connection: ClientConnection) -> None:
        """Forget a connection."""
        self._table.closed(connection)
        kind, party = connection.charged
        self._queues[kind].leave(party, connection)

    # --- called by routes ----------------------------------------------------------------------

    def verified(self, caller: RobotCaller | OperatorCaller) -> None:
        """Note that the current request has a valid key or token."""
        connection = CONNECTION.get(None)
        if connection is None:
            return
        head = connection.head
        if isinstance(caller, RobotCaller):
            is_robot, party, secret = True, f'key {caller.key_id}', head.robot_secret
        else:
            is_robot, party, secret = False, f'token {caller.credential}', head.operator_secret
        if secret is None or secret in self._known:
            return
        self._known[secret] = (party, is_robot)
        if len(self._known) > MOST_KNOWN_SECRETS:
            self._known.popitem(last=False)
        connection.charged = (_class_of(head, is_robot=is_robot), party)
        victim = self._table.identified(connection, party)
        if victim is not None and victim is not connection:
            victim.drop()

    def unverified(self) -> None:
        """Note that the current request has no valid key or token."""
        connection = CONNECTION.get(None)
        for secret in connection.head.secrets if connection is not None else ():
            self._known.pop(secret, None)

    # --- time ----------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Admit the requests that have budget, and schedule the next call."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = self._loop.time()
        for queue in self._queues.values():
            while self._pace.wait_s('', now_s) == 0.0:
                connection = queue.take(now_s)
                if connection is None:
                    break
                self._pace.spend('', REQUEST_S, now_s)
                connection.admit()
        waits_s = [queue.ready_in_s(now_s) for queue in self._queues.values()]
        if any(wait_s is not None for wait_s in waits_s):
            ready_in_s = min(wait_s for wait_s in waits_s if wait_s is not None)
            wait_s = max(ready_in_s, self._pace.wait_s('', now_s), LEAST_WAIT_S)
            self._timer = self._loop.call_later(wait_s, self._go_on)


def _request_s(kind: RequestClass) -> float:
    return REQUEST_S + (SIGN_IN_S if kind is RequestClass.UNVERIFIED else 0.0)


def _class_of(head: RequestHead, *, is_robot: bool) -> RequestClass:
    if not head.is_urgent:
        return RequestClass.QUERY
    return RequestClass.ROBOT_CALL if is_robot else RequestClass.OPERATOR_CALL
