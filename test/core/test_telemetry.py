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

from teleop_webrtc_bridge.core.telemetry import CommandStatistics

SIZE = 81


def filled(delays_s: list[float], *, period_s: float = 0.02) -> CommandStatistics:
    statistics = CommandStatistics()
    for number, delay_s in enumerate(delays_s):
        arrival_s = 100.0 + number * period_s
        statistics.add(arrival_s, arrival_s - delay_s, SIZE)
    return statistics


def test_a_steady_stream_is_reported_with_its_rate_and_latency() -> None:
    report = filled([0.03] * 100).report(102.0)
    assert report == {
        'latency_ms': 30.0,
        'jitter_ms': 0.0,
        'rate_hz': 50.0,
        'throughput_bps': 50 * SIZE * 8,
    }


def test_the_latency_is_the_median_and_one_outlier_does_not_move_it() -> None:
    report = filled([0.03] * 50 + [5.0] + [0.03] * 49).report(102.0)
    assert report is not None
    assert report['latency_ms'] == 30.0


def test_the_latency_follows_within_half_a_second() -> None:
    report = filled([0.03] * 74 + [0.18] * 26).report(102.0)
    assert report is not None
    assert report['latency_ms'] == 180.0


def test_the_jitter_is_the_mean_change_of_the_delay() -> None:
    report = filled([0.02, 0.04] * 50).report(102.0)
    assert report is not None
    assert report['jitter_ms'] == pytest.approx(20.0)


def test_a_clock_that_is_ahead_gives_a_negative_latency_not_an_error() -> None:
    report = filled([-3600.0] * 100).report(102.0)
    assert report is not None
    assert report['latency_ms'] == -3_600_000.0


@pytest.mark.parametrize('count', [0, 1])
def test_there_is_nothing_to_report_of_less_than_two_commands(count: int) -> None:
    assert filled([0.03] * count).report(100.0) is None


def test_silence_is_reported_as_nothing_once_the_window_has_passed() -> None:
    statistics = filled([0.03] * 100)
    assert statistics.report(102.9) is not None
    assert statistics.report(105.0) is None
    assert statistics.report(106.0) is None


def test_only_the_window_counts() -> None:
    statistics = filled([0.5] * 100)
    for number in range(100):
        arrival_s = 110.0 + number * 0.02
        statistics.add(arrival_s, arrival_s - 0.03, SIZE)
    report = statistics.report(112.0)
    assert report is not None
    assert report['latency_ms'] == 30.0
    assert report['rate_hz'] == 50.0
