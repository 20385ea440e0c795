"""Records the frames that pass a detour: what a viewer could see, whatever their decoder does."""

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

import itertools
import time

from detour import Detour, Direction

RTP_VERSION = 2
RTCP_TYPES = range(192, 224)


class FramesPassed:
    """
    Records when the last packet of each frame leaves a detour towards the peers that dialled it.

    The packets are encrypted; the marker bit and the sequence number are not (RFC 3711).
    """

    def __init__(self, detour: Detour) -> None:
        self.at_s: dict[bytes, float] = {}
        """Sequence number → departure, in seconds of ``time.monotonic``."""
        detour.on_passed = self._note

    def _note(self, direction: Direction, packet: bytes) -> None:
        is_rtp = len(packet) > 12 and packet[0] >> 6 == RTP_VERSION
        if direction is not Direction.TO_ROBOT or not is_rtp or packet[1] in RTCP_TYPES:
            return
        if packet[1] & 0x80:
            self.at_s.setdefault(packet[2:4], time.monotonic())

    def longest_gap_s(self, since_s: float, until_s: float) -> float:
        """Return the longest time in which no frame passed."""
        times = [since_s, *(at for at in self.at_s.values() if since_s < at < until_s), until_s]
        return max(later - one for one, later in itertools.pairwise(times))

    def count(self, since_s: float) -> int:
        return sum(at_s > since_s for at_s in self.at_s.values())
