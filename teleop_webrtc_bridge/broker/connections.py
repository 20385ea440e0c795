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

"""
Ending the connections of slow clients.

aiohttp waits for ever for the rest of a request's header, so a few hundred silent connections
would keep everybody else out. Bodies have a deadline of their own, in
:mod:`teleop_webrtc_bridge.broker.http`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from teleop_webrtc_bridge.broker.caller_addresses import network_of

__all__ = ['Admission', 'ConnectionGuard', 'HasConnections']

HEADER_DEADLINE_S: Final = 5.0
IDLE_DEADLINE_S: Final = 30.0
"""Between two requests of one connection."""
SWEEP_PERIOD_S: Final = 1.0


class Connection(Protocol):
    """What we need of aiohttp's ``RequestHandler``."""

    def force_close(self) -> None:
        """Drop the connection now."""


class HasConnections(Protocol):
    """What we need of aiohttp's ``web.Server``."""

    @property
    def connections(self) -> Iterable[Connection]:
        """The open connections."""


@dataclass(slots=True)
class _Seen:
    since_s: float
    """When it was opened, or when its last request was answered."""
    network: str = ''
    requests: int = 0
    is_busy: bool = False
    is_authenticated: bool = False


class ConnectionGuard:
    """
    Knows since when each connection is silent, and whose it is; used by one event loop.

    :param per_network: How many one address may have without showing a valid key or token.
    """

    def __init__(self, per_network: int) -> None:
        self._per_network = per_network
        self._seen: dict[Connection, _Seen] = {}

    def opened(self, connection: Connection, network: str, now_s: float) -> Connection | None:
        """
        Note a new connection.

        :param network: Where it comes from; see :func:`network_of`.
        :param now_s: Monotonic seconds.
        :returns: What has to be dropped for it: the oldest connection from there on which nothing
            is being answered, or itself. The newest may stay, so that an attacker with many
            silent ones keeps nobody out who shares his address.
        """
        self._seen[connection] = _Seen(since_s=now_s, network=network)
        unknown = [
            (seen.is_busy, seen.since_s, number, other)
            for number, (other, seen) in enumerate(self._seen.items())
            if seen.network == network and not seen.is_authenticated
        ]
        if len(unknown) <= self._per_network:
            return None
        is_busy, _, _, oldest = min(unknown, key=lambda entry: entry[:3])
        dropped = connection if is_busy else oldest
        del self._seen[dropped]
        return dropped

    @property
    def count(self) -> int:
        """How many connections there are, some of them closed within the last second."""
        return len(self._seen)

    def authenticated(self, connection: Connection) -> None:
        """Note that a valid key or token came over a connection."""
        seen = self._seen.get(connection)
        if seen is not None:
            seen.is_authenticated = True

    def request_started(self, connection: Connection, now_s: float) -> None:
        """Note that a whole header has come: from here on the handler has its own deadlines."""
        seen = self._seen.setdefault(connection, _Seen(since_s=now_s))
        seen.requests += 1
        seen.is_busy = True

    def request_finished(self, connection: Connection, now_s: float) -> None:
        """Note that the handler is done."""
        seen = self._seen.get(connection)
        if seen is not None:
            seen.is_busy = False
            seen.since_s = now_s

    def overdue(self, connections: Iterable[Connection], now_s: float) -> list[Connection]:
        """
        Return the connections to be dropped.

        :param connections: All that are open; others are forgotten.
        :param now_s: Monotonic seconds.
        """
        self._seen = {
            connection: self._seen.get(connection) or _Seen(since_s=now_s)
            for connection in connections
        }
        return [connection for connection, seen in self._seen.items() if _is_overdue(seen, now_s)]

    async def watch(self, server: HasConnections) -> None:
        """Drop overdue connections once a second; ends only by cancellation."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_PERIOD_S)
            for connection in self.overdue(server.connections, loop.time()):
                connection.force_close()


class Admission(asyncio.Protocol):
    """
    What a new connection meets first: it is counted, then handed on to aiohttp.

    :param make_handler: Returns aiohttp's protocol for one connection.
    """

    def __init__(
        self, guard: ConnectionGuard, make_handler: Callable[[], web.RequestHandler]
    ) -> None:
        self._guard = guard
        self._make_handler = make_handler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info('peername')
        handler = self._make_handler()
        now_s = asyncio.get_running_loop().time()
        dropped = self._guard.opened(handler, network_of(peer[0] if peer else None), now_s)
        if dropped is handler:
            transport.abort()
            return
        transport.set_protocol(handler)
        handler.connection_made(transport)
        if dropped is not None:
            dropped.force_close()


def _is_overdue(seen: _Seen, now_s: float) -> bool:
    deadline_s = IDLE_DEADLINE_S if seen.requests else HEADER_DEADLINE_S
    return not seen.is_busy and now_s - seen.since_s > deadline_s
