"""
Matches commands on ``cmd_vel`` with the commands that the page sent; pure.

``cmd_vel`` carries no sequence number, so each command gets a distinct velocity: while a key is
held, the page's speed slider steps through its positions, one per command. A velocity repeats
only after a full cycle of the slider, much later than any command may arrive, so velocity and
order together identify the command, even when some are lost on the way.
"""

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

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmark.figures import Figures, percentile

__all__ = [
    'PERIOD_S',
    'TURN',
    'Move',
    'Sent',
    'latencies_s',
    'reactions_s',
    'sent_moves',
    'summarize',
]

PERIOD_S: Final = 0.02
"""Time between two commands of the page (commander.js)."""
#: Positions of the slider in per cent, in the order in which they are used.
TURN: Final = tuple(range(25, 100, 5))
LONGEST_S: Final = 0.25
"""Less than one cycle at 50 Hz: a command that takes longer counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One command as the page recorded it."""

    at_s: float
    """Seconds of ``time.monotonic``."""
    zero: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A command other than zero."""

    at_s: float
    """Seconds of ``time.monotonic``."""
    percent: int
    """Its speed in per cent of the page's top speed."""


def sent_moves(sent: Iterable[Sent], slider: Sequence[tuple[float, int]]) -> list[Move]:
    """
    Return the moves that the page has sent, with their speeds.

    :param sent: In order.
    :param slider: Pairs of time in seconds and the position from then on, in order.
    """
    times = [at_s for at_s, _ in slider]
    moves = []
    for command in sent:
        index = bisect.bisect_right(times, command.at_s) - 1
        if index >= 0 and not command.zero:
            moves.append(Move(at_s=command.at_s, percent=slider[index][1]))
    return moves


def latencies_s(sent: Sequence[Move], received: Iterable[Move]) -> list[float]:
    """Return the latency of each move that arrived; both arguments are in order."""
    found = []
    start = 0
    for arrived in received:
        for index in range(start, len(sent)):
            took_s = arrived.at_s - sent[index].at_s
            if took_s < 0.0:
                break
            if took_s <= LONGEST_S and sent[index].percent == arrived.percent:
                found.append(took_s)
                start = index + 1
                break
    return found


def reactions_s(pushes_s: Iterable[float], received: Sequence[tuple[float, bool]]) -> list[float]:
    """
    Return the time from each push of a stick to the first velocity that follows zeros.

    :param pushes_s: When the stick was pushed, in order.
    :param received: Pairs of arrival in seconds and whether it is zero, in order.
    """
    arrivals_s = [at_s for at_s, _ in received]
    found = []
    for push_s in pushes_s:
        place = bisect.bisect_right(arrivals_s, push_s)
        if place == 0 or not received[place - 1][1]:
            continue
        later = (at_s - push_s for at_s, zero in received[place:] if not zero)
        took_s = next(later, LONGEST_S)
        if took_s < LONGEST_S:
            found.append(took_s)
    return found


def summarize(sent: Sequence[Move], received: Sequence[Move]) -> Figures:
    """Return the figures of a window; ``sent`` and ``received`` cover the same commands."""
    took_ms = [1e3 * took_s for took_s in latencies_s(sent, received)]
    return {
        'command_p50_ms': percentile(took_ms, 50),
        'command_p99_ms': percentile(took_ms, 99),
        'command_max_ms': max(took_ms, default=0.0),
        'commands_sent': len(sent),
        'commands_received': len(received),
        'commands_matched': len(took_ms),
    }
