"""Joy and poses follow the command gate: what stops the base stops them."""

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

from gate_drive import LIMITS, RELAXED, ZERO
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
import pytest

from teleop_webrtc_bridge.core.messages import DriveCommand, JoyState, Pose, PoseCommand
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate
from teleop_webrtc_bridge.core.motion.other_devices import JoyGate, PoseGate

TIMEOUT_S = LIMITS.command_timeout_s
REST = ((0.0, 0.0), (0, 0, 0))
PUSHED = ((0.5, -1.0), (0, 0, 1))
DRIFT = ((0.04, 0.0), (0, 0, 0))
UNIT = (0.0, 0.0, 0.0, 1.0)


class Hand:
    """An operator with a controller, and the drive thread, with time that the test advances."""

    def __init__(self, *, while_estopped: bool = False) -> None:
        self.gate = CommandGate(LIMITS)
        self.joy = JoyGate(self.gate, while_estopped=while_estopped)
        self.now = 1000.0
        self.published: list[tuple[float, JoyState]] = []
        self.seq = 0

    def publish(self) -> None:
        self.published += [(self.now, state) for state in self.joy.output(self.now)]

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        self.publish()
        while (deadline := self.joy.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.publish()
        self.now = end

    def send(
        self,
        what: tuple[tuple[float, ...], tuple[int, ...]],
        *,
        delay_s: float = 0.03,
        device: str = 'gamepad',
        waited_s: float = 0.0,
    ) -> bool:
        self.seq += 1
        axes, buttons = what
        state = JoyState(
            seq=self.seq,
            stamp_s=self.now - delay_s - waited_s,
            frame_id=device,
            axes=axes,
            buttons=buttons,
        )
        passed = self.joy.take(self.now, state, self.now - waited_s)
        self.publish()
        return passed

    def stream(
        self, what: tuple[tuple[float, ...], tuple[int, ...]], seconds: float
    ) -> list[bool]:
        passed = []
        for _ in range(round(seconds / 0.04)):
            passed.append(self.send(what))
            self.wait(0.04)
        return passed

    def push(self) -> None:
        assert all(self.stream(REST, 0.2))
        assert all(self.stream(PUSHED, 0.4))
        assert self.last() == PUSHED

    def last(self) -> tuple[tuple[float, ...], tuple[int, ...]]:
        state = self.published[-1][1]
        return state.axes, state.buttons


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_all_axes_and_buttons_pass(hand: Hand) -> None:
    hand.push()
    assert hand.published[-1][1].frame_id == 'gamepad'


def test_a_device_that_is_held_from_the_start_must_be_released_first(hand: Hand) -> None:
    assert not any(hand.stream(PUSHED, 0.5))
    assert hand.published == []
    hand.push()


STOPS: dict[str, Callable[[Hand], object]] = {
    'estop': lambda hand: hand.gate.set_estop(hand.now),
    'disabled': lambda hand: hand.gate.set_enabled(hand.now, False),
    'another operator': lambda hand: hand.gate.begin_control(hand.now),
    'stop': lambda hand: hand.gate.stop(hand.now),
}


@pytest.mark.parametrize('name', STOPS)
def test_what_stops_the_base_sends_zeros_at_once_then_silence(hand: Hand, name: str) -> None:
    hand.push()
    STOPS[name](hand)
    hand.publish()
    assert hand.published[-1][0] == hand.now
    assert hand.last() == REST
    stopped_s, count = hand.now, len(hand.published)
    hand.wait(5.0)
    later = hand.published[count:]
    assert 15 <= len(later) <= 21
    assert later[-1][0] - stopped_s <= 1.0 + 1e-9
    assert all((state.axes, state.buttons) == REST for _, state in later)


@pytest.mark.parametrize('name', STOPS)
def test_after_a_stop_the_device_must_be_released_first(hand: Hand, name: str) -> None:
    hand.push()
    STOPS[name](hand)
    hand.gate.clear_estop(hand.now)
    hand.gate.set_enabled(hand.now, True)
    assert not any(hand.stream(PUSHED, 0.5))
    assert hand.last() == REST
    hand.push()


def test_silence_sends_zeros_at_the_time_out(hand: Hand) -> None:
    hand.push()
    sent_s = hand.now - 0.04
    hand.wait(1.0)
    first = next(at_s for at_s, state in hand.published if at_s > sent_s and state.axes == REST[0])
    assert first == pytest.approx(sent_s + TIMEOUT_S)
    assert not hand.send(PUSHED)
    hand.wait(0.04)
    hand.push()


def test_a_lapsed_lease_refuses(hand: Hand) -> None:
    token = hand.gate.issue_lease(hand.now)
    hand.gate.echo_lease(hand.now, token)
    assert all(hand.stream(REST, 0.2) + hand.stream(PUSHED, 0.2))
    assert not hand.stream(PUSHED, 0.6)[-1]
    assert hand.last() == REST


def test_old_and_repeated_states_are_refused(hand: Hand) -> None:
    hand.push()
    assert not hand.send(PUSHED, delay_s=0.7)
    hand.wait(0.02)
    state = JoyState(seq=1, stamp_s=hand.now - 0.2, frame_id='', axes=PUSHED[0], buttons=PUSHED[1])
    assert not hand.joy.take(hand.now, state)


def test_at_most_50_a_second_are_published_and_no_press_is_lost(hand: Hand) -> None:
    hand.stream(REST, 0.2)
    begun_s, count = hand.now, len(hand.published)
    for number in range(400):
        pressed = (1, 0, 0) if number == 101 else (0, 0, 0)
        hand.send(((0.5, 0.0), pressed))
        hand.wait(0.0025)
    published = hand.published[count:]
    assert len(published) <= 50 * (hand.now - begun_s) + 1
    assert any(state.buttons == (1, 0, 0) for _, state in published)


def test_a_press_that_was_kept_ends_when_it_ended(hand: Hand) -> None:
    hand.stream(REST, 0.2)
    for pressed in (0, 1, 0):
        hand.send(((0.5, 0.0), (pressed, 0, 0)))
        hand.wait(0.001)
    hand.wait(0.1)
    assert [state.buttons[0] for _, state in hand.published[-3:]] == [0, 1, 0]


def test_a_stick_that_drifts_rests_but_is_not_left_in_force(hand: Hand) -> None:
    assert all(hand.stream(DRIFT, 0.2)), 'it counts as neutral'
    assert hand.last() == DRIFT
    hand.wait(1.0)
    assert hand.last() == REST


def test_a_device_may_have_other_buttons_than_before(hand: Hand) -> None:
    hand.push()
    for other in (((0.1,), (1,)), ((0.1,) * 3, (1,) * 5)):
        assert hand.send(other)
        hand.wait(0.001)
    hand.wait(0.05)
    assert hand.last() == ((0.1,) * 3, (1,) * 5)


def test_another_device_follows_after_zeros_and_neutral(hand: Hand) -> None:
    hand.push()
    other = ((0.1,) * 3, (1,) * 5)
    assert not hand.send(other, device='vr')
    assert hand.last() == REST
    assert hand.published[-1][1].frame_id == 'gamepad'
    hand.wait(0.04)
    assert not hand.send(other, device='vr')
    hand.wait(0.04)
    assert hand.send(((0.0,) * 3, (0,) * 5), device='vr')
    hand.wait(0.04)
    assert hand.send(other, device='vr')
    hand.wait(0.04)
    assert hand.last() == other
    later = [state for _, state in hand.published if state.frame_id == 'vr']
    assert hand.published[-len(later) :] == [
        it for it in hand.published if it[1].frame_id == 'vr'
    ], 'the zeros of the other device do not go on'


def test_zeros_of_a_device_are_not_replaced_by_another_ones_state(hand: Hand) -> None:
    hand.push()
    for device in ('vr', 'vr'):
        state = JoyState(seq=0, stamp_s=hand.now, frame_id=device, axes=(), buttons=())
        hand.joy.take(hand.now, state)
    hand.publish()
    assert hand.published[-1][1].frame_id == 'gamepad'
    assert hand.last() == REST


def test_the_controllers_of_both_hands_stop_by_themselves(hand: Hand) -> None:
    for what, count in ((REST, 5), (PUSHED, 10)):
        for _ in range(count):
            for device in ('left', 'right'):
                assert hand.send(what, device=device)
            hand.wait(0.02)
    for device in ('left', 'right'):
        newest = [state for _, state in hand.published if state.frame_id == device][-1]
        assert newest.axes == PUSHED[0]
    count = len(hand.published)
    for _ in range(40):
        assert hand.send(PUSHED, device='right')
        hand.wait(0.02)
    later = [state for _, state in hand.published[count:]]
    assert [state.axes for state in later if state.frame_id == 'left'][-1] == REST[0]
    assert {state.axes for state in later if state.frame_id == 'right'} == {PUSHED[0]}
    hand.gate.set_estop(hand.now)
    hand.publish()
    assert hand.last() == REST
    assert hand.published[-1][1].frame_id == 'right'


def test_after_a_sleep_of_the_drive_thread_the_device_must_be_released(hand: Hand) -> None:
    hand.push()
    hand.now += 1.0
    assert not hand.send(PUSHED, waited_s=0.9)
    assert not hand.send(PUSHED)
    assert hand.last() == REST
    hand.wait(0.04)
    hand.push()


def test_a_state_that_waited_too_long_is_refused(hand: Hand) -> None:
    assert not hand.send(REST, waited_s=TIMEOUT_S)
    assert hand.send(REST, waited_s=0.5 * TIMEOUT_S)


def test_after_a_step_of_the_operators_clock_the_device_must_be_released(hand: Hand) -> None:
    hand.stream(REST, 0.4)
    assert not any([hand.send(PUSHED, delay_s=5.0), hand.send(PUSHED, delay_s=4.999)])
    for _ in range(20):
        hand.wait(0.04)
        assert not hand.send(PUSHED, delay_s=5.0)
    hand.wait(0.04)
    assert hand.send(REST, delay_s=5.0)


def test_at_the_end_of_the_bridge_a_device_is_released(hand: Hand) -> None:
    assert hand.joy.end() == []
    hand.push()
    assert [(state.axes, state.buttons) for state in hand.joy.end()] == [REST]


def test_while_estopped_the_owner_may_let_it_pass() -> None:
    hand = Hand(while_estopped=True)
    hand.push()
    hand.gate.set_estop(hand.now)
    hand.publish()
    assert hand.last() == REST, 'the press stops it in any case'
    hand.push()


@pytest.mark.parametrize('name', ['disabled', 'lapsed'])
def test_while_estopped_everything_else_still_stops(name: str) -> None:
    hand = Hand(while_estopped=True)
    hand.gate.set_estop(hand.now)
    hand.push()
    if name == 'disabled':
        hand.gate.set_enabled(hand.now, False)
    else:
        hand.gate.echo_lease(hand.now, hand.gate.issue_lease(hand.now))
        hand.stream(PUSHED, 0.7)
    hand.publish()
    assert hand.last() == REST
    assert not any(hand.stream(REST, 0.2))


class AnyOrder(RuleBasedStateMachine):
    """States, events and the passing of time, in any order."""

    @initialize(while_estopped=st.booleans())
    def begin(self, while_estopped: bool) -> None:
        self.hand = Hand(while_estopped=while_estopped)
        self.while_estopped = while_estopped
        self.needs_neutral = True
        self.passed_s = -math.inf

    @rule(what=st.sampled_from([REST, DRIFT, PUSHED]), delay_s=st.floats(-1.0, 2.0))
    def send(self, what: tuple[tuple[float, ...], tuple[int, ...]], delay_s: float) -> None:
        if self.hand.now - self.passed_s >= TIMEOUT_S:
            self.needs_neutral = self.needs_neutral or self.is_pushed()
        passed = self.hand.send(what, delay_s=delay_s)
        if passed:
            assert what != PUSHED or not self.needs_neutral
            assert self.allowed()
            self.needs_neutral = False
            self.passed_s = self.hand.now

    def is_pushed(self) -> bool:
        return bool(self.hand.published) and self.hand.last() != REST

    def allowed(self) -> bool:
        estopped = self.hand.gate.estopped and not self.while_estopped
        return not estopped and self.hand.gate.enabled

    @rule(seconds=st.floats(0.0, 2.0))
    def wait(self, seconds: float) -> None:
        self.hand.wait(seconds)

    @rule(name=st.sampled_from(sorted(STOPS)))
    def stop(self, name: str) -> None:
        stops = self.hand.gate.stops
        STOPS[name](self.hand)
        self.needs_neutral = self.needs_neutral or self.hand.gate.stops != stops
        self.hand.publish()

    @rule()
    def release(self) -> None:
        self.hand.gate.clear_estop(self.hand.now)
        self.needs_neutral = True
        self.hand.publish()

    @rule()
    def enable(self) -> None:
        stops = self.hand.gate.stops
        self.hand.gate.set_enabled(self.hand.now, True)
        self.needs_neutral = self.needs_neutral or self.hand.gate.stops != stops
        self.hand.publish()

    @rule()
    def drive_the_base(self) -> None:
        command = DriveCommand(seq=0, stamp_s=self.hand.now - 0.03, frame_id='', velocity=ZERO)
        self.hand.gate.command(self.hand.now, command)

    @invariant()
    def nothing_is_pushed_that_may_not_be(self) -> None:
        if not hasattr(self, 'hand') or not self.is_pushed():
            return
        assert self.allowed()
        assert self.hand.now < self.passed_s + TIMEOUT_S + 0.5
        deadline = self.hand.joy.deadline()
        assert deadline is not None
        assert deadline <= self.passed_s + 2 * TIMEOUT_S


AnyOrder.TestCase.settings = settings(RELAXED, max_examples=300, stateful_step_count=30)
TestAnyOrder = AnyOrder.TestCase


# --- poses -----------------------------------------------------------------------------------


def pose_at(x: float, y: float, z: float, turn: tuple[float, ...] = UNIT) -> Pose:
    a, b, c, d = turn
    return Pose(position=(x, y, z), orientation=(a, b, c, d))


def product(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    """Return the product of two quaternions, by their scalar and vector parts."""
    v, w, a, b = one[:3], other[:3], one[3], other[3]
    crossed = (v[1] * w[2] - v[2] * w[1], v[2] * w[0] - v[0] * w[2], v[0] * w[1] - v[1] * w[0])
    dot = sum(x * y for x, y in zip(v, w, strict=True))
    vector = (a * y + b * x + c for x, y, c in zip(v, w, crossed, strict=True))
    return (*vector, a * b - dot)


class Arm:
    """An operator's hands."""

    def __init__(self) -> None:
        self.gate = CommandGate(LIMITS)
        self.poses = PoseGate(self.gate)
        self.now = 1000.0

    def send(
        self, pose: Pose, *, hand: str = 'right', delay_s: float = 0.03, waited_s: float = 0.0
    ) -> Pose | None:
        self.now += 0.02
        stamp_s = self.now - delay_s - waited_s
        command = PoseCommand(seq=0, stamp_s=stamp_s, hand=hand, pose=pose)
        pose_out = self.poses.take(self.now, command, self.now - waited_s)
        self.poses.look(self.now)
        return pose_out


@pytest.fixture
def arm() -> Arm:
    return Arm()


def test_a_pose_is_relative_to_the_clutchs_start_with_the_axes_of_rep_103(arm: Arm) -> None:
    assert arm.send(pose_at(1.0, 1.5, -0.5)) == pose_at(0.0, 0.0, 0.0)
    # Forward is -z in WebXR, left is -x, up is y.
    moved = arm.send(pose_at(0.8, 1.6, -0.9))
    assert moved is not None
    assert moved.position == pytest.approx((0.4, 0.2, 0.1))


@pytest.mark.parametrize(
    ('webxr_axis', 'rep_103_axis'),
    [((0, 1, 0), (0, 0, 1)), ((1, 0, 0), (0, -1, 0)), ((0, 0, 1), (-1, 0, 0))],
)
def test_a_turn_of_the_hand_keeps_its_sense(
    arm: Arm, webxr_axis: tuple[int, ...], rep_103_axis: tuple[int, ...]
) -> None:
    half = math.radians(30.0) / 2
    start = (math.sin(0.4), 0.0, 0.0, math.cos(0.4))
    arm.send(pose_at(0.0, 0.0, 0.0, start))
    turn = (*(math.sin(half) * part for part in webxr_axis), math.cos(half))
    # The hand turns about an axis of the room, from where it started.
    turned = arm.send(pose_at(0.0, 0.0, 0.0, product(turn, start)))
    assert turned is not None
    expected = (*(math.sin(half) * part for part in rep_103_axis), math.cos(half))
    assert turned.orientation == pytest.approx(expected)


def test_each_hand_has_its_own_start(arm: Arm) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0), hand='right')
    assert arm.send(pose_at(5.0, 0.0, 0.0), hand='left') == pose_at(0.0, 0.0, 0.0)
    moved = arm.send(pose_at(2.0, 0.0, 0.0), hand='right')
    assert moved is not None
    assert moved.position == pytest.approx((0.0, -1.0, 0.0))


def test_a_new_clutch_begins_where_the_hand_is(arm: Arm) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0))
    arm.now += 0.4
    assert arm.send(pose_at(9.0, 0.0, 0.0)) == pose_at(0.0, 0.0, 0.0)


@pytest.mark.parametrize('name', ['estop', 'disabled', 'another operator', 'stop'])
def test_after_a_stop_the_clutch_must_be_released(arm: Arm, name: str) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0))
    STOPS[name](arm)  # type: ignore[arg-type]
    assert arm.send(pose_at(1.1, 0.0, 0.0)) is None
    arm.gate.clear_estop(arm.now)
    arm.gate.set_enabled(arm.now, True)
    assert [arm.send(pose_at(1.1, 0.0, 0.0)) for _ in range(100)] == [None] * 100
    arm.now += 0.4
    assert arm.send(pose_at(2.0, 0.0, 0.0)) == pose_at(0.0, 0.0, 0.0)


def test_an_old_pose_is_refused(arm: Arm) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0))
    assert arm.send(pose_at(1.1, 0.0, 0.0), delay_s=0.7) is None


def test_after_a_gap_nothing_is_relative_to_the_old_start(arm: Arm) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0))
    arm.now += 1.0
    assert arm.send(pose_at(9.0, 0.0, 0.0), delay_s=0.7) is None
    assert arm.send(pose_at(9.0, 0.0, 0.0)) == pose_at(0.0, 0.0, 0.0)


@pytest.mark.parametrize('name', ['estop', 'disabled', 'another operator', 'stop'])
def test_a_clutch_that_is_taken_long_after_a_stop_counts_at_once(arm: Arm, name: str) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0))
    STOPS[name](arm)  # type: ignore[arg-type]
    arm.gate.clear_estop(arm.now)
    arm.gate.set_enabled(arm.now, True)
    arm.poses.look(arm.now)
    arm.now += 0.4
    assert arm.send(pose_at(2.0, 0.0, 0.0)) == pose_at(0.0, 0.0, 0.0)


def test_poses_that_the_network_held_back_are_no_released_clutch(arm: Arm) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0))
    arm.gate.stop(arm.now)
    for number in range(3):
        delay_s = 0.03 if number == 0 else 0.43
        arm.now += 0.4 if number == 1 else 0.0
        assert arm.send(pose_at(1.1, 0.0, 0.0), delay_s=delay_s) is None


def test_poses_that_waited_for_the_drive_thread_are_over(arm: Arm) -> None:
    arm.send(pose_at(1.0, 0.0, 0.0))
    arm.now += 1.0
    assert arm.send(pose_at(1.1, 0.0, 0.0), waited_s=0.9) is None
    assert arm.send(pose_at(1.2, 0.0, 0.0)) is None
    arm.now += 0.4
    assert arm.send(pose_at(2.0, 0.0, 0.0)) == pose_at(0.0, 0.0, 0.0)


def test_after_a_step_of_the_operators_clock_the_clutch_must_be_released(arm: Arm) -> None:
    arm.gate.set_estop(arm.now)
    arm.send(pose_at(1.0, 0.0, 0.0))
    arm.gate.clear_estop(arm.now)
    assert arm.send(pose_at(1.0, 0.0, 0.0)) is None
    assert [arm.send(pose_at(1.0, 0.0, 0.0), delay_s=-5.0) for _ in range(5)].count(None) == 5
    arm.now += 0.4
    assert arm.send(pose_at(1.0, 0.0, 0.0), delay_s=-5.0) == pose_at(0.0, 0.0, 0.0)
