"""The exact times at which the gate's rules begin and end, without rounding."""

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

from gate_drive import Drive, FORWARD, ZERO
import pytest

from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict

START_S = 1024.0


@pytest.fixture
def started(drive: Drive) -> Drive:
    drive.now = START_S
    return drive


def test_an_unknown_round_trip_counts_as_long_for_a_second_and_no_more(started: Drive) -> None:
    started.gate.begin_control(START_S)
    started.send(ZERO)
    started.now = START_S + 1.0
    assert started.send(FORWARD) is CommandVerdict.ACCEPTED
    assert started.published[-1][1] == FORWARD


def test_why_a_command_was_refused_is_told_for_half_a_second(started: Drive) -> None:
    assert started.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    assert started.gate.refusing(START_S + 0.4375) is CommandVerdict.NOT_NEUTRAL
    assert started.gate.refusing(START_S + 0.5) is None


def test_zeros_are_repeated_for_a_whole_second(started: Drive) -> None:
    started.send(ZERO)
    assert started.gate.output(START_S + 1.0) == ZERO
    assert started.gate.output(START_S + 1.0625) is None


def test_a_stop_is_due_at_once_whenever_the_last_zero_was(started: Drive) -> None:
    started.send(ZERO)
    started.now += 0.0078125
    assert started.send(FORWARD) is CommandVerdict.ACCEPTED
    started.now += 0.0078125
    started.gate.stop(started.now)
    assert started.gate.deadline(started.now) == started.now


def test_a_neutral_before_a_stop_and_a_long_gap_is_none_after_it(started: Drive) -> None:
    started.send(ZERO)
    started.gate.stop(started.now)
    # The network may have caused a silence of more than a second.
    started.wait(2.0)
    assert started.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
