"""
One peer connection of the embedded SFU, with a robot, an operator or a viewer.

Belongs to :mod:`~teleop_webrtc_bridge.broker.media.embedded`.
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

import asyncio
from collections.abc import Callable, Sequence
import logging
import time
from typing import Final, Literal
import uuid

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
)
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from teleop_webrtc_bridge.aiortc_support.assigned_numbers import AssignedNumbers
from teleop_webrtc_bridge.aiortc_support.codec_choice import (
    codec_of,
    keep_codecs,
    negotiated_codecs,
    offered_codecs,
    prefer_codecs,
)
from teleop_webrtc_bridge.aiortc_support.descriptions import take_description
from teleop_webrtc_bridge.aiortc_support.gathering import gather_with, Gathering
from teleop_webrtc_bridge.aiortc_support.ingress import budget_of
from teleop_webrtc_bridge.aiortc_support.internals import (
    packets_received,
    prepare_receiving,
    receive_window,
)
from teleop_webrtc_bridge.aiortc_support.sctp import SctpProbe
from teleop_webrtc_bridge.broker.media.backend import (
    Arrived,
    MediaError,
    MediaFull,
    MediaSessionGone,
    NoCommonCodec,
    NoPublishedTrack,
    UnusableSdp,
)
from teleop_webrtc_bridge.broker.media.channels import PeerChannels
from teleop_webrtc_bridge.broker.media.video_relay import VideoRelay
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['PeerSession']

CONNECT_TIMEOUT_S: Final = 20.0
"""A peer that takes longer to connect is given up."""
CHECK_PERIOD_S: Final = 0.5
PROBE_AFTER_S: Final = 1.0
"""Silence after which the peer is probed."""
PROBE_AGAIN_S: Final = 0.2
"""Time between unanswered probes: several may get lost before the peer counts as lost."""
PEER_CLOSE_TIMEOUT_S: Final = 3.0

_logger = logging.getLogger(__name__)


class PeerSession:
    """
    One peer connection with its video and its channels.

    :param on_end: Called with the media id when the connection has ended by itself.
    :param gathering: How its ICE candidates are gathered.
    """

    def __init__(self, on_end: Callable[[str], None], gathering: Gathering | None = None) -> None:
        self.media_id = uuid.uuid4().hex
        self.video: VideoRelay | None = None
        """The video that this peer publishes."""
        self._on_end = on_end
        self._gathering = Gathering() if gathering is None else gathering
        self._connected = asyncio.Event()
        """Also set when the connection ends, to wake the waiting tasks."""
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on('connectionstatechange', self._on_state)
        self._pc.on('track', self._on_track)
        self._numbers: AssignedNumbers | None = None
        self.channels = PeerChannels(self._pc)
        self._watched: VideoRelay | None = None
        self._offered: tuple[RTCRtpCodecParameters, ...] = ()
        """The video codecs in the peer's first offer, as far as aiortc knows them."""
        self._heard_packets = 0
        self._heard_s = time.monotonic()
        self._started_s = self._heard_s
        self._probe: SctpProbe | None = None
        self._probing: asyncio.Task[None] | None = None
        self._check_timer = asyncio.get_running_loop().call_later(CHECK_PERIOD_S, self._check)

    # --- life ---------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return bool(self._pc.connectionState == 'connected')

    async def connected(self) -> None:
        """
        Wait until the peer connection is connected.

        :raises MediaSessionGone: It ended instead.
        """
        await self._connected.wait()
        if not self.is_connected:
            raise MediaSessionGone('the connection ended')

    def last_heard_s(self) -> float:
        """Return when a packet last arrived, as precisely as this is polled."""
        transports = [item for item in (self._pc.sctp, *self._pc.getReceivers()) if item]
        packets = max((packets_received(item) for item in transports), default=0)
        if packets != self._heard_packets:
            self._heard_packets = packets
            self._heard_s = time.monotonic()
        return self._heard_s

    def arrived(self) -> Arrived:
        return Arrived(
            video=self.video is not None and self.video.has_begun,
            answers=self.channels.has_answered,
            messages=self.channels.has_spoken,
        )

    def _note_answer(self, probe_s: float) -> None:
        self._heard_s = time.monotonic()

    def _probe_if_silent(self) -> float:
        """
        Probe a silent peer.

        An operator's browser may have nothing to send: without video there is no RTCP, and a
        headset that lies on the table sends no commands.

        :returns: When to check again, in seconds.
        """
        now = time.monotonic()
        if self._probe is None or now - self.last_heard_s() < PROBE_AFTER_S:
            return CHECK_PERIOD_S
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._probe.send(now))
        return PROBE_AGAIN_S

    def _check(self) -> None:
        """Give up a peer that does not connect, or is abusive."""
        reason = self._abuse()
        if reason is None and not self.is_connected:
            late = time.monotonic() - self._started_s > CONNECT_TIMEOUT_S
            reason = 'not_connected' if late else None
        if reason is not None:
            _logger.warning('event=peer_given_up media_id=%s reason=%r', self.media_id, reason)
            self._on_end(self.media_id)
            return
        delay_s = self._probe_if_silent()
        self._check_timer = asyncio.get_running_loop().call_later(delay_s, self._check)

    def _abuse(self) -> str | None:
        """Return how the peer is abusive; ``None``: it is not."""
        if self._pc.sctp is not None and receive_window(self._pc.sctp) < 0:
            return 'endless_message'
        budget = budget_of(self._pc)
        if budget is not None and budget.is_flooded():
            return f'packet_flood {dict(budget.dropped)}'
        return self.channels.abuse()

    def _on_state(self) -> None:
        state = self._pc.connectionState
        _logger.debug('event=media_state media_id=%s state=%s', self.media_id, state)
        if state in ('connected', 'failed', 'closed'):
            self._connected.set()
        if state in ('failed', 'closed'):
            self._on_end(self.media_id)

    async def close(self) -> None:
        """Unsubscribe from everything and close the connection."""
        self._check_timer.cancel()
        self._connected.set()
        if self._probing is not None:
            self._probing.cancel()
        self._pc.remove_all_listeners()
        if self._watched is not None:
            self._watched.remove_viewer(self.media_id)
        if self.video is not None:
            self.video.close()
        self.channels.release()
        try:
            async with asyncio.timeout(PEER_CLOSE_TIMEOUT_S):
                # Shielded: aiortc may be closing it too, and breaks if that is cancelled.
                await asyncio.shield(self._pc.close())
        except TimeoutError:
            _logger.warning('event=media_close_timeout media_id=%s', self.media_id)

    # --- descriptions -------------------------------------------------------------------------

    async def answer(self, sdp_offer: str, video_codecs: Sequence[VideoCodec] = ()) -> str:
        """
        Apply the peer's first offer and return the answer; a failure closes the connection.

        :param video_codecs: The codecs between which a robot can switch while it sends.
        :raises UnusableSdp: The offer is unusable.
        :raises MediaFull: No UDP port is free.
        :raises MediaError: No socket can be opened.
        """
        answered = False
        try:
            answer = await self._answer(sdp_offer, video_codecs)
            answered = True
        finally:
            if not answered:
                await self.close()
        if self._pc.sctp is not None:
            self._probe = SctpProbe(self._pc.sctp, self._note_answer)
        return answer

    async def _answer(self, sdp_offer: str, video_codecs: Sequence[VideoCodec]) -> str:
        await self._take(sdp_offer, 'offer')
        self._numbers = AssignedNumbers(sdp_offer)
        video = _video_transceiver(self._pc)
        for transceiver in self._pc.getTransceivers():
            if transceiver is video:
                self._offered = offered_codecs(transceiver)
                if not negotiated_codecs(transceiver):
                    names = ', '.join(sorted({codec.name for codec in self._offered}))
                    line = 'event=no_known_video_codec media_id=%s offered=%.80r'
                    _logger.warning(line, self.media_id, names)
                _prepare_video(transceiver, video_codecs)
            else:
                # Receiving it would cost a thread and memory.
                transceiver.direction = 'inactive'
        gather_with(self._pc, self._gathering)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        answer = str(self._pc.localDescription.sdp)
        if 'a=candidate:' not in answer and self._gathering.is_out_of_ports:
            ports = '{}-{}'.format(*self._gathering.udp_ports or ())
            raise MediaFull(f'no UDP port is free: all of udp_ports {ports} are taken')
        if 'a=candidate:' not in answer:
            raise MediaError('no socket could be opened for a new peer connection')
        return answer

    async def take_answer(self, sdp_answer: str) -> None:
        """
        Apply the peer's answer to our offer.

        If the answer is unusable, the offer still stands. After any other failure the state of
        the connection is unknown, and it is closed.

        :raises UnusableSdp: The answer is unusable.
        """
        try:
            await self._take(sdp_answer, 'answer')
        except UnusableSdp:
            raise
        except Exception:
            self._on_end(self.media_id)
            raise
        if self._watched is not None:
            await self._watched.request_keyframe(
                only_watches=self.channels.only_watches, is_new=True
            )

    async def _take(self, sdp: str, kind: Literal['offer', 'answer']) -> None:
        try:
            await take_description(self._pc, sdp, kind)
        except ProtocolError as error:
            raise UnusableSdp(f'the SDP {kind} cannot be used: {error}') from error

    # --- video --------------------------------------------------------------------------------

    def _on_track(self, track: object) -> None:
        published = _video_transceiver(self._pc)
        if published is not None and published.receiver.track is track:
            self.video = VideoRelay(published.receiver)

    @property
    def video_codecs(self) -> tuple[VideoCodec, ...] | None:
        """The codecs that the peer may send, or that it supports; ``None``: not known."""
        transceiver = _video_transceiver(self._pc)
        return None if transceiver is None else negotiated_codecs(transceiver)

    async def pull_video(self, publisher: PeerSession) -> str:
        """
        Send the publisher's video to this session's peer.

        :returns: The offer for the peer.
        :raises NoPublishedTrack: The publisher has no video.
        :raises NoCommonCodec: The peer supports no codec that the publisher may send.
        :raises UnusableSdp: Another negotiation with the peer is in progress.
        """
        if publisher.video is None:
            raise NoPublishedTrack('the robot publishes no video')
        codecs = publisher.video_codecs or ()
        if self._offered and not any(codec_of(codec) in codecs for codec in self._offered):
            raise NoCommonCodec(f'the peer does not take {" or ".join(map(str, codecs))}')
        transceiver = _video_transceiver(self._pc)
        if transceiver is None:
            transceiver = self._pc.addTransceiver('video', direction='sendonly')
        transceiver.direction = 'sendonly'
        if self._watched is None:
            publisher.video.add_viewer(
                self.media_id, transceiver, only_watches=self.channels.only_watches
            )
            self._watched = publisher.video
        if self._pc.signalingState != 'have-local-offer':  # else a repeated call: same offer
            prefer_codecs(transceiver, codecs, self._offered)
            assert self._numbers is not None
            await self._pc.setLocalDescription(await self._numbers.create_offer(self._pc))
        return str(self._pc.localDescription.sdp)


def _prepare_video(transceiver: RTCRtpTransceiver, codecs: Sequence[VideoCodec]) -> None:
    """
    Prepare the video section of a first offer for receiving, if the peer sends video.

    :param codecs: The codecs between which the peer can switch; the answer has one variant of
        each. Without them it has only the peer's preferred codec, so that viewers are offered the
        codec that the peer is going to send.
    """
    if transceiver.receiver.track is not None:
        prepare_receiving(transceiver)
        keep_codecs(transceiver, codecs)


def _video_transceiver(pc: RTCPeerConnection) -> RTCRtpTransceiver | None:
    return next((item for item in pc.getTransceivers() if item.kind == 'video'), None)
