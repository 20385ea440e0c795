"""The policies for lost packets: which to request again, how many to send again; pure."""

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

from aiortc.utils import uint16_add, uint16_gt

__all__ = ['MissingPackets', 'ResendBudget']

TRIPS: Final = 16
"""Number of recovered packets over which the minimum round-trip time is taken."""
TRIP_MARGIN: Final = 1.2
LONGEST_PAUSE_S: Final = 0.5
"""Between two requests for a packet: the longest round trip that is assumed."""
GIVE_UP_S: Final = 2.0
"""By then the viewers have requested a keyframe."""
LONGEST_GAP: Final = 128
"""The history of the sender; a longer gap is another stream, or cannot be repaired."""


class MissingPackets:
    """
    Decides which lost packets to request again.

    aiortc sends a request when it notices a loss, and repeats it only when it notices the next
    one. If that request or the packet gets lost too, on a stream of a few packets a second, the
    picture keeps a hole until then. A packet that may still be on its way is not requested again.

    ``now`` is monotonic time in seconds.
    """

    def __init__(self) -> None:
        self._newest: int | None = None
        self._lost: dict[int, tuple[float, float]] = {}
        """By number: when the loss was noticed, and when the packet was last requested."""
        self._trips_s: deque[float] = deque(maxlen=TRIPS)
        self._budget = ResendBudget()

    def __bool__(self) -> bool:
        return bool(self._lost)

    def received(self, sequence_number: int, now: float) -> None:
        """Note a packet, new or requested."""
        self._budget.sent(now)
        newest = self._newest
        if newest is None or not uint16_gt(sequence_number, newest):
            self._newest = sequence_number if newest is None else newest
            noticed_s, _ = self._lost.pop(sequence_number, (None, None))
            if noticed_s is not None:
                self._trips_s.append(now - noticed_s)
            return
        self._newest = sequence_number
        gap = uint16_add(sequence_number, -newest) - 1
        if gap > LONGEST_GAP:
            self._lost.clear()
            return
        for place in range(1, gap + 1):
            self._lost[uint16_add(newest, place)] = (now, now)

    def to_ask_for(self, now: float) -> list[int]:
        """Return which packets to request again now, oldest first; aiortc sends first requests."""
        self._lost = {
            number: (noticed_s, asked_s)
            for number, (noticed_s, asked_s) in self._lost.items()
            if now - noticed_s < GIVE_UP_S
        }
        pause_s = TRIP_MARGIN * min(self._trips_s, default=0.0)
        pause_s = min(max(pause_s, AGAIN_AFTER_S), LONGEST_PAUSE_S)
        due = []
        for number, (noticed_s, asked_s) in self._lost.items():
            if now - asked_s >= pause_s and self._budget.take(number, now):
                self._lost[number] = (noticed_s, now)
                due.append(number)
        return due


AGAIN_AFTER_S: Final = 0.1
"""Pause between two requests for, or repetitions of, the same packet."""
PART: Final = 0.5
"""Fraction of the packets of the last second that may be sent again."""
ALWAYS: Final = 20
"""Packets per second that may be sent again in any case."""
WINDOW_S: Final = 1.0


class ResendBudget:
    """
    Limits retransmissions, which would overload a link that is already full.

    Some receivers request everything that is missing whenever something new is missing: on a link
    that is too narrow, sending all of it again triples the load.
    """

    def __init__(self) -> None:
        self._sent: deque[float] = deque()
        self._resent: deque[tuple[float, int]] = deque()
        self._newest: dict[int, float] = {}
        """By number, when each was last sent again: a peer may request thousands at once."""

    def sent(self, now: float) -> None:
        """Note a packet that was sent for the first time; monotonic seconds."""
        self._sent.append(now)
        self._forget(now)

    def take(self, sequence_number: int, now: float) -> bool:
        """Return whether a packet may be sent again now, and count it if so."""
        self._forget(now)
        if len(self._resent) >= max(ALWAYS, PART * len(self._sent)):
            return False
        if now - self._newest.get(sequence_number, float('-inf')) < AGAIN_AFTER_S:
            return False
        self._resent.append((now, sequence_number))
        self._newest[sequence_number] = now
        return True

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] <= now - WINDOW_S:
            self._sent.popleft()
        while self._resent and self._resent[0][0] <= now - WINDOW_S:
            at_s, number = self._resent.popleft()
            if self._newest.get(number) == at_s:
                del self._newest[number]
