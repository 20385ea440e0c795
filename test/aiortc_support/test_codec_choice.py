"""Several codecs on one stream: answers, offers and payload types."""

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

from collections.abc import AsyncIterator, Collection
from fractions import Fraction
import re
from types import SimpleNamespace
from typing import Any

from aiortc import RTCPeerConnection, RTCRtpTransceiver, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
import av
import pytest
from tree import SDP_FILES

from teleop_webrtc_bridge.aiortc_support.codec_choice import (
    keep_codecs,
    negotiated_codecs,
    offered_codecs,
    payload_types,
    prefer_codecs,
    send_as,
)
from teleop_webrtc_bridge.core.messages import VideoCodec
from teleop_webrtc_bridge.core.sdp import strip_forbidden_candidates

H264, VP8 = VideoCodec.H264, VideoCodec.VP8
#: As the broker takes it: without host names, which would be looked up.
OFFER_OF_A_PAGE = strip_forbidden_candidates(
    (SDP_FILES / 'offer_page.sdp').read_text(), allow_local=True
)


@pytest.fixture
async def pc() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection()
    yield connection
    await connection.close()


async def take(pc: RTCPeerConnection, offer: str) -> RTCRtpTransceiver:
    await pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type='offer'))
    (video,) = (it for it in pc.getTransceivers() if it.kind == 'video')
    return video


def numbers(sdp: str) -> dict[str, set[str]]:
    """Return the payload types of each codec of a description."""
    found: dict[str, set[str]] = {}
    for number, name in re.findall(r'a=rtpmap:(\d+) (VP8|H264)/', sdp):
        found.setdefault(name, set()).add(number)
    return found


async def offered(
    pc: RTCPeerConnection, video: RTCRtpTransceiver, known: Collection[RTCRtpCodecParameters]
) -> str:
    """Return an offer of H.264 and VP8."""
    prefer_codecs(video, (H264, VP8), known)
    return str((await pc.createOffer()).sdp)


async def test_what_the_peer_does_not_know_is_not_offered(pc: RTCPeerConnection) -> None:
    video = await take(pc, OFFER_OF_A_PAGE)
    known = offered_codecs(video)
    await pc.setLocalDescription(await pc.createAnswer())
    assert numbers(await offered(pc, video, known)).keys() == {'VP8', 'H264'}
    known = tuple(codec for codec in known if codec.name == 'VP8')
    assert numbers(await offered(pc, video, known)).keys() == {'VP8'}


async def test_to_a_peer_that_had_no_video_all_is_offered(pc: RTCPeerConnection) -> None:
    video = pc.addTransceiver('video', direction='sendonly')
    sdp = await offered(pc, video, ())
    assert {name: len(found) for name, found in numbers(sdp).items()} == {'H264': 2, 'VP8': 1}
    assert sdp.index('H264/90000') < sdp.index('VP8/90000'), 'the favourite first'
    assert 'rtx' not in sdp


@pytest.mark.parametrize(
    ('wanted', 'kept'), [((), [VP8]), ((H264, VP8), [VP8, H264]), ((VP8,), [VP8])]
)
async def test_one_variant_of_each_codec_is_answered_with_its_retransmissions(
    pc: RTCPeerConnection, wanted: tuple[VideoCodec, ...], kept: list[VideoCodec]
) -> None:
    video = await take(pc, OFFER_OF_A_PAGE)
    keep_codecs(video, wanted)
    await pc.setLocalDescription(await pc.createAnswer())
    answer = pc.localDescription.sdp
    assert list(negotiated_codecs(video)) == kept
    assert sum(map(len, numbers(answer).values())) == len(kept)
    assert answer.count('rtx/90000') == len(kept)
    assert set(map(str, payload_types(video).values())) == set().union(*numbers(answer).values())


def codec(name: str, number: int, **parameters: int) -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(
        mimeType=f'video/{name}', clockRate=90_000, payloadType=number, parameters=parameters
    )


async def test_each_frame_and_what_is_sent_again_of_it_has_its_own_codecs_number() -> None:
    sent: list[int] = []
    again: list[int | None] = []
    taken: list[VideoCodec] = []

    async def run(present: RTCRtpCodecParameters) -> None:
        packet = av.Packet(b'\0\0\0\1\x65' + bytes(40))
        packet.pts, packet.time_base = 0, Fraction(1, 90_000)
        for kind in (H264, VP8, H264):
            taken.append(kind)
            packetiser: Any = sender._RTCRtpSender__encoder
            payloads, _ = packetiser.pack(packet)
            assert payloads
            sent.append(present.payloadType or 0)

    async def retransmit(sequence_number: int) -> None:
        again.append(sender._RTCRtpSender__rtx_payload_type)

    history = {5: RtpPacket(payload_type=99), 6: RtpPacket(payload_type=97)}
    sender = SimpleNamespace(
        _run_rtp=run,
        _retransmit=retransmit,
        _RTCRtpSender__rtp_history=history,
        _RTCRtpSender__rtx_payload_type=100,
    )
    codecs = [
        codec('H264', 99),
        codec('rtx', 100, apt=99),
        codec('VP8', 97),
        codec('rtx', 98, apt=97),
    ]
    transceiver: Any = SimpleNamespace(sender=sender, _codecs=codecs)
    send_as(transceiver, lambda: taken[-1])
    await sender._run_rtp(codecs[0])
    assert sent == [99, 97, 99]
    assert codecs[0].payloadType == 99, 'what was negotiated is not touched'
    for sequence_number in (6, 5, 7):
        await sender._retransmit(sequence_number)
    assert again == [98, 100, 100]
