"""The watchdog: when it stops the robot of a silent sender, and after how long."""

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

import itertools
import math
import random

from gate_drive import (
    Drive,
    FORWARD,
    PERIOD_S,
    RELAXED,
    TIMEOUT_S,
    ZERO,
)
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.messages import DriveCommand
from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict

# --- watchdog ------------------------------------------------------------------------------------


def test_an_accepted_command_is_published_once(drive: Drive) -> None:
    drive.send(ZERO)
    drive.wait(PERIOD_S)
    sent_s = drive.now
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED
    drive.publish()
    assert drive.since(sent_s) == [FORWARD]


@given(start_s=st.floats(0.0, 1e9), timeout_s=st.floats(0.05, 1.0))
@settings(RELAXED, max_examples=300)
def test_the_robot_is_stopped_exactly_at_the_time_out(start_s: float, timeout_s: float) -> None:
    drive = Drive(timeout_s=timeout_s)
    drive.now = start_s
    drive.send(ZERO)
    drive.now += PERIOD_S
    assert drive.send(FORWARD) is CommandVerdict.ACCEPTED
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
    assert set(drive.stream(ZERO, 5.0)) == {CommandVerdict.ACCEPTED}
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
    assert CommandVerdict.ACCEPTED not in drive.stream(FORWARD, 0.5, delay_s=0.8)
    assert not any(not v.is_zero() for v in drive.since(stopped_s - 1e-6))
    assert drive.since(stopped_s - 1e-6)[0] == ZERO


def test_a_command_after_the_time_out_finds_the_robot_stopped_already(drive: Drive) -> None:
    drive.begin()
    drive.now += 0.3  # no output was requested meanwhile: the drive thread was delayed
    command = DriveCommand(seq=0, stamp_s=0.0, frame_id='', velocity=FORWARD)
    assert drive.gate.command(drive.now, command) is not CommandVerdict.ACCEPTED
    assert not drive.gate.moving


# --- the time-out of slow senders ----------------------------------------------------------------


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
        assert drive.send(ZERO if number < 8 else FORWARD) is CommandVerdict.ACCEPTED
        drive.now += 1.0 / rate_hz
    assert drive.gate.command_timeout_s() == pytest.approx(expected_s)
    if 1.0 / rate_hz < expected_s:
        last_s = drive.now - 1.0 / rate_hz
        assert drive.gate.deadline(drive.now) == pytest.approx(last_s + expected_s)


@given(
    configured_s=st.floats(0.05, 1.0),
    gaps=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(-(2**31), 2**31 - 1)), max_size=40),
)
@settings(RELAXED, max_examples=200)
def test_the_time_out_is_never_shorter_than_configured_nor_longer_than_allowed(
    configured_s: float, gaps: list[tuple[float, int]]
) -> None:
    drive = Drive(timeout_s=configured_s)
    for gap_s, seq in gaps:
        drive.send(ZERO, seq=seq)
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


@pytest.mark.parametrize('kept', [2, 3, 4, 6])
@pytest.mark.parametrize('wraps', [False, True])
def test_loss_does_not_make_a_quick_sender_slow_who_numbers_their_commands(
    drive: Drive, kept: int, wraps: bool
) -> None:
    first = 2**31 - 20 if wraps else 0
    for number in range(60):
        if number % kept == 0:
            drive.send(ZERO, seq=(first + number + 2**31) % 2**32 - 2**31)
        drive.now += PERIOD_S
    assert drive.gate.command_timeout_s() == TIMEOUT_S


@pytest.mark.parametrize('seed', range(20))
def test_jitter_does_not_make_a_quick_sender_slow(drive: Drive, seed: int) -> None:
    source, period_s = random.Random(seed), PERIOD_S
    sent = [(number * period_s, source.uniform(0.0, 0.2), number) for number in range(100)]
    begun_s = drive.now
    # In order of arrival: commands overtake each other.
    for sent_s, delay_s, number in sorted(sent, key=lambda one: one[0] + one[1]):
        drive.now = begun_s + sent_s + delay_s
        drive.send(ZERO, delay_s=delay_s, seq=number)
        assert drive.gate.command_timeout_s() == TIMEOUT_S


def test_a_slow_sender_who_numbers_their_commands_is_given_six_of_their_periods(
    drive: Drive,
) -> None:
    for number in range(40):
        if number % 3 == 0:  # the others are lost
            drive.send(ZERO, seq=number)
        drive.now += 0.06
    assert drive.gate.command_timeout_s() == pytest.approx(6 * 0.06)


@pytest.mark.parametrize('step', [0, -1])
def test_numbers_that_do_not_rise_say_nothing(drive: Drive, step: int) -> None:
    for number in range(12):
        drive.send(ZERO, seq=number * step)
        drive.now += 0.05
    assert drive.gate.command_timeout_s() == pytest.approx(0.3)


def test_the_next_operator_begins_with_the_configured_time_out(drive: Drive) -> None:
    for _ in range(12):
        drive.send(ZERO)
        drive.now += 0.05
    assert drive.gate.command_timeout_s() == pytest.approx(0.3)
    drive.gate.begin_control(drive.now)
    assert drive.gate.command_timeout_s() == TIMEOUT_S
