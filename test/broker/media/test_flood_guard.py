"""How much a peer may send, with a clock of the test."""

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

from teleop_webrtc_bridge.broker.media.flood_guard import FloodGuard, Flow


def send(guard: FloodGuard, *, rate_hz: float, seconds: float, size: int = 100) -> list[Flow]:
    return [guard.take(size, number / rate_hz) for number in range(int(rate_hz * seconds))]


@pytest.mark.parametrize('rate_hz', [15.0, 80.0, 199.0])
def test_what_operators_and_robots_send_passes(rate_hz: float) -> None:
    guard = FloodGuard(0.0)
    assert set(send(guard, rate_hz=rate_hz, seconds=60.0)) == {Flow.PASS}
    assert not guard.is_flooded()


def test_what_a_network_has_held_back_for_two_seconds_passes_at_once() -> None:
    guard = FloodGuard(0.0)
    assert {guard.take(100, 0.0) for _ in range(400)} == {Flow.PASS}
    assert guard.take(100, 0.0) is Flow.EXCESS
    assert not guard.is_flooded()


def test_a_flood_gets_its_share_and_is_noticed() -> None:
    guard = FloodGuard(0.0)
    flows = send(guard, rate_hz=5000.0, seconds=3.0)
    assert not guard.is_flooded()
    assert flows.count(Flow.PASS) == pytest.approx(1000, abs=2)
    guard.take(100, 3.2)
    assert guard.take(100, 3.2) is Flow.PASS
    for number in range(100):
        guard.take(100, 3.2 + number / 1000)
    assert guard.is_flooded()
    assert guard.counters == {'received': 15_102, 'excess': guard.counters['excess']}


def test_bursts_with_pauses_are_no_flood() -> None:
    guard = FloodGuard(0.0)
    for second in range(0, 60, 3):
        for _ in range(600):
            guard.take(100, float(second))
        assert not guard.is_flooded()


def test_bytes_count_as_well() -> None:
    guard = FloodGuard(0.0)
    flows = send(guard, rate_hz=100.0, seconds=5.0, size=32 * 1024)
    passed = flows.count(Flow.PASS) * 32 * 1024
    assert passed == pytest.approx((1.0 + 5.0 * 0.5) * 1024**2, rel=0.02)
    assert guard.is_flooded()


def test_time_that_goes_back_gives_nothing() -> None:
    guard = FloodGuard(100.0)
    for _ in range(400):
        guard.take(1, 100.0)
    assert guard.take(1, 0.0) is Flow.EXCESS
