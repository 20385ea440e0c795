"""
Whether the link to the media backend still works, both ways.

The robot probes it below the data channels, so that every peer answers, old ones too, whether
somebody drives or not. Packets that merely arrive prove one direction only, and do not count.
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
"""Between an answer and the next probe, while all is well."""
URGENT_PERIOD_S: Final = 0.1
"""Between probes after that, and in the beginning: 15 have to be lost before it is given up."""
LOST_AFTER_S: Final = 2.5
SHORTEST_TURN_S: Final = 0.01
LATE_S: Final = 0.2
"""Later turns than this count as this late: a process that stood still has heard nobody."""


class ProbeDecision(enum.Enum):
    """What to do now."""

    WAIT = enum.auto()
    PROBE = enum.auto()
    LOST = enum.auto()


class LinkLiveness:
    """
    Decides when to probe and when to give a link up.

    Pure: ``now`` comes in seconds of any steady clock. A peer that has never answered is never
    given up: ICE consent has to find out about that one.
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
        self._silent_s += min(max(now - self._turn_s, 0.0), self.delay_s + LATE_S)
        self._turn_s = now
        if self._silent_s < PROBE_PERIOD_S:
            self.delay_s = max(PROBE_PERIOD_S - self._silent_s, SHORTEST_TURN_S)
            return ProbeDecision.WAIT
        if self._has_answered and self._silent_s > LOST_AFTER_S:
            return ProbeDecision.LOST
        # In the beginning too: the first probes may come before the association, and only a peer
        # that has answered can be given up.
        is_urgent = self._silent_s <= LOST_AFTER_S
        self.delay_s = URGENT_PERIOD_S if is_urgent else PROBE_PERIOD_S
        return ProbeDecision.PROBE
