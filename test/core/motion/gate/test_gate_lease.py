"""The lease: operators prove that they hear the robot."""

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
import heapq
import itertools
import random

from gate_drive import (
    Drive,
    FORWARD,
    LIMITS,
    PERIOD_S,
    TIMEOUT_S,
    ZERO,
)
import pytest

from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, CommandVerdict


class Road:
    """
    A page, the robot and all messages in flight between them, in order of arrival.

    The page sends 50 commands per second. The robot sends 20 tokens per second, of which the page
    echoes the newest 25 times per second. Times, losses and delays are simulated.
    """

    def __init__(self, drive: Drive, *, loss: float = 0.0, jitter_s: float = 0.0) -> None:
        self.drive = drive
        self.up_s = self.down_s = 0.05
        """Delay each way; it varies by the jitter."""
        self.wanted = FORWARD
        self.echoes = True
        self.hears = True
        """Whether tokens reach the page."""
        self.stops_s: list[float] = []
        """When the robot came to a stand."""
        self.verdicts: list[tuple[float, CommandVerdict]] = []
        self._loss = loss
        self._jitter_s = jitter_s
        self._random = random.Random(1)
        self._newest: int | None = None
        self._seq = 0
        self._number = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._at(0.0, self._send_token)
        self._at(0.0, self._send_echo)
        self._at(0.0, self._send_command)

    def _at(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.drive.now + delay_s, next(self._number), act))

    def _carry(self, delay_s: float, arrive: Callable[[], None]) -> None:
        if self._random.random() >= self._loss:
            jitter_s = self._random.uniform(-self._jitter_s, self._jitter_s)
            self._at(delay_s + jitter_s, arrive)

    def _send_token(self) -> None:
        self._at(0.05, self._send_token)
        token = self.drive.gate.issue_lease(self.drive.now)
        if self.hears:
            self._carry(self.down_s, lambda: self._hear(token))

    def _hear(self, token: int) -> None:
        self._newest = token if self._newest is None else max(token, self._newest)

    def _send_echo(self) -> None:
        self._at(0.04, self._send_echo)
        token = self._newest
        if self.echoes and token is not None:
            arrive = self.drive.gate.echo_lease
            self._carry(self.up_s, lambda: arrive(self.drive.now, token))

    def _send_command(self) -> None:
        self._at(PERIOD_S, self._send_command)
        velocity, sent_s = self.wanted, self.drive.now
        self._seq += 1
        seq = self._seq
        self._carry(self.up_s, lambda: self._arrive(velocity, sent_s, seq))

    def _arrive(self, velocity: Velocity, sent_s: float, seq: int) -> None:
        verdict = self.drive.send(velocity, delay_s=self.drive.now - sent_s, seq=seq)
        self.verdicts.append((self.drive.now, verdict))

    def run(self, seconds: float) -> None:
        end = self.drive.now + seconds
        while self._events[0][0] <= end:
            at_s, _, act = heapq.heappop(self._events)
            self._pass_time(at_s)
            act()
        self._pass_time(end)

    def _pass_time(self, end: float) -> None:
        moving = self.drive.gate.moving
        self.drive.wait(end - self.drive.now)
        self.drive.now = end
        if moving and not self.drive.gate.moving:
            self.stops_s.append(end)

    def begin(self) -> None:
        """Arm, drive, and let the page echo the robot's first tokens."""
        self.wanted = ZERO
        self.run(1.0)
        self.wanted = FORWARD
        self.run(2.0)
        assert self.drive.gate.moving
        assert self.stops_s == []

    def verdicts_since(self, start_s: float) -> list[CommandVerdict]:
        return [verdict for at_s, verdict in self.verdicts if at_s > start_s]

    def speeds_since(self, start_s: float) -> set[float]:
        return {velocity.linear_x for velocity in self.drive.since(start_s)}


@pytest.fixture
def road(drive: Drive) -> Road:
    road = Road(drive)
    road.begin()
    return road


ROUND_TRIP_S = 0.1
#: The page echoes 25 times per second; tokens arrive 20 times per second.
ECHO_PERIODS_S = 0.09


def test_the_round_trip_is_known(road: Road) -> None:
    trip_s = road.drive.gate.round_trip_s(road.drive.now)
    assert ROUND_TRIP_S - 1e-9 <= trip_s <= ROUND_TRIP_S + ECHO_PERIODS_S


@pytest.mark.parametrize('broken', ['it stops echoing', 'it hears nothing'])
def test_a_page_that_does_not_hear_the_robot_any_more_is_stopped(road: Road, broken: str) -> None:
    drive = road.drive
    silent_s = drive.now
    if broken == 'it hears nothing':
        road.hears = False
    else:
        road.echoes = False
    road.run(10.0)
    # Counted from the newest echoed token: half a second, a round trip, and the watchdog.
    last_token_s = silent_s + ROUND_TRIP_S
    accepted_s = max(at_s for at_s, verdict in road.verdicts if verdict is CommandVerdict.ACCEPTED)
    assert accepted_s <= last_token_s + 0.5 + ECHO_PERIODS_S
    stopped_s = next(at_s for at_s, velocity in drive.published if at_s > accepted_s)
    assert stopped_s == pytest.approx(accepted_s + TIMEOUT_S)
    assert len(road.stops_s) == 1
    assert drive.gate.verdicts[CommandVerdict.NO_LEASE] > 400
    assert set(drive.since(stopped_s)) == {ZERO}


def test_a_page_that_hears_again_within_a_second_goes_on(road: Road) -> None:
    road.hears = False
    road.run(1.1)
    assert len(road.stops_s) == 1
    road.hears = True
    road.run(1.0)
    assert road.drive.gate.moving


def test_a_page_that_hears_again_later_needs_neutral(road: Road) -> None:
    road.hears = False
    road.run(3.0)
    road.hears = True
    heard_s = road.drive.now + ROUND_TRIP_S + ECHO_PERIODS_S
    road.run(3.0)
    assert set(road.verdicts_since(heard_s)) == {CommandVerdict.NOT_NEUTRAL}
    road.wanted = ZERO
    road.run(0.2)
    road.wanted = FORWARD
    road.run(0.2)
    assert road.drive.gate.moving


def test_peers_that_never_echo_are_not_affected(drive: Drive) -> None:
    road = Road(drive)
    road.echoes = False
    road.begin()
    road.run(60.0)
    assert road.stops_s == []
    assert {verdict for _, verdict in road.verdicts} == {CommandVerdict.ACCEPTED}
    assert drive.gate.round_trip_s(drive.now) == 0.0


def test_an_old_token_replayed_again_and_again_keeps_nobody_driving(road: Road) -> None:
    drive = road.drive
    token = drive.gate.issue_lease(drive.now)
    drive.gate.echo_lease(drive.now + 0.1, token)
    road.echoes = False
    for _ in range(100):
        road.run(0.02)
        drive.gate.echo_lease(drive.now, token)
        drive.gate.echo_lease(drive.now, token - 3)
    assert len(road.stops_s) == 1
    assert drive.gate.verdicts[CommandVerdict.NO_LEASE] > 50


def test_the_next_operators_tokens_are_others_and_they_need_not_echo(drive: Drive) -> None:
    gate = drive.gate
    old = [gate.issue_lease(drive.now) for _ in range(3)]
    gate.echo_lease(drive.now, old[-1])
    gate.begin_control(drive.now)
    assert gate.issue_lease(drive.now) == old[-1] + 1
    for token in old:
        gate.echo_lease(drive.now, token)
    drive.now += 60.0
    assert gate.round_trip_s(drive.now) == 0.0
    drive.begin()


def test_tokens_begin_where_they_are_told_to() -> None:
    gate = CommandGate(LIMITS, first_token=4711)
    assert [gate.issue_lease(0.05 * number) for number in range(3)] == [4711, 4712, 4713]
    assert CommandGate(LIMITS).issue_lease(0.0) == 1


def test_no_false_stop_in_half_an_hour_at_20_percent_loss() -> None:
    """50 Hz, 20 % loss each way, 50 ± 30 ms: commands overtake each other, tokens are lost."""
    drive = Drive()
    road = Road(drive, loss=0.2, jitter_s=0.03)
    road.begin()
    road.run(1800.0)
    assert road.stops_s == []
    verdicts = drive.gate.verdicts
    assert set(verdicts) == {CommandVerdict.ACCEPTED, CommandVerdict.OUT_OF_ORDER}
    assert verdicts[CommandVerdict.ACCEPTED] > 0.4 * verdicts.total()
    assert 0.04 <= drive.gate.round_trip_s(drive.now) <= 0.3


@pytest.mark.parametrize(('delay_s', 'loss'), [(0.1, 0.0), (0.1, 0.05), (0.3, 0.0)])
def test_commands_that_overtake_each_other_stop_nobody(delay_s: float, loss: float) -> None:
    """The delay each way varies by up to 0.1 s; the configured time-out applies."""
    drive = Drive()
    road = Road(drive, loss=loss, jitter_s=0.1)
    road.up_s = road.down_s = delay_s
    road.begin()
    road.run(300.0)
    assert road.stops_s == []
    assert drive.gate.command_timeout_s() == TIMEOUT_S
    assert drive.gate.verdicts[CommandVerdict.OUT_OF_ORDER] > 1000


@pytest.mark.parametrize('bloat_s', [1.6, 2.0, 4.0, 8.0])
def test_a_full_buffer_that_looks_like_a_clock_step_is_no_way_to_drive(
    road: Road, bloat_s: float
) -> None:
    drive = road.drive
    road.up_s += bloat_s
    bloated_s = drive.now + 0.05
    road.run(5.0 + bloat_s)
    road.wanted = ZERO  # the operator lets go, as the clock step demands, and tries again
    road.run(1.0)
    road.wanted = FORWARD
    road.run(20.0)
    assert drive.gate.verdicts[CommandVerdict.CLOCK_STEP] == 1
    assert road.speeds_since(bloated_s) == {0.0}
    refused = road.verdicts_since(drive.now - 5.0)
    assert set(refused) <= {CommandVerdict.ROUND_TRIP, CommandVerdict.NO_LEASE}


@pytest.mark.parametrize(
    ('one_way_s', 'speeds'),
    [
        (0.4, {0.0, 0.5}),
        (0.55, {0.0, 0.3}),
        (0.7, {0.0, 0.3}),
        (0.8, set()),
        (1.5, set()),
        (2.4, set()),
        (4.0, set()),
    ],
)
def test_a_session_that_begins_slow_costs_speed_and_then_all_of_it(
    drive: Drive, one_way_s: float, speeds: set[float]
) -> None:
    """A round trip above 1 s gives blind_speed_factor; above 1.5 s, the robot stands still."""
    road = Road(drive)
    road.up_s = road.down_s = one_way_s
    road.wanted = ZERO
    road.run(12.0)  # before the first echo, the peer counts as one that never echoes
    drive.published.clear()
    road.wanted = FORWARD
    road.run(20.0)
    assert road.speeds_since(0.0) - {0.0} == speeds - {0.0}
    if one_way_s > 2.5:
        assert drive.gate.verdicts[CommandVerdict.NO_LEASE] > 400
    elif not speeds:
        assert drive.gate.verdicts[CommandVerdict.ROUND_TRIP] > 400


def test_until_the_round_trip_is_known_an_operator_is_slow(drive: Drive) -> None:
    drive.gate.begin_control(drive.now)
    token = drive.gate.issue_lease(drive.now)
    drive.begin()
    assert drive.published[-1][1].linear_x == 0.3
    drive.gate.echo_lease(drive.now, token)
    drive.stream(FORWARD, 0.1)
    assert drive.published[-1][1].linear_x == FORWARD.linear_x


def test_who_never_echoes_is_slow_for_a_second(drive: Drive) -> None:
    begun_s = drive.now
    drive.gate.begin_control(begun_s)
    drive.stream(ZERO, 0.2)
    drive.stream(FORWARD, 4.0)
    moves = [(at_s - begun_s, v.linear_x) for at_s, v in drive.published if not v.is_zero()]
    assert {speed for at_s, speed in moves if at_s < 0.99} == {0.3}
    assert {speed for at_s, speed in moves if at_s > 1.01} == {0.5}


@pytest.mark.parametrize('up_s', [0.6, 1.4, 1.9])
def test_a_session_that_begins_behind_a_full_buffer_is_slow_at_once(
    drive: Drive, up_s: float
) -> None:
    """Commands are delayed from the first one on; messages to the operator are not."""
    drive.gate.begin_control(drive.now)
    road = Road(drive)
    road.up_s, road.down_s = up_s, 0.02
    road.wanted = ZERO
    road.run(up_s + 0.2)
    road.wanted = FORWARD
    road.run(3.0)
    speeds = road.speeds_since(0.0) - {0.0}
    assert speeds == ({0.5} if up_s < 0.9 else {0.3} if up_s < 1.4 else speeds & {0.3})


@pytest.mark.parametrize(
    ('trip_s', 'verdict', 'speed'),
    [
        (0.99, CommandVerdict.ACCEPTED, 0.5),
        (1.0, CommandVerdict.ACCEPTED, 0.5),
        (1.01, CommandVerdict.ACCEPTED, 0.3),
        (1.49, CommandVerdict.ACCEPTED, 0.3),
        (1.5, CommandVerdict.ACCEPTED, 0.3),
        (1.51, CommandVerdict.ROUND_TRIP, 0.0),
    ],
)
def test_the_bounds_of_the_round_trip(
    drive: Drive, trip_s: float, verdict: CommandVerdict, speed: float
) -> None:
    token = drive.gate.issue_lease(drive.now)
    drive.send(ZERO)
    drive.now += trip_s
    drive.gate.echo_lease(drive.now, token)
    assert drive.gate.round_trip_s(drive.now) == pytest.approx(trip_s)
    assert drive.send(FORWARD) is verdict
    assert drive.published[-1][1].linear_x == speed


def test_a_path_that_is_quick_again_gives_the_speed_back(road: Road) -> None:
    drive = road.drive
    road.up_s = road.down_s = 0.6
    road.run(10.0)
    road.wanted = ZERO
    road.run(2.0)
    road.wanted = FORWARD
    road.run(8.0)
    assert road.speeds_since(drive.now - 5.0) == {0.3}
    road.up_s = road.down_s = 0.05
    road.run(2.0)
    assert drive.published[-1][1] == FORWARD
