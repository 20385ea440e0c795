"""What senders of video may cost, with aiortc's own parts; names what moved when aiortc moves."""

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
import random
from typing import Any

from aiortc import RTCCertificate, rtcdtlstransport
from aiortc.rate import RateCounter
from aiortc.rtcrtpreceiver import NackGenerator, StreamStatistics
from aiortc.rtp import RtcpReceiverInfo, RtpPacket
import pytest

from teleop_webrtc_bridge.aiortc_support import ingress
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc


@pytest.fixture(autouse=True)
def configured() -> None:
    configure_aiortc(loopback=True)


def originals(name: str) -> Any:
    return getattr(ingress, name)


def missing_after(numbers: Iterable[int], add: Any = NackGenerator.add) -> tuple[set[int], Any]:
    generator = NackGenerator()
    for number in numbers:
        add(generator, RtpPacket(sequence_number=number & 0xFFFF))
    return generator.missing, generator.max_seq


def test_after_a_jump_the_same_packets_are_missing_as_before() -> None:
    aiortcs = originals('_add')
    source = random.Random(1)
    for _ in range(50):
        numbers, number = [], source.randrange(65536)
        for _ in range(30):
            number += source.choice((1, 2, 3, 120, 127, 128, 129, 130, 131, 200, 5000, -1, -60))
            numbers.append(number)
        assert missing_after(numbers) == missing_after(numbers, aiortcs)


def test_a_jump_is_not_counted_out() -> None:
    counted: list[int] = []

    class Counting(set[int]):
        def add(self, number: int) -> None:
            counted.append(number)
            super().add(number)

    generator = NackGenerator()
    generator.missing = Counting()
    generator.add(RtpPacket(sequence_number=0))
    generator.add(RtpPacket(sequence_number=32_000))
    assert len(counted) <= 129


def test_a_pause_is_not_counted_out() -> None:
    counter: Any = RateCounter(1000, 8000)
    counter.add(100, 0)
    assert counter.rate(500) is not None
    year_ms = 365 * 86_400_000
    assert counter.rate(year_ms) is None  # a year of milliseconds takes hours to count
    counter.reset()
    counter.add(100, year_ms)
    assert counter.rate(year_ms + 500) == round(8000 * 100 / 501)


def test_a_rate_is_what_it_was() -> None:
    aiortcs, ours = RateCounter(1000, 8000), RateCounter(1000, 8000)
    erase_old = originals('_erase_old')
    source, now = random.Random(1), 0
    for _ in range(500):
        now += source.choice((0, 1, 5, 100, 999, 1000, 1500, 1999, 5000))
        ours.add(100, now)
        if getattr(aiortcs, '_origin_ms') is not None:  # noqa: B009
            erase_old(aiortcs, now)
        aiortcs.add(100, now)
        assert ours.rate(now) == aiortcs.rate(now)


def test_jitter_fits_into_a_report() -> None:
    statistics: Any = StreamStatistics(90_000)
    statistics.add(RtpPacket(sequence_number=1))
    vars(statistics)['_jitter_q4'] = 2**40
    report = RtcpReceiverInfo(
        ssrc=1,
        fraction_lost=0,
        packets_lost=0,
        highest_sequence=1,
        jitter=statistics.jitter,
        lsr=0,
        dlsr=0,
    )
    assert len(bytes(report)) == 24


def test_there_is_one_handshake() -> None:
    context = RTCCertificate.generateCertificate()._create_ssl_context(
        rtcdtlstransport.SRTP_PROFILES
    )
    no_renegotiation = rtcdtlstransport.SSL.OP_NO_RENEGOTIATION
    assert context.set_options(0) & no_renegotiation
