"""This machine's addresses as the kernel has them now, the most useful ones for a peer first."""

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

from collections.abc import Iterable
from pathlib import Path
import socket
from typing import Final

import ifaddr

from teleop_webrtc_bridge.core.candidates import choose_addresses, HostAddress

__all__ = ['best_addresses', 'default_addresses']

#: Addresses for documentation: nothing is ever sent there, but the default route leads to them.
_ANYWHERE: Final = ('203.0.113.1', '2001:db8::1')
_DISCARD_PORT: Final = 9

_INTERFACES: Final = Path('/sys/class/net')
_IPV6_ADDRESSES: Final = Path('/proc/net/if_inet6')
_UNUSABLE_FLAGS: Final = 0x08 | 0x20 | 0x40
"""IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE of linux/if_addr.h."""


def best_addresses(present: Iterable[str], peers: Iterable[str]) -> list[str]:
    """
    Return the addresses that are worth a candidate, the best first.

    :param present: All that may be offered.
    :param peers: Addresses of the other side, as far as they are known.
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
    """Return the addresses from which this machine sends to the internet."""
    return _sources(_ANYWHERE)


def _source(target: str) -> str | None:
    """Return the address from which the kernel would send to a target; ``None``: it would not."""
    family = socket.AF_INET6 if ':' in target else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, _DISCARD_PORT))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _sources(targets: Iterable[str]) -> list[str]:
    # An address that is ours as well is no way to another machine: all have 172.17.0.1 of Docker.
    found = ((target, _source(target)) for target in targets)
    return [source for target, source in found if source is not None and source != target]


def _is_up(interface: str) -> bool:
    try:
        # Of tunnels and the like the kernel says "unknown".
        return (_INTERFACES / interface / 'operstate').read_text().strip() != 'down'
    except OSError:
        return True


def _unusable_ipv6() -> set[str]:
    """Return the IPv6 addresses that are deprecated, or not usable yet."""
    try:
        lines = _IPV6_ADDRESSES.read_text().splitlines()
    except OSError:
        return set()
    return {
        socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0]))
        for fields in map(str.split, lines)
        if int(fields[4], 16) & _UNUSABLE_FLAGS
    }
