"""The choice of a video stream's codec and payload type, among the negotiated ones."""

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
    """Return the name of a codec as in SDP."""
    return f'video/{codec.value.upper()}'


def codec_of(codec: RTCRtpCodecCapability | RTCRtpCodecParameters) -> VideoCodec | None:
    """Return the video codec; ``None``: another format, such as retransmissions."""
    return _KNOWN.get(codec.name.lower())


def negotiated_codecs(transceiver: RTCRtpTransceiver) -> tuple[VideoCodec, ...]:
    """Return the codecs that both sides support, the preferred one first."""
    codecs = [codec_of(codec) for codec in transceiver._codecs]
    return tuple(dict.fromkeys(codec for codec in codecs if codec is not None))


def payload_types(transceiver: RTCRtpTransceiver) -> dict[VideoCodec, int]:
    """Return the payload type of each codec, which is that of its preferred variant."""
    numbers: dict[VideoCodec, int] = {}
    for codec in transceiver._codecs:
        kind = codec_of(codec)
        if kind is not None and codec.payloadType is not None:
            numbers.setdefault(kind, codec.payloadType)
    return numbers


def keep_codecs(transceiver: RTCRtpTransceiver, wanted: Collection[VideoCodec]) -> None:
    """
    Answer an offer with one variant of each wanted codec, and their retransmissions.

    :param wanted: Codecs between which the peer can switch; without any, the answer names only the
        first codec that both sides support.
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
    """Return the supported codecs of the peer's offer, with the peer's payload types."""
    return tuple(map(copy.copy, transceiver._codecs))


def prefer_codecs(
    transceiver: RTCRtpTransceiver,
    codecs: Collection[VideoCodec],
    known: Collection[RTCRtpCodecParameters],
) -> None:
    """
    Make the next offer name some codecs, in all variants that the peer supports.

    A forwarded stream may be any of them: variants differ in the features that a sender *may* use.
    The offer names no retransmission format: lost packets are sent again unchanged, from the
    history of the ingress.

    :param codecs: In the robot's order of preference.
    :param known: The peer's own offer, if it had video; see :func:`offered_codecs`.
    """
    capabilities = [it for it in get_capabilities('video').codecs if codec_of(it) in codecs]
    if known:
        capabilities = [it for it in capabilities if any(_is_same(it, theirs) for theirs in known)]
    # The sort is stable: variants of one codec stay in aiortc's order.
    order = list(codecs)
    capabilities.sort(key=lambda it: order.index(codec_of(it)))  # type: ignore[arg-type]
    transceiver.setCodecPreferences(capabilities)


def _is_same(
    one: RTCRtpCodecCapability | RTCRtpCodecParameters, other: RTCRtpCodecParameters
) -> bool:
    return (one.mimeType, one.parameters) == (other.mimeType, other.parameters)


def send_as(transceiver: RTCRtpTransceiver, in_use: Callable[[], VideoCodec]) -> None:
    """
    Send each packet of a track with its own codec; call it before sending starts.

    :param in_use: Called after a packet is taken from the track; returns its codec, one of
        :func:`negotiated_codecs`.
    """
    private: Any = transceiver.sender
    run_rtp, retransmit = private._run_rtp, private._retransmit

    async def run(codec: RTCRtpCodecParameters) -> None:
        # aiortc reads its payload type for each frame, after packetising.
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
    Replaces aiortc's encoder, which is bound to one codec.

    :param present: Its payload type is set to that of the last packetised frame.
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
        """Kept while another codec is in use, because VP8 numbers its pictures."""

    def pack(self, packet: av.Packet[Any]) -> tuple[list[bytes], int]:
        kind = self._in_use()
        codec = self._codecs[kind]
        if kind not in self._packetisers:
            self._packetisers[kind] = get_encoder(codec)
        self._present.payloadType = codec.payloadType
        payloads, timestamp = self._packetisers[kind].pack(packet)
        return payloads, timestamp


def _retransmission(transceiver: RTCRtpTransceiver, payload_type: int) -> int | None:
    """Return the payload type for retransmissions of another one (RFC 4588 §8.1)."""
    again = (it for it in transceiver._codecs if it.parameters.get('apt') == payload_type)
    return next((codec.payloadType for codec in again), None)
