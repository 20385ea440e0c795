"""
Which of several negotiated codecs a stream of video is sent in, and under which payload type.

Tested with aiortc 1.16, like :mod:`~teleop_webrtc_bridge.aiortc_support.internals`.
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

from collections.abc import Callable, Collection
import copy
from typing import Any, Final

from aiortc import RTCRtpTransceiver
from aiortc.codecs import get_capabilities, get_encoder
from aiortc.rtcrtpparameters import RTCRtpCodecCapability, RTCRtpCodecParameters
from aiortc.rtp import RTP_HISTORY_SIZE
import av

from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = [
    'codec_of',
    'keep_codecs',
    'mime_type',
    'negotiated_codecs',
    'offered_codecs',
    'payload_types',
    'prefer_codecs',
    'send_as',
]

_KNOWN: Final = {codec.value: codec for codec in VideoCodec}


def mime_type(codec: VideoCodec) -> str:
    """Return the name of a codec as FFmpeg's wrappers and SDP have it."""
    return f'video/{codec.value.upper()}'


def codec_of(codec: RTCRtpCodecCapability | RTCRtpCodecParameters) -> VideoCodec | None:
    """Return what aiortc calls so; ``None``: retransmissions, say."""
    return _KNOWN.get(codec.name.lower())


def negotiated_codecs(transceiver: RTCRtpTransceiver) -> tuple[VideoCodec, ...]:
    """Return the codecs that both sides know, the favourite first."""
    codecs = [codec_of(codec) for codec in transceiver._codecs]
    return tuple(dict.fromkeys(codec for codec in codecs if codec is not None))


def payload_types(transceiver: RTCRtpTransceiver) -> dict[VideoCodec, int]:
    """Return the number that each codec is sent under: that of its favourite variant."""
    numbers: dict[VideoCodec, int] = {}
    for codec in transceiver._codecs:
        kind = codec_of(codec)
        if kind is not None and codec.payloadType is not None:
            numbers.setdefault(kind, codec.payloadType)
    return numbers


def keep_codecs(transceiver: RTCRtpTransceiver, wanted: Collection[VideoCodec]) -> None:
    """
    Answer an offer with one variant each of some codecs, and their retransmissions.

    :param wanted: Those that the peer can change between, at a word; otherwise the first codec
        that both sides know is the only one.
    """
    chosen = [codec for codec in transceiver._codecs if codec_of(codec) is not None][:1]
    for codec in transceiver._codecs:
        kind = codec_of(codec)
        if kind in wanted and kind not in map(codec_of, chosen):
            chosen.append(codec)
    numbers = {codec.payloadType for codec in chosen}
    transceiver._codecs = [
        codec
        for codec in transceiver._codecs
        if codec in chosen or codec.parameters.get('apt') in numbers
    ]


def offered_codecs(transceiver: RTCRtpTransceiver) -> tuple[RTCRtpCodecParameters, ...]:
    """Return what is known here of the peer's offer, with the peer's payload types."""
    return tuple(map(copy.copy, transceiver._codecs))


def prefer_codecs(
    transceiver: RTCRtpTransceiver,
    codecs: Collection[VideoCodec],
    known: Collection[RTCRtpCodecParameters],
) -> None:
    """
    Have the next offer name some codecs, in all variants that the peer knows.

    What is forwarded may be any of them: variants differ in what a sender *may* use of a codec.
    Without retransmissions: lost packets are sent again as they were, from the ingress' history.

    :param known: The peer's own offer, if it had video; see :func:`offered_codecs`.
    """
    capabilities = [it for it in get_capabilities('video').codecs if codec_of(it) in codecs]
    if known:
        capabilities = [it for it in capabilities if any(_is_same(it, theirs) for theirs in known)]
    # In the robot's order; that of the variants is aiortc's.
    order = list(codecs)
    capabilities.sort(key=lambda it: order.index(codec_of(it)))  # type: ignore[arg-type]
    transceiver.setCodecPreferences(capabilities)


def _is_same(
    one: RTCRtpCodecCapability | RTCRtpCodecParameters, other: RTCRtpCodecParameters
) -> bool:
    return (one.mimeType, one.parameters) == (other.mimeType, other.parameters)


def send_as(transceiver: RTCRtpTransceiver, in_use: Callable[[], VideoCodec]) -> None:
    """
    Send what a track of packets gives in the codec that it is of; call it before it is sent.

    :param in_use: Called when a packet was taken from the track; returns that packet's codec, one
        of :func:`negotiated_codecs`.
    """
    private: Any = transceiver.sender
    run_rtp, retransmit = private._run_rtp, private._retransmit

    async def run(codec: RTCRtpCodecParameters) -> None:
        # aiortc reads the payload type of this one for each frame, after it was packetised.
        present = copy.copy(codec)
        private._RTCRtpSender__encoder = _Packetiser(transceiver, present, in_use)
        await run_rtp(present)

    async def retransmit_as_sent(sequence_number: int) -> None:
        packet = private._RTCRtpSender__rtp_history.get(sequence_number % RTP_HISTORY_SIZE)
        if packet is not None:
            number = _retransmission(transceiver, packet.payload_type)
            private._RTCRtpSender__rtx_payload_type = number
        await retransmit(sequence_number)

    private._run_rtp = run
    private._retransmit = retransmit_as_sent


class _Packetiser:
    """
    Stands in for aiortc's encoder, which would be one codec's for good.

    :param present: Gets the payload type of what was packetised last.
    """

    def __init__(
        self,
        transceiver: RTCRtpTransceiver,
        present: RTCRtpCodecParameters,
        in_use: Callable[[], VideoCodec],
    ) -> None:
        self._present = present
        self._in_use = in_use
        self._codecs: dict[VideoCodec, RTCRtpCodecParameters] = {}
        for codec in transceiver._codecs:
            kind = codec_of(codec)
            if kind is not None:
                self._codecs.setdefault(kind, codec)
        self._packetisers: dict[VideoCodec, Any] = {}
        """Kept: VP8 numbers its pictures."""

    def pack(self, packet: av.Packet[Any]) -> tuple[list[bytes], int]:
        kind = self._in_use()
        codec = self._codecs[kind]
        if kind not in self._packetisers:
            self._packetisers[kind] = get_encoder(codec)
        self._present.payloadType = codec.payloadType
        payloads, timestamp = self._packetisers[kind].pack(packet)
        return payloads, timestamp


def _retransmission(transceiver: RTCRtpTransceiver, payload_type: int) -> int | None:
    """Return the number under which packets of another one are sent again (RFC 4588 §8.1)."""
    again = (it for it in transceiver._codecs if it.parameters.get('apt') == payload_type)
    return next((codec.payloadType for codec in again), None)
