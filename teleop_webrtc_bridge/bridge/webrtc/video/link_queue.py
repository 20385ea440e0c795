"""
How long packets wait in a queue on the way to the media backend; pure.

Probes of the peer connection (HEARTBEAT) travel in one row with the video. The answer to one tells
that everything sent before it has passed; how long that took above the shortest is the queue, and
how much passed between two answers is what the link carries. No report of a receiver says either
as soon.
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

from collections import deque
from typing import Final

__all__ = ['LinkQueue']

SHORTEST_TRIP_WINDOW_S: Final = 30.0
"""A way that has become longer for so long is no queue."""
JITTERS: Final = 4.0
"""Round trips that much above the shortest are usual where they vary (as in RFC 6298)."""
JITTER_GAIN: Final = 1 / 16
"""As in RFC 3550 §6.4.1."""
MOST_PROBES: Final = 256
"""Kept while none is answered."""


class LinkQueue:
    """
    Follows one link; every ``now`` is in seconds.

    A peer that answers no probes has no queue.
    """

    def __init__(self) -> None:
        self._sent_bytes = 0
        self._probes: deque[tuple[float, int]] = deque(maxlen=MOST_PROBES)
        """Those without an answer, since the newest that has one: when, and what went before."""
        self._passed: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=2)
        """The newest two answers: when they came, and what had passed by then."""
        self._shortest: deque[tuple[float, float]] = deque()
        """When, and round trips, each longer than the one before it: the first is the shortest."""
        self._trip_s: float | None = None
        self._delays_s = (0.0, 0.0)
        """What the newest two answers say."""
        self._jitter_s = 0.0

    def sent(self, size: int) -> None:
        """Note that a packet or a frame was sent; its size in bytes."""
        self._sent_bytes += size

    def probed(self, now: float) -> None:
        """Note that a probe was sent."""
        self._probes.append((now, self._sent_bytes))

    def answered(self, probe_s: float, now: float) -> None:
        """
        Note an answer.

        :param probe_s: The ``now`` of its probe.
        """
        while self._probes and self._probes[0][0] <= probe_s:
            at_s, passed = self._probes.popleft()
            if at_s == probe_s:
                self._passed.append((now, passed))
                self._note_trip(now - probe_s, now)

    def _note_trip(self, trip_s: float, now: float) -> None:
        if self._trip_s is not None:
            self._jitter_s += JITTER_GAIN * (abs(trip_s - self._trip_s) - self._jitter_s)
        self._trip_s = trip_s
        while self._shortest and self._shortest[-1][1] >= trip_s:
            self._shortest.pop()
        self._shortest.append((now, trip_s))
        while self._shortest[0][0] < now - SHORTEST_TRIP_WINDOW_S:
            self._shortest.popleft()
        self._delays_s = (self._delays_s[1], max(0.0, trip_s - self._usual_s))

    @property
    def _usual_s(self) -> float:
        """The longest round trip that tells of no queue."""
        return self._shortest[0][1] + JITTERS * self._jitter_s

    @property
    def is_measured(self) -> bool:
        """Whether the peer answers."""
        return self._trip_s is not None

    @property
    def delay_s(self) -> float:
        """How long the packets of the newest answer waited, beyond what varies anyway."""
        return self._delays_s[1]

    def full_bps(self, delay_s: float) -> float | None:
        """
        Return what the link carries, in bits per second, if it was full between two answers.

        It was if packets waited all the time, and not ever less: a link that stood still for a
        moment, and a lone large frame, leave a queue that only has to drain.

        :param delay_s: Waiting for at least so long is a queue.
        """
        before_s, newest_s = self._delays_s
        if min(before_s, newest_s) < delay_s or newest_s < before_s:
            return None
        (first_s, first), (last_s, last) = self._passed
        return 8.0 * (last - first) / max(last_s - first_s, 1e-3)

    def overdue_s(self, now: float) -> float:
        """Return for how long an answer has been due: for more than that, packets wait."""
        if self._trip_s is None or not self._probes:
            return 0.0
        return max(0.0, now - self._probes[0][0] - self._usual_s)
