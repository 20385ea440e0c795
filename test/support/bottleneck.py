"""Simulated link with a bottleneck, for tests of the rate controller."""

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

from collections.abc import Callable
from dataclasses import dataclass
import random

from aiortc.rate import RemoteBitrateEstimator

from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController, Target

PACKET_BYTES = 1200
SSRC = 7
PROBE_PERIOD_S = 0.1
HD = 1280 * 720


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Delay and losses of one frame."""

    at_s: float
    target: Target
    delay_s: float
    """Delay of the last packet that arrived."""
    lost: int


class Bottleneck:
    """
    A stream over a rate-limited link with a queue, and a receiver that sends reports.

    The receiver is aiortc's own estimator; it reports loss once per second.

    :param capacity: Bits per second, as a function of time.
    :param queue_s: Length of the queue, at the link's rate.
    :param activity: Fraction of the bitrate that the scene needs, as a function of time.
    :param with_remb: Whether the receiver reports estimates.
    :param with_probes: Whether the peer is probed on this link.
    """

    def __init__(
        self,
        controller: RateController,
        capacity: Callable[[float], float],
        *,
        queue_s: float = 0.5,
        delay_s: float = 0.02,
        activity: Callable[[float], float] = lambda at_s: 1.0,
        with_remb: bool = True,
        with_probes: bool = False,
        random_loss: float = 0.0,
    ) -> None:
        self._controller = controller
        self._capacity = capacity
        self._queue_s = queue_s
        self._delay_s = delay_s
        self._activity = activity
        self._with_remb = with_remb
        self._with_probes = with_probes
        self._random_loss = random_loss
        self._random = random.Random(3)
        self._estimator = RemoteBitrateEstimator()
        self._free_s = 0.0
        """When the link will have sent its queue."""
        self._rembs: list[tuple[float, float]] = []
        self._probe_s = 0.0
        self._answers: list[tuple[float, float]] = []
        """Arrival of each answer, and the time of its probe."""
        self._packets = self._lost = 0

    def run(self, seconds: float) -> list[Sample]:
        samples: list[Sample] = []
        at_s, report_s = 0.0, 1.0
        while at_s < seconds:
            self._report_rembs(at_s)
            self._probe(at_s)
            if at_s >= report_s:
                report_s += 1.0
                lost = self._lost / max(1, self._packets)
                self._controller.on_report(SSRC, lost, at_s, is_next_hop=self._with_probes)
                self._packets = self._lost = 0
            target = self._controller.target(HD, at_s)
            bits = target.bitrate_bps / target.fps * self._random.uniform(0.7, 1.3)
            if self._controller.holds_back(at_s):
                at_s += 1.0 / target.fps
                continue
            samples.append(self._send(int(bits * self._activity(at_s) / 8), at_s, target))
            at_s += 1.0 / target.fps
        return samples

    def _report_rembs(self, at_s: float) -> None:
        while self._rembs and self._rembs[0][0] <= at_s:
            _, bitrate_bps = self._rembs.pop(0)
            self._controller.on_remb(SSRC, bitrate_bps, at_s)

    def _probe(self, now: float) -> None:
        while self._with_probes and self._probe_s <= now:
            self._controller.on_probe(self._probe_s)
            if self._free_s - self._probe_s <= self._queue_s:
                passes_s = max(self._free_s, self._probe_s)
                self._answers.append((passes_s + 2 * self._delay_s, self._probe_s))
            self._probe_s += PROBE_PERIOD_S
        while self._answers and self._answers[0][0] <= now:
            answer_s, probe_s = self._answers.pop(0)
            self._controller.on_answer(probe_s, answer_s)

    def _send(self, size: int, at_s: float, target: Target) -> Sample:
        self._controller.sent(size, at_s)
        delay_s, lost = self._delay_s, 0
        for offset in range(0, max(size, 1), PACKET_BYTES):
            part = min(PACKET_BYTES, max(size, 1) - offset)
            self._packets += 1
            if self._free_s - at_s > self._queue_s or self._random.random() < self._random_loss:
                lost += 1
                continue
            self._free_s = max(self._free_s, at_s) + 8 * part / self._capacity(at_s)
            delay_s = self._free_s + self._delay_s - at_s
            self._receive(part, at_s, self._free_s + self._delay_s)
        self._lost += lost
        return Sample(at_s=at_s, target=target, delay_s=delay_s, lost=lost)

    def _receive(self, size: int, sent_s: float, arrival_s: float) -> None:
        remb = self._estimator.add(
            abs_send_time=int(sent_s * (1 << 18)) & 0xFFFFFF,
            arrival_time_ms=int(1000 * arrival_s),
            payload_size=size,
            ssrc=SSRC,
        )
        if remb is not None and self._with_remb:
            self._rembs.append((arrival_s + self._delay_s, remb[0]))
