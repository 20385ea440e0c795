"""
Clients of STUN and TURN servers, which find a public and a relayed address.

aioice asks only the first TURN server of a list, at one of its addresses. Here each server is
tried over UDP, TCP and TLS, and at each of its addresses. The next attempt begins as soon as one
has failed, or has not succeeded for a moment (RFC 8305).
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
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
import ipaddress
from itertools import chain, zip_longest
import logging
import socket
import ssl
import threading
import time
from typing import Any, Final, TypeVar

from aioice import stun, turn
from aioice.ice import StunProtocol

from teleop_webrtc_bridge.core.ice import IceUrl, Relay

__all__ = ['OutsideAddress', 'RelaySearch', 'Resolver', 'first_of']

KEEP_S: Final = 60.0
"""Answers are kept this long, so that two dials in a row ask once."""
MAX_NAMES: Final = 64
"""Only the newest are kept: a broker may name others at each dial."""

_Answer = list[str] | OSError


class Resolver:
    """
    Resolves host names of servers without delaying anything else.

    A name server that does not answer blocks the asking thread for half a minute. In the event
    loop's executor a few such threads would delay all other look-ups, the broker's too, and the
    end of the program. So each name has at most one thread of its own, which is never joined.
    """

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, asyncio.Future[_Answer]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """
        Return a host's addresses, the best first; the caller sets a time-out.

        :raises OSError: It has none, or the name server failed.
        """
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        asked_s, answer = self._asked.get(host, (0.0, None))
        now = time.monotonic()
        if answer is None or (answer.done() and now - asked_s > KEEP_S):
            asked_s = now
            answer = asyncio.get_running_loop().create_future()
            self._asked.pop(host, None)
            self._asked[host] = (now, answer)
            if len(self._asked) > MAX_NAMES:
                # Callers that already wait for the answer still get it.
                del self._asked[next(iter(self._asked))]
            threading.Thread(target=_ask, args=(host, answer), daemon=True).start()
        found = await asyncio.shield(answer)
        if isinstance(found, OSError):
            if self._asked.get(host) == (asked_s, answer):
                del self._asked[host]
            raise found
        return found


def _ask(host: str, answer: asyncio.Future[_Answer]) -> None:
    found: _Answer
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    except OSError as error:
        found = error
    except UnicodeError:
        found = socket.gaierror(socket.EAI_NONAME, 'not a host name')

    def tell() -> None:
        if not answer.done():
            answer.set_result(found)

    try:
        answer.get_loop().call_soon_threadsafe(tell)
    except RuntimeError:
        return  # the loop has ended, so nothing waits


# --- STUN -------------------------------------------------------------------------------------

ANSWER_S: Final = 2.0
"""Time for an answer; aioice repeats the request after 0.5 and 1.5 s."""
REST_S: Final = 10.0
"""Pause after all servers were silent, in which no connection waits for them again."""
MAX_SERVERS: Final = 4

_logger = logging.getLogger(__name__)


class OutsideAddress:
    """
    Finds the public address of a socket behind a NAT.

    STUN servers are asked for each socket, because a NAT maps each one to a port of its own. When
    no server answers, connections do without a public address for a while.

    :param servers: All are asked at once; the first answer counts.
    :param resolver: Resolves their names.
    """

    def __init__(self, servers: Sequence[IceUrl], resolver: Resolver) -> None:
        self._servers = servers[:MAX_SERVERS]
        self._resolver = resolver
        self._silent_until_s = {False: 0.0, True: 0.0}
        """By ``is_ipv6``."""
        self._is_silence_told = False

    async def ask(self, protocol: StunProtocol) -> tuple[str, int] | None:
        """Return the address and port that a server sees; ``None``: no server answers."""
        is_ipv6 = ':' in protocol.local_candidate.host
        if not self._servers or time.monotonic() < self._silent_until_s[is_ipv6]:
            return None
        questions = [
            asyncio.create_task(self._ask(server, protocol, is_ipv6=is_ipv6))
            for server in self._servers
        ]
        try:
            async with asyncio.timeout(ANSWER_S):
                for question in asyncio.as_completed(questions):
                    seen = await question
                    if seen is not None:
                        self._is_silence_told &= is_ipv6
                        return seen
        except TimeoutError:
            pass
        finally:
            for task in questions:
                task.cancel()
            await asyncio.gather(*questions, return_exceptions=True)
        self._silent_until_s[is_ipv6] = time.monotonic() + REST_S
        # No warning for IPv6: many servers have no such address, and many machines need none.
        if not is_ipv6 and not self._is_silence_told:
            self._is_silence_told = True
            servers = ', '.join(map(str, self._servers))
            _logger.warning('event=stun_silent servers="%s" again_in_s=%g', servers, REST_S)
        return None

    async def _ask(
        self, server: IceUrl, protocol: StunProtocol, *, is_ipv6: bool
    ) -> tuple[str, int] | None:
        request = stun.Message(
            message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST
        )
        try:
            addresses = await self._resolver.addresses(server.host)
            fitting = next((it for it in addresses if (':' in it) == is_ipv6), None)
            if fitting is None:
                return None
            answer, _ = await protocol.request(request, (fitting, server.port))
        except (OSError, stun.TransactionError):
            return None
        seen = answer.attributes.get('XOR-MAPPED-ADDRESS')
        return None if seen is None else (str(seen[0]), int(seen[1]))


# --- head starts ------------------------------------------------------------------------------

K = TypeVar('K', bound=Hashable)


async def first_of(
    attempts: Mapping[K, Callable[[], Coroutine[Any, Any, StunProtocol]]],
    *,
    pause_s: float,
    end_s: float,
    failed: Callable[[K, BaseException], bool],
) -> tuple[K, StunProtocol] | None:
    """
    Return the first attempt that succeeds, and its result; ``None``: all fail.

    The results of other attempts are closed.

    :param attempts: In the order in which they begin.
    :param pause_s: The head start of each over the next, unless one fails before.
    :param end_s: Deadline of all attempts, by the event loop's clock.
    :param failed: Called with each failure; returns whether to give up the other attempts.
    """
    loop = asyncio.get_running_loop()
    waiting = list(attempts)
    running: dict[asyncio.Task[StunProtocol], K] = {}
    found: tuple[K, StunProtocol] | None = None
    is_over = False
    try:
        while not is_over and (waiting or running) and (left_s := end_s - loop.time()) > 0.0:
            if waiting:
                key = waiting.pop(0)
                running[loop.create_task(attempts[key]())] = key
            done, _ = await asyncio.wait(
                running,
                timeout=min(pause_s, left_s) if waiting else left_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            # In the order in which they began.
            for task in [task for task in running if task in done]:
                error = task.exception()
                if error is not None:
                    is_over |= failed(running.pop(task), error)
                elif found is None:
                    found, is_over = (running.pop(task), task.result()), True
        if not is_over:
            for key in (*running.values(), *waiting):
                failed(key, TimeoutError())
    finally:
        await _end(running, found)
    return found


async def _end(
    running: Mapping[asyncio.Task[StunProtocol], K], found: tuple[K, StunProtocol] | None
) -> None:
    """End the other attempts, and close the result if the caller was cancelled."""
    for task in running:
        task.cancel()
    try:
        await asyncio.gather(*running, return_exceptions=True)
    except asyncio.CancelledError:
        if found is not None:
            found[1].transport.close()
        raise
    finally:
        for task in running:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().transport.close()


# --- TURN -------------------------------------------------------------------------------------

ALL_S: Final = 5.0
"""Time limit for all relays together."""
START_S: Final = 3.0
"""By then each relay has been tried, at each of its addresses."""
HEAD_START_S: Final = 0.4
"""Head start of each relay over the next: an allocation over UDP takes two round trips."""
MAX_RELAYS: Final = 24
MAX_ADDRESSES: Final = 4
"""Addresses tried of one server: two of each IP family."""

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
    """Reports a broken path to the server, where aioice would wait in vain."""

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
    One search for a relay; owns its result.

    :param relays: In the order in which to try them.
    :param resolver: Resolves their names.
    """

    def __init__(self, relays: Sequence[Relay], resolver: Resolver) -> None:
        self.found: Relay | None = None
        """The relay in use."""
        self.failures: dict[Relay, str] = {}
        """How each of the others failed."""
        self._relays = list(relays)[:MAX_RELAYS]
        self._resolver = resolver

    async def run(self, make_protocol: Callable[[], StunProtocol]) -> StunProtocol | None:
        """
        Return a protocol with a relayed address; ``None``: no server gives one.

        :param make_protocol: Makes a protocol.
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

        :raises Exception: The last error of the connection to the server, or of the server.
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
    """Alternate IPv6 and IPv4, in their order (RFC 8305): one family may lead nowhere."""
    first = [it for it in addresses if (':' in it) == (':' in addresses[0])]
    other = [it for it in addresses if it not in first]
    return [it for it in chain(*zip_longest(first, other)) if it is not None]


def _is_refusal(error: BaseException) -> bool:
    """
    Return whether a server would answer the same at each of its addresses.

    This holds for errors of the request or the user (4xx: credentials, quota), but not for errors
    of the server (508: no capacity): one name may stand for several machines.
    """
    return isinstance(error, stun.TransactionFailed) and 400 <= _refused(error)[0] < 500


def _refused(error: stun.TransactionFailed) -> tuple[int, str]:
    """Return the code and the text of a server's refusal."""
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
            # Created for each connection: SSL_CERT_FILE may name the CA of a private server.
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
    """Return a short reason for a failed attempt."""
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
