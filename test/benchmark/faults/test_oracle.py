"""The oracle detects each kind of violation."""

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

from dataclasses import replace
import math
from pathlib import Path

import pytest

from benchmark.faults.oracle import (
    after,
    age_violations,
    Command,
    form_violations,
    stop_of,
    Window,
    zero_of_latch,
)
from benchmark.faults.send_log import SendLog, SLOTS
from benchmark.faults.table import FAULTS, named

MOVE = Command(arrival_s=10.0, stamp_s=1.0, axes=(0.5, 0, 0, 0, 0, 0), sent_s=9.98)
ZERO = Command(arrival_s=10.25, stamp_s=1.251, axes=(0.0,) * 6, sent_s=None)


def test_a_velocity_after_the_bound_is_seen() -> None:
    window = Window(begin_s=10.1, end_s=11.0, why='test')
    assert after([MOVE, ZERO], window) == []
    assert len(after([MOVE, ZERO, replace(MOVE, arrival_s=10.9)], window)) == 1
    # Before the bound and after healing it is allowed.
    assert after([replace(MOVE, arrival_s=11.1)], window) == []


def test_the_time_to_zero_counts_from_the_last_accepted_command() -> None:
    stop = stop_of([replace(MOVE, arrival_s=9.0), ZERO, MOVE, ZERO])
    assert stop is not None
    assert stop.time_to_zero_s == pytest.approx(0.25)
    assert stop.stamped_s == pytest.approx(0.251)
    assert stop_of([ZERO]) is None


def test_silence_is_no_zero() -> None:
    stop = stop_of([ZERO, MOVE])
    assert stop is not None
    assert stop.zero_s is None
    assert math.isinf(stop.time_to_zero_s)


def test_the_zero_of_a_latch_is_the_one_after_which_nothing_moved() -> None:
    # The watchdog stopped the robot, a command moved it again, then the E-STOP came.
    again, latch = replace(MOVE, arrival_s=10.4), replace(ZERO, arrival_s=10.42)
    late = replace(MOVE, arrival_s=12.0)
    assert zero_of_latch([MOVE, ZERO, again, latch, late], 10.5) == 10.42
    assert zero_of_latch([ZERO], 10.5) == ZERO.arrival_s
    assert math.isinf(zero_of_latch([MOVE, late], 10.5))


def test_an_old_command_that_was_obeyed_is_seen() -> None:
    assert age_violations([MOVE, ZERO], 0.0) == []
    assert len(age_violations([replace(MOVE, sent_s=9.0)], 0.0)) == 1
    assert age_violations([replace(MOVE, sent_s=9.0)], 0.5) == []


def test_a_busy_machine_is_no_old_command_and_a_full_buffer_is() -> None:
    def aged(*ages_s: float) -> list[Command]:
        return [replace(MOVE, sent_s=MOVE.arrival_s - age_s) for age_s in ages_s]

    assert age_violations(aged(0.15, 0.64), 0.0) == []
    assert len(age_violations(aged(0.02, 0.64), 0.0)) == 1
    assert len(age_violations(aged(1.3, 1.4, 1.25), 0.0)) == 3


@pytest.mark.parametrize(
    'axes', [(math.nan, 0, 0, 0, 0, 0), (1.01, 0, 0, 0, 0, 0), (0.5, 0.1, 0, 0, 0, 0)]
)
def test_what_no_base_should_get_is_seen(axes: tuple[float, ...]) -> None:
    assert form_violations([MOVE, ZERO]) == []
    assert len(form_violations([replace(MOVE, axes=axes)])) == 1


def test_each_velocity_tells_when_it_was_sent(tmp_path: Path) -> None:
    written, read = SendLog(tmp_path / 'sent'), SendLog(tmp_path / 'sent')
    velocities = [written.velocity(number, 100.0 + number) for number in range(SLOTS)]
    assert [read.sent_s(velocity) for velocity in velocities[:3]] == [100.0, 101.0, 102.0]
    assert len(set(velocities)) == SLOTS
    assert max(velocities) < 1.0
    # Zeros and velocities that the limits have changed belong to no command.
    assert read.sent_s(0.0) is None
    assert read.sent_s(0.3) is None


def test_faults_are_named_once() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert named([]) == list(FAULTS)
    with pytest.raises(LookupError):
        named(['no such fault'])
