"""The last step before a velocity is published: speeds, acceleration, no NaN, no infinity."""

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

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.motion.velocity_limits import GateLimits, limit_rise, LONGEST_STEP_S

MAX_AXES = (1.0, 0.5, 0.25, 0.0, 2.0, 1.5)
ACCELERATION = (2.0, 1.0, 0.5, 3.0, 4.0, 6.0)
LIMITS = GateLimits(command_timeout_s=0.25, max_axes=MAX_AXES, max_acceleration=ACCELERATION)
ZERO = Velocity()

ANY_VELOCITY = st.builds(Velocity, **dict.fromkeys(Velocity.__dataclass_fields__, st.floats()))
SPEED = st.floats(-10.0, 10.0)
STEP = st.floats(0.0, 10.0)


def velocity(axes: tuple[float, ...]) -> Velocity:
    return Velocity(**dict(zip(Velocity.__dataclass_fields__, axes, strict=True)))


# --- speeds ----------------------------------------------------------------------------------


def test_each_axis_has_its_own_largest_speed_both_ways() -> None:
    assert LIMITS.clamp(velocity((9.0,) * 6)).axes() == MAX_AXES
    assert LIMITS.clamp(velocity((-9.0,) * 6)).axes() == tuple(-limit for limit in MAX_AXES)


def test_what_is_within_the_limits_is_left_alone() -> None:
    for wanted in (ZERO, velocity(MAX_AXES), velocity((-0.9, 0.4, -0.2, 0.0, 1.9, -1.4))):
        assert LIMITS.clamp(wanted) == wanted


def test_a_factor_scales_the_largest_speeds_not_the_wanted_one() -> None:
    assert LIMITS.clamp(velocity((9.0,) * 6), 0.5).axes() == tuple(v / 2 for v in MAX_AXES)
    assert LIMITS.clamp(Velocity(linear_x=0.4), 0.5) == Velocity(linear_x=0.4)
    assert LIMITS.clamp(velocity((-9.0,) * 6), 0.0) == ZERO


@given(wanted=ANY_VELOCITY, factor=st.floats(0.0, 1.0))
@settings(max_examples=500)
def test_whatever_is_wanted_what_is_allowed_is_finite_and_within_the_limits(
    wanted: Velocity, factor: float
) -> None:
    allowed = LIMITS.clamp(wanted, factor)
    for value, limit, asked in zip(allowed.axes(), MAX_AXES, wanted.axes(), strict=True):
        assert abs(value) <= limit * factor
        assert value == 0.0 or (value > 0.0) == (asked > 0.0)
    assert LIMITS.clamp(allowed, factor) == allowed


def test_not_a_number_is_no_speed_at_all() -> None:
    assert LIMITS.clamp(velocity((math.nan,) * 6)) == ZERO


# --- acceleration ----------------------------------------------------------------------------


def test_each_axis_rises_by_its_own_acceleration() -> None:
    wanted = velocity((9.0, -9.0, 9.0, -9.0, 9.0, -9.0))
    risen = LIMITS.rise(ZERO, wanted, 0.05)
    assert risen.axes() == pytest.approx((0.1, -0.05, 0.025, -0.15, 0.2, -0.3))
    again = LIMITS.rise(risen, wanted, 0.05)
    assert again.axes() == pytest.approx((0.2, -0.1, 0.05, -0.3, 0.4, -0.6))


def test_a_pause_does_not_save_up_acceleration() -> None:
    wanted = velocity((9.0,) * 6)
    longest = LIMITS.rise(ZERO, wanted, LONGEST_STEP_S)
    assert longest.axes() == pytest.approx(tuple(0.1 * a for a in ACCELERATION))
    for elapsed_s in (0.1001, 60.0, math.inf):
        assert LIMITS.rise(ZERO, wanted, elapsed_s) == longest


@pytest.mark.parametrize('elapsed_s', [0.0, -0.001, -0.6, -1e9])
def test_time_that_does_not_pass_or_runs_back_raises_nothing(elapsed_s: float) -> None:
    # Commands keep their arrival while the drive thread stands still; other events do not.
    present = velocity((0.5, -0.2, 0.0, 0.0, 1.0, -1.0))
    for wanted in (velocity((9.0, -9.0, 9.0, 9.0, 9.0, -9.0)), present):
        assert LIMITS.rise(present, wanted, elapsed_s) == present
    assert LIMITS.rise(present, ZERO, elapsed_s) == ZERO
    assert LIMITS.rise(ZERO, Velocity(linear_x=0.5), elapsed_s) == ZERO


def test_slowing_down_and_stopping_are_not_limited() -> None:
    present = velocity((1.0, -0.5, 0.25, 0.0, 2.0, -1.5))
    slower = velocity((0.1, -0.1, 0.0, 0.0, 0.2, -0.3))
    assert LIMITS.rise(present, slower, 0.001) == slower
    assert LIMITS.rise(present, ZERO, 0.0) == ZERO


def test_without_an_acceleration_limit_a_velocity_is_there_at_once() -> None:
    free = GateLimits(command_timeout_s=0.25, max_axes=MAX_AXES)
    wanted = velocity((1.0, -0.5, 0.25, 0.0, 2.0, -1.5))
    for elapsed_s in (-1.0, 0.0, 0.02, math.inf):
        assert free.rise(ZERO, wanted, elapsed_s) == wanted


def test_one_axis_may_be_limited_and_another_free() -> None:
    limits = GateLimits(
        command_timeout_s=0.25, max_axes=MAX_AXES, max_acceleration=(math.inf,) * 5 + (1.0,)
    )
    risen = limits.rise(ZERO, Velocity(linear_x=1.0, angular_z=1.0), 0.1)
    assert risen == Velocity(linear_x=1.0, angular_z=0.1)


def test_the_other_way_round_is_a_stop_and_a_beginning_from_zero() -> None:
    assert limit_rise(1.0, -1.0, 0.1) == -0.1
    assert limit_rise(-1.0, 1.0, 0.1) == 0.1
    assert limit_rise(1.0, -0.05, 0.1) == -0.05
    assert limit_rise(1.0, -1.0, math.inf) == -1.0
    assert limit_rise(1.0, -1.0, 0.0) == 0.0


def test_on_the_same_side_a_step_is_added() -> None:
    assert limit_rise(0.5, 1.0, 0.1) == 0.6
    assert limit_rise(-0.5, -1.0, 0.1) == -0.6
    assert limit_rise(0.5, 0.55, 0.1) == 0.55
    assert limit_rise(0.0, 1.0, 0.1) == 0.1


@given(present=SPEED, wanted=SPEED, step=STEP)
@settings(max_examples=1000)
def test_a_speed_never_exceeds_what_is_wanted_nor_rises_by_more_than_a_step(
    present: float, wanted: float, step: float
) -> None:
    risen = limit_rise(present, wanted, step)
    assert abs(risen) <= abs(wanted)
    assert abs(risen) <= abs(present) + step
    assert risen * wanted >= 0.0
    if present * wanted < 0.0:
        assert abs(risen) <= step
    if abs(wanted) <= abs(present) and present * wanted > 0.0:
        assert risen == wanted


@given(wanted=ANY_VELOCITY, present=ANY_VELOCITY, elapsed_s=st.floats(allow_nan=False))
@settings(max_examples=500)
def test_a_risen_velocity_is_within_the_limits_whatever_the_time(
    wanted: Velocity, present: Velocity, elapsed_s: float
) -> None:
    risen = LIMITS.rise(LIMITS.clamp(present), LIMITS.clamp(wanted), elapsed_s)
    assert all(abs(v) <= limit for v, limit in zip(risen.axes(), MAX_AXES, strict=True))


def test_limits_need_six_axes() -> None:
    short = GateLimits(command_timeout_s=0.25, max_axes=(1.0,), max_acceleration=(1.0,))
    with pytest.raises(ValueError, match='shorter|longer'):
        short.clamp(ZERO)
    with pytest.raises(ValueError, match='shorter|longer'):
        short.rise(ZERO, ZERO, 0.02)


def test_defaults_limit_no_acceleration_and_slow_a_blind_operator_to_a_third_or_so() -> None:
    defaults = GateLimits(command_timeout_s=0.25, max_axes=MAX_AXES)
    assert defaults.max_acceleration == (math.inf,) * 6
    assert defaults.blind_speed_factor == 0.3
