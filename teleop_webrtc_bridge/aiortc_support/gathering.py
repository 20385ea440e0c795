"""
The gathering of a peer connection's own candidates: few of them, in a sensible order.

It replaces ``Connection.get_component_candidates`` of aioice, which offers every address of the
machine, asks one STUN server over each of them and one TURN server, and binds any port.
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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import errno
import ipaddress
from pathlib import Path
import random
import socket
from typing import Any, Final

from aioice import Candidate, Connection, turn
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from aiortc import RTCIceTransport, RTCPeerConnection
import ifaddr

from teleop_webrtc_bridge.aiortc_support.ice_servers import OutsideAddress, RelaySearch
from teleop_webrtc_bridge.core.ice import choose_addresses, HostAddress

__all__ = ['Gathering', 'PortRange', 'gather_with', 'selected_path']

#: First and last UDP port.
PortRange = tuple[int, int]

ASKED_PER_FAMILY: Final = 1
"""Sockets per IP family from which STUN servers are asked: those that reach the peer."""
MOST_BINDS: Final = 256
"""Attempts at one address; each is a system call that blocks the loop. If this many random ports
of a larger range are taken, hardly any is free."""
_MOST_PREFERRED: Final = 65535
DIRECT: Final = 'direct'


@dataclass(slots=True, kw_only=True)
class Gathering:
    """
    What one peer connection may gather, and the result.

    All fields are optional: without them the machine's own addresses are offered.
    """

    peers: Sequence[str] = ()
    """Addresses of the other side, besides those in its description."""
    outside: OutsideAddress | None = None
    """Finds the public addresses of this machine behind a NAT."""
    relays: RelaySearch | None = None
    udp_ports: PortRange | None = None
    """``None``: any."""
    public_addresses: Sequence[str] = ()
    """Addresses of a NAT that maps each port to the same port here."""
    is_out_of_ports: bool = False
    """Set when all tried ports of the range were taken at some address."""

    async def gather(
        self, connection: Connection, component: int, addresses: Sequence[str]
    ) -> list[Candidate]:
        """
        Open sockets and return their candidates, the relayed one too.

        :param addresses: Addresses of this machine, as aioice lists them.
        """
        named = [candidate.host for candidate in connection.remote_candidates]
        peers = [address for address in (*self.peers, *named) if _is_address(address)]
        protocols: list[StunProtocol] = []
        for address in best_addresses(addresses, peers):
            protocol = await self._open(connection, component, address, rank=len(protocols))
            if protocol is not None:
                protocols.append(protocol)
                # At once, so that it is closed if the caller gives up waiting for the others.
                connection._protocols.append(protocol)
        reflexive, relayed = await asyncio.gather(
            self._reflexive(protocols), self._relayed(connection, component)
        )
        different: dict[tuple[str, int], Candidate] = {}
        own = [protocol.local_candidate for protocol in protocols]
        for candidate in (*own, *self._public(protocols), *reflexive, *relayed):
            different.setdefault((candidate.host, candidate.port), candidate)
        return list(different.values())

    async def _open(
        self, connection: Connection, component: int, address: str, *, rank: int
    ) -> StunProtocol | None:
        """Return the protocol of a new socket; ``None``: none can be opened at this address."""
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        try:
            opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError:
            return None
        try:
            self._bind(opened, address)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, turn.UDP_SOCKET_BUFFER_SIZE)
        except OSError:
            opened.close()
            return None
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: StunProtocol(connection), sock=opened
        )
        host, port = opened.getsockname()[:2]
        # Priorities differ (RFC 8445 §5.1.2.2), so that the peer tries our best address first.
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation('host', 'udp', host),
            component=component,
            transport='udp',
            priority=candidate_priority(component, 'host', _MOST_PREFERRED - rank),
            host=host,
            port=port,
            type='host',
        )
        return protocol

    def _bind(self, opened: socket.socket, address: str) -> None:
        """
        Bind to an allowed port.

        Processes that share a range need no coordination: the first one to bind a port has it.

        :raises OSError: No port is free, or there is no such address.
        """
        if self.udp_ports is None:
            opened.bind((address, 0))
            return
        first, last = self.udp_ports
        ports = range(first, last + 1)
        # At random: otherwise late packets of a former peer would reach another connection.
        for port in random.sample(ports, min(len(ports), MOST_BINDS)):
            try:
                opened.bind((address, port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        self.is_out_of_ports = True
        raise OSError(errno.EADDRINUSE, 'no port of the range was found free')

    def _public(self, protocols: Sequence[StunProtocol]) -> list[Candidate]:
        """Return the candidates for a configured NAT, with the port of the best socket."""
        found = []
        outward = self._outward(protocols)
        for address in self.public_addresses:
            # Docker's proxy accepts IPv6 from outside and passes it on over IPv4.
            fitting = [it for it in outward if _is_ipv6(it) == (':' in address)] or outward
            if fitting:
                port = fitting[0].local_candidate.port
                found.append(_as_seen(fitting[0], (address, port)))
        return found

    def _outward(self, protocols: Sequence[StunProtocol]) -> list[StunProtocol]:
        """Return the sockets that reach other networks, those of the default route first."""
        default = default_addresses()
        outward = [protocol for protocol in protocols if not _is_loopback(protocol)]
        return sorted(
            outward or protocols,
            key=lambda protocol: protocol.local_candidate.host not in default,
        )

    async def _reflexive(self, protocols: Sequence[StunProtocol]) -> list[Candidate]:
        if self.outside is None:
            return []
        outward = self._outward(protocols)
        asked = [
            protocol
            for is_ipv6 in (False, True)
            for protocol in [it for it in outward if _is_ipv6(it) == is_ipv6][:ASKED_PER_FAMILY]
        ]
        answers = await asyncio.gather(*(self.outside.ask(protocol) for protocol in asked))
        return [
            _as_seen(protocol, seen)
            for protocol, seen in zip(asked, answers, strict=True)
            if seen is not None
        ]

    async def _relayed(self, connection: Connection, component: int) -> list[Candidate]:
        if self.relays is None:
            return []
        protocol = await self.relays.run(lambda: StunProtocol(connection))
        if protocol is None:
            return []
        host, port = protocol.transport.get_extra_info('sockname')
        related = protocol.transport.get_extra_info('related_address')
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation('relay', 'udp', host),
            component=component,
            transport='udp',
            priority=candidate_priority(component, 'relay'),
            host=host,
            port=port,
            type='relay',
            related_address=related[0],
            related_port=related[1],
        )
        connection._protocols.append(protocol)
        return [protocol.local_candidate]


def gather_with(pc: RTCPeerConnection, gathering: Gathering) -> None:
    """Make a connection gather its candidates this way; call it once its media are known."""
    for transport in _ice_transports(pc):
        _replace(transport.iceGatherer._connection, gathering)


def _replace(connection: Connection, gathering: Gathering) -> None:
    async def gather(component: int, addresses: list[str]) -> list[Candidate]:
        return await gathering.gather(connection, component, addresses)

    connection.get_component_candidates = gather  # type: ignore[assignment,method-assign]


def selected_path(pc: RTCPeerConnection, relays: RelaySearch | None) -> str:
    """Return the path to the peer: ``direct``, or the relay; empty: not connected yet."""
    for transport in _ice_transports(pc):
        for pair in transport._connection._nominated.values():
            is_relayed = pair.local_candidate.type == 'relay'
            if is_relayed and relays is not None and relays.found is not None:
                return str(relays.found.url)
            return DIRECT
    return ''


def _ice_transports(pc: RTCPeerConnection) -> set[RTCIceTransport]:
    users: list[Any] = [item for item in (pc.sctp, *pc.getReceivers()) if item is not None]
    return {user.transport.transport for user in users}


def _as_seen(protocol: StunProtocol, seen: tuple[str, int]) -> Candidate:
    base = protocol.local_candidate
    return Candidate(
        foundation=candidate_foundation('srflx', 'udp', base.host),
        component=base.component,
        transport='udp',
        priority=candidate_priority(base.component, 'srflx'),
        host=seen[0],
        port=seen[1],
        type='srflx',
        related_address=base.host,
        related_port=base.port,
    )


def _is_ipv6(protocol: StunProtocol) -> bool:
    return ':' in protocol.local_candidate.host


def _is_loopback(protocol: StunProtocol) -> bool:
    return ipaddress.ip_address(protocol.local_candidate.host).is_loopback


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# --- host addresses ---------------------------------------------------------------------------

#: Documentation addresses: reached over the default route, and nothing is ever sent there.
_ANYWHERE: Final = ('203.0.113.1', '2001:db8::1')
_DISCARD_PORT: Final = 9

_INTERFACES: Final = Path('/sys/class/net')
_IPV6_ADDRESSES: Final = Path('/proc/net/if_inet6')
_UNUSABLE_FLAGS: Final = 0x08 | 0x20 | 0x40
"""IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE of linux/if_addr.h."""


def best_addresses(present: Iterable[str], peers: Iterable[str]) -> list[str]:
    """
    Return the addresses that are worth a candidate, the best first.

    :param present: All addresses that may be offered.
    :param peers: Known addresses of the other side.
    """
    interfaces = {
        ip.ip if isinstance(ip.ip, str) else ip.ip[0]: adapter.nice_name
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    }
    unusable = _unusable_ipv6()
    return choose_addresses(
        [
            HostAddress(
                address=address,
                interface=interfaces.get(address, ''),
                is_up=_is_up(interfaces.get(address, '')),
                is_preferred=address not in unusable,
            )
            for address in present
        ],
        reaching=_sources(peers),
        default=default_addresses(),
    )


def default_addresses() -> list[str]:
    """Return the addresses from which this machine sends to the Internet."""
    return _sources(_ANYWHERE)


def _source(target: str) -> str | None:
    """Return the address from which the kernel would send to a target; ``None``: unreachable."""
    family = socket.AF_INET6 if ':' in target else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, _DISCARD_PORT))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _sources(targets: Iterable[str]) -> list[str]:
    # A target that is also our own address leads nowhere: every Docker host has 172.17.0.1.
    found = ((target, _source(target)) for target in targets)
    return [source for target, source in found if source is not None and source != target]


def _is_up(interface: str) -> bool:
    try:
        # For tunnels and the like the kernel reports "unknown".
        return (_INTERFACES / interface / 'operstate').read_text().strip() != 'down'
    except OSError:
        return True


def _unusable_ipv6() -> set[str]:
    """Return the IPv6 addresses that are deprecated or not usable yet."""
    try:
        lines = _IPV6_ADDRESSES.read_text().splitlines()
    except OSError:
        return set()
    return {
        socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0]))
        for fields in map(str.split, lines)
        if int(fields[4], 16) & _UNUSABLE_FLAGS
    }
