"""Token buckets, in time that the test makes."""

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

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.rate_limit import (
    FloodDetector,
    MessageBudget,
    RateLimit,
    TokenBucket,
)

# --- one bucket --------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 1.0)), max_size=60))
def test_a_bucket_never_gives_more_than_it_gets(takes: list[tuple[float, float]]) -> None:
    bucket, now, taken = TokenBucket(2.0, 3.0, 0.0), 0.0, 0.0
    for amount, gap_s in takes:
        now += gap_s
        if bucket.take(amount, now):
            taken += amount
        assert taken <= 3.0 + 2.0 * now + 1e-6


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = TokenBucket(10.0, 1.0, 100.0)
    assert bucket.take(1.0, 100.0)
    assert not bucket.take(1.0, 50.0)
    assert bucket.take(1.0, 50.1)


def test_a_debt_is_paid_by_time_and_is_at_most_one_bucket() -> None:
    bucket = TokenBucket(2.0, 3.0, 0.0)
    bucket.spend(4.0, 0.0)
    assert bucket.wait_s(0.0, 0.0) == pytest.approx(0.5)
    bucket.spend(1e9, 0.0)
    assert bucket.wait_s(0.0, 0.0) == pytest.approx(1.5)
    assert not bucket.is_full(2.9)
    assert bucket.is_full(3.0)


def test_a_message_needs_room_in_both_limits_and_uses_neither_up_otherwise() -> None:
    budget = MessageBudget((1.0, 2.0), (100.0, 100.0), 0.0)
    assert not budget.take(101, 0.0)
    assert budget.take(50, 0.0)
    assert not budget.take(51, 0.0)
    assert budget.take(50, 0.0)
    assert not budget.take(0, 0.0)


def test_a_flood_is_an_excess_without_a_pause() -> None:
    flood = FloodDetector()
    assert not flood.is_flooded()
    for tick in range(30):
        flood.note_excess(tick / 10)
        assert not flood.is_flooded()
    flood.note_excess(3.0)
    assert flood.is_flooded()
    flood.note_excess(4.0)
    assert not flood.is_flooded()


# --- a bucket for each caller ------------------------------------------------------------------


def test_a_burst_then_the_rate() -> None:
    limit = RateLimit(per_minute=12, burst=3)
    assert [limit.take('a', 0.0) for _ in range(3)] == [None] * 3
    assert limit.take('a', 0.0) == pytest.approx(5.0)
    assert limit.take('a', 4.0) == pytest.approx(1.0)
    assert limit.take('a', 5.0) is None
    assert limit.take('a', 5.0) == pytest.approx(5.0)


def test_callers_do_not_share() -> None:
    limit = RateLimit(per_minute=1, burst=1)
    assert limit.take('a', 0.0) is None
    assert limit.take('b', 0.0) is None
    assert limit.take('a', 0.0) is not None


def test_forgetting_callers_gives_nobody_more() -> None:
    limit = RateLimit(per_minute=1, burst=1)
    limit.take('busy', 1000.0)
    for number in range(3000):
        limit.take(f'caller{number}', 900.0 + number / 30.0)
    assert limit.take('busy', 1000.0) is not None


@given(st.lists(st.floats(0.0, 10.0), max_size=100))
def test_never_more_than_burst_and_rate_allow(pauses_s: list[float]) -> None:
    limit, now_s, taken = RateLimit(per_minute=30, burst=4), 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        retry_after_s = limit.take('a', now_s)
        taken += retry_after_s is None
        assert retry_after_s is None or 0.0 < retry_after_s <= 2.0
    assert taken <= 4 + now_s / 2.0 + 1e-6


# --- costs that are known only afterwards ------------------------------------------------------


def test_a_debt_is_waited_for_and_paid_by_time() -> None:
    budget = RateLimit(per_minute=6.0, burst=0.5)
    assert budget.wait_s('a', 0.0) == 0.0
    budget.spend('a', 0.5, 0.0)
    assert budget.wait_s('a', 0.0) == 0.0
    budget.spend('a', 0.1, 0.0)
    assert budget.wait_s('a', 0.0) == pytest.approx(1.0)
    assert budget.wait_s('a', 0.5) == pytest.approx(0.5)
    assert budget.wait_s('a', 1.0) == pytest.approx(0.0)
    assert budget.wait_s('b', 0.0) == 0.0


def test_a_debt_is_at_most_one_burst() -> None:
    budget = RateLimit(per_minute=60.0, burst=2.0)
    budget.spend('a', 1e9, 0.0)
    assert budget.wait_s('a', 0.0) == pytest.approx(2.0)


def test_memory_is_bounded_and_the_rest_shares_a_bucket() -> None:
    limit = RateLimit(per_minute=1e-3, burst=1)
    tracemalloc.start()
    try:
        for number in range(20_000):
            limit.take(f'caller{number}', number * 1e-3)
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used_bytes < 4e6
    # Their bucket is empty.
    assert limit.take('somebody new', 20.0) is not None
    assert limit.take('caller5', 20.0) is not None
    limit.spend('another', 1.0, 20.0)
    assert limit.wait_s('a third', 20.0) > 0.0
