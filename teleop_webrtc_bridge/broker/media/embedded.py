"""
The embedded SFU, on aiortc: the media backend inside one process.

It terminates one peer connection for each robot, operator and viewer, and forwards the robot's RTP
packets and both sides' data channel messages. It decodes no video.
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

from teleop_webrtc_bridge.aiortc_support.gathering import Gathering
from teleop_webrtc_bridge.aiortc_support.ice_servers import OutsideAddress, Resolver
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.broker.media.backend import (
    Arrived,
    DataChannelRequest,
    MediaSession,
    MediaSessionGone,
    StopSeen,
)
from teleop_webrtc_bridge.broker.media.channels import EstopSigner
from teleop_webrtc_bridge.broker.media.peer_session import PeerSession
from teleop_webrtc_bridge.broker.media.process_link import NetworkSettings
from teleop_webrtc_bridge.core.ice import parse_ice_url
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['EmbeddedMedia']


class EmbeddedMedia:
    """
    Implements :class:`~teleop_webrtc_bridge.broker.media.backend.Media` and ``CountsArrivals``.

    :param include_loopback: Offer 127.0.0.1 to peers on this machine.
    :param network: The UDP ports to use, and the addresses at which peers reach them.
    """

    def __init__(self, *, include_loopback: bool, network: NetworkSettings | None = None) -> None:
        configure_aiortc(loopback=include_loopback)
        self._network = NetworkSettings() if network is None else network
        stun = [parse_ice_url(url) for url in self._network.stun_urls]
        self._outside = OutsideAddress(stun, Resolver())
        self._sessions: dict[str, PeerSession] = {}
        self._robots: set[str] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._on_stop: Callable[[StopSeen], None] = lambda stop: None

    async def run(self, on_stop: Callable[[StopSeen], None]) -> None:
        self._on_stop = on_stop
        await asyncio.get_running_loop().create_future()  # the peer sessions do the work

    async def new_session(
        self,
        sdp_offer: str,
        *,
        beside: str | None = None,
        video_codecs: Sequence[VideoCodec] = (),
    ) -> MediaSession:
        if beside is not None:
            self._session(beside)
        gathering = Gathering(
            outside=self._outside,
            udp_ports=self._network.udp_ports,
            public_addresses=self._network.public_addresses,
        )
        session = PeerSession(self._forget, gathering)
        answer = await session.answer(sdp_offer, video_codecs)
        self._sessions[session.media_id] = session
        if beside is None:
            self._robots.add(session.media_id)
        sends_none = beside is None and session.video is None
        return MediaSession(
            media_id=session.media_id,
            sdp_answer=answer,
            video_codecs=() if sends_none else session.video_codecs,
        )

    async def close_session(self, media_id: str) -> None:
        session = self._sessions.pop(media_id, None)
        self._robots.discard(media_id)
        if session is None:
            return
        for other in self._sessions.values():
            other.channels.unsubscribe_from(session.channels)
        await session.close()

    def _forget(self, media_id: str) -> None:
        """Close a session whose connection has ended by itself."""
        task = asyncio.get_running_loop().create_task(self.close_session(media_id))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def pull_video(self, media_id: str, *, publisher: str) -> str:
        return await self._session(media_id).pull_video(self._session(publisher))

    async def renegotiate(self, media_id: str, sdp_answer: str) -> tuple[VideoCodec, ...] | None:
        session = self._session(media_id)
        await session.take_answer(sdp_answer)
        return session.video_codecs

    async def new_data_channels(
        self, media_id: str, requests: Sequence[DataChannelRequest]
    ) -> dict[str, int]:
        session = self._session(media_id)
        publishers = {
            request.publisher: self._session(request.publisher)
            for request in requests
            if request.publisher is not None
        }
        ids = {}
        for request in requests:
            publisher = publishers[request.publisher].channels if request.publisher else None
            signer = self._signer(media_id, request.by) if request.by is not None else None
            ids[request.label] = session.channels.open(request, publisher, signer)
        return ids

    async def open_for_viewers(self, media_id: str) -> dict[str, int]:
        return self._session(media_id).channels.open_for_viewers()

    async def watch_channels(
        self, media_id: str, *, publisher: str, by: Identity, may_stop: bool
    ) -> dict[str, int]:
        robot = self._session(publisher).channels
        signer = self._signer(media_id, by) if may_stop else None
        return self._session(media_id).channels.watch_channels(robot, signer)

    def _signer(self, media_id: str, by: Identity) -> EstopSigner:
        return EstopSigner(media_id, by, lambda stop: self._on_stop(stop))

    async def close_data_channels(self, media_id: str, stream_ids: Sequence[int]) -> None:
        session = self._sessions.get(media_id)
        if session is not None:
            for stream_id in stream_ids:
                session.channels.close(stream_id)

    def subscriber_ready(self, media_id: str) -> None:
        session = self._sessions.get(media_id)
        if session is not None:
            session.channels.set_ready()

    async def connected(self, media_id: str) -> None:
        await self._session(media_id).connected()

    @property
    def media_ids(self) -> list[str]:
        """All sessions."""
        return list(self._sessions)

    def last_heard_s(self, media_id: str) -> float | None:
        session = self._sessions.get(media_id)
        return None if session is None else session.last_heard_s()

    def arrived(self, media_id: str) -> Arrived | None:
        return self._session(media_id).arrived() if media_id in self._robots else None

    async def close(self) -> None:
        await asyncio.gather(*(self.close_session(media_id) for media_id in self.media_ids))

    def _session(self, media_id: str) -> PeerSession:
        try:
            return self._sessions[media_id]
        except KeyError:
            raise MediaSessionGone('the media session is gone') from None
