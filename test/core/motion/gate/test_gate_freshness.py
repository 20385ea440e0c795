"""Old commands are refused, whatever the clocks say."""

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

import random

from gate_drive import (
    Drive,
    FORWARD,
    LATENCY_S,
    LIMITS,
    PERIOD_S,
    RELAXED,
    TEN_YEARS_S,
    ZERO,
)
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.messages import DriveCommand, Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, CommandVerdict


def test_out_of_order_and_duplicate_commands_are_dropped(drive: Drive) -> None:
    drive.begin()
    moved_s = drive.now
    drive.send(Velocity(linear_x=0.3))
    assert drive.send(Velocity(linear_x=0.3)) is CommandVerdict.OUT_OF_ORDER
    drive.now += 0.001
    assert (
        drive.send(Velocity(linear_x=0.9), delay_s=LATENCY_S + 0.1) is CommandVerdict.OUT_OF_ORDER
    )
    assert drive.since(moved_s) == [Velocity(linear_x=0.3)]
    assert drive.gate.verdicts[CommandVerdict.OUT_OF_ORDER] == 2


def test_a_refused_command_does_not_move_the_watermark(drive: Drive) -> None:
    assert drive.send(FORWARD, delay_s=LATENCY_S) is CommandVerdict.NOT_NEUTRAL
    # This command is older than the refused one, but the first that is obeyed.
    assert drive.send(ZERO, delay_s=LATENCY_S + 0.1) is CommandVerdict.ACCEPTED


@pytest.mark.parametrize(
    ('excess_s', 'verdict'), [(0.45, CommandVerdict.ACCEPTED), (0.55, CommandVerdict.STALE)]
)
def test_a_command_may_be_held_up_for_half_a_second_at_most(
    drive: Drive, excess_s: float, verdict: CommandVerdict
) -> None:
    drive.begin()
    drive.wait(0.6)
    assert drive.send(FORWARD, delay_s=LATENCY_S + excess_s) is verdict


def test_the_quickest_command_of_the_window_is_the_measure_not_the_oldest(drive: Drive) -> None:
    drive.stream(ZERO, 1.0, delay_s=LATENCY_S + 0.4)
    drive.stream(ZERO, 1.0, delay_s=LATENCY_S)
    drive.wait(0.7)
    assert drive.send(ZERO, delay_s=LATENCY_S + 0.6) is CommandVerdict.STALE


@given(excess_s=st.floats(0.6, 20.0))
@settings(RELAXED, max_examples=100)
def test_bufferbloat_stops_the_robot_and_it_stays_stopped_while_the_key_is_held(
    excess_s: float,
) -> None:
    drive = Drive()
    drive.begin()
    bloated_s = drive.now
    drive.stream(FORWARD, 8.0, delay_s=LATENCY_S + excess_s)
    assert not drive.gate.moving
    moved = [v for at_s, v in drive.published if at_s > bloated_s and not v.is_zero()]
    assert moved == []


@given(
    skew_s=st.floats(-TEN_YEARS_S, TEN_YEARS_S),
    drift=st.floats(-500e-6, 500e-6),
    latency_s=st.floats(0.001, 0.3),
    jitter_s=st.floats(0.0, 0.1),
    seed=st.integers(0, 2**32),
)
@settings(RELAXED, max_examples=60)
def test_a_live_stream_is_accepted_at_any_skew_and_drift(
    skew_s: float, drift: float, latency_s: float, jitter_s: float, seed: int
) -> None:
    source = random.Random(seed)
    gate = CommandGate(LIMITS)
    arrival_s, accepted, count = 0.0, 0, 1500
    for number in range(count):
        sent_s = 1000.0 + number * PERIOD_S
        arrival_s = max(arrival_s, sent_s + latency_s + source.uniform(0.0, jitter_s))
        command = DriveCommand(
            seq=number,
            stamp_s=sent_s * (1.0 + drift) + skew_s,
            frame_id='',
            velocity=ZERO if number < 5 else FORWARD,
        )
        accepted += gate.command(arrival_s, command) is CommandVerdict.ACCEPTED
        gate.output(arrival_s)
    assert accepted >= 0.99 * count


def test_a_drift_of_500_ppm_changes_nothing_within_half_an_hour() -> None:
    for drift in (-500e-6, 500e-6):
        drive = Drive()
        drive.stream(ZERO, 0.2)
        start_s, skew_s = drive.now, drive.skew_s
        while drive.now < start_s + 1800.0:
            drive.skew_s = skew_s + drift * (drive.now - start_s)
            assert drive.send(FORWARD) is CommandVerdict.ACCEPTED
            drive.now += 0.2


def big_steps() -> st.SearchStrategy[float]:
    return st.one_of(st.floats(1.2, TEN_YEARS_S), st.floats(-TEN_YEARS_S, -1.2))


@given(step_s=big_steps(), timeout_s=st.floats(0.05, 1.0))
@settings(RELAXED, max_examples=100)
def test_a_clock_step_stops_then_neutral_makes_it_drivable_again(
    step_s: float, timeout_s: float
) -> None:
    drive = Drive(timeout_s=timeout_s)
    drive.begin()
    stepped_s = drive.now
    drive.skew_s += step_s
    verdicts = drive.stream(FORWARD, 3.0)
    assert CommandVerdict.ACCEPTED not in verdicts
    assert verdicts.count(CommandVerdict.CLOCK_STEP) == 1
    assert verdicts[-1] is CommandVerdict.NOT_NEUTRAL
    assert not any(not velocity.is_zero() for velocity in drive.since(stepped_s))
    drive.stream(ZERO, 0.2)
    assert set(drive.stream(FORWARD, 1.0)) == {CommandVerdict.ACCEPTED}


def test_a_clock_step_while_standing_costs_a_moment_only(drive: Drive) -> None:
    drive.begin()
    drive.stream(ZERO, 1.0)
    drive.skew_s += 3600.0
    verdicts = drive.stream(ZERO, 0.2)
    assert verdicts[4] is CommandVerdict.CLOCK_STEP
    assert set(verdicts[5:]) == {CommandVerdict.ACCEPTED}


def test_scattered_stamps_are_no_witnesses_of_a_clock_step(drive: Drive) -> None:
    drive.begin()
    drive.wait(2.0)
    for number in range(50):
        # Each has its own clock.
        verdict = drive.send(ZERO, delay_s=-1e6 * (number + 1))
        assert verdict in (CommandVerdict.OUT_OF_ORDER, CommandVerdict.STALE)
        drive.now += PERIOD_S


@pytest.mark.parametrize('poison_s', [1e9, -1e9, 5.0, -5.0])
@pytest.mark.parametrize('velocity', [ZERO, FORWARD], ids=['zero', 'forward'])
def test_a_poisoned_first_stamp_is_recovered_from(
    drive: Drive, poison_s: float, velocity: Velocity
) -> None:
    drive.send(velocity, delay_s=poison_s)
    drive.stream(ZERO, 0.5)
    assert set(drive.stream(FORWARD, 1.0)) == {CommandVerdict.ACCEPTED}


def test_a_poisoned_stamp_within_a_stream_does_not_disturb_it(drive: Drive) -> None:
    drive.begin()
    for poison_s in (1e9, -1e9):
        assert drive.send(FORWARD, delay_s=poison_s) is not CommandVerdict.ACCEPTED
        assert set(drive.stream(FORWARD, 0.3)) == {CommandVerdict.ACCEPTED}


def test_a_slower_path_is_the_new_normal_after_ten_seconds(drive: Drive) -> None:
    drive.begin()
    drive.send(ZERO)
    drive.wait(0.8)  # so that the first slow command is newer than the last quick one
    verdicts = drive.stream(ZERO, 12.0, delay_s=LATENCY_S + 0.7)
    assert set(verdicts) == {CommandVerdict.STALE, CommandVerdict.ACCEPTED}
    slow_s = verdicts.index(CommandVerdict.ACCEPTED) * PERIOD_S
    assert 0.8 + slow_s == pytest.approx(10.0, abs=2 * PERIOD_S)
    assert set(verdicts[verdicts.index(CommandVerdict.ACCEPTED) :]) == {CommandVerdict.ACCEPTED}


def test_a_burst_of_replayed_commands_does_not_stop_a_live_stream(drive: Drive) -> None:
    drive.begin()
    for number in range(20):
        old_s = 100.0 - 0.001 * number
        assert drive.send(FORWARD, delay_s=old_s) is not CommandVerdict.ACCEPTED
    assert drive.gate.moving
    assert set(drive.stream(FORWARD, 0.5)) == {CommandVerdict.ACCEPTED}


def test_one_command_replayed_again_and_again_is_no_clock_step(drive: Drive) -> None:
    drive.begin()
    drive.stream(ZERO, 1.0)
    replayed_s = drive.now - 0.5
    for _ in range(20):
        verdict = drive.send(ZERO, delay_s=drive.now - replayed_s)
        assert verdict is CommandVerdict.OUT_OF_ORDER
        drive.now += PERIOD_S


def test_a_good_command_in_between_refutes_a_clock_step(drive: Drive) -> None:
    drive.begin()
    drive.stream(ZERO, 1.0)
    for _ in range(5):
        for number in range(4):
            verdict = drive.send(ZERO, delay_s=100.0 - 0.001 * number)
            assert verdict in (CommandVerdict.OUT_OF_ORDER, CommandVerdict.STALE)
        assert drive.send(ZERO) is CommandVerdict.ACCEPTED
        drive.now += PERIOD_S


def test_each_verdict_is_counted(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_estop(drive.now)
    drive.send(FORWARD)
    assert drive.gate.verdicts == {CommandVerdict.ACCEPTED: 35, CommandVerdict.LATCHED: 1}
