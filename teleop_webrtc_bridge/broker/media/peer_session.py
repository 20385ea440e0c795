"""
One peer connection of the SFU in this process, with a robot or with an operator.

A part of :mod:`~teleop_webrtc_bridge.broker.media.embedded`.
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
from teleop_webrtc_bridge.broker.media.peer_channels import PeerChannels
from teleop_webrtc_bridge.broker.media.video_relay import VideoRelay
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['PeerSession']

CONNECT_S: Final = 20.0
"""A peer that has not connected by then is given up."""
CHECK_PERIOD_S: Final = 0.5
PROBE_AFTER_S: Final = 1.0
"""Of silence."""
PROBE_PERIOD_S: Final = 0.2
"""Between probes that are not answered: several may get lost before the peer counts as lost."""
CLOSE_S: Final = 3.0

_logger = logging.getLogger(__name__)


class PeerSession:
    """
    One peer connection and what hangs on it.

    :param on_end: Called once with the media id when the connection ended by itself.
    :param gathering: How it finds its candidates.
    """

    def __init__(self, on_end: Callable[[str], None], gathering: Gathering | None = None) -> None:
        self.media_id = uuid.uuid4().hex
        self.video: VideoRelay | None = None
        """What this session publishes."""
        self._on_end = on_end
        self._gathering = Gathering() if gathering is None else gathering
        self._connected = asyncio.Event()
        """Also set at the end, for those who wait for it."""
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on('connectionstatechange', self._on_state)
        self._pc.on('track', self._on_track)
        self._numbers: AssignedNumbers | None = None
        self.channels = PeerChannels(self._pc)
        self._watched: VideoRelay | None = None
        self._offered: tuple[RTCRtpCodecParameters, ...] = ()
        """The codecs of video that the peer's own offer had, as far as they are known here."""
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
        """Return when a packet last arrived, as exactly as this is asked."""
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
        Ask a peer that says nothing whether it is there.

        An operator may have nothing to say: without video there is no RTCP, and a headset that
        lies on the table sends no commands.

        :returns: When to look again, in seconds.
        """
        now = time.monotonic()
        if self._probe is None or now - self.last_heard_s() < PROBE_AFTER_S:
            return CHECK_PERIOD_S
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._probe.send(now))
        return PROBE_PERIOD_S

    def _check(self) -> None:
        """Give up a peer that does not connect, or takes more than its share."""
        reason = self._abuse()
        if reason is None and not self.is_connected:
            late = time.monotonic() - self._started_s > CONNECT_S
            reason = 'not_connected' if late else None
        if reason is not None:
            _logger.warning('event=peer_given_up media_id=%s reason=%r', self.media_id, reason)
            self._on_end(self.media_id)
            return
        delay_s = self._probe_if_silent()
        self._check_timer = asyncio.get_running_loop().call_later(delay_s, self._check)

    def _abuse(self) -> str | None:
        """Return what the peer does that no peer of good will does."""
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
        """Close the connection; what it watched and received from stops sending to it."""
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
            async with asyncio.timeout(CLOSE_S):
                # Shielded: aiortc, which may be closing it too, breaks when a wait is cancelled.
                await asyncio.shield(self._pc.close())
        except TimeoutError:
            _logger.warning('event=media_close_timeout media_id=%s', self.media_id)

    # --- descriptions -------------------------------------------------------------------------

    async def answer(self, sdp_offer: str, video_codecs: Sequence[VideoCodec] = ()) -> str:
        """
        Take the peer's first offer and return the answer; after a failure nothing is left.

        :param video_codecs: Those that a robot can change between while it sends.
        :raises UnusableSdp: It cannot be used.
        :raises MediaFull: There is no port left for it.
        :raises MediaError: There is no socket left for it.
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
                # Each that is received costs a thread and memory.
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
        Take the peer's answer to our offer.

        After a refusal the offer still stands. After any other failure the connection is not what
        either side believes, and is closed.

        :raises UnusableSdp: It cannot be used.
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
        """Those of the video that it may send, or that it takes; ``None``: it has not said."""
        transceiver = _video_transceiver(self._pc)
        return None if transceiver is None else negotiated_codecs(transceiver)

    async def pull_video(self, publisher: PeerSession) -> str:
        """
        Send the publisher's video to this session's peer.

        :returns: The offer for the peer.
        :raises NoPublishedTrack: The publisher has no video.
        :raises NoCommonCodec: The peer takes none of the codecs that the publisher may send.
        :raises UnusableSdp: The peer's connection is in the middle of another negotiation.
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
        if self._pc.signalingState != 'have-local-offer':  # asked again: the offer still stands
            prefer_codecs(transceiver, codecs, self._offered)
            assert self._numbers is not None
            await self._pc.setLocalDescription(await self._numbers.create_offer(self._pc))
        return str(self._pc.localDescription.sdp)


def _prepare_video(transceiver: RTCRtpTransceiver, codecs: Sequence[VideoCodec]) -> None:
    """
    Prepare the section of video of a first offer: take it in, if it is the peer's.

    :param codecs: Those that the peer can change between. Of any other one exactly one is
        answered, the peer's favourite: then every viewer can be promised the right one.
    """
    if transceiver.receiver.track is not None:
        prepare_receiving(transceiver)
        keep_codecs(transceiver, codecs)


def _video_transceiver(pc: RTCPeerConnection) -> RTCRtpTransceiver | None:
    return next((item for item in pc.getTransceivers() if item.kind == 'video'), None)
