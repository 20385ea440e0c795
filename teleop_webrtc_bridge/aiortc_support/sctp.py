"""
Improvements of aiortc's SCTP: bounds, faster recovery from losses, and probes.

*Bounds.* One packet of a peer that has completed the handshake can make aiortc loop forever (a
parameter of length zero) or for a second (an acknowledgement of ranges that were never sent).
Numbers far ahead, and ever more streams, cost memory and time with every later packet. Other
packets end the connection with a traceback.

*Losses.* When an unreliable message is lost, aiortc tells the peer to skip it (FORWARD TSN,
RFC 3758), but only as far as the next message that did arrive; the loss behind that one waits for
another round trip. With more losses than round trips in a second (20 % of 75 messages at 0.1 s)
the queue of sent messages grows without end, the retransmission time-out with it, and after some
minutes hardly anything gets through. Here messages that arrived are skipped as well.
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

from collections.abc import Callable
import logging
import struct
from typing import Any, Final

from aiortc import RTCSctpTransport, rtcsctptransport
from aiortc.utils import uint32_gt, uint32_gte

__all__ = [
    'SctpProbe',
    'improve_sctp',
    'possible_gaps',
]

MOST_CHUNKS: Final = 64
"""Limit for one packet; implementations put one or a few into it."""
FARTHEST_AHEAD: Final = 1024
"""Chunks accepted beyond a missing one: a channel carries no more in a second."""
MOST_STREAMS: Final = 256
"""Limit of streams on which a peer sends; each new bridge takes two."""
MOST_DUPLICATES: Final = 16
"""Limit of duplicates reported in one acknowledgement."""
_SERIAL: Final = 2**32
_PARSING_RAISES: Final = (ValueError, IndexError, KeyError, AssertionError, struct.error)

_logger = logging.getLogger(__name__)

_Transport: Final[Any] = rtcsctptransport.RTCSctpTransport
_module: Final[Any] = rtcsctptransport
_handle_data: Final = _Transport._handle_data
_receive_data_chunk: Final = _Transport._receive_data_chunk
_receive_forward_tsn_chunk: Final = _Transport._receive_forward_tsn_chunk
_send_chunk: Final = _Transport._send_chunk
_parse_packet: Final = _module.parse_packet
_advance: Final = _Transport._update_advanced_peer_ack_point
_receive_sack: Final = _Transport._receive_sack_chunk
#: A whole message of an unordered channel: once acknowledged, the peer has delivered it.
_WHOLE: Final = (
    rtcsctptransport.SCTP_DATA_FIRST_FRAG
    | rtcsctptransport.SCTP_DATA_LAST_FRAG
    | rtcsctptransport.SCTP_DATA_UNORDERED
)
_HEARTBEAT_INFO: Final = 1
_PROBE: Final = struct.Struct('!d')


def improve_sctp() -> None:
    """Change aiortc for the whole process; calling it again changes nothing."""
    _module.decode_params = _decode_params
    _module.parse_packet = _parse_bounded
    _Transport._handle_data = _handle_or_leave
    _Transport._mark_received = _mark_received
    _Transport._receive_data_chunk = _receive_possible_data
    _Transport._receive_forward_tsn_chunk = _receive_possible_forward_tsn
    _Transport._send_chunk = _send_or_leave
    _Transport._update_advanced_peer_ack_point = _advance_further
    _Transport._receive_sack_chunk = _receive_sack_and_restart


def possible_gaps(transport: Any, chunk: Any) -> list[tuple[int, int]]:
    """Return the ranges of an acknowledgement that name sent chunks: ordered, without overlap."""
    newest = (transport._local_tsn - 1 - chunk.cumulative_tsn) % _SERIAL
    if newest >= _SERIAL // 2:
        return []
    gaps: list[tuple[int, int]] = []
    last = 0
    for first, end in chunk.gaps:
        if last < first <= end <= newest:
            gaps.append((first, end))
            last = end
    return gaps


def _decode_params(body: bytes) -> list[tuple[int, bytes]]:
    params = []
    position = 0
    while position + 4 <= len(body):
        kind, length = struct.unpack_from('!HH', body, position)
        if length < 4:
            raise ValueError(f'SCTP parameter with a length of {length} bytes')
        params.append((kind, body[position + 4 : position + length]))
        position += (length + 3) // 4 * 4
    return params


def _parse_bounded(data: bytes) -> Any:
    try:
        parsed = _parse_packet(data)
    except _PARSING_RAISES as error:
        raise ValueError(f'malformed SCTP packet: {error}') from error
    chunks = parsed[3]
    if len(chunks) > MOST_CHUNKS or (
        len(chunks) > 1 and any(isinstance(it, rtcsctptransport.InitChunk) for it in chunks)
    ):
        raise ValueError('SCTP packet with chunks that must not be bundled')
    return parsed


async def _handle_or_leave(transport: Any, data: bytes) -> None:
    """
    Handle a packet.

    :raises ConnectionError: The peer broke the association: aiortc closes the connection.
    """
    try:
        await _handle_data(transport, data)
    except _PARSING_RAISES as error:
        _logger.warning('event=sctp_broken error=%r', error)
        raise ConnectionError('the peer broke its SCTP association') from error


def _mark_received(transport: Any, tsn: int) -> bool:
    """Mark a chunk as received, like aiortc, but without sorting all chunks ahead each time."""
    misordered: set[int] = transport._sack_misordered
    if uint32_gte(transport._last_received_tsn, tsn) or tsn in misordered:
        if len(transport._sack_duplicates) < MOST_DUPLICATES:
            transport._sack_duplicates.append(tsn)
        return True
    misordered.add(tsn)
    following = (transport._last_received_tsn + 1) % _SERIAL
    while following in misordered:
        misordered.discard(following)
        transport._last_received_tsn = following
        following = (following + 1) % _SERIAL
    return False


async def _receive_possible_data(transport: Any, chunk: Any) -> None:
    if transport._last_received_tsn is None or not chunk.user_data:
        return
    ahead = (chunk.tsn - transport._last_received_tsn) % _SERIAL
    if FARTHEST_AHEAD < ahead < _SERIAL // 2 or not _has_stream(transport, chunk.stream_id):
        return
    await _receive_data_chunk(transport, chunk)


async def _receive_possible_forward_tsn(transport: Any, chunk: Any) -> None:
    if transport._last_received_tsn is not None and all(
        _has_stream(transport, stream_id) for stream_id, _ in chunk.streams
    ):
        await _receive_forward_tsn_chunk(transport, chunk)


def _has_stream(transport: Any, stream_id: int) -> bool:
    streams = transport._inbound_streams
    return stream_id in streams or len(streams) < MOST_STREAMS


async def _send_or_leave(transport: Any, chunk: Any) -> None:
    # Half of aiortc's calls are tasks that it never awaits; the connection's state shows its end.
    try:
        await _send_chunk(transport, chunk)
    except ConnectionError:
        return


# --- losses -------------------------------------------------------------------------------------


def _advance_further(transport: Any) -> None:
    _advance(transport)
    queue = transport._sent_queue
    while queue and _is_skipped(transport) and _is_delivered(queue[0]):
        transport._advanced_peer_ack_tsn = queue.popleft().tsn
        _advance(transport)


def _is_skipped(transport: Any) -> bool:
    """Return whether the peer has not acknowledged yet that it skips something."""
    return uint32_gt(transport._advanced_peer_ack_tsn, transport._last_sacked_tsn)


def _is_delivered(chunk: Any) -> bool:
    return bool(chunk._acked and chunk.flags & _WHOLE == _WHOLE)


async def _receive_sack_and_restart(transport: Any, chunk: rtcsctptransport.SackChunk) -> None:
    sacked_tsn = transport._last_sacked_tsn
    chunk.gaps = possible_gaps(transport, chunk)
    await _receive_sack(transport, chunk)
    # aiortc restarts the timer only for chunks that were acknowledged in sequence; after the
    # skipping above these are fewer.
    if transport._last_sacked_tsn != sacked_tsn and transport._t3_handle is not None:
        transport._t3_restart()


# --- probe --------------------------------------------------------------------------------------


class SctpProbe:
    """
    Sends HEARTBEAT chunks to the peer's SCTP (RFC 9260 §8.3).

    Every implementation has to answer them, whatever the association carries; data channels are
    not affected.

    :param transport: The transport of the peer connection.
    :param on_answer: Called with the ``now`` of the answered probe; must not raise.
    """

    def __init__(self, transport: RTCSctpTransport, on_answer: Callable[[float], None]) -> None:
        private: Any = transport
        self._transport = private
        self._on_answer = on_answer
        self._receive_chunk = self._transport._receive_chunk
        self._transport._receive_chunk = self._on_chunk

    async def send(self, now: float) -> None:
        """Probe once, if there is an association."""
        if self._transport.state != 'connected':
            return
        chunk = rtcsctptransport.HeartbeatChunk()
        chunk.params = [(_HEARTBEAT_INFO, _PROBE.pack(now))]
        try:
            await self._transport._send_chunk(chunk)
        except ConnectionError:
            return  # the transport is closing, as the connection's state shows

    async def _on_chunk(self, chunk: rtcsctptransport.Chunk) -> None:
        if isinstance(chunk, rtcsctptransport.HeartbeatAckChunk):
            for kind, value in chunk.params:
                if kind == _HEARTBEAT_INFO and len(value) == _PROBE.size:
                    self._on_answer(*_PROBE.unpack(value))
        await self._receive_chunk(chunk)
