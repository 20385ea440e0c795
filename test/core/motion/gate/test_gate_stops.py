"""E-STOP latches, disabling, and the way back through neutral."""

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

from gate_drive import (
    Drive,
    FORWARD,
    PERIOD_S,
    ZERO,
)
import pytest

from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict

# --- E-STOP --------------------------------------------------------------------------------------


def test_estop_stops_at_once_and_zeros_go_on_while_it_is_latched(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_estop(drive.now)
    latched_s = drive.now
    drive.publish()
    assert drive.gate.estopped
    assert drive.since(latched_s) == [ZERO]
    drive.wait(10.0)
    zeros = drive.since(latched_s)
    assert set(zeros) == {ZERO}
    assert len(zeros) == pytest.approx(200, abs=2)


@pytest.mark.parametrize('velocity', [ZERO, FORWARD], ids=['zero', 'forward'])
def test_no_command_releases_the_latch(drive: Drive, velocity: Velocity) -> None:
    drive.begin()
    drive.gate.set_estop(drive.now)
    latched_s = drive.now
    assert set(drive.stream(velocity, 2.0)) == {CommandVerdict.LATCHED}
    assert drive.gate.estopped
    assert set(drive.since(latched_s)) == {ZERO}


def test_the_latch_survives_a_new_operator_and_a_lost_link(drive: Drive) -> None:
    drive.gate.set_estop(drive.now)
    drive.gate.begin_control(drive.now)
    drive.gate.stop(drive.now)
    assert drive.gate.estopped
    assert drive.send(ZERO) is CommandVerdict.LATCHED


@pytest.mark.parametrize('latched_s', [0.1, 0.4, 0.6, 0.8, 1.5, 30.0])
def test_a_key_held_through_an_estop_moves_nothing_after_it_is_cleared(
    drive: Drive, latched_s: float
) -> None:
    drive.begin()
    drive.gate.set_estop(drive.now)
    stopped_s = drive.now
    drive.stream(FORWARD, latched_s)
    drive.gate.clear_estop(drive.now)
    assert set(drive.stream(FORWARD, 3.0)) == {CommandVerdict.NOT_NEUTRAL}
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.send(ZERO) is CommandVerdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_clearing_without_a_latch_is_a_stop_that_needs_neutral(drive: Drive) -> None:
    drive.begin()
    drive.gate.clear_estop(drive.now)
    assert not drive.gate.moving
    assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL


def test_a_repeated_estop_shows_a_zero_again_at_once(drive: Drive) -> None:
    drive.gate.set_estop(drive.now)
    drive.publish()
    drive.now += 0.01
    drive.gate.set_estop(drive.now)
    again_s = drive.now
    drive.publish()
    assert drive.since(again_s) == [ZERO]


# --- the robot's own stop -----------------------------------------------------------------------


def test_a_stop_is_a_burst_of_zeros_each_time_that_it_is_asked_for(drive: Drive) -> None:
    drive.begin()
    for _ in range(3):
        drive.gate.stop(drive.now)
        asked_s = drive.now
        drive.wait(5.0)
        assert set(drive.since(asked_s)) == {ZERO}
        assert len(drive.since(asked_s)) == pytest.approx(20, abs=2)


# --- identity of latches -------------------------------------------------------------------------


def test_each_latch_has_a_number_of_its_own_and_a_repeated_estop_keeps_it(drive: Drive) -> None:
    gate = drive.gate
    assert gate.latch is None
    numbers = []
    for _ in range(3):
        gate.set_estop(drive.now)
        numbers.append(gate.latch)
        gate.set_estop(drive.now)
        assert gate.latch == numbers[-1]
        assert gate.clear_estop(drive.now, gate.latch)
        assert gate.latch is None
    assert numbers == [1, 2, 3]


def test_a_clear_that_names_another_latch_is_refused(drive: Drive) -> None:
    drive.gate.set_estop(drive.now)
    drive.gate.clear_estop(drive.now)
    drive.gate.set_estop(drive.now)
    for latch in (1, 3, 0, -2):
        assert not drive.gate.clear_estop(drive.now, latch)
        assert drive.gate.latch == 2
        assert drive.send(ZERO) is CommandVerdict.LATCHED
    latched_s = drive.now
    drive.wait(5.0)
    assert len(drive.since(latched_s)) == pytest.approx(100, abs=2)
    assert drive.gate.clear_estop(drive.now, 2)
    assert not drive.gate.estopped


def test_a_clear_that_names_a_latch_that_is_gone_says_that_none_holds(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_estop(drive.now)
    drive.gate.clear_estop(drive.now)
    assert drive.gate.clear_estop(drive.now, 1)
    assert drive.gate.clear_estop(drive.now, 77)
    assert not drive.gate.estopped


# --- enable --------------------------------------------------------------------------------------


def test_a_disabled_robot_stops_obeys_nobody_and_leaves_the_topic_to_others(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_enabled(drive.now, False)
    assert not drive.gate.enabled
    stopped_s = drive.now
    assert set(drive.stream(FORWARD, 1.0)) == {CommandVerdict.DISABLED}
    assert set(drive.stream(ZERO, 2.0)) == {CommandVerdict.DISABLED}
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.published[-1][0] < stopped_s + 1.06
    assert drive.gate.verdicts[CommandVerdict.DISABLED] == 150


def test_enabling_needs_neutral(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_enabled(drive.now, False)
    drive.stream(FORWARD, 0.4)
    drive.gate.set_enabled(drive.now, True)
    assert drive.gate.enabled
    assert set(drive.stream(FORWARD, 3.0)) == {CommandVerdict.NOT_NEUTRAL}
    assert drive.send(ZERO) is CommandVerdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_enabling_what_is_enabled_does_not_stop_it(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_enabled(drive.now, True)
    assert drive.gate.moving
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_a_latched_robot_says_so_even_when_it_is_disabled(drive: Drive) -> None:
    drive.gate.set_enabled(drive.now, False)
    drive.gate.set_estop(drive.now)
    assert drive.send(ZERO) is CommandVerdict.LATCHED
    drive.gate.clear_estop(drive.now)
    assert not drive.gate.enabled
    assert drive.send(ZERO, delay_s=0.0) is CommandVerdict.DISABLED


# --- re-arm --------------------------------------------------------------------------------------


def begin_control(drive: Drive) -> None:
    drive.gate.begin_control(drive.now)


def lose_link(drive: Drive) -> None:
    drive.gate.stop(drive.now)


def press_and_clear(drive: Drive) -> None:
    drive.gate.set_estop(drive.now)
    drive.gate.clear_estop(drive.now)


DISARMED_BY = pytest.mark.parametrize('disarm', [begin_control, lose_link, press_and_clear])


@DISARMED_BY
def test_a_stop_by_event_needs_neutral_however_long_the_key_is_held(
    drive: Drive, disarm: Callable[[Drive], None]
) -> None:
    drive.begin()
    disarm(drive)
    stopped_s = drive.now
    assert set(drive.stream(FORWARD, 5.0)) == {CommandVerdict.NOT_NEUTRAL}
    assert set(drive.since(stopped_s)) == {ZERO}


@DISARMED_BY
def test_a_zero_command_is_neutral(drive: Drive, disarm: Callable[[Drive], None]) -> None:
    drive.begin()
    disarm(drive)
    drive.stream(FORWARD, 0.1)
    assert drive.send(ZERO) is CommandVerdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED
    assert drive.gate.moving


@DISARMED_BY
def test_half_a_second_of_silence_is_neutral(
    drive: Drive, disarm: Callable[[Drive], None]
) -> None:
    drive.begin()
    disarm(drive)
    assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    drive.wait(0.48)
    assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    drive.wait(0.51)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_commands_that_are_refused_are_no_silence(drive: Drive) -> None:
    drive.begin()
    lose_link(drive)
    # Delayed commands of a key that is still held are nothing new, but not silence either.
    for _ in range(4):
        drive.wait(0.2)
        assert drive.send(FORWARD, delay_s=0.8) in (
            CommandVerdict.STALE,
            CommandVerdict.OUT_OF_ORDER,
        )
    drive.wait(0.1)
    assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL


def test_a_gap_of_more_than_a_second_in_motion_needs_neutral(drive: Drive) -> None:
    drive.begin()
    drive.wait(1.05)
    resumed_s = drive.now
    assert set(drive.stream(FORWARD, 2.0)) == {CommandVerdict.NOT_NEUTRAL}
    assert not any(not v.is_zero() for v in drive.since(resumed_s))
    drive.stream(ZERO, 0.1)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


@pytest.mark.parametrize('gap_s', [0.4, 0.95])
def test_a_short_gap_in_motion_resumes(drive: Drive, gap_s: float) -> None:
    drive.begin()
    drive.wait(gap_s)
    assert not drive.gate.moving
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_after_idling_with_a_last_zero_a_long_silence_needs_no_neutral(drive: Drive) -> None:
    drive.begin()
    drive.send(ZERO)
    drive.wait(600.0)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_the_first_command_of_all_must_be_neutral(drive: Drive) -> None:
    assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    assert not drive.gate.moving


@pytest.mark.parametrize('silence_s', [0.0, 0.6, 5.0])
def test_silence_before_the_next_operator_does_not_count_for_them(
    drive: Drive, silence_s: float
) -> None:
    drive.begin()
    drive.send(ZERO)
    drive.wait(silence_s)
    drive.gate.begin_control(drive.now)
    assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    drive.wait(0.25)
    assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    drive.wait(0.5)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_a_gap_of_a_second_and_no_more_resumes(drive: Drive) -> None:
    drive.now = 1024.0
    drive.send(ZERO)
    drive.now += 0.125
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED
    drive.wait(1.0)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_begin_control_forgets_the_watermark_and_the_delays(drive: Drive) -> None:
    drive.begin()
    drive.gate.begin_control(drive.now)
    drive.skew_s -= 1e6  # the next operator's clock is far behind
    assert drive.send(ZERO) is CommandVerdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_begin_control_stops_and_says_so_with_a_burst(drive: Drive) -> None:
    drive.begin()
    drive.gate.begin_control(drive.now)
    stopped_s = drive.now
    drive.wait(3.0)
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.published[-1][0] < stopped_s + 1.06


# --- what operators learn ---------------------------------------------------------------------


def test_why_the_newest_command_was_not_obeyed_is_told(drive: Drive) -> None:
    assert drive.gate.refusing(drive.now) is None, 'there was none'
    drive.send(FORWARD)
    assert drive.gate.refusing(drive.now) is CommandVerdict.NOT_NEUTRAL
    drive.send(ZERO)
    assert drive.gate.refusing(drive.now) is None
    drive.wait(PERIOD_S)
    drive.gate.set_enabled(drive.now, False)
    drive.send(FORWARD)
    assert drive.gate.refusing(drive.now) is CommandVerdict.DISABLED
    drive.wait(0.49)
    assert drive.gate.refusing(drive.now) is CommandVerdict.DISABLED
    drive.wait(0.02)
    assert drive.gate.refusing(drive.now) is None, 'there are no commands now'
