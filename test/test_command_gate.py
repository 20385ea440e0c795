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

"""Every rule of the gate by itself, then all of them at once as a state machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import heapq
import itertools
import math
import os
import random

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
import pytest

from teleop_webrtc_bridge.command_gate import CommandGate, GateLimits, Verdict
from teleop_webrtc_bridge.messages import DriveCommand, Velocity

#: A busy machine makes slow examples, not wrong ones.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: ``HYPOTHESIS_PROFILE=thorough pytest test/test_command_gate.py`` looks for what is rarer.
EXAMPLES = 10_000 if os.environ.get('HYPOTHESIS_PROFILE') == 'thorough' else 200

TIMEOUT_S = 0.25
MAX_AXES = (1.0, 0.5, 0.0, 0.0, 0.0, 1.5)
PERIOD_S = 0.02
LATENCY_S = 0.03
ZERO = Velocity()
FORWARD = Velocity(linear_x=0.5)
LIMITS = GateLimits(command_timeout_s=TIMEOUT_S, max_axes=MAX_AXES)

AXIS = st.floats(width=64)
VELOCITIES = st.builds(
    Velocity,
    linear_x=AXIS,
    linear_y=AXIS,
    linear_z=AXIS,
    angular_x=AXIS,
    angular_y=AXIS,
    angular_z=AXIS,
)


class Drive:
    """An operator, his link and the drive thread, in time that the test moves."""

    def __init__(
        self,
        *,
        timeout_s: float = TIMEOUT_S,
        skew_s: float = 1.7e9,
        acceleration: float = math.inf,
        first_token: int = 1,
    ) -> None:
        limits = GateLimits(
            command_timeout_s=timeout_s, max_axes=MAX_AXES, max_acceleration=(acceleration,) * 6
        )
        self.gate = CommandGate(limits, first_token=first_token)
        self.now = 1000.0
        self.skew_s = skew_s
        """What the sender's clock is ahead of the robot's."""
        self.published: list[tuple[float, Velocity]] = []

    def publish(self) -> None:
        velocity = self.gate.output(self.now)
        if velocity is not None:
            self.published.append((self.now, velocity))

    def wait(self, seconds: float) -> None:
        """Let time pass as the drive thread does: it wakes up at each deadline."""
        end = self.now + seconds
        self.publish()
        while (deadline := self.gate.deadline(self.now)) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.publish()
        self.now = end

    def send(self, velocity: Velocity, *, delay_s: float = LATENCY_S) -> Verdict:
        """Deliver a command now that was sent a moment ago."""
        stamp_s = self.now - delay_s + self.skew_s
        command = DriveCommand(seq=0, stamp_s=stamp_s, frame_id='test', velocity=velocity)
        verdict = self.gate.command(self.now, command)
        self.publish()
        return verdict

    def stream(
        self, velocity: Velocity, seconds: float, *, delay_s: float = LATENCY_S
    ) -> list[Verdict]:
        verdicts = []
        for _ in range(round(seconds / PERIOD_S)):
            verdicts.append(self.send(velocity, delay_s=delay_s))
            self.wait(PERIOD_S)
        return verdicts

    def begin(self) -> None:
        """Arm and drive."""
        assert set(self.stream(ZERO, 0.2)) == {Verdict.ACCEPTED}
        assert set(self.stream(FORWARD, 0.5)) == {Verdict.ACCEPTED}
        assert self.gate.moving

    def since(self, start_s: float) -> list[Velocity]:
        return [velocity for at_s, velocity in self.published if at_s >= start_s]


@pytest.fixture
def drive() -> Drive:
    return Drive()


# --- watchdog --------------------------------------------------------------------------------


def test_an_accepted_command_is_published_once(drive: Drive) -> None:
    drive.send(ZERO)
    drive.wait(PERIOD_S)
    sent_s = drive.now
    assert drive.send(FORWARD) is Verdict.ACCEPTED
    drive.publish()
    assert drive.since(sent_s) == [FORWARD]


@given(start_s=st.floats(0.0, 1e9), timeout_s=st.floats(0.05, 1.0))
@settings(RELAXED, max_examples=300)
def test_the_robot_is_stopped_exactly_at_the_time_out(start_s: float, timeout_s: float) -> None:
    drive = Drive(timeout_s=timeout_s)
    drive.now = start_s
    drive.send(ZERO)
    drive.now += PERIOD_S
    assert drive.send(FORWARD) is Verdict.ACCEPTED
    deadline = drive.gate.deadline(drive.now)
    assert deadline == drive.now + timeout_s
    assert drive.gate.output(math.nextafter(deadline, -math.inf)) is None
    assert drive.gate.moving
    assert drive.gate.output(deadline) == ZERO
    assert not drive.gate.moving


def test_zeros_at_20_hz_for_a_second_then_silence(drive: Drive) -> None:
    drive.begin()
    last_s = drive.now - PERIOD_S
    start = len(drive.published)
    drive.wait(30.0)
    zeros = drive.published[start:]
    assert {velocity for _, velocity in zeros} == {ZERO}
    times = [at_s for at_s, _ in zeros]
    assert times[0] == pytest.approx(last_s + TIMEOUT_S)
    assert times[-1] == pytest.approx(times[0] + 1.0, abs=0.051)
    assert len(times) in (20, 21)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([0.05] * len(gaps))
    assert drive.gate.deadline(drive.now) is None


def test_idle_zeros_fall_silent_while_the_operator_goes_on_sending_them(drive: Drive) -> None:
    drive.begin()
    drive.stream(ZERO, 1.5)
    silent_s = drive.now
    assert set(drive.stream(ZERO, 5.0)) == {Verdict.ACCEPTED}
    assert drive.since(silent_s) == []


def test_a_zero_command_stops_at_once_and_a_new_burst_begins_with_each_stop(drive: Drive) -> None:
    for _ in range(2):
        drive.begin()
        stopped_s = drive.now
        drive.send(ZERO)
        assert drive.published[-1] == (stopped_s, ZERO)
        drive.wait(3.0)
        assert 20 <= len(drive.since(stopped_s)) <= 21


def test_the_first_zero_command_is_published_as_a_stop(drive: Drive) -> None:
    drive.send(ZERO)
    drive.wait(3.0)
    assert {velocity for _, velocity in drive.published} == {ZERO}
    assert 20 <= len(drive.published) <= 21


def test_nothing_is_published_before_the_first_command(drive: Drive) -> None:
    assert drive.gate.deadline(drive.now) is None
    drive.wait(5.0)
    assert drive.published == []


def test_a_stop_is_not_put_off_by_commands_that_are_refused(drive: Drive) -> None:
    drive.begin()
    stopped_s = drive.now - PERIOD_S + TIMEOUT_S
    assert Verdict.ACCEPTED not in drive.stream(FORWARD, 0.5, delay_s=0.8)
    assert not any(not v.is_zero() for v in drive.since(stopped_s - 1e-6))
    assert drive.since(stopped_s - 1e-6)[0] == ZERO


def test_a_command_after_the_time_out_finds_the_robot_stopped_already(drive: Drive) -> None:
    drive.begin()
    drive.now += 0.3  # nobody asked for an output meanwhile: the drive thread was held up
    command = DriveCommand(seq=0, stamp_s=0.0, frame_id='', velocity=FORWARD)
    assert drive.gate.command(drive.now, command) is not Verdict.ACCEPTED
    assert not drive.gate.moving


# --- limits ----------------------------------------------------------------------------------


def test_each_axis_is_clamped_and_forbidden_axes_are_zero(drive: Drive) -> None:
    drive.send(ZERO)
    drive.wait(PERIOD_S)
    wanted = Velocity(
        linear_x=9.0, linear_y=-9.0, linear_z=9.0, angular_x=9.0, angular_y=-9.0, angular_z=-9.0
    )
    assert drive.send(wanted) is Verdict.ACCEPTED
    assert drive.published[-1][1].axes() == (1.0, -0.5, 0.0, 0.0, 0.0, -1.5)
    assert drive.gate.limited == 1


def test_what_is_within_the_limits_passes_unchanged_and_is_not_counted(drive: Drive) -> None:
    drive.send(ZERO)
    drive.wait(PERIOD_S)
    wanted = Velocity(linear_x=-1.0, linear_y=0.5, angular_z=1.5)
    drive.send(wanted)
    assert drive.published[-1][1] == wanted
    assert drive.gate.limited == 0


def test_a_command_with_anything_not_finite_is_dropped_as_a_whole(drive: Drive) -> None:
    drive.begin()
    published = len(drive.published)
    drive.send(Velocity(linear_x=math.nan, linear_y=0.25, angular_z=math.nan))
    assert drive.gate.verdicts[Verdict.NOT_FINITE] == 1
    assert len(drive.published) == published


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_passes(drive: Drive, bad: float) -> None:
    drive.send(ZERO)
    drive.wait(PERIOD_S)
    drive.send(Velocity(linear_x=bad, linear_z=bad, angular_z=bad))
    drive.wait(1.0)
    for _, velocity in drive.published:
        assert all(math.isfinite(axis) for axis in velocity.axes())
        assert abs(velocity.linear_x) <= 1.0
        assert velocity.linear_z == 0.0


def test_new_limits_hold_at_once(drive: Drive) -> None:
    drive.begin()
    limits = GateLimits(command_timeout_s=0.2, max_axes=(0.2, 0.0, 0.0, 0.0, 0.0, 0.0))
    drive.gate.set_limits(drive.now, limits)
    drive.publish()
    assert drive.published[-1][1] == Velocity(linear_x=0.2)
    drive.send(FORWARD)
    assert drive.published[-1][1] == Velocity(linear_x=0.2)
    assert drive.gate.deadline(drive.now) == drive.now + 0.2


# --- E-STOP ----------------------------------------------------------------------------------


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
    assert set(drive.stream(velocity, 2.0)) == {Verdict.LATCHED}
    assert drive.gate.estopped
    assert set(drive.since(latched_s)) == {ZERO}


def test_the_latch_survives_a_new_operator_and_a_lost_link(drive: Drive) -> None:
    drive.gate.set_estop(drive.now)
    drive.gate.begin_control(drive.now)
    drive.gate.stop(drive.now)
    assert drive.gate.estopped
    assert drive.send(ZERO) is Verdict.LATCHED


@pytest.mark.parametrize('latched_s', [0.1, 0.4, 0.6, 0.8, 1.5, 30.0])
def test_a_key_held_through_an_estop_moves_nothing_after_it_is_cleared(
    drive: Drive, latched_s: float
) -> None:
    drive.begin()
    drive.gate.set_estop(drive.now)
    stopped_s = drive.now
    drive.stream(FORWARD, latched_s)
    drive.gate.clear_estop(drive.now)
    assert set(drive.stream(FORWARD, 3.0)) == {Verdict.NOT_NEUTRAL}
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.send(ZERO) is Verdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_clearing_without_a_latch_is_a_stop_that_needs_neutral(drive: Drive) -> None:
    drive.begin()
    drive.gate.clear_estop(drive.now)
    assert not drive.gate.moving
    assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL


def test_a_repeated_estop_shows_a_zero_again_at_once(drive: Drive) -> None:
    drive.gate.set_estop(drive.now)
    drive.publish()
    drive.now += 0.01
    drive.gate.set_estop(drive.now)
    again_s = drive.now
    drive.publish()
    assert drive.since(again_s) == [ZERO]


# --- re-arm ----------------------------------------------------------------------------------


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
    assert set(drive.stream(FORWARD, 5.0)) == {Verdict.NOT_NEUTRAL}
    assert set(drive.since(stopped_s)) == {ZERO}


@DISARMED_BY
def test_a_zero_command_is_neutral(drive: Drive, disarm: Callable[[Drive], None]) -> None:
    drive.begin()
    disarm(drive)
    drive.stream(FORWARD, 0.1)
    assert drive.send(ZERO) is Verdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is Verdict.ACCEPTED
    assert drive.gate.moving


@DISARMED_BY
def test_half_a_second_of_silence_is_neutral(
    drive: Drive, disarm: Callable[[Drive], None]
) -> None:
    drive.begin()
    disarm(drive)
    assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL
    drive.wait(0.48)
    assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL
    drive.wait(0.51)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_commands_that_are_refused_are_no_silence(drive: Drive) -> None:
    drive.begin()
    lose_link(drive)
    # Held up on their way, the key still held: they say nothing new, but not silence either.
    for _ in range(4):
        drive.wait(0.2)
        assert drive.send(FORWARD, delay_s=0.8) in (Verdict.STALE, Verdict.OUT_OF_ORDER)
    drive.wait(0.1)
    assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL


def test_a_gap_of_more_than_a_second_in_motion_needs_neutral(drive: Drive) -> None:
    drive.begin()
    drive.wait(1.1)
    resumed_s = drive.now
    assert set(drive.stream(FORWARD, 2.0)) == {Verdict.NOT_NEUTRAL}
    assert not any(not v.is_zero() for v in drive.since(resumed_s))
    drive.stream(ZERO, 0.1)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


@pytest.mark.parametrize('gap_s', [0.4, 0.95])
def test_a_short_gap_in_motion_resumes(drive: Drive, gap_s: float) -> None:
    drive.begin()
    drive.wait(gap_s)
    assert not drive.gate.moving
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_after_idling_with_a_last_zero_a_long_silence_needs_no_neutral(drive: Drive) -> None:
    drive.begin()
    drive.send(ZERO)
    drive.wait(600.0)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_the_first_command_of_all_must_be_neutral(drive: Drive) -> None:
    assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL
    assert not drive.gate.moving


@pytest.mark.parametrize('silence_s', [0.0, 0.6, 5.0])
def test_the_silence_before_him_is_not_the_next_operators(drive: Drive, silence_s: float) -> None:
    drive.begin()
    drive.send(ZERO)
    drive.wait(silence_s)
    drive.gate.begin_control(drive.now)
    assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL
    drive.wait(0.25)
    assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL
    drive.wait(0.5)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_a_gap_of_a_second_and_no_more_resumes(drive: Drive) -> None:
    drive.now = 1024.0
    drive.send(ZERO)
    drive.now += 0.125
    assert drive.send(FORWARD) is Verdict.ACCEPTED
    drive.wait(1.0)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_begin_control_forgets_the_watermark_and_the_delays(drive: Drive) -> None:
    drive.begin()
    drive.gate.begin_control(drive.now)
    drive.skew_s -= 1e6  # the next operator's clock is far behind
    assert drive.send(ZERO) is Verdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_begin_control_stops_and_says_so_with_a_burst(drive: Drive) -> None:
    drive.begin()
    drive.gate.begin_control(drive.now)
    stopped_s = drive.now
    drive.wait(3.0)
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.published[-1][0] < stopped_s + 1.06


# --- freshness -------------------------------------------------------------------------------


def test_out_of_order_and_duplicate_commands_are_dropped(drive: Drive) -> None:
    drive.begin()
    moved_s = drive.now
    drive.send(Velocity(linear_x=0.3))
    assert drive.send(Velocity(linear_x=0.3)) is Verdict.OUT_OF_ORDER
    drive.now += 0.001
    assert drive.send(Velocity(linear_x=0.9), delay_s=LATENCY_S + 0.1) is Verdict.OUT_OF_ORDER
    assert drive.since(moved_s) == [Velocity(linear_x=0.3)]
    assert drive.gate.verdicts[Verdict.OUT_OF_ORDER] == 2


def test_a_refused_command_does_not_move_the_watermark(drive: Drive) -> None:
    assert drive.send(FORWARD, delay_s=LATENCY_S) is Verdict.NOT_NEUTRAL
    # Older than the refused one, yet the first that is obeyed.
    assert drive.send(ZERO, delay_s=LATENCY_S + 0.1) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ('excess_s', 'verdict'), [(0.45, Verdict.ACCEPTED), (0.55, Verdict.STALE)]
)
def test_a_command_may_be_held_up_for_half_a_second_at_most(
    drive: Drive, excess_s: float, verdict: Verdict
) -> None:
    drive.begin()
    drive.wait(0.6)
    assert drive.send(FORWARD, delay_s=LATENCY_S + excess_s) is verdict


def test_the_quickest_command_of_the_window_is_the_measure_not_the_oldest(drive: Drive) -> None:
    drive.stream(ZERO, 1.0, delay_s=LATENCY_S + 0.4)
    drive.stream(ZERO, 1.0, delay_s=LATENCY_S)
    drive.wait(0.7)
    assert drive.send(ZERO, delay_s=LATENCY_S + 0.6) is Verdict.STALE


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
    skew_s=st.floats(-1e8, 1e8),
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
        accepted += gate.command(arrival_s, command) is Verdict.ACCEPTED
        gate.output(arrival_s)
    assert accepted >= 0.99 * count


def test_a_drift_of_500_ppm_changes_nothing_within_half_an_hour() -> None:
    for drift in (-500e-6, 500e-6):
        drive = Drive()
        drive.stream(ZERO, 0.2)
        start_s, skew_s = drive.now, drive.skew_s
        while drive.now < start_s + 1800.0:
            drive.skew_s = skew_s + drift * (drive.now - start_s)
            assert drive.send(FORWARD) is Verdict.ACCEPTED
            drive.now += 0.2


def big_steps() -> st.SearchStrategy[float]:
    return st.one_of(st.floats(1.2, 1e8), st.floats(-1e8, -1.2))


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
    assert Verdict.ACCEPTED not in verdicts
    assert verdicts.count(Verdict.CLOCK_STEP) == 1
    assert verdicts[-1] is Verdict.NOT_NEUTRAL
    assert not any(not velocity.is_zero() for velocity in drive.since(stepped_s))
    drive.stream(ZERO, 0.2)
    assert set(drive.stream(FORWARD, 1.0)) == {Verdict.ACCEPTED}


def test_a_clock_step_while_standing_costs_a_moment_only(drive: Drive) -> None:
    drive.begin()
    drive.stream(ZERO, 1.0)
    drive.skew_s += 3600.0
    verdicts = drive.stream(ZERO, 0.2)
    assert verdicts[4] is Verdict.CLOCK_STEP
    assert set(verdicts[5:]) == {Verdict.ACCEPTED}


def test_scattered_stamps_are_no_witnesses_of_a_clock_step(drive: Drive) -> None:
    drive.begin()
    drive.wait(2.0)
    for number in range(50):
        # Each on a clock of its own.
        verdict = drive.send(ZERO, delay_s=-1e6 * (number + 1))
        assert verdict in (Verdict.OUT_OF_ORDER, Verdict.STALE)
        drive.now += PERIOD_S


@pytest.mark.parametrize('poison_s', [1e9, -1e9, 5.0, -5.0])
@pytest.mark.parametrize('velocity', [ZERO, FORWARD], ids=['zero', 'forward'])
def test_a_poisoned_first_stamp_is_recovered_from(
    drive: Drive, poison_s: float, velocity: Velocity
) -> None:
    drive.send(velocity, delay_s=poison_s)
    drive.stream(ZERO, 0.5)
    assert set(drive.stream(FORWARD, 1.0)) == {Verdict.ACCEPTED}


def test_a_poisoned_stamp_within_a_stream_does_not_disturb_it(drive: Drive) -> None:
    drive.begin()
    for poison_s in (1e9, -1e9):
        assert drive.send(FORWARD, delay_s=poison_s) is not Verdict.ACCEPTED
        assert set(drive.stream(FORWARD, 0.3)) == {Verdict.ACCEPTED}


def test_a_slower_path_is_the_new_normal_after_ten_seconds(drive: Drive) -> None:
    drive.begin()
    drive.send(ZERO)
    drive.wait(0.8)  # so that the first slow command is newer than the last quick one
    verdicts = drive.stream(ZERO, 12.0, delay_s=LATENCY_S + 0.7)
    assert set(verdicts) == {Verdict.STALE, Verdict.ACCEPTED}
    slow_s = verdicts.index(Verdict.ACCEPTED) * PERIOD_S
    assert 0.8 + slow_s == pytest.approx(10.0, abs=2 * PERIOD_S)
    assert set(verdicts[verdicts.index(Verdict.ACCEPTED) :]) == {Verdict.ACCEPTED}


def test_a_burst_of_replayed_commands_does_not_stop_a_live_stream(drive: Drive) -> None:
    drive.begin()
    for number in range(20):
        old_s = 100.0 - 0.001 * number
        assert drive.send(FORWARD, delay_s=old_s) is not Verdict.ACCEPTED
    assert drive.gate.moving
    assert set(drive.stream(FORWARD, 0.5)) == {Verdict.ACCEPTED}


def test_one_command_replayed_again_and_again_is_no_clock_step(drive: Drive) -> None:
    drive.begin()
    drive.stream(ZERO, 1.0)
    replayed_s = drive.now - 0.5
    for _ in range(20):
        verdict = drive.send(ZERO, delay_s=drive.now - replayed_s)
        assert verdict is Verdict.OUT_OF_ORDER
        drive.now += PERIOD_S


def test_a_good_command_in_between_refutes_a_clock_step(drive: Drive) -> None:
    drive.begin()
    drive.stream(ZERO, 1.0)
    for _ in range(5):
        for number in range(4):
            verdict = drive.send(ZERO, delay_s=100.0 - 0.001 * number)
            assert verdict in (Verdict.OUT_OF_ORDER, Verdict.STALE)
        assert drive.send(ZERO) is Verdict.ACCEPTED
        drive.now += PERIOD_S


def test_each_verdict_is_counted(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_estop(drive.now)
    drive.send(FORWARD)
    assert drive.gate.verdicts == {Verdict.ACCEPTED: 35, Verdict.LATCHED: 1}


# --- what is not finite ----------------------------------------------------------------------


NOT_FINITE = pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
AXES = tuple(Velocity.__dataclass_fields__)


@NOT_FINITE
@pytest.mark.parametrize('axis', AXES)
def test_a_command_that_is_not_finite_leaves_everything_as_it_was(
    drive: Drive, axis: str, bad: float
) -> None:
    drive.begin()
    deadline = drive.gate.deadline(drive.now)
    published = len(drive.published)
    for delay_s in (-0.9, 0.0, 0.02):
        # Newer than all others and quicker: neither watermark nor delays may follow it.
        assert drive.send(Velocity(**{axis: bad}), delay_s=delay_s) is Verdict.NOT_FINITE
    assert len(drive.published) == published
    assert drive.gate.deadline(drive.now) == deadline
    assert drive.send(FORWARD) is Verdict.ACCEPTED
    drive.now += 0.6
    assert drive.send(FORWARD, delay_s=LATENCY_S + 0.45) is Verdict.ACCEPTED


@NOT_FINITE
def test_a_stamp_that_is_not_finite_leaves_everything_as_it_was(drive: Drive, bad: float) -> None:
    drive.begin()
    assert drive.send(ZERO, delay_s=bad) is Verdict.NOT_FINITE
    assert drive.gate.moving
    assert set(drive.stream(FORWARD, 0.5)) == {Verdict.ACCEPTED}


def test_what_is_not_finite_neither_arms_nor_breaks_a_silence(drive: Drive) -> None:
    bad = Velocity(linear_x=math.nan)
    for _ in range(3):
        assert drive.send(bad) is Verdict.NOT_FINITE
        assert drive.send(FORWARD) is Verdict.NOT_NEUTRAL
        drive.now += 0.1
    drive.wait(0.3)
    assert drive.send(bad) is Verdict.NOT_FINITE
    drive.wait(0.2)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_the_watchdog_does_its_work_when_what_arrives_is_not_finite(drive: Drive) -> None:
    drive.begin()
    drive.now += TIMEOUT_S
    command = DriveCommand(seq=0, stamp_s=0.0, frame_id='', velocity=Velocity(linear_x=math.inf))
    assert drive.gate.command(drive.now, command) is Verdict.NOT_FINITE
    assert not drive.gate.moving


# --- acceleration ----------------------------------------------------------------------------


ACCELERATION = 2.5
STEP = ACCELERATION * PERIOD_S


@pytest.fixture
def slow_start() -> Drive:
    """Return a drive with a limit of acceleration that has just been armed."""
    drive = Drive(acceleration=ACCELERATION)
    drive.send(ZERO)
    drive.wait(PERIOD_S)
    return drive


def test_speed_rises_with_the_allowed_acceleration_until_it_is_what_is_wanted(
    slow_start: Drive,
) -> None:
    start_s = slow_start.now
    slow_start.stream(Velocity(linear_x=0.3, linear_y=-0.1), 0.2)
    risen = slow_start.since(start_s)
    wanted_x = [min(0.3, STEP * number) for number in range(1, 11)]
    assert [velocity.linear_x for velocity in risen] == pytest.approx(wanted_x)
    wanted_y = [-min(0.1, STEP * number) for number in range(1, 11)]
    assert [velocity.linear_y for velocity in risen] == pytest.approx(wanted_y)


def test_slowing_down_and_stopping_are_immediate(slow_start: Drive) -> None:
    slow_start.stream(FORWARD, 0.5)
    assert slow_start.published[-1][1] == FORWARD
    for slower in (Velocity(linear_x=0.1), ZERO):
        slow_start.send(slower)
        assert slow_start.published[-1][1] == slower
        slow_start.wait(PERIOD_S)


def test_the_other_way_round_begins_from_zero_at_once(slow_start: Drive) -> None:
    slow_start.stream(FORWARD, 0.5)
    slow_start.send(Velocity(linear_x=-0.5))
    assert slow_start.published[-1][1].linear_x == pytest.approx(-STEP)
    assert slow_start.published[-1][1].linear_y == 0.0


def test_a_pause_saves_up_a_tenth_of_a_second_of_acceleration_at_most(slow_start: Drive) -> None:
    slow_start.wait(30.0)
    slow_start.send(Velocity(linear_x=1.0))
    assert slow_start.published[-1][1].linear_x == pytest.approx(0.1 * ACCELERATION)


def test_commands_that_arrive_at_once_raise_the_speed_once(slow_start: Drive) -> None:
    for delay_s in (0.045, 0.04, 0.035, 0.03):
        assert slow_start.send(FORWARD, delay_s=delay_s) is Verdict.ACCEPTED
    assert slow_start.published[-1][1].linear_x == pytest.approx(STEP)


def test_without_a_limit_of_acceleration_speed_is_there_at_once(drive: Drive) -> None:
    drive.send(ZERO)
    drive.send(FORWARD, delay_s=0.0)
    assert drive.published[-1][1] == FORWARD


@pytest.mark.parametrize('stall_s', [0.1, 0.2, 0.26, 0.4, 0.6, 5.0])
@pytest.mark.parametrize('event', ['nothing', 'blind', 'limits', 'estop'])
def test_commands_that_waited_for_the_drive_thread_move_nothing_beyond_the_limits(
    slow_start: Drive, stall_s: float, event: str
) -> None:
    """As after SIGSTOP and SIGCONT: they are judged by their arrival, which is past by then."""
    drive, gate = slow_start, slow_start.gate
    drive.stream(Velocity(linear_x=0.2), 0.5)
    begun_s = drive.now
    woken_s = begun_s + stall_s
    if event == 'blind':
        gate.set_blind(woken_s, True)
    elif event == 'limits':
        limits = GateLimits(
            command_timeout_s=TIMEOUT_S,
            max_axes=(0.25, 0.0, 0.0, 0.0, 0.0, 0.1),
            max_acceleration=(ACCELERATION,) * 6,
        )
        gate.set_limits(woken_s, limits)
    elif event == 'estop':
        gate.set_estop(woken_s)
    handed_out = [gate.output(woken_s)]
    while drive.now < woken_s:
        stamp_s = drive.now - LATENCY_S + drive.skew_s
        wanted = Velocity(linear_x=0.2, angular_z=0.05)
        command = DriveCommand(seq=0, stamp_s=stamp_s, frame_id='', velocity=wanted)
        gate.command(drive.now, command)
        handed_out.append(gate.output(woken_s))
        drive.now += PERIOD_S
    for velocity in filter(None, handed_out):
        assert 0.0 <= velocity.linear_x <= 0.2
        assert 0.0 <= velocity.angular_z <= 0.05
        assert velocity.axes()[1:5] == (0.0, 0.0, 0.0, 0.0)
        assert velocity.is_zero() or event != 'estop'
        assert velocity.is_zero() or stall_s < TIMEOUT_S or event == 'nothing'


@pytest.mark.parametrize('stall_s', [0.5, 0.99, 1.01, 2.0, 60.0])
@pytest.mark.parametrize('wanted', [ZERO, FORWARD], ids=['zero', 'forward'])
def test_a_stop_that_waited_for_the_drive_thread_is_published_however_late(
    drive: Drive, stall_s: float, wanted: Velocity
) -> None:
    drive.begin()
    arrival_s = drive.now + 0.3
    drive.now += stall_s
    stamp_s = arrival_s - LATENCY_S + drive.skew_s
    drive.gate.command(
        arrival_s, DriveCommand(seq=0, stamp_s=stamp_s, frame_id='', velocity=wanted)
    )
    if wanted.is_zero():
        assert drive.gate.deadline(drive.now) is not None
    stopped_s = drive.now
    drive.wait(5.0)
    zeros = drive.since(stopped_s)
    assert zeros
    assert zeros[-1] == ZERO
    if wanted.is_zero() or stall_s > 0.6:
        assert set(zeros) == {ZERO}
        assert len(zeros) in (20, 21)


# --- is limiting -----------------------------------------------------------------------------


def test_limiting_tells_whether_less_than_what_was_asked_for_is_in_force(
    slow_start: Drive,
) -> None:
    gate = slow_start.gate
    assert not CommandGate(LIMITS).limiting
    assert not gate.limiting
    slow_start.send(Velocity(linear_x=0.06))
    assert gate.limiting, 'it still gains speed'
    slow_start.wait(PERIOD_S)
    slow_start.send(Velocity(linear_x=0.06))
    assert not gate.limiting
    assert gate.limited == 1
    slow_start.send(Velocity(linear_x=0.06, linear_z=0.1), delay_s=0.0)
    assert gate.limiting, 'an axis that is forbidden'
    assert gate.limited == 2
    slow_start.send(ZERO, delay_s=-0.01)
    assert not gate.limiting


@pytest.mark.parametrize('stop', ['time-out', 'link', 'estop', 'disabled', 'operator'])
def test_a_robot_that_was_stopped_is_not_limiting(drive: Drive, stop: str) -> None:
    drive.begin()
    drive.send(Velocity(linear_x=9.0))
    assert drive.gate.limiting
    {
        'time-out': lambda now: drive.wait(TIMEOUT_S),
        'link': drive.gate.stop,
        'estop': drive.gate.set_estop,
        'disabled': lambda now: drive.gate.set_enabled(now, False),
        'operator': drive.gate.begin_control,
    }[stop](drive.now)
    assert not drive.gate.moving
    assert not drive.gate.limiting


def test_limits_that_change_in_motion_change_what_is_limiting(drive: Drive) -> None:
    drive.begin()
    assert not drive.gate.limiting
    drive.gate.set_limits(drive.now, replace(LIMITS, max_axes=(0.2,) * 6))
    assert drive.gate.limiting
    drive.gate.set_limits(drive.now, LIMITS)
    assert not drive.gate.limiting
    drive.publish()
    assert drive.published[-1][1] == FORWARD


# --- driving blind ---------------------------------------------------------------------------


def test_a_blind_operator_is_slowed_down_at_once(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_blind(drive.now, True)
    assert drive.gate.blind
    drive.publish()
    assert drive.published[-1] == (drive.now, Velocity(linear_x=0.3))
    assert drive.gate.limiting
    drive.stream(Velocity(linear_x=9.0, linear_y=-9.0, angular_z=9.0), 0.1)
    assert drive.published[-1][1].axes() == pytest.approx((0.3, -0.15, 0.0, 0.0, 0.0, 0.45))


def test_what_is_slow_enough_is_not_slowed_down(drive: Drive) -> None:
    drive.begin()
    drive.send(Velocity(linear_x=0.1))
    drive.gate.set_blind(drive.now, True)
    drive.publish()
    assert drive.published[-1][1] == Velocity(linear_x=0.1)
    assert not drive.gate.limiting


def test_sight_gives_the_speed_back_with_the_allowed_acceleration(slow_start: Drive) -> None:
    slow_start.stream(FORWARD, 0.5)
    slow_start.gate.set_blind(slow_start.now, True)
    slow_start.stream(FORWARD, 0.5)
    assert slow_start.published[-1][1] == Velocity(linear_x=0.3)
    slow_start.gate.set_blind(slow_start.now, False)
    seen_s = slow_start.now
    slow_start.stream(FORWARD, 0.5)
    speeds = [velocity.linear_x for velocity in slow_start.since(seen_s)]
    assert speeds[-1] == 0.5
    rises = [after - before for before, after in itertools.pairwise([0.3, *speeds])]
    assert min(rises) >= 0.0
    assert max(rises) <= STEP + 1e-9


def test_a_factor_of_zero_stops_a_blind_operator(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_limits(drive.now, replace(LIMITS, blind_speed_factor=0.0))
    assert drive.gate.moving
    drive.gate.set_blind(drive.now, True)
    stopped_s = drive.now
    drive.publish()
    assert not drive.gate.moving
    assert drive.gate.limiting, 'he is told why he stands'
    assert set(drive.stream(FORWARD, 2.0)) == {Verdict.ACCEPTED}
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.published[-1][0] < stopped_s + 1.06, 'then the topic belongs to others'


def test_being_told_again_that_he_is_blind_changes_nothing(drive: Drive) -> None:
    drive.begin()
    for blind in (True, False):
        drive.gate.set_blind(drive.now, blind)
        drive.publish()
        published = len(drive.published)
        drive.gate.set_blind(drive.now, blind)
        drive.publish()
        assert len(drive.published) == published


@pytest.mark.parametrize('blind', [True, False])
def test_a_standing_robot_is_not_moved_by_what_its_camera_does(drive: Drive, blind: bool) -> None:
    drive.gate.set_blind(drive.now, not blind)
    drive.begin()
    drive.wait(3.0)
    published = len(drive.published)
    drive.gate.set_blind(drive.now, blind)
    drive.gate.set_limits(drive.now, LIMITS)
    drive.wait(3.0)
    assert len(drive.published) == published
    assert not drive.gate.moving


@pytest.mark.parametrize('late_s', [0.0, 0.1, 5.0])
def test_what_the_camera_does_puts_no_stop_off(drive: Drive, late_s: float) -> None:
    drive.begin()
    drive.now = drive.gate.deadline(drive.now) + late_s
    drive.gate.set_blind(drive.now, True)
    drive.publish()
    assert not drive.gate.moving
    assert drive.published[-1] == (drive.now, ZERO)


# --- enable ----------------------------------------------------------------------------------


def test_a_disabled_robot_stops_obeys_nobody_and_leaves_the_topic_to_others(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_enabled(drive.now, False)
    assert not drive.gate.enabled
    stopped_s = drive.now
    assert set(drive.stream(FORWARD, 1.0)) == {Verdict.DISABLED}
    assert set(drive.stream(ZERO, 2.0)) == {Verdict.DISABLED}
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.published[-1][0] < stopped_s + 1.06
    assert drive.gate.verdicts[Verdict.DISABLED] == 150


def test_enabling_needs_neutral(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_enabled(drive.now, False)
    drive.stream(FORWARD, 0.4)
    drive.gate.set_enabled(drive.now, True)
    assert drive.gate.enabled
    assert set(drive.stream(FORWARD, 3.0)) == {Verdict.NOT_NEUTRAL}
    assert drive.send(ZERO) is Verdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_enabling_what_is_enabled_does_not_stop_it(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_enabled(drive.now, True)
    assert drive.gate.moving
    assert drive.send(FORWARD) is Verdict.ACCEPTED


def test_a_latched_robot_says_so_even_when_it_is_disabled(drive: Drive) -> None:
    drive.gate.set_enabled(drive.now, False)
    drive.gate.set_estop(drive.now)
    assert drive.send(ZERO) is Verdict.LATCHED
    drive.gate.clear_estop(drive.now)
    assert not drive.gate.enabled
    assert drive.send(ZERO, delay_s=0.0) is Verdict.DISABLED


# --- which latch -----------------------------------------------------------------------------


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
        assert drive.send(ZERO) is Verdict.LATCHED
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


# --- the time-out of slow senders ------------------------------------------------------------


@pytest.mark.parametrize(
    ('configured_s', 'rate_hz', 'expected_s'),
    [
        (0.25, 50.0, 0.25),
        (0.25, 80.0, 0.25),
        (0.25, 25.0, 0.25),
        (0.25, 20.0, 0.3),
        (0.25, 15.0, 0.4),
        (0.25, 10.0, 0.5),
        (0.25, 5.0, 0.5),
        (0.1, 50.0, 0.12),
        (0.1, 20.0, 0.2),
        (0.05, 50.0, 0.1),
        (0.3, 10.0, 0.5),
        (0.5, 10.0, 0.5),
        (1.0, 10.0, 1.0),
    ],
)
def test_a_slow_sender_is_given_six_periods_and_never_more_than_half_a_second(
    configured_s: float, rate_hz: float, expected_s: float
) -> None:
    drive = Drive(timeout_s=configured_s)
    for number in range(12):
        if number < 9:
            assert drive.gate.command_timeout_s() == configured_s, 'not known yet'
        else:
            assert drive.gate.command_timeout_s() == pytest.approx(expected_s)
        assert drive.send(ZERO if number < 8 else FORWARD) is Verdict.ACCEPTED
        drive.now += 1.0 / rate_hz
    assert drive.gate.command_timeout_s() == pytest.approx(expected_s)
    if 1.0 / rate_hz < expected_s:
        last_s = drive.now - 1.0 / rate_hz
        assert drive.gate.deadline(drive.now) == pytest.approx(last_s + expected_s)


@given(configured_s=st.floats(0.05, 1.0), gaps=st.lists(st.floats(0.0, 3.0), max_size=40))
@settings(RELAXED, max_examples=200)
def test_the_time_out_is_never_shorter_than_configured_nor_longer_than_allowed(
    configured_s: float, gaps: list[float]
) -> None:
    drive = Drive(timeout_s=configured_s)
    for gap_s in gaps:
        drive.send(ZERO)
        drive.now += gap_s
        timeout_s = drive.gate.command_timeout_s()
        assert configured_s <= timeout_s
        assert timeout_s == configured_s or timeout_s <= min(2 * configured_s, 0.5)


def test_of_uneven_periods_the_longer_half_counts(drive: Drive) -> None:
    for number in range(20):
        drive.send(ZERO)
        drive.now += 0.03 if number % 2 else 0.07
    assert drive.gate.command_timeout_s() == pytest.approx(6 * 0.07)


def test_lost_commands_do_not_make_a_quick_sender_slow(drive: Drive) -> None:
    drive.begin()
    for lost in (1, 0, 4, 0, 0, 2, 0, 0, 1, 0, 5, 0):
        drive.wait(lost * PERIOD_S)
        drive.stream(FORWARD, PERIOD_S)
        assert drive.gate.command_timeout_s() == pytest.approx(TIMEOUT_S)


def test_the_next_operator_begins_with_the_configured_time_out(drive: Drive) -> None:
    for _ in range(12):
        drive.send(ZERO)
        drive.now += 0.05
    assert drive.gate.command_timeout_s() == pytest.approx(0.3)
    drive.gate.begin_control(drive.now)
    assert drive.gate.command_timeout_s() == TIMEOUT_S


# --- lease -----------------------------------------------------------------------------------


class Road:
    """
    A page, the robot and everything under way between them, in the order of its arrival.

    The page sends 50 commands a second and echoes the newest of the robot's 20 tokens a second
    25 times a second. Times, losses and delays are simulated.
    """

    def __init__(self, drive: Drive, *, loss: float = 0.0, jitter_s: float = 0.0) -> None:
        self.drive = drive
        self.up_s = self.down_s = 0.05
        """Delay of either way; it varies by the jitter."""
        self.wanted = FORWARD
        self.echoes = True
        self.hears = True
        """Whether tokens reach the page."""
        self.stops_s: list[float] = []
        """When the robot came to a stand."""
        self.verdicts: list[tuple[float, Verdict]] = []
        self._loss = loss
        self._jitter_s = jitter_s
        self._random = random.Random(1)
        self._newest: int | None = None
        self._number = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._at(0.0, self._send_token)
        self._at(0.0, self._send_echo)
        self._at(0.0, self._send_command)

    def _at(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.drive.now + delay_s, next(self._number), act))

    def _carry(self, delay_s: float, arrive: Callable[[], None]) -> None:
        if self._random.random() >= self._loss:
            jitter_s = self._random.uniform(-self._jitter_s, self._jitter_s)
            self._at(delay_s + jitter_s, arrive)

    def _send_token(self) -> None:
        self._at(0.05, self._send_token)
        token = self.drive.gate.issue_lease(self.drive.now)
        if self.hears:
            self._carry(self.down_s, lambda: self._hear(token))

    def _hear(self, token: int) -> None:
        self._newest = token if self._newest is None else max(token, self._newest)

    def _send_echo(self) -> None:
        self._at(0.04, self._send_echo)
        token = self._newest
        if self.echoes and token is not None:
            arrive = self.drive.gate.echo_lease
            self._carry(self.up_s, lambda: arrive(self.drive.now, token))

    def _send_command(self) -> None:
        self._at(PERIOD_S, self._send_command)
        velocity, sent_s = self.wanted, self.drive.now
        self._carry(self.up_s, lambda: self._arrive(velocity, sent_s))

    def _arrive(self, velocity: Velocity, sent_s: float) -> None:
        verdict = self.drive.send(velocity, delay_s=self.drive.now - sent_s)
        self.verdicts.append((self.drive.now, verdict))

    def run(self, seconds: float) -> None:
        end = self.drive.now + seconds
        while self._events[0][0] <= end:
            at_s, _, act = heapq.heappop(self._events)
            self._pass_time(at_s)
            act()
        self._pass_time(end)

    def _pass_time(self, end: float) -> None:
        moving = self.drive.gate.moving
        self.drive.wait(end - self.drive.now)
        self.drive.now = end
        if moving and not self.drive.gate.moving:
            self.stops_s.append(end)

    def begin(self) -> None:
        """Arm, drive, and let the page find out that the robot is there."""
        self.wanted = ZERO
        self.run(1.0)
        self.wanted = FORWARD
        self.run(2.0)
        assert self.drive.gate.moving
        assert self.stops_s == []

    def verdicts_since(self, start_s: float) -> list[Verdict]:
        return [verdict for at_s, verdict in self.verdicts if at_s > start_s]

    def speeds_since(self, start_s: float) -> set[float]:
        return {velocity.linear_x for velocity in self.drive.since(start_s)}


@pytest.fixture
def road(drive: Drive) -> Road:
    road = Road(drive)
    road.begin()
    return road


ROUND_TRIP_S = 0.1
#: The page echoes 25 times a second, and tokens come 20 times a second.
ECHO_PERIODS_S = 0.09


def test_the_round_trip_is_known(road: Road) -> None:
    trip_s = road.drive.gate.round_trip_s(road.drive.now)
    assert ROUND_TRIP_S - 1e-9 <= trip_s <= ROUND_TRIP_S + ECHO_PERIODS_S


@pytest.mark.parametrize('broken', ['it stops echoing', 'it hears nothing'])
def test_a_page_that_does_not_hear_the_robot_any_more_is_stopped(road: Road, broken: str) -> None:
    drive = road.drive
    silent_s = drive.now
    if broken == 'it hears nothing':
        road.hears = False
    else:
        road.echoes = False
    road.run(10.0)
    # From the newest token that came back: half a second, a round trip, and the watchdog.
    last_token_s = silent_s + ROUND_TRIP_S
    accepted_s = max(at_s for at_s, verdict in road.verdicts if verdict is Verdict.ACCEPTED)
    assert accepted_s <= last_token_s + 0.5 + ECHO_PERIODS_S
    stopped_s = next(at_s for at_s, velocity in drive.published if at_s > accepted_s)
    assert stopped_s == pytest.approx(accepted_s + TIMEOUT_S)
    assert len(road.stops_s) == 1
    assert drive.gate.verdicts[Verdict.NO_LEASE] > 400
    assert set(drive.since(stopped_s)) == {ZERO}


def test_a_page_that_hears_again_within_a_second_goes_on(road: Road) -> None:
    road.hears = False
    road.run(1.1)
    assert len(road.stops_s) == 1
    road.hears = True
    road.run(1.0)
    assert road.drive.gate.moving


def test_a_page_that_hears_again_later_needs_neutral(road: Road) -> None:
    road.hears = False
    road.run(3.0)
    road.hears = True
    heard_s = road.drive.now + ROUND_TRIP_S + ECHO_PERIODS_S
    road.run(3.0)
    assert set(road.verdicts_since(heard_s)) == {Verdict.NOT_NEUTRAL}
    road.wanted = ZERO
    road.run(0.2)
    road.wanted = FORWARD
    road.run(0.2)
    assert road.drive.gate.moving


def test_peers_that_never_echo_are_not_affected(drive: Drive) -> None:
    road = Road(drive)
    road.echoes = False
    road.begin()
    road.run(60.0)
    assert road.stops_s == []
    assert {verdict for _, verdict in road.verdicts} == {Verdict.ACCEPTED}
    assert drive.gate.round_trip_s(drive.now) == 0.0


def test_an_old_token_replayed_again_and_again_keeps_nobody_driving(road: Road) -> None:
    drive = road.drive
    token = drive.gate.issue_lease(drive.now)
    drive.gate.echo_lease(drive.now + 0.1, token)
    road.echoes = False
    for _ in range(100):
        road.run(0.02)
        drive.gate.echo_lease(drive.now, token)
        drive.gate.echo_lease(drive.now, token - 3)
    assert len(road.stops_s) == 1
    assert drive.gate.verdicts[Verdict.NO_LEASE] > 50


def test_the_next_operators_tokens_are_others_and_he_need_not_echo(drive: Drive) -> None:
    gate = drive.gate
    old = [gate.issue_lease(drive.now) for _ in range(3)]
    gate.echo_lease(drive.now, old[-1])
    gate.begin_control(drive.now)
    assert gate.issue_lease(drive.now) == old[-1] + 1
    for token in old:
        gate.echo_lease(drive.now, token)
    drive.now += 60.0
    assert gate.round_trip_s(drive.now) == 0.0
    drive.begin()


def test_tokens_begin_where_they_are_told_to() -> None:
    gate = CommandGate(LIMITS, first_token=4711)
    assert [gate.issue_lease(0.05 * number) for number in range(3)] == [4711, 4712, 4713]
    assert CommandGate(LIMITS).issue_lease(0.0) == 1


def test_no_false_stop_in_half_an_hour_at_20_percent_loss() -> None:
    """50 Hz, 20 % lost each way, 50 ± 30 ms: commands overtake each other, tokens go missing."""
    drive = Drive()
    road = Road(drive, loss=0.2, jitter_s=0.03)
    road.begin()
    road.run(1800.0)
    assert road.stops_s == []
    verdicts = drive.gate.verdicts
    assert set(verdicts) == {Verdict.ACCEPTED, Verdict.OUT_OF_ORDER}
    assert verdicts[Verdict.ACCEPTED] > 0.4 * verdicts.total()
    assert 0.04 <= drive.gate.round_trip_s(drive.now) <= 0.3


@pytest.mark.parametrize('bloat_s', [1.6, 2.0, 4.0, 8.0])
def test_a_full_buffer_that_looks_like_a_clock_step_is_no_way_to_drive(
    road: Road, bloat_s: float
) -> None:
    drive = road.drive
    road.up_s += bloat_s
    bloated_s = drive.now + 0.05
    road.run(5.0 + bloat_s)
    road.wanted = ZERO  # he lets go, as the clock step demands, and tries again
    road.run(1.0)
    road.wanted = FORWARD
    road.run(20.0)
    assert drive.gate.verdicts[Verdict.CLOCK_STEP] == 1
    assert road.speeds_since(bloated_s) == {0.0}
    refused = road.verdicts_since(drive.now - 5.0)
    assert set(refused) <= {Verdict.ROUND_TRIP, Verdict.NO_LEASE}


@pytest.mark.parametrize(
    ('one_way_s', 'speeds'),
    [
        (0.4, {0.0, 0.5}),
        (0.55, {0.0, 0.3}),
        (0.7, {0.0, 0.3}),
        (0.8, set()),
        (1.5, set()),
        (2.4, set()),
        (4.0, set()),
    ],
)
def test_a_session_that_begins_slow_costs_speed_and_then_all_of_it(
    drive: Drive, one_way_s: float, speeds: set[float]
) -> None:
    """More than a second there and back: blind_speed_factor; more than one and a half: nothing."""
    road = Road(drive)
    road.up_s = road.down_s = one_way_s
    road.wanted = ZERO
    road.run(12.0)  # until the first echo he passes for a peer that does not echo
    drive.published.clear()
    road.wanted = FORWARD
    road.run(20.0)
    assert road.speeds_since(0.0) - {0.0} == speeds - {0.0}
    if one_way_s > 2.5:
        assert drive.gate.verdicts[Verdict.NO_LEASE] > 400
    elif not speeds:
        assert drive.gate.verdicts[Verdict.ROUND_TRIP] > 400


@pytest.mark.parametrize(
    ('trip_s', 'verdict', 'speed'),
    [
        (0.99, Verdict.ACCEPTED, 0.5),
        (1.0, Verdict.ACCEPTED, 0.5),
        (1.01, Verdict.ACCEPTED, 0.3),
        (1.49, Verdict.ACCEPTED, 0.3),
        (1.5, Verdict.ACCEPTED, 0.3),
        (1.51, Verdict.ROUND_TRIP, 0.0),
    ],
)
def test_the_bounds_of_the_round_trip(
    drive: Drive, trip_s: float, verdict: Verdict, speed: float
) -> None:
    token = drive.gate.issue_lease(drive.now)
    drive.send(ZERO)
    drive.now += trip_s
    drive.gate.echo_lease(drive.now, token)
    assert drive.gate.round_trip_s(drive.now) == pytest.approx(trip_s)
    assert drive.send(FORWARD) is verdict
    assert drive.published[-1][1].linear_x == speed


def test_a_path_that_is_quick_again_gives_the_speed_back(road: Road) -> None:
    drive = road.drive
    road.up_s = road.down_s = 0.6
    road.run(10.0)
    road.wanted = ZERO
    road.run(2.0)
    road.wanted = FORWARD
    road.run(8.0)
    assert road.speeds_since(drive.now - 5.0) == {0.3}
    road.up_s = road.down_s = 0.05
    road.run(2.0)
    assert drive.published[-1][1] == FORWARD


# --- everything at once ----------------------------------------------------------------------


class LeaseModel:
    """What the lease's description says, told with lists that are never tidied up."""

    def __init__(self, first_token: int) -> None:
        self.first_token = first_token
        self.sent: dict[int, float] = {}
        self.newest_s: float | None = None
        self.trips: list[tuple[float, float]] = []

    def echo(self, now: float, token: int) -> None:
        sent_s = self.sent.get(token)
        if sent_s is None:
            return
        if now - sent_s > 5.0:
            # Which may be forgotten already, or not: overdue either way.
            self.newest_s = now - 5.0 if self.newest_s is None else max(sent_s, self.newest_s)
        elif self.newest_s is None or sent_s > self.newest_s:
            self.newest_s = sent_s
            self.trips.append((now, now - sent_s))

    def round_trip_s(self, now: float) -> float:
        return min((trip for at_s, trip in self.trips if now - at_s <= 5.0), default=0.0)

    def forbids(self, now: float) -> bool:
        trip_s = self.round_trip_s(now)
        overdue = self.newest_s is not None and now - self.newest_s > 0.5 + trip_s + 1e-9
        return overdue or trip_s > 1.5


class AnyOrder(RuleBasedStateMachine):
    """Commands good and bad, events and the passing of time, in any order."""

    @initialize(
        skew_s=st.floats(-3e8, 3e8),
        timeout_s=st.floats(0.05, 1.0),
        acceleration=st.sampled_from([0.5, 2.5, 100.0, math.inf]),
        first_token=st.integers(0, 2**32),
    )
    def begin(
        self, skew_s: float, timeout_s: float, acceleration: float, first_token: int
    ) -> None:
        self.drive = Drive(
            timeout_s=timeout_s,
            skew_s=skew_s,
            acceleration=acceleration,
            first_token=first_token,
        )
        self.limits = GateLimits(
            command_timeout_s=timeout_s, max_axes=MAX_AXES, max_acceleration=(acceleration,) * 6
        )
        self.accepted_s = -math.inf
        self.moves_s = -math.inf
        """The only time at which anything but zero may be published now."""
        self.latch: int | None = None
        self.enabled = True
        self.blind = False
        self.needs_neutral = True
        self.last_any_s: float | None = None
        self.wanted = ZERO
        self.late = False
        self.shown = (-math.inf, ZERO)
        """Since when is in force what was published last, and what that was."""
        self.lease = LeaseModel(first_token)
        self.next_token = first_token
        self.echo_delay_s: float | None = None
        """The page's round trip; ``None``: it does not echo."""
        self.under_way: list[tuple[float, int]] = []
        self.token_due_s = self.drive.now

    # --- commands ----------------------------------------------------------------------------

    def judged(self, arrival_s: float, velocity: Velocity, verdict: Verdict) -> None:
        """Compare a verdict with what the operator has done."""
        finite = all(map(math.isfinite, velocity.axes()))
        assert finite == (verdict is not Verdict.NOT_FINITE)
        if not finite:
            return
        silence_s = 0.0 if self.last_any_s is None else arrival_s - self.last_any_s
        self.last_any_s = arrival_s
        if silence_s >= 0.5 or velocity.is_zero():
            # Whether this one is obeyed or not, the operator has let go.
            self.needs_neutral = False
        if verdict is Verdict.CLOCK_STEP:
            self.needs_neutral = True
        if verdict is Verdict.ACCEPTED:
            assert self.latch is None
            assert self.enabled
            assert not self.needs_neutral
            assert not self.lease.forbids(arrival_s)
            self.accepted_s = arrival_s
            self.moves_s = self.drive.now
            self.wanted = velocity

    def send(self, velocity: Velocity, delay_s: float) -> None:
        verdict = self.drive.send(velocity, delay_s=delay_s)
        self.judged(self.drive.now, velocity, verdict)
        self.check()

    @rule(delay_s=st.floats(-5.0, 5.0), velocity=VELOCITIES)
    def command(self, delay_s: float, velocity: Velocity) -> None:
        self.send(velocity, delay_s)

    @rule(
        count=st.integers(1, 60),
        axis=st.floats(-9.0, 9.0),
        period_s=st.sampled_from([0.0125, 0.02, 0.05]),
        neutral_first=st.booleans(),
    )
    def hold_a_key(self, count: int, axis: float, period_s: float, neutral_first: bool) -> None:
        for number in range(count):
            neutral = neutral_first and number == 0
            self.send(ZERO if neutral else Velocity(linear_x=axis, angular_z=-axis), LATENCY_S)
            self.pass_time(period_s)

    @rule(velocity=VELOCITIES, stamp_s=st.floats(-2e9, 2e9))
    def replay_something(self, velocity: Velocity, stamp_s: float) -> None:
        self.send(velocity, self.drive.now - stamp_s + self.drive.skew_s)

    @rule(stall_s=st.floats(0.01, 2.0), axis=st.floats(-9.0, 9.0), looks_first=st.booleans())
    def hold_up_the_drive_thread(self, stall_s: float, axis: float, looks_first: bool) -> None:
        """Commands wait in the socket, and keep the time of their arrival."""
        drive = self.drive
        arrival_s, drive.now = drive.now, drive.now + stall_s
        if looks_first:
            drive.publish()
        velocity = Velocity(linear_x=axis, angular_z=axis)
        self.late = True
        while arrival_s <= drive.now:
            command = DriveCommand(
                seq=0,
                stamp_s=arrival_s - LATENCY_S + drive.skew_s,
                frame_id='',
                velocity=velocity,
            )
            self.judged(arrival_s, velocity, drive.gate.command(arrival_s, command))
            drive.publish()
            self.check()
            arrival_s += PERIOD_S
        self.late = False

    @rule(step_s=st.floats(-1e5, 1e5))
    def step_the_senders_clock(self, step_s: float) -> None:
        self.drive.skew_s += step_s

    # --- time and tokens ---------------------------------------------------------------------

    @rule(seconds=st.floats(0.001, 3.0))
    def pass_time(self, seconds: float) -> None:
        end = self.drive.now + seconds
        while self.drive.now < end:
            self.exchange_tokens()
            self.drive.wait(min(0.05 if self.echo_delay_s else 0.25, end - self.drive.now))
            self.check()

    def exchange_tokens(self) -> None:
        """Send a token if it is time, and let the echoes arrive that are due."""
        now = self.drive.now
        while self.under_way and self.under_way[0][0] <= now:
            self.echo(heapq.heappop(self.under_way)[1])
        if self.echo_delay_s is not None and now >= self.token_due_s:
            self.token_due_s = now + 0.05
            self.issue()

    def issue(self) -> int:
        token = self.drive.gate.issue_lease(self.drive.now)
        assert token == self.next_token, 'no token is used twice'
        self.next_token += 1
        self.lease.sent[token] = self.drive.now
        if self.echo_delay_s is not None:
            heapq.heappush(self.under_way, (self.drive.now + self.echo_delay_s, token))
        return token

    def echo(self, token: int) -> None:
        self.drive.gate.echo_lease(self.drive.now, token)
        self.lease.echo(self.drive.now, token)

    @rule(delay_s=st.one_of(st.none(), st.floats(0.01, 0.3), st.floats(0.3, 7.0)))
    def let_the_page_echo(self, delay_s: float | None) -> None:
        self.echo_delay_s = delay_s

    @rule()
    def echo_at_once(self) -> None:
        self.echo(self.issue())

    @rule(token=st.integers(-1, 2**33))
    def echo_anything(self, token: int) -> None:
        self.echo(token)

    @rule(back=st.integers(1, 200))
    def echo_an_old_one(self, back: int) -> None:
        self.echo(self.next_token - back)

    @rule()
    def wake_up_at_the_deadline_only(self) -> None:
        deadline = self.drive.gate.deadline(self.drive.now)
        if deadline is not None:
            self.drive.now = max(self.drive.now, deadline)
            self.drive.publish()
            assert not self.drive.gate.moving

    # --- events ------------------------------------------------------------------------------

    @rule()
    def estop(self) -> None:
        latch = self.drive.gate.latch
        self.drive.gate.set_estop(self.drive.now)
        self.needs_neutral = True
        assert self.drive.gate.latch is not None
        assert latch in (None, self.drive.gate.latch), 'a latch that holds is kept'
        self.latch = self.drive.gate.latch
        self.drive.publish()

    @rule(names=st.sampled_from(['it', 'another', 'none']))
    def clear(self, names: str) -> None:
        gate, now = self.drive.gate, self.drive.now
        if names == 'another' and self.latch is not None:
            assert not gate.clear_estop(now, self.latch + 1)
            return
        assert gate.clear_estop(now, self.latch if names == 'it' else None)
        self.latch, self.needs_neutral = None, True
        self.drive.publish()

    @rule(enabled=st.booleans())
    def enable(self, enabled: bool) -> None:
        self.drive.gate.set_enabled(self.drive.now, enabled)
        self.needs_neutral = self.needs_neutral or enabled is not self.enabled
        self.enabled = enabled
        self.drive.publish()

    @rule(blind=st.booleans())
    def stall_the_camera(self, blind: bool) -> None:
        self.drive.gate.set_blind(self.drive.now, blind)
        self.blind = blind
        self.moves_s = self.drive.now
        self.drive.publish()

    @rule(
        timeout_s=st.floats(0.05, 1.0),
        axes=st.tuples(*[st.floats(0.0, 3.0)] * 6),
        acceleration=st.sampled_from([0.5, 2.5, 100.0, math.inf]),
        factor=st.floats(0.0, 1.0),
    )
    def change_the_limits(
        self, timeout_s: float, axes: tuple[float, ...], acceleration: float, factor: float
    ) -> None:
        self.limits = GateLimits(
            command_timeout_s=timeout_s,
            max_axes=axes,
            max_acceleration=(acceleration,) * 6,
            blind_speed_factor=factor,
        )
        self.drive.gate.set_limits(self.drive.now, self.limits)
        self.moves_s = self.drive.now
        self.drive.publish()

    @rule()
    def change_operator(self) -> None:
        self.drive.gate.begin_control(self.drive.now)
        self.needs_neutral, self.last_any_s = True, None
        self.lease = LeaseModel(self.next_token)
        self.drive.publish()

    @rule()
    def lose_the_link(self) -> None:
        self.drive.gate.stop(self.drive.now)
        self.needs_neutral = True
        self.drive.publish()

    # --- what always holds -------------------------------------------------------------------

    def check(self) -> None:
        drive, gate = self.drive, self.drive.gate
        assert gate.latch == self.latch
        assert gate.estopped == (self.latch is not None)
        assert gate.enabled is self.enabled
        assert gate.blind is self.blind
        for at_s, velocity in drive.published:
            self.check_published(at_s, velocity)
            # A late command is in force from its arrival, which was before it was shown.
            self.shown = (at_s if velocity.is_zero() else self.accepted_s, velocity)
        drive.published.clear()
        if not gate.moving:
            assert self.shown[1].is_zero(), 'a stop is published at once'
            return
        assert self.latch is None
        assert self.enabled
        assert not self.needs_neutral
        assert gate.limiting == (self.shown[1] != self.wanted)
        # A slow sender is given more time, twice as much or half a second at most.
        timeout_s = self.limits.command_timeout_s
        longest_s = max(timeout_s, min(2 * timeout_s, 0.5))
        deadline = gate.deadline(drive.now)
        assert deadline is not None
        assert drive.now < deadline
        assert self.accepted_s + timeout_s <= deadline <= self.accepted_s + longest_s

    def check_published(self, at_s: float, velocity: Velocity) -> None:
        slow = self.blind or self.lease.round_trip_s(at_s) > 1.0
        factor = self.limits.blind_speed_factor if slow else 1.0
        shown_s, shown = self.shown
        # Late commands are told apart by their arrival, and zeros are shown long after the stop.
        step_s = 0.1 if self.late or shown.is_zero() else min(0.1, at_s - shown_s)
        for speed, before, limit, acceleration, wanted in zip(
            velocity.axes(),
            shown.axes(),
            self.limits.max_axes,
            self.limits.max_acceleration,
            self.wanted.axes(),
            strict=True,
        ):
            assert math.isfinite(speed)
            assert abs(speed) <= limit * factor
            if speed:
                assert (speed > 0.0) == (wanted > 0.0), 'never the other way'
                assert abs(speed) <= abs(wanted), 'never more'
                risen = abs(speed) - (abs(before) if speed * before > 0.0 else 0.0)
                assert acceleration == math.inf or risen <= acceleration * step_s + 1e-9
        if not velocity.is_zero():
            assert at_s == self.moves_s, 'motion comes from an accepted command only'

    @invariant()
    def holds(self) -> None:
        if hasattr(self, 'drive'):
            self.check()


AnyOrder.TestCase.settings = settings(RELAXED, max_examples=EXAMPLES, stateful_step_count=40)
TestAnyOrder = AnyOrder.TestCase
