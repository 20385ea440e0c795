"""The gate limits the speed by the latency that the operator's page reports."""

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

from gate_drive import Drive, FORWARD, LIMITS, PERIOD_S, RELAXED, ZERO
from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.messages import Latency, Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict

BUDGET_S = 0.2
FLOOR = 0.1
FULL = Velocity(linear_x=1.0)
LIMITED = replace(LIMITS, latency_budget_s=BUDGET_S, latency_speed_floor=FLOOR)


def latency(picture_s: float | None, command_s: float | None = 0.0) -> Latency:
    return Latency(picture_s=picture_s, command_s=command_s)


class Page:
    """An operator's page that holds a key, and echoes each token with what it measured."""

    def __init__(self, *, told: Latency | None, round_trip_s: float = 0.0) -> None:
        self.drive = Drive()
        self.drive.gate.set_limits(self.drive.now, LIMITED)
        self.drive.gate.begin_control(self.drive.now)
        self.told = told
        self.round_trip_s = round_trip_s
        self.run(2.0, ZERO)

    def run(self, seconds: float, wanted: Velocity = FULL) -> list[float]:
        """Return the speeds that were published."""
        drive, first = self.drive, len(self.drive.published)
        under_way: list[tuple[float, int]] = []
        for number in range(round(seconds / PERIOD_S)):
            if number % 2 == 0:
                token = drive.gate.issue_lease(drive.now)
                under_way.append((drive.now + self.round_trip_s, token))
            while under_way and under_way[0][0] <= drive.now:
                drive.gate.echo_lease(drive.now, under_way.pop(0)[1], True, self.told)
            drive.send(wanted)
            drive.wait(PERIOD_S)
        return [velocity.linear_x for _, velocity in drive.published[first:]]


@pytest.mark.parametrize(
    ('told', 'speed'),
    [
        (latency(0.1, 0.05), 1.0),
        (latency(0.2, 0.05), 0.8),
        (latency(0.3, 0.1), 0.5),
        (latency(5.0), FLOOR),
        (latency(None), FLOOR),
        (latency(0.1, None), FLOOR),
        (None, 1.0),
    ],
)
def test_the_speed_is_what_the_latency_allows(told: Latency | None, speed: float) -> None:
    page = Page(told=told)
    assert page.run(3.0)[-1] == pytest.approx(speed)
    assert page.drive.gate.latency_factor == pytest.approx(speed)


def test_a_report_cannot_be_better_than_the_round_trip() -> None:
    page = Page(told=latency(0.0), round_trip_s=0.4)
    assert page.drive.gate.latency_sum_s(page.drive.now) == pytest.approx(0.4, rel=0.06)
    assert page.run(2.0)[-1] == pytest.approx(0.5, rel=0.06)


def test_a_page_that_measures_nothing_is_judged_by_the_round_trip() -> None:
    page = Page(told=None, round_trip_s=0.4)
    assert page.run(2.0)[-1] == pytest.approx(0.5, rel=0.06)
    assert not page.drive.gate.tells_latency


def test_a_page_that_stops_reporting_is_slow_after_a_second() -> None:
    page = Page(told=latency(0.1))
    assert page.run(2.0)[-1] == 1.0
    page.told = None
    assert page.run(0.9)[-1] == 1.0
    assert page.run(1.0)[-1] == pytest.approx(FLOOR)
    assert page.drive.gate.latency_sum_s(page.drive.now) is None


def test_the_first_motion_is_limited_already() -> None:
    page = Page(told=latency(2.0))
    speeds = page.run(1.0)
    assert max(speeds) <= FLOOR + 1e-9


def test_a_robot_without_cameras_has_no_picture_that_could_be_late() -> None:
    page = Page(told=latency(None, 0.05))
    page.drive.gate.set_cameras(page.drive.now, False)
    assert page.run(3.0)[-1] == 1.0


def test_the_limit_follows_within_a_second_and_without_a_jerk() -> None:
    page = Page(told=latency(0.1))
    page.run(1.0)
    page.told = latency(0.7)
    falling = page.run(1.0)
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(BUDGET_S / 0.7)
    steps = [before - after for before, after in itertools.pairwise(falling)]
    assert max(steps) <= 2.0 * PERIOD_S + 1e-9
    page.told = latency(0.1)
    rising = page.run(3.0)
    assert rising == sorted(rising)
    assert rising[-1] == 1.0
    assert max(b - a for a, b in itertools.pairwise(rising)) <= 0.5 * PERIOD_S + 1e-9


def test_the_smaller_of_two_limits_applies() -> None:
    page = Page(told=latency(0.4))
    page.drive.gate.set_blind(page.drive.now, True)
    assert page.run(2.0)[-1] == pytest.approx(0.3)
    page.drive.gate.set_limits(page.drive.now, replace(LIMITED, blind_speed_factor=0.9))
    assert page.run(2.0)[-1] == pytest.approx(0.5)


def test_another_operator_is_judged_anew() -> None:
    page = Page(told=latency(2.0))
    page.drive.gate.begin_control(page.drive.now)
    assert not page.drive.gate.tells_latency
    assert page.drive.gate.latency(page.drive.now) == latency(None, None)


def test_a_slow_command_is_not_touched() -> None:
    page = Page(told=latency(0.4))
    assert page.run(1.0, FORWARD)[-1] == FORWARD.linear_x
    assert not page.drive.gate.limiting


REPORTS = st.one_of(
    st.none(),
    st.builds(
        latency,
        st.one_of(st.none(), st.floats(0.0, 60.0)),
        st.one_of(st.none(), st.floats(0.0, 60.0)),
    ),
)


@RELAXED
@given(
    first=REPORTS.filter(lambda told: told is not None),
    phases=st.lists(
        st.tuples(REPORTS, st.floats(0.0, 0.4), st.sampled_from([0.02, 0.3, 1.4])), max_size=8
    ),
)
def test_never_faster_than_the_reports_allow(
    first: Latency, phases: list[tuple[Latency | None, float, float]]
) -> None:
    page = Page(told=first)
    gate = page.drive.gate
    for told, round_trip_s, seconds in phases:
        page.told, page.round_trip_s = told, round_trip_s
        start_s = page.drive.now
        before = gate.latency_factor
        speeds = page.run(seconds)
        assert all(0.0 <= speed <= 1.0 for speed in speeds)
        # Whoever reported once is slow while nothing recent is known.
        known = gate.latency_sum_s(page.drive.now)
        allowed = FLOOR if known is None else max(FLOOR, min(1.0, BUDGET_S / max(known, 1e-9)))
        elapsed_s = page.drive.now - start_s
        assert gate.latency_factor <= max(allowed, before - 2.0 * (elapsed_s - 1.2), FLOOR) + 1e-6
        if gate.moving and speeds:
            assert speeds[-1] <= max(before, allowed) + 0.5 * elapsed_s + 1e-6


@pytest.mark.parametrize('told', [latency(None), latency(60.0), latency(0.0)])
def test_an_estop_does_not_depend_on_latency(told: Latency) -> None:
    page = Page(told=told)
    page.run(1.0)
    page.drive.gate.set_estop(page.drive.now)
    page.drive.publish()
    assert page.drive.published[-1][1].is_zero()
    assert page.drive.send(FULL) is CommandVerdict.LATCHED
