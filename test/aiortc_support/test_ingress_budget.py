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

import struct

import pytest

from teleop_webrtc_bridge.aiortc_support.ingress import (
    IngressBudget,
    kind_of,
    MOST_SSRCS,
    Traffic,
)


def rtp(ssrc: int) -> bytes:
    return struct.pack('!BBHLL', 0x80, 96, 1, 2, ssrc)


def rtcp(ssrc: int, size: int = 32) -> bytes:
    return struct.pack('!BBHL', 0x80, 201, 1, ssrc).ljust(size, b'\0')


@pytest.mark.parametrize(
    ('data', 'kind'),
    [
        (b'\0\1' + bytes(18), Traffic.STUN),
        (b'\x17' + bytes(30), Traffic.DATA),
        (rtp(1), Traffic.MEDIA),
        (rtcp(1), Traffic.REPORTS),
        (b'', None),
        (b'\x80', None),
        (b'\x40' + bytes(20), None),
        (b'\xff' + bytes(20), None),
        (b'\x17' * 2049, None),
    ],
)
def test_a_packet_is_told_by_its_first_bytes(data: bytes, kind: Traffic | None) -> None:
    assert kind_of(data) is kind


@pytest.mark.parametrize(
    ('kind', 'data', 'at_once', 'per_s'),
    [
        (Traffic.STUN, b'\0\1', 200, 100),
        (Traffic.DATA, b'\x17', 2000, 1000),
        (Traffic.MEDIA, rtp(1), 4000, 4000),
        (Traffic.REPORTS, rtcp(1), 400, 200),
        (Traffic.REPORTS, rtcp(1, 1024), 64, 32),
    ],
)
def test_each_kind_has_a_budget(kind: Traffic, data: bytes, at_once: int, per_s: int) -> None:
    budget = IngressBudget(10.0)
    assert sum(budget.admits(kind, data, 10.0) for _ in range(5000)) == at_once
    assert sum(budget.admits(kind, data, 11.0) for _ in range(5000)) == per_s
    assert sum(budget.dropped.values()) == 10_000 - at_once - per_s


def test_what_one_kind_uses_up_is_not_missed_by_the_others() -> None:
    budget = IngressBudget(10.0)
    for _ in range(5000):
        budget.admits(Traffic.REPORTS, rtcp(1), 10.0)
        budget.admits_repetitions(5000, 10.0)
        budget.admits_stranger(10.0)
    assert budget.admits(Traffic.DATA, b'\x17', 10.0)
    assert budget.admits(Traffic.MEDIA, rtp(1), 10.0)
    assert budget.admits(Traffic.STUN, b'\0\1', 10.0)


def test_sources_without_end_are_not_remembered() -> None:
    budget = IngressBudget(10.0)
    for ssrc in range(100):
        if budget.admits(Traffic.MEDIA, rtp(ssrc), 10.0):
            budget.knows(ssrc)
    assert budget.dropped['ssrcs'] == 100 - MOST_SSRCS
    assert budget.admits(Traffic.MEDIA, rtp(MOST_SSRCS - 1), 10.0)
    assert budget.admits(Traffic.REPORTS, rtcp(0), 10.0)
    assert not budget.admits(Traffic.REPORTS, rtcp(MOST_SSRCS), 10.0)


def test_who_stays_above_the_budget_floods_and_who_pauses_does_not() -> None:
    budget, now = IngressBudget(0.0), 0.0
    for _ in range(600):
        budget.admits_repetitions(3000, now)
        now += 0.1
        if now < 3.0:
            assert not budget.is_flooded()
        elif now > 3.2:
            assert budget.is_flooded()
    budget, now = IngressBudget(0.0), 0.0
    for _ in range(20):
        for _ in range(20):
            budget.admits_repetitions(3000, now)
            now += 0.1
        now += 1.0
        assert not budget.is_flooded()


def test_strangers_are_not_the_peers_fault() -> None:
    budget = IngressBudget(0.0)
    now = 0.0
    for _ in range(10_000):
        budget.admits_stranger(now)
        now += 0.001
    assert budget.dropped['strangers'] == 10_000 - 100 - 499
    assert not budget.is_flooded()
