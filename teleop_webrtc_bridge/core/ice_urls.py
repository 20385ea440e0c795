"""Addresses of STUN and TURN servers (RFC 7064, RFC 7065), and in which order relays are tried."""

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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
import ipaddress
import re
from typing import Final

from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import IceServer

__all__ = ['IceUrl', 'Relay', 'RelayOrder', 'parse_ice_url', 'relays_of', 'stun_servers_of']

_URL: Final = re.compile(
    r'(?P<scheme>stuns?|turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)'
    r'(?::(?P<port>[0-9]{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?',
    re.ASCII,
)
_FORM: Final = 'stun:HOST[:PORT] or turn[s]:HOST[:PORT][?transport=udp|tcp]'
_PORT: Final = 3478
_TLS_PORT: Final = 5349
MAX_FAILED: Final = 64
"""A broker may hand out other names with each dial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceUrl:
    """Where a server listens."""

    is_turn: bool
    host: str
    """A name, or an address without brackets."""
    port: int
    transport: str
    """How it is spoken to: ``UDP``, ``TCP`` or ``TLS``."""

    def __str__(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{"TURN" if self.is_turn else "STUN"}/{self.transport} {host}:{self.port}'


def parse_ice_url(url: str) -> IceUrl:
    """
    Read an address of a server.

    :raises ProtocolError: It has another form, or names what no browser and no robot can use.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ProtocolError(f'allowed: {_FORM}')
    scheme, transport = match['scheme'], match['transport']
    is_turn, is_secure = scheme.startswith('turn'), scheme.endswith('s')
    if not is_turn and transport is not None:
        raise ProtocolError(f'?transport= is for turn: only; allowed: {_FORM}')
    if is_secure and transport == 'udp':
        raise ProtocolError('TURN over DTLS is not supported; allowed: turns: over TCP')
    host = match['host']
    if host.startswith('['):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ProtocolError(f'{host} is no IPv6 address; allowed: {_FORM}') from None
    port = int(match['port'] or (_TLS_PORT if is_secure else _PORT))
    if not 0 < port <= 0xFFFF:
        raise ProtocolError(f'port {port}; allowed: 1 to 65535')
    kind = 'TLS' if is_secure else (transport or 'udp').upper()
    return IceUrl(is_turn=is_turn, host=host, port=port, transport=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """One address of a TURN server, with what it takes to use it."""

    url: IceUrl
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


def relays_of(servers: Iterable[IceServer]) -> list[Relay]:
    """Return all relays that can be tried, in the order in which they were handed out."""
    return [
        Relay(url=url, username=server.username, credential=server.credential)
        for server in servers
        for url in _urls(server)
        if url.is_turn
    ]


def stun_servers_of(servers: Iterable[IceServer]) -> list[IceUrl]:
    """Return the STUN servers that answer over UDP; nothing here speaks TLS to one."""
    found = (url for server in servers for url in _urls(server))
    return [url for url in found if not url.is_turn and url.transport == 'UDP']


def _urls(server: IceServer) -> list[IceUrl]:
    urls = []
    for text in server.urls:
        try:
            urls.append(parse_ice_url(text))
        except ProtocolError:
            continue  # whoever was given the list has named it
    return urls


class RelayOrder:
    """
    In which order a robot tries its broker's relays, from one dial to the next.

    Owns what is known of them: the one that worked last, and those that did not connect.
    """

    def __init__(self) -> None:
        self._best: IceUrl | None = None
        self._failed: list[IceUrl] = []

    def sort(self, relays: Sequence[Relay]) -> list[Relay]:
        """
        Return each relay once: what worked last, then UDP, TCP and TLS, then what failed before.

        Over TCP and TLS a lost packet holds up all that follow, so that they are second choice.
        """
        transports = ('UDP', 'TCP', 'TLS')

        def rank(relay: Relay) -> tuple[bool, int, int]:
            failed_at = self._failed.index(relay.url) + 1 if relay.url in self._failed else 0
            return relay.url != self._best, failed_at, transports.index(relay.url.transport)

        different: dict[IceUrl, Relay] = {}
        for relay in relays:
            different.setdefault(relay.url, relay)
        return sorted(different.values(), key=rank)

    def worked(self, url: IceUrl) -> None:
        """Begin with this one from now on."""
        self._best = url
        self._failed = [other for other in self._failed if other != url]

    def failed(self, url: IceUrl) -> None:
        """Try this one after all others: it relays, but no connection came about over it."""
        if self._best == url:
            self._best = None
        self._failed = [*(other for other in self._failed if other != url), url][-MAX_FAILED:]
