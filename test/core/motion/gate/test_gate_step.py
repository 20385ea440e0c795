"""The gate alone bounds a step: one press moves the robot by a distance or an angle."""

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
from dataclasses import replace
import heapq
import math

from gate_drive import (
    ACCELERATION,
    Drive,
    FORWARD,
    LATENCY_S,
    LIMITS,
    PERIOD_S,
    RELAXED,
    ZERO,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
import pytest

from teleop_webrtc_bridge.core.messages import DriveCommand, Step, Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict

STEP_M = 0.2
STEP_RAD = math.radians(15.0)
TURN = Velocity(angular_z=1.0)


class Stepper:
    """An operator who presses, and a base that moves exactly as it is told."""

    def __init__(self, *, acceleration: float = math.inf) -> None:
        self.drive = Drive(acceleration=acceleration)
        self.moved = 0.0
        """Metres and radians, added."""
        self._seen = 0
        self._speed, self._since_s = 0.0, self.drive.now
        self.drive.stream(ZERO, 0.2)
        self.look()

    def look(self) -> float:
        """Return how far the base has moved until now."""
        for at_s, velocity in self.drive.published[self._seen :]:
            self.moved += self._speed * (at_s - self._since_s)
            self._speed, self._since_s = math.hypot(*velocity.axes()), at_s
        self._seen = len(self.drive.published)
        return self.moved + self._speed * (self.drive.now - self._since_s)

    def send(
        self, step: Step | None, velocity: Velocity, *, delay_s: float = LATENCY_S
    ) -> CommandVerdict:
        command = DriveCommand(
            seq=0,
            stamp_s=self.drive.now - delay_s + self.drive.skew_s,
            frame_id='keyboard',
            velocity=velocity,
            step=step,
        )
        verdict = self.drive.gate.command(self.drive.now, command)
        self.drive.publish()
        return verdict

    def press(self, number: int, seconds: float, velocity: Velocity = FORWARD) -> None:
        """Repeat a step, as the page does while it lasts."""
        turns = velocity.angular_z != 0.0
        step = Step(
            id=number,
            distance_m=None if turns else STEP_M,
            angle_rad=STEP_RAD if turns else None,
        )
        for _ in range(round(seconds / PERIOD_S)):
            self.send(step, velocity)
            self.drive.wait(PERIOD_S)


@pytest.fixture
def stepper() -> Stepper:
    return Stepper()


@pytest.mark.parametrize('acceleration', [math.inf, ACCELERATION, 0.5])
@pytest.mark.parametrize(
    ('velocity', 'amount'),
    [
        (FORWARD, STEP_M),
        (Velocity(linear_x=-0.3), STEP_M),
        (Velocity(linear_y=0.4), STEP_M),
        (Velocity(linear_x=0.01), 0.05),
        (TURN, STEP_RAD),
        (Velocity(linear_x=9.0), STEP_M),
    ],
)
def test_a_step_moves_the_robot_by_its_amount(
    velocity: Velocity, amount: float, acceleration: float
) -> None:
    stepper = Stepper(acceleration=acceleration)
    stepper.press(1, 8.0, velocity)
    # A slow one is ended by the time, after five seconds.
    assert stepper.look() == pytest.approx(amount, abs=1e-3)
    assert not stepper.drive.gate.moving


def test_a_step_ends_by_itself_between_two_commands(stepper: Stepper) -> None:
    step = Step(id=1, distance_m=0.05)
    stepper.send(step, FORWARD)
    stepper.drive.wait(0.2)
    assert not stepper.drive.gate.moving
    assert stepper.look() == pytest.approx(0.05)


def test_a_step_whose_page_freezes_ends_at_the_time_out(stepper: Stepper) -> None:
    stepper.press(1, 0.1)
    stepper.drive.wait(5.0)
    assert stepper.look() == pytest.approx(0.5 * (0.08 + 0.25))
    stepper.press(1, 1.0)
    assert stepper.look() == pytest.approx(0.5 * (0.08 + 0.25)), 'its number is used up'


def test_a_new_press_is_a_new_step(stepper: Stepper) -> None:
    for number in (3, 4, 9):
        stepper.press(number, 1.0)
    assert stepper.look() == pytest.approx(3 * STEP_M)


def test_an_older_number_moves_nothing(stepper: Stepper) -> None:
    stepper.press(5, 1.0)
    stepper.press(4, 1.0)
    stepper.press(5, 1.0)
    assert stepper.look() == pytest.approx(STEP_M)


CANCELS: dict[str, Callable[[Stepper], object]] = {
    'zero': lambda it: it.send(None, ZERO),
    'estop': lambda it: it.drive.gate.set_estop(it.drive.now),
    'disabled': lambda it: it.drive.gate.set_enabled(it.drive.now, False),
    'stop': lambda it: it.drive.gate.stop(it.drive.now),
}


@pytest.mark.parametrize('name', CANCELS)
def test_a_cancelled_step_never_goes_on(stepper: Stepper, name: str) -> None:
    stepper.press(1, 0.1)
    CANCELS[name](stepper)
    stepper.drive.publish()
    assert not stepper.drive.gate.moving
    moved = stepper.look()
    stepper.drive.gate.clear_estop(stepper.drive.now)
    stepper.drive.gate.set_enabled(stepper.drive.now, True)
    stepper.press(1, 1.0)
    assert stepper.look() == moved
    stepper.drive.stream(ZERO, 0.1)
    stepper.press(2, 1.0)
    assert stepper.look() == pytest.approx(moved + STEP_M)


def test_a_step_that_was_refused_does_not_begin_later(stepper: Stepper) -> None:
    stepper.drive.gate.set_estop(stepper.drive.now)
    stepper.press(1, 0.2)
    stepper.drive.gate.clear_estop(stepper.drive.now)
    stepper.press(2, 0.2)
    stepper.drive.stream(ZERO, 0.1)
    stepper.press(1, 0.5)
    stepper.press(2, 0.5)
    assert stepper.look() == 0.0
    stepper.press(3, 1.0)
    assert stepper.look() == pytest.approx(STEP_M)


def test_the_number_of_a_refused_step_is_used_up(stepper: Stepper) -> None:
    stepper.drive.gate.set_enabled(stepper.drive.now, False)
    assert stepper.send(Step(id=1, distance_m=STEP_M), FORWARD) is CommandVerdict.DISABLED
    stepper.drive.gate.set_enabled(stepper.drive.now, True)
    stepper.drive.stream(ZERO, 0.1)
    stepper.press(1, 1.0)
    assert stepper.look() == 0.0


@pytest.mark.parametrize('other', [ZERO, FORWARD])
def test_any_other_command_ends_a_step(stepper: Stepper, other: Velocity) -> None:
    stepper.press(1, 0.1)
    stepper.drive.stream(other, 0.1)
    stepper.drive.stream(ZERO, 0.1)
    moved = stepper.look()
    stepper.press(1, 1.0)
    assert stepper.look() == pytest.approx(moved)


def test_numbers_of_another_operator_begin_anew(stepper: Stepper) -> None:
    stepper.press(7, 1.0)
    stepper.drive.gate.begin_control(stepper.drive.now)
    stepper.drive.stream(ZERO, 0.2)
    stepper.drive.wait(1.0)
    stepper.drive.stream(ZERO, 0.1)
    stepper.press(1, 2.0)
    assert stepper.look() == pytest.approx(2 * STEP_M)


def test_a_drive_may_follow_a_step(stepper: Stepper) -> None:
    stepper.press(1, 0.1)
    stepper.drive.stream(FORWARD, 1.0)
    assert stepper.drive.gate.moving


@pytest.mark.parametrize('late', [None, Step(id=2, distance_m=STEP_M)])
def test_a_late_command_does_not_end_the_bound(stepper: Stepper, late: Step | None) -> None:
    stepper.press(1, 0.36)
    velocity = ZERO if late is None else FORWARD
    assert stepper.send(late, velocity, delay_s=0.5) is CommandVerdict.OUT_OF_ORDER
    # And the page has gone.
    stepper.drive.wait(2.0)
    assert stepper.look() == pytest.approx(STEP_M)


def test_a_zero_from_before_the_press_does_not_swallow_it(stepper: Stepper) -> None:
    stepper.send(Step(id=1, distance_m=STEP_M), FORWARD)
    assert stepper.send(None, ZERO, delay_s=0.05) is CommandVerdict.OUT_OF_ORDER
    stepper.press(1, 1.0)
    assert stepper.look() == pytest.approx(STEP_M)


@pytest.mark.parametrize('other', [None, Step(id=1, distance_m=STEP_M)])
def test_a_lost_lease_stops_a_step_at_once(stepper: Stepper, other: Step | None) -> None:
    drive = stepper.drive
    drive.gate.echo_lease(drive.now, drive.gate.issue_lease(drive.now))
    stepper.press(1, 0.1, Velocity(linear_x=0.1))
    drive.wait(0.1)
    while drive.gate.refusal(drive.now) is None:
        stepper.send(Step(id=1, distance_m=STEP_M), Velocity(linear_x=0.1))
        drive.wait(PERIOD_S)
    moved = stepper.look()
    assert stepper.send(other, FORWARD) is CommandVerdict.NO_LEASE
    assert not drive.gate.moving
    drive.gate.echo_lease(drive.now, drive.gate.issue_lease(drive.now))
    stepper.press(1, 1.0)
    assert stepper.look() == pytest.approx(moved)


@pytest.mark.parametrize('before', [None, Step(id=1, distance_m=STEP_M)])
def test_a_press_in_motion_needs_neutral(stepper: Stepper, before: Step | None) -> None:
    for _ in range(5):
        stepper.send(before, FORWARD)
        stepper.drive.wait(PERIOD_S)
    moved = stepper.look()
    assert stepper.send(Step(id=2, distance_m=STEP_M), FORWARD) is CommandVerdict.NOT_NEUTRAL
    assert not stepper.drive.gate.moving
    stepper.press(2, 1.0)
    assert stepper.look() == pytest.approx(moved), 'it was refused once'
    stepper.press(3, 1.0)
    assert stepper.look() == pytest.approx(moved + STEP_M)


def test_a_step_that_is_held_back_ends_by_its_time(stepper: Stepper) -> None:
    drive = stepper.drive
    drive.gate.set_limits(drive.now, replace(LIMITS, blind_speed_factor=0.0))
    drive.gate.set_blind(drive.now, True)
    stepper.press(1, 2.0)
    assert stepper.look() == 0.0
    drive.gate.set_blind(drive.now, False)
    stepper.press(1, 1.0)
    assert stepper.look() == 0.0


class AnyOrder(RuleBasedStateMachine):
    """Steps, other commands and events, in any order."""

    @initialize(acceleration=st.sampled_from([0.5, ACCELERATION, math.inf]))
    def begin(self, acceleration: float) -> None:
        self.stepper = Stepper(acceleration=acceleration)
        self.moved: dict[int, float] = {}
        self.number = 0

    def repeat(self, number: int, count: int, period_s: float, delay_s: float) -> None:
        before = self.stepper.look()
        for _ in range(count):
            step = Step(id=number, distance_m=STEP_M)
            self.stepper.send(step, FORWARD, delay_s=delay_s)
            self.stepper.drive.wait(period_s)
        self.stepper.drive.wait(0.6)
        # The commands of this number alone have moved it.
        self.moved[number] = self.moved.get(number, 0.0) + self.stepper.look() - before

    @rule(
        back=st.integers(0, 2),
        count=st.integers(1, 60),
        period_s=st.sampled_from([0.005, 0.02, 0.1, 0.3]),
        delay_s=st.floats(0.0, 0.6),
        is_new=st.booleans(),
    )
    def step(self, back: int, count: int, period_s: float, delay_s: float, is_new: bool) -> None:
        self.number += is_new
        self.repeat(max(0, self.number - back), count, period_s, delay_s)

    @rule(name=st.sampled_from(sorted(CANCELS)))
    def cancel(self, name: str) -> None:
        CANCELS[name](self.stepper)
        self.stepper.drive.publish()

    @rule()
    def go_on(self) -> None:
        gate, now = self.stepper.drive.gate, self.stepper.drive.now
        gate.clear_estop(now)
        gate.set_enabled(now, True)
        self.stepper.drive.stream(ZERO, 0.1)

    @rule(blind=st.booleans())
    def blind(self, blind: bool) -> None:
        self.stepper.drive.gate.set_blind(self.stepper.drive.now, blind)
        self.stepper.drive.publish()

    @invariant()
    def no_step_goes_further_than_its_amount(self) -> None:
        for moved in getattr(self, 'moved', {}).values():
            assert moved <= STEP_M + 1e-3


AnyOrder.TestCase.settings = settings(RELAXED, max_examples=200, stateful_step_count=20)
TestAnyOrder = AnyOrder.TestCase


class OverTheAir(RuleBasedStateMachine):
    """A page's messages, lost and delayed one by one, so that they overtake each other."""

    @initialize(acceleration=st.sampled_from([0.5, ACCELERATION, math.inf]))
    def begin(self, acceleration: float) -> None:
        self.drive = Drive(acceleration=acceleration)
        self.page: tuple[Step | None, Velocity] = (None, ZERO)
        self.number = 0
        self.flying: list[tuple[float, int, DriveCommand]] = []
        self.sent = 0
        self.owner: int | None = None
        """Number of the step whose command passed last; ``None``: another command did."""
        self.moved: dict[int, float] = {}
        self.times: dict[int, tuple[float, float]] = {}
        """When a step began to move the robot, and when it last did."""
        self.force: tuple[float, float, int | None] = (self.drive.now, 0.0, None)
        """(since, speed, owner) of what the robot was told last."""
        self.seen = 0
        self.drive.stream(ZERO, 0.2)
        self.account()

    def account(self) -> None:
        """Book the way that the robot has gone to the step that moved it."""
        for at_s, velocity in self.drive.published[self.seen :]:
            self.book(at_s)
            self.force = at_s, math.hypot(*velocity.axes()), self.owner
        self.seen = len(self.drive.published)

    def book(self, until_s: float) -> None:
        since_s, speed, owner = self.force
        if speed > 0.0 and owner is not None:
            self.moved[owner] = self.moved.get(owner, 0.0) + speed * (until_s - since_s)
            first_s = self.times.get(owner, (since_s,))[0]
            self.times[owner] = first_s, until_s
        self.force = until_s, speed, owner

    def pass_time(self, until_s: float) -> None:
        self.drive.wait(until_s - self.drive.now)
        self.account()

    @rule(
        pages=st.lists(
            st.tuples(
                st.sampled_from(['press', 'press', 'again', 'old', 'zero', 'drive']),
                st.integers(1, 40),
                st.dictionaries(st.integers(0, 40), st.none() | st.floats(0.0, 0.7), max_size=3),
            ),
            min_size=1,
            max_size=4,
        ),
        speed=st.sampled_from([0.02, 0.5, 1.0]),
        usual_s=st.sampled_from([0.0, 0.03, 0.1]),
        last_zero_s=st.none() | st.floats(0.0, 0.7),
        is_neutral=st.booleans(),
        frozen_s=st.sampled_from([0.0, 0.0, 1.2]),
    )
    def page_sends(
        self,
        pages: list[tuple[str, int, dict[int, float | None]]],
        speed: float,
        usual_s: float,
        last_zero_s: float | None,
        is_neutral: bool,
        frozen_s: float,
    ) -> None:
        for what, count, others in pages:
            if is_neutral:
                self.page = None, ZERO
                self.send(5, usual_s, {4: last_zero_s})
            if what == 'press':
                self.number += 1
            step = Step(id=max(0, self.number - (what == 'old')), distance_m=STEP_M)
            self.page = {
                'zero': (None, ZERO),
                'drive': (None, FORWARD),
            }.get(what, (step, Velocity(linear_x=speed)))
            self.send(count, usual_s, others)
            self.arrive(self.drive.now + frozen_s)

    def send(self, count: int, usual_s: float, others: dict[int, float | None]) -> None:
        for i in range(count):
            delay_s = others.get(i, usual_s)
            self.sent += 1
            step, velocity = self.page
            command = DriveCommand(
                seq=self.sent,
                stamp_s=self.drive.now + self.drive.skew_s,
                frame_id='keyboard',
                velocity=velocity,
                step=step,
            )
            if delay_s is not None:
                heapq.heappush(self.flying, (self.drive.now + delay_s, self.sent, command))
            self.arrive(self.drive.now + PERIOD_S)

    def arrive(self, until_s: float) -> None:
        while self.flying and self.flying[0][0] <= until_s:
            at_s, _, command = heapq.heappop(self.flying)
            self.pass_time(max(at_s, self.drive.now))
            verdict = self.drive.gate.command(self.drive.now, command)
            if verdict is CommandVerdict.ACCEPTED:
                self.owner = command.step.id if command.step else None
            self.drive.publish()
            self.account()
        self.pass_time(until_s)

    @rule(
        event=st.sampled_from(['estop', 'disable', 'stop', 'blind', 'sight', 'lease']),
        goes_on=st.booleans(),
    )
    def happen(self, event: str, goes_on: bool) -> None:
        gate, now = self.drive.gate, self.drive.now
        if event == 'estop':
            gate.set_estop(now)
        elif event == 'disable':
            gate.set_enabled(now, False)
        elif event == 'stop':
            gate.stop(now)
        elif event == 'lease':
            # Once it has been echoed, it must be echoed again within half a second.
            gate.echo_lease(now, gate.issue_lease(now))
        else:
            gate.set_blind(now, event == 'blind')
        self.drive.publish()
        self.account()
        if goes_on:
            gate.clear_estop(now)
            gate.set_enabled(now, True)
            self.drive.publish()
            self.account()

    @invariant()
    def each_step_is_bounded(self) -> None:
        if not hasattr(self, 'moved'):
            return
        self.book(self.drive.now)
        for number, moved in self.moved.items():
            assert moved <= STEP_M + 1e-3, number
            first_s, last_s = self.times[number]
            assert last_s - first_s <= 5.0 + 1e-6, number


OverTheAir.TestCase.settings = settings(RELAXED, max_examples=200, stateful_step_count=20)
TestOverTheAir = OverTheAir.TestCase
