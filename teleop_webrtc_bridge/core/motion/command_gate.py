"""
The command gate: decides which velocity may reach the robot.

It alone decides about motion: its callers pass in received commands and publish its output.
Pure: time is an argument (seconds of one steady clock), nothing here sleeps, logs or locks.
The rules are those of docs/safety.md; their figures are the constants below.
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

from collections import Counter, deque
from dataclasses import replace
import itertools
import math
from typing import Final

from teleop_webrtc_bridge.core.messages import DriveCommand, Latency, Velocity
from teleop_webrtc_bridge.core.motion.freshness import CommandLease, CommandVerdict, Freshness
from teleop_webrtc_bridge.core.motion.latency_limit import allowed_factor, LatencyFactor
from teleop_webrtc_bridge.core.motion.step_bound import StepBound
from teleop_webrtc_bridge.core.motion.velocity_limits import GateLimits

__all__ = ['NEWEST_S', 'CommandGate', 'CommandVerdict', 'GateLimits']

ZERO: Final = Velocity()

STOP_BURST_S: Final = 1.0
"""How long zeros are repeated after a stop; then the topic is left to twist_mux or Nav2."""
ZERO_PERIOD_S: Final = 0.05
NEUTRAL_SILENCE_S: Final = 0.5
"""Silence that counts as neutral: the operator has let go."""
GAP_S: Final = 1.0
"""After a longer pause, or if commands waited longer, motion requires neutral first."""
MOST_LOST: Final = 2
"""If more commands are missing, the network was silent, not the operator."""
NEWEST_S: Final = 0.5
"""How long the newest command counts as the operator's wish."""

LONGEST_TIMEOUT_S: Final = 0.5
"""Limit of the longer time-out that a slow sender gets."""
TIMEOUT_PERIODS: Final = 6
"""Commands in a row that must be lost before a slow sender is stopped."""
PERIOD_WINDOW: Final = 9
"""Number of commands over which the sender's period is taken."""

SLOW_ROUND_TRIP_S: Final = 1.0
"""A longer round trip reduces the speed …"""
LONGEST_ROUND_TRIP_S: Final = 1.5
"""… and one longer than this stops the robot."""
UNKNOWN_ROUND_TRIP_S: Final = 1.0
"""An unknown round trip counts as long for this time after control began."""


class CommandGate:
    """
    Decides what is published on ``cmd_vel``.

    Owned by the drive thread. Call :meth:`command` for each decoded command. Call :meth:`output`
    at :meth:`deadline` and after any other call; publish what it returns.

    :param limits: The limits that the robot's owner has set.
    :param first_token: The first token of the lease.
    """

    def __init__(self, limits: GateLimits, *, first_token: int = 1) -> None:
        self.verdicts: Counter[CommandVerdict] = Counter()
        self.limited = 0
        """Number of commands that exceeded the limits."""
        self.stops = 0
        """Number of events after which motion requires neutral first."""
        self.limiting = False
        """Whether the velocity in force is less than the wanted one."""
        self._limits = limits
        self._freshness = Freshness()
        self._lease = CommandLease(first_token)
        self._latch: int | None = None
        self._latches = 0
        self._enabled = True
        self._blind = False
        self._has_cameras = True
        self._latency_factor = LatencyFactor()
        self._step = StepBound()
        self._armed = False
        self._wanted = ZERO
        self._velocity = ZERO
        self._received: tuple[float, float, DriveCommand] | None = None
        """(arrival, when it was taken, command) of the last one, refused or not: a held key is not
        silence."""
        self._last_verdict = CommandVerdict.ACCEPTED
        self.began_s: float | None = None
        """When the current operator took control."""
        self._heard_s: float | None = None
        """When the last recent command arrived, obeyed or not."""
        self._heard_neutral = True
        """Whether it was neutral: silence after it means that the operator has let go."""
        self._accepted: deque[tuple[float, DriveCommand]] = deque(maxlen=PERIOD_WINDOW)
        """(arrival, command) of obeyed commands, the newest last."""
        self._set_s: float | None = None
        """When the velocity in force was set."""
        self._unpublished = False
        """Whether :meth:`output` has not returned the velocity in force yet."""
        self._burst_until_s: float | None = None
        """Zeros are repeated until then; ``None`` while moving or silent."""
        self._next_zero_s = 0.0

    # --- what is in force ------------------------------------------------------------------------

    @property
    def estopped(self) -> bool:
        return self._latch is not None

    @property
    def latch(self) -> int | None:
        """The number of the E-STOP latch in force; ``None``: none is."""
        return self._latch

    @property
    def enabled(self) -> bool:
        return self._enabled

    @property
    def blind(self) -> bool:
        """Whether a camera has stalled, or the operator's page shows no picture."""
        return self._blind or self.blind_page

    @property
    def blind_page(self) -> bool:
        """Whether the operator's page says that it shows no picture, though there are cameras."""
        return self._has_cameras and self._lease.picture is False

    @property
    def moving(self) -> bool:
        """Whether a velocity other than zero is in force."""
        return not self._velocity.is_zero()

    def command_timeout_s(self) -> float:
        """Return the time-out in force: the configured one, longer for a slow sender."""
        configured_s = self._limits.command_timeout_s
        if len(self._accepted) < PERIOD_WINDOW:
            return configured_s
        # By the stamps, not the arrivals: loss and jitter must not make a sender look slow. The
        # stamps agree with our clock, otherwise the commands would not have counted as recent.
        periods = sorted(
            (later.stamp_s - earlier.stamp_s) / max(later.seq - earlier.seq, 1)
            for (_, earlier), (_, later) in itertools.pairwise(self._accepted)
        )
        wanted_s = TIMEOUT_PERIODS * periods[len(periods) // 2]
        # At most twice the configured time-out, so that a short one stays short.
        longest_s = max(configured_s, min(2 * configured_s, LONGEST_TIMEOUT_S))
        return min(max(configured_s, wanted_s), longest_s)

    def round_trip_s(self, now: float) -> float:
        """Return the round trip to the operator's page; 0.0 while it is unknown."""
        return self._lease.round_trip_s(now)

    def latency(self, now: float) -> Latency:
        """Return the latencies of the drive, as the operator's page reports them."""
        latency = self._lease.latency(now)
        # Without cameras, there is no picture that could be late.
        return latency if self._has_cameras else replace(latency, picture_s=0.0)

    def latency_sum_s(self, now: float) -> float | None:
        """
        Return the latency of picture and command together; ``None``: it is unknown.

        The round trip of the lease contains the network's part of both. So the sum cannot be
        smaller, whatever the page reports.
        """
        latency = self.latency(now)
        if latency.picture_s is None or latency.command_s is None:
            return None
        return max(latency.picture_s + latency.command_s, self._lease.recent_round_trip_s(now))

    @property
    def tells_latency(self) -> bool:
        """Whether the operator's page reports latencies."""
        return self._lease.tells_latency

    @property
    def latency_factor(self) -> float:
        """The fraction of the largest speeds that the latency allows at present."""
        return self._latency_factor.value

    # --- commands --------------------------------------------------------------------------------

    def command(
        self, now: float, command: DriveCommand, *, taken_s: float | None = None
    ) -> CommandVerdict:
        """
        Judge a command and put it in force if it passes.

        :param now: Its arrival, in seconds.
        :param taken_s: When the drive thread took it; ``None``: at its arrival.
        """
        verdict = self._judge(now, command, now if taken_s is None else taken_s)
        self.verdicts[verdict] += 1
        self._last_verdict = verdict
        return verdict

    def refusing(self, now: float) -> CommandVerdict | None:
        """Return why the newest command was refused; ``None``: it was not, or it is too old."""
        is_refused = self.is_commanded(now) and self._last_verdict.is_refusal
        return self._last_verdict if is_refused else None

    def is_commanded(self, now: float) -> bool:
        """Return whether a command arrived recently, obeyed or not."""
        return self._received is not None and now - self._received[0] < NEWEST_S

    def _judge(self, now: float, command: DriveCommand, taken_s: float) -> CommandVerdict:
        self._expire(now)
        if not all(map(math.isfinite, (command.stamp_s, *command.velocity.axes()))):
            return CommandVerdict.NOT_FINITE
        silence_s = self._silence_s(now, command, taken_s)
        self._received = (now, taken_s, command)
        verdict = self._freshness.judge(now, command.stamp_s, standing=not self.moving)
        if verdict is CommandVerdict.CLOCK_STEP:
            self._disarm(now)
        if verdict is not CommandVerdict.ACCEPTED:
            return verdict
        refusal = self.refusal(now)
        if refusal is not None:
            self._refuse_step(now, command)
            return refusal
        is_early = self._is_early_press(command)
        # Only now: a command that is late must neither end nor begin a step.
        command = self._bounded(now, command)
        self._rearm(now, command.velocity.is_zero(), silence_s, waited_s=taken_s - now)
        if is_early:
            self._disarm(now)
        if not self._armed:
            self._refuse_step(now, command)
            return CommandVerdict.NOT_NEUTRAL
        self._freshness.advance(command.stamp_s)
        self._accepted.append((now, command))
        self._wanted = command.velocity
        self._apply(now)
        self.limited += self.limiting
        return CommandVerdict.ACCEPTED

    def _is_early_press(self, command: DriveCommand) -> bool:
        """Return whether a new step comes in motion: the operator has not let go before it."""
        return self.moving and command.step is not None and self._step.is_new(command.step)

    def _bounded(self, now: float, command: DriveCommand) -> DriveCommand:
        """Return the command as its step allows it: that of a step that is over is a zero."""
        if command.step is None:
            self._step.cancel()
        elif not self._step.admits(now, command.step, command.velocity):
            return replace(command, velocity=ZERO)
        return command

    def _refuse_step(self, now: float, command: DriveCommand) -> None:
        """
        End the step, and stop what it moves: without it, nothing bounds the velocity in force.

        A step that is refused once is over: it must not move the robot when the reason has gone.
        """
        if self._step.is_active and self.moving:
            self.limiting = False
            self._stop(now)
        self._step.refuse(command.step)

    def refusal(self, now: float, *, although_latched: bool = False) -> CommandVerdict | None:
        """
        Return why no command may pass now; ``None``: commands may pass.

        :param although_latched: Ignore the E-STOP latch.
        """
        if self.estopped and not although_latched:
            return CommandVerdict.LATCHED
        if not self._enabled:
            return CommandVerdict.DISABLED
        if self._lease.is_overdue(now):
            return CommandVerdict.NO_LEASE
        if self._lease.round_trip_s(now) > LONGEST_ROUND_TRIP_S:
            return CommandVerdict.ROUND_TRIP
        return None

    def _silence_s(self, now: float, command: DriveCommand, taken_s: float) -> float:
        """
        Return how long the operator sent nothing before this command.

        A held key must not look like silence. While the drive thread sleeps, the WebRTC half drops
        all commands but the oldest and the newest; the drive thread then takes those together. A
        network may hold commands back, which their stamps show, or lose them, which their numbers
        show.
        """
        if self._received is None:
            return 0.0
        last_s, last_taken_s, last = self._received
        if command.seq - last.seq - 1 > MOST_LOST:
            return 0.0
        return min(now - last_s, taken_s - last_taken_s, command.stamp_s - last.stamp_s)

    def _rearm(self, now: float, neutral: bool, silence_s: float, *, waited_s: float) -> None:
        """Arm on a zero command or on silence; disarm if the stream broke off in motion."""
        gap_s = 0.0 if self._heard_s is None else now - self._heard_s
        if neutral:
            self._armed = True
        elif waited_s > GAP_S:
            # The drive thread slept, and the base has probably stopped by itself.
            self._armed = False
        elif gap_s > GAP_S:
            self._armed = self._armed and self._heard_neutral
        elif silence_s >= NEUTRAL_SILENCE_S:
            self._armed = True
        self._heard_s = now
        self._heard_neutral = neutral

    def _apply(self, now: float) -> None:
        """Put the wanted velocity in force, within the limits that apply now."""
        factor = self._follow_latency(now)
        if self.blind or self._is_slow(now):
            factor = min(factor, self._limits.blind_speed_factor)
        allowed = self._limits.clamp(self._wanted, factor)
        elapsed_s = math.inf if self._set_s is None else now - self._set_s
        velocity = self._limits.rise(self._velocity, allowed, elapsed_s)
        self._set_at(now)
        self.limiting = velocity != self._wanted
        if velocity.is_zero():
            self._stop(now)
        else:
            self._velocity = velocity
            self._step.follow(now, velocity)
            self._unpublished = True
            self._burst_until_s = None

    def _follow_latency(self, now: float) -> float:
        """Return the fraction of the largest speeds that the latency allows from now on."""
        if self._lease.tells_latency:
            sum_s: float | None = self.latency_sum_s(now)
        else:
            # Peers that do not measure are judged by the least latency that they can have.
            sum_s = self._lease.recent_round_trip_s(now)
        allowed = allowed_factor(
            sum_s, budget_s=self._limits.latency_budget_s, floor=self._limits.latency_speed_floor
        )
        return self._latency_factor.follow(now, allowed, standing=not self.moving)

    def _is_slow(self, now: float) -> bool:
        """Return whether commands may take long, as when a session begins behind a full buffer."""
        if self._lease.in_use or self.began_s is None:
            return self._lease.round_trip_s(now) > SLOW_ROUND_TRIP_S
        return now - self.began_s < UNKNOWN_ROUND_TRIP_S

    # --- stops -----------------------------------------------------------------------------------

    def _stop(self, now: float) -> None:
        """Publish zeros for a while; an ongoing stop is not started again."""
        if self.moving or self._burst_until_s is None:
            self._next_zero_s = now
            self._unpublished = True
        self._velocity = ZERO
        self._step.follow(now, ZERO)
        self._set_at(now)

    def _set_at(self, now: float) -> None:
        # Never backwards: a command that waited for the drive thread counts from its arrival.
        self._set_s = now if self._set_s is None else max(now, self._set_s)

    def _disarm(self, now: float) -> None:
        self.stops += 1
        self._step.cancel()
        self._armed = False
        self._wanted = ZERO
        self.limiting = False
        self._stop(now)

    def set_estop(self, now: float) -> None:
        """Stop, and stay stopped until :meth:`clear_estop`; a latch in force is kept."""
        if self._latch is None:
            self._latches += 1
            self._latch = self._latches
        self._disarm(now)
        self._next_zero_s = now

    def clear_estop(self, now: float, latch: int | None = None) -> bool:
        """
        Release the latch; motion requires neutral first.

        :param latch: The number of the latch to release; ``None``: the one in force.
        :returns: Whether no latch is in force now.
        """
        if latch is not None and self._latch is not None and latch != self._latch:
            return False
        self._latch = None
        self._disarm(now)
        return True

    def set_enabled(self, now: float, enabled: bool) -> None:
        """Accept or refuse the operators' commands; motion requires neutral first."""
        if enabled is not self._enabled:
            self._enabled = enabled
            self._disarm(now)

    def set_blind(self, now: float, blind: bool) -> None:
        """Note whether the operator's picture has stalled, which limits the speed."""
        before, self._blind = self.blind, blind
        self._follow_sight(now, before)

    def set_cameras(self, now: float, has_any: bool) -> None:
        """Note whether the robot has cameras: without any, no page can show a picture."""
        before, self._has_cameras = self.blind, has_any
        self._follow_sight(now, before)

    def _follow_sight(self, now: float, before: bool) -> None:
        if self.blind is not before and self.moving:
            self._apply(now)

    def set_limits(self, now: float, limits: GateLimits) -> None:
        """Use other limits from now on, also for the velocity in force."""
        self._limits = limits
        if self.moving:
            self._apply(now)

    def begin_control(self, now: float) -> None:
        """Stop, and forget the previous operator: another one, or nobody, is in control now."""
        self._freshness = Freshness()
        self._lease = CommandLease(self._lease.next_token)
        self._latency_factor = LatencyFactor()
        self._step = StepBound()
        self.began_s = now
        self._received = None
        self._heard_s = None
        self._accepted.clear()
        self._disarm(now)

    def stop(self, now: float) -> None:
        """Stop now, and publish zeros even if the robot stands; motion requires neutral first."""
        self._burst_until_s = None
        self._disarm(now)

    def _expire(self, now: float) -> None:
        """Stop when the operator has been silent for too long."""
        if self.moving and now >= self._end_s():
            self.limiting = False
            self._step.cancel()
            self._stop(now)

    def _end_s(self) -> float:
        """Return when the velocity in force ends: at the time-out, or with its step."""
        timeout_s = self._accepted[-1][0] + self.command_timeout_s()
        step_s = self._step.end_s()
        return timeout_s if step_s is None else min(timeout_s, step_s)

    # --- lease -----------------------------------------------------------------------------------

    def issue_lease(self, now: float) -> int:
        """Return the token to send to the operator now."""
        return self._lease.issue(now)

    def echo_lease(
        self,
        now: float,
        token: int,
        picture: bool | None = None,
        latency: Latency | None = None,
    ) -> None:
        """
        Process a token that the operator sent back.

        :param picture: Whether the page shows a picture, if it reports that; this can only reduce
            the speed.
        :param latency: The latencies that the page measured, if it reports them.
        """
        before = self.blind
        self._lease.echo(now, token, picture, latency)
        self._follow_sight(now, before)

    # --- output ----------------------------------------------------------------------------------

    def output(self, now: float) -> Velocity | None:
        """Return the velocity to publish now; ``None``: nothing, the topic is left to others."""
        self._expire(now)
        fresh, self._unpublished = self._unpublished, False
        if self.moving:
            return self._velocity if fresh else None
        if fresh:
            # Counted from now: the cause of the stop may have waited for the drive thread.
            self._burst_until_s = now + STOP_BURST_S
            self._next_zero_s = now
        if self._zeros_are_over(now) or now < self._next_zero_s:
            return None
        self._next_zero_s = now + ZERO_PERIOD_S
        return ZERO

    def _zeros_are_over(self, now: float) -> bool:
        if self.estopped or self._unpublished:
            return False
        return self._burst_until_s is None or now > self._burst_until_s

    def deadline(self, now: float) -> float | None:
        """Return the latest time of the next :meth:`output`; ``None``: only after another call."""
        if self.moving:
            return self._end_s()
        return None if self._zeros_are_over(now) else self._next_zero_s
