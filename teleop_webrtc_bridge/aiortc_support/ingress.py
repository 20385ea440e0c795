"""
What arrives on a connection's sockets, looked at before aioice and aiortc take it for granted.

Anybody who finds the port can send to it. aioice hands everything on that is no STUN, wherever it
comes from: an empty packet then ends the connection. Malformed STUN, RTP and RTCP raise what
nobody expects, with a traceback for each packet, and end it too. Here data is taken from the
addresses of the peer only, within its budget
(:mod:`~teleop_webrtc_bridge.aiortc_support.ingress_budget`), and malformed packets are lost.

Tested with aiortc 1.16; ``test/aiortc_support/test_ingress.py`` tells what broke when aiortc or
aioice moves.
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

import struct
import time
from typing import Any, Final

import aioice.ice
from aiortc import RTCDtlsTransport, RTCPeerConnection
from aiortc.rtp import RTCP_RTPFB, RTCP_RTPFB_NACK, RtcpPacket, RtpPacket

from teleop_webrtc_bridge.aiortc_support.ingress_budget import IngressBudget, kind_of, Traffic

__all__ = ['budget_of', 'check_what_arrives']

MOST_ADDRESSES: Final = 128
"""Of one peer: those that it names, and those that its checks come from; each costs memory."""
MOST_EARLY: Final = 64
"""Packets that overtake the answer which tells whose they are."""
_REQUEST: Final = b'\x00\x01'
"""How a STUN binding request begins."""
_TRANSACTION: Final = slice(8, 20)
_APPLICATION_DATA: Final = 23
"""DTLS content type (RFC 6347 §4.1)."""
_RECORD_HEADER_BYTES: Final = 13
#: What parsing raises besides what the parsers say.
_PARSING_RAISES: Final = (ValueError, IndexError, KeyError, AssertionError, struct.error)

_Ice: Final[Any] = aioice.ice.StunProtocol
_Dtls: Final[Any] = RTCDtlsTransport
_datagram_received: Final = _Ice.datagram_received


def check_what_arrives() -> None:
    """Change aioice and aiortc for the whole process; calling it again changes nothing."""
    _Ice.datagram_received = _on_datagram
    _Dtls._handle_rtcp_data = _on_rtcp
    _Dtls._handle_rtp_data = _on_rtp


def budget_of(pc: RTCPeerConnection) -> IngressBudget | None:
    """Return the budget of a connection that has a transport; all of max-bundle share it."""
    members: list[Any] = [*pc.getReceivers(), *([pc.sctp] if pc.sctp else [])]
    return _budget(members[0].transport) if members else None


class _Door:
    """What is known of the peer of one connection."""

    def __init__(self) -> None:
        self.budget = IngressBudget(time.monotonic())
        self.addresses: set[tuple[str, int]] = set()
        """From which it has sent before, and may."""
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
    """Return whether STUN is an answer to a question of ours, or a check within the budget."""
    if data[:2] != _REQUEST:
        return data[_TRANSACTION] in protocol.transactions
    if _is_known(connection, door, addr):
        return door.budget.admits(Traffic.STUN, data, now)
    # Each new address is remembered, and checked in turn.
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
    """Return whether the peer has named an address, or has proved by a check that it is there."""
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
    Return whether a packet of data holds one DTLS record.

    aiortc reads one for each packet: what comes with it would pile up.
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
    """Count the packets that a compound asks for again (NACK, RFC 4585 §6.2.1)."""
    count = position = 0
    while position + 4 <= len(data):
        end = position + 4 + 4 * int.from_bytes(data[position + 2 : position + 4], 'big')
        if data[position + 1] == RTCP_RTPFB and data[position] & 0x1F == RTCP_RTPFB_NACK:
            items = data[position + 12 : end]
            masks = struct.unpack(f'!{len(items) // 4 * 2}H', items[: len(items) // 4 * 4])[1::2]
            count += sum(1 + mask.bit_count() for mask in masks)
        position = end
    return count
