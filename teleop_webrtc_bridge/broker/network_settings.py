"""Settings of the network between the broker's media and its peers, and how they are checked."""

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

from collections.abc import Sequence
from dataclasses import dataclass
import ipaddress
import json
from typing import Any, Final, Self

from teleop_webrtc_bridge.core.exceptions import ConfigurationError, ProtocolError
from teleop_webrtc_bridge.core.ice import parse_ice_url, stun_servers_of
from teleop_webrtc_bridge.core.messages import IceServer
from teleop_webrtc_bridge.core.sdp import is_forbidden_address

__all__ = [
    'NetworkSettings',
    'check_ice_servers',
    'check_public_addresses',
    'check_udp_ports',
]

MAX_ICE_SERVERS: Final = 8
MAX_ICE_URLS: Final = 16
"""Of one server."""
MAX_URL_CHARS: Final = 256
MAX_PUBLIC_ADDRESSES: Final = 4
LEAST_PORT: Final = 1024
"""Below, only root may listen."""
LEAST_PORTS: Final = 4
"""A robot and whoever drives it, and both again while they dial anew."""

_ICE_ALLOWED: Final = (
    'a list of at most 8 maps with urls (stun:, turn: or turns:), and username and credential'
)
_PORTS_ALLOWED: Final = (
    f'[FROM, TO], two whole numbers from {LEAST_PORT} to 65535, with at least {LEAST_PORTS} '
    'ports: each robot, operator and viewer takes one'
)
_ADDRESS_ALLOWED: Final = (
    'an IP address by which others reach this machine, neither loopback nor link-local nor '
    'multicast nor ::ffff:… (names are not resolved)'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What a media process needs to know."""

    public_addresses: tuple[str, ...] = ()
    """Of a NAT that maps each port to the same one of this machine."""
    udp_ports: tuple[int, int] | None = None
    """First and last; ``None``: any."""
    stun_urls: tuple[str, ...] = ()
    """Asked for this machine's address outside, if none is configured."""

    @classmethod
    def of(
        cls,
        public_addresses: tuple[str, ...],
        udp_ports: tuple[int, int] | None,
        ice_servers: Sequence[IceServer],
    ) -> Self:
        """Return what follows from the broker's configuration; nothing secret is in it."""
        stun = () if public_addresses else tuple(u for s in ice_servers for u in s.urls)
        usable = (url for url in stun if stun_servers_of([IceServer(urls=(url,))]))
        return cls(public_addresses=public_addresses, udp_ports=udp_ports, stun_urls=tuple(usable))

    def as_argument(self) -> str:
        """Return it as one argument of a command line."""
        return json.dumps([self.public_addresses, self.udp_ports, self.stun_urls])

    @classmethod
    def from_argument(cls, text: str) -> Self:
        addresses, ports, urls = json.loads(text)
        return cls(
            public_addresses=tuple(addresses),
            udp_ports=None if ports is None else (ports[0], ports[1]),
            stun_urls=tuple(urls),
        )


def check_public_addresses(where: str, value: Any) -> tuple[str, ...]:
    """
    Return the addresses of this machine outside.

    :raises ConfigurationError: It is no list of addresses that others can send to.
    """
    if not isinstance(value, list) or len(value) > MAX_PUBLIC_ADDRESSES:
        allowed = f'a list of at most {MAX_PUBLIC_ADDRESSES} IP addresses'
        raise ConfigurationError(where, value, allowed)
    addresses = []
    for index, entry in enumerate(value):
        try:
            address = ipaddress.ip_address(entry if isinstance(entry, str) else '')
        except ValueError:
            raise ConfigurationError(f'{where}[{index}]', entry, _ADDRESS_ALLOWED) from None
        is_mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
        if is_mapped or is_forbidden_address(address, allow_local=False):
            raise ConfigurationError(f'{where}[{index}]', entry, _ADDRESS_ALLOWED)
        addresses.append(str(address))
    return tuple(dict.fromkeys(addresses))


def check_udp_ports(where: str, value: Any) -> tuple[int, int] | None:
    """
    Return the first and the last port that media may use; ``None``: any.

    :raises ConfigurationError: It is no range, or too small for a robot and an operator.
    """
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or {type(port) for port in value} != {int}:
        raise ConfigurationError(where, value, _PORTS_ALLOWED)
    first, last = value
    if not LEAST_PORT <= first <= last <= 0xFFFF or last - first + 1 < LEAST_PORTS:
        raise ConfigurationError(where, value, _PORTS_ALLOWED)
    return first, last


def check_ice_servers(where: str, value: Any) -> tuple[IceServer, ...]:
    """
    Return STUN and TURN servers for robots, browsers and ourselves.

    :raises ConfigurationError: One could not be used; a browser refuses the whole list then.
    """
    if not isinstance(value, list) or len(value) > MAX_ICE_SERVERS:
        raise ConfigurationError(where, _redacted(value), _ICE_ALLOWED)
    return tuple(_ice_server(f'{where}[{index}]', entry) for index, entry in enumerate(value))


def _ice_server(where: str, entry: Any) -> IceServer:
    if not isinstance(entry, dict) or not entry.keys() <= {'urls', 'username', 'credential'}:
        raise ConfigurationError(where, _redacted(entry), _ICE_ALLOWED)
    urls = entry.get('urls')
    listed = [urls] if isinstance(urls, str) else urls
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_ICE_URLS:
        allowed = f'a stun:, turn: or turns: address, or a list of 1 to {MAX_ICE_URLS}'
        raise ConfigurationError(f'{where}.urls', _redacted(urls), allowed)
    for name in ('username', 'credential'):
        if not isinstance(entry.get(name), str | None):
            raise ConfigurationError(f'{where}.{name}', '(not shown)', 'a text')
    turn = [_is_turn(f'{where}.urls[{index}]', url) for index, url in enumerate(listed)]
    for name in ('username', 'credential'):
        if any(turn) and not entry.get(name):
            raise ConfigurationError(f'{where}.{name}', 'missing', 'a text, for turn: and turns:')
    return IceServer(
        urls=tuple(listed), username=entry.get('username'), credential=entry.get('credential')
    )


def _is_turn(where: str, url: Any) -> bool:
    """
    Return whether a server's address is that of a relay.

    :raises ConfigurationError: Robots or browsers cannot use it.
    """
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS:
        raise ConfigurationError(where, _redacted(url), 'a stun:, turn: or turns: address')
    try:
        return parse_ice_url(url).is_turn
    except ProtocolError as error:
        # Somebody may have put a password before the host.
        shown = '(with a user, not shown)' if '@' in url else url
        raise ConfigurationError(where, shown, str(error).removeprefix('allowed: ')) from None


def _redacted(value: Any) -> str:
    """Return what may be shown of a value that could have a credential in it."""
    return f'({type(value).__name__}, not shown)'
