"""The benchmark identifies each command on cmd_vel correctly, and reports losses."""

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

import random

from hypothesis import given, strategies
import pytest

from benchmark.commands import (
    latencies_s,
    LONGEST_S,
    Move,
    PERIOD_S,
    reactions_s,
    Sent,
    sent_moves,
    summarize,
    TURN,
)


def moves(count: int) -> list[Move]:
    return [Move(at_s=PERIOD_S * i, percent=TURN[i % len(TURN)]) for i in range(count)]


@given(
    delays_s=strategies.lists(strategies.floats(0.0, 0.24), min_size=1, max_size=200),
    seed=strategies.integers(),
)
def test_latencies_are_exact_whatever_is_lost(delays_s: list[float], seed: int) -> None:
    sent = moves(len(delays_s))
    lost = random.Random(seed)
    received, truth = [], []
    arrival_s = 0.0
    for move, delay_s in zip(sent, delays_s, strict=True):
        if lost.random() < 0.1:
            continue
        # In order, as on one topic.
        arrival_s = max(arrival_s, move.at_s + delay_s)
        truth.append(arrival_s - move.at_s)
        received.append(Move(at_s=arrival_s, percent=move.percent))
    assert latencies_s(sent, received) == pytest.approx(truth)


def test_a_turn_of_the_slider_outlasts_every_latency_that_counts() -> None:
    assert len(TURN) * PERIOD_S > LONGEST_S


def test_moves_have_the_speed_at_which_the_slider_stood() -> None:
    sent = [Sent(at_s=at_s, zero=at_s == 3.0) for at_s in (0.5, 1.5, 2.0, 3.0, 4.0)]
    slider = [(1.0, 25), (2.0, 30)]
    assert sent_moves(sent, slider) == [
        Move(at_s=1.5, percent=25),
        Move(at_s=2.0, percent=30),
        Move(at_s=4.0, percent=30),
    ]


def test_what_does_not_arrive_is_told() -> None:
    sent = moves(10)
    received = [Move(at_s=move.at_s + 0.005, percent=move.percent) for move in sent[::2]]
    figures = summarize(sent, received)
    assert figures['commands_sent'] == 10
    assert figures['commands_matched'] == 5
    assert figures['command_p50_ms'] == pytest.approx(5.0)


def test_a_command_of_somebody_else_is_nobodys() -> None:
    figures = summarize(moves(3), [Move(at_s=0.01, percent=99)])
    assert (figures['commands_received'], figures['commands_matched']) == (1, 0)


def test_the_first_velocity_after_zeros_follows_a_push() -> None:
    received = [(0.0, True), (0.02, True), (0.04, False), (0.06, False), (0.5, True), (0.9, False)]
    # The second push finds the robot moving; the third is followed by nothing in time.
    assert reactions_s([0.03, 0.05, 0.55], received) == pytest.approx([0.01])
    assert reactions_s([-0.1], received) == []
