"""Which lost packets of a stream to request again, and how many to send again; pure."""

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
"""Of so many packets that came after they were missing, the quickest tells the round trip."""
TRIP_MARGIN: Final = 1.2
LONGEST_PAUSE_S: Final = 0.5
"""Between two questions for a packet: how far away the sender may be."""
GIVE_UP_S: Final = 2.0
"""Who watches has asked for a keyframe by then."""
LONGEST_GAP: Final = 128
"""What the sender keeps; a longer gap is another stream, or cannot be mended."""


class MissingPackets:
    """
    Asks for lost packets again and again.

    aiortc asks when it notices a loss, and again when it notices the next one. A question or its
    answer that gets lost too, on a stream of a few packets a second, leaves a hole in the picture
    for as long. A packet that can only be on its way is not asked for again.

    Every ``now`` is in seconds.
    """

    def __init__(self) -> None:
        self._newest: int | None = None
        self._lost: dict[int, tuple[float, float]] = {}
        """When each was noticed, and asked for last."""
        self._trips_s: deque[float] = deque(maxlen=TRIPS)
        self._budget = ResendBudget()

    def __bool__(self) -> bool:
        return bool(self._lost)

    def received(self, sequence_number: int, now: float) -> None:
        """Note a packet, whether it is new or was asked for."""
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
        """Return what to ask for again now, the oldest first; aiortc has asked once already."""
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
"""The same packet: it may be on its way."""
PART: Final = 0.5
"""Of what was sent in the last second."""
ALWAYS: Final = 20
"""Packets a second, when hardly anything else is sent."""
WINDOW_S: Final = 1.0


class ResendBudget:
    """
    Keeps the repetition of what was lost from filling a link that is full already.

    Some receivers ask for all that is missing whenever something new is missing: on a link that is
    too narrow, repeating all of it triples the load.
    """

    def __init__(self) -> None:
        self._sent: deque[float] = deque()
        self._resent: deque[tuple[float, int]] = deque()
        self._newest: dict[int, float] = {}
        """When each of these was sent again last: a peer may ask for thousands at once."""

    def sent(self, now: float) -> None:
        """Note a packet that was sent for the first time; ``now`` in seconds."""
        self._sent.append(now)
        self._forget(now)

    def take(self, sequence_number: int, now: float) -> bool:
        """Return whether a packet may be sent again now, and note that it is."""
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
