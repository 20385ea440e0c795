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

from teleop_webrtc_bridge.core.messages import JoyState, Pose, PoseCommand
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
        refusal = self._gate.refusal(now)
        return refusal is not None and not (
            refusal is CommandVerdict.LATCHED and self._while_estopped
        )

    def is_fresh(self, now: float, stamp_s: float, *, standing: bool) -> bool:
        verdict = self._freshness.judge(now, stamp_s, standing=standing)
        if verdict is not CommandVerdict.ACCEPTED:
            return False
        self._freshness.advance(stamp_s)
        return True


class JoyGate:
    """
    Decides what is published on ``joy``.

    Owned by the drive thread, as the command gate is. Call :meth:`take` for each received state,
    and :meth:`output` at :meth:`deadline` and after any other call.

    :param gate: The command gate of the robot.
    :param while_estopped: Let states pass while the E-STOP is latched, for lights and the like.
    """

    def __init__(self, gate: CommandGate, *, while_estopped: bool = False) -> None:
        self._gate = gate
        self._follower = _Follower(gate, while_estopped=while_estopped)
        self._armed = False
        self._state: JoyState | None = None
        """The state in force; ``None``: none was ever taken."""
        self._taken_s = 0.0
        self._is_active = False
        """Whether the state in force is not neutral."""
        self._is_due = False
        """Whether it has not been published yet."""
        self._published_s = float('-inf')
        self._zeros_until_s = float('-inf')

    def take(self, now: float, state: JoyState) -> bool:
        """
        Judge a received state and put it in force if it passes.

        :param now: Its arrival, in seconds.
        :returns: Whether it passed.
        """
        self._look(now)
        is_fresh = self._follower.is_fresh(now, state.stamp_s, standing=not self._is_active)
        if not is_fresh or self._follower.refuses(now):
            return False
        is_neutral = state.is_neutral(REST)
        self._armed = self._armed or is_neutral
        if not self._armed:
            return False
        if self._is_due and self._state is not None and self._is_active:
            # A short press must not be lost between two publications.
            state = state.with_presses(self._state)
        self._state, self._taken_s = state, now
        self._is_active = not state.is_neutral(REST)
        self._is_due = True
        return True

    def _look(self, now: float) -> None:
        """Stop if the base was stopped, or if the operator has fallen silent."""
        silent = self._is_active and now >= self._silent_s()
        if self._follower.has_stopped() or self._follower.refuses(now) or silent:
            self._armed = False
            if self._is_active and self._state is not None:
                self._state = self._state.released()
                self._is_active, self._is_due = False, True
                self._published_s = float('-inf')
                self._zeros_until_s = now + ZEROS_S

    def _silent_s(self) -> float:
        return self._taken_s + self._gate.command_timeout_s()

    def output(self, now: float) -> JoyState | None:
        """Return the state to publish now; ``None``: nothing."""
        self._look(now)
        next_s = self._next_s()
        if next_s is None or now < next_s:
            return None
        self._is_due = False
        self._published_s = now
        return self._state

    def _next_s(self) -> float | None:
        """Return when the next state is to be published; ``None``: none is."""
        if self._state is None:
            return None
        if self._is_due:
            return self._published_s + PERIOD_S
        zero_s = self._published_s + ZERO_PERIOD_S
        return zero_s if zero_s <= self._zeros_until_s and not self._is_active else None

    def deadline(self) -> float | None:
        """Return the latest time of the next :meth:`output`; ``None``: only after a call."""
        times = [self._next_s(), self._silent_s() if self._is_active else None]
        return min((at_s for at_s in times if at_s is not None), default=None)


@dataclass(slots=True, kw_only=True)
class _Hand:
    """One hand of the operator."""

    heard_s: float = float('-inf')
    start: Pose | None = None
    """Where it was when it took the clutch; ``None``: the clutch counts only when taken anew."""


class PoseGate:
    """
    Decides which poses of the operator's hands are published.

    A pose is relative to where the hand took the clutch. After a stop, the clutch must be released
    once, which shows as a gap in the poses.

    :param gate: The command gate of the robot.
    """

    def __init__(self, gate: CommandGate) -> None:
        self._gate = gate
        self._hands: dict[str, _Hand] = {}
        self._followers: dict[str, _Follower] = {}

    def take(self, now: float, command: PoseCommand) -> Pose | None:
        """
        Judge a received pose.

        :param now: Its arrival, in seconds.
        :returns: The pose to publish, with axes after REP-103 and relative to the clutch's start;
            ``None``: it may not pass.
        """
        follower = self._followers.setdefault(command.hand, _Follower(self._gate))
        hand = self._hands.setdefault(command.hand, _Hand())
        if follower.has_stopped() or follower.refuses(now):
            hand.start, hand.heard_s = None, now
            return None
        gap_s, hand.heard_s = now - hand.heard_s, now
        if not follower.is_fresh(now, command.stamp_s, standing=hand.start is None):
            return None
        if gap_s > CLUTCH_GAP_S:
            hand.start = command.pose
        return None if hand.start is None else command.pose.relative_to(hand.start).to_rep_103()
