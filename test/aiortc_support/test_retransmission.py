"""Lost packets are asked for until they come, or nobody can use them any more."""

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

from hypothesis import given
from hypothesis import strategies as st

from teleop_webrtc_bridge.aiortc_support.retransmission import MissingPackets, ResendBudget


def missing(*numbers: int, now: float = 0.0) -> MissingPackets:
    packets = MissingPackets()
    for number in numbers:
        packets.received(number, now)
    return packets


def test_what_is_missing_is_asked_for_again_each_tenth_of_a_second_for_two_seconds() -> None:
    packets = missing(10, 11, 14)
    # aiortc has asked when it noticed.
    assert packets.to_ask_for(0.05) == []
    for turn in range(1, 19):
        assert packets.to_ask_for(0.11 * turn) == [12, 13]
        assert packets.to_ask_for(0.11 * turn + 0.01) == []
    assert packets.to_ask_for(2.1) == []
    assert not packets


def test_what_has_come_is_not_asked_for() -> None:
    packets = missing(10, 13)
    packets.received(12, 0.05)
    assert packets.to_ask_for(0.2) == [11]
    packets.received(11, 0.25)
    assert not packets
    assert packets.to_ask_for(0.4) == []


def test_numbers_wrap_and_may_come_late_or_twice() -> None:
    packets = missing(65534, 1, 65534, 1)
    assert packets.to_ask_for(0.2) == [65535, 0]
    # Older than the first one: nobody has missed it.
    packets.received(65000, 0.2)
    assert packets.to_ask_for(0.4) == [65535, 0]


def test_another_stream_is_not_a_loss() -> None:
    packets = missing(10, 12, 5000)
    assert not packets
    packets.received(5002, 0.0)
    assert packets.to_ask_for(0.2) == [5001]


def test_a_link_that_is_full_is_not_filled_with_what_it_lost() -> None:
    packets = missing(0, 129)
    assert len(packets.to_ask_for(0.2)) == 20
    assert packets.to_ask_for(0.3) == []


def test_what_can_only_be_on_its_way_is_not_asked_for() -> None:
    packets = missing(0)
    asked = []
    for turn in range(20):
        now = float(turn)
        packets.received(2 * turn + 2, now)
        for tenth in range(1, 4):
            asked += packets.to_ask_for(now + 0.11 * tenth)
        packets.received(2 * turn + 1, now + 0.4)
    assert asked == [1, 1, 1], 'nothing was known yet'
    # One that only was overtaken tells nothing of the sender; better asked for too often.
    packets.received(42, 20.0)
    packets.received(41, 20.01)
    packets.received(44, 21.0)
    assert packets.to_ask_for(21.11) == [43]


def test_far_away_it_is_asked_for_twice_a_second() -> None:
    packets = missing(0, 2)
    packets.received(1, 1.9)
    packets.received(4, 2.0)
    assert packets.to_ask_for(2.49) == []
    assert packets.to_ask_for(2.5) == [3]


# --- sending again ---------------------------------------------------------------------------


def test_the_same_packet_is_not_sent_again_at_once() -> None:
    budget = ResendBudget()
    assert budget.take(7, 10.0)
    assert not budget.take(7, 10.05)
    assert budget.take(8, 10.05)
    assert budget.take(7, 10.2)


def test_half_of_what_was_sent_may_be_sent_again() -> None:
    budget = ResendBudget()
    for number in range(200):
        budget.sent(10.0 + number / 1000)
    assert [budget.take(number, 10.3) for number in range(150)].count(True) == 100
    assert [budget.take(number, 12.0) for number in range(150)].count(True) == 20


@given(events=st.lists(st.tuples(st.booleans(), st.integers(0, 65_535), st.floats(0.0, 0.5))))
def test_it_never_sends_more_again_than_it_may(events: list[tuple[bool, int, float]]) -> None:
    budget, now = ResendBudget(), 0.0
    sent: list[float] = []
    resent: list[float] = []
    for is_new, number, gap_s in events:
        now += gap_s
        if is_new:
            budget.sent(now)
            sent.append(now)
        elif budget.take(number, now):
            resent.append(now)
        recent = sum(at_s > now - 1.0 for at_s in sent)
        if resent and resent[-1] == now:
            assert sum(at_s > now - 1.0 for at_s in resent) <= max(20, recent / 2 + 1)
