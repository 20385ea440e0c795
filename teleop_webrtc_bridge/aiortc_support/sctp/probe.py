"""
Probing a peer below the data channels; aiortc has no public way to do it.

Tested with aiortc 1.16, like :mod:`~teleop_webrtc_bridge.aiortc_support.internals`;
``test/bridge/webrtc/test_liveness.py`` tells what broke when aiortc moves.
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
import struct
from typing import Any, Final

from aiortc import RTCSctpTransport, rtcsctptransport

__all__ = ['SctpProbe']

_HEARTBEAT_INFO: Final = 1
_PROBE: Final = struct.Struct('!d')


class SctpProbe:
    """
    Asks the peer's SCTP for an answer (HEARTBEAT, RFC 9260 §8.3).

    Every implementation has to give one, whatever the association carries; data channels do not
    notice.

    :param transport: The peer connection's.
    :param on_answer: Gets the ``now`` of the probe that was answered; must not raise.
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
            return  # the transport is closing, which the connection's state tells

    async def _on_chunk(self, chunk: rtcsctptransport.Chunk) -> None:
        if isinstance(chunk, rtcsctptransport.HeartbeatAckChunk):
            for kind, value in chunk.params:
                if kind == _HEARTBEAT_INFO and len(value) == _PROBE.size:
                    self._on_answer(*_PROBE.unpack(value))
        await self._receive_chunk(chunk)
