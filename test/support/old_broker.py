"""Old-style broker on plain aiortc: answers at once, without epochs, and forgets no robot."""

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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
import time
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.core.codec import encode_drive_command
from teleop_webrtc_bridge.core.messages import CHANNELS, DriveCommand, Velocity

CLOSE_S = 2.0
KEY = 'dtk_live_' + '0' * 40
_ID_FIELDS = {
    'cmd_unreliable': 'cmd_channel_subscriber_id',
    'state_reliable': 'state_channel_subscriber_id',
    'state_reliable_back': 'state_back_channel_publisher_id',
    'map_unreliable': 'map_channel_publisher_id',
}
NOBODY = {'ack': True, 'renegotiate_offer': None} | dict.fromkeys(_ID_FIELDS.values())

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(kw_only=True)
class OldSession:
    """One robot's session: its connection and the operator's channels, opened by the test."""

    pc: RTCPeerConnection
    body: dict[str, Any]
    created_s: float
    ids: dict[str, int] = field(default_factory=dict)
    channels: dict[str, RTCDataChannel] = field(default_factory=dict)
    beats_s: list[float] = field(default_factory=list)
    heard: list[tuple[str, bytes | str]] = field(default_factory=list)
    offer: str | None = None
    """Delivered once, with the next heartbeat answer."""
    answers: list[str] = field(default_factory=list)
    """Answers to such offers; all were applied."""
    frames: int = 0
    """Number of decoded frames of the robot's video."""
    watching: asyncio.Task[None] | None = None
    seq: int = 0
    is_closed: bool = False
    is_gone: bool = False
    """Reaped or superseded: invisible to operators, but its heartbeats are still answered."""

    def bridge(self, first_id: int = 2) -> None:
        """Simulate a joining operator: open our ends, and tell the robot in the next answers."""
        for stream_id, spec in enumerate(CHANNELS, first_id):
            channel = self.pc.createDataChannel(
                spec.label,
                ordered=spec.ordered,
                maxRetransmits=spec.max_retransmits,
                negotiated=True,
                id=stream_id,
            )
            self.ids[spec.label] = stream_id
            self.channels[spec.label] = channel
            self._listen(spec.label, channel)

    def _listen(self, label: str, channel: RTCDataChannel) -> None:
        channel.on('message', lambda message: self.heard.append((label, message)))

    async def renegotiate(self) -> None:
        """Offer to send sound, as for an operator's microphone."""
        self.pc.getTransceivers()[1].direction = 'sendonly'
        self.pc.addTrack(AudioStreamTrack())
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.offer = self.pc.localDescription.sdp

    def watch(self, track: MediaStreamTrack) -> None:
        """Count the frames of the robot's video."""

        async def count() -> None:
            try:
                while True:
                    await track.recv()
                    self.frames += 1
            except MediaStreamError:
                return

        self.watching = asyncio.get_running_loop().create_task(count())

    def drive(self, velocity: Velocity) -> None:
        """Send a command if the channel is open."""
        if self.channels['cmd_unreliable'].readyState != 'open':
            return
        self.seq += 1
        command = DriveCommand(
            seq=self.seq, stamp_s=time.time(), frame_id='old', velocity=velocity
        )
        self.channels['cmd_unreliable'].send(encode_drive_command(command))

    def snapshot(self) -> dict[str, Any]:
        """Return the heartbeat answer of an old broker."""
        offer, self.offer = self.offer, None
        ids = {_ID_FIELDS[label]: stream_id for label, stream_id in self.ids.items()}
        return NOBODY | ids | {'renegotiate_offer': offer}


class OldBroker:
    """
    Serves robots, with replaceable answers.

    ``instead`` maps ``create``, ``heartbeat``, ``renegotiate``, ``delete`` and ``turn`` to
    functions that answer instead.
    """

    def __init__(self) -> None:
        configure_aiortc(loopback=True)
        self.url = ''
        self.sessions: list[OldSession] = []
        self.tries_s: list[float] = []
        """When robots asked for a session, successful or not."""
        self.deleted: list[str] = []
        self.instead: dict[str, Answer] = {}
        self.closes_older = False
        """Whether to close a robot's older connections when it dials: its ends are closed."""

    def give_up(self) -> None:
        """Reap or supersede the newest session without telling its robot."""
        self.newest.is_gone = True
        self.newest.ids.clear()

    def visible(self) -> list[OldSession]:
        """Return the sessions that operators see."""
        return [
            session
            for session in self.sessions[-1:]
            if not session.is_gone and f's{len(self.sessions) - 1}' not in self.deleted
        ]

    @property
    def newest(self) -> OldSession:
        return self.sessions[-1]

    async def turn(self, request: web.Request) -> web.StreamResponse:
        if 'turn' in self.instead:
            return await self.instead['turn'](request)
        return web.json_response({'ice_servers': []})

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.tries_s.append(time.monotonic())
        if 'create' in self.instead:
            return await self.instead['create'](request)
        body = await request.json()
        if self.closes_older:
            await self.close()
        pc = RTCPeerConnection()
        session = OldSession(pc=pc, body=body, created_s=time.monotonic())
        pc.on('track', lambda track: session.watch(track) if track.kind == 'video' else None)
        await pc.setRemoteDescription(RTCSessionDescription(sdp=body['sdp_offer'], type='offer'))
        await pc.setLocalDescription(await pc.createAnswer())
        self.sessions.append(session)
        return web.json_response(
            {
                'session_id': f's{len(self.sessions) - 1}',
                'sdp_answer': pc.localDescription.sdp,
                'cf_session_id': 'cf',
                'ice_servers': [],
            },
            status=201,
        )

    async def heartbeat(self, request: web.Request) -> web.StreamResponse:
        session = self.sessions[int(request.match_info['session_id'][1:])]
        session.beats_s.append(time.monotonic())
        if 'heartbeat' in self.instead:
            return await self.instead['heartbeat'](request)
        is_served = session is self.newest and not session.is_gone
        return web.json_response(session.snapshot() if is_served else NOBODY)

    async def renegotiate(self, request: web.Request) -> web.StreamResponse:
        if 'renegotiate' in self.instead:
            return await self.instead['renegotiate'](request)
        session = self.sessions[int(request.match_info['session_id'][1:])]
        sdp = (await request.json())['sdp_answer']
        await session.pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type='answer'))
        session.answers.append(sdp)
        return web.json_response({'ok': True})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        self.deleted.append(request.match_info['session_id'])
        if 'delete' in self.instead:
            return await self.instead['delete'](request)
        return web.Response(status=204)

    async def close(self) -> None:
        open_ones = [session for session in self.sessions if not session.is_closed]
        closing = [asyncio.create_task(session.pc.close()) for session in open_ones]
        for session in open_ones:
            session.is_closed = True
        if closing:
            # aiortc may wait for ever if both ends close at the same time.
            await asyncio.wait(closing, timeout=CLOSE_S)


@asynccontextmanager
async def old_broker() -> AsyncIterator[OldBroker]:
    """Run an old broker on loopback."""
    broker = OldBroker()
    app = web.Application()
    base = '/api/v1/sessions'
    app.router.add_get(f'{base}/turn-credentials', broker.turn)
    app.router.add_post(base, broker.create)
    app.router.add_post(f'{base}/{{session_id}}/heartbeat', broker.heartbeat)
    app.router.add_post(f'{base}/{{session_id}}/renegotiate-robot', broker.renegotiate)
    app.router.add_delete(f'{base}/{{session_id}}', broker.delete)
    async with TestServer(app) as server:
        broker.url = str(server.make_url('')).rstrip('/')
        try:
            yield broker
        finally:
            await broker.close()


def answering(body: Any = None, **options: Any) -> Answer:
    """Return a function that always gives the same answer: JSON, or raw bytes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(body=body, **options)
        return web.json_response(body, **options)

    return answer


async def hanging(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    return web.Response()


async def trickling(request: web.Request) -> web.StreamResponse:
    """Answer one byte at a time, without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b' ')
        await asyncio.sleep(0.05)
