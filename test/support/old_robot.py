"""Old-style robot: no instance_id, no long poll, ``{}`` as heartbeat."""

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
import json
import time
from typing import Any

import aiohttp
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import VideoStreamTrack

from teleop_webrtc_bridge.core.codec import decode_command
from teleop_webrtc_bridge.core.messages import CHANNELS, DriveCommand

_IDS = {
    'state_reliable_back': 'state_back_channel_publisher_id',
    'map_unreliable': 'map_channel_publisher_id',
    'state_reliable': 'state_channel_subscriber_id',
    'cmd_unreliable': 'cmd_channel_subscriber_id',
}


class OldRobot:
    """
    Dials once, sends a heartbeat every second, and opens the channels in the answers.

    It opens ``state_back`` first.

    :param prepare: Called with the connection when its track has been added.
    """

    def __init__(
        self,
        url: str,
        key: str,
        robot_id: str,
        *,
        track: MediaStreamTrack | None = None,
        prepare: Callable[[RTCPeerConnection], None] = lambda pc: None,
    ) -> None:
        self.commands: list[DriveCommand] = []
        self.states: list[dict[str, Any]] = []
        """Messages received on ``state_reliable``."""
        self.opened: list[str] = []
        self.last_status = 0
        self.until_next_beat: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(1.0)
        self._robot_id = robot_id
        self._track = track or VideoStreamTrack()
        self._prepare = prepare
        self._http = aiohttp.ClientSession(
            base_url=f'{url}/api/v1/', headers={'X-Robot-API-Key': key}
        )
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._channels: dict[str, tuple[int, RTCDataChannel]] = {}

    async def dial(self) -> None:
        self._pc.addTrack(self._track)
        self._prepare(self._pc)
        self._pc.addTransceiver('audio', direction='recvonly')
        self._pc.createDataChannel('_sctp_init', negotiated=True, id=0)
        await self._pc.setLocalDescription(await self._pc.createOffer())
        body = {
            'robot_name': 'old',
            'robot_id': self._robot_id,
            'robot_type': 'go2',
            'sdp_offer': self._pc.localDescription.sdp,
        }
        async with self._http.post('sessions', json=body) as response:
            assert response.status in (200, 201), await response.text()
            answer = await response.json()
        self._session_id = answer['session_id']
        await self._pc.setRemoteDescription(
            RTCSessionDescription(sdp=answer['sdp_answer'], type='answer')
        )

    async def live(self) -> None:
        """Send heartbeats until the broker refuses them."""
        while True:
            path = f'sessions/{self._session_id}/heartbeat'
            async with self._http.post(path, json={}) as response:
                self.last_status = response.status
                if response.status != 200:
                    return
                self._follow(await response.json())
            await self.until_next_beat()

    def _follow(self, answer: dict[str, Any]) -> None:
        for spec in CHANNELS:
            stream_id = answer[_IDS[spec.label]]
            present, channel = self._channels.get(spec.label, (None, None))
            if stream_id == present:
                continue
            if channel is not None:
                channel.close()
                del self._channels[spec.label]
            if stream_id is not None:
                opened = self._pc.createDataChannel(
                    spec.label,
                    ordered=spec.ordered,
                    maxRetransmits=spec.max_retransmits,
                    negotiated=True,
                    id=stream_id,
                )
                self._channels[spec.label] = (stream_id, opened)
                self.opened.append(spec.label)
                self._listen(spec.label, opened)

    def _listen(self, label: str, channel: RTCDataChannel) -> None:
        def on_message(message: bytes | str) -> None:
            if label == 'cmd_unreliable' and isinstance(message, bytes):
                command = decode_command(message)
                if isinstance(command, DriveCommand):
                    self.commands.append(command)
            elif label == 'state_reliable':
                ping = json.loads(message)
                self.states.append(ping)
                if ping['type'] != 'ping':
                    return
                pong = {
                    'type': 'pong',
                    'client_ts': ping['client_ts'],
                    'robot_ts': time.time(),
                }
                self._channels['state_reliable_back'][1].send(json.dumps(pong))

        channel.on('message', on_message)

    async def close(self) -> None:
        await self._pc.close()
        await self._http.close()


@asynccontextmanager
async def old_robot(
    url: str,
    key: str,
    robot_id: str,
    *,
    prepare: Callable[[RTCPeerConnection], None] = lambda pc: None,
) -> AsyncIterator[OldRobot]:
    """Dial, run, and end with the context."""
    robot = OldRobot(url, key, robot_id, prepare=prepare)
    living = None
    try:
        await robot.dial()
        living = asyncio.create_task(robot.live())
        yield robot
    finally:
        if living is not None:
            living.cancel()
        await robot.close()
