"""Tests of bitrate, frame rate and size, by single reports and by simulated links."""

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

from collections.abc import Iterable
import itertools

from bottleneck import Bottleneck, HD, Sample
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import (
    DRAINING,
    LOWEST_BPS,
    RateController,
    Target,
)

HIGHEST_BPS = 2_500_000
FPS = 30.0
FULL = Target(bitrate_bps=HIGHEST_BPS, fps=FPS, scale=1.0)
ONE, OTHER = 1, 2
REPORTS = st.lists(
    st.one_of(
        st.tuples(st.just('remb'), st.sampled_from([ONE, OTHER]), st.integers(0, 2**40)),
        st.tuples(st.just('loss'), st.floats(0.0, 1.0), st.booleans()),
        st.tuples(st.just('probe')),
        st.tuples(st.just('answer'), st.floats(0.0, 60.0)),
        st.tuples(st.just('sent'), st.integers(0, 2_000_000)),
    )
)


def controller() -> RateController:
    return RateController(highest_bps=HIGHEST_BPS, fps=FPS)


def sending(
    rate: RateController, bitrate_bps: int, *, until_s: float, since_s: float = 0.0
) -> None:
    """Send at a bitrate for some time."""
    at_s = since_s
    while at_s < until_s:
        rate.sent(int(bitrate_bps / 8 / FPS), at_s)
        rate.target(HD, at_s)
        at_s += 1 / FPS


def bitrate_bps(rate: RateController, now: float) -> int:
    return rate.target(HD, now).bitrate_bps


# --- one report at a time --------------------------------------------------------------------


def test_it_begins_with_all_that_is_configured() -> None:
    assert controller().target(HD, 0.0) == FULL


def test_an_estimate_that_falls_counts_at_once() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_remb(ONE, HIGHEST_BPS, 2.0)
    rate.on_remb(ONE, 400_000, 2.1)
    assert bitrate_bps(rate, 2.1) == 400_000


def test_a_low_estimate_that_rises_is_no_congestion() -> None:
    """It followed the little that was sent while nothing moved."""
    rate = controller()
    sending(rate, 50_000, until_s=2.0)
    rate.on_remb(ONE, 45_000, 2.0)
    sending(rate, HIGHEST_BPS, since_s=2.0, until_s=4.0)
    for number in range(8):
        rate.on_remb(ONE, 46_000 + 1000 * number, 3.0 + number / 10)
    assert bitrate_bps(rate, 4.0) == HIGHEST_BPS


def test_the_first_estimate_counts_if_it_is_far_below_what_is_sent() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_remb(ONE, 2_400_000, 2.0)
    assert bitrate_bps(rate, 2.0) == HIGHEST_BPS
    rate.on_remb(OTHER, 500_000, 2.0)
    assert bitrate_bps(rate, 2.0) == 500_000


def test_estimates_of_different_receivers_are_not_compared() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    for number in range(10):
        rate.on_remb(ONE, 30_000_000, 2.0 + number / 100)
        rate.on_remb(OTHER, 2_450_000 + number, 2.0 + number / 100)
    assert bitrate_bps(rate, 2.1) == HIGHEST_BPS


def test_a_fall_while_little_is_sent_is_followed_in_steps() -> None:
    rate = controller()
    sending(rate, 400_000, until_s=2.0)
    rate.on_remb(ONE, 500_000, 2.0)
    rate.on_remb(ONE, 300_000, 2.0)
    assert bitrate_bps(rate, 2.0) == 1_750_000


def test_nothing_is_cut_while_less_than_the_least_is_sent() -> None:
    rate = controller()
    sending(rate, 100_000, until_s=2.0)
    rate.on_remb(ONE, 90_000, 2.0)
    rate.on_remb(ONE, 20_000, 2.1)
    rate.on_report(ONE, 0.5, 2.2)
    assert bitrate_bps(rate, 2.2) == HIGHEST_BPS


def test_heavy_loss_cuts_once_for_all_reports_of_the_same_time() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_report(ONE, 0.4, 2.0)
    rate.on_report(OTHER, 0.4, 2.1)
    assert bitrate_bps(rate, 2.1) == 2_000_000
    sending(rate, 2_000_000, since_s=2.1, until_s=3.0)
    rate.on_report(ONE, 0.4, 3.1)
    assert bitrate_bps(rate, 3.1) == 1_600_000


def test_some_loss_only_keeps_it_from_rising() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_report(ONE, 0.2, 2.0)
    cut_bps = bitrate_bps(rate, 2.0)
    for second in range(3, 12):
        rate.on_report(ONE, 0.05, float(second))
        sending(rate, cut_bps, since_s=float(second), until_s=second + 1.0)
    assert bitrate_bps(rate, 12.0) == cut_bps
    for second in range(12, 16):
        rate.on_report(ONE, 0.0, float(second))
        sending(rate, cut_bps, since_s=float(second), until_s=second + 1.0)
    assert bitrate_bps(rate, 16.0) > cut_bps


def answered(rate: RateController, trips_s: Iterable[float], since_s: float) -> float:
    """Probe every tenth of a second, with these round trips; return the time afterwards."""
    now = since_s
    for trip_s in trips_s:
        rate.on_probe(now)
        rate.on_answer(now, now + trip_s)
        now += 0.1
    return now


def sending_and_probing(rate: RateController, *, since_s: float, until_s: float) -> None:
    for number in range(round(10 * (until_s - since_s))):
        at_s = since_s + number / 10
        sending(rate, bitrate_bps(rate, at_s), since_s=at_s, until_s=at_s + 0.099)
        answered(rate, [0.05], at_s + 0.0995)


def test_a_queue_on_the_way_cuts_to_what_passes_and_keeps_it_from_rising() -> None:
    rate = controller()
    sending_and_probing(rate, since_s=0.0, until_s=2.0)
    assert bitrate_bps(rate, 2.0) == HIGHEST_BPS
    # The queue grows by 0.15 s in 0.1 s: two fifths pass.
    for at_s, trip_s in ((2.1, 0.10), (2.2, 0.25), (2.3, 0.40)):
        sending(rate, HIGHEST_BPS, since_s=at_s - 0.1, until_s=at_s - 0.001)
        rate.on_probe(at_s)
        rate.on_answer(at_s, at_s + trip_s)
        if trip_s == 0.25:
            # One answer may be a short delay: the queue drains, but the capacity is unknown.
            assert bitrate_bps(rate, 2.45) == round(0.7 * HIGHEST_BPS)
    cut_bps = 0.9 * HIGHEST_BPS * 2 / 5
    now = 2.7
    assert bitrate_bps(rate, now) == pytest.approx(0.7 * cut_bps, rel=0.1)
    now = answered(rate, [0.30] * 20, now)
    assert bitrate_bps(rate, now) < cut_bps
    now = answered(rate, [0.05], now)
    full_bps = bitrate_bps(rate, now)
    sending_and_probing(rate, since_s=now + 1.0, until_s=now + 4.0)
    assert bitrate_bps(rate, now + 4.0) > full_bps


def test_an_answer_to_a_probe_from_before_the_cut_cuts_no_further() -> None:
    rate = controller()
    sending_and_probing(rate, since_s=0.0, until_s=2.0)
    for number in range(4):
        sending(rate, HIGHEST_BPS, since_s=2.0 + number / 10, until_s=2.095 + number / 10)
        rate.on_probe(2.1 + number / 10)
    rate.on_answer(2.1, 2.3)
    rate.on_answer(2.2, 2.5)
    after_one = bitrate_bps(rate, 2.5)
    assert after_one < HIGHEST_BPS
    rate.on_answer(2.3, 2.7)
    rate.on_answer(2.4, 2.9)
    assert bitrate_bps(rate, 2.9) == after_one


def test_a_long_way_is_no_queue() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    answered(rate, [0.6 + 0.02 * number for number in range(5)], 2.0)
    assert bitrate_bps(rate, 7.0) == HIGHEST_BPS
    assert not rate.holds_back(2.5)


def test_a_link_that_stood_still_for_a_moment_is_no_narrower() -> None:
    """Radio links do that: everything arrives at once, later."""
    rate = controller()
    sending_and_probing(rate, since_s=0.0, until_s=2.0)
    for number in range(10):
        sending(rate, HIGHEST_BPS, since_s=2.0 + number / 10, until_s=2.099 + number / 10)
        rate.on_probe(2.1 + number / 10)
    for number in range(10):
        rate.on_answer(2.1 + number / 10, 3.1 + number / 1000)
    assert bitrate_bps(rate, 3.2) == HIGHEST_BPS


def test_the_estimate_of_who_is_probed_does_not_count() -> None:
    rate = controller()
    sending_and_probing(rate, since_s=0.0, until_s=2.0)
    rate.on_report(ONE, 0.0, 2.0, is_next_hop=True)
    rate.on_report(OTHER, 0.0, 2.0)
    for bps in (HIGHEST_BPS, 400_000):
        rate.on_remb(ONE, bps, 2.0)
    assert bitrate_bps(rate, 2.0) == HIGHEST_BPS
    for bps in (HIGHEST_BPS, 400_000):
        rate.on_remb(OTHER, bps, 2.0)
    assert bitrate_bps(rate, 2.0) == 400_000


def test_estimates_of_a_peer_that_answers_no_probes_count() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_probe(1.0)
    rate.on_report(ONE, 0.0, 2.0, is_next_hop=True)
    for bps in (HIGHEST_BPS, 400_000):
        rate.on_remb(ONE, bps, 2.0)
    assert bitrate_bps(rate, 2.0) == 400_000


def test_few_frames_are_sent_while_an_answer_is_overdue() -> None:
    rate = controller()
    sending_and_probing(rate, since_s=0.0, until_s=2.0)
    rate.on_probe(2.0)
    sent = []
    for number in range(60):
        now = 2.0 + number / 30
        if not rate.holds_back(now):
            rate.sent(1000, now)
            sent.append(now)
    assert [now for now in sent if now < 2.25] == pytest.approx([2.0 + n / 30 for n in range(8)])
    assert len([now for now in sent if now >= 2.25]) == pytest.approx(4 * 1.75, abs=1)
    rate.on_answer(2.0, 4.0)
    assert not rate.holds_back(4.0)


def test_a_queue_that_does_not_drain_holds_frames_back_for_some_seconds_only() -> None:
    rate = controller()
    sending_and_probing(rate, since_s=0.0, until_s=2.0)
    rate.on_probe(2.0)
    sent = []
    for number in range(30 * 40):
        now = 2.0 + number / 30
        if not rate.holds_back(now):
            rate.sent(1000, now)
            sent.append(now)
    early = [now for now in sent if 2.3 <= now < 5.0]
    late = [now for now in sent if now >= 12.0]
    assert len(early) < 5 * 2.7
    assert len(late) > 0.85 * 30 * 30


def test_it_rises_by_eight_per_cent_a_second_and_slowly_near_where_it_was_too_much() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_remb(ONE, HIGHEST_BPS, 2.0)
    rate.on_remb(ONE, 340_000, 2.0)
    before = bitrate_bps(rate, 2.0)
    seconds = {}
    for second in range(2, 60):
        now = bitrate_bps(rate, float(second))
        sending(rate, now, since_s=float(second), until_s=second + 1.0)
        seconds[second] = bitrate_bps(rate, second + 1.0)
        assert now <= seconds[second] <= 1.09 * now
    assert before == 340_000
    assert seconds[2] == before, 'held for a second'
    near = [bps for bps in seconds.values() if 365_000 < bps < 435_000]
    assert all(later <= 1.025 * bps for bps, later in itertools.pairwise(near))
    assert len(near) >= 7
    assert seconds[59] == HIGHEST_BPS


def test_it_rises_slowly_while_the_scene_does_not_need_it() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_report(ONE, 1.0, 2.0)
    rate.on_report(ONE, 0.0, 2.5)
    sending(rate, 100_000, since_s=4.0, until_s=14.0)
    assert bitrate_bps(rate, 14.0) <= 1.25 * HIGHEST_BPS / 2


# --- frames and pixels -----------------------------------------------------------------------


def test_frames_go_before_pixels_and_come_back_after_them() -> None:
    rate = controller()
    seen: list[tuple[float, float]] = []
    bps, at_s = HIGHEST_BPS, 0.0
    rate.on_remb(ONE, HIGHEST_BPS, at_s)
    while bps > LOWEST_BPS:
        bps -= 10_000
        sending(rate, HIGHEST_BPS, since_s=at_s, until_s=at_s + 0.1)
        at_s += 0.1
        rate.on_remb(ONE, bps, at_s)
        target = rate.target(HD, at_s)
        if (target.fps, target.scale) not in seen:
            seen.append((target.fps, target.scale))
    assert seen == [(30.0, 1.0), (20.0, 1.0), (15.0, 1.0), (15.0, 0.75), (15.0, 0.5)]
    steps = []
    while at_s < 120.0:
        target = rate.target(HD, at_s)
        steps.append((target.fps, target.scale))
        rate.sent(target.bitrate_bps // 8 // 30, at_s)
        at_s += 1 / 30
    assert [step for step, _ in itertools.groupby(steps)] == list(reversed(seen))


def test_a_small_picture_keeps_all_its_frames() -> None:
    rate = controller()
    sending(rate, HIGHEST_BPS, until_s=2.0)
    rate.on_report(ONE, 1.0, 2.0)
    rate.on_remb(ONE, HIGHEST_BPS, 2.0)
    rate.on_remb(ONE, 1, 2.0)
    target = rate.target(320 * 240, 2.0)
    assert target == Target(bitrate_bps=LOWEST_BPS, fps=FPS, scale=1.0)


@pytest.mark.parametrize(('fps', 'lowest'), [(30.0, 15.0), (15.0, 10.0), (12.0, 12.0), (5.0, 5.0)])
def test_a_frame_rate_is_at_most_halved_and_stays_above_ten(fps: float, lowest: float) -> None:
    rate = RateController(highest_bps=LOWEST_BPS, fps=fps)
    assert rate.target(4 * HD, 0.0).fps == lowest


# --- whole links -----------------------------------------------------------------------------


def between(samples: list[Sample], since_s: float, until_s: float) -> list[Sample]:
    return [sample for sample in samples if since_s <= sample.at_s < until_s]


def steps(samples: list[Sample]) -> int:
    return sum(
        (one.target.fps, one.target.scale) != (next_one.target.fps, next_one.target.scale)
        for one, next_one in itertools.pairwise(samples)
    )


@pytest.mark.parametrize('capacity_bps', [250e3, 300e3, 500e3, 1e6, 2e6])
def test_on_a_constant_link_it_settles_and_does_not_swing(capacity_bps: float) -> None:
    samples = Bottleneck(controller(), lambda at_s: capacity_bps, with_probes=True).run(90.0)
    settled = between(samples, 15.0, 90.0)
    rates = [sample.target.bitrate_bps for sample in settled]
    assert 0.55 * capacity_bps < min(rates)
    assert max(rates) < 1.3 * capacity_bps
    assert sum(rates) / len(rates) > 0.9 * capacity_bps
    assert steps(settled) <= 4
    assert max(sample.delay_s for sample in settled) < 0.5
    assert sum(sample.lost for sample in settled) == 0


@pytest.mark.parametrize('capacity_bps', [250e3, 1e6])
def test_on_a_viewers_constant_link_estimates_suffice(capacity_bps: float) -> None:
    settled = between(Bottleneck(controller(), lambda at_s: capacity_bps).run(90.0), 15.0, 90.0)
    rates = [sample.target.bitrate_bps for sample in settled]
    assert max(rates) < 1.4 * capacity_bps
    assert sum(rates) / len(rates) > 0.75 * capacity_bps


def test_it_is_below_a_sudden_limit_within_two_seconds() -> None:
    samples = Bottleneck(controller(), lambda at_s: 10e6 if at_s < 10.0 else 300e3).run(20.0)
    assert {sample.target for sample in between(samples, 0.0, 10.0)} == {FULL}
    assert all(sample.target.bitrate_bps < 300_000 for sample in between(samples, 12.0, 14.0))


def test_it_comes_back_when_the_limit_is_lifted() -> None:
    samples = Bottleneck(controller(), lambda at_s: 300e3 if at_s < 20.0 else 10e6).run(80.0)
    assert samples[-1].target == FULL
    assert sum(sample.lost for sample in between(samples, 20.0, 80.0)) == 0


@pytest.mark.parametrize('lifted_bps', [600e3, 1e6, 2e6, 10e6])
def test_it_comes_back_soon_where_probes_tell_of_the_next_limit(lifted_bps: float) -> None:
    link = Bottleneck(
        controller(),
        lambda at_s: 10e6 if at_s < 10.0 else 300e3 if at_s < 40.0 else lifted_bps,
        with_probes=True,
    )
    later = between(link.run(100.0), 40.0, 100.0)
    high_bps = 0.88 * min(lifted_bps, HIGHEST_BPS)
    assert min(one.at_s for one in later if one.target.bitrate_bps > high_bps) < 40.0 + 20.0
    assert max(one.delay_s for one in later) < 0.5
    assert sum(one.lost for one in later) == 0


@pytest.mark.parametrize('with_probes', [False, True])
def test_a_wide_link_is_used_in_full(with_probes: bool) -> None:
    link = Bottleneck(controller(), lambda at_s: 50e6, with_probes=with_probes, random_loss=0.01)
    assert {sample.target for sample in link.run(60.0)} == {FULL}


def test_a_scene_that_begins_to_move_has_all_bits_at_once() -> None:
    link = Bottleneck(
        controller(), lambda at_s: 10e6, activity=lambda at_s: 0.02 if at_s < 20.0 else 1.0
    )
    assert {sample.target for sample in link.run(60.0)} == {FULL}


def test_without_estimates_loss_keeps_it_at_what_the_link_carries() -> None:
    samples = Bottleneck(controller(), lambda at_s: 1e6, with_remb=False).run(90.0)
    rates = [sample.target.bitrate_bps for sample in between(samples, 15.0, 90.0)]
    assert min(rates) > 0.6e6
    assert max(rates) < 1.3e6


@pytest.mark.parametrize('capacity_bps', [300e3, 1e6])
@pytest.mark.parametrize('queue_s', [0.5, 5.0])
def test_probes_find_a_sudden_limit_before_frames_are_late(
    capacity_bps: float, queue_s: float
) -> None:
    link = Bottleneck(
        controller(),
        lambda at_s: 10e6 if at_s < 10.0 else capacity_bps,
        queue_s=queue_s,
        with_probes=True,
    )
    samples = link.run(60.0)
    assert {sample.target for sample in between(samples, 0.0, 10.0)} == {FULL}
    arrivals_s = [sample.at_s + sample.delay_s for sample in samples]
    gaps_s = [later - one for one, later in itertools.pairwise(arrivals_s)]
    assert max(gaps_s) < 1.0
    settled = between(samples, 15.0, 60.0)
    assert max(sample.delay_s for sample in settled) < 0.5
    assert sum(sample.lost for sample in settled) == 0
    rates = [sample.target.bitrate_bps for sample in settled]
    assert sum(rates) / len(rates) > 0.7 * capacity_bps


# --- any reports -----------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    reports=REPORTS,
    times=st.lists(st.floats(0.0, 3.0), min_size=1),
    pixels=st.integers(1, 10**8),
    highest_bps=st.integers(150_000, 20_000_000),
    fps=st.floats(1.0, 120.0),
)
def test_whatever_is_reported_it_stays_within_its_bounds(
    reports: list[tuple[object, ...]],
    times: list[float],
    pixels: int,
    highest_bps: int,
    fps: float,
) -> None:
    rate = RateController(highest_bps=highest_bps, fps=fps)
    now, probe_s, before = 0.0, 0.0, float(highest_bps)
    for report, gap_s in zip(reports, itertools.cycle(times), strict=False):
        now += gap_s
        match report:
            case ('remb', int(source), int(bps)):
                rate.on_remb(source, bps, now)
            case ('loss', float(lost), bool(is_next_hop)):
                rate.on_report(ONE, lost, now, is_next_hop=is_next_hop)
            case ('probe',):
                probe_s = now
                rate.on_probe(now)
            case ('answer', float(trip_s)):
                rate.on_answer(max(probe_s, now - trip_s), now)
            case ('sent', int(size)):
                rate.sent(size, now)
        target = rate.target(pixels, now)
        assert LOWEST_BPS <= target.bitrate_bps <= highest_bps
        # Lower while a queue drains; then it continues from the previous value.
        assert target.bitrate_bps <= 1.081 * before / DRAINING
        assert 0.0 < target.fps <= fps
        assert 0.25 <= target.scale <= 1.0
        before = target.bitrate_bps


# --- a stream that the camera encodes ------------------------------------------------------------


def test_a_stream_of_any_size_is_carried_until_congestion_tells_otherwise() -> None:
    rate = RateController(highest_bps=1_000_000, fps=30.0)
    for half in range(20):
        rate.sent(500_000, 100.1 + half / 2)
        assert rate.carries(8e6, 100.1 + half / 2) >= 8e6
    rate.on_remb(1, 3e6, 110.0)
    assert rate.carries(8e6, 110.1) == pytest.approx(3e6, rel=0.05)
    # It rises as for pictures encoded here, but no further than the stream needs.
    now = 111.0
    while now < 400.0:
        rate.sent(500_000, now)
        carried_bps = rate.carries(8e6, now)
        now += 0.5
    assert 8e6 <= carried_bps <= 1.3 * 8e6


def test_what_is_encoded_after_it_keeps_to_what_is_configured() -> None:
    rate = RateController(highest_bps=1_000_000, fps=30.0)
    assert rate.carries(8e6, 100.0) >= 8e6
    assert rate.target(640 * 360, 100.1).bitrate_bps == 1_000_000
    assert rate.carries(8e6, 100.2) >= 8e6
