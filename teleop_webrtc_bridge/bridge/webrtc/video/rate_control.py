"""
The rate control of the video: bits, frames and pixels; time is an argument.

Signs of congestion:

- *REMB falls.* Its value alone says little: a receiver's estimate follows what it receives, so a
  still scene makes it low. Only a fall below the rate that is being sent counts.
- *Loss*, beyond what a radio link loses without being full.
- *Packets wait in a queue* on the way to the media backend (:class:`LinkQueue`).

Each receiver is judged by its own reports (docs/performance.md). On congestion the bitrate falls
within one report. It rises again by some per cent per second, more slowly around the rate that was
too high before. When the bits do not suffice for every frame, frames are left out; when they do
not suffice for half of them, the picture gets smaller. While the queue is long, few frames are
sent: they would be late and delay all others.

Only this module decides how many frames the link carries. The ROS half merely drops frames above
the configured rate.
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

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ['LOWEST_BPS', 'LinkQueue', 'RateController', 'Target']

LOWEST_BPS: Final = 150_000

REMB_FELL: Final = 0.97
"""An estimate below this share of the previous one was corrected, not rounded."""
REMB_FIRST: Final = 0.7
"""A receiver's first estimate means congestion if it is below this share of what is sent."""
REMB_MARGIN: Final = 0.85
"""Receivers report this share of what got through, so that the queue drains."""
LOSS_HOLD: Final = 0.02
LOSS_CUT: Final = 0.10
QUEUE_DELAY_S: Final = 0.1
"""Packets that wait this long are queued."""
QUEUE_CUT: Final = 0.9
"""Share of the link's capacity that is used after a queue."""
IDLE_CUT: Final = 0.7
"""Used when far less is sent than allowed, which says little about the link's capacity."""
IDLE_PART: Final = 0.5
SETTLE_S: Final = 1.0
"""After a cut, loss and round trips still belong to the time before it."""
HOLD_S: Final = 1.0
RISE: Final = 0.08
"""Share of the bitrate per second."""
RISE_NEAR: Final = 0.02
"""The same near the rate at which the link was full."""
RISE_WATCHED: Final = 0.25
"""The same far above that rate, if a queue would be noticed within tenths of a second; with more,
half a second of video would wait by then."""
NEAR: Final = (0.9, 1.1)
FAR: Final = 1.6
BUSY_BPS: Final = LOWEST_BPS / 2
SENT_WINDOW_S: Final = 1.0
FORGET_S: Final = 10.0
"""A receiver that is silent for longer has gone."""
DRAINING: Final = 0.7
"""Share of the bitrate while packets wait: they have to be sent as well."""
HOLD_BACK_S: Final = 0.2
"""While an answer is overdue by this much, few frames are sent."""
HELD_BACK_FPS: Final = 4.0
HOLD_BACK_MOST_S: Final = 3.0
"""At a stretch: other traffic may have caused the queue."""
LONGEST_GAP_S: Final = 0.2
"""Longest counted gap between two frames."""
HOLD_BACK_AGAIN: Final = 0.1
"""Share of the time that frames may be held back in the long run."""

BITS_PER_PIXEL: Final = 0.025
"""Per frame: with less, x264 reduces moving things to blocks."""
ROOM_TO_STEP_UP: Final = 1.25
STEP_UP_S: Final = 5.0
LOWEST_FPS: Final = 10.0
"""Lower only if a lower rate is configured."""
_FPS_STEPS: Final = (1.0, 2 / 3, 1 / 2)
_SCALES: Final = (1.0, 3 / 4, 1 / 2, 3 / 8, 1 / 4)

SHORTEST_TRIP_WINDOW_S: Final = 30.0
"""A round trip that stays longer for this time is a longer path, not a queue."""
JITTERS: Final = 4.0
"""Round trips vary by this many times their deviation without a queue (as in RFC 6298)."""
JITTER_GAIN: Final = 1 / 16
"""As in RFC 3550 §6.4.1."""
MOST_PROBES: Final = 256
"""Kept while there is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Bitrate, frame rate and size to encode with."""

    bitrate_bps: int
    fps: float
    scale: float
    """Factor for width and height."""


@dataclass(slots=True)
class _Receiver:
    """The reports of one receiver."""

    remb_bps: float | None = None
    """The highest estimate since congestion, or the one that indicated it."""
    loss: float = 0.0
    heard_s: float = 0.0


class RateController:
    """
    Owns the bitrate, frame rate and size of one video stream; every ``now`` is in seconds.

    :param highest_bps: The configured bitrate.
    :param fps: The configured frame rate.
    """

    def __init__(self, *, highest_bps: int, fps: float) -> None:
        self._highest_bps = max(highest_bps, LOWEST_BPS)
        self._ceiling_bps = float(self._highest_bps)
        """The bitrate at which the rise ends."""
        self._fps = fps
        self._steps = _steps(fps)
        self._bitrate_bps = float(self._highest_bps)
        self._full_bps: float | None = None
        """The bitrate at which the link was full."""
        self._rise_far_above = RISE
        """Share of the bitrate per second, far above that."""
        self._congested_s = float('-inf')
        self._risen_s: float | None = None
        self._receivers: dict[int, _Receiver] = {}
        self._sent: deque[tuple[float, int]] = deque()
        self._queue = LinkQueue()
        self._next_hop: int | None = None
        """The receiver that answers the probes."""
        self._may_hold_s = HOLD_BACK_MOST_S
        self._asked_s = float('-inf')
        """When :meth:`holds_back` was called last."""
        self._step = 0
        self._stepped_s = float('-inf')

    # --- observations -------------------------------------------------------------------------

    def sent(self, size: int, now: float) -> None:
        """Note that a frame was sent; its size in bytes."""
        self._sent.append((now, size))
        self._queue.sent(size)
        self._forget_sent(now)

    def is_busy(self, now: float) -> bool:
        """Return whether enough is sent to fill a slow link."""
        return self._sent_bps(now) > BUSY_BPS

    def on_probe(self, now: float) -> None:
        """Note a probe of the peer."""
        self._queue.probed(now)

    def on_answer(self, probe_s: float, now: float) -> None:
        """
        Process the answer to a probe.

        :param probe_s: The ``now`` of that probe.
        """
        self._queue.answered(probe_s, now)
        full_bps = self._queue.full_bps(QUEUE_DELAY_S)
        if full_bps is not None and probe_s > self._congested_s:
            self._lower(QUEUE_CUT * full_bps, now, full_bps=full_bps)
            self._rise_far_above = RISE_WATCHED

    def on_remb(self, source: int, bitrate_bps: float, now: float) -> None:
        """
        Process a receiver's estimate of its bandwidth.

        :param source: Identifies the receiver.
        """
        if source == self._next_hop and self._queue.is_measured:
            return  # it measures the same queue, but later
        receiver = self._receiver(source, now)
        before_bps = receiver.remb_bps
        sent_bps = self._sent_bps(now)
        if before_bps is None:
            congested = bitrate_bps < REMB_FIRST * sent_bps
        else:
            congested = bitrate_bps < min(REMB_FELL * before_bps, sent_bps)
        if congested or before_bps is None or bitrate_bps > before_bps:
            # Otherwise the older value stays, so that many small falls count as well.
            receiver.remb_bps = bitrate_bps
        if congested:
            self._cut(bitrate_bps, sent_bps, now, full_bps=bitrate_bps / REMB_MARGIN)

    def on_report(
        self, source: int, fraction_lost: float, now: float, *, is_next_hop: bool = False
    ) -> None:
        """
        Process a receiver report.

        :param source: Identifies the receiver.
        :param fraction_lost: Of the packets since its previous report, 0 to 1.
        :param is_next_hop: Whether the receiver is the peer that is probed.
        """
        if is_next_hop:
            self._next_hop = source
        self._receiver(source, now).loss = fraction_lost
        if fraction_lost > LOSS_CUT and now - self._congested_s >= SETTLE_S:
            sent_bps, full_bps = self._sent_bps(now), self._bitrate_bps
            self._cut((1.0 - fraction_lost / 2) * full_bps, sent_bps, now, full_bps=full_bps)

    def _receiver(self, source: int, now: float) -> _Receiver:
        self._receivers = {
            name: receiver
            for name, receiver in self._receivers.items()
            if now - receiver.heard_s < FORGET_S
        }
        receiver = self._receivers.setdefault(source, _Receiver())
        receiver.heard_s = now
        return receiver

    # --- the bitrate --------------------------------------------------------------------------

    def _cut(self, bitrate_bps: float, sent_bps: float, now: float, *, full_bps: float) -> None:
        if sent_bps < LOWEST_BPS:
            return  # the stream is too small to be the cause
        if sent_bps < IDLE_PART * self._bitrate_bps:
            bitrate_bps = max(bitrate_bps, IDLE_CUT * self._bitrate_bps)
            full_bps = self._bitrate_bps
        self._lower(bitrate_bps, now, full_bps=full_bps)
        # A receiver beyond the media backend reports late.
        self._rise_far_above = RISE

    def _lower(self, bitrate_bps: float, now: float, *, full_bps: float) -> None:
        if bitrate_bps < self._bitrate_bps:
            self._bitrate_bps = max(bitrate_bps, float(LOWEST_BPS))
        self._full_bps = full_bps
        self._congested_s = now

    def _rise(self, now: float) -> None:
        elapsed_s = 0.0 if self._risen_s is None else min(now - self._risen_s, 1.0)
        self._risen_s = now
        lossy = any(
            receiver.loss > LOSS_HOLD and now - receiver.heard_s < FORGET_S
            for receiver in self._receivers.values()
        )
        queues = self._queue.delay_s > QUEUE_DELAY_S
        if lossy or queues or now - self._congested_s < HOLD_S:
            return
        rate = RISE
        if self._full_bps is not None and self._bitrate_bps > FAR * self._full_bps:
            self._full_bps = None  # the link has become better
        if self._full_bps is None:
            rate = self._rise_far_above
        elif NEAR[0] < self._bitrate_bps / self._full_bps < NEAR[1]:
            rate = RISE_NEAR
        if self._sent_bps(now) < IDLE_PART * self._bitrate_bps:
            rate = RISE_NEAR  # untried
        risen_bps = self._bitrate_bps * (1.0 + rate * elapsed_s)
        self._bitrate_bps = min(risen_bps, self._ceiling_bps)

    def _sent_bps(self, now: float) -> float:
        self._forget_sent(now)
        return 8.0 * sum(size for _, size in self._sent) / SENT_WINDOW_S

    def _forget_sent(self, now: float) -> None:
        while self._sent and self._sent[0][0] <= now - SENT_WINDOW_S:
            self._sent.popleft()

    # --- frames and pixels --------------------------------------------------------------------

    def holds_back(self, now: float) -> bool:
        """Return whether to drop the present frame."""
        since_s = min(now - self._asked_s, LONGEST_GAP_S)
        self._asked_s = now
        self._may_hold_s = min(self._may_hold_s + HOLD_BACK_AGAIN * since_s, HOLD_BACK_MOST_S)
        if self._queue.overdue_s(now) < HOLD_BACK_S or self._may_hold_s <= 0.0:
            return False
        self._may_hold_s -= since_s
        return bool(self._sent) and now - self._sent[-1][0] < 1.0 / HELD_BACK_FPS

    def carries(self, stream_bps: float, now: float) -> float:
        """
        Return the bitrate that the link carries, for a stream that the camera encodes itself.

        :param stream_bps: Its bitrate, which may exceed the configured one.
        """
        self._ceiling_bps = max(ROOM_TO_STEP_UP * stream_bps, float(self._highest_bps))
        if self._congested_s == float('-inf'):
            self._bitrate_bps = self._ceiling_bps
        self._rise(now)
        return self._bitrate_bps

    def target(self, pixels: int, now: float) -> Target:
        """
        Return the target for the encoder now.

        :param pixels: Of a picture in full size.
        """
        self._ceiling_bps = float(self._highest_bps)
        self._bitrate_bps = min(self._bitrate_bps, self._ceiling_bps)
        self._rise(now)
        needs_bps = [fps * scale * scale * pixels * BITS_PER_PIXEL for fps, scale in self._steps]
        enough = _first_within(needs_bps, self._bitrate_bps)
        if enough > self._step:
            self._step, self._stepped_s = enough, now
        elif enough < self._step and now - self._stepped_s >= STEP_UP_S:
            better = _first_within(needs_bps, self._bitrate_bps / ROOM_TO_STEP_UP)
            if better < self._step:
                # One step at a time, to see whether the link carries it.
                self._step, self._stepped_s = self._step - 1, now
        fps, scale = self._steps[self._step]
        bitrate_bps = self._bitrate_bps
        if self._queue.delay_s > QUEUE_DELAY_S:
            bitrate_bps = max(DRAINING * bitrate_bps, LOWEST_BPS)
        return Target(bitrate_bps=round(bitrate_bps), fps=fps, scale=scale)


def _steps(fps: float) -> tuple[tuple[float, float], ...]:
    """Return pairs of frame rate and scale, each cheaper than the one before."""
    rates = [fps * part for part in _FPS_STEPS if part == 1.0 or fps * part >= LOWEST_FPS]
    return (*((rate, 1.0) for rate in rates), *((rates[-1], scale) for scale in _SCALES[1:]))


def _first_within(needs_bps: Sequence[float], bitrate_bps: float) -> int:
    """Return the first step for which the bitrate suffices, else the last one."""
    for step, need_bps in enumerate(needs_bps):
        if need_bps <= bitrate_bps:
            return step
    return len(needs_bps) - 1


class LinkQueue:
    """
    Measures how long packets wait on the way to the media backend; ``now`` is in seconds.

    Probes of the peer connection (HEARTBEAT) share one queue with the video. An answer shows that
    everything sent before its probe has passed: the time above the shortest round trip is the
    queue's, and the bytes between two answers are the link's rate. No receiver's report shows
    either as early. A peer that answers no probes has no queue.
    """

    def __init__(self) -> None:
        self._sent_bytes = 0
        self._probes: deque[tuple[float, int]] = deque(maxlen=MOST_PROBES)
        """Unanswered probes since the newest answered one: time, and bytes sent before it."""
        self._passed: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=2)
        """The newest two answers: time, and bytes that had passed by then."""
        self._shortest: deque[tuple[float, float]] = deque()
        """Time and round trip, in ascending order: the first is the shortest."""
        self._trip_s: float | None = None
        self._delays_s = (0.0, 0.0)
        """Queueing delays by the newest two answers."""
        self._jitter_s = 0.0

    def sent(self, size: int) -> None:
        """Note that something was sent; its size in bytes."""
        self._sent_bytes += size

    def probed(self, now: float) -> None:
        """Note that a probe was sent."""
        self._probes.append((now, self._sent_bytes))

    def answered(self, probe_s: float, now: float) -> None:
        """
        Note an answer.

        :param probe_s: The ``now`` of its probe.
        """
        while self._probes and self._probes[0][0] <= probe_s:
            at_s, passed = self._probes.popleft()
            if at_s == probe_s:
                self._passed.append((now, passed))
                self._note_trip(now - probe_s, now)

    def _note_trip(self, trip_s: float, now: float) -> None:
        if self._trip_s is not None:
            self._jitter_s += JITTER_GAIN * (abs(trip_s - self._trip_s) - self._jitter_s)
        self._trip_s = trip_s
        while self._shortest and self._shortest[-1][1] >= trip_s:
            self._shortest.pop()
        self._shortest.append((now, trip_s))
        while self._shortest[0][0] < now - SHORTEST_TRIP_WINDOW_S:
            self._shortest.popleft()
        self._delays_s = (self._delays_s[1], max(0.0, trip_s - self._usual_s))

    @property
    def _usual_s(self) -> float:
        """The longest round trip without a queue."""
        return self._shortest[0][1] + JITTERS * self._jitter_s

    @property
    def is_measured(self) -> bool:
        """Whether the peer answers."""
        return self._trip_s is not None

    @property
    def delay_s(self) -> float:
        """How long packets waited before the newest answer, beyond the usual variation."""
        return self._delays_s[1]

    def full_bps(self, delay_s: float) -> float | None:
        """
        Return the link's capacity in bits per second, if it was full between two answers.

        It was full if packets waited all the time and the wait did not shrink: after a short
        stall, or one large frame, the queue merely drains.

        :param delay_s: A wait of at least this time is a queue.
        """
        before_s, newest_s = self._delays_s
        if min(before_s, newest_s) < delay_s or newest_s < before_s:
            return None
        (first_s, first), (last_s, last) = self._passed
        return 8.0 * (last - first) / max(last_s - first_s, 1e-3)

    def overdue_s(self, now: float) -> float:
        """Return how long the next answer is overdue."""
        if self._trip_s is None or not self._probes:
            return 0.0
        return max(0.0, now - self._probes[0][0] - self._usual_s)
