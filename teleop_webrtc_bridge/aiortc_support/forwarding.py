"""Video that the broker forwards: packets that arrive from one peer and leave to others."""

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

import asyncio
from collections.abc import Awaitable, Callable
import struct
import time
from typing import Any, Final

from aiortc import RTCRtpReceiver, RTCRtpTransceiver
from aiortc.clock import current_ntp_time
from aiortc.codecs import is_rtx
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtpPacket,
    unwrap_rtx,
)

from teleop_webrtc_bridge.aiortc_support.codec_choice import codec_of, payload_types
from teleop_webrtc_bridge.aiortc_support.feedback import Feedback, pass_on_feedback
from teleop_webrtc_bridge.aiortc_support.internals import (
    ABS_CAPTURE_TIME,
    ABS_SEND_TIME,
    FrameExtensions,
    ONE_BYTE_PROFILE,
    PLAYOUT_DELAY,
    SDES_MID,
)
from teleop_webrtc_bridge.aiortc_support.retransmission import MissingPackets, ResendBudget
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['VideoEgress', 'VideoIngress']

HISTORY_PACKETS: Final = 512
"""About two seconds at 2.5 Mbit/s; a power of two, so that sequence numbers may wrap."""
ASK_PERIOD_S: Final = 0.05
"""Period of checking whether to request a lost packet again."""
FIRST_NUMBER: Final = 1000
"""Low, to avoid a wrap within the first seconds (RFC 3711 §3.3.1)."""
AFTER_A_PAUSE: Final = 32
"""Numbers left free for packets that were overtaken by the first one after a pause."""
_RTP_HEADER: Final = struct.Struct('!BBHLLHH')


class _Discard:
    """Replaces the decoder's queue: drops frames, but passes on the end, which ends the thread."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put(self, item: object) -> None:
        if item is None:
            self._queue.put(None)

    def get(self) -> Any:
        return self._queue.get()


class _NoJitterBuffer:
    """
    Replaces the buffer that assembles frames, because none is decoded.

    aiortc's buffer scans up to 512 packets for each new one, and requests keyframes by itself.
    """

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        return False, None


class VideoIngress:
    """
    Video that arrives and is forwarded, never decoded.

    aiortc's receiver goes on reporting loss and bandwidth to the sender (RR, NACK, REMB).

    :param receiver: From the ``track`` event: its decoder must not have started.
    :param forward: Called with each packet, retransmissions unwrapped; must not raise.
    """

    def __init__(
        self, receiver: RTCRtpReceiver, forward: Callable[[RtpPacket], Awaitable[None]]
    ) -> None:
        private: Any = receiver
        self._receiver = private
        self._forward = forward
        self._ssrc: int | None = None
        self._history: list[RtpPacket | None] = [None] * HISTORY_PACKETS
        self._handle_rtp_packet = receiver._handle_rtp_packet
        queue = self._receiver._RTCRtpReceiver__decoder_queue
        self._receiver._RTCRtpReceiver__decoder_queue = _Discard(queue)
        self._receiver._RTCRtpReceiver__jitter_buffer = _NoJitterBuffer()
        self._receiver._handle_rtp_packet = self._on_packet
        self._kinds: dict[int, VideoCodec | None] = {}
        """By payload type."""
        self.packets = 0
        self._missing = MissingPackets()
        self._asking: asyncio.Task[None] | None = None

    async def _on_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        original = self._original(packet)
        if original is not None:
            self._ssrc = original.ssrc
            self._history[original.sequence_number % HISTORY_PACKETS] = original
            self.packets += 1
            self._missing.received(original.sequence_number, time.monotonic())
            await self._forward(original)
        await self._handle_rtp_packet(packet, arrival_time_ms=arrival_time_ms)
        if self._missing and (self._asking is None or self._asking.done()):
            self._asking = asyncio.get_running_loop().create_task(self._ask_again())

    async def _ask_again(self) -> None:
        """Request missing packets until they have come or would come too late."""
        while self._missing:
            await asyncio.sleep(ASK_PERIOD_S)
            lost = self._missing.to_ask_for(time.monotonic())
            if not lost or self._ssrc is None:
                continue
            try:
                await self._receiver._send_rtcp_nack(self._ssrc, sorted(lost))
            except ConnectionError:
                return  # the sender is leaving, as the state of its connection shows

    def _original(self, packet: RtpPacket) -> RtpPacket | None:
        """Return the packet, or the one in a retransmission (RFC 4588); ``None``: unusable."""
        codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
        if codec is None:
            return None
        if not is_rtx(codec):
            return packet if packet.payload else None
        ssrc = self._receiver._RTCRtpReceiver__rtx_ssrc.get(packet.ssrc)
        if ssrc is None or len(packet.payload) <= 2:
            return None
        return unwrap_rtx(packet, payload_type=codec.parameters['apt'], ssrc=ssrc)

    def codec(self, packet: RtpPacket) -> VideoCodec | None:
        """Return the codec of a forwarded packet."""
        if packet.payload_type not in self._kinds:
            codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
            self._kinds[packet.payload_type] = None if codec is None else codec_of(codec)
        return self._kinds[packet.payload_type]

    def sent(self, sequence_number: int) -> RtpPacket | None:
        """Return a recent packet by its sequence number."""
        packet = self._history[sequence_number % HISTORY_PACKETS]
        if packet is None or packet.sequence_number != sequence_number:
            return None
        return packet

    async def pass_on(self, feedback: Feedback) -> None:
        """Pass a viewer's report on to the sender."""
        if self._ssrc is not None:
            await pass_on_feedback(self._receiver, self._ssrc, feedback)

    async def request_keyframe(self) -> None:
        """Ask the sender for a keyframe."""
        if self._ssrc is not None:
            await self._receiver._send_rtcp_pli(self._ssrc)


class VideoEgress:
    """
    Sends the packets of an ingress to one peer.

    :param transceiver: Of direction ``sendonly``, without a track.
    :param ingress: The source of the packets, including retransmitted ones.
    :param request_keyframe: Called when the peer requests a keyframe.
    """

    def __init__(
        self,
        transceiver: RTCRtpTransceiver,
        ingress: VideoIngress,
        request_keyframe: Callable[[], Awaitable[None]],
    ) -> None:
        self._transceiver = transceiver
        private: Any = transceiver.sender
        self._sender = private
        self._ingress = ingress
        self._request_keyframe = request_keyframe
        self._sequence_offset: int | None = None
        """From the robot's sequence numbers to ours; ``None``: the last packet was not sent."""
        self._newest = FIRST_NUMBER - AFTER_A_PAUSE
        """The newest sequence number in use."""
        self._packets = 0
        self._octets = 0
        self._ids: dict[str, int] | None = None
        self._payload_types: dict[VideoCodec, int] = {}
        """By codec that the peer accepts."""
        self._resends = ResendBudget()
        self._handle_rtcp_packet = self._sender._handle_rtcp_packet
        self._sender._handle_rtcp_packet = self._on_rtcp

    async def forward(self, packet: RtpPacket) -> None:
        """Send a packet, if the peer accepts its codec and its connection is ready."""
        if self._ids is None and not self._begin():
            return
        if self._ingress.codec(packet) not in self._payload_types:
            # Numbers continue where they stopped, so that the peer does not request the gap.
            self._sequence_offset = None
            return
        if self._sequence_offset is None:
            number = self._newest + AFTER_A_PAUSE
            self._sequence_offset = (number - packet.sequence_number) & 0xFFFF
        await self._send(packet)
        number = (packet.sequence_number + self._sequence_offset) & 0xFFFF
        if (number - self._newest) & 0xFFFF < 0x8000:
            self._newest = number
        self._resends.sent(time.monotonic())
        self._packets += 1
        self._octets += len(packet.payload)
        # aiortc writes its sender reports from these.
        self._sender._RTCRtpSender__ntp_timestamp = current_ntp_time()
        self._sender._RTCRtpSender__rtp_timestamp = packet.timestamp
        self._sender._RTCRtpSender__packet_count = self._packets
        self._sender._RTCRtpSender__octet_count = self._octets

    def _begin(self) -> bool:
        if self._sender.transport.state != 'connected' or (
            self._transceiver.currentDirection != 'sendonly'
        ):
            return False
        extensions = self._transceiver._headerExtensions
        self._ids = {extension.uri: extension.id for extension in extensions}
        self._payload_types = payload_types(self._transceiver)
        return True

    async def _send(self, packet: RtpPacket) -> None:
        codec = self._ingress.codec(packet)
        payload_type = None if codec is None else self._payload_types.get(codec)
        if payload_type is None:
            return
        extensions = self._extensions(packet)
        header = _RTP_HEADER.pack(
            0x90,
            (packet.marker << 7) | payload_type,
            (packet.sequence_number + (self._sequence_offset or 0)) & 0xFFFF,
            packet.timestamp,
            self._sender._ssrc,
            ONE_BYTE_PROFILE,
            len(extensions) >> 2,
        )
        try:
            await self._sender.transport._send_rtp(header + extensions + packet.payload)
        except ConnectionError:
            return  # the peer is leaving, as the state of its connection shows

    def _extensions(self, packet: RtpPacket) -> bytes:
        """Return the packet's extensions with the ids of this peer (RFC 8285 §4.2)."""
        assert self._ids is not None
        frame = getattr(packet.extensions, 'frame', None) or FrameExtensions()
        values = {
            SDES_MID: (self._transceiver.mid or '').encode() or None,
            ABS_SEND_TIME: ((current_ntp_time() >> 14) & 0xFFFFFF).to_bytes(3, 'big'),
            PLAYOUT_DELAY: frame.playout_delay,
            ABS_CAPTURE_TIME: frame.capture_time,
        }
        packed = b''.join(
            bytes([(self._ids[uri] << 4) | (len(value) - 1)]) + value
            for uri, value in values.items()
            if value and uri in self._ids and self._ids[uri] < 15
        )
        return packed + bytes(-len(packed) % 4)

    async def _on_rtcp(self, packet: Any) -> None:
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            for number in packet.lost:
                lost = self._ingress.sent((number - (self._sequence_offset or 0)) & 0xFFFF)
                if lost is None or self._ids is None or self._sequence_offset is None:
                    continue
                if self._resends.take(number, time.monotonic()):
                    await self._send(lost)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            await self._request_keyframe()
        else:
            await self._handle_rtcp_packet(packet)
