"""Tests of what answers to probes reveal about the queue."""

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

import pytest

from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import LinkQueue

DELAY_S = 0.1


def answered(queue: LinkQueue, trips_s: list[float], since_s: float = 0.0) -> float:
    """Send 1000 bytes and a probe every tenth of a second; return the next time."""
    at_s = since_s
    for trip_s in trips_s:
        queue.sent(1000)
        queue.probed(at_s)
        queue.answered(at_s, at_s + trip_s)
        at_s += 0.1
    return at_s


def test_without_answers_there_is_no_queue() -> None:
    queue = LinkQueue()
    for number in range(1000):
        queue.sent(1000)
        queue.probed(number / 10)
    assert not queue.is_measured
    assert (queue.delay_s, queue.overdue_s(1000.0)) == (0.0, 0.0)
    assert queue.full_bps(DELAY_S) is None


def test_what_is_longer_than_the_shortest_is_the_queue() -> None:
    queue = LinkQueue()
    now = answered(queue, [0.5] * 50)
    assert queue.is_measured
    assert queue.delay_s == pytest.approx(0.0)
    answered(queue, [0.8], now)
    assert queue.delay_s == pytest.approx(0.3 - 4 * 0.3 / 16)


def test_round_trips_that_vary_anyway_are_none() -> None:
    queue = LinkQueue()
    now = answered(queue, [0.1, 0.3, 0.2, 0.4] * 50)
    assert queue.delay_s == pytest.approx(0.0)
    queue.probed(now)
    assert queue.overdue_s(now + 0.5) == 0.0
    assert queue.overdue_s(now + 1.5) > 0.5


def test_a_way_that_has_become_longer_is_none_after_half_a_minute() -> None:
    queue = LinkQueue()
    now = answered(queue, [0.05] * 20)
    now = answered(queue, [0.45] * 290, now)
    assert queue.delay_s > 0.3
    answered(queue, [0.45] * 50, now)
    assert queue.delay_s == 0.0


def test_an_answer_is_overdue_until_it_or_a_later_one_comes() -> None:
    queue = LinkQueue()
    now = answered(queue, [0.05] * 200)
    for number in range(4):
        queue.probed(now + number / 10)
    assert queue.overdue_s(now + 0.5) == pytest.approx(0.45, abs=0.001)
    queue.answered(now + 0.2, now + 0.5)
    assert queue.overdue_s(now + 0.5) == pytest.approx(0.15, abs=0.12)
    queue.answered(now + 0.1, now + 0.55)
    queue.answered(now + 0.3, now + 0.55)
    assert queue.overdue_s(now + 9.0) == 0.0


def test_what_passes_a_full_link_is_what_it_carries() -> None:
    queue = LinkQueue()
    now = answered(queue, [0.05] * 20)
    for number, trip_s in enumerate([0.2, 0.35, 0.5]):
        queue.sent(10_000)
        queue.probed(now + number / 10)
        queue.answered(now + number / 10, now + number / 10 + trip_s)
    assert queue.full_bps(DELAY_S) == pytest.approx(8 * 10_000 / 0.25)


@pytest.mark.parametrize('trips_s', [[0.05, 0.5], [0.5, 0.45], [1.0, 0.9, 0.8], [0.09, 0.1]])
def test_a_queue_of_a_moment_says_nothing_of_the_link(trips_s: list[float]) -> None:
    queue = LinkQueue()
    now = answered(queue, [0.05] * 20)
    answered(queue, trips_s, now)
    assert queue.full_bps(DELAY_S) is None


@pytest.mark.parametrize('probe_s', [float('nan'), -1.0, 0.05, 1e9])
def test_an_answer_to_no_probe_changes_nothing(probe_s: float) -> None:
    queue = LinkQueue()
    queue.probed(0.1)
    queue.answered(probe_s, 0.2)
    assert not queue.is_measured
