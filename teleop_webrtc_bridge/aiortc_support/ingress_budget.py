"""
How many packets, and of what kind, one peer may have the event loop look at; pure.

A packet above the budget is lost before anything is parsed or decrypted. A peer of good will never
comes near it; one that stays above it is to be disconnected.
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
from typing import Final

from teleop_webrtc_bridge.core.rate_limit import FloodDetector, TokenBucket

__all__ = ['IngressBudget', 'Traffic', 'kind_of']

LONGEST_BYTES: Final = 2048
"""What crosses the Internet in one packet has 1,500 at most."""
MOST_SSRCS: Final = 16
"""Of one connection: a camera and its repetitions are two; each costs memory."""


class Traffic(enum.Enum):
    """What a packet is, as far as its first two bytes tell."""

    STUN = 'stun'
    DATA = 'data'
    """DTLS: data channels."""
    MEDIA = 'media'
    """RTP."""
    REPORTS = 'reports'
    """RTCP."""


#: Packets a second, and at once. Video of 20 Mbit/s has 2,100 packets a second; a channel may
#: carry 200 messages and 512 KiB a second (``broker.media.channels``); who loses a tenth of a
#: video asks 20 times a second; a browser checks its connection 20 times a second before it is up.
_RATES: Final = {
    Traffic.STUN: (100.0, 200.0),
    Traffic.DATA: (1000.0, 2000.0),
    Traffic.MEDIA: (4000.0, 4000.0),
    Traffic.REPORTS: (200.0, 400.0),
}
REPORT_BYTES_PER_S: Final = 32.0 * 1024
REPETITIONS_PER_S: Final = 2000.0
"""Packets that a peer asks for again, many of them in one report."""
STRANGERS_PER_S: Final = 50.0
"""Checks from addresses that are not known yet, to one port."""


def kind_of(data: bytes) -> Traffic | None:
    """Return what a packet is (RFC 7983); ``None``: nothing that anybody of good will sends."""
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
    What one peer may send on one connection.

    :param now: In seconds, as every other one.
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
        """Return whether a packet of the peer is to be looked at."""
        if kind in (Traffic.MEDIA, Traffic.REPORTS) and not self._has_room_for(_ssrc(kind, data)):
            return self._excess('ssrcs', now)
        if not self._packets[kind].take(1.0, now):
            return self._excess(kind.value, now)
        if kind is Traffic.REPORTS and not self._report_bytes.take(len(data), now):
            return self._excess('report_bytes', now)
        return True

    def admits_stranger(self, now: float) -> bool:
        """
        Return whether a check from an address that is not known is to be looked at.

        Anybody may send it: it takes nothing from the peer, and is not the peer's fault.
        """
        if self._strangers.take(1.0, now):
            return True
        self.dropped['strangers'] += 1
        return False

    def admits_repetitions(self, count: int, now: float) -> bool:
        """Return whether a report that asks for so many packets again is to be looked at."""
        return self._repetitions.take(count, now) or self._excess('repetitions', now)

    def knows(self, ssrc: int) -> None:
        """Note the source of a packet that is authentic."""
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
    """Return whose packet it is; the header is not encrypted (RFC 3711 §3.1)."""
    start = 8 if kind is Traffic.MEDIA else 4
    return int.from_bytes(data[start : start + 4], 'big')
