"""The timer; its shortest period is measured, because a busy machine only makes periods longer."""

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

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
import time

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from teleop_webrtc_bridge.bridge.ros.steady_timer import (
    Every,
    IDLE_PERIOD_S,
    PERIOD_S,
    SteadyTimer,
)

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

LONG_S = 30.0
"""Time limit for expected events on a busy machine."""
LOOKED_AT = 5
"""SteadyTimer of which the shortest pause is taken: a busy machine only makes pauses longer."""


def test_it_is_due_at_first_and_then_once_in_its_period() -> None:
    every = Every(1.0)
    due = [turn for turn in range(100) if every.is_due(50.0 + turn * PERIOD_S)]
    assert due == list(range(0, 100, 10))


def test_turns_that_jitter_leave_nothing_out() -> None:
    every = Every(1.0)
    due = [turn for turn in range(100) if every.is_due(turn * PERIOD_S - 0.02 * (turn % 2))]
    assert due == list(range(0, 100, 10))


def test_in_slow_turns_it_is_as_often() -> None:
    every = Every(1.0)
    due = [turn for turn in range(10) if every.is_due(turn * IDLE_PERIOD_S)]
    assert due == [0, 2, 4, 6, 8]


class Rig:
    """A timer of a real node."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('turns', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._taken: list[float] = []
        self.turns = SteadyTimer(self._node, lambda: self._taken.append(time.monotonic()))

    def shortest_pause_s(self) -> float:
        """Return the shortest completed pause from now on."""
        self._taken.clear()
        end_s = time.monotonic() + LONG_S
        while len(self._taken) < LOOKED_AT:
            assert time.monotonic() < end_s
            self._executor.spin_once(timeout_sec=1.0)
        return min(later - earlier for earlier, later in pairwise(self._taken[1:]))

    def until(self, condition: Callable[[float], bool]) -> None:
        """Wait until the shortest pause is as expected."""
        end_s = time.monotonic() + LONG_S
        while not condition(self.shortest_pause_s()):
            assert time.monotonic() < end_s

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with closing(Rig()) as rig:
        yield rig


def test_turns_are_quick_until_they_are_idle_and_then_again(rig: Rig) -> None:
    rig.until(lambda pause_s: pause_s < 2 * PERIOD_S)
    rig.turns.pace(is_idle=True)
    rig.until(lambda pause_s: pause_s > 2 * PERIOD_S)
    rig.turns.pace(is_idle=False)
    rig.until(lambda pause_s: pause_s < 2 * PERIOD_S)
