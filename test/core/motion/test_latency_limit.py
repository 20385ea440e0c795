"""The speed that a latency allows, how it changes, and the verdict on a link."""

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

from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.motion.latency_limit import (
    allowed_factor,
    LatencyFactor,
    link_verdict,
    LinkVerdict,
)

FACTORS = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ('sum_s', 'factor'),
    [(0.0, 1.0), (0.2, 1.0), (0.25, 0.8), (0.4, 0.5), (2.0, 0.1), (60.0, 0.1), (None, 0.1)],
)
def test_the_distance_without_control_does_not_grow(sum_s: float | None, factor: float) -> None:
    # The examples of the ordinance: at 250 ms, 40 km/h instead of 50, and 64 instead of 80.
    assert allowed_factor(sum_s, budget_s=0.2, floor=0.1) == pytest.approx(factor)


def test_a_budget_of_zero_switches_the_limit_off() -> None:
    assert allowed_factor(None, budget_s=0.0, floor=0.1) == 1.0
    assert allowed_factor(60.0, budget_s=0.0, floor=0.1) == 1.0


@given(
    budget_s=st.floats(1e-3, 5.0),
    floor=FACTORS,
    one=st.floats(0.0, 60.0),
    more=st.floats(0.0, 60.0),
)
def test_a_longer_latency_never_allows_more(
    budget_s: float, floor: float, one: float, more: float
) -> None:
    short = allowed_factor(one, budget_s=budget_s, floor=floor)
    long = allowed_factor(one + more, budget_s=budget_s, floor=floor)
    assert floor <= long <= short <= 1.0
    assert allowed_factor(None, budget_s=budget_s, floor=floor) <= long


@given(steps=st.lists(st.tuples(st.floats(0.0, 2.0), FACTORS, st.booleans()), max_size=30))
def test_the_factor_in_force_follows_without_a_jerk(
    steps: list[tuple[float, float, bool]],
) -> None:
    factor, now, before = LatencyFactor(), 5.0, 1.0
    for elapsed_s, allowed, standing in steps:
        now += elapsed_s
        after = factor.follow(now, allowed, standing=standing)
        assert after == factor.value
        assert min(before, allowed) <= after <= max(before, allowed)
        assert after - before <= 0.5 * elapsed_s + 1e-9
        if standing:
            assert after <= allowed + 1e-9 or after <= before
        else:
            assert before - after <= 2.0 * elapsed_s + 1e-9
        before = after


def test_the_factor_has_followed_within_half_a_second() -> None:
    factor = LatencyFactor()
    factor.follow(0.0, 1.0, standing=False)
    values = [factor.follow(0.02 * n, 0.2, standing=False) for n in range(1, 26)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.2)


def test_a_robot_that_stands_gets_the_lower_factor_at_once() -> None:
    factor = LatencyFactor()
    assert factor.follow(0.0, 0.3, standing=True) == 0.3
    assert factor.follow(1.0, 1.0, standing=True) == pytest.approx(0.8)


def test_time_that_goes_back_changes_nothing() -> None:
    factor = LatencyFactor()
    factor.follow(5.0, 0.3, standing=True)
    assert factor.follow(4.0, 1.0, standing=False) == 0.3
    assert factor.follow(5.0, 1.0, standing=False) == 0.3


GOOD_VIDEO = {'loss_pct': 0.5, 'jitter_ms': 8.0, 'fps': 30.0}


@pytest.mark.parametrize(
    ('sum_s', 'video', 'verdict'),
    [
        (0.1, GOOD_VIDEO, LinkVerdict.GOOD),
        (0.1, {}, LinkVerdict.GOOD),
        (0.21, GOOD_VIDEO, LinkVerdict.SLOW),
        (0.51, GOOD_VIDEO, LinkVerdict.BAD),
        (None, GOOD_VIDEO, LinkVerdict.BAD),
        (0.1, GOOD_VIDEO | {'loss_pct': 3.0}, LinkVerdict.SLOW),
        (0.1, GOOD_VIDEO | {'loss_pct': 11.0}, LinkVerdict.BAD),
        (0.1, GOOD_VIDEO | {'jitter_ms': 31.0}, LinkVerdict.SLOW),
        (0.1, GOOD_VIDEO | {'jitter_ms': 101.0}, LinkVerdict.BAD),
        (0.1, GOOD_VIDEO | {'fps': 14.0}, LinkVerdict.SLOW),
        (0.1, GOOD_VIDEO | {'fps': 4.0}, LinkVerdict.BAD),
    ],
)
def test_the_worst_figure_decides_the_verdict(
    sum_s: float | None, video: dict[str, float], verdict: LinkVerdict
) -> None:
    assert link_verdict(sum_s, video) is verdict
