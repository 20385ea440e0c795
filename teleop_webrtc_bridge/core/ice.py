"""
ICE without I/O: the choice of candidates, and the order of STUN and TURN servers.

A peer's candidates are compared by their destination: bundled sections repeat them, and a repeated
address is one path. A machine first offers the addresses that reach the other side, then those of
the default route. Container bridges come last, but are kept: a robot may be reachable only over
one.
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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
import ipaddress
import re
from typing import Final, NamedTuple, TypeVar

from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import IceServer

__all__ = [
    'MAX_CANDIDATES',
    'MAX_HOST_ADDRESSES',
    'HostAddress',
    'IceUrl',
    'Relay',
    'RelayOrder',
    'choose_addresses',
    'choose_candidates',
    'parse_ice_url',
    'relays_of',
    'stun_servers_of',
]

MAX_CANDIDATES: Final = 32
"""Number of different candidates of a peer that are tried."""
MAX_HOST_ADDRESSES: Final = 7
"""Limit of one machine's addresses. With two reflexive and one relayed candidate there are ten;
old brokers refuse an offer with more than 32 in its three sections."""

_LEAST_OF_A_KIND: Final = 6
"""Number of reflexive, and of relayed, candidates that are kept in any case."""

_CONTAINER_INTERFACES: Final = (
    *('docker', 'br-', 'veth', 'virbr', 'lxc', 'lxdbr', 'cni', 'flannel', 'cali', 'podman'),
    *('vmnet', 'vboxnet'),
)

_T = TypeVar('_T')


class _Path(NamedTuple):
    """The destination of a candidate; two candidates with the same path count as one."""

    transport: str
    address: str
    port: str


class _Parsed(NamedTuple):
    line: str
    path: _Path
    kind: str
    rank: tuple[bool, int]
    """Lower is better."""
    is_ipv6: bool


def choose_candidates(lines: Iterable[str]) -> list[str]:
    """
    Return at most 32 of a peer's candidate lines, each path once, in their original order.

    Relayed and reflexive candidates take precedence, then the addresses that the peer prefers,
    with at least a quarter for each IP family.
    """
    parsed: dict[_Path, _Parsed] = {}
    for line in lines:
        candidate = _parse(line)
        parsed.setdefault(candidate.path, candidate)
    if len(parsed) <= MAX_CANDIDATES:
        return [candidate.line for candidate in parsed.values()]
    by_priority = sorted(parsed.values(), key=lambda candidate: candidate.rank)
    chosen: list[_Parsed] = []
    for kind in ('relay', 'srflx'):
        chosen += [it for it in by_priority if it.kind == kind][:_LEAST_OF_A_KIND]
    others = [candidate for candidate in by_priority if candidate not in chosen]
    chosen += _of_both_families(
        others, MAX_CANDIDATES - len(chosen), lambda candidate: candidate.is_ipv6
    )
    kept = {candidate.path for candidate in chosen}
    return [candidate.line for path, candidate in parsed.items() if path in kept]


def _parse(line: str) -> _Parsed:
    """Parse a candidate line; a malformed one has no destination, and is dropped first."""
    fields = line.partition(':')[2].split()
    try:
        _, _, transport, priority, address, port, _, kind = fields[:8]
        rank = (not _is_usable(transport, address), -int(priority))
    except ValueError:
        return _Parsed(line, _Path('', line, ''), '', (True, 0), is_ipv6=False)
    path = _Path(transport.lower(), address.lower(), port)
    return _Parsed(line, path, kind, rank, is_ipv6=':' in address)


def _is_usable(transport: str, address: str) -> bool:
    """Return whether aioice can send to a candidate: UDP, an address, not link-local."""
    try:
        return transport.lower() == 'udp' and not ipaddress.ip_address(address).is_link_local
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """One of this machine's addresses."""

    address: str
    interface: str = ''
    is_up: bool = True
    """Whether its interface has a carrier."""
    is_preferred: bool = True
    """Whether it is neither deprecated nor still being checked for duplicates (IPv6)."""


def choose_addresses(
    present: Sequence[HostAddress], *, reaching: Sequence[str] = (), default: Sequence[str] = ()
) -> list[str]:
    """
    Return the addresses that are worth a candidate, the best first, at most seven.

    :param present: All addresses.
    :param reaching: Addresses from which this machine sends to its peer.
    :param default: Addresses from which it sends to the Internet.
    """

    def rank(host: HostAddress) -> tuple[bool, ...]:
        return (
            not ipaddress.ip_address(host.address).is_loopback,
            host.address not in reaching,
            host.address not in default,
            not host.is_up,
            not host.is_preferred,
            host.interface.startswith(_CONTAINER_INTERFACES),
        )

    different = {host.address: host for host in present}
    ranked = sorted(different.values(), key=rank)
    chosen = _of_both_families(ranked, MAX_HOST_ADDRESSES, lambda host: ':' in host.address)
    return [host.address for host in chosen]


def _of_both_families(ranked: Sequence[_T], most: int, is_ipv6: Callable[[_T], bool]) -> list[_T]:
    """Return the first items, at least a quarter of each IP family if there are that many."""
    chosen = list(ranked[:most])
    for family in (False, True):
        wanted = [item for item in ranked if is_ipv6(item) is family][: most // 4]
        missing = [item for item in wanted if item not in chosen]
        if missing:
            others = [item for item in chosen if is_ipv6(item) is not family]
            dropped = others[len(others) - len(missing) :]
            chosen = [item for item in chosen if item not in dropped] + missing
    return chosen


# --- servers (RFC 7064, RFC 7065) -------------------------------------------------------------

_URL: Final = re.compile(
    r'(?P<scheme>stuns?|turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)'
    r'(?::(?P<port>[0-9]{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?',
    re.ASCII,
)
_FORM: Final = 'stun:HOST[:PORT] or turn[s]:HOST[:PORT][?transport=udp|tcp]'
_PORT: Final = 3478
_TLS_PORT: Final = 5349
MAX_FAILED: Final = 64
"""Bounds memory: a broker may name other servers at each dial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceUrl:
    """Where a server listens."""

    is_turn: bool
    host: str
    """A name, or an address without brackets."""
    port: int
    transport: str
    """``UDP``, ``TCP`` or ``TLS``."""

    def __str__(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{"TURN" if self.is_turn else "STUN"}/{self.transport} {host}:{self.port}'


def parse_ice_url(url: str) -> IceUrl:
    """
    Parse the URL of a server.

    :raises ProtocolError: It is malformed, or neither browsers nor robots can use it.
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
    """One URL of a TURN server, with its credentials."""

    url: IceUrl
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


def relays_of(servers: Iterable[IceServer]) -> list[Relay]:
    """Return all usable relays, in the order in which they were handed out."""
    return [
        Relay(url=url, username=server.username, credential=server.credential)
        for server in servers
        for url in _urls(server)
        if url.is_turn
    ]


def stun_servers_of(servers: Iterable[IceServer]) -> list[IceUrl]:
    """Return the STUN servers that are reached over UDP; STUN over TLS is not supported."""
    found = (url for server in servers for url in _urls(server))
    return [url for url in found if not url.is_turn and url.transport == 'UDP']


def _urls(server: IceServer) -> list[IceUrl]:
    urls = []
    for text in server.urls:
        try:
            urls.append(parse_ice_url(text))
        except ProtocolError:
            continue  # reported where the list was read
    return urls


class RelayOrder:
    """
    The order in which a robot tries its broker's relays, kept from one dial to the next.

    It remembers the relay that worked last, and those that did not connect.
    """

    def __init__(self) -> None:
        self._best: IceUrl | None = None
        self._failed: list[IceUrl] = []

    def sort(self, relays: Sequence[Relay]) -> list[Relay]:
        """
        Return each relay once: the last that worked, then UDP, TCP and TLS, then failed ones.

        Over TCP and TLS a lost packet delays all that follow, so they are second choice.
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
        """Try this relay first from now on."""
        self._best = url
        self._failed = [other for other in self._failed if other != url]

    def failed(self, url: IceUrl) -> None:
        """Try this relay last: it relays, but no connection was established over it."""
        if self._best == url:
            self._best = None
        self._failed = [*(other for other in self._failed if other != url), url][-MAX_FAILED:]
