"""Callers' addresses: of the connection, or as a trusted proxy forwards them."""

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
import ipaddress
import re
from typing import Final

__all__ = ['IpNetwork', 'TrustedProxies', 'network_of']

IPV6_PREFIX: Final = 64
"""Anybody with one IPv6 address has 2^64 of them."""
WITH_PORT: Final = re.compile(r'(?:(\d+\.\d+\.\d+\.\d+)|\[([^\]]+)\])(?::\d+)?')

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """
    The proxies whose ``X-Forwarded-For`` is trusted.

    :param networks: Their addresses.
    """

    def __init__(self, networks: Iterable[IpNetwork] = ()) -> None:
        self._networks = tuple(networks)

    def trust(self, address: str | None) -> bool:
        """Return whether an address is that of a trusted proxy."""
        if not self._networks:
            return False
        parsed = _parsed(address or '')
        return parsed is not None and any(parsed in network for network in self._networks)

    def caller(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """
        Return the address of a caller.

        :param peer: The address of the connection.
        :param forwarded: All ``X-Forwarded-For`` headers of the request, in order.
        :returns: The last address in them that is not a trusted proxy's; the peer's if the peer is
            no trusted proxy or its headers are malformed.
        """
        own = peer or ''
        if not forwarded or not self.trust(peer):
            return own
        for entry in reversed(','.join(forwarded).split(',')):
            address = _forwarded(entry.strip())
            if address is None:
                return own
            if not self.trust(address):
                return address
        return own


def network_of(address: str | None) -> str:
    """Return the network that counts as one caller: an IPv4 address or an IPv6 prefix."""
    parsed = _parsed(address or '')
    if parsed is None:
        return address or ''
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), IPV6_PREFIX), strict=False))


def _forwarded(entry: str) -> str | None:
    """Return the address of an entry, which may carry a port."""
    match = WITH_PORT.fullmatch(entry)
    parsed = _parsed(match[1] or match[2] if match else entry)
    return None if parsed is None else str(parsed)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if parsed.version == 6 else parsed
