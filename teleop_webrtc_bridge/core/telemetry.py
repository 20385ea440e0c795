"""Rates and latencies over a sliding window; pure, time is an argument."""

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
import itertools
from typing import Final

__all__ = ['CommandStatistics']

RECENT_S: Final = 0.5
"""Length of the window for the latency."""


class CommandStatistics:
    """
    Statistics of the operator's commands as the robot receives them.

    :param window_s: Length of the window, except for the latency.
    """

    def __init__(self, window_s: float = 2.0) -> None:
        self._window_s = window_s
        self._received: deque[tuple[float, float, int]] = deque()
        """(arrival, delay, bytes)"""

    def add(self, now: float, stamp_s: float, size: int) -> None:
        """
        Count a command.

        :param now: Its arrival, in seconds of the clock that the robot's ``pong`` shows.
        :param stamp_s: The operator's stamp, in seconds of the same clock.
        :param size: Bytes on the channel.
        """
        self._received.append((now, now - stamp_s, size))

    def report(self, now: float) -> dict[str, float] | None:
        """Return ``latency_ms, jitter_ms, rate_hz, throughput_bps``; ``None``: too few."""
        while self._received and now - self._received[0][0] > self._window_s:
            self._received.popleft()
        count = len(self._received)
        size = sum(size for _, _, size in self._received)
        if count < 2:
            return None
        # The speed depends on it, so it must follow soon.
        newest_s = self._received[-1][0]
        delays = sorted(delay for at, delay, _ in self._received if newest_s - at <= RECENT_S)
        # Jitter is the mean change of the transit time (RFC 3550 §6.4.1).
        transits = [delay for _, delay, _ in self._received]
        changes = [abs(b - a) for a, b in itertools.pairwise(transits)]
        return {
            'latency_ms': round(1e3 * delays[len(delays) // 2], 2),
            'jitter_ms': round(1e3 * sum(changes) / len(changes), 2),
            'rate_hz': round(count / self._window_s, 1),
            'throughput_bps': round(8 * size / self._window_s),
        }
