"""Operator without a browser: joins, opens channels, drives, and records what it receives."""

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
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
import json
import math
import time
from typing import Any

import aiohttp
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

from teleop_webrtc_bridge.aiortc_support.codec_choice import codec_of
from teleop_webrtc_bridge.aiortc_support.forwarding import VideoIngress
from teleop_webrtc_bridge.aiortc_support.internals import (
    configure_aiortc,
    NTP_EPOCH_S,
    prepare_receiving,
)
from teleop_webrtc_bridge.core.codec import encode_drive_command
from teleop_webrtc_bridge.core.messages import CHANNELS, DriveCommand, Velocity, VideoCodec

HEARTBEAT_PERIOD_S = 5.0
FIRST_HEARTBEAT_PERIOD_S = 1.0
"""Heartbeat period while connecting."""
START_S = 60.0
"""Time-out for a robot's start, which takes 20 s on a busy machine."""
PATIENCE_S = 30.0
"""Time-out for everything else."""
_ID_FIELDS = {
    'cmd_unreliable': 'cmd_channel_id',
    'state_reliable': 'state_channel_id',
    'state_reliable_back': 'state_back_channel_id',
    'map_unreliable': 'map_channel_id',
}


class PythonOperator:
    """
    One operator on one peer connection.

    :param url: The broker's address.
    :param token: The operator's token.
    :param with_video: Offer to receive video, as a page does; old consoles may not.
    :param with_microphone: Offer to send sound, which is silence, as old consoles do.
    :param decodes: Decode the video; otherwise only record the arrival of each frame.
    :param takes: The codecs that the operator supports.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        with_video: bool = True,
        with_microphone: bool = False,
        decodes: bool = True,
        takes: Collection[VideoCodec] = tuple(VideoCodec),
    ) -> None:
        configure_aiortc(loopback=True)
        self.received: list[tuple[str, bytes | str]] = []
        self.frames = 0
        self.picture: Any = None
        """The newest decoded frame."""
        self.on_picture: Callable[[Any], None] = lambda picture: None
        self.frames_at: list[tuple[float, float]] = []
        """Without decoding: arrival of each frame's last packet, in seconds of ``time.monotonic``,
        and the frame's capture time, in seconds since 1970."""
        self.bytes_received = 0
        """Bytes of video, without decoding."""
        self.codec: VideoCodec | None = None
        """Codec of the newest video packet, without decoding."""
        self.joined: dict[str, Any] = {}
        """The broker's answer to the join."""
        self.video_reason: str | None = None
        """Why there is no picture, according to the broker's latest answer."""
        self._takes = takes
        self._decodes = decodes
        self.bridged: dict[str, Any] = {}
        self._http = aiohttp.ClientSession(
            base_url=f'{url}/api/v1/', headers={'Authorization': f'Bearer {token}'}
        )
        self._with_video = with_video
        self._with_microphone = with_microphone
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on('track', self._watch)
        self._channels: dict[str, RTCDataChannel] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session = ''
        self._me: dict[str, str] = {}
        """Fields that distinguish the viewers of one person."""
        self._seq = 0
        self._drove_s = 0.0
        """When the last command was sent, in seconds of ``time.monotonic``."""

    @property
    def can_drive(self) -> bool:
        """Whether the link is up; it ends when the robot ends or is taken over."""
        channel = self._channels.get('cmd_unreliable')
        is_open = channel is not None and channel.readyState == 'open'
        return is_open and self._pc.connectionState == 'connected'

    @property
    def buffered(self) -> int:
        """Number of bytes that wait to be sent."""
        return sum(channel.bufferedAmount for channel in self._channels.values())

    @property
    def holds_back(self) -> bool:
        """Whether commands wait to be sent; a page then sends no further ones."""
        return self._channels['cmd_unreliable'].bufferedAmount > 0

    @property
    def sctp_state(self) -> str:
        """What holds messages back, as readable text."""
        sctp: Any = self._pc.sctp
        if sctp is None:
            return 'none'
        return (
            f'rto {sctp._rto:.2f} s, window {sctp._cwnd}, in flight {sctp._flight_size}, '
            f'unsettled {len(sctp._sent_queue)}'
        )

    async def ask_for_a_new_picture(self) -> None:
        """
        Give up on missing packets and request a keyframe, as a browser does.

        aiortc itself waits for a lost packet until 512 others have arrived: half a minute.
        """
        for transceiver in self._pc.getTransceivers():
            receiver: Any = transceiver.receiver
            if transceiver.kind != 'video' or receiver is None:
                continue
            receiver._RTCRtpReceiver__jitter_buffer = JitterBuffer(capacity=512, is_video=True)
            for ssrc in list(receiver._RTCRtpReceiver__active_ssrc):
                await receiver._send_rtcp_pli(ssrc)

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the broker and return the status and the JSON of its answer."""
        async with self._http.request(method, path, json=body) as response:
            return response.status, await response.json(content_type=None)

    async def robots(self) -> list[dict[str, Any]]:
        status, robots = await self.call('GET', 'sessions')
        assert status == 200, robots
        return list(robots)

    async def wait_for_robot(self, robot_id: str) -> str:
        """Return the session of a robot as soon as the broker lists it."""
        async with asyncio.timeout(START_S):
            while True:
                for robot in await self.robots():
                    if robot['robot_id'] == robot_id:
                        return str(robot['session_id'])
                await asyncio.sleep(0.02)

    async def connect(self, session_id: str, *, role: str = 'operator') -> None:
        """
        Join a robot's session and open the channels; return when the robot answers a ping.

        :param role: ``operator`` or ``viewer``. No robot answers a viewer, so for a viewer,
            return when all channels are open.
        """
        self._session = session_id
        if self._with_video:
            video = self._pc.addTransceiver('video', direction='recvonly')
            known = RTCRtpReceiver.getCapabilities('video')
            assert known is not None
            video.setCodecPreferences([it for it in known.codecs if codec_of(it) in self._takes])
            prepare_receiving(video)
        if self._with_microphone:
            self._pc.addTransceiver(AudioStreamTrack(), direction='sendonly')
        # Like a browser: an in-band channel, only to get an SCTP section into the offer.
        self._pc.createDataChannel('_throw_away')
        await self._pc.setLocalDescription(await self._pc.createOffer())
        body = {'role': role, 'sdp_offer': self._pc.localDescription.sdp}
        status, answer = await self.call('POST', f'sessions/{session_id}/join', body)
        assert status == 200, answer
        self.joined = answer
        self.video_reason = answer.get('video_reason')
        if role == 'viewer':
            self._me = {'cf_session_id': answer['cf_session_id']}
        await self._unless_it_ends(self._come_up(answer['sdp_answer']))

    async def _come_up(self, sdp_answer: str) -> None:
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp_answer, type='answer'))
        await self._wait_until(lambda: self._pc.connectionState == 'connected')
        await self.bridge()
        if not self._me:
            await self.ping()

    async def _unless_it_ends(self, steps: Coroutine[Any, Any, None]) -> None:
        """Give up if the session ends meanwhile: the link may not show its end."""
        working = asyncio.create_task(steps)
        try:
            while not (await asyncio.wait([working], timeout=FIRST_HEARTBEAT_PERIOD_S))[0]:
                await self._check_session()
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _check_session(self) -> None:
        with suppress(aiohttp.ClientError, ValueError):
            path = f'sessions/{self._session}/op-heartbeat'
            status, _ = await self.call('POST', path, self._me or None)
            if status == 404:
                raise ConnectionError('the session has ended')

    async def bridge(self) -> None:
        """Open the channels with the ids that the broker assigns, and accept the video."""
        path = f'sessions/{self._session}'
        status, self.bridged = await self.call(
            'POST', f'{path}/bridge-datachannel', self._me or None
        )
        assert status == 200, self.bridged
        for spec in CHANNELS:
            channel = self._pc.createDataChannel(
                spec.label,
                ordered=spec.ordered,
                maxRetransmits=spec.max_retransmits,
                negotiated=True,
                id=self.bridged[_ID_FIELDS[spec.label]],
            )
            self._channels[spec.label] = channel
            if not spec.to_robot:
                self._remember(spec.label, channel)
        if self.bridged['video_offer'] is not None:
            await self._pc.setRemoteDescription(
                RTCSessionDescription(sdp=self.bridged['video_offer'], type='offer')
            )
            await self._pc.setLocalDescription(await self._pc.createAnswer())
            body = {'sdp_answer': self._pc.localDescription.sdp} | self._me
            status, answer = await self.call('POST', f'{path}/renegotiate-answer', body)
            assert status == 200, answer

    def _remember(self, label: str, channel: RTCDataChannel) -> None:
        @channel.on('message')
        def on_message(message: bytes | str) -> None:
            self.received.append((label, message))

    def _watch(self, track: Any) -> None:
        if track.kind == 'video' and not self._decodes:
            receiver = next(r for r in self._pc.getReceivers() if r.track is track)
            self._ingress = VideoIngress(receiver, self._note)
            return

        async def count() -> None:
            try:
                while True:
                    self.picture = await track.recv()
                    self.frames += 1
                    self.on_picture(self.picture)
            except MediaStreamError:
                return

        self._tasks.add(asyncio.get_running_loop().create_task(count()))

    async def _note(self, packet: Any) -> None:
        self.bytes_received += len(packet.payload)
        self.codec = self._ingress.codec(packet)
        if packet.marker:
            self.frames += 1
            taken = packet.extensions.frame.capture_time
            taken_s = int.from_bytes(taken, 'big') / 2**32 - NTP_EPOCH_S if taken else math.nan
            self.frames_at.append((time.monotonic(), taken_s))

    def send(self, label: str, message: bytes | str) -> None:
        self._channels[label].send(message)

    def drive(
        self, velocity: Velocity, frame_id: str = 'test', *, held_s: float | None = None
    ) -> None:
        """
        Send one command, stamped with this machine's clock, which is also the robot's.

        :param held_s: The period of the commands of a key that has been held since the command
            before. A pause of this process, on a busy machine, must not look like a released key:
            the commands that it did not send in time count as lost.
        """
        now = time.monotonic()
        self._seq += 1 if held_s is None else max(1, int((now - self._drove_s) / held_s))
        self._drove_s = now
        self.send(
            'cmd_unreliable',
            encode_drive_command(
                DriveCommand(
                    seq=self._seq, stamp_s=time.time(), frame_id=frame_id, velocity=velocity
                )
            ),
        )

    async def ping(self) -> dict[str, Any]:
        """Return the robot's pong."""
        await self._wait_until(lambda: self._channels['state_reliable'].readyState == 'open')
        stamp = time.time()
        self.send('state_reliable', json.dumps({'type': 'ping', 'client_ts': stamp}))
        return await self.wait_for_message(
            lambda message: message['type'] == 'pong' and message['client_ts'] == stamp
        )

    async def request(self, kind: str, nonce: str | int) -> dict[str, Any]:
        """Send a request on the reliable channel and return its acknowledgement."""
        self.send('state_reliable', json.dumps({'type': kind, 'nonce': nonce}))
        return await self.wait_for_message(
            lambda message: message['type'] == 'cmd_ack' and message['nonce'] == nonce
        )

    async def wait_for_message(self, matches: Any) -> dict[str, Any]:
        """Return the first JSON message from the robot that matches."""
        seen = 0
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for _, message in self.received[seen:]:
                    seen += 1
                    decoded = json.loads(message)
                    if matches(decoded):
                        return dict(decoded)
                self._check_not_over()
                await asyncio.sleep(0.005)

    async def _wait_until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._check_not_over()
                await asyncio.sleep(0.005)

    def _check_not_over(self) -> None:
        """Give up when nothing can arrive any more, as a page does."""
        if self._pc.connectionState in ('failed', 'closed'):
            raise ConnectionError(f'the peer connection is {self._pc.connectionState}')

    async def stay(self) -> None:
        """Send the heartbeats that keep the robot, until cancelled."""
        while True:
            await self.heartbeat()
            await asyncio.sleep(HEARTBEAT_PERIOD_S)

    async def heartbeat(self) -> None:
        path = f'sessions/{self._session}/op-heartbeat'
        status, answer = await self.call('POST', path, self._me or None)
        assert status == 200, answer
        self.video_reason = answer.get('video_reason')

    async def leave(self) -> None:
        await self.call('POST', f'sessions/{self._session}/leave', {'reason': 'done'} | self._me)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pc.close()
        await self._http.close()


@asynccontextmanager
async def operator(
    url: str,
    token: str,
    *,
    with_video: bool = True,
    with_microphone: bool = False,
    decodes: bool = True,
    takes: Collection[VideoCodec] = tuple(VideoCodec),
) -> AsyncIterator[PythonOperator]:
    """Close the operator's connection at the end."""
    person = PythonOperator(
        url,
        token,
        with_video=with_video,
        with_microphone=with_microphone,
        decodes=decodes,
        takes=takes,
    )
    try:
        yield person
    finally:
        await person.close()
