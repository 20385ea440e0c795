"""
The checks and limits of packets from a peer, before aioice and aiortc act on them.

Anybody who finds the port can send to it. aioice passes on everything that is not STUN, whatever
its source: an empty packet then ends the connection. Malformed STUN, RTP and RTCP raise unexpected
exceptions, with a traceback for each packet, and end the connection too. A jump of the sequence
number makes aiortc loop for 10 ms, a pause of an hour for a second, and impossible time stamps
make its reports fail.

Here data is accepted only from addresses of the peer and within its budget; malformed packets are
dropped.
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

from collections import Counter
import enum
import struct
import time
from typing import Any, Final

import aioice.ice
from aiortc import (
    rate,
    RTCCertificate,
    RTCDtlsTransport,
    rtcdtlstransport,
    RTCPeerConnection,
    rtcrtpreceiver,
)
from aiortc.rtp import RTCP_RTPFB, RTCP_RTPFB_NACK, RtcpPacket, RTP_HISTORY_SIZE, RtpPacket

from teleop_webrtc_bridge.core.rate_limit import FloodDetector, TokenBucket

__all__ = [
    'IngressBudget',
    'Traffic',
    'budget_of',
    'check_ingress',
    'kind_of',
]

LONGEST_BYTES: Final = 2048
"""A packet that crosses the Internet has at most 1,500 bytes."""
MOST_SSRCS: Final = 16
"""Limit for one connection: a camera and its retransmissions are two; each costs memory."""
MOST_ADDRESSES: Final = 128
"""Limit for one peer: addresses that it names or sends checks from; each costs memory."""
MOST_EARLY: Final = 64
"""Packets accepted before the peer's answer, which they may overtake."""
_REQUEST: Final = b'\x00\x01'
"""The first bytes of a STUN binding request."""
_TRANSACTION: Final = slice(8, 20)
_APPLICATION_DATA: Final = 23
"""DTLS content type (RFC 6347 §4.1)."""
_RECORD_HEADER_BYTES: Final = 13
#: Exceptions that aiortc's and aioice's parsers raise on malformed bytes.
_PARSING_RAISES: Final = (ValueError, IndexError, KeyError, AssertionError, struct.error)
_HIGHEST_JITTER: Final = 2**32 - 1


# --- the budget of a peer -----------------------------------------------------------------------


class Traffic(enum.Enum):
    """The kind of a packet, by its first two bytes."""

    STUN = 'stun'
    DATA = 'data'
    """DTLS: data channels."""
    MEDIA = 'media'
    """RTP."""
    REPORTS = 'reports'
    """RTCP."""


#: Packets per second, and in a burst. Video of 20 Mbit/s has 2,100 packets a second; a channel may
#: carry 200 messages and 512 KiB a second (FloodGuard); a receiver that loses a tenth of a video
#: sends 20 NACKs a second; a browser sends 20 checks a second until it is connected.
_RATES: Final = {
    Traffic.STUN: (100.0, 200.0),
    Traffic.DATA: (1000.0, 2000.0),
    Traffic.MEDIA: (4000.0, 4000.0),
    Traffic.REPORTS: (200.0, 400.0),
}
REPORT_BYTES_PER_S: Final = 32.0 * 1024
REPETITIONS_PER_S: Final = 2000.0
"""Packets that a peer requests again; one report may name many."""
STRANGERS_PER_S: Final = 50.0
"""Connectivity checks from unknown addresses, to one port."""


def kind_of(data: bytes) -> Traffic | None:
    """Return the kind of a packet (RFC 7983); ``None``: no honest peer sends it."""
    if not 2 <= len(data) <= LONGEST_BYTES:
        return None
    first = data[0]
    if first < 4:
        return Traffic.STUN
    if 20 <= first < 64:
        return Traffic.DATA
    if 128 <= first < 192:
        return Traffic.REPORTS if 192 <= data[1] <= 208 else Traffic.MEDIA
    return None


class IngressBudget:
    """
    Limits the packets of one peer that the event loop processes; time is an argument.

    A packet above the budget is dropped before anything is parsed or decrypted. An honest peer
    never comes near it; a peer that stays above it is to be disconnected.

    :param now: Monotonic time in seconds, as in all methods.
    """

    def __init__(self, now: float) -> None:
        self.dropped: Counter[str] = Counter()
        self._packets = {kind: TokenBucket(*rate, now) for kind, rate in _RATES.items()}
        self._report_bytes = TokenBucket(REPORT_BYTES_PER_S, 2 * REPORT_BYTES_PER_S, now)
        self._repetitions = TokenBucket(REPETITIONS_PER_S, REPETITIONS_PER_S, now)
        self._strangers = TokenBucket(STRANGERS_PER_S, 2 * STRANGERS_PER_S, now)
        self._ssrcs: set[int] = set()
        self._flood = FloodDetector()

    def admits(self, kind: Traffic, data: bytes, now: float) -> bool:
        """Return whether to process a packet of the peer."""
        if kind in (Traffic.MEDIA, Traffic.REPORTS) and not self._has_room_for(_ssrc(kind, data)):
            return self._excess('ssrcs', now)
        if not self._packets[kind].take(1.0, now):
            return self._excess(kind.value, now)
        if kind is Traffic.REPORTS and not self._report_bytes.take(len(data), now):
            return self._excess('report_bytes', now)
        return True

    def admits_stranger(self, now: float) -> bool:
        """
        Return whether to process a check from an unknown address.

        Anybody can send one, so it neither uses up nor exceeds the peer's budget.
        """
        if self._strangers.take(1.0, now):
            return True
        self.dropped['strangers'] += 1
        return False

    def admits_repetitions(self, count: int, now: float) -> bool:
        """Return whether to process a report that requests this many packets again."""
        return self._repetitions.take(count, now) or self._excess('repetitions', now)

    def knows(self, ssrc: int) -> None:
        """Remember the source of an authentic packet."""
        if len(self._ssrcs) < MOST_SSRCS:
            self._ssrcs.add(ssrc)

    def is_flooded(self) -> bool:
        """Return whether the peer was above its budget for 3 s without a pause."""
        return self._flood.is_flooded()

    def _has_room_for(self, ssrc: int) -> bool:
        return ssrc in self._ssrcs or len(self._ssrcs) < MOST_SSRCS

    def _excess(self, what: str, now: float) -> bool:
        self.dropped[what] += 1
        self._flood.note_excess(now)
        return False


def _ssrc(kind: Traffic, data: bytes) -> int:
    """Return the source of a packet; its header is not encrypted (RFC 3711 §3.1)."""
    start = 8 if kind is Traffic.MEDIA else 4
    return int.from_bytes(data[start : start + 4], 'big')


# --- packets ------------------------------------------------------------------------------------

_Ice: Final[Any] = aioice.ice.StunProtocol
_Dtls: Final[Any] = RTCDtlsTransport
_Nacks: Final[Any] = rtcrtpreceiver.NackGenerator
_Statistics: Final[Any] = rtcrtpreceiver.StreamStatistics
_Rate: Final[Any] = rate.RateCounter
_Certificate: Final[Any] = RTCCertificate
_dtls: Final[Any] = rtcdtlstransport
_datagram_received: Final = _Ice.datagram_received
_add: Final = _Nacks.add
_jitter: Final = _Statistics.jitter
_erase_old: Final = _Rate._erase_old
_create_ssl_context: Final = _Certificate._create_ssl_context


def check_ingress() -> None:
    """Change aioice and aiortc for the whole process; calling it again changes nothing."""
    _Ice.datagram_received = _on_datagram
    _Dtls._handle_rtcp_data = _on_rtcp
    _Dtls._handle_rtp_data = _on_rtp
    _Nacks.add = _add_near
    _Statistics.jitter = property(_possible_jitter)
    _Rate._erase_old = _erase_all_old
    _Certificate._create_ssl_context = _create_final_context


def budget_of(pc: RTCPeerConnection) -> IngressBudget | None:
    """Return the budget of a connection that has a transport; all of max-bundle share it."""
    members: list[Any] = [*pc.getReceivers(), *([pc.sctp] if pc.sctp else [])]
    return _budget(members[0].transport) if members else None


class _Door:
    """The known facts about the peer of one connection."""

    def __init__(self) -> None:
        self.budget = IngressBudget(time.monotonic())
        self.addresses: set[tuple[str, int]] = set()
        """The addresses from which it may send, and has sent before."""
        self.early = 0


def _door(connection: Any) -> _Door:
    door = getattr(connection, 'teleop_door', None)
    if door is None:
        door = connection.teleop_door = _Door()
    assert isinstance(door, _Door)
    return door


def _on_datagram(protocol: Any, data: bytes, addr: tuple[Any, ...]) -> None:
    kind = kind_of(data)
    if kind is None:
        return
    connection = protocol.receiver
    door = _door(connection)
    now = time.monotonic()
    if kind is Traffic.STUN:
        is_wanted = _is_wanted(protocol, connection, door, data, addr, now)
    else:
        is_wanted = (
            _is_from_peer(connection, door, addr)
            and door.budget.admits(kind, data, now)
            and _is_one_record(data)
        )
    if not is_wanted:
        return
    try:
        _datagram_received(protocol, data, addr)
    except _PARSING_RAISES:
        door.budget.dropped['malformed'] += 1


def _is_wanted(
    protocol: Any,
    connection: Any,
    door: _Door,
    data: bytes,
    addr: tuple[Any, ...],
    now: float,
) -> bool:
    """Return whether STUN answers a request of ours, or is a check within the budget."""
    if data[:2] != _REQUEST:
        return data[_TRANSACTION] in protocol.transactions
    if _is_known(connection, door, addr):
        return door.budget.admits(Traffic.STUN, data, now)
    # aioice remembers each new address and sends a check to it.
    has_room = len(connection._remote_candidates) < MOST_ADDRESSES
    return has_room and door.budget.admits_stranger(now)


def _is_from_peer(connection: Any, door: _Door, addr: tuple[Any, ...]) -> bool:
    if _is_known(connection, door, addr):
        return True
    if connection._early_checks_done or door.early >= MOST_EARLY:
        door.budget.dropped['strangers'] += 1
        return False
    door.early += 1
    return True


def _is_known(connection: Any, door: _Door, addr: tuple[Any, ...]) -> bool:
    """Return whether the peer has named an address, or has sent a valid check from it."""
    address = (addr[0], addr[1])
    if address in door.addresses:
        return True
    for candidate in connection._remote_candidates:
        if candidate.port == address[1] and candidate._network_host == address[0]:
            door.addresses.add(address)
            return True
    return False


def _is_one_record(data: bytes) -> bool:
    """
    Return whether a packet of application data holds exactly one DTLS record.

    aiortc reads one record per packet: further records would pile up.
    """
    if data[0] != _APPLICATION_DATA:
        return True
    return len(data) == _RECORD_HEADER_BYTES + int.from_bytes(data[11:13], 'big')


def _budget(transport: Any) -> IngressBudget:
    return _door(transport.transport._connection).budget


async def _on_rtp(transport: Any, data: bytes, arrival_time_ms: int) -> None:
    budget = _budget(transport)
    try:
        packet = RtpPacket.parse(data, transport._rtp_header_extensions_map)
    except _PARSING_RAISES:
        budget.dropped['malformed'] += 1
        return
    budget.knows(packet.ssrc)
    receiver = transport._rtp_router.route_rtp(packet)
    if receiver is not None:
        await receiver._handle_rtp_packet(packet, arrival_time_ms=arrival_time_ms)


async def _on_rtcp(transport: Any, data: bytes) -> None:
    budget = _budget(transport)
    try:
        budget.knows(int.from_bytes(data[4:8], 'big'))
        wanted = _repetitions(data)
        if wanted and not budget.admits_repetitions(wanted, time.monotonic()):
            return
        packets = [
            (packet, transport._rtp_router.route_rtcp(packet)) for packet in RtcpPacket.parse(data)
        ]
    except _PARSING_RAISES:
        budget.dropped['malformed'] += 1
        return
    for packet, recipients in packets:
        for recipient in recipients:
            await recipient._handle_rtcp_packet(packet)


def _repetitions(data: bytes) -> int:
    """Count the packets that an RTCP compound requests again (NACK, RFC 4585 §6.2.1)."""
    count = position = 0
    while position + 4 <= len(data):
        end = position + 4 + 4 * int.from_bytes(data[position + 2 : position + 4], 'big')
        if data[position + 1] == RTCP_RTPFB and data[position] & 0x1F == RTCP_RTPFB_NACK:
            items = data[position + 12 : end]
            masks = struct.unpack(f'!{len(items) // 4 * 2}H', items[: len(items) // 4 * 4])[1::2]
            count += sum(1 + mask.bit_count() for mask in masks)
        position = end
    return count


# --- the cost of authentic packets ---------------------------------------------------------------


def _add_near(generator: Any, packet: RtpPacket) -> bool:
    """Note a packet; after a jump, count only as many missing ones as aiortc keeps."""
    newest = generator.max_seq
    gap = 0 if newest is None else (packet.sequence_number - newest) & 0xFFFF
    if RTP_HISTORY_SIZE + 1 < gap < 0x8000:
        generator.missing.clear()
        generator.max_seq = (packet.sequence_number - RTP_HISTORY_SIZE - 1) & 0xFFFF
    return bool(_add(generator, packet))


def _possible_jitter(statistics: Any) -> int:
    return min(int(_jitter.fget(statistics)), _HIGHEST_JITTER)


def _erase_all_old(counter: Any, now_ms: int) -> None:
    if now_ms - counter._origin_ms >= 2 * counter._window_size:
        counter.reset()
        counter._origin_ms = now_ms - counter._window_size + 1
    else:
        _erase_old(counter, now_ms)


def _create_final_context(certificate: Any, srtp_profiles: Any) -> Any:
    """Return a DTLS context with which a peer cannot ask for another handshake."""
    context = _create_ssl_context(certificate, srtp_profiles)
    context.set_options(_dtls.SSL.OP_NO_RENEGOTIATION)
    return context
