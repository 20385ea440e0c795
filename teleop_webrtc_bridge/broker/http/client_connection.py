"""
One HTTP connection between its socket and aiohttp.

Until the first request has come as a whole, there is nothing but a socket and a few bytes: silent
connections and half requests cost little. Each request then waits for its budget before aiohttp
sees it, one at a time on each connection, so that a refusal costs next to nothing.
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
from contextlib import suppress
from contextvars import ContextVar, copy_context
import enum
import json
import socket
import time
from typing import Final, Protocol

from teleop_webrtc_bridge.broker.http.cpu_budgets import RequestClass
from teleop_webrtc_bridge.broker.http.request_head import (
    END_OF_HEAD,
    fault_of,
    HeadFault,
    read_head,
    RequestHead,
)

__all__ = ['CONNECTION', 'ClientConnection', 'Front', 'HttpHandler']

CONNECTION: Final[ContextVar[ClientConnection]] = ContextVar('connection')
"""The connection of the request that a task answers."""

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_READS: Final = 32
"""Of one head: whoever sends byte by byte costs a read for each of them."""
RECEIVE_BYTES: Final = 16 * 1024
HEAD_DEADLINE_S: Final = 5.0
"""Also between a head that aiohttp has got and the route that gets the request."""
IDLE_DEADLINE_S: Final = 30.0
"""Between two requests of one connection."""
HOLD_S: Final = 2.0
"""A request that has waited so long is refused."""
READ_S: Final = 20e-6
"""What the event loop needs for each read of a body, in processor time."""
MOST_MEASURED_S: Final = 5e-3
"""Of one request: what may take longer has limits of its own."""


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


class HttpHandler(Protocol):
    """What is needed of aiohttp's protocol for one connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Front(Protocol):
    """What a connection tells to, and asks from, what all of them share."""

    def head_came(self, connection: ClientConnection, head: RequestHead) -> None:
        """Let a request wait for its budget."""

    def make_transport(self, connection: ClientConnection, accepted: socket.socket) -> None:
        """Make a transport of the socket of a connection whose first request goes on."""

    def begun(self, connection: ClientConnection) -> None:
        """Note that a request is being answered."""

    def refused(self, connection: ClientConnection) -> None:
        """Note that a request was refused."""

    def make_handler(self) -> HttpHandler:
        """Return aiohttp's protocol for one connection."""

    def spent(self, connection: ClientConnection, seconds: float) -> float:
        """Charge processor time; return how long to wait until the budget is positive again."""

    def idle(self, connection: ClientConnection) -> None:
        """Note that the last request has been answered."""

    def closed(self, connection: ClientConnection) -> None:
        """Forget a connection."""


class _State(enum.Enum):
    IDLE = 'idle'
    WAITING = 'waiting'
    """A request waits for its budget."""
    PASSED = 'passed'
    """A request is with aiohttp, which may keep it for itself: no route has got it."""
    BUSY = 'busy'
    """A request is being answered."""
    CLOSED = 'closed'


class ClientConnection(asyncio.Protocol):
    """
    Takes requests apart from each other, and hands each to aiohttp when its turn comes.

    :param accepted: The socket, until the first request is admitted.
    :param peer: Its other end's address.
    :param now_s: Monotonic seconds, of the event loop.
    """

    def __init__(self, front: Front, accepted: socket.socket, peer: str, now_s: float) -> None:
        self.peer = peer
        self.head = RequestHead()
        """Of the newest request."""
        self.charged: tuple[RequestClass, str] = (RequestClass.ANONYMOUS, peer)
        """Whose budget the newest request uses; kept by the front."""
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = accepted
        self._transport: asyncio.Transport | None = None
        self._handler: HttpHandler | None = None
        self._state = _State.IDLE
        self._since_s = now_s
        self._is_first = True
        self._is_last = False
        """Where the body of the newest request ends is not known: all that comes is its."""
        self._buffer = bytearray()
        self._head_bytes = 0
        """Of the request that waits."""
        self._body_bytes = 0
        """Of the newest request, still to come."""
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
        """Do what can be done with the bytes that have come."""
        if self._is_last:
            self._pass(len(self._buffer))
        elif self._body_bytes and self._state is not _State.WAITING:
            self._pass(min(self._body_bytes, len(self._buffer)))
        if not self._buffer or self._state is _State.CLOSED:
            return
        if self._state is not _State.IDLE:
            self._pause()  # what is pipelined has to wait
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
            # aiohttp would answer some of them before any route, and others never.
            self._answer(FAULTS[fault])
            return
        self.head = read_head(head)
        self._front.head_came(self, self.head)

    def admit(self) -> None:
        """Let the request that waits go on."""
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
        """Hand some bytes to aiohttp, and charge what it takes to parse them."""
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
        """Note that the newest request is understood, and is being answered."""
        if self._state is _State.PASSED:
            self._state = _State.BUSY
            self._front.begun(self)

    def request_finished(self, cpu_s: float) -> bool:
        """
        Note that the newest request has been answered.

        :param cpu_s: Processor time that it took.
        :returns: Whether there may be another one on this connection.
        """
        self._front.spent(self, min(cpu_s, MOST_MEASURED_S))
        if self._state is _State.BUSY:
            self._state = _State.IDLE
            self._since_s = self._loop.time()
            self._reads = 0
            self._front.idle(self)
            if self._buffer:
                # Not at once: aiohttp has this answer still to write.
                self._loop.call_soon(self._resume)
        return not self._is_last

    def refuse(self) -> None:
        """Answer the request that waits with 429, and hang up."""
        self._front.refused(self)
        self._answer(OVER_BUDGET)

    def _answer(self, answer: bytes) -> None:
        """Answer without aiohttp, which has no request at present, and hang up."""
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
        """Refuse what has waited for too long, and hang up on who is silent for too long."""
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
            # Also if it is closing: it could wait for ever for a peer that does not read.
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
