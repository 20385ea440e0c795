"""
Which ICE candidates count when there are more than a connection can try; pure functions.

A peer's candidates are compared by where they lead: bundled sections repeat them, and one address
that is named twice is one path. Of a machine's own addresses, those come first that reach the
other side, then those of the default route; bridges of containers come last, because a robot may
really be reached over one.
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
from dataclasses import dataclass
import ipaddress
from typing import Final, NamedTuple, TypeVar

__all__ = [
    'MAX_CANDIDATES',
    'MAX_HOST_ADDRESSES',
    'HostAddress',
    'choose_addresses',
    'choose_candidates',
]

MAX_CANDIDATES: Final = 32
"""Of a peer's candidates, so many different ones are tried."""
MAX_HOST_ADDRESSES: Final = 7
"""Of one machine's own. With two reflexive ones and a relayed one they make ten candidates; old
brokers refuse an offer in which the three sections name more than 32."""

_LEAST_OF_A_KIND: Final = 6
"""Reflexive and relayed candidates of a peer that stay, however many others it has."""

_CONTAINER_INTERFACES: Final = (
    *('docker', 'br-', 'veth', 'virbr', 'lxc', 'lxdbr', 'cni', 'flannel', 'cali', 'podman'),
    *('vmnet', 'vboxnet'),
)

_T = TypeVar('_T')


class _Path(NamedTuple):
    """Where a candidate leads; two with the same are one."""

    transport: str
    address: str
    port: str


class _Parsed(NamedTuple):
    line: str
    path: _Path
    kind: str
    rank: tuple[bool, int]
    """The lower, the better."""
    is_ipv6: bool


def choose_candidates(lines: Iterable[str]) -> list[str]:
    """
    Return a peer's candidate lines, each path once, at most 32, in the order in which they came.

    If some have to be left out, those stay that lead furthest (relayed, reflexive), then the
    peer's own favourites among its addresses; a quarter of these at least is of either IP family.
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
    """Take a candidate line apart; one of another form leads nowhere, and goes first."""
    fields = line.partition(':')[2].split()
    try:
        _, _, transport, priority, address, port, _, kind = fields[:8]
        rank = (not _is_usable(transport, address), -int(priority))
    except ValueError:
        return _Parsed(line, _Path('', line, ''), '', (True, 0), is_ipv6=False)
    path = _Path(transport.lower(), address.lower(), port)
    return _Parsed(line, path, kind, rank, is_ipv6=':' in address)


def _is_usable(transport: str, address: str) -> bool:
    """Return whether aioice can send to a candidate; not over TCP, nor to a name or fe80::."""
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

    :param present: All that there are.
    :param reaching: Those from which this machine sends to its peer.
    :param default: Those from which it sends to the internet.
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
    """Return the first ones; a quarter of them is of the rarer family, if there are so many."""
    chosen = list(ranked[:most])
    for family in (False, True):
        wanted = [item for item in ranked if is_ipv6(item) is family][: most // 4]
        missing = [item for item in wanted if item not in chosen]
        if missing:
            others = [item for item in chosen if is_ipv6(item) is not family]
            dropped = others[len(others) - len(missing) :]
            chosen = [item for item in chosen if item not in dropped] + missing
    return chosen
