"""Limits, acceleration, non-finite values, and when the gate reports that it is limiting."""

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

from gate_drive import (
    ACCELERATION,
    Drive,
    FORWARD,
    LATENCY_S,
    LIMITS,
    PERIOD_S,
    STEP,
    TIMEOUT_S,
    ZERO,
)
import pytest

from teleop_webrtc_bridge.core.messages import DriveCommand, Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, CommandVerdict, GateLimits

# --- limits --------------------------------------------------------------------------------------


def test_each_axis_is_clamped_and_forbidden_axes_are_zero(drive: Drive) -> None:
    drive.send(ZERO)
    drive.wait(PERIOD_S)
    wanted = Velocity(
        linear_x=9.0, linear_y=-9.0, linear_z=9.0, angular_x=9.0, angular_y=-9.0, angular_z=-9.0
    )
    assert drive.send(wanted) is CommandVerdict.ACCEPTED
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
    assert drive.gate.verdicts[CommandVerdict.NOT_FINITE] == 1
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


# --- non-finite values ---------------------------------------------------------------------------


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
        # Newer than all others, with less delay: it must change neither watermark nor delays.
        assert drive.send(Velocity(**{axis: bad}), delay_s=delay_s) is CommandVerdict.NOT_FINITE
    assert len(drive.published) == published
    assert drive.gate.deadline(drive.now) == deadline
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED
    drive.now += 0.6
    assert drive.send(FORWARD, delay_s=LATENCY_S + 0.45) is CommandVerdict.ACCEPTED


@NOT_FINITE
def test_a_stamp_that_is_not_finite_leaves_everything_as_it_was(drive: Drive, bad: float) -> None:
    drive.begin()
    assert drive.send(ZERO, delay_s=bad) is CommandVerdict.NOT_FINITE
    assert drive.gate.moving
    assert set(drive.stream(FORWARD, 0.5)) == {CommandVerdict.ACCEPTED}


def test_what_is_not_finite_neither_arms_nor_breaks_a_silence(drive: Drive) -> None:
    bad = Velocity(linear_x=math.nan)
    for _ in range(3):
        assert drive.send(bad) is CommandVerdict.NOT_FINITE
        assert drive.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
        drive.now += 0.1
    drive.wait(0.3)
    assert drive.send(bad) is CommandVerdict.NOT_FINITE
    drive.wait(0.2)
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED


def test_the_watchdog_does_its_work_when_what_arrives_is_not_finite(drive: Drive) -> None:
    drive.begin()
    drive.now += TIMEOUT_S
    command = DriveCommand(seq=0, stamp_s=0.0, frame_id='', velocity=Velocity(linear_x=math.inf))
    assert drive.gate.command(drive.now, command) is CommandVerdict.NOT_FINITE
    assert not drive.gate.moving


# --- acceleration --------------------------------------------------------------------------------


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


def test_speed_that_rises_again_after_a_stop_counts_from_the_stop(slow_start: Drive) -> None:
    slow_start.stream(FORWARD, 0.5)
    slow_start.wait(TIMEOUT_S - PERIOD_S + 0.01)
    assert not slow_start.gate.moving
    assert slow_start.send(FORWARD) is CommandVerdict.ACCEPTED
    assert slow_start.published[-1][1].linear_x == pytest.approx(0.01 * ACCELERATION)


def test_commands_that_arrive_at_once_raise_the_speed_once(slow_start: Drive) -> None:
    for delay_s in (0.045, 0.04, 0.035, 0.03):
        assert slow_start.send(FORWARD, delay_s=delay_s) is CommandVerdict.ACCEPTED
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
    """As after SIGSTOP and SIGCONT: commands are judged by their arrival, which is in the past."""
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


# --- is limiting ---------------------------------------------------------------------------------


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
