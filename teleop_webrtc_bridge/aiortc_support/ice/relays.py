"""
A relayed address from the first of several TURN servers that gives one.

aioice asks one server only, the first of a list, at one of its addresses. Here each is tried, over
UDP, TCP and TLS, and at each of its addresses: the next one as soon as one has failed, or has not
answered for a moment. Needs names that aioice does not publish: ``TurnTransport._connect`` and
``StunProtocol``.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, zip_longest
import socket
import ssl
from typing import Any, Final

from aioice import stun, turn
from aioice.ice import StunProtocol

from teleop_webrtc_bridge.aiortc_support.ice.head_starts import first_of
from teleop_webrtc_bridge.aiortc_support.ice.resolver import Resolver
from teleop_webrtc_bridge.core.ice_urls import Relay

__all__ = ['RelaySearch']

ALL_S: Final = 5.0
"""For all of them together."""
START_S: Final = 3.0
"""By then each one has been asked, at each of its addresses."""
HEAD_START_S: Final = 0.4
"""Of each one before the next: an allocation over UDP takes two round trips."""
MAX_RELAYS: Final = 24
MAX_ADDRESSES: Final = 4
"""Of one server: two of each IP family."""

_REFUSALS: Final = {
    401: 'wrong username or credential',
    403: 'forbidden',
    437: 'allocation mismatch',
    441: 'wrong username or credential',
    442: 'no relaying over UDP',
    486: 'its quota is reached',
    508: 'it has no capacity left',
}


class _Failing:
    """Tells what goes wrong on the way to the server, which aioice would wait for in vain."""

    broken: asyncio.Future[Exception]

    def break_off(self, error: Exception) -> None:
        if not self.broken.done():
            self.broken.set_result(error)


class _UdpClient(_Failing, turn.TurnClientUdpProtocol):
    def error_received(self, exc: Exception) -> None:
        self.break_off(exc)


class _TcpClient(_Failing, turn.TurnClientTcpProtocol):
    def connection_lost(self, exc: Exception | None) -> None:
        self.break_off(exc or ConnectionError('the server hung up'))
        super().connection_lost(exc)


class RelaySearch:
    """
    One search for a relay; owns what it has found.

    :param relays: In the order in which they are to be tried.
    :param resolver: For their names.
    """

    def __init__(self, relays: Sequence[Relay], resolver: Resolver) -> None:
        self.found: Relay | None = None
        """The relay that is in use."""
        self.failures: dict[Relay, str] = {}
        """How each of the others failed."""
        self._relays = list(relays)[:MAX_RELAYS]
        self._resolver = resolver

    async def run(self, make_protocol: Callable[[], StunProtocol]) -> StunProtocol | None:
        """
        Return an end to which a relayed address belongs; ``None``: no server gives one.

        :param make_protocol: Makes such an end.
        """
        end_s = asyncio.get_running_loop().time() + ALL_S
        asked = len(self._relays) + MAX_ADDRESSES - 1
        pause_s = min(HEAD_START_S, START_S / asked)

        def failed(relay: Relay, error: BaseException) -> bool:
            self.failures[relay] = _reason(error)
            return False

        found = await first_of(
            {
                relay: partial(self._allocate, relay, make_protocol, pause_s, end_s)
                for relay in self._relays
            },
            pause_s=pause_s,
            end_s=end_s,
            failed=failed,
        )
        if found is None:
            return None
        self.found, protocol = found
        return protocol

    async def _allocate(
        self,
        relay: Relay,
        make_protocol: Callable[[], StunProtocol],
        pause_s: float,
        end_s: float,
    ) -> StunProtocol:
        """
        Allocate a relayed address at the first of a server's addresses that gives one.

        :raises Exception: Whatever the way to the server or the server itself said last.
        """
        if relay.username is None or relay.credential is None:
            raise ConnectionError('the broker gave no username and credential for it')
        addresses = _in_turn(await self._resolver.addresses(relay.url.host))[:MAX_ADDRESSES]
        last: BaseException = OSError('it has no address')

        def failed(_: str, error: BaseException) -> bool:
            nonlocal last
            last = error
            return _is_refusal(error)

        found = await first_of(
            {
                address: partial(_allocate_at, relay, address, make_protocol)
                for address in addresses
            },
            pause_s=pause_s,
            end_s=end_s,
            failed=failed,
        )
        if found is None:
            raise last
        return found[1]

    def __str__(self) -> str:
        tried = (relay for relay in self._relays if relay in self.failures)
        return '; '.join(f'{relay.url}: {self.failures[relay]}' for relay in tried)


def _in_turn(addresses: Sequence[str]) -> list[str]:
    """Return IPv6 and IPv4 in turn, what came first first (RFC 8305): one may lead nowhere."""
    first = [it for it in addresses if (':' in it) == (':' in addresses[0])]
    other = [it for it in addresses if it not in first]
    return [it for it in chain(*zip_longest(first, other)) if it is not None]


def _is_refusal(error: BaseException) -> bool:
    """
    Return whether a server would say the same at each of its addresses.

    What is wrong with the request or the user (4xx: credentials, quota) is. What is wrong with the
    server (508: no capacity) is not: behind one name may be several machines.
    """
    return isinstance(error, stun.TransactionFailed) and 400 <= _refused(error)[0] < 500


def _refused(error: stun.TransactionFailed) -> tuple[int, str]:
    """Return the code and the text with which a server refused."""
    code, text = error.response.attributes.get('ERROR-CODE', (0, ''))
    return int(code), ''.join(char for char in str(text) if char.isprintable())[:60]


async def _allocate_at(
    relay: Relay, address: str, make_protocol: Callable[[], StunProtocol]
) -> StunProtocol:
    """
    Allocate at one address of a server.

    :raises Exception: As :meth:`RelaySearch._allocate`.
    """
    loop = asyncio.get_running_loop()
    protocol = make_protocol()
    server = (address, relay.url.port)
    broken: asyncio.Future[Exception] = loop.create_future()

    def make_client(kind: Any) -> Any:
        client = kind(
            server,
            username=relay.username,
            password=relay.credential,
            lifetime=turn.DEFAULT_ALLOCATION_LIFETIME,
            channel_refresh_time=turn.DEFAULT_CHANNEL_REFRESH_TIME,
        )
        client.broken = broken
        return client

    transport: Any
    client: Any
    if relay.url.transport == 'UDP':
        transport, client = await loop.create_datagram_endpoint(
            lambda: make_client(_UdpClient), remote_addr=server
        )
        transport.get_extra_info('socket').setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, turn.UDP_SOCKET_BUFFER_SIZE
        )
    else:
        is_tls = relay.url.transport == 'TLS'
        transport, client = await loop.create_connection(
            lambda: make_client(_TcpClient),
            *server,
            # Made here, not once: SSL_CERT_FILE may name the CA of one's own server.
            ssl=ssl.create_default_context() if is_tls else None,
            server_hostname=relay.url.host if is_tls else None,
        )
    connecting = loop.create_task(turn.TurnTransport(client)._connect(protocol))
    try:
        ends: list[asyncio.Future[Any]] = [connecting, broken]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            raise broken.result()
        connecting.result()
    except BaseException:
        connecting.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await connecting
        if client.refresh_task is not None:
            client.refresh_task.cancel()
        transport.close()
        raise
    return protocol


def _reason(error: BaseException) -> str:
    """Return in a few words how an attempt failed."""
    match error:
        case stun.TransactionFailed():
            code, said = _refused(error)
            return f'{_REFUSALS.get(code, "refused")} ({code} {said})'
        case stun.TransactionTimeout():
            return 'no answer'
        case ssl.SSLCertVerificationError():
            return f'certificate refused: {error.verify_message}'
        case ssl.SSLError():
            return f'no TLS: {error.reason or error}'
        case socket.gaierror():
            return f'host name not found: {error.strerror}'
        case TimeoutError():
            return 'no answer'
        case OSError():
            return str(error.strerror or error)
    return repr(error)
