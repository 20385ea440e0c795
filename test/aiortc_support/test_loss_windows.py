"""What a second of reports says of a link, and what it does not."""

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

from aiortc.rtp import RtcpReceiverInfo
import pytest

from teleop_webrtc_bridge.aiortc_support.feedback import LossWindows


def loss_report(highest_sequence: int, packets_lost: int, part: float = 0.0) -> RtcpReceiverInfo:
    return RtcpReceiverInfo(
        ssrc=1,
        fraction_lost=round(255 * part),
        packets_lost=packets_lost,
        highest_sequence=highest_sequence,
        jitter=0,
        lsr=0,
        dlsr=0,
    )


def test_packets_that_were_overtaken_are_not_lost() -> None:
    """The report that comes with the question says one of six; the next one has it back."""
    losses = LossWindows()
    sequence, told = 2**32 - 500, []
    for number in range(100):
        for packets, lost in ((6, 1), (44, 0)):
            sequence = (sequence + packets) % 2**32
            report = loss_report(sequence, lost, lost / 6)
            told.append(losses.fraction_lost(7, report, number / 10 + packets / 1000))
    parts = [part for part in told if part is not None]
    assert 8 <= len(parts) <= 10
    assert max(parts) < 0.01


def test_lost_packets_are_told_for_each_receiver() -> None:
    losses = LossWindows()
    told: dict[int, list[float | None]] = {1: [], 2: []}
    for number in range(50):
        for source, lost in ((1, 0), (2, 25 * number)):
            report = loss_report(1000 + 100 * number, lost)
            told[source].append(losses.fraction_lost(source, report, number / 10))
    assert {part for part in told[1] if part is not None} == {0.0}
    assert {part for part in told[2] if part is not None} == {0.25}


@pytest.mark.parametrize(('lost', 'part'), [(-30, 0.0), (2**23 - 1, 1.0)])
def test_whatever_is_reported_it_is_a_part(lost: int, part: float) -> None:
    losses = LossWindows()
    losses.fraction_lost(1, loss_report(1000, 0), 0.0)
    assert losses.fraction_lost(1, loss_report(2000, lost), 2.0) == part


def test_what_was_passed_on_is_taken_as_it_is() -> None:
    assert LossWindows().fraction_lost(1, loss_report(0, 0, 1.0), 0.0) == 255 / 256


def test_a_stream_that_begins_anew_and_endless_receivers_do_no_harm() -> None:
    losses = LossWindows()
    for sequence in (70_000, 71_000, 5, 5, 5, 1000):
        assert losses.fraction_lost(1, loss_report(sequence, 50), 0.0) is None
    assert losses.fraction_lost(1, loss_report(1005, 550), 1.0) == 0.5
    for source in range(10_000):
        losses.fraction_lost(source, loss_report(1, 0), 2.0)
    assert losses.fraction_lost(1, loss_report(3000, 0), 9.0) is None
