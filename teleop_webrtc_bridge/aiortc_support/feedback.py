"""
Reports of video receivers (RTCP): read, and passed on to the sender.

aiortc ignores them for tracks that deliver packets.
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

from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import Any, Final

from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.rtp import (
    pack_remb_fci,
    RTCP_PSFB_APP,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

__all__ = [
    'Estimate',
    'Feedback',
    'LossReport',
    'LossWindows',
    'pass_on_feedback',
    'take_feedback',
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A receiver's estimate of the bit rate that its link carries (REMB)."""

    source: int
    """The SSRC with which the receiver reports: distinguishes receivers."""
    bitrate_bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossReport:
    """The fraction of the packets that a receiver has recently lost."""

    source: int
    fraction_lost: float
    """0 to 1."""
    is_next_hop: bool
    """Whether it is from the peer itself, which echoes our sender reports (RFC 3550 §6.4.1)."""


Feedback = Estimate | LossReport


def take_feedback(sender: RTCRtpSender, callback: Callable[[Feedback], None]) -> None:
    """
    Call back with the reports of the receivers of a sender's video.

    :param callback: Must not raise.
    """
    private: Any = sender
    handle = private._handle_rtcp_packet
    losses = LossWindows()

    async def listen(packet: Any) -> None:
        for feedback in _feedback(private, packet, losses):
            callback(feedback)
        await handle(packet)

    private._handle_rtcp_packet = listen


def _feedback(sender: Any, packet: Any, losses: LossWindows) -> list[Feedback]:
    if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
        now = time.monotonic()
        return [
            LossReport(source=packet.ssrc, fraction_lost=lost, is_next_hop=report.lsr != 0)
            for report in packet.reports
            if report.ssrc == sender._ssrc
            and (lost := losses.fraction_lost(packet.ssrc, report, now)) is not None
        ]
    if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
        try:
            bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
        except ValueError:
            return []  # of another application
        if sender._ssrc in ssrcs:
            return [Estimate(source=packet.ssrc, bitrate_bps=bitrate_bps)]
    return []


async def pass_on_feedback(receiver: RTCRtpReceiver, ssrc: int, feedback: Feedback) -> None:
    """
    Send the report of a viewer to the sender of a forwarded stream.

    :param receiver: Receives the stream.
    :param ssrc: The SSRC of the stream.
    """
    private: Any = receiver
    if isinstance(feedback, Estimate):
        fci = pack_remb_fci(feedback.bitrate_bps, [ssrc])
        packet: Any = RtcpPsfbPacket(
            fmt=RTCP_PSFB_APP, ssrc=feedback.source, media_ssrc=0, fci=fci
        )
    else:
        # Zeros in lsr and dlsr distinguish it from the peer's own reports.
        report = RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=round(256 * feedback.fraction_lost) & 0xFF,
            packets_lost=0,
            highest_sequence=0,
            jitter=0,
            lsr=0,
            dlsr=0,
        )
        packet = RtcpRrPacket(ssrc=feedback.source, reports=[report])
    await private._send_rtcp(packet)


WINDOW_S: Final = 1.0
MOST_SOURCES: Final = 64
"""Sources of reports on one stream: more than the number of viewers allowed."""


@dataclass(frozen=True, slots=True)
class _Begin:
    at_s: float
    highest_sequence: int
    packets_lost: int


class LossWindows:
    """
    Computes, for each second, the fraction of the packets that stayed lost.

    A report's own ``fraction_lost`` is misleading. Browsers put a report into each RTCP message:
    the one that requests a lost packet may say that one of six was lost. Packets that were
    overtaken count as lost, too, and no later report corrects that. Time is an argument.
    """

    def __init__(self) -> None:
        self._begins: dict[int, _Begin] = {}

    def fraction_lost(self, source: int, report: RtcpReceiverInfo, now: float) -> float | None:
        """
        Return the fraction of the packets that was recently lost, 0 to 1; ``None``: unknown yet.

        :param source: The SSRC of the receiver that reports.
        :param now: Monotonic time in seconds.
        """
        if not report.highest_sequence:
            return report.fraction_lost / 256  # a broker that passes it on has computed it
        newest = _Begin(now, report.highest_sequence, report.packets_lost)
        begin = self._begins.get(source)
        expected = (newest.highest_sequence - begin.highest_sequence) % 2**32 if begin else 0
        if begin is None or expected >= 2**31:
            if len(self._begins) >= MOST_SOURCES:
                self._begins.clear()
            self._begins[source] = newest
            return None
        if now - begin.at_s < WINDOW_S or not expected:
            return None
        self._begins[source] = newest
        return min(max((newest.packets_lost - begin.packets_lost) / expected, 0.0), 1.0)
