"""
The gates for what is not the base: ``sensor_msgs/Joy`` for the owner's nodes, and poses for arms.

They follow the command gate: what stops the base stops them, and afterwards they wait for neutral
too. Pure: time is an argument.
"""

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

from dataclasses import dataclass
from typing import Final

from teleop_webrtc_bridge.core.messages import HANDS, JoyState, Pose, PoseCommand
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate
from teleop_webrtc_bridge.core.motion.freshness import CommandVerdict, Freshness

__all__ = ['JoyGate', 'PoseGate']

PERIOD_S: Final = 0.02
"""Least time between two published states: 50 Hz."""
ZEROS_S: Final = 1.0
"""How long zeros are repeated after a stop."""
ZERO_PERIOD_S: Final = 0.05
REST: Final = 0.05
"""An axis this close to zero rests: sticks drift."""
CLUTCH_GAP_S: Final = 0.3
"""A longer gap in the poses of a hand means that it has released the clutch."""
NEVER_S: Final = float('-inf')


class _Follower:
    """Notes whether the command gate has stopped, and judges what is fresh."""

    def __init__(self, gate: CommandGate, *, while_estopped: bool = False) -> None:
        self._gate = gate
        self._while_estopped = while_estopped
        self._stops = gate.stops
        self._began_s = gate.began_s
        self._freshness = Freshness()

    def has_stopped(self) -> bool:
        """Return whether the base was stopped since the last call."""
        if self._gate.began_s != self._began_s:
            self._began_s = self._gate.began_s
            self._freshness = Freshness()
        stops, self._stops = self._stops, self._gate.stops
        return self._stops != stops

    def refuses(self, now: float) -> bool:
        """Return whether the base would refuse every command now."""
        return self._gate.refusal(now, although_latched=self._while_estopped) is not None

    def judge(self, now: float, stamp_s: float, *, standing: bool) -> CommandVerdict:
        """Judge whether a message with this stamp is recent, and newer than those before."""
        verdict = self._freshness.judge(now, stamp_s, standing=standing)
        if verdict is CommandVerdict.ACCEPTED:
            self._freshness.advance(stamp_s)
        return verdict

    def is_silent(self, now: float, heard_s: float) -> bool:
        """Return whether nothing that arrived at ``heard_s`` may be in force any longer."""
        return now >= self.silent_s(heard_s)

    def silent_s(self, heard_s: float) -> float:
        """Return when what arrived at ``heard_s`` ends."""
        return heard_s + self._gate.command_timeout_s()


class _Controller:
    """
    Decides what is published of one hand controller.

    :param follower: Follows the command gate.
    """

    def __init__(self, follower: _Follower) -> None:
        self._follower = follower
        self._armed = False
        self._state: JoyState | None = None
        """The state in force; ``None``: none was ever taken."""
        self._next: JoyState | None = None
        """What follows the state in force, which has a press that is over; ``None``: nothing."""
        self._taken_s = 0.0
        self._is_due = False
        """Whether the state in force has not been published yet."""
        self._published_s = NEVER_S
        self._zeros_until_s = NEVER_S

    @property
    def _is_active(self) -> bool:
        """Whether the state in force is anything but zeros."""
        return self._state is not None and not self._state.is_neutral(0.0)

    def take(self, now: float, state: JoyState, arrival_s: float) -> bool:
        self.look(now)
        verdict = self._follower.judge(arrival_s, state.stamp_s, standing=not self._is_active)
        if verdict is CommandVerdict.CLOCK_STEP:
            self._armed = False
        if (
            verdict is not CommandVerdict.ACCEPTED
            or self._follower.refuses(now)
            or self._follower.is_silent(now, arrival_s)
            or not self._gives_way_to(state, now)
        ):
            return False
        self._armed = self._armed or state.is_neutral(REST)
        if not self._armed:
            return False
        self._next = None
        if self._is_due and self._state is not None:
            # A short press must not be lost between two publications.
            pressed = state.with_presses(self._state)
            if pressed != state:
                self._next = state
            state = pressed
        self._state, self._taken_s, self._is_due = state, arrival_s, True
        return True

    def _gives_way_to(self, state: JoyState, now: float) -> bool:
        """Return whether a state may follow; one of another device only after zeros."""
        if self._state is None or state.frame_id == self._state.frame_id:
            return True
        if self._is_active:
            self._stop(now)
        return not self._is_due

    def look(self, now: float) -> None:
        """Stop if the base was stopped, or if the operator has fallen silent."""
        silent = self._is_active and self._follower.is_silent(now, self._taken_s)
        if self._follower.has_stopped() or self._follower.refuses(now) or silent:
            self._stop(now)

    def _stop(self, now: float) -> None:
        self._armed = False
        # What is due may be the zeros after a state that was published.
        if (self._is_active or self._is_due) and self._state is not None:
            self._state, self._next = self._state.released(), None
            self._is_due = True
            self._published_s = NEVER_S
            self._zeros_until_s = now + ZEROS_S

    def end(self) -> JoyState | None:
        """Return the zeros to publish because nothing follows; ``None``: they are not needed."""
        is_needed = self._is_active or self._is_due
        return self._state.released() if is_needed and self._state is not None else None

    def output(self, now: float) -> JoyState | None:
        self.look(now)
        next_s = self._next_s()
        if next_s is None or now < next_s:
            return None
        state, self._is_due = self._state, self._next is not None
        if self._next is not None:
            self._state, self._next = self._next, None
        self._published_s = now
        return state

    def _next_s(self) -> float | None:
        """Return when the next state is to be published; ``None``: none is."""
        if self._state is None:
            return None
        if self._is_due:
            return self._published_s + PERIOD_S
        zero_s = self._published_s + ZERO_PERIOD_S
        return zero_s if zero_s <= self._zeros_until_s and not self._is_active else None

    def deadline(self) -> float | None:
        silent_s = self._follower.silent_s(self._taken_s) if self._is_active else None
        times = [self._next_s(), silent_s]
        return min((at_s for at_s in times if at_s is not None), default=None)


class JoyGate:
    """
    Decides what is published on ``joy``.

    Owned by the drive thread, as the command gate is. Call :meth:`take` for each received state,
    and :meth:`output` at :meth:`deadline` and after any other call.

    Old consoles send the controllers of both hands, named by the ``frame_id``; each is judged by
    itself. Everything else counts as one device, so that zeros of the one that was put down never
    disturb the one that was taken up.

    :param gate: The command gate of the robot.
    :param while_estopped: Let states pass while the E-STOP is latched, for lights and the like.
    """

    def __init__(self, gate: CommandGate, *, while_estopped: bool = False) -> None:
        self._controllers = {
            name: _Controller(_Follower(gate, while_estopped=while_estopped))
            for name in (*sorted(HANDS), '')
        }

    def take(self, now: float, state: JoyState, arrival_s: float | None = None) -> bool:
        """
        Judge a received state and put it in force if it passes.

        :param now: The present, in seconds.
        :param arrival_s: When it arrived; ``None``: now.
        :returns: Whether it passed.
        """
        name = state.frame_id if state.frame_id in HANDS else ''
        arrival_s = now if arrival_s is None else arrival_s
        return self._controllers[name].take(now, state, arrival_s)

    def output(self, now: float) -> list[JoyState]:
        """Return the states to publish now."""
        states = (controller.output(now) for controller in self._controllers.values())
        return [state for state in states if state is not None]

    def deadline(self) -> float | None:
        """Return the latest time of the next :meth:`output`; ``None``: only after a call."""
        times = (controller.deadline() for controller in self._controllers.values())
        return min((at_s for at_s in times if at_s is not None), default=None)

    def end(self) -> list[JoyState]:
        """Return the zeros to publish at the end of the bridge."""
        states = (controller.end() for controller in self._controllers.values())
        return [state for state in states if state is not None]


@dataclass(slots=True)
class _Hand:
    """One hand of the operator."""

    follower: _Follower
    heard_s: float = NEVER_S
    stamp_s: float = NEVER_S
    start: Pose | None = None
    """Where it was when it took the clutch; ``None``: it has not taken it."""
    is_released: bool = True
    """Whether it may take the clutch."""

    def stop(self, now: float) -> None:
        self.start, self.is_released, self.heard_s = None, False, now


class PoseGate:
    """
    Decides which poses of the operator's hands are published.

    A pose is relative to where the hand took the clutch. After a stop, the clutch must be released
    once, which shows as a gap in the poses.

    :param gate: The command gate of the robot.
    """

    def __init__(self, gate: CommandGate) -> None:
        self._hands = {name: _Hand(_Follower(gate)) for name in HANDS}

    def look(self, now: float) -> None:
        """Note a stop of the base; to be called after whatever may have stopped it."""
        for hand in self._hands.values():
            if hand.follower.has_stopped():
                hand.stop(now)

    def take(
        self, now: float, command: PoseCommand, arrival_s: float | None = None
    ) -> Pose | None:
        """
        Judge a received pose.

        :param now: The present, in seconds.
        :param arrival_s: When it arrived; ``None``: now.
        :returns: The pose to publish, with axes after REP-103 and relative to the clutch's start;
            ``None``: it may not pass.
        """
        arrival_s = now if arrival_s is None else arrival_s
        self.look(now)
        hand = self._hands[command.hand]
        # A network that holds poses back and then delivers them is no released clutch.
        gap_s = min(arrival_s - hand.heard_s, abs(command.stamp_s - hand.stamp_s))
        hand.heard_s, hand.stamp_s = max(arrival_s, hand.heard_s), command.stamp_s
        if hand.follower.refuses(now) or hand.follower.is_silent(now, arrival_s):
            # What waited for the drive thread is over: the arm has probably stopped by itself.
            hand.stop(now)
            return None
        if gap_s > CLUTCH_GAP_S:
            hand.start, hand.is_released = None, True
        standing = hand.start is None
        verdict = hand.follower.judge(arrival_s, command.stamp_s, standing=standing)
        if verdict is CommandVerdict.CLOCK_STEP:
            hand.stop(now)
        if verdict is not CommandVerdict.ACCEPTED:
            return None
        if hand.start is None and hand.is_released:
            hand.start = command.pose
        return None if hand.start is None else command.pose.relative_to(hand.start).to_rep_103()
