"""Numbers of forwarded packets, where a receiver does not take all that is sent."""

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

from types import SimpleNamespace
from typing import Any

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket, RtpPacket

from teleop_webrtc_bridge.aiortc_support.forwarding import VideoEgress
from teleop_webrtc_bridge.core.messages import VideoCodec

H264, VP8 = VideoCodec.H264, VideoCodec.VP8
SENT_AS = {H264: 99, VP8: 97}
"""By the robot."""


class Ingress:
    """What the robot has sent, all of it."""

    def __init__(self) -> None:
        self.packets: dict[int, RtpPacket] = {}

    def codec(self, packet: RtpPacket) -> VideoCodec:
        return next(codec for codec, number in SENT_AS.items() if number == packet.payload_type)

    def sent(self, sequence_number: int) -> RtpPacket | None:
        return self.packets.get(sequence_number)


class Receiver:
    """One who takes some codecs, under payload types of their own."""

    def __init__(self, takes: dict[VideoCodec, int]) -> None:
        self.heard: list[RtpPacket] = []
        self.ingress = Ingress()
        self._next = 65_500
        """So that it wraps."""

        async def handle(packet: Any) -> None:
            return

        sender = SimpleNamespace(
            transport=SimpleNamespace(state='connected', _send_rtp=self._hear),
            _ssrc=7,
            _handle_rtcp_packet=handle,
        )
        codecs = [
            RTCRtpCodecParameters(
                mimeType=f'video/{codec.value.upper()}', clockRate=90_000, payloadType=number
            )
            for codec, number in takes.items()
        ]
        transceiver: Any = SimpleNamespace(
            sender=sender,
            currentDirection='sendonly',
            mid='0',
            _headerExtensions=[],
            _codecs=codecs,
        )
        self.sender = sender
        ingress: Any = self.ingress
        self.egress = VideoEgress(transceiver, ingress, self._ask)

    async def _hear(self, data: bytes) -> None:
        self.heard.append(RtpPacket.parse(data))

    async def _ask(self) -> None:
        return

    async def film(self, codec: VideoCodec, packets: int) -> None:
        for _ in range(packets):
            packet = RtpPacket(payload_type=SENT_AS[codec], sequence_number=self._next)
            packet.payload = bytes(str(self._next), 'ascii')
            self.ingress.packets[self._next] = packet
            self._next = (self._next + 1) & 0xFFFF
            await self.egress.forward(packet)

    async def misses(self, number: int) -> None:
        await self.sender._handle_rtcp_packet(
            RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=7, lost=[number])
        )

    def numbers(self) -> list[int]:
        return [packet.sequence_number for packet in self.heard]


async def test_each_codec_has_the_payload_type_of_this_receiver() -> None:
    receiver = Receiver({VP8: 120, H264: 126})
    await receiver.film(H264, 3)
    await receiver.film(VP8, 2)
    await receiver.film(H264, 1)
    assert [packet.payload_type for packet in receiver.heard] == [126] * 3 + [120] * 2 + [126]
    assert receiver.numbers() == list(range(1000, 1006)), 'one stream, without a gap'


async def test_what_is_not_taken_leaves_no_gap_that_is_asked_for() -> None:
    receiver = Receiver({VP8: 120})
    await receiver.film(VP8, 3)
    await receiver.film(H264, 500)
    assert receiver.numbers() == [1000, 1001, 1002]
    await receiver.film(VP8, 3)
    resumed = receiver.numbers()[3]
    assert 1003 <= resumed <= 1002 + 32, 'a little room for what was overtaken'
    assert receiver.numbers()[3:] == [resumed, resumed + 1, resumed + 2]
    # What is asked for of the room, or of before, is not sent: it would be something else.
    heard = len(receiver.heard)
    for number in (resumed - 1, 1002):
        await receiver.misses(number)
    assert len(receiver.heard) == heard
    await receiver.misses(resumed + 1)
    assert receiver.heard[-1].payload == receiver.heard[heard - 2].payload


async def test_a_packet_that_was_overtaken_has_no_number_of_another() -> None:
    receiver = Receiver({VP8: 120})
    await receiver.film(VP8, 2)
    await receiver.film(H264, 2)
    late = RtpPacket(payload_type=SENT_AS[VP8], sequence_number=3, payload=b'late')
    first = RtpPacket(payload_type=SENT_AS[VP8], sequence_number=4, payload=b'first')
    for packet in (first, late):
        await receiver.egress.forward(packet)
    assert len(set(receiver.numbers())) == len(receiver.numbers()) == 4


async def test_while_nothing_is_taken_nothing_is_sent_again() -> None:
    receiver = Receiver({VP8: 120})
    await receiver.film(VP8, 3)
    await receiver.film(H264, 3)
    await receiver.misses(1001)
    assert len(receiver.heard) == 3
