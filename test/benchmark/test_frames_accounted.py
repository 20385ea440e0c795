"""The benchmark counts every frame that is lost before the encoder, and no others."""

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

from benchmark.figures import MeasurementError
from benchmark.frames import account, balance, Snapshot, total_dropped

PERIOD_S = 1.0 / 30.0
PUBLISHED_S = [PERIOD_S * i for i in range(600)]


def snapshot(at_s: float, received: float, **counters: float) -> Snapshot:
    return Snapshot(at_s=at_s, counters={'received': received, **counters})


def test_losses_within_the_bridge_are_told_apart() -> None:
    first = snapshot(2.0, 60, sent=50, encoded=40, skipped=7, torn=1)
    last = snapshot(12.0, 360, sent=348, encoded=335, skipped=9, torn=1)
    figures = account(PUBLISHED_S, [first, last])
    assert figures == pytest.approx(
        {
            'published_hz': 30.0,
            'received_hz': 30.0,
            'slot_hz': 29.8,
            'encoded_hz': 29.5,
            'dropped_intake': 2.0,
            'dropped_skipped': 2.0,
            'dropped_torn': 0.0,
        }
    )
    assert total_dropped({**figures, 'dropped_dds': 3.0}) == 7.0


@pytest.mark.parametrize('latency_s', [0.0, 0.003, 0.02])
def test_a_frame_under_way_is_not_lost(latency_s: float) -> None:
    def seen(at_s: float, lost: int) -> Snapshot:
        arrived = sum(stamp_s + latency_s <= at_s for stamp_s in PUBLISHED_S)
        return snapshot(at_s, 1000.0 + arrived - lost)

    before = balance(PUBLISHED_S, [seen(at_s, 0) for at_s in (2.005, 3.03, 4.005)])
    after = [seen(at_s, 0) for at_s in (12.03, 13.005, 14.001)]
    assert balance(PUBLISHED_S, after) == before
    after = [seen(at_s, 2) for at_s in (12.03, 13.005, 14.001)]
    assert balance(PUBLISHED_S, after) == before - 2


def test_counters_that_do_not_exist_yet_are_zero() -> None:
    figures = account(PUBLISHED_S, [snapshot(2.0, 60), snapshot(3.0, 90, sent=20, skipped=1)])
    assert (figures['dropped_intake'], figures['dropped_skipped']) == (10.0, 1.0)


def test_one_snapshot_is_no_window() -> None:
    with pytest.raises(MeasurementError, match='fewer than two /diagnostics'):
        account(PUBLISHED_S, [snapshot(2.0, 60)])
