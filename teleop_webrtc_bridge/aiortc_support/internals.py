"""aiortc's settings for the whole process, and the frame extensions of video."""

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

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
import logging
import struct
from typing import Any, Final

import aioice.ice
from aiortc import (
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    rtcsctptransport,
)
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.exceptions import InvalidStateError
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
)
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    pack_header_extensions,
    unpack_header_extensions,
)

from teleop_webrtc_bridge.aiortc_support.ingress import check_ingress
from teleop_webrtc_bridge.aiortc_support.sctp import improve_sctp

__all__ = [
    'TESTED_AIORTC',
    'FrameExtensions',
    'configure_aiortc',
    'packets_received',
    'prepare_receiving',
    'receive_window',
    'tag_frames',
    'take_keyframe_requests',
]

TESTED_AIORTC: Final = '1.16'

#: https://webrtc.googlesource.com/src/+/main/docs/native-code/rtp-hdrext/
PLAYOUT_DELAY: Final = 'http://www.webrtc.org/experiments/rtp-hdrext/playout-delay'
ABS_CAPTURE_TIME: Final = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time'
ABS_SEND_TIME: Final = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time'
SDES_MID: Final = 'urn:ietf:params:rtp-hdrext:sdes:mid'
_EXTENSION_IDS: Final = {PLAYOUT_DELAY: 5, ABS_CAPTURE_TIME: 6}

NTP_EPOCH_S: Final = 2_208_988_800
"""From the epoch of NTP, 1900, to that of Unix, 1970."""
SCTP_RTO_MIN_S: Final = 0.2
SCTP_RTO_INITIAL_S: Final = 0.5
CONSENT_INTERVAL_S: Final = 2.0
CONSENT_FAILURES: Final = 15
"""In a row. Times the interval, this is 30 s, after which consent expires (RFC 7675)."""
ONE_BYTE_PROFILE: Final = 0xBEDE

_logger = logging.getLogger(__name__)


def configure_aiortc(*, loopback: bool) -> None:
    """
    Change aiortc for the whole process; calling it again changes nothing.

    - offer playout-delay and abs-capture-time on video,
    - retransmit a single lost message, such as an E-STOP, after 0.2 s instead of 1 s,
    - give up lost unreliable messages as fast as they are lost,
    - check consent (RFC 7675) more often: aioice ends a connection after six unanswered checks in
      a row, which happens once in an hour on each side at 20 % loss each way,
    - end a connection that is still being established without a traceback,
    - bound what packets of any peer can cost, and drop malformed ones without a traceback,
    - with ``loopback``, gather 127.0.0.1 as well: robot and broker on one machine then connect
      without any network.
    """
    offered = {extension.uri for extension in HEADER_EXTENSIONS['video']}
    for uri, number in _EXTENSION_IDS.items():
        if uri not in offered:
            extension = RTCRtpHeaderExtensionParameters(id=number, uri=uri)
            HEADER_EXTENSIONS['video'].append(extension)
    rtcsctptransport.SCTP_RTO_MIN = SCTP_RTO_MIN_S  # type: ignore[assignment]
    rtcsctptransport.SCTP_RTO_INITIAL = SCTP_RTO_INITIAL_S
    improve_sctp()
    check_ingress()
    aioice.ice.CONSENT_INTERVAL = CONSENT_INTERVAL_S  # type: ignore[assignment]
    aioice.ice.CONSENT_FAILURES = CONSENT_FAILURES
    RTCPeerConnection._RTCPeerConnection__connect = _connect_or_leave  # type: ignore[attr-defined]
    if loopback and aioice.ice.get_host_addresses is not _addresses_with_loopback:
        aioice.ice.get_host_addresses = _addresses_with_loopback


_connect: Callable[[RTCPeerConnection], Awaitable[None]]
_connect = RTCPeerConnection._RTCPeerConnection__connect  # type: ignore[attr-defined]


async def _connect_or_leave(self: RTCPeerConnection) -> None:
    # aiortc runs it as a task that it never awaits; the connection's state shows the failure.
    try:
        await _connect(self)
    except (ConnectionError, InvalidStateError):
        return
    except Exception:
        _logger.exception('event=connecting_failed')
        await self.close()


_host_addresses = aioice.ice.get_host_addresses


def _addresses_with_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return ['127.0.0.1', *_host_addresses(use_ipv4, use_ipv6)]


# --- RTP header extensions -------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class FrameExtensions:
    """Header extensions of one frame, as they are on the wire."""

    playout_delay: bytes | None = None
    capture_time: bytes | None = None

    @classmethod
    def of(cls, capture_unix_s: float, playout_delay_s: float = 0.0) -> FrameExtensions:
        """
        Return the extensions of a frame.

        :param capture_unix_s: When it was captured, in seconds since 1970.
        :param playout_delay_s: How long the receiver holds it back, 0 to 40.95 s.
        """
        # abs-capture-time is NTP's 32.32 fixed point; playout-delay holds minimum and maximum, in
        # 12 bits each, in units of 10 ms.
        fixed = int((capture_unix_s + NTP_EPOCH_S) * 2**32)
        ticks = round(100 * playout_delay_s)
        return cls(
            playout_delay=(ticks << 12 | ticks).to_bytes(3, 'big'),
            capture_time=struct.pack('!Q', fixed % 2**64),
        )


class _ExtendedMap(HeaderExtensionsMap):
    """aiortc's map, with the two extensions that aiortc drops."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: dict[str, int] = {}
        self._frame = FrameExtensions()
        self._packed = b''

    @property
    def frame(self) -> FrameExtensions:
        """Added to every packet that is written."""
        return self._frame

    @frame.setter
    def frame(self, frame: FrameExtensions) -> None:
        self._frame = frame
        added = self._added()
        one_byte = added and all(number < 15 for number, _ in added)
        # Packed once a frame, not once a packet.
        self._packed = pack_header_extensions(added)[1] if one_byte else b''

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        self._ids |= {extension.uri: extension.id for extension in parameters.headerExtensions}

    def get(self, extension_profile: int, extension_value: bytes) -> HeaderExtensions:
        values = super().get(extension_profile, extension_value)
        found = dict(unpack_header_extensions(extension_profile, extension_value))
        values.frame = FrameExtensions(  # type: ignore[attr-defined]
            playout_delay=found.get(self._ids.get(PLAYOUT_DELAY, 0)),
            capture_time=found.get(self._ids.get(ABS_CAPTURE_TIME, 0)),
        )
        return values

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, packed = super().set(values)
        if profile == ONE_BYTE_PROFILE and self._packed:
            return profile, packed + self._packed  # padding between two is allowed (RFC 8285)
        added = self._added()
        if not added:
            return profile, packed
        present = list(unpack_header_extensions(profile, packed)) if packed else []
        return pack_header_extensions(present + added)

    def _added(self) -> list[tuple[int, bytes]]:
        values = (
            (PLAYOUT_DELAY, self._frame.playout_delay),
            (ABS_CAPTURE_TIME, self._frame.capture_time),
        )
        return [
            (self._ids[uri], value)
            for uri, value in values
            if value is not None and uri in self._ids
        ]


def tag_frames(sender: RTCRtpSender, extensions: Callable[[], FrameExtensions]) -> None:
    """
    Send header extensions with each frame of a sender that has not started yet.

    :param extensions: Called after a frame is taken from the track; returns its extensions.
    """
    extended = _ExtendedMap()
    sender._RTCRtpSender__rtp_header_extensions_map = extended  # type: ignore[attr-defined]
    next_encoded_frame = sender._next_encoded_frame
    retransmit = sender._retransmit

    async def next_tagged_frame(codec: RTCRtpCodecParameters) -> Any:
        frame = await next_encoded_frame(codec)
        extended.frame = extensions()
        return frame

    async def retransmit_untagged(sequence_number: int) -> None:
        # The packet belongs to an older frame, whose capture time is no longer known.
        present, extended.frame = extended.frame, FrameExtensions()
        try:
            await retransmit(sequence_number)
        finally:
            extended.frame = present

    sender._next_encoded_frame = next_tagged_frame  # type: ignore[method-assign]
    sender._retransmit = retransmit_untagged  # type: ignore[method-assign]


def take_keyframe_requests(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call back when the receiver requests a keyframe (PLI, FIR); aiortc has no such event."""
    sender._send_keyframe = callback  # type: ignore[method-assign]


def packets_received(receiver: RTCRtpReceiver | Any) -> int:
    """
    Count the authenticated packets that arrived on a transport: RTP, RTCP and SCTP.

    :param receiver: Any part of the peer connection that has a ``transport``.
    """
    stats = receiver.transport._get_stats()
    return sum(getattr(entry, 'packetsReceived', 0) for entry in stats.values())


def receive_window(sctp: rtcsctptransport.RTCSctpTransport) -> int:
    """
    Return how many more bytes a peer may send before it has to complete its messages.

    When it is negative, the peer ignores the window, and aiortc keeps collecting fragments.
    """
    return int(sctp._advertised_rwnd)


# --- receiving video without decoding it -----------------------------------------------------


def prepare_receiving(transceiver: RTCRtpTransceiver) -> None:
    """Keep the frame extensions of arriving packets; call it before the connection is made."""
    extended = _ExtendedMap()
    transceiver.receiver.transport._rtp_header_extensions_map = extended
