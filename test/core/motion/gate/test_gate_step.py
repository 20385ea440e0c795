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
import math

from gate_drive import ACCELERATION, Drive, FORWARD, LATENCY_S, PERIOD_S, RELAXED, ZERO
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
