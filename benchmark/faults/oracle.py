"""
The oracle that judges the messages on ``cmd_vel``; pure.

All times are seconds of one steady clock that the processes of one machine share.
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

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Any, Final

from benchmark.faults.send_log import SendLog

__all__ = [
    'MAX_AGE_S',
    'READING_S',
    'Command',
    'Window',
    'after',
    'age_violations',
    'stop_of',
    'zero_of_latch',
]

LARGEST_SPEED: Final = 1.0
"""In m/s; the bridge's ``max_linear_x``."""
MAX_AGE_S: Final = 0.5
"""How much older than the fastest of the last ten seconds an obeyed command may be."""
READING_S: Final = 0.1
"""Lateness of the recorder, which runs in Python, on a busy machine."""

BUSY_S: Final = 0.4
"""Delay that all programs on the way may add together; more indicates a full buffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One message on ``cmd_vel``."""

    arrival_s: float
    stamp_s: float
    """The robot's ROS clock."""
    axes: tuple[float, ...]
    sent_s: float | None
    """When the operator sent the obeyed command; ``None``: a zero, or an altered velocity."""

    @classmethod
    def recorded(cls, event: dict[str, Any], log: SendLog) -> Command:
        """Return the command that a recorder's event describes."""
        axes = tuple(float(axis) for axis in event['axes'])
        return cls(
            arrival_s=event['at_s'],
            stamp_s=event['stamp_s'],
            axes=axes,
            sent_s=log.sent_s(axes[0]),
        )

    @property
    def is_zero(self) -> bool:
        return not any(self.axes)

    @property
    def age_s(self) -> float | None:
        return None if self.sent_s is None else self.arrival_s - self.sent_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time span in which no velocity may arrive, and why."""

    begin_s: float
    end_s: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How the robot was stopped."""

    last_move_s: float
    """Arrival of the last velocity: the last command that was accepted."""
    zero_s: float | None
    """Arrival of the first zero after it; ``None``: silence."""
    stamped_s: float | None
    """Zero minus last velocity, by the robot's own stamps."""

    @property
    def time_to_zero_s(self) -> float:
        return math.inf if self.zero_s is None else self.zero_s - self.last_move_s


def stop_of(commands: Sequence[Command]) -> Stop | None:
    """Return the last stop in a record; ``None``: nothing moved."""
    moves = [index for index, command in enumerate(commands) if not command.is_zero]
    if not moves:
        return None
    last = commands[moves[-1]]
    zero = next(iter(commands[moves[-1] + 1 :]), None)
    return Stop(
        last_move_s=last.arrival_s,
        zero_s=zero.arrival_s if zero else None,
        stamped_s=zero.stamp_s - last.stamp_s if zero else None,
    )


def zero_of_latch(commands: Sequence[Command], latched_s: float) -> float:
    """
    Return when the zero arrived that ended the last motion before a latch.

    This is not the first zero after the press: a bad network may have stopped and released the
    robot in between.

    :param latched_s: When the bridge reported the latch, which it does after its zero.
    :returns: Infinity if no zero came.
    """
    before = [command for command in commands if command.arrival_s <= latched_s]
    stop = stop_of(before)
    if stop is None:
        return before[0].arrival_s if before else math.inf
    return math.inf if stop.zero_s is None else stop.zero_s


def after(commands: Sequence[Command], window: Window) -> list[str]:
    """Return a violation for each velocity within a window."""
    return [
        f'moved {command.arrival_s - window.begin_s:.3f} s into: {window.why}'
        for command in commands
        if window.begin_s < command.arrival_s < window.end_s and not command.is_zero
    ]


def age_violations(commands: Sequence[Command], quickest_s: float) -> list[str]:
    """
    Return a violation for each obeyed command that was too old.

    :param quickest_s: The least delay of the network. The delay that the programs add on a busy
        machine is taken from the fastest command of the record, and bounded.
    """
    ages = [command.age_s for command in commands if command.age_s is not None]
    added_s = min(ages, default=0.0) - quickest_s
    limit_s = quickest_s + MAX_AGE_S + min(max(added_s, READING_S), BUSY_S)
    return [f'obeyed a command that was {age:.3f} s old' for age in ages if age > limit_s]


def form_violations(commands: Sequence[Command]) -> list[str]:
    """Return a violation for each message that no base should ever receive."""
    found = []
    for command in commands:
        if not all(map(math.isfinite, command.axes)):
            found.append(f'not finite: {command.axes}')
        elif abs(command.axes[0]) > LARGEST_SPEED or any(command.axes[1:]):
            found.append(f'beyond the limits: {command.axes}')
    return found
