"""When what recurs is done: from one timer, which goes slowly while nobody needs it."""

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

__all__ = ['IDLE_TURN_S', 'TURN_S', 'Every', 'SteadyTimer']

TURN_S: Final = 0.1
"""A camera that stalls is found within that, and a lock on ``~/estop`` may have a time-out."""
IDLE_TURN_S: Final = 0.5
"""While nobody watches a camera and nobody listens to ``~/estop``."""


class Every:
    """
    Tells when something that is slower than a turn is due.

    :param period_s: How often, in seconds.
    """

    def __init__(self, period_s: float) -> None:
        # The turns jitter: one that comes a little too soon is the right one.
        self._least_s = period_s - TURN_S / 2
        self._done_s = float('-inf')

    def is_due(self, now: float) -> bool:
        """Return whether it is due, and take it for done; ``now`` of any steady clock."""
        if now - self._done_s < self._least_s:
            return False
        self._done_s = now
        return True


class SteadyTimer:
    """
    A timer on the steady clock: the node's own stands still with use_sim_time and no /clock.

    One for all that recurs, because a callback costs rclpy more than any of that.

    :param node: The node.
    :param take: Called each turn.
    """

    def __init__(self, node: Node, take: Callable[[], None]) -> None:
        self._timer = node.create_timer(
            TURN_S, take, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._is_idle = False

    def pace(self, *, is_idle: bool) -> None:
        """Go slowly, or quickly again: then the first turn comes within :data:`TURN_S`."""
        if is_idle is self._is_idle:
            return
        self._is_idle = is_idle
        self._timer.timer_period_ns = round(1e9 * (IDLE_TURN_S if is_idle else TURN_S))
        self._timer.reset()
