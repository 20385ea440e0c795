"""
Session descriptions as text: checked and repaired before a WebRTC library parses them.

Pure functions on SDP (RFC 8866). Parsing a hostile description takes aiortc seconds and raises
seven kinds of exception, so sizes are checked first, then the form of each line that aiortc reads.
Consistency of the sections is checked after parsing, in
:mod:`~teleop_webrtc_bridge.aiortc_support.descriptions`.
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

from collections.abc import Iterable
import ipaddress
import re
from typing import Final, NamedTuple

from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.ice import choose_candidates, MAX_CANDIDATES

__all__ = [
    'MAX_CANDIDATES',
    'MAX_CANDIDATE_BYTES',
    'MAX_FEEDBACK_PAIRS',
    'MAX_SDP_BYTES',
    'MAX_SECTIONS',
    'MAX_SSRC_LINES',
    'Offered',
    'check_sdp',
    'is_forbidden_address',
    'offered_by',
    'split_sections',
    'spread_candidates',
    'strip_forbidden_candidates',
]

MAX_SDP_BYTES: Final = 32 * 1024
"""Limit without the candidates."""
MAX_CANDIDATE_BYTES: Final = 32 * 1024
"""Limit of all candidate lines. A machine with 40 addresses repeats them in each section."""
MAX_SECTIONS: Final = 8
MAX_FEEDBACK_PAIRS: Final = 32 * 1024
"""aiortc tries each feedback line on each codec of its section; browsers offer 6,000 pairs."""
MAX_CODECS: Final = 256
"""aiortc compares each of them with each of its own; browsers offer about 70."""
MAX_SSRC_LINES: Final = 128
"""aiortc compares each of them with all SSRCs before it; browsers have four per section."""

_CANDIDATE: Final = 'a=candidate:'
_END_OF_CANDIDATES: Final = 'a=end-of-candidates'
#: candidate-attribute = "candidate:" foundation SP component SP transport SP priority SP address …
_ADDRESS_FIELD: Final = 4
_PORT_FIELD: Final = 5

_UDP_COMPONENT: Final = ('1', 'udp')

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Line ends other than CR LF and LF, which parsers treat differently, and lone surrogates.
_ODD_CHARACTER: Final = re.compile(
    '\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]'
)
_SHOWN: Final = 60
"""Characters of a line that an error message quotes."""


class _Form(NamedTuple):
    """The form of a line; groups in the pattern are numbers within bounds."""

    pattern: re.Pattern[str]
    allowed: str
    least: int = 0
    most: int = 2**32 - 1

    def admits(self, value: str) -> bool:
        match = self.pattern.fullmatch(value)
        if match is None:
            return False
        return all(self.least <= int(number) <= self.most for number in match.groups())


def _form(pattern: str, allowed: str, least: int = 0, most: int = 2**32 - 1) -> _Form:
    return _Form(re.compile(pattern, re.ASCII), allowed, least, most)


#: The lines that aiortc reads. It does not check their form, and copies some into its answer.
_LINES: Final = {
    'm': _form(
        r'(?:audio|video|application) (\d{1,5}) [A-Z/]+ \S+(?: \S+)*',
        'audio, video or application, a port, a protocol and formats',
        most=0xFFFF,
    ),
    'c': _form(r'IN IP[46] \S+', 'IN IP4 or IN IP6 and an address'),
}
_ATTRIBUTES: Final = {
    'candidate': _form(
        r' ?\S+ +\d{1,3} +\S+ +\d{1,10} +\S+ +(\d{1,5}) +typ +\S+(?: +\S+)*',
        'foundation, component, transport, priority, address, port, typ, type',
        most=0xFFFF,
    ),
    'extmap': _form(r'(\d{1,5})(?:/[a-z]+)? \S+', 'an id of 1 to 255 and a URI', 1, 255),
    'fingerprint': _form(
        r'[A-Za-z0-9-]+ [0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*', 'a hash function and hex pairs'
    ),
    'fmtp': _form(r'(\d{1,3}) .+', 'a payload type and parameters', most=127),
    'group': _form(r'\S+(?: \S+)*', 'a semantic and section names'),
    'ice-pwd': _form(r'[A-Za-z0-9+/]{22,256}', '22 to 256 of A-Z, a-z, 0-9, + and /'),
    'ice-ufrag': _form(r'[A-Za-z0-9+/]{4,256}', '4 to 256 of A-Z, a-z, 0-9, + and /'),
    'max-message-size': _form(r'\d{1,19}', 'a number of bytes'),
    # It goes into an RTP header extension of 16 bytes at most (RFC 8285 §4.2).
    'mid': _form(r"[!#-'*+.0-9A-Z^-~-]{1,16}", '1 to 16 characters of a name'),
    'msid': _form(r'\S+(?: \S+)?', 'the name of a stream and of a track'),
    'msid-semantic': _form(r' ?\S+(?: \S+)*', 'a semantic and stream names'),
    'rtcp': _form(r'(\d{1,5})(?: IN IP[46] \S+)?', 'a port and an address', most=0xFFFF),
    'rtcp-fb': _form(r'(?:\*|\d{1,3}) \S.*', 'a payload type or * and a kind of feedback'),
    'rtpmap': _form(
        r'(\d{1,3}) [^/\s]+/\d{1,9}(?:/\d{1,3})?', 'a payload type, a name and a rate', most=127
    ),
    'sctp-port': _form(r'(\d{1,5})', 'a port of 1 to 65535', 1, 0xFFFF),
    'sctpmap': _form(r'(\d{1,5}) \S.*', 'a port and a protocol', 1, 0xFFFF),
    'setup': _form(r'active|passive|actpass', 'active, passive or actpass'),
    'ssrc': _form(r'(\d{1,10}) [^:]+:.*', 'an SSRC, an attribute and its value'),
    'ssrc-group': _form(r'\S+(?: \d{1,10})*', 'a semantic and SSRCs'),
}

#: Metadata services of clouds, which hand out secrets, outside the link-local addresses: AWS, GCP,
#: Alibaba, Azure, Oracle.
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
    Refuse a description that is too large to be parsed safely, or has malformed lines.

    Many candidates are no reason for a refusal: :func:`spread_candidates` drops the surplus.

    :raises ProtocolError: It has more than 32 KiB, or more than 32 KiB of candidates, no media
        section or more than 8, so many codecs and feedback lines that comparing them would take
        seconds, or a malformed line.
    """
    size = len(sdp.encode(errors='replace'))
    candidates = sum(
        len(line) for line in sdp.splitlines(keepends=True) if line.startswith(_CANDIDATE)
    )
    if size - candidates > MAX_SDP_BYTES:
        raise ProtocolError(
            f'SDP of {size - candidates} bytes; at most {MAX_SDP_BYTES} are accepted'
        )
    if candidates > MAX_CANDIDATE_BYTES:
        raise ProtocolError(
            f'SDP with {candidates} bytes of candidates; at most {MAX_CANDIDATE_BYTES}'
        )
    odd = _ODD_CHARACTER.search(sdp)
    if odd is not None:
        raise ProtocolError(f'SDP with the character {odd[0]!r}')
    lines = sdp.splitlines()
    if not lines or lines[0] != 'v=0':
        raise ProtocolError('SDP does not start with v=0')
    sections = sum(line.startswith('m=') for line in lines)
    if not 1 <= sections <= MAX_SECTIONS:
        raise ProtocolError(f'SDP with {sections} media sections; allowed: 1 to {MAX_SECTIONS}')
    ssrcs = sum(line.startswith('a=ssrc:') for line in lines)
    if ssrcs > MAX_SSRC_LINES:
        raise ProtocolError(f'SDP with {ssrcs} ssrc lines; at most {MAX_SSRC_LINES}')
    _check_codecs(sdp)
    for number, line in enumerate(lines, 1):
        _check_line(number, line)


def _check_codecs(sdp: str) -> None:
    codecs = pairs = 0
    for section in split_sections(sdp):
        present = sum(line.startswith('a=rtpmap:') for line in section)
        codecs += present
        pairs += present * sum(line.startswith(('a=rtcp-fb:', 'a=fmtp:')) for line in section)
    if codecs > MAX_CODECS:
        raise ProtocolError(f'SDP with {codecs} codecs; at most {MAX_CODECS}')
    if pairs > MAX_FEEDBACK_PAIRS:
        raise ProtocolError(f'SDP with {pairs} pairs of codec and feedback line')


def _check_line(number: int, line: str) -> None:
    kind, equals, value = line.partition('=')
    if kind == 'a':
        kind, _, value = value.partition(':')
        form = _ATTRIBUTES.get(kind)
    else:
        form = _LINES.get(kind) if equals else None
    if form is not None and not form.admits(value):
        shown = line if len(line) <= _SHOWN else line[:_SHOWN] + '…'
        raise ProtocolError(f'line {number} of the SDP is {shown!r}; allowed: {form.allowed}')


def strip_forbidden_candidates(sdp: str, *, allow_local: bool) -> str:
    """
    Leave out candidates with host names, and with addresses that no peer has a reason to name.

    Unusable ones are left out too: transports other than UDP, and the RTCP component, which is
    multiplexed here; aioice fails when a check comes from the address of such a candidate.

    aioice takes about a second to resolve a host name (``*.local`` of mDNS, RFC 8839 §5.1), and a
    browser that hides its addresses connects without them, as a peer-reflexive candidate.
    Connectivity checks go to every address in a description: without this filter, anybody who may
    dial could make us send packets to this machine's own services and to cloud metadata.

    :param allow_local: Keep loopback and link-local addresses, for a broker on this machine.
    """
    lines = sdp.splitlines()
    kept = [
        line
        for line in lines
        if not line.startswith(_CANDIDATE) or _is_usable(line, allow_local=allow_local)
    ]
    if len(kept) < len(lines):
        # Checks may come from an address that was left out. aioice does not wait for them if it
        # has no usable candidate and the description says that there are no more (Firefox does).
        kept = [line for line in kept if line != _END_OF_CANDIDATES]
    return _join(kept)


def is_forbidden_address(address: _Address, *, allow_local: bool) -> bool:
    """
    Return whether connectivity checks must not go to an address.

    :param allow_local: Whether loopback and link-local addresses are allowed.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        # Useless to another machine (RFC 8839 §5.1). An unknown zone would cause a DNS look-up,
        # which blocks the event loop.
        return True
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
    """Return the IPv4 address that packets to this IPv6 address reach."""
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner


def _is_usable(line: str, *, allow_local: bool) -> bool:
    # Split as aiortc does: an empty foundation would shift the fields.
    fields = line.removeprefix(_CANDIDATE).split()
    if len(fields) <= _PORT_FIELD or (fields[1], fields[2].lower()) != _UDP_COMPONENT:
        return False
    address = _address(fields[_ADDRESS_FIELD])
    if address is None or is_forbidden_address(address, allow_local=allow_local):
        return False
    return fields[_PORT_FIELD].strip('0') != ''


def _address(text: str) -> _Address | None:
    """Return the address; ``None``: it is a host name or something else."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def spread_candidates(sdp: str) -> str:
    """
    Give each section the candidates of all sections, each once, at most 32.

    All sections share one transport, but aiortc keeps only the candidates of the last section.
    Peers such as Cloudflare name them only in the first one (docs/protocol.md §5), others in each.

    A peer without candidates is found by the checks that it sends. aioice ignores these after the
    end of candidates, so that line is then left out.
    """
    session, *sections = split_sections(sdp)
    candidates = choose_candidates(
        line for section in sections for line in section if line.startswith(_CANDIDATE)
    )
    if candidates and any(_END_OF_CANDIDATES in section for section in sections):
        candidates.append(_END_OF_CANDIDATES)
    lines = session
    for section in sections:
        lines += [
            line
            for line in section
            if line != _END_OF_CANDIDATES and not line.startswith(_CANDIDATE)
        ]
        lines += candidates
    return _join(lines)


class Offered(NamedTuple):
    """The contents of an offer."""

    video: bool
    """Whether the peer offers to send video."""
    channels: bool
    hosts: frozenset[str]
    """The peer's own addresses, without loopback and link-local ones."""


def offered_by(sdp: str) -> Offered:
    """Return the contents of an offer that has passed :func:`check_sdp`."""
    sections = split_sections(sdp)[1:]
    kinds = {section[0].partition(' ')[0] for section in sections}
    return Offered(
        video=any(it[0].startswith('m=video ') and _sends(it) for it in sections),
        channels='m=application' in kinds,
        hosts=frozenset(
            host for section in sections for line in section if (host := _host(line)) is not None
        ),
    )


def _sends(section: list[str]) -> bool:
    return not {'a=recvonly', 'a=inactive'}.intersection(section)


def _host(line: str) -> str | None:
    fields = line.removeprefix(_CANDIDATE).split() if line.startswith(_CANDIDATE) else []
    if fields[_PORT_FIELD + 1 : _PORT_FIELD + 3] != ['typ', 'host']:
        return None
    address = _address(fields[_ADDRESS_FIELD])
    if address is None or address.is_loopback or address.is_link_local:
        return None
    return str(address)


def split_sections(sdp: str) -> list[list[str]]:
    """Return the session's lines, then the lines of each media section."""
    parts: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith('m='):
            parts.append([])
        parts[-1].append(line)
    return parts


def _join(lines: Iterable[str]) -> str:
    return ''.join(f'{line}\r\n' for line in lines)
