"""How many lost packets may be sent again; pure."""

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

__all__ = ['ResendBudget']

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
