"""
What an SCTP peer may do to the event loop, bounded.

One packet of a peer whose encryption is up can make aiortc loop for ever (a parameter of length
zero) or for a second (an acknowledgement of ranges that were never sent). Numbers far ahead and
streams without end cost memory and time with every packet that follows. Other packets end the
connection with a traceback.

Tested with aiortc 1.16; ``test/aiortc_support/sctp/test_sctp_bounds.py`` tells what broke when
aiortc moves.
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

import logging
import struct
from typing import Any, Final

from aiortc import rtcsctptransport
from aiortc.utils import uint32_gte

__all__ = ['bound_sctp', 'possible_gaps']

MOST_CHUNKS: Final = 64
"""In one packet; libraries put one, or a few, into it."""
FARTHEST_AHEAD: Final = 1024
"""Chunks that may arrive before one that is missing: what fits into a second of a channel."""
MOST_STREAMS: Final = 256
"""That a peer sends on; each new bridge takes two."""
MOST_DUPLICATES: Final = 16
"""Told in one acknowledgement."""
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


def bound_sctp() -> None:
    """Change aiortc for the whole process; calling it again changes nothing."""
    _module.decode_params = _decode_params
    _module.parse_packet = _parse_bounded
    _Transport._handle_data = _handle_or_leave
    _Transport._mark_received = _mark_received
    _Transport._receive_data_chunk = _receive_possible_data
    _Transport._receive_forward_tsn_chunk = _receive_possible_forward_tsn
    _Transport._send_chunk = _send_or_leave


def possible_gaps(transport: Any, chunk: Any) -> list[tuple[int, int]]:
    """Return what an acknowledgement says of chunks that were sent, in order, each once."""
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
        raise ValueError('SCTP packet with chunks that do not go together')
    return parsed


async def _handle_or_leave(transport: Any, data: bytes) -> None:
    """
    Handle a packet.

    :raises ConnectionError: The peer has broken the association: aiortc closes the connection.
    """
    try:
        await _handle_data(transport, data)
    except _PARSING_RAISES as error:
        _logger.warning('event=sctp_broken error=%r', error)
        raise ConnectionError('the peer broke its SCTP association') from error


def _mark_received(transport: Any, tsn: int) -> bool:
    """Note a chunk's number; what aiortc does, without sorting all that is ahead each time."""
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
    # Half of aiortc's calls are tasks that nobody waits for; the connection's state tells its end.
    try:
        await _send_chunk(transport, chunk)
    except ConnectionError:
        return
