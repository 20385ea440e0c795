"""
The liveness of the connection to the media backend, in both directions.

The robot probes it below the data channels, where every peer answers, whether somebody drives or
not. Packets that merely arrive do not count: they prove one direction only.
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

import enum
from typing import Final

__all__ = ['LOST_AFTER_S', 'LinkLiveness', 'ProbeDecision']

PROBE_PERIOD_S: Final = 1.0
"""Between an answer and the next probe, usually."""
URGENT_PERIOD_S: Final = 0.1
"""Between further probes, and at the beginning: the link is lost only after 15 lost probes."""
LOST_AFTER_S: Final = 2.5
SHORTEST_TURN_S: Final = 0.01
MAX_LATENESS_S: Final = 0.2
"""Cap on counted lateness: our own suspension is not the peer's silence."""


class ProbeDecision(enum.Enum):
    """What :class:`LinkLiveness` decides to do now."""

    WAIT = enum.auto()
    PROBE = enum.auto()
    LOST = enum.auto()


class LinkLiveness:
    """
    Decides when to probe the link and when to give it up; ``now`` is in steady seconds.

    A peer that has never answered is never given up: ICE consent detects its loss.
    """

    def __init__(self, now: float) -> None:
        self.delay_s = 0.0
        """How long to wait before the next :meth:`turn`."""
        self._turn_s = now
        self._silent_s = PROBE_PERIOD_S
        self._has_answered = False

    def answered(self) -> None:
        """Note an answer to a probe."""
        self._silent_s = 0.0
        self._has_answered = True

    def turn(self, now: float) -> ProbeDecision:
        """Return what to do, and set :attr:`delay_s`."""
        self._silent_s += min(max(now - self._turn_s, 0.0), self.delay_s + MAX_LATENESS_S)
        self._turn_s = now
        if self._silent_s < PROBE_PERIOD_S:
            self.delay_s = max(PROBE_PERIOD_S - self._silent_s, SHORTEST_TURN_S)
            return ProbeDecision.WAIT
        if self._has_answered and self._silent_s > LOST_AFTER_S:
            return ProbeDecision.LOST
        # Also at the beginning: the first probes may precede the association, and only a peer that
        # has answered can be given up.
        is_urgent = self._silent_s <= LOST_AFTER_S
        self.delay_s = URGENT_PERIOD_S if is_urgent else PROBE_PERIOD_S
        return ProbeDecision.PROBE
