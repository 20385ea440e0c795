"""
The bound of a step: one press moves the robot by a distance or an angle, then it stands.

The robot, not the operator's page, ends a step, so a page that freezes in the middle moves it no
further. Distance and angle are those of the velocity in force, not of the base's odometry. Pure.
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

import math
from typing import Final

from teleop_webrtc_bridge.core.messages import Step, Velocity

__all__ = ['StepBound']

SPARE_S: Final = 1.0
LONGEST_S: Final = 5.0
"""A step ends after twice the time that it takes at the wanted speed plus a second, and after
five seconds."""


class StepBound:
    """Knows the newest step of an operator, and how much of it is left."""

    def __init__(self) -> None:
        self._newest: int | None = None
        """Its number; those of older steps move nothing any more."""
        self._is_active = False
        self._is_turn = False
        self._left = 0.0
        """Metres or radians."""
        self._speed = 0.0
        """In force, in metres or radians per second."""
        self._since_s = 0.0
        self._until_s = 0.0

    @property
    def is_active(self) -> bool:
        """Whether a step lasts."""
        return self._is_active

    def is_new(self, step: Step) -> bool:
        """Return whether a command of this step is the first one of a press."""
        return self._newest is None or step.id > self._newest

    def admits(self, now: float, step: Step, wanted: Velocity) -> bool:
        """
        Return whether a command of this step may move the robot; a new number begins a new step.

        :param now: The command's arrival, in seconds.
        """
        if self.is_new(step):
            speed = _speed(wanted, is_turn=step.angle_rad is not None)
            self._newest = step.id
            self._is_turn = step.angle_rad is not None
            self._left = step.amount
            self._speed, self._since_s = 0.0, now
            expected_s = step.amount / speed if speed > 0.0 else 0.0
            self._until_s = now + min(LONGEST_S, 2.0 * expected_s + SPARE_S)
            self._is_active = True
        return self._is_active and step.id == self._newest and now < self._until_s

    def cancel(self) -> None:
        """End the step; its number moves nothing any more."""
        self._is_active = False

    def refuse(self, step: Step | None) -> None:
        """End the step that lasts, and use up the number of the refused command's step."""
        if step is not None and self.is_new(step):
            self._newest = step.id
        self.cancel()

    def follow(self, now: float, velocity: Velocity) -> None:
        """Note the velocity that is in force from now on."""
        elapsed_s = max(0.0, now - self._since_s)
        self._left -= self._speed * elapsed_s
        self._since_s += elapsed_s
        self._speed = _speed(velocity, is_turn=self._is_turn)

    def end_s(self) -> float | None:
        """Return when the step ends; ``None``: there is none."""
        if not self._is_active:
            return None
        if self._speed <= 0.0:
            return self._until_s
        return min(self._until_s, self._since_s + max(0.0, self._left) / self._speed)


def _speed(velocity: Velocity, *, is_turn: bool) -> float:
    axes = velocity.axes()
    return math.hypot(*(axes[3:] if is_turn else axes[:3]))
