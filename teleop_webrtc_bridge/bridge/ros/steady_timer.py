"""The node's one timer, which slows down while its full rate is not needed."""

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

from collections.abc import Callable
from typing import Final

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node

__all__ = ['IDLE_PERIOD_S', 'PERIOD_S', 'Every', 'SteadyTimer']

PERIOD_S: Final = 0.1
"""Time to detect a stalled camera, and period of ``~/estop``, which may have a deadline."""
IDLE_PERIOD_S: Final = 0.5
"""While nobody watches a camera and ``~/estop`` has no subscriber."""


class Every:
    """
    Tells when an action is due that is rarer than the timer's callbacks.

    :param period_s: Its period, in seconds.
    """

    def __init__(self, period_s: float) -> None:
        # The timer jitters: half a period early is on time.
        self._least_s = period_s - PERIOD_S / 2
        self._done_s = float('-inf')

    def is_due(self, now: float) -> bool:
        """Return whether it is due, and start its next period; ``now`` of any steady clock."""
        if now - self._done_s < self._least_s:
            return False
        self._done_s = now
        return True


class SteadyTimer:
    """
    A timer on the steady clock: the node's clock stands still with use_sim_time and no /clock.

    There is one timer for everything, because each callback is expensive in rclpy.

    :param node: The node.
    :param callback: Called in each period.
    """

    def __init__(self, node: Node, callback: Callable[[], None]) -> None:
        self._timer = node.create_timer(
            PERIOD_S, callback, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._is_idle = False

    def pace(self, *, is_idle: bool) -> None:
        """Slow down, or speed up; the next call then comes within :data:`PERIOD_S`."""
        if is_idle is self._is_idle:
            return
        self._is_idle = is_idle
        self._timer.timer_period_ns = round(1e9 * (IDLE_PERIOD_S if is_idle else PERIOD_S))
        self._timer.reset()
