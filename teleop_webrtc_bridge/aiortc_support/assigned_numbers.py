"""
Payload types and extension ids of a connection, kept across renegotiations.

No number may change its meaning while the connection lives (RFC 3264 §8.3.2, RFC 8285 §7). aiortc
numbers each offer anew, and Chromium crashes when an audio section gives an extension the id that
another extension has had.
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

from collections.abc import Iterator
from typing import Final

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import HEADER_EXTENSIONS, is_rtx
from aiortc.rtcpeerconnection import is_codec_compatible
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import DYNAMIC_PAYLOAD_TYPES
from aiortc.sdp import MediaDescription, SessionDescription

__all__ = ['AssignedNumbers']

EXTENSION_IDS: Final = range(1, 15)
"""Valid in one-byte headers (RFC 8285 §4.2), which the broker sends."""


class AssignedNumbers:
    """
    Owns the meaning of one connection's numbers, and writes our later offers with them.

    :param sdp: The peer's first offer, which was accepted.
    """

    def __init__(self, sdp: str) -> None:
        self._codecs: list[tuple[str, RTCRtpCodecParameters]] = []
        """(kind of section, codec): ``rtx`` is a codec of audio and of video."""
        self._extensions: dict[str, int] = {}
        for media in _rtp_sections(SessionDescription.parse(sdp)):
            self._codecs += [(media.kind, codec) for codec in media.rtp.codecs]
            for extension in media.rtp.headerExtensions:
                self._extensions.setdefault(extension.uri, extension.id)

    async def create_offer(self, pc: RTCPeerConnection) -> RTCSessionDescription:
        """Return another offer for a connection that was negotiated before."""
        offer = await pc.createOffer()
        description = SessionDescription.parse(offer.sdp)
        for media in _rtp_sections(description):
            self._number_extensions(media)
            self._number_codecs(media)
        return RTCSessionDescription(sdp=str(description), type='offer')

    def _number_extensions(self, media: MediaDescription) -> None:
        for extension in media.rtp.headerExtensions:
            number = self._extensions.get(extension.uri)
            if number is None:
                number = self._extensions[extension.uri] = self._free_extension_id(extension.id)
            extension.id = number

    def _free_extension_id(self, otherwise: int) -> int:
        """
        Return an unused id; if there is none, the id of an extension that we don't use.

        :param otherwise: Returned if there is neither.
        """
        taken = set(self._extensions.values())
        ours = {item.uri for items in HEADER_EXTENSIONS.values() for item in items}
        in_use = {number for uri, number in self._extensions.items() if uri in ours}
        free = [number for number in EXTENSION_IDS if number not in taken]
        free += [number for number in EXTENSION_IDS if number not in in_use]
        return free[0] if free else otherwise

    def _number_codecs(self, media: MediaDescription) -> None:
        numbers: dict[object, int | str | None] = {}
        for codec in media.rtp.codecs:
            before = codec.payloadType
            if is_rtx(codec):
                apt = codec.parameters['apt']
                codec.parameters['apt'] = numbers.get(apt, apt)
            if before in DYNAMIC_PAYLOAD_TYPES:
                codec.payloadType = self._payload_type(media.kind, codec)
            numbers[before] = codec.payloadType
        media.fmt = [codec.payloadType for codec in media.rtp.codecs]

    def _payload_type(self, kind: str, codec: RTCRtpCodecParameters) -> int | None:
        for known_kind, known in self._codecs:
            # aiortc accepts no other numbers in an answer.
            if known.payloadType not in DYNAMIC_PAYLOAD_TYPES or known_kind != kind:
                continue
            if _is_same(codec, known):
                return known.payloadType
        taken = {known.payloadType for _, known in self._codecs}
        free = [number for number in DYNAMIC_PAYLOAD_TYPES if number not in taken]
        number = free[0] if free else codec.payloadType
        self._codecs.append((kind, _numbered(codec, number)))
        return number


def _rtp_sections(description: SessionDescription) -> Iterator[MediaDescription]:
    return (media for media in description.media if media.kind != 'application')


def _is_same(codec: RTCRtpCodecParameters, other: RTCRtpCodecParameters) -> bool:
    if is_rtx(codec) and codec.parameters['apt'] != other.parameters.get('apt'):
        return False
    return bool(is_codec_compatible(codec, other))


def _numbered(codec: RTCRtpCodecParameters, number: int | None) -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(
        mimeType=codec.mimeType,
        clockRate=codec.clockRate,
        channels=codec.channels,
        payloadType=number,
        parameters=dict(codec.parameters),
    )
