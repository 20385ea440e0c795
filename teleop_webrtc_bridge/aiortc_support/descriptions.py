"""
A peer's session description, applied to a peer connection or refused with a reason.

aiortc assumes much about a description. A violation shows only later, as an exception in a task
that is never awaited, or as a connection that is never established. So everything is checked
first. Other exceptions are not caused by a peer's bytes, and are not caught here.
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

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import re
from typing import Final, Literal

from aiortc import (
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCIceParameters,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.codecs import CODECS
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from teleop_webrtc_bridge.core.codec import MAX_MESSAGE_BYTES
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.sdp import split_sections, spread_candidates

__all__ = ['check_description', 'take_description']

Kind = Literal['offer', 'answer']

#: Exceptions of aiortc's parser on malformed text: it unpacks, looks up and asserts as it reads.
_PARSING_RAISES: Final = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    StopIteration,
    TypeError,
    ValueError,
)
_DIGEST_BYTES: Final = {'sha-256': 32, 'sha-384': 48, 'sha-512': 64}
"""The hash functions that aiortc supports."""
_EXPECTED_STATES: Final[dict[Kind, tuple[str, ...]]] = {
    'offer': ('stable', 'have-remote-offer'),
    'answer': ('have-local-offer',),
}
_REPLIES: Final = {
    'sendrecv': ('sendrecv', 'sendonly', 'recvonly', 'inactive'),
    'sendonly': ('recvonly', 'inactive'),
    'recvonly': ('sendonly', 'inactive'),
    'inactive': ('inactive',),
}
"""Direction of an offered section → directions allowed in the answer (RFC 3264 §6.1)."""
_STAND_INS: Final = {'audio': 'opus/48000/2', 'video': 'VP8/90000'}
_STREAM_LINE: Final = re.compile(
    r'a=(?:(?:rtpmap|fmtp|rtcp-fb):|(?:sendrecv|sendonly|recvonly)\s*$)'
)
_PACKETIZATION_MODES: Final = ('0', '1', '2')


async def take_description(pc: RTCPeerConnection, sdp: str, kind: Kind) -> None:
    """
    Set a peer's description, which has passed :func:`~teleop_webrtc_bridge.core.sdp.check_sdp`.

    A refused description changes nothing: another one may follow. A section of a first offer
    without any supported codec is treated as inactive, so that the others can be used.

    :raises ProtocolError: The description is unusable, or none is expected now.
    """
    if pc.signalingState not in _EXPECTED_STATES[kind]:
        raise ProtocolError(f'no {kind} is expected: the connection is {pc.signalingState}')
    sdp = spread_candidates(sdp)
    present: Sequence[MediaDescription] = ()
    if pc.localDescription is not None:
        present = SessionDescription.parse(pc.localDescription.sdp).media
    check_description(sdp, kind, present)
    foreign = _foreign_codecs(sdp) if kind == 'offer' and not present else {}
    try:
        await pc.setRemoteDescription(
            RTCSessionDescription(sdp=_without_foreign(sdp, foreign), type=kind)
        )
    except OperationError as error:
        raise ProtocolError('it has no codec that is supported here') from error
    except InvalidStateError as error:
        raise ProtocolError('the connection has just ended') from error
    for transceiver in pc.getTransceivers():
        if transceiver.mid in foreign:
            # An answer names offered codecs even where nothing is sent (RFC 3264 §6.1).
            transceiver._codecs = foreign[transceiver.mid]


def _foreign_codecs(sdp: str) -> dict[str, list[RTCRtpCodecParameters]]:
    """Return the codecs of each section that has only ones that aiortc lacks, by mid."""
    return {
        media.rtp.muxId: media.rtp.codecs
        for media in SessionDescription.parse(sdp).media
        if media.kind in _STAND_INS
        and media.rtp.codecs
        and not find_common_codecs(CODECS[media.kind], media.rtp.codecs)
    }


def _without_foreign(sdp: str, foreign: Mapping[str, Sequence[RTCRtpCodecParameters]]) -> str:
    """Make these sections inactive, each with a codec that aiortc supports, which it requires."""
    if not foreign:
        return sdp
    session, *sections = split_sections(sdp)
    lines = list(session)
    for media, section in zip(SessionDescription.parse(sdp).media, sections, strict=True):
        if media.rtp.muxId not in foreign:
            lines += section
            continue
        number = foreign[media.rtp.muxId][0].payloadType
        lines.append(f'm={media.kind} {media.port} {media.profile} {number}')
        lines += [line for line in section[1:] if _STREAM_LINE.match(line) is None]
        lines += [f'a=rtpmap:{number} {_STAND_INS[media.kind]}', 'a=inactive']
    return ''.join(f'{line}\r\n' for line in lines)


def check_description(sdp: str, kind: Kind, present: Sequence[MediaDescription] = ()) -> None:
    """
    Refuse a description that aiortc cannot use.

    :param present: The sections of our own description, if there is one.
    :raises ProtocolError: The description is unusable; the text says why.
    """
    try:
        description = SessionDescription.parse(sdp)
    except _PARSING_RAISES as error:
        raise ProtocolError(f'it cannot be parsed: {error}') from error
    sections = description.media
    for number, (media, lines) in enumerate(zip(sections, split_sections(sdp)[1:], strict=True)):
        with _named(f'section {number} ({media.kind})'):
            _check_transport(media, kind, lines)
            if media.kind == 'application':
                _check_sctp(media)
            else:
                _check_rtp(media)
    if sum(media.kind == 'application' for media in sections) > 1:
        raise ProtocolError('it has more than one application section; allowed: one')
    _check_bundle(description)
    _check_sequel(sections, kind, present)


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Prefix a refusal with the section that it concerns."""
    try:
        yield
    except ProtocolError as error:
        raise ProtocolError(f'{what}: {error}') from None


def _check_transport(media: MediaDescription, kind: Kind, lines: Sequence[str]) -> None:
    """Check the attributes that ICE and DTLS need in each section."""
    if media.port == 0 and (kind == 'answer' or 'a=bundle-only' not in lines):
        raise ProtocolError('port 0 rejects it; allowed: a section that is in use')
    if not media.rtp.muxId:
        raise ProtocolError('a=mid is missing')
    ice = media.ice or RTCIceParameters()
    if not ice.usernameFragment or not ice.password:
        raise ProtocolError('a=ice-ufrag or a=ice-pwd is missing')
    dtls = _dtls(media)
    if kind == 'answer' and dtls.role not in ('client', 'server'):
        raise ProtocolError('a=setup:actpass; allowed in an answer: active or passive')
    _check_fingerprints(dtls.fingerprints)


def _dtls(media: MediaDescription) -> RTCDtlsParameters:
    if media.dtls is None:
        raise ProtocolError('a=setup is missing')
    return media.dtls


def _check_fingerprints(fingerprints: Sequence[RTCDtlsFingerprint]) -> None:
    """Check that there is a supported fingerprint, and that each one has the right length."""
    known = 0
    for fingerprint in fingerprints:
        size = _DIGEST_BYTES.get(fingerprint.algorithm.lower())
        if size is None:
            continue
        known += 1
        if fingerprint.value.count(':') != size - 1:
            raise ProtocolError(
                f'a=fingerprint:{fingerprint.algorithm} of another length; allowed: {size} bytes'
            )
    if not known:
        raise ProtocolError(f'a=fingerprint is missing; allowed: {", ".join(_DIGEST_BYTES)}')


def _check_rtp(media: MediaDescription) -> None:
    if not media.rtcp_mux:
        raise ProtocolError('a=rtcp-mux is missing')
    if media.direction is None:
        raise ProtocolError(f'the direction is missing; allowed: {", ".join(_REPLIES)}')
    for codec in media.rtp.codecs:
        mode = codec.parameters.get('packetization-mode', '0')
        if mode not in _PACKETIZATION_MODES:
            raise ProtocolError(
                f'packetization-mode {mode!r}; allowed: {", ".join(_PACKETIZATION_MODES)}'
            )


def _check_sctp(media: MediaDescription) -> None:
    if media.profile == 'DTLS/SCTP':
        port = int(media.fmt[0]) if media.fmt[0].isdecimal() else 0
    else:
        port = media.sctp_port or 0
    if not 0 < port <= 0xFFFF:
        raise ProtocolError('no usable a=sctp-port; allowed: 1 to 65535')
    size = media.sctpCapabilities.maxMessageSize if media.sctpCapabilities else 0
    if 0 < size < MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f'a=max-message-size:{size}; allowed: 0, or at least {MAX_MESSAGE_BYTES}'
        )


def _check_bundle(description: SessionDescription) -> None:
    """Check that all sections share the transport of the first one: there is no other."""
    sections = description.media
    mids = [media.rtp.muxId for media in sections]
    if len(set(mids)) != len(mids):
        raise ProtocolError('two sections have the same a=mid')
    groups = [group.items for group in description.group if group.semantic == 'BUNDLE']
    if len(groups) > 1:
        raise ProtocolError('it has more than one a=group:BUNDLE; allowed: one')
    if not groups and len(mids) > 1:
        raise ProtocolError('a=group:BUNDLE is missing; allowed: one of all sections')
    if groups and (groups[0][:1] != mids[:1] or sorted(map(str, groups[0])) != sorted(mids)):
        raise ProtocolError(
            f'a=group:BUNDLE must name all sections, the first one first: {" ".join(mids)}'
        )
    transports = {
        (dtls.role, *sorted((it.algorithm.lower(), it.value.upper()) for it in dtls.fingerprints))
        for dtls in map(_dtls, sections)
    }
    if len(transports) > 1:
        raise ProtocolError('its sections have different a=setup or a=fingerprint lines')


def _check_sequel(
    sections: Sequence[MediaDescription], kind: Kind, present: Sequence[MediaDescription]
) -> None:
    """Check that an answer has the sections of its offer, and a later offer all earlier ones."""
    names = [(media.kind, media.rtp.muxId) for media in sections]
    expected = [(media.kind, media.rtp.muxId) for media in present]
    if names[: len(expected)] != expected or (kind == 'answer' and len(names) != len(expected)):
        raise ProtocolError(
            'its sections are not those of the description before it: '
            + ', '.join(f'{kind} {mid}' for kind, mid in expected)
        )
    if kind == 'offer':
        return
    for number, (media, offered) in enumerate(zip(sections, present, strict=True)):
        if media.kind == 'application':
            continue
        allowed = _REPLIES[offered.direction or 'sendrecv']
        if media.direction not in allowed:
            raise ProtocolError(
                f'section {number} ({media.kind}) is {media.direction}; '
                f'allowed: {" or ".join(allowed)}'
            )
