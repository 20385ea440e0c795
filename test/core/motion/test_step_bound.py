"""The bound of a step: what is left of it, and when it ends."""

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

import math

import pytest

from teleop_webrtc_bridge.core.messages import Step, Velocity
from teleop_webrtc_bridge.core.motion.step_bound import StepBound

FORWARD = Velocity(linear_x=0.3, linear_y=0.4)
TURN = Velocity(angular_z=-0.5)
STANDING = Velocity()


def move(number: int, metres: float = 0.2) -> Step:
    return Step(id=number, distance_m=metres)


@pytest.fixture
def bound() -> StepBound:
    return StepBound()


def test_without_a_step_nothing_ends(bound: StepBound) -> None:
    bound.follow(1.0, FORWARD)
    assert bound.end_s() is None


def test_it_ends_when_the_velocity_in_force_has_covered_it(bound: StepBound) -> None:
    assert bound.admits(10.0, move(1), FORWARD)
    bound.follow(10.0, FORWARD)
    assert bound.end_s() == pytest.approx(10.4)
    bound.follow(10.2, Velocity(linear_x=0.1))
    assert bound.end_s() == pytest.approx(11.2)
    # Later than it should have ended, as when the thread was delayed: at once, or after its time.
    bound.follow(11.5, FORWARD)
    assert bound.end_s() == pytest.approx(11.5)


def test_a_turn_counts_in_radians(bound: StepBound) -> None:
    assert bound.admits(10.0, Step(id=1, angle_rad=0.25), TURN)
    bound.follow(10.0, TURN)
    assert bound.end_s() == pytest.approx(10.5)


@pytest.mark.parametrize(
    ('wanted', 'longest_s'), [(FORWARD, 1.8), (Velocity(linear_x=0.001), 5.0), (STANDING, 1.0)]
)
def test_it_ends_after_its_time_although_the_robot_stands(
    bound: StepBound, wanted: Velocity, longest_s: float
) -> None:
    assert bound.admits(10.0, move(1), wanted)
    assert bound.end_s() == pytest.approx(10.0 + longest_s)


def test_only_the_newest_number_moves_and_only_until_it_is_over(bound: StepBound) -> None:
    assert bound.admits(10.0, move(5), FORWARD)
    assert bound.admits(10.1, move(5), FORWARD)
    assert not bound.admits(10.2, move(4), FORWARD)
    bound.cancel()
    assert bound.end_s() is None
    assert not bound.admits(10.3, move(5), FORWARD)
    assert bound.admits(10.4, move(6), FORWARD)


def test_after_its_time_it_moves_nothing(bound: StepBound) -> None:
    assert bound.admits(10.0, move(1), FORWARD)
    assert bound.admits(11.7, move(1), FORWARD)
    assert not bound.admits(11.8, move(1), FORWARD)


def test_the_number_of_a_refused_command_is_used_up(bound: StepBound) -> None:
    assert bound.admits(10.0, move(3), FORWARD)
    assert bound.is_active
    bound.refuse(move(5))
    assert not bound.is_active
    assert not bound.admits(10.1, move(5), FORWARD)
    bound.refuse(move(4))
    bound.refuse(None)
    assert not bound.admits(10.2, move(5), FORWARD)
    assert bound.admits(10.3, move(6), FORWARD)


def test_time_that_goes_back_gives_nothing_back(bound: StepBound) -> None:
    bound.admits(10.0, move(1), FORWARD)
    bound.follow(10.2, FORWARD)
    bound.follow(10.1, FORWARD)
    assert bound.end_s() == pytest.approx(10.6)


def test_an_amount_is_the_one_that_is_given() -> None:
    assert move(1, 0.3).amount == 0.3
    assert Step(id=1, angle_rad=math.pi / 8).amount == math.pi / 8
