"""How old a command is: by its stamp on any clock, and by the robot's own tokens."""

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

import random

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.motion.freshness import CommandLease, CommandVerdict, Freshness

RTT_S = 0.08

# --- stamps ----------------------------------------------------------------------------------


class Stamps:
    """A sender with a clock of its own, and the verdicts on its stamps."""

    def __init__(self, *, skew_s: float = 1.7e9) -> None:
        self.freshness = Freshness()
        self.now = 1000.0
        self.skew_s = skew_s
        self.standing = True

    def send(self, *, delay_s: float = 0.03) -> CommandVerdict:
        stamp_s = self.now - delay_s + self.skew_s
        verdict = self.freshness.judge(self.now, stamp_s, standing=self.standing)
        if verdict is CommandVerdict.ACCEPTED:
            self.freshness.advance(stamp_s)
        return verdict

    def stream(self, count: int, *, delay_s: float = 0.03) -> list[CommandVerdict]:
        verdicts = []
        for _ in range(count):
            self.now += 0.02
            verdicts.append(self.send(delay_s=delay_s))
        return verdicts


@pytest.fixture
def stamps() -> Stamps:
    return Stamps()


@given(skew_s=st.floats(-3e8, 3e8), delay_s=st.floats(0.0, 5.0))
@settings(max_examples=100)
def test_a_constant_skew_or_delay_changes_nothing(skew_s: float, delay_s: float) -> None:
    stamps = Stamps(skew_s=skew_s)
    assert set(stamps.stream(20, delay_s=delay_s)) == {CommandVerdict.ACCEPTED}


def test_the_same_stamp_or_an_older_one_is_out_of_order(stamps: Stamps) -> None:
    stamps.stream(10)
    assert stamps.send() is CommandVerdict.OUT_OF_ORDER
    assert stamps.send(delay_s=0.031) is CommandVerdict.OUT_OF_ORDER
    assert stamps.send(delay_s=0.029) is CommandVerdict.ACCEPTED


def test_what_was_slower_than_a_later_one_is_forgotten_with_it(stamps: Stamps) -> None:
    for delay_s in (0.03, 0.33, 0.13):
        assert stamps.send(delay_s=delay_s) is CommandVerdict.ACCEPTED
        stamps.now += 1.0
    # The first is older than ten seconds: the quickest is the third, not the second.
    stamps.now = 1010.5
    assert stamps.send(delay_s=0.73) is CommandVerdict.STALE


def test_a_jump_is_measured_from_the_quickest_command(stamps: Stamps) -> None:
    assert stamps.send(delay_s=0.03) is CommandVerdict.ACCEPTED
    stamps.now += 1.0
    assert stamps.send(delay_s=0.93) is CommandVerdict.STALE
    stamps.now += 1.0
    assert stamps.send(delay_s=-0.3) is CommandVerdict.ACCEPTED


def test_only_commands_that_were_obeyed_move_the_watermark(stamps: Stamps) -> None:
    assert stamps.freshness.judge(1000.0, 5.0, standing=True) is CommandVerdict.ACCEPTED
    # Not advanced: another check refused it.
    assert stamps.freshness.judge(1000.01, 4.9, standing=True) is CommandVerdict.ACCEPTED


@pytest.mark.parametrize(
    ('excess_s', 'verdict'), [(0.499, CommandVerdict.ACCEPTED), (0.501, CommandVerdict.STALE)]
)
def test_half_a_second_more_than_the_quickest_is_the_most(
    stamps: Stamps, excess_s: float, verdict: CommandVerdict
) -> None:
    stamps.stream(10)
    stamps.now += 1.0
    assert stamps.send(delay_s=0.03 + excess_s) is verdict


def test_the_quickest_of_the_last_ten_seconds_is_the_measure(stamps: Stamps) -> None:
    stamps.stream(1)
    quick_s = stamps.now
    stamps.now += 0.5  # a path does not become slower without a gap
    assert set(stamps.stream(400, delay_s=0.43)) == {CommandVerdict.ACCEPTED}
    stamps.now = quick_s + 9.99
    assert stamps.send(delay_s=0.6) is CommandVerdict.STALE
    stamps.now = quick_s + 10.01
    assert stamps.send(delay_s=0.6) is CommandVerdict.ACCEPTED


def test_a_quicker_one_is_the_new_measure_at_once(stamps: Stamps) -> None:
    assert set(stamps.stream(10, delay_s=0.43)) == {CommandVerdict.ACCEPTED}
    assert set(stamps.stream(10)) == {CommandVerdict.ACCEPTED}
    stamps.now += 1.0
    assert stamps.send(delay_s=0.6) is CommandVerdict.STALE


def test_the_bounds_themselves_are_within() -> None:
    # Times that binary fractions hold exactly.
    freshness = Freshness()
    assert freshness.judge(100.0, 100.0, standing=True) is CommandVerdict.ACCEPTED
    assert freshness.judge(101.0, 100.5, standing=True) is CommandVerdict.ACCEPTED
    assert freshness.judge(110.0, 109.375, standing=True) is CommandVerdict.STALE
    assert freshness.judge(110.0, 109.0, standing=True) is CommandVerdict.STALE
    assert freshness.judge(110.125, 109.5, standing=True) is CommandVerdict.ACCEPTED
    stamps = [50.0, 50.5, 51.5, 52.0, 53.0]
    arrivals = [200.0, 201.0, 201.5, 202.5, 203.0]
    freshness = Freshness()
    freshness.judge(199.0, 199.0, standing=True)
    verdicts = [
        freshness.judge(arrival_s, stamp_s, standing=True)
        for arrival_s, stamp_s in zip(arrivals, stamps, strict=True)
    ]
    assert verdicts[-1] is CommandVerdict.CLOCK_STEP


def test_a_second_and_no_more_may_jump_without_a_step() -> None:
    freshness = Freshness()
    freshness.judge(100.0, 100.0, standing=True)
    # A jump by exactly a second is no step, and becomes the new measure.
    assert freshness.judge(100.5, 101.5, standing=True) is CommandVerdict.ACCEPTED
    assert freshness.judge(101.0, 103.0, standing=True) is CommandVerdict.ACCEPTED
    assert freshness.judge(101.5, 104.625, standing=True) is CommandVerdict.OUT_OF_ORDER


def test_more_than_a_second_too_late_is_stale_and_too_early_out_of_order(stamps: Stamps) -> None:
    stamps.stream(10)
    stamps.now += 3.0
    assert stamps.send(delay_s=1.1) is CommandVerdict.STALE
    assert stamps.send(delay_s=-1.1) is CommandVerdict.OUT_OF_ORDER


@pytest.mark.parametrize(
    ('step_s', 'verdicts'),
    [
        (0.95, [CommandVerdict.ACCEPTED] * 5),
        (1.05, [CommandVerdict.OUT_OF_ORDER] * 4 + [CommandVerdict.CLOCK_STEP]),
    ],
)
def test_a_clock_that_jumps_by_more_than_a_second_has_stepped(
    stamps: Stamps, step_s: float, verdicts: list[CommandVerdict]
) -> None:
    stamps.stream(10)
    stamps.skew_s += step_s
    assert stamps.stream(5) == verdicts


def test_five_witnesses_prove_a_clock_step(stamps: Stamps) -> None:
    stamps.stream(10)
    stamps.skew_s += 3600.0
    assert stamps.stream(5) == [CommandVerdict.OUT_OF_ORDER] * 4 + [CommandVerdict.CLOCK_STEP]
    assert set(stamps.stream(10)) == {CommandVerdict.ACCEPTED}


def test_a_step_back_is_told_from_the_delay(stamps: Stamps) -> None:
    stamps.stream(10)
    stamps.skew_s -= 3600.0
    assert stamps.stream(5) == [CommandVerdict.STALE] * 4 + [CommandVerdict.CLOCK_STEP]
    assert set(stamps.stream(10)) == {CommandVerdict.ACCEPTED}


def test_a_small_step_back_is_proven_by_commands_behind_the_watermark(stamps: Stamps) -> None:
    stamps.stream(10)
    stamps.skew_s -= 0.9
    verdicts = stamps.stream(5)
    assert verdicts == [CommandVerdict.OUT_OF_ORDER] * 4 + [CommandVerdict.CLOCK_STEP]


def test_a_clock_step_is_not_believed_while_the_robot_moves(stamps: Stamps) -> None:
    stamps.stream(10)
    stamps.standing = False
    stamps.skew_s += 3600.0
    assert set(stamps.stream(20)) == {CommandVerdict.OUT_OF_ORDER}
    stamps.standing = True
    assert stamps.stream(1) == [CommandVerdict.CLOCK_STEP]


@pytest.mark.parametrize('change', ['scattered', 'repeated', 'refuted'])
def test_witnesses_must_agree_follow_each_other_and_not_be_refuted(
    stamps: Stamps, change: str
) -> None:
    stamps.stream(10)
    for number in range(40):
        stamps.now += 0.02
        if change == 'scattered':
            verdict = stamps.send(delay_s=-100.0 - 0.6 * number)
        elif change == 'repeated':
            verdict = stamps.send(delay_s=stamps.now - 900.0)
        elif number % 5 == 4:
            verdict = stamps.send()
            assert verdict is CommandVerdict.ACCEPTED
        else:
            verdict = stamps.send(delay_s=100.0)
        assert verdict is not CommandVerdict.CLOCK_STEP


def test_witnesses_may_jitter_by_half_a_second(stamps: Stamps) -> None:
    stamps.stream(10)
    stamps.skew_s += 3600.0
    verdicts = []
    for delay_s in (0.03, 0.5, 0.1, 0.55, 0.2):
        stamps.now += 0.6
        verdicts.append(stamps.send(delay_s=delay_s))
    assert verdicts[-1] is CommandVerdict.CLOCK_STEP


# --- tokens ----------------------------------------------------------------------------------


@pytest.fixture
def lease() -> CommandLease:
    return CommandLease(first_token=7)


def test_tokens_begin_at_the_first_and_rise_by_one(lease: CommandLease) -> None:
    assert [lease.issue(0.05 * number) for number in range(4)] == [7, 8, 9, 10]
    assert lease.next_token == 11


def test_nothing_is_known_of_a_peer_that_never_echoes(lease: CommandLease) -> None:
    for number in range(400):
        lease.issue(0.05 * number)
        assert not lease.in_use
        assert lease.age_s(0.05 * number) == 0.0
        assert lease.round_trip_s(0.05 * number) == 0.0
        assert not lease.is_overdue(0.05 * number)


def test_an_echo_tells_the_round_trip_and_the_age(lease: CommandLease) -> None:
    lease.echo(10.0 + RTT_S, lease.issue(10.0))
    assert lease.in_use
    assert lease.round_trip_s(10.1) == pytest.approx(RTT_S)
    assert lease.age_s(10.3) == pytest.approx(0.3)


def test_a_token_that_was_not_sent_changes_nothing(lease: CommandLease) -> None:
    lease.issue(10.0)
    for token in (-1, 0, 6, 8, 2**53):
        lease.echo(10.1, token)
    assert not lease.in_use
    assert lease.round_trip_s(10.1) == 0.0


def test_tokens_of_an_earlier_lease_are_not_accepted() -> None:
    former = CommandLease(first_token=7)
    old = [former.issue(9.0 + 0.05 * number) for number in range(10)]
    lease = CommandLease(first_token=former.next_token)
    assert lease.issue(10.0) not in old
    for token in old:
        lease.echo(10.1, token)
    assert not lease.in_use


def test_a_replayed_or_older_token_makes_nothing_younger_and_no_trip_longer(
    lease: CommandLease,
) -> None:
    first, second = lease.issue(10.0), lease.issue(10.05)
    lease.echo(10.05 + RTT_S, second)
    for token in (second, first):
        lease.echo(10.5, token)
    assert lease.age_s(10.5) == pytest.approx(0.45)
    lease.echo(15.2, second)
    # Its only trip is more than five seconds ago.
    assert lease.round_trip_s(15.2) == 0.0


def test_the_shortest_round_trip_of_the_last_five_seconds_counts(lease: CommandLease) -> None:
    lease.echo(10.05, lease.issue(10.0))
    lease.echo(11.3, lease.issue(11.0))
    assert lease.round_trip_s(12.0) == pytest.approx(0.05)
    assert lease.round_trip_s(15.04) == pytest.approx(0.05)
    assert lease.round_trip_s(15.06) == pytest.approx(0.3)
    assert lease.round_trip_s(16.29) == pytest.approx(0.3)
    assert lease.round_trip_s(16.31) == 0.0


def test_the_recent_round_trip_follows_within_half_a_second(lease: CommandLease) -> None:
    assert lease.recent_round_trip_s(9.0) == 0.0
    for number in range(10):
        sent_s = 10.0 + 0.1 * number
        lease.echo(sent_s + 0.05, lease.issue(sent_s))
    assert lease.recent_round_trip_s(10.95) == pytest.approx(0.05)
    for number in range(5):
        sent_s = 11.0 + 0.1 * number
        lease.echo(sent_s + 0.3, lease.issue(sent_s))
    # The last fast one came at 10.95.
    assert lease.recent_round_trip_s(11.44) == pytest.approx(0.05)
    assert lease.recent_round_trip_s(11.46) == pytest.approx(0.3)
    assert lease.round_trip_s(11.46) == pytest.approx(0.05)
    # Without newer ones, the newest counts, until all are forgotten.
    assert lease.recent_round_trip_s(13.0) == pytest.approx(0.3)


def test_it_is_overdue_half_a_second_and_a_round_trip_after_the_newest_echoed_token(
    lease: CommandLease,
) -> None:
    lease.echo(10.0 + RTT_S, lease.issue(10.0))
    assert not lease.is_overdue(10.499 + RTT_S)
    assert lease.is_overdue(10.501 + RTT_S)
    lease.echo(10.6 + RTT_S, lease.issue(10.6))
    assert not lease.is_overdue(10.6 + RTT_S)


def test_the_bounds_of_the_lease_are_within_it(lease: CommandLease) -> None:
    lease.echo(10.25, lease.issue(10.0))
    assert not lease.is_overdue(10.75)
    assert lease.is_overdue(10.75 + 1e-9)
    assert lease.round_trip_s(15.25) == 0.25
    assert lease.round_trip_s(15.25 + 1e-9) == 0.0


def test_tokens_are_remembered_for_five_seconds(lease: CommandLease) -> None:
    early = lease.issue(10.0)
    for number in range(1, 101):
        lease.issue(10.0 + 0.05 * number)
    lease.echo(15.0, early)
    assert lease.age_s(15.0) == pytest.approx(5.0)
    assert lease.round_trip_s(15.0) == pytest.approx(5.0)


def test_a_round_trip_too_long_to_measure_is_overdue_from_the_first_echo(
    lease: CommandLease,
) -> None:
    # As in a session that begins behind a full buffer: its first echo must not pass for none.
    sent = [(10.0 + 0.05 * number, lease.issue(10.0 + 0.05 * number)) for number in range(120)]
    lease.echo(16.0, sent[0][1])
    assert lease.in_use
    assert lease.is_overdue(16.0)
    # A quick one makes up for it; another forgotten one changes nothing.
    lease.echo(16.05, sent[-1][1])
    assert not lease.is_overdue(16.05)
    lease.echo(16.1, sent[1][1])
    assert not lease.is_overdue(16.1)
    assert lease.age_s(16.1) == pytest.approx(0.15)


@given(seed=st.integers(0, 2**32), one_way_s=st.floats(0.0, 0.2))
@settings(max_examples=50, deadline=None)
def test_the_age_bounds_the_true_age_from_above(seed: int, one_way_s: float) -> None:
    """A command that arrives with an echo was sent after that token."""
    source = random.Random(seed)
    lease = CommandLease(source.getrandbits(32))
    now = 5.0
    for _ in range(100):
        now += 0.05
        token, sent_s = lease.issue(now), now
        if source.random() < 0.8:
            arrival_s = now + 2 * one_way_s * source.uniform(1.0, 1.2)
            lease.echo(arrival_s, token)
            assert lease.age_s(arrival_s) <= arrival_s - sent_s + 1e-9
            assert 2 * one_way_s - 1e-9 <= lease.round_trip_s(arrival_s) <= 2.4 * one_way_s + 1e-9
        now += source.choice((0.0, 0.0, 0.3))
