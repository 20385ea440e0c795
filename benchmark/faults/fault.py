"""Description of a fault and its expected outcome."""

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
from dataclasses import dataclass, field
import enum
from typing import Final

from benchmark.faults.actions import Action
from benchmark.faults.rig import Rig, Setting

__all__ = ['LINK', 'STOP_MS', 'UNDER_WAY_MS', 'WATCHDOG', 'Expected', 'Fault']

COMMAND_TIMEOUT_MS: Final = 250.0
STOP_MS: Final = COMMAND_TIMEOUT_MS + 50.0
"""From the last accepted command to the zero at a subscriber: the goal."""
UNDER_WAY_MS: Final = 500.0
"""Delay of commands that were sent before the fault, on a very busy machine."""
WATCHDOG: Final = 'the watchdog of 250 ms'
LINK: Final = 'end of file on the link between the two halves'


class Expected(enum.Enum):
    """Expected outcome of a fault; any other is reported, and an unsafe one is a failure."""

    STOPS = 'stops'
    DRIVES_ON = 'drives on'
    """It also stops when the operator falls silent while the fault lasts."""
    EITHER = 'either'
    """Stopping is correct, and so is driving on with recent commands."""
    LATCHED = 'stays latched'
    SILENT = 'falls silent'
    """Nobody is left to publish a zero: the base's own time-out stops the robot."""
    ENDS = 'zero, then exit 0'


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One row of the matrix.

    Times count from the fault or, where the robot drives on, from the moment when the operator
    falls silent. Velocities may still be published before the bound, but not after it.
    """

    name: str
    expected: Expected
    inject: Action
    why: str
    """Reason for the bound."""
    bound_ms: float = STOP_MS + UNDER_WAY_MS
    goal_ms: float = STOP_MS
    """Goal for the time from the last accepted command to the zero; not a condition."""
    goal_from_fault: bool = False
    """Whether the goal counts from the fault."""
    hold_s: float = 1.6
    """Duration: longer than the gap after which neutral is required before motion."""
    quickest_s: float = 0.0
    """Least delay of the network during the fault: commands may be older by this much."""
    neutral_first: bool = True
    """Whether a key that is held throughout must not move the robot afterwards."""
    instant: bool = False
    """Whether the fault is over at once and the programs recover by themselves."""
    latched_before: bool = False
    """Whether the operator presses E-STOP before the fault; otherwise the press is the fault."""
    trials_per_phase: int = 1
    setting: Setting = field(default_factory=Setting)
    check: Callable[[Rig, float, float], list[str]] | None = None
    """Additional check: takes the rig, the fault's start and its end; returns violations."""
    missing: Callable[[], str] = str
    """Returns what this machine lacks for the fault; empty: nothing."""
