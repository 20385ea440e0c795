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
Session descriptions as text: what is checked and mended before any WebRTC library sees them.

Pure functions on SDP (RFC 8866). Parsing a hostile description costs seconds and raises seven
kinds of exception in aiortc, so the caps come first.
"""

from __future__ import annotations

from collections.abc import Iterable
import ipaddress
from typing import Final

from teleop_webrtc_bridge.exceptions import ProtocolError

__all__ = [
    'MAX_CANDIDATES',
    'MAX_FEEDBACK_PAIRS',
    'MAX_SDP_BYTES',
    'MAX_SECTIONS',
    'check_sdp',
    'is_forbidden_address',
    'spread_candidates',
    'strip_forbidden_candidates',
]

MAX_SDP_BYTES: Final = 32 * 1024
MAX_CANDIDATES: Final = 32
MAX_SECTIONS: Final = 8
MAX_FEEDBACK_PAIRS: Final = 32 * 1024
"""aiortc meets each feedback line with each codec of its section; a browser's offer has 6,000."""

_CANDIDATE: Final = 'a=candidate:'
_END_OF_CANDIDATES: Final = 'a=end-of-candidates'
#: candidate-attribute = "candidate:" foundation SP component SP transport SP priority SP address …
_ADDRESS_FIELD: Final = 4

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Where clouds tell their machines' secrets, as far as the addresses are no link-local ones:
#: AWS, GCP, Alibaba, Azure, Oracle.
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        '169.254.169.254',
        'fd00:ec2::254',
        'fd20:ce::254',
        '100.100.100.200',
        '168.63.129.16',
        '192.0.0.192',
    )
)
_THIS_NETWORK: Final = ipaddress.ip_network('0.0.0.0/8')
_BROADCAST: Final = ipaddress.ip_address('255.255.255.255')
_NAT64: Final = ipaddress.ip_network('64:ff9b::/96')


def check_sdp(sdp: str) -> None:
    """
    Refuse a description that is too large to be parsed safely, or no description at all.

    :raises ProtocolError: More than 32 KiB, 32 candidates or 8 media sections, no media section,
        or so many codecs and feedback lines that meeting them all would take seconds.
    """
    size = len(sdp.encode(errors='replace'))
    if size > MAX_SDP_BYTES:
        raise ProtocolError(f'SDP of {size} bytes; at most {MAX_SDP_BYTES} are accepted')
    lines = sdp.splitlines()
    if not lines or lines[0].strip() != 'v=0':
        raise ProtocolError('SDP does not start with v=0')
    sections = sum(line.startswith('m=') for line in lines)
    if not 1 <= sections <= MAX_SECTIONS:
        raise ProtocolError(f'SDP with {sections} media sections; allowed: 1 to {MAX_SECTIONS}')
    candidates = sum(line.startswith(_CANDIDATE) for line in lines)
    if candidates > MAX_CANDIDATES:
        raise ProtocolError(f'SDP with {candidates} candidates; at most {MAX_CANDIDATES}')
    pairs = sum(map(_feedback_pairs, _split_sections(sdp)))
    if pairs > MAX_FEEDBACK_PAIRS:
        raise ProtocolError(f'SDP with {pairs} pairs of codec and feedback line')


def _feedback_pairs(section: list[str]) -> int:
    codecs = sum(line.startswith('a=rtpmap:') for line in section)
    return codecs * sum(line.startswith('a=rtcp-fb:') for line in section)


def strip_forbidden_candidates(sdp: str, *, allow_local: bool) -> str:
    """
    Leave out host names, and the addresses that no peer of ours has a reason to name.

    aioice spends about a second on resolving each host name (``*.local`` of mDNS, RFC 8839 §5.1),
    and a browser that hides its addresses connects without them, as a peer-reflexive candidate.
    Connectivity checks go to every address that a description names: without this anybody who may
    dial could have us send packets to this machine's own services and to cloud metadata.

    :param allow_local: Keep loopback and link-local addresses, for a broker of this machine only.
    """
    kept = []
    for line in sdp.splitlines():
        if line.startswith(_CANDIDATE):
            address = _address(line)
            if address is None or is_forbidden_address(address, allow_local=allow_local):
                continue
        kept.append(line)
    return _join(kept)


def is_forbidden_address(address: _Address, *, allow_local: bool) -> bool:
    """
    Return whether connectivity checks must not go to an address.

    :param allow_local: Whether loopback and link-local ones may be.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        # A zone makes it unequal to the same address without one; the kernel does not mind it.
        address = ipaddress.IPv6Address(int(address))
    if address in _METADATA or address.is_multicast or address.is_unspecified:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_forbidden_address(inner, allow_local=allow_local)
    elif address in _THIS_NETWORK or address == _BROADCAST:
        return True
    return (address.is_loopback or address.is_link_local) and not allow_local


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to an IPv6 address end up at."""
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner


def _address(line: str) -> _Address | None:
    """Return the address of a candidate line; ``None`` for a host name, or none at all."""
    # As aiortc splits it: with an empty foundation the fields would be counted differently.
    fields = line.removeprefix(_CANDIDATE).split()
    if len(fields) <= _ADDRESS_FIELD:
        return None
    try:
        return ipaddress.ip_address(fields[_ADDRESS_FIELD])
    except ValueError:
        return None


def spread_candidates(sdp: str) -> str:
    """
    Copy the first section's candidates into each later section that has none.

    With max-bundle, aiortc keeps the candidates of the last section only; peers such as Cloudflare
    name them in the first one only (docs/protocol.md §5).
    """
    session, *sections = _split_sections(sdp)
    if not sections:
        return sdp
    shared = [line for line in sections[0] if line.startswith((_CANDIDATE, _END_OF_CANDIDATES))]
    lines = session + sections[0]
    for section in sections[1:]:
        lines += section
        if not any(line.startswith(_CANDIDATE) for line in section):
            lines += [line for line in shared if line not in section]
    return _join(lines)


def _split_sections(sdp: str) -> list[list[str]]:
    """Return the session's lines, then the lines of each media section."""
    parts: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith('m='):
            parts.append([])
        parts[-1].append(line)
    return parts


def _join(lines: Iterable[str]) -> str:
    return ''.join(f'{line}\r\n' for line in lines)
