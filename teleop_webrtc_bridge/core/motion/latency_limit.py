"""
The speed that the latency allows.

The operator sees the past, and the robot obeys the past: between an event and the robot's
response lie the latency of the picture (camera to screen) and that of the command (hand to
wheels). Within their sum the robot drives without control. Above a budget, the speed falls so
that the distance driven in that time does not grow. The rule, v ≤ limit · budget / sum, is that
of the German ordinance on remotely driven vehicles (StVFernLV, BGBl. 2025 I Nr. 176), which sets
a budget of 0.2 s. Pure.
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

from collections.abc import Mapping
import enum
from typing import Final

__all__ = ['LatencyFactor', 'LinkVerdict', 'allowed_factor', 'link_verdict']

FALL_PER_S: Final = 2.0
"""Rate at which the factor falls: within half a second from full speed to standstill."""
RISE_PER_S: Final = 0.5
"""Rate at which the factor rises, so that jitter does not make the speed oscillate."""

GOOD: Final = {'loss_pct': 2.0, 'jitter_ms': 30.0, 'min_fps': 15.0}
SLOW: Final = {'loss_pct': 10.0, 'jitter_ms': 100.0, 'min_fps': 5.0}
GOOD_SUM_S: Final = 0.2
SLOW_SUM_S: Final = 0.5


def allowed_factor(sum_s: float | None, *, budget_s: float, floor: float) -> float:
    """
    Return the fraction of the largest speeds that a latency allows.

    :param sum_s: Latency of picture and command together, in seconds; ``None``: unknown.
    :param budget_s: Largest sum at full speed, in seconds; 0.0: no limit.
    :param floor: Least fraction; an unknown latency gets it.
    """
    if budget_s <= 0.0:
        return 1.0
    if sum_s is None:
        return floor
    return 1.0 if sum_s <= budget_s else max(floor, budget_s / sum_s)


class LatencyFactor:
    """The fraction in force: follows the allowed one without a jerk."""

    def __init__(self) -> None:
        self.value = 1.0
        self._at_s: float | None = None

    def follow(self, now: float, allowed: float, *, standing: bool) -> float:
        """
        Return the fraction in force now.

        :param now: Seconds of a steady clock.
        :param allowed: The fraction to approach.
        :param standing: Whether the robot stands: then a lower fraction applies at once.
        """
        elapsed_s = 0.0 if self._at_s is None else max(0.0, now - self._at_s)
        self._at_s = now if self._at_s is None else max(now, self._at_s)
        if allowed > self.value:
            self.value = min(allowed, self.value + RISE_PER_S * elapsed_s)
        elif standing:
            self.value = allowed
        else:
            self.value = max(allowed, self.value - FALL_PER_S * elapsed_s)
        return self.value


class LinkVerdict(enum.Enum):
    """How well a robot can be driven over a link."""

    GOOD = 'good'
    SLOW = 'slow'
    BAD = 'bad'


def link_verdict(sum_s: float | None, video: Mapping[str, float]) -> LinkVerdict:
    """
    Return one verdict on a link; the worst of its figures decides.

    :param sum_s: Latency of picture and command together, in seconds; ``None``: unknown.
    :param video: ``loss_pct``, ``jitter_ms`` and ``fps`` of the operator's page; a missing
        figure does not count.
    """
    if sum_s is None or sum_s > SLOW_SUM_S or not _is_within(video, SLOW):
        return LinkVerdict.BAD
    if sum_s > GOOD_SUM_S or not _is_within(video, GOOD):
        return LinkVerdict.SLOW
    return LinkVerdict.GOOD


def _is_within(video: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    return (
        video.get('loss_pct', 0.0) <= limits['loss_pct']
        and video.get('jitter_ms', 0.0) <= limits['jitter_ms']
        and video.get('fps', limits['min_fps']) >= limits['min_fps']
    )
