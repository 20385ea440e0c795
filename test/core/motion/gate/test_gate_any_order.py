"""All rules of the gate together, in any order, as a state machine."""

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

import heapq
import math

from gate_drive import (
    Drive,
    EXAMPLES,
    LATENCY_S,
    MAX_AXES,
    PERIOD_S,
    RELAXED,
    STEPS,
    TEN_YEARS_S,
    VELOCITIES,
    ZERO,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
import pytest

from teleop_webrtc_bridge.core.messages import DriveCommand, Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict, GateLimits


class LeaseModel:
    """A model of the lease, with lists that are never pruned."""

    def __init__(self, first_token: int) -> None:
        self.first_token = first_token
        self.sent: dict[int, float] = {}
        self.newest_s: float | None = None
        self.words: list[tuple[float, bool | None]] = []
        """When a token was sent that counted, and what came back with it, in order of arrival."""
        self.trips: list[tuple[float, float]] = []

    def echo(self, now: float, token: int, picture: bool | None) -> None:
        sent_s = self.sent.get(token)
        if sent_s is None:
            return
        if now - sent_s <= 5.0 and (not self.words or sent_s >= self.words[-1][0]):
            self.words.append((sent_s, picture))
        if now - sent_s > 5.0:
            # Which may be forgotten already, or not: overdue either way.
            self.newest_s = now - 5.0 if self.newest_s is None else max(sent_s, self.newest_s)
        elif self.newest_s is None or sent_s > self.newest_s:
            self.newest_s = sent_s
            self.trips.append((now, now - sent_s))

    def sees_nothing(self) -> bool:
        """Return whether the page said so with the newest token, or has fallen silent."""
        has_told = False
        last: tuple[float, bool | None] = (-math.inf, None)
        for sent_s, picture in self.words:
            is_new = sent_s > last[0]
            if is_new:
                last = (sent_s, False if picture is None and has_told else picture)
            elif picture is False:
                last = (sent_s, False)
            has_told = has_told or last[1] is not None
        return last[1] is False

    def round_trip_s(self, now: float) -> float:
        return min((trip for at_s, trip in self.trips if now - at_s <= 5.0), default=0.0)

    def forbids(self, now: float) -> bool:
        trip_s = self.round_trip_s(now)
        overdue = self.newest_s is not None and now - self.newest_s > 0.5 + trip_s + 1e-9
        return overdue or trip_s > 1.5


class AnyOrder(RuleBasedStateMachine):
    """Valid and invalid commands, events and the passing of time, in any order."""

    @initialize(
        skew_s=st.floats(-TEN_YEARS_S, TEN_YEARS_S),
        timeout_s=st.floats(0.05, 1.0),
        acceleration=st.sampled_from([0.5, 2.5, 100.0, math.inf]),
        first_token=st.integers(0, 2**32),
    )
    def begin(
        self, skew_s: float, timeout_s: float, acceleration: float, first_token: int
    ) -> None:
        self.drive = Drive(
            timeout_s=timeout_s,
            skew_s=skew_s,
            acceleration=acceleration,
            first_token=first_token,
        )
        self.limits = GateLimits(
            command_timeout_s=timeout_s, max_axes=MAX_AXES, max_acceleration=(acceleration,) * 6
        )
        self.accepted_s = -math.inf
        self.moves_s = -math.inf
        """The only time at which a velocity other than zero may be published now."""
        self.latch: int | None = None
        self.enabled = True
        self.stalled = False
        self.has_cameras = True
        self.picture: bool | None = None
        """What the page reports with its echoes."""
        self.needs_neutral = True
        self.last_any: tuple[float, float] | None = None
        """When the last command arrived, and when the drive thread took it."""
        self.wanted = ZERO
        self.late = False
        self.shown = (-math.inf, ZERO)
        """The velocity that was published last, and since when it is in force."""
        self.lease = LeaseModel(first_token)
        self.next_token = first_token
        self.echo_delay_s: float | None = None
        """The page's round trip; ``None``: it does not echo."""
        self.under_way: list[tuple[float, int]] = []
        self.token_due_s = self.drive.now

    # --- commands ----------------------------------------------------------------------------

    def judged(self, arrival_s: float, velocity: Velocity, verdict: CommandVerdict) -> None:
        """Compare a verdict with the operator's actions."""
        finite = all(map(math.isfinite, velocity.axes()))
        assert finite == (verdict is not CommandVerdict.NOT_FINITE)
        if not finite:
            return
        times = (arrival_s, self.drive.now)
        silence_s = 0.0
        if self.last_any is not None:
            silence_s = min(now - then for now, then in zip(times, self.last_any, strict=True))
        self.last_any = times
        if silence_s >= 0.5 or velocity.is_zero():
            # Whether this command is obeyed or not, the operator has released the controls.
            self.needs_neutral = False
        if self.drive.now - arrival_s > 1.0 and not velocity.is_zero():
            assert verdict is not CommandVerdict.ACCEPTED, 'the drive thread slept'
        if verdict is CommandVerdict.CLOCK_STEP:
            self.needs_neutral = True
        if verdict is CommandVerdict.ACCEPTED:
            assert self.latch is None
            assert self.enabled
            assert not self.needs_neutral
            assert not self.lease.forbids(arrival_s)
            self.accepted_s = arrival_s
            self.moves_s = self.drive.now
            self.wanted = velocity

    def send(self, velocity: Velocity, delay_s: float) -> None:
        verdict = self.drive.send(velocity, delay_s=delay_s)
        self.judged(self.drive.now, velocity, verdict)
        self.check()

    @rule(delay_s=st.floats(-5.0, 5.0), velocity=VELOCITIES)
    def command(self, delay_s: float, velocity: Velocity) -> None:
        self.send(velocity, delay_s)

    @rule(
        count=st.integers(1, 60),
        axis=st.floats(-9.0, 9.0),
        period_s=st.sampled_from([0.0125, 0.02, 0.05]),
        neutral_first=st.booleans(),
    )
    def hold_a_key(self, count: int, axis: float, period_s: float, neutral_first: bool) -> None:
        for number in range(count):
            neutral = neutral_first and number == 0
            self.send(ZERO if neutral else Velocity(linear_x=axis, angular_z=-axis), LATENCY_S)
            self.pass_time(period_s)

    @rule(velocity=VELOCITIES, stamp_s=st.floats(-2e9, 2e9))
    def replay_something(self, velocity: Velocity, stamp_s: float) -> None:
        self.send(velocity, self.drive.now - stamp_s + self.drive.skew_s)

    @rule(stall_s=st.floats(0.01, 2.0), axis=st.floats(-9.0, 9.0), looks_first=st.booleans())
    def hold_up_the_drive_thread(self, stall_s: float, axis: float, looks_first: bool) -> None:
        """Let commands wait in the socket; they keep their time of arrival."""
        drive = self.drive
        arrival_s, drive.now = drive.now, drive.now + stall_s
        if looks_first:
            drive.publish()
        velocity = Velocity(linear_x=axis, angular_z=axis)
        self.late = True
        while arrival_s <= drive.now:
            command = DriveCommand(
                seq=round(arrival_s / PERIOD_S),
                stamp_s=arrival_s - LATENCY_S + drive.skew_s,
                frame_id='',
                velocity=velocity,
            )
            verdict = drive.gate.command(arrival_s, command, taken_s=drive.now)
            self.judged(arrival_s, velocity, verdict)
            drive.publish()
            self.check()
            arrival_s += PERIOD_S
        self.late = False

    @rule(step_s=st.floats(-1e5, 1e5))
    def step_the_senders_clock(self, step_s: float) -> None:
        self.drive.skew_s += step_s

    # --- time and tokens ---------------------------------------------------------------------

    @rule(seconds=st.floats(0.001, 3.0))
    def pass_time(self, seconds: float) -> None:
        end = self.drive.now + seconds
        while self.drive.now < end:
            self.exchange_tokens()
            self.drive.wait(min(0.05 if self.echo_delay_s else 0.25, end - self.drive.now))
            self.check()

    def exchange_tokens(self) -> None:
        """Send a token if one is due, and deliver the echoes that are due."""
        now = self.drive.now
        while self.under_way and self.under_way[0][0] <= now:
            self.echo(heapq.heappop(self.under_way)[1])
        if self.echo_delay_s is not None and now >= self.token_due_s:
            self.token_due_s = now + 0.05
            self.issue()

    def issue(self) -> int:
        token = self.drive.gate.issue_lease(self.drive.now)
        assert token == self.next_token, 'no token is used twice'
        self.next_token += 1
        self.lease.sent[token] = self.drive.now
        if self.echo_delay_s is not None:
            heapq.heappush(self.under_way, (self.drive.now + self.echo_delay_s, token))
        return token

    def echo(self, token: int) -> None:
        blind = self.blind
        self.drive.gate.echo_lease(self.drive.now, token, self.picture)
        self.lease.echo(self.drive.now, token, self.picture)
        if self.blind is not blind:
            self.moves_s = self.drive.now
            self.drive.publish()

    @property
    def blind(self) -> bool:
        return self.stalled or (self.has_cameras and self.lease.sees_nothing())

    @rule(picture=st.sampled_from([None, True, False]))
    def let_the_page_say(self, picture: bool | None) -> None:
        self.picture = picture

    @rule(has_any=st.booleans())
    def plug_the_cameras(self, has_any: bool) -> None:
        self.has_cameras = has_any
        self.drive.gate.set_cameras(self.drive.now, has_any)
        self.moves_s = self.drive.now
        self.drive.publish()

    @rule(delay_s=st.one_of(st.none(), st.floats(0.01, 0.3), st.floats(0.3, 7.0)))
    def let_the_page_echo(self, delay_s: float | None) -> None:
        self.echo_delay_s = delay_s

    @rule()
    def echo_at_once(self) -> None:
        self.echo(self.issue())

    @rule(token=st.integers(-1, 2**33))
    def echo_anything(self, token: int) -> None:
        self.echo(token)

    @rule(back=st.integers(1, 200))
    def echo_an_old_one(self, back: int) -> None:
        self.echo(self.next_token - back)

    @rule()
    def wake_up_at_the_deadline_only(self) -> None:
        deadline = self.drive.gate.deadline(self.drive.now)
        if deadline is not None:
            self.drive.now = max(self.drive.now, deadline)
            self.drive.publish()
            assert not self.drive.gate.moving

    # --- events ------------------------------------------------------------------------------

    @rule()
    def estop(self) -> None:
        latch = self.drive.gate.latch
        self.drive.gate.set_estop(self.drive.now)
        self.needs_neutral = True
        assert self.drive.gate.latch is not None
        assert latch in (None, self.drive.gate.latch), 'a latch that holds is kept'
        self.latch = self.drive.gate.latch
        self.drive.publish()

    @rule(names=st.sampled_from(['it', 'another', 'none']))
    def clear(self, names: str) -> None:
        gate, now = self.drive.gate, self.drive.now
        if names == 'another' and self.latch is not None:
            assert not gate.clear_estop(now, self.latch + 1)
            return
        assert gate.clear_estop(now, self.latch if names == 'it' else None)
        self.latch, self.needs_neutral = None, True
        self.drive.publish()

    @rule(enabled=st.booleans())
    def enable(self, enabled: bool) -> None:
        self.drive.gate.set_enabled(self.drive.now, enabled)
        self.needs_neutral = self.needs_neutral or enabled is not self.enabled
        self.enabled = enabled
        self.drive.publish()

    @rule(blind=st.booleans())
    def stall_the_camera(self, blind: bool) -> None:
        self.drive.gate.set_blind(self.drive.now, blind)
        self.stalled = blind
        self.moves_s = self.drive.now
        self.drive.publish()

    @rule(
        timeout_s=st.floats(0.05, 1.0),
        axes=st.tuples(*[st.floats(0.0, 3.0)] * 6),
        acceleration=st.sampled_from([0.5, 2.5, 100.0, math.inf]),
        factor=st.floats(0.0, 1.0),
    )
    def change_the_limits(
        self, timeout_s: float, axes: tuple[float, ...], acceleration: float, factor: float
    ) -> None:
        self.limits = GateLimits(
            command_timeout_s=timeout_s,
            max_axes=axes,
            max_acceleration=(acceleration,) * 6,
            blind_speed_factor=factor,
        )
        self.drive.gate.set_limits(self.drive.now, self.limits)
        self.moves_s = self.drive.now
        self.drive.publish()

    @rule()
    def change_operator(self) -> None:
        self.drive.gate.begin_control(self.drive.now)
        self.needs_neutral, self.last_any = True, None
        self.lease = LeaseModel(self.next_token)
        self.drive.publish()

    @rule()
    def lose_the_link(self) -> None:
        self.drive.gate.stop(self.drive.now)
        self.needs_neutral = True
        self.drive.publish()

    # --- invariants --------------------------------------------------------------------------

    def check(self) -> None:
        drive, gate = self.drive, self.drive.gate
        assert gate.latch == self.latch
        assert gate.estopped == (self.latch is not None)
        assert gate.enabled is self.enabled
        assert gate.blind is self.blind
        for at_s, velocity in drive.published:
            self.check_published(at_s, velocity)
            # A late command is in force from its arrival, before it was published.
            self.shown = (at_s if velocity.is_zero() else self.accepted_s, velocity)
        drive.published.clear()
        if not gate.moving:
            assert self.shown[1].is_zero(), 'a stop is published at once'
            return
        assert self.latch is None
        assert self.enabled
        assert not self.needs_neutral
        assert gate.limiting == (self.shown[1] != self.wanted)
        # A slow sender gets more time: at most twice as much, or half a second.
        timeout_s = self.limits.command_timeout_s
        longest_s = max(timeout_s, min(2 * timeout_s, 0.5))
        deadline = gate.deadline(drive.now)
        assert deadline is not None
        assert drive.now < deadline
        assert self.accepted_s + timeout_s <= deadline <= self.accepted_s + longest_s

    def check_published(self, at_s: float, velocity: Velocity) -> None:
        slow = self.blind or self.lease.round_trip_s(at_s) > 1.0
        factor = self.limits.blind_speed_factor if slow else 1.0
        shown_s, shown = self.shown
        # Late commands differ by their arrival, and zeros are published long after the stop.
        step_s = 0.1 if self.late or shown.is_zero() else min(0.1, at_s - shown_s)
        for speed, before, limit, acceleration, wanted in zip(
            velocity.axes(),
            shown.axes(),
            self.limits.max_axes,
            self.limits.max_acceleration,
            self.wanted.axes(),
            strict=True,
        ):
            assert math.isfinite(speed)
            assert abs(speed) <= limit * factor
            if speed:
                assert (speed > 0.0) == (wanted > 0.0), 'never the other way'
                assert abs(speed) <= abs(wanted), 'never more'
                risen = abs(speed) - (abs(before) if speed * before > 0.0 else 0.0)
                assert acceleration == math.inf or risen <= acceleration * step_s + 1e-9
        if not velocity.is_zero():
            assert at_s == self.moves_s, 'motion comes from an accepted command only'

    @invariant()
    def holds(self) -> None:
        if hasattr(self, 'drive'):
            self.check()


AnyOrder.TestCase.settings = settings(RELAXED, max_examples=EXAMPLES, stateful_step_count=STEPS)
TestAnyOrder = pytest.mark.timeout(1800)(AnyOrder.TestCase)
