"""The owner's limits, applied to a velocity as the last step before it is published."""

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

from dataclasses import dataclass
import math
from typing import Final

from teleop_webrtc_bridge.core.messages import Velocity

__all__ = ['GateLimits', 'limit_rise']

LONGEST_STEP_S: Final = 0.1
"""Cap on the elapsed time, so that a pause between commands saves up no acceleration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """Limits of one robot; six axes are linear x, y, z, then angular x, y, z."""

    command_timeout_s: float
    max_axes: tuple[float, ...]
    """Largest speeds in m/s and rad/s; zero forbids the axis."""
    max_acceleration: tuple[float, ...] = (math.inf,) * 6
    """Largest acceleration on each axis, in m/s² and rad/s²; braking is never limited."""
    blind_speed_factor: float = 0.3
    """Fraction of the largest speeds allowed while the operator cannot see well; 0.0 stops."""
    latency_budget_s: float = 0.0
    """Largest latency at full speed, picture and command together; 0.0: no limit by latency."""
    latency_speed_floor: float = 0.3
    """Least fraction of the largest speeds that a latency leaves, also an unknown one."""

    def clamp(self, velocity: Velocity, factor: float = 1.0) -> Velocity:
        """
        Return the velocity within the largest speeds; NaN and infinity never pass.

        :param factor: Fraction of the largest speeds that is allowed now.
        """
        return Velocity.from_axes(
            max(-limit * factor, min(limit * factor, value)) if value == value else 0.0
            for value, limit in zip(velocity.axes(), self.max_axes, strict=True)
        )

    def rise(self, present: Velocity, wanted: Velocity, elapsed_s: float) -> Velocity:
        """
        Return the velocity that is allowed next on the way to the wanted one.

        :param elapsed_s: Seconds since the present velocity came into force.
        """
        step_s = min(max(elapsed_s, 0.0), LONGEST_STEP_S)
        return Velocity.from_axes(
            limit_rise(now, then, acceleration * step_s if acceleration < math.inf else math.inf)
            for now, then, acceleration in zip(
                present.axes(), wanted.axes(), self.max_acceleration, strict=True
            )
        )


def limit_rise(present: float, wanted: float, step: float) -> float:
    """Return the speed, at most ``step`` further from zero than the present one."""
    # On a reversal, stop at once and begin from zero.
    magnitude = abs(present) if present * wanted > 0.0 else 0.0
    return math.copysign(min(abs(wanted), magnitude + step), wanted)
