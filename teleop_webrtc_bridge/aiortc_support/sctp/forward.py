"""
Lost unreliable messages, given up as fast as they are lost.

aiortc tells its peer (FORWARD TSN, RFC 3758) to skip what is given up only as far as the next
message that did arrive; the one behind that waits for another round trip. With more losses than
round trips in a second (20 % of 75 messages at 0.1 s) the queue of what was sent grows without
end, its retransmission time with it, and after some minutes hardly anything gets through any more.
Here it skips what has arrived as well.

Tested with aiortc 1.16, like :mod:`~teleop_webrtc_bridge.aiortc_support.internals`;
``test/aiortc_support/sctp/test_sctp_forward.py`` tells what broke when aiortc moves.
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

from typing import Any, Final

from aiortc import rtcsctptransport
from aiortc.utils import uint32_gt

from teleop_webrtc_bridge.aiortc_support.sctp.bounds import possible_gaps

__all__ = ['skip_what_has_arrived', 'unsettled_messages']

_Transport: Final[Any] = rtcsctptransport.RTCSctpTransport
_advance: Final = _Transport._update_advanced_peer_ack_point
_receive_sack: Final = _Transport._receive_sack_chunk
#: A whole message, of an unordered channel: the peer has delivered it when it says that it came.
_WHOLE: Final = (
    rtcsctptransport.SCTP_DATA_FIRST_FRAG
    | rtcsctptransport.SCTP_DATA_LAST_FRAG
    | rtcsctptransport.SCTP_DATA_UNORDERED
)


def skip_what_has_arrived() -> None:
    """Change aiortc for the whole process; calling it again changes nothing."""
    _Transport._update_advanced_peer_ack_point = _advance_further
    _Transport._receive_sack_chunk = _receive_sack_and_restart


def unsettled_messages(transport: rtcsctptransport.RTCSctpTransport) -> int:
    """Return how many chunks were sent and are neither acknowledged in sequence nor given up."""
    private: Any = transport
    return len(private._sent_queue)


def _advance_further(transport: Any) -> None:
    _advance(transport)
    queue = transport._sent_queue
    while queue and _is_skipped(transport) and _is_delivered(queue[0]):
        transport._advanced_peer_ack_tsn = queue.popleft().tsn
        _advance(transport)


def _is_skipped(transport: Any) -> bool:
    """Return whether the peer has something to skip that it has not acknowledged yet."""
    return uint32_gt(transport._advanced_peer_ack_tsn, transport._last_sacked_tsn)


def _is_delivered(chunk: Any) -> bool:
    return bool(chunk._acked and chunk.flags & _WHOLE == _WHOLE)


async def _receive_sack_and_restart(transport: Any, chunk: rtcsctptransport.SackChunk) -> None:
    sacked_tsn = transport._last_sacked_tsn
    chunk.gaps = possible_gaps(transport, chunk)
    await _receive_sack(transport, chunk)
    # aiortc restarts it for what was acknowledged in sequence, of which we have left less.
    if transport._last_sacked_tsn != sacked_tsn and transport._t3_handle is not None:
        transport._t3_restart()
