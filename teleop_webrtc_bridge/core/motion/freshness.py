"""The freshness of commands, judged by the robot's steady clock alone."""

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

from collections import deque
import enum
from typing import Final

from teleop_webrtc_bridge.core.messages import Latency

__all__ = ['CommandLease', 'CommandVerdict', 'Freshness']

MAX_EXCESS_DELAY_S: Final = 0.5
"""Largest delay, beyond that of the fastest recent command, with which one is still obeyed."""
DELAY_WINDOW_S: Final = 10.0
CLOCK_STEP_S: Final = 1.0
STEP_WITNESSES: Final = 5
"""Consecutive consistent commands that prove a clock step."""

MAX_LEASE_AGE_S: Final = 0.5
"""Largest age of the newest echoed token, beyond the round trip, that keeps the lease."""
RECENT_S: Final = 0.5
"""Only these round trips count for the speed, which must follow the latency soon."""
LATENCY_AGE_S: Final = 1.0
"""An older report of the latencies says nothing."""
UNKNOWN_LATENCY: Final = Latency(picture_s=None, command_s=None)
LEASE_WINDOW_S: Final = 5.0
"""How long tokens and round trips are remembered."""


class CommandVerdict(enum.Enum):
    """The verdict on a command; its value names the counter in telemetry and diagnostics."""

    ACCEPTED = 'accepted'
    LATCHED = 'dropped_estop'
    DISABLED = 'dropped_disabled'
    NOT_FINITE = 'dropped_not_finite'
    NOT_NEUTRAL = 'dropped_not_neutral'
    STALE = 'dropped_stale'
    OUT_OF_ORDER = 'dropped_out_of_order'
    CLOCK_STEP = 'dropped_clock_step'
    NO_LEASE = 'dropped_no_lease'
    ROUND_TRIP = 'dropped_round_trip'

    @property
    def is_refusal(self) -> bool:
        return self is not CommandVerdict.ACCEPTED


class Freshness:
    """
    Judges whether a command is recent.

    The delay of a command, arrival minus stamp, contains an unknown constant: the skew between
    the operator's clock and ours. The difference to the smallest delay of the last seconds does
    not; it is the time for which the command was held up on its way. A command is never refused
    for being "from the future". A jump of the delay counts as a clock step only after several
    consistent witnesses, and only while the robot stands still.
    """

    def __init__(self) -> None:
        self._watermark_s: float | None = None
        """The newest stamp that was obeyed."""
        self._delays: deque[tuple[float, float]] = deque()
        """(arrival, delay), delays rising: the first is the smallest of the window."""
        self._witnesses: list[tuple[float, float]] = []
        """(stamp, delay) of commands that make sense only if a clock stepped."""

    def judge(self, now: float, stamp_s: float, *, standing: bool) -> CommandVerdict:
        """
        Judge one command; only an accepted one moves the watermark.

        :param now: Arrival, in seconds of the robot's steady clock.
        :param stamp_s: The sender's stamp, in seconds of any clock.
        :param standing: Whether the robot stands still.
        """
        delay = now - stamp_s
        while self._delays and now - self._delays[0][0] > DELAY_WINDOW_S:
            self._delays.popleft()
        jumped = bool(self._delays) and abs(delay - self._delays[0][1]) > CLOCK_STEP_S
        late = self._watermark_s is not None and stamp_s <= self._watermark_s
        if jumped or late:
            if self._clock_stepped(stamp_s, delay) and standing:
                self._watermark_s = None
                self._delays.clear()
                self._witnesses.clear()
                return CommandVerdict.CLOCK_STEP
            return (
                CommandVerdict.STALE
                if jumped and delay > self._delays[0][1]
                else CommandVerdict.OUT_OF_ORDER
            )
        self._witnesses.clear()
        self._remember(now, delay)
        if delay - self._delays[0][1] > MAX_EXCESS_DELAY_S:
            return CommandVerdict.STALE
        return CommandVerdict.ACCEPTED

    def advance(self, stamp_s: float) -> None:
        """Move the watermark: the command passed every other check as well."""
        self._watermark_s = stamp_s

    def _remember(self, now: float, delay: float) -> None:
        while self._delays and self._delays[-1][1] >= delay:
            self._delays.pop()
        self._delays.append((now, delay))

    def _clock_stepped(self, stamp_s: float, delay: float) -> bool:
        """Return whether the last commands consistently follow another clock."""
        if self._witnesses:
            last_stamp_s, last_delay = self._witnesses[-1]
            if stamp_s <= last_stamp_s or abs(delay - last_delay) > MAX_EXCESS_DELAY_S:
                self._witnesses.clear()
        self._witnesses.append((stamp_s, delay))
        return len(self._witnesses) >= STEP_WITNESSES


class CommandLease:
    """
    Bounds the age of commands by our clock alone.

    The robot sends tokens, and the operator's page echoes the newest one. A command that arrives
    with an echo is at most as old as the token; the echo also proves that the operator hears the
    robot. Peers that never echo are judged by :class:`Freshness` alone.

    :param first_token: The first token; tokens of an earlier lease are not accepted.
    """

    def __init__(self, first_token: int) -> None:
        self.next_token = first_token
        self._first_token = first_token
        self._sent: deque[tuple[int, float]] = deque()
        """(token, when), rising."""
        self._echoed_sent_s: float | None = None
        """When the newest echoed token was sent."""
        self._round_trips: deque[tuple[float, float]] = deque()
        """(when, round trip)"""
        self.picture: bool | None = None
        """Whether the operator's page shows a picture, according to the newest echo; ``None``: it
        has never said."""
        self._latency: tuple[float, Latency] | None = None
        """(when, the latencies according to the newest echo); ``None``: it has never said."""

    @property
    def in_use(self) -> bool:
        """Whether the operator echoes tokens."""
        return self._echoed_sent_s is not None

    def issue(self, now: float) -> int:
        """Return the token to send now."""
        while self._sent and now - self._sent[0][1] > LEASE_WINDOW_S:
            self._sent.popleft()
        token = self.next_token
        self.next_token += 1
        self._sent.append((token, now))
        return token

    def echo(
        self,
        now: float,
        token: int,
        picture: bool | None = None,
        latency: Latency | None = None,
    ) -> None:
        """
        Process an echoed token; unknown and older ones change nothing.

        :param picture: Whether the page shows a picture, if it reports that.
        :param latency: The latencies that the page measured, if it reports them.
        """
        sent_s = next((sent_s for known, sent_s in self._sent if known == token), None)
        if sent_s is None:
            # The token is already forgotten: an operator whose echo takes this long is overdue.
            if self._echoed_sent_s is None and self._first_token <= token < self.next_token:
                self._echoed_sent_s = now - LEASE_WINDOW_S
            return
        if self._echoed_sent_s is None or sent_s > self._echoed_sent_s:
            # Only the first echo counts: a later one would make the link look too slow.
            self._round_trips.append((now, now - sent_s))
            self._echoed_sent_s = sent_s
            # A page that has reported it once must repeat it: old information proves nothing.
            self.picture = False if picture is None and self.picture is not None else picture
            if latency is not None:
                self._latency = now, latency
        elif sent_s == self._echoed_sent_s and picture is False:
            self.picture = False  # echoes of one token may overtake each other

    def age_s(self, now: float) -> float:
        """Return how long ago the newest echoed token was sent; 0.0: none was echoed."""
        return 0.0 if self._echoed_sent_s is None else now - self._echoed_sent_s

    def round_trip_s(self, now: float) -> float:
        """Return the shortest round trip of the last seconds; 0.0: none is known."""
        while self._round_trips and now - self._round_trips[0][0] > LEASE_WINDOW_S:
            self._round_trips.popleft()
        return min((trip for _, trip in self._round_trips), default=0.0)

    def recent_round_trip_s(self, now: float) -> float:
        """Return the shortest round trip of the last half second; 0.0: none is known."""
        if not self._round_trips:
            return 0.0
        newest = self._round_trips[-1][1]
        return min((it for at, it in self._round_trips if now - at <= RECENT_S), default=newest)

    @property
    def tells_latency(self) -> bool:
        """Whether the page has ever reported latencies."""
        return self._latency is not None

    def latency(self, now: float) -> Latency:
        """Return the latencies that the page reported; an old report says nothing."""
        if self._latency is None or now - self._latency[0] > LATENCY_AGE_S:
            return UNKNOWN_LATENCY
        return self._latency[1]

    def is_overdue(self, now: float) -> bool:
        """Return whether the operator has not heard the robot for too long."""
        return self.age_s(now) > MAX_LEASE_AGE_S + self.round_trip_s(now)
