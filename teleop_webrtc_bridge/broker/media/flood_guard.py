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

from teleop_webrtc_bridge.core.rate_limit import FloodDetector, MessageBudget

__all__ = ['FloodGuard', 'Flow']

MESSAGES_PER_S: Final = 200.0
"""An operator drives at 50 to 80 Hz, a robot sends odometry at 15 Hz."""
BURST_MESSAGES: Final = 400.0
"""What a reliable channel delivers at once after two seconds without a network."""
BYTES_PER_S: Final = 512.0 * 1024
BURST_BYTES: Final = 1024.0 * 1024


class Flow(enum.Enum):
    """What is to be done with a message."""

    PASS = 'pass'
    EXCESS = 'excess'
    """Above the limit: drop it, if it may be lost at all."""


class FloodGuard:
    """
    Limits the messages and the bytes that one channel of a peer carries.

    :param now_s: Monotonic seconds.
    """

    def __init__(self, now_s: float) -> None:
        self.counters: Counter[str] = Counter()
        self._budget = MessageBudget(
            (MESSAGES_PER_S, BURST_MESSAGES), (BYTES_PER_S, BURST_BYTES), now_s
        )
        self._flood = FloodDetector()

    def take(self, size: int, now_s: float) -> Flow:
        """
        Count one message.

        :param size: In bytes.
        :param now_s: Monotonic seconds.
        """
        self.counters['received'] += 1
        if self._budget.take(size, now_s):
            return Flow.PASS
        self.counters['excess'] += 1
        self._flood.note_excess(now_s)
        return Flow.EXCESS

    def is_flooded(self) -> bool:
        """Return whether the peer was above the limit for 3 s without a pause."""
        return self._flood.is_flooded()
