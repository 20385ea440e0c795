"""Without a picture the robot drives slowly or stands still."""

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
import itertools

from gate_drive import (
    Drive,
    FORWARD,
    LIMITS,
    PERIOD_S,
    STEP,
    ZERO,
)
import pytest

from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict


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
    assert drive.gate.limiting, 'the operator learns why the robot stands'
    assert set(drive.stream(FORWARD, 2.0)) == {CommandVerdict.ACCEPTED}
    assert set(drive.since(stopped_s)) == {ZERO}
    assert drive.published[-1][0] < stopped_s + 1.06, 'then the topic belongs to others'


def test_being_told_again_that_they_are_blind_changes_nothing(drive: Drive) -> None:
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


# --- what the operator's page shows --------------------------------------------------------------


def say(drive: Drive, picture: bool | None, seconds: float = 0.5) -> None:
    """Keep driving while the page echoes tokens and reports whether it shows a picture."""
    for _ in range(round(seconds / PERIOD_S)):
        drive.gate.echo_lease(drive.now, drive.gate.issue_lease(drive.now), picture)
        drive.publish()
        drive.send(FORWARD)
        drive.wait(PERIOD_S)


def test_a_page_without_a_picture_is_slowed_down_at_once(drive: Drive) -> None:
    drive.begin()
    drive.gate.echo_lease(drive.now, drive.gate.issue_lease(drive.now), False)
    drive.publish()
    assert drive.published[-1] == (drive.now, Velocity(linear_x=0.3))
    assert drive.gate.blind
    assert drive.gate.blind_page
    say(drive, False)
    assert drive.published[-1][1] == Velocity(linear_x=0.3)


def test_a_page_with_a_picture_drives_at_full_speed(drive: Drive) -> None:
    drive.begin()
    say(drive, False)
    say(drive, True)
    assert not drive.gate.blind
    assert drive.published[-1][1] == FORWARD


def test_a_page_that_says_nothing_is_judged_as_before(drive: Drive) -> None:
    drive.begin()
    say(drive, None)
    assert not drive.gate.blind
    assert drive.published[-1][1] == FORWARD


def test_a_page_makes_nobody_faster_than_the_robot_does(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_blind(drive.now, True)
    say(drive, True)
    assert drive.gate.blind
    assert not drive.gate.blind_page
    assert drive.published[-1][1] == Velocity(linear_x=0.3)


def test_a_word_that_is_not_repeated_counts_no_more(drive: Drive) -> None:
    drive.begin()
    say(drive, True)
    say(drive, None, PERIOD_S)
    assert drive.gate.blind_page
    say(drive, None)
    assert drive.published[-1][1] == Velocity(linear_x=0.3)


def test_the_next_operator_speaks_for_their_own_page(drive: Drive) -> None:
    drive.begin()
    say(drive, False)
    drive.gate.begin_control(drive.now)
    assert not drive.gate.blind
    drive.begin()
    say(drive, None)
    assert not drive.gate.blind


def test_words_that_overtake_each_other_err_to_slow(drive: Drive) -> None:
    drive.begin()
    older, newer = drive.gate.issue_lease(drive.now), drive.gate.issue_lease(drive.now + 0.05)
    drive.now += 0.1
    for token, picture, is_blind in (
        (newer, False, True),
        (older, True, True),
        (newer, True, True),
        (newer + 1000, True, True),
    ):
        drive.gate.echo_lease(drive.now, token, picture)
        assert drive.gate.blind_page is is_blind
    newest = drive.gate.issue_lease(drive.now)
    drive.gate.echo_lease(drive.now, newest, True)
    assert not drive.gate.blind_page
    drive.gate.echo_lease(drive.now, newest, False)
    assert drive.gate.blind_page


def test_where_there_is_no_camera_no_page_has_a_picture(drive: Drive) -> None:
    drive.begin()
    drive.gate.set_cameras(drive.now, False)
    say(drive, False)
    assert not drive.gate.blind
    assert drive.published[-1][1] == FORWARD
    drive.gate.set_cameras(drive.now, True)
    drive.publish()
    assert drive.gate.blind
    assert drive.published[-1][1] == Velocity(linear_x=0.3)


@pytest.mark.parametrize('late_s', [0.0, 0.1, 5.0])
def test_what_the_camera_does_puts_no_stop_off(drive: Drive, late_s: float) -> None:
    drive.begin()
    drive.now = drive.gate.deadline(drive.now) + late_s
    drive.gate.set_blind(drive.now, True)
    drive.publish()
    assert not drive.gate.moving
    assert drive.published[-1] == (drive.now, ZERO)
