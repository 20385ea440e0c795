"""Which part of the packets receivers of video lose; pure."""

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

from dataclasses import dataclass
from typing import Final

from aiortc.rtp import RtcpReceiverInfo

__all__ = ['LossWindows']

WINDOW_S: Final = 1.0
MOST_SOURCES: Final = 64
"""Of reports on one stream: more than may watch."""


@dataclass(frozen=True, slots=True)
class _Begin:
    at_s: float
    highest_sequence: int
    packets_lost: int


class LossWindows:
    """
    Tells for a second what was lost in it for good.

    A report's own ``fraction_lost`` does not. Browsers put a report into each message: the one
    that asks for a lost packet says that this was one of six, say. And a packet that overtakes
    others makes them lost, which no later report takes back.
    """

    def __init__(self) -> None:
        self._begins: dict[int, _Begin] = {}

    def fraction_lost(self, source: int, report: RtcpReceiverInfo, now: float) -> float | None:
        """
        Return the part of the packets that was lost lately, 0 to 1; ``None``: not known yet.

        :param source: Who reports.
        :param now: In seconds.
        """
        if not report.highest_sequence:
            return report.fraction_lost / 256  # passed on: it is what was returned here
        newest = _Begin(now, report.highest_sequence, report.packets_lost)
        begin = self._begins.get(source)
        expected = (newest.highest_sequence - begin.highest_sequence) % 2**32 if begin else 0
        if begin is None or expected >= 2**31:
            if len(self._begins) >= MOST_SOURCES:
                self._begins.clear()
            self._begins[source] = newest
            return None
        if now - begin.at_s < WINDOW_S or not expected:
            return None
        self._begins[source] = newest
        return min(max((newest.packets_lost - begin.packets_lost) / expected, 0.0), 1.0)
