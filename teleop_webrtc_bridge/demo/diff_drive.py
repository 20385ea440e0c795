"""
A differential drive and the commands that it obeys: no ROS, no clock.

The command rules are those of ros2_control's ``diff_drive_controller``; every method takes the
time as an argument.
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

from dataclasses import dataclass
import enum
import math

from teleop_webrtc_bridge.demo.world import World

__all__ = ['CommandBuffer', 'CommandOutcome', 'DriveLimits', 'DriveSpeed', 'Pose', 'move']

# Well below every radius and half thickness in the world, so no step can jump across a wall.
MAX_STEP_M = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """
    A place and a heading in the plane.

    :param x: East, in m.
    :param y: North, in m.
    :param yaw: Counter-clockwise from east, in rad, within (-pi, pi].
    """

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DriveSpeed:
    """
    A commanded or actual speed of the base.

    :param linear: Forward, in m/s.
    :param angular: Counter-clockwise, in rad/s.
    """

    linear: float = 0.0
    angular: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DriveLimits:
    """
    The largest speeds of the base.

    :param max_linear: In either direction, in m/s.
    :param max_angular: In either direction, in rad/s.
    """

    max_linear: float
    max_angular: float

    def clamp(self, velocity: DriveSpeed) -> DriveSpeed:
        """Return the nearest speed within the limits."""
        return DriveSpeed(
            linear=max(-self.max_linear, min(self.max_linear, velocity.linear)),
            angular=max(-self.max_angular, min(self.max_angular, velocity.angular)),
        )


class CommandOutcome(enum.Enum):
    """How the robot dealt with a command."""

    ACCEPTED = 'accepted'
    ACCEPTED_UNSTAMPED = 'accepted, but its stamp was zero: treated as sent now'
    NOT_FINITE = 'ignored: not a finite number'
    STALE = 'ignored: older than the timeout'


class CommandBuffer:
    """
    The simulated robot's own watchdog for ``cmd_vel``: the newest command, while it is valid.

    One thread calls :meth:`accept`; another may call :meth:`velocity`.

    :param timeout_s: Age, by its stamp, beyond which a command is ignored, in s.
    :param limits: Applied to the returned speed.
    """

    def __init__(self, *, timeout_s: float, limits: DriveLimits) -> None:
        self._timeout_ns = round(timeout_s * 1e9)
        self._limits = limits
        # The command and its stamp (ns of the caller's clock), replaced together so that a reader
        # on another thread never sees a mix; None until a command is accepted.
        self._latest: tuple[DriveSpeed, int] | None = None

    def accept(self, command: DriveSpeed, *, stamp_ns: int, now_ns: int) -> CommandOutcome:
        """
        Accept or ignore a command that has just arrived.

        :param stamp_ns: The sender's time stamp, in ns; zero means unknown.
        :param now_ns: The same clock now, in ns.
        """
        # One bad axis invalidates the whole command.
        if not (math.isfinite(command.linear) and math.isfinite(command.angular)):
            return CommandOutcome.NOT_FINITE
        if stamp_ns == 0:
            self._latest = (command, now_ns)
            return CommandOutcome.ACCEPTED_UNSTAMPED
        if now_ns - stamp_ns > self._timeout_ns:
            return CommandOutcome.STALE
        self._latest = (command, stamp_ns)
        return CommandOutcome.ACCEPTED

    def velocity(self, now_ns: int) -> DriveSpeed:
        """Return the speed to drive now: the command within the limits, or zero."""
        latest = self._latest
        if latest is None or now_ns - latest[1] > self._timeout_ns:
            return DriveSpeed()
        return self._limits.clamp(latest[0])


def wrap_angle(angle: float) -> float:
    """Return the same direction within (-pi, pi], in rad."""
    return math.pi - (math.pi - angle) % (2.0 * math.pi)


def move(
    pose: Pose, velocity: DriveSpeed, duration_s: float, world: World, radius_m: float
) -> Pose:
    """
    Drive along an arc. Obstacles stop or deflect the robot; they never stop its rotation.

    :param duration_s: How long, in s.
    :param radius_m: Of the robot's round footprint, in m.
    """
    steps = max(1, math.ceil(abs(velocity.linear) * duration_s / MAX_STEP_M))
    turn = velocity.angular * duration_s / steps
    length = velocity.linear * duration_s / steps
    x, y, yaw = pose.x, pose.y, pose.yaw
    for _ in range(steps):
        # The chord of a short arc points along the heading in its middle.
        middle = yaw + 0.5 * turn
        yaw += turn
        if length:
            goal = (x + length * math.cos(middle), y + length * math.sin(middle))
            x, y = world.slide((x, y), goal, radius_m)
    return Pose(x=x, y=y, yaw=wrap_angle(yaw))
