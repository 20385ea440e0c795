"""How much one peer may send on one channel; time is an argument."""

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

__all__ = ['FloodGuard', 'Flow']

MESSAGES_PER_S: Final = 200.0
"""An operator drives at 50 to 80 Hz, a robot sends odometry at 15 Hz."""
BURST_MESSAGES: Final = 400.0
"""What a reliable channel delivers at once after two seconds without a network."""
BYTES_PER_S: Final = 512.0 * 1024
BURST_BYTES: Final = 1024.0 * 1024
FLOOD_S: Final = 3.0
"""Who does not slow down for so long is disconnected."""
CALM_S: Final = 0.5
"""So long without a message above the limit, and a flood is over."""


class Flow(enum.Enum):
    """What is to be done with a message."""

    PASS = 'pass'
    EXCESS = 'excess'
    """Above the limit: drop it, if it may be lost at all."""


class FloodGuard:
    """
    The token buckets, of messages and of bytes, that one channel of a peer fills.

    :param now_s: Monotonic seconds.
    """

    def __init__(self, now_s: float) -> None:
        self.counters: Counter[str] = Counter()
        self._messages = BURST_MESSAGES
        self._bytes = BURST_BYTES
        self._filled_s = now_s
        self._flood_since_s: float | None = None
        self._excess_s = now_s

    def take(self, size: int, now_s: float) -> Flow:
        """
        Count one message.

        :param size: In bytes.
        :param now_s: Monotonic seconds.
        """
        elapsed_s = max(0.0, now_s - self._filled_s)
        self._filled_s = now_s
        self._messages = min(BURST_MESSAGES, self._messages + elapsed_s * MESSAGES_PER_S)
        self._bytes = min(BURST_BYTES, self._bytes + elapsed_s * BYTES_PER_S)
        self.counters['received'] += 1
        if self._messages >= 1.0 and self._bytes >= size:
            self._messages -= 1.0
            self._bytes -= size
            return Flow.PASS
        self.counters['excess'] += 1
        if self._flood_since_s is None or now_s - self._excess_s > CALM_S:
            self._flood_since_s = now_s
        self._excess_s = now_s
        return Flow.EXCESS

    def is_flooded(self) -> bool:
        """Return whether the peer was above the limit for 3 s without a pause."""
        if self._flood_since_s is None:
            return False
        return self._excess_s - self._flood_since_s >= FLOOD_S
