"""
How many bits, frames and pixels the link carries just now; pure.

What tells of congestion:

- *REMB falls.* Its height alone says little: a receiver's estimate follows what it receives, so a
  scene in which nothing moves makes it low. Only a fall below what is being sent counts.
- *Loss*, beyond what a radio link loses without being full.
- *Packets wait in a queue* on the way to the media backend (:mod:`.link_queue`).

Each of several receivers is judged by its own reports (docs/performance.md). On congestion the
bitrate goes down within one report; it comes back by some per cent a second, slower around the
rate that was too much before. When the bits do not suffice for every frame, frames are left
out; when they do not suffice for half of them either, the picture gets smaller. While a queue is
long, few frames are sent: they would be late, and make all others later.
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

from teleop_webrtc_bridge.bridge.webrtc.video.link_queue import LinkQueue

__all__ = ['LOWEST_BPS', 'RateController', 'Target']

LOWEST_BPS: Final = 150_000

REMB_FELL: Final = 0.97
"""An estimate below this part of the one before has been corrected, not rounded."""
REMB_FIRST: Final = 0.7
"""A receiver's first estimate tells of congestion if it is below this part of what is sent."""
REMB_MARGIN: Final = 0.85
"""Receivers report this part of what got through, so that the queue drains."""
LOSS_HOLD: Final = 0.02
LOSS_CUT: Final = 0.10
QUEUE_DELAY_S: Final = 0.1
"""Packets that wait for so long have a queue before them."""
QUEUE_CUT: Final = 0.9
"""Of what the link carries."""
IDLE_CUT: Final = 0.7
"""For congestion while far less is sent than may be: that says little of what the link carries."""
IDLE_PART: Final = 0.5
SETTLE_S: Final = 1.0
"""After a cut, loss and round trips still tell of the time before it."""
HOLD_S: Final = 1.0
RISE: Final = 0.08
"""Part of the bitrate a second."""
RISE_NEAR: Final = 0.02
"""The same around the rate at which the link was full."""
RISE_WATCHED: Final = 0.25
"""The same far above that rate, if a queue would be noticed within its first tenths of a second;
with more, what waits before it is noticed is half a second."""
NEAR: Final = (0.9, 1.1)
FAR: Final = 1.6
BUSY_BPS: Final = LOWEST_BPS / 2
SENT_WINDOW_S: Final = 1.0
FORGET_S: Final = 10.0
"""A receiver that says nothing for so long is gone."""
DRAINING: Final = 0.7
"""Part of the bitrate while packets wait in a queue: what is there has to be sent as well."""
HOLD_BACK_S: Final = 0.2
"""While an answer is overdue by that much, few frames are sent."""
HELD_BACK_FPS: Final = 4.0
HOLD_BACK_MOST_S: Final = 3.0
"""In a row; the queue may be that of others, and does not drain for our sake."""
LONGEST_GAP_S: Final = 0.2
"""Between two frames; more counts as so much."""
HOLD_BACK_AGAIN: Final = 0.1
"""Part of the time that it may be in the long run."""

BITS_PER_PIXEL: Final = 0.025
"""Of one frame: with less, x264 leaves nothing but blocks of what moves."""
ROOM_TO_STEP_UP: Final = 1.25
STEP_UP_S: Final = 5.0
LOWEST_FPS: Final = 10.0
"""Fewer frames are only sent if fewer are configured."""
_FPS_STEPS: Final = (1.0, 2 / 3, 1 / 2)
_SCALES: Final = (1.0, 3 / 4, 1 / 2, 3 / 8, 1 / 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to encode."""

    bitrate_bps: int
    fps: float
    scale: float
    """Of width and height."""


@dataclass(slots=True)
class _Receiver:
    """One who reports."""

    remb_bps: float | None = None
    """The highest estimate since congestion, or the one that told of it."""
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
        """Where the bitrate stops rising."""
        self._fps = fps
        self._steps = _steps(fps)
        self._bitrate_bps = float(self._highest_bps)
        self._full_bps: float | None = None
        """Where the link was found to be full."""
        self._rise_far_above = RISE
        """Part of the bitrate a second, when it is far above that."""
        self._congested_s = float('-inf')
        self._risen_s: float | None = None
        self._receivers: dict[int, _Receiver] = {}
        self._sent: deque[tuple[float, int]] = deque()
        self._queue = LinkQueue()
        self._next_hop: int | None = None
        """The receiver at the other end of that."""
        self._may_hold_s = HOLD_BACK_MOST_S
        self._asked_s = float('-inf')
        """When it was asked last whether to hold a frame back."""
        self._step = 0
        self._stepped_s = float('-inf')

    # --- what is known ------------------------------------------------------------------------

    def sent(self, size: int, now: float) -> None:
        """Note that a frame was sent; its size in bytes."""
        self._sent.append((now, size))
        self._queue.sent(size)
        self._forget_sent(now)

    def is_busy(self, now: float) -> bool:
        """Return whether so much is sent that it may fill a link."""
        return self._sent_bps(now) > BUSY_BPS

    def on_probe(self, now: float) -> None:
        """Note that the peer is probed."""
        self._queue.probed(now)

    def on_answer(self, probe_s: float, now: float) -> None:
        """
        Take the answer to a probe.

        :param probe_s: The ``now`` of that probe.
        """
        self._queue.answered(probe_s, now)
        full_bps = self._queue.full_bps(QUEUE_DELAY_S)
        if full_bps is not None and probe_s > self._congested_s:
            self._lower(QUEUE_CUT * full_bps, now, full_bps=full_bps)
            self._rise_far_above = RISE_WATCHED

    def on_remb(self, source: int, bitrate_bps: float, now: float) -> None:
        """
        Take a receiver's estimate of what its link carries.

        :param source: Tells receivers apart.
        """
        if source == self._next_hop and self._queue.is_measured:
            return  # the same queue, but seen later, and less where frames are held back
        receiver = self._receiver(source, now)
        before_bps = receiver.remb_bps
        sent_bps = self._sent_bps(now)
        if before_bps is None:
            congested = bitrate_bps < REMB_FIRST * sent_bps
        else:
            congested = bitrate_bps < min(REMB_FELL * before_bps, sent_bps)
        if congested or before_bps is None or bitrate_bps > before_bps:
            # What it fell from stays, so that many small falls count as well.
            receiver.remb_bps = bitrate_bps
        if congested:
            self._cut(bitrate_bps, sent_bps, now, full_bps=bitrate_bps / REMB_MARGIN)

    def on_report(
        self, source: int, fraction_lost: float, now: float, *, is_next_hop: bool = False
    ) -> None:
        """
        Take a receiver report.

        :param source: Tells receivers apart.
        :param fraction_lost: Of the packets since its report before, 0 to 1.
        :param is_next_hop: Whether it is of the peer that is probed.
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
            return  # nobody can send less than that: what is congested is not for us to relieve
        if sent_bps < IDLE_PART * self._bitrate_bps:
            bitrate_bps = max(bitrate_bps, IDLE_CUT * self._bitrate_bps)
            full_bps = self._bitrate_bps
        self._lower(bitrate_bps, now, full_bps=full_bps)
        # A receiver behind the media backend reports late.
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
        """Return whether not to send a frame that is there now."""
        since_s = min(now - self._asked_s, LONGEST_GAP_S)
        self._asked_s = now
        self._may_hold_s = min(self._may_hold_s + HOLD_BACK_AGAIN * since_s, HOLD_BACK_MOST_S)
        if self._queue.overdue_s(now) < HOLD_BACK_S or self._may_hold_s <= 0.0:
            return False
        self._may_hold_s -= since_s
        return bool(self._sent) and now - self._sent[-1][0] < 1.0 / HELD_BACK_FPS

    def carries(self, stream_bps: float, now: float) -> float:
        """
        Return what the link carries of a stream that somebody else encodes, in bits per second.

        :param stream_bps: What it has; more than what was configured does not count as too much.
        """
        self._ceiling_bps = max(ROOM_TO_STEP_UP * stream_bps, float(self._highest_bps))
        if self._congested_s == float('-inf'):
            self._bitrate_bps = self._ceiling_bps
        self._rise(now)
        return self._bitrate_bps

    def target(self, pixels: int, now: float) -> Target:
        """
        Return what to encode now.

        :param pixels: Of a picture at full size.
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
                # One at a time: each tells whether the link carries it.
                self._step, self._stepped_s = self._step - 1, now
        fps, scale = self._steps[self._step]
        bitrate_bps = self._bitrate_bps
        if self._queue.delay_s > QUEUE_DELAY_S:
            bitrate_bps = max(DRAINING * bitrate_bps, LOWEST_BPS)
        return Target(bitrate_bps=round(bitrate_bps), fps=fps, scale=scale)


def _steps(fps: float) -> tuple[tuple[float, float], ...]:
    """Return frame rates and scales, each cheaper than the one before."""
    rates = [fps * part for part in _FPS_STEPS if part == 1.0 or fps * part >= LOWEST_FPS]
    return (*((rate, 1.0) for rate in rates), *((rates[-1], scale) for scale in _SCALES[1:]))


def _first_within(needs_bps: Sequence[float], bitrate_bps: float) -> int:
    """Return the first step that the bitrate suffices for; the last one if there is none."""
    for step, need_bps in enumerate(needs_bps):
        if need_bps <= bitrate_bps:
            return step
    return len(needs_bps) - 1
