"""The robot's one peer connection: its video track and its four data channels."""

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
from collections import Counter, deque
from collections.abc import Callable
import logging
import time
from typing import Final, Literal

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
)
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError

from teleop_webrtc_bridge.aiortc_support.codec_choice import (
    mime_type,
    negotiated_codecs,
    send_as,
)
from teleop_webrtc_bridge.aiortc_support.descriptions import take_description
from teleop_webrtc_bridge.aiortc_support.feedback import (
    Estimate,
    Feedback,
    LossReport,
    take_feedback,
)
from teleop_webrtc_bridge.aiortc_support.gathering import gather_with, Gathering, selected_path
from teleop_webrtc_bridge.aiortc_support.internals import (
    FrameExtensions,
    tag_frames,
    take_keyframe_requests,
)
from teleop_webrtc_bridge.aiortc_support.sctp import SctpProbe
from teleop_webrtc_bridge.bridge.webrtc.liveness import LinkLiveness, LOST_AFTER_S, ProbeDecision
from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds
from teleop_webrtc_bridge.bridge.webrtc.video.camera_track import CameraTrack
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController
from teleop_webrtc_bridge.core.codec import MAX_MESSAGE_BYTES
from teleop_webrtc_bridge.core.configuration import BridgeConfiguration
from teleop_webrtc_bridge.core.exceptions import PeerConnectionLost, ProtocolError
from teleop_webrtc_bridge.core.messages import ChannelIds, CHANNELS, ChannelSpec, VideoCodec
from teleop_webrtc_bridge.core.sdp import check_sdp

__all__ = ['RobotPeer']

CONSTRAINED_BASELINE: Final = '42e01f'
"""The H.264 profile that x264 calls *baseline* (RFC 6184 §8.1)."""
GATHER_S: Final = 10.0
CONNECT_S: Final = 15.0
CLOSE_S: Final = 2.0
QUEUE_PROBE_PERIOD_S: Final = 0.1
"""Period of probes while enough is sent to fill a link."""
LONGEST_TRIP_S: Final = 60.0
"""Answers with a longer round trip are ignored as bogus."""
MAX_BUFFERED_BYTES: Final = 64 * 1024
"""``bufferedAmount`` grows without bound on a dead link; messages beyond this are lost."""
MAX_BUFFERED_ROUTINE_BYTES: Final = 32 * 1024
"""Limit for telemetry, maps and leases, because acknowledgements and pongs share their queue. The
largest message fits if the queue is empty."""
MAX_UNRELIABLE_BYTES: Final = 1024
"""Limit for a channel whose messages are worthless when late: lease tokens."""
MAX_EARLY_ANSWERS: Final = 64

_logger = logging.getLogger(__name__)

#: label, message, arrival in seconds of ``time.monotonic``
OnMessage = Callable[[str, bytes | str, float], None]


class RobotPeer:
    """
    One peer connection, from its offer to its end.

    :param configuration: The robot.
    :param cameras: Its cameras.
    :param on_message: Called for each of the operator's messages; must not raise.
    :param gathering: How the connection finds its candidates.
    """

    def __init__(
        self,
        configuration: BridgeConfiguration,
        *,
        cameras: CameraFeeds,
        on_message: OnMessage,
        gathering: Gathering | None = None,
    ) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done, with the reason, when the connection has ended."""
        self.counters: Counter[str] = Counter()
        self.round_trip_ms: float | None = None
        """To the media backend and back, excluding the queue of its congestion control."""
        self._configuration = configuration
        self._on_message = on_message
        self._liveness = LinkLiveness(time.monotonic())
        self._connected = asyncio.Event()
        self._drains: set[asyncio.Task[None]] = set()
        self._codecs: tuple[VideoCodec, ...] = ()
        """The negotiated codecs, the preferred one first."""
        self._sent = VideoCodec.H264
        self._channels: dict[str, tuple[int, RTCDataChannel]] = {}
        self._early: deque[tuple[RTCDataChannel, bytes | str]] = deque(maxlen=MAX_EARLY_ANSWERS)
        """Answers to messages that came before the association's set-up was complete, when nothing
        could be sent."""
        self._gathering = Gathering() if gathering is None else gathering
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on('connectionstatechange', self._on_state)
        self._pc.on('track', self._drain)
        video = configuration.video
        self._rate = RateController(highest_bps=video.bitrate_bps, fps=video.fps)
        self.track = CameraTrack(cameras, self._rate)
        self._add_media()

    def _add_media(self) -> None:
        """Add the media of the offer in the order of docs/protocol.md §5: video first."""
        sender = self._pc.addTrack(self.track)
        self._video = self._pc.getTransceivers()[0]
        capabilities = RTCRtpSender.getCapabilities('video').codecs
        wanted = f'video/{self._configuration.video.codec}'
        # Must precede the remote description, or VP8 is chosen. The H.264 variant is the one that
        # all browsers support.
        self._video.setCodecPreferences(
            sorted(
                capabilities,
                key=lambda codec: (
                    codec.mimeType.lower() != wanted,
                    codec.parameters.get('profile-level-id') != CONSTRAINED_BASELINE,
                ),
            )
        )
        send_as(self._video, lambda: self.track.codec)
        take_keyframe_requests(sender, self.track.request_keyframe)
        take_feedback(sender, self._on_feedback)
        ahead_s = self._configuration.clock_ahead_s
        playout_delay_s = self._configuration.video.playout_delay_s
        tag_frames(
            sender,
            lambda: FrameExtensions.of(self.track.capture_s + ahead_s, playout_delay_s),
        )
        self._pc.addTransceiver('audio', direction='recvonly')
        # Stays open as long as the connection: it forces an SCTP section and reserves stream 0.
        self._pc.createDataChannel('_sctp_init', negotiated=True, id=0)
        assert self._pc.sctp is not None
        self._probe = SctpProbe(self._pc.sctp, self._on_answer)
        gather_with(self._pc, self._gathering)

    # --- negotiation --------------------------------------------------------------------------

    async def offer(self) -> str:
        """
        Return the offer with all candidates.

        :raises PeerConnectionLost: Gathering them failed or took too long.
        """
        try:
            async with asyncio.timeout(GATHER_S):
                await self._pc.setLocalDescription(await self._pc.createOffer())
        except TimeoutError:
            raise PeerConnectionLost(f'no ICE candidates within {GATHER_S:g} s') from None
        except OSError as error:
            raise PeerConnectionLost(f'gathering ICE candidates failed: {error!r}') from error
        return str(self._pc.localDescription.sdp)

    async def connect(self, sdp_answer: str) -> None:
        """
        Apply the answer and wait until the connection is up.

        :raises PeerConnectionLost: The answer is unusable, or there was no connection in time.
        """
        await self._take(sdp_answer, 'answer')
        self._codecs = negotiated_codecs(self._video)
        self._sent = self._codecs[0]
        self.track.use(mime_type(self._sent), self._configuration.video)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connected.wait()
        except TimeoutError:
            raise PeerConnectionLost(f'not connected within {CONNECT_S:g} s') from None
        if self.ended.done():
            raise PeerConnectionLost(self.ended.result())

    def send_codec(self, codec: VideoCodec) -> None:
        """Send this codec from now on, if it was negotiated."""
        if codec is self._sent or codec not in self._codecs:
            return
        _logger.info('event=video_codec codec=%s instead_of=%s', codec.value, self._sent.value)
        self._sent = codec
        self.track.use(mime_type(codec), self._configuration.video)

    async def answer(self, sdp_offer: str) -> str:
        """
        Answer a later offer of the broker.

        :raises PeerConnectionLost: The offer is unusable.
        """
        await self._take(sdp_offer, 'offer')
        try:
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        except InvalidStateError:
            raise PeerConnectionLost('the peer connection has just ended') from None
        return str(self._pc.localDescription.sdp)

    async def _take(self, sdp: str, kind: Literal['offer', 'answer']) -> None:
        try:
            check_sdp(sdp)
            await take_description(self._pc, sdp, kind)
        except ProtocolError as error:
            raise PeerConnectionLost(f"the broker's SDP {kind} cannot be used: {error}") from error

    @property
    def path(self) -> str:
        """``direct``, or the relay over which the media backend is reached; empty: not yet."""
        return selected_path(self._pc, self._gathering.relays)

    # --- liveness -----------------------------------------------------------------------------

    async def watch(self) -> None:
        """
        Watch the connection once it is up.

        :raises PeerConnectionLost: It ended, or the peer stopped answering.
        """
        self._liveness = LinkLiveness(time.monotonic())
        while not self.ended.done():
            now = time.monotonic()
            decision = self._liveness.turn(now)
            if decision is ProbeDecision.LOST:
                raise PeerConnectionLost(
                    f'no answer on the peer connection for {LOST_AFTER_S:g} s'
                )
            delay_s = self._liveness.delay_s
            if self._rate.is_busy(now):
                delay_s = min(delay_s, QUEUE_PROBE_PERIOD_S)
                decision = ProbeDecision.PROBE
            if decision is ProbeDecision.PROBE:
                self._rate.on_probe(now)
                await self._probe.send(now)
            await asyncio.wait([self.ended], timeout=delay_s)
        raise PeerConnectionLost(self.ended.result())

    def _on_answer(self, probe_s: float) -> None:
        now = time.monotonic()
        trip_s = now - probe_s
        if 0.0 <= trip_s < LONGEST_TRIP_S:
            self.round_trip_ms = round(1e3 * trip_s, 1)
            self._liveness.answered()
            self._rate.on_answer(probe_s, now)

    async def close(self) -> None:
        """Close the connection; bounded."""
        self._pc.remove_all_listeners()
        for drain in self._drains:
            drain.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                # Shielded: aiortc may be closing it as well and breaks if its wait is cancelled.
                await asyncio.shield(self._pc.close())
        except TimeoutError:
            _logger.warning('event=close_timeout seconds=%g', CLOSE_S)

    def _on_feedback(self, feedback: Feedback) -> None:
        now = time.monotonic()
        match feedback:
            case Estimate():
                self._rate.on_remb(feedback.source, feedback.bitrate_bps, now)
            case LossReport():
                self._rate.on_report(
                    feedback.source,
                    feedback.fraction_lost,
                    now,
                    is_next_hop=feedback.is_next_hop,
                )

    def _on_state(self) -> None:
        state = self._pc.connectionState
        if state in ('failed', 'closed') and not self.ended.done():
            self.ended.set_result(f'the peer connection is {state}')
        if state in ('connected', 'failed', 'closed'):
            self._connected.set()

    def _drain(self, track: MediaStreamTrack) -> None:
        """Discard the operator's audio, which would fill the memory if it were not read."""

        async def drain() -> None:
            try:
                while True:
                    await track.recv()
            except MediaStreamError:
                return

        task = asyncio.get_running_loop().create_task(drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    # --- channels -----------------------------------------------------------------------------

    def reconcile(self, wanted: ChannelIds) -> None:
        """Open and close channels to match the broker's snapshot."""
        ids = wanted.by_label()
        for spec in CHANNELS:
            stream_id = ids[spec.label]
            if spec.label in self._channels:
                present, channel = self._channels[spec.label]
                if present == stream_id:
                    continue
                channel.close()
                del self._channels[spec.label]
            if stream_id is not None:
                self._open(spec, stream_id)

    def _open(self, spec: ChannelSpec, stream_id: int) -> None:
        try:
            channel = self._pc.createDataChannel(
                spec.label,
                ordered=spec.ordered,
                maxRetransmits=spec.max_retransmits,
                negotiated=True,
                id=stream_id,
            )
        except ValueError:
            # A channel that is closing still has this id, and only the broker assigns ids.
            self.counters['channel_id_taken'] += 1
            return
        except InvalidStateError:
            return  # the connection has just ended; watch() reports it
        self._channels[spec.label] = (stream_id, channel)
        channel.on('open', lambda: self._send_early(channel))
        if spec.to_robot:
            channel.on('message', lambda message: self._receive(spec.label, message))

    def _receive(self, label: str, message: bytes | str) -> None:
        if len(message) > MAX_MESSAGE_BYTES:
            self.counters['oversized'] += 1
            return
        try:
            self._on_message(label, message, time.monotonic())
        except Exception:
            # An exception that leaves this handler would close the whole connection.
            self.counters['handler_failures'] += 1
            _logger.exception('event=handler_failed label=%s', label)

    def send(self, label: str, payload: bytes | str, *, urgent: bool) -> None:
        """
        Send to the operator, if there is one; the message is lost if the link does not drain.

        :param urgent: Whether the operator waits for it; routine messages are lost first.
        """
        _, channel = self._channels.get(label, (0, None))
        if channel is None or channel.readyState != 'open':
            if channel is not None and channel.readyState == 'connecting' and urgent:
                self._early.append((channel, payload))
            return
        buffered = sum(other.bufferedAmount for _, other in self._channels.values())
        limit = MAX_BUFFERED_BYTES if urgent else MAX_BUFFERED_ROUTINE_BYTES
        late = channel.maxRetransmits is not None and channel.bufferedAmount > MAX_UNRELIABLE_BYTES
        if late or buffered + len(payload) > limit:
            self.counters['answers_lost' if urgent else 'telemetry_lost'] += 1
            return
        channel.send(payload)

    def _send_early(self, opened: RTCDataChannel) -> None:
        waiting, self._early = self._early, deque(maxlen=MAX_EARLY_ANSWERS)
        for channel, payload in waiting:
            if channel is opened:
                channel.send(payload)
            else:
                self._early.append((channel, payload))
