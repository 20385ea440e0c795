"""Fake media backend in memory, which also checks that it is used correctly."""

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
from collections.abc import Awaitable, Callable, Sequence

from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.broker.media.backend import (
    DataChannelRequest,
    MediaError,
    MediaSession,
    MediaSessionGone,
    NoPublishedTrack,
    StopSeen,
    UnusableSdp,
)
from teleop_webrtc_bridge.core.messages import CHANNELS, VideoCodec

__all__ = ['FakeMedia']


class FakeSession:
    """One simulated peer connection."""

    def __init__(self, offer: str, heard_s: float) -> None:
        self.offer = offer
        self.heard_s = heard_s
        self.connected = asyncio.Event()
        self.connected.set()
        self.published: dict[str, int] = {}
        self.subscribed: dict[int, tuple[str, str]] = {}
        """Stream id → publisher, label."""
        self.answers: list[str] = []


class FakeMedia:
    """
    Implements the ``Media`` protocol.

    :param clock: The broker's monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._serial = 0
        self._next_stream = 2
        self.sessions: dict[str, FakeSession] = {}
        self.ready: list[str] = []
        self.closed_channels: list[tuple[str, int]] = []
        self.is_closed = False
        self.has_video = True
        self.takes: tuple[VideoCodec, ...] | None = None
        """Codecs that the browsers of joining people accept."""
        self.failures: dict[str, BaseException] = {}
        """Method → the exception that it raises."""
        self.gates: dict[str, asyncio.Event] = {}
        """Method → the event for which it waits."""
        self.after_opening: Callable[[], Awaitable[object]] | None = None
        """Runs when channels are open, before the broker learns of it."""
        self.calls: asyncio.Queue[str] = asyncio.Queue()
        self.on_stop: Callable[[StopSeen], None] = lambda stop: None
        """Callback by which the broker learns of E-STOPs."""
        self.watching: dict[str, tuple[Identity, bool]] = {}
        """Viewer's media session → the viewer's identity, and whether they may stop the robot."""

    async def _enter(self, method: str) -> None:
        self.calls.put_nowait(method)
        gate = self.gates.get(method)
        if gate is not None:
            await gate.wait()
        failure = self.failures.get(method)
        if failure is not None:
            raise failure

    async def entered(self, method: str) -> None:
        """Wait until a method is called."""
        while await self.calls.get() != method:
            pass

    async def run(self, on_stop: Callable[[StopSeen], None]) -> None:
        self.on_stop = on_stop
        await asyncio.get_running_loop().create_future()

    async def new_session(
        self,
        sdp_offer: str,
        *,
        beside: str | None = None,
        video_codecs: Sequence[VideoCodec] = (),
    ) -> MediaSession:
        await self._enter('new_session')
        if beside is not None:
            self._session(beside)
        if 'unusable' in sdp_offer:
            raise UnusableSdp('it says so')
        self._serial += 1
        media_id = f'media{self._serial}'
        self.sessions[media_id] = FakeSession(sdp_offer, self._clock())
        return MediaSession(
            media_id=media_id,
            sdp_answer=f'answer to {media_id}',
            video_codecs=tuple(video_codecs) if beside is None else self.takes,
        )

    async def close_session(self, media_id: str) -> None:
        await self._enter('close_session')
        self.sessions.pop(media_id, None)

    async def pull_video(self, media_id: str, *, publisher: str) -> str:
        await self._enter('pull_video')
        if not self.has_video:
            raise NoPublishedTrack
        self._session(publisher)
        self._session(media_id)
        return f'video offer from {publisher}'

    async def renegotiate(self, media_id: str, sdp_answer: str) -> tuple[VideoCodec, ...] | None:
        await self._enter('renegotiate')
        if 'unusable' in sdp_answer:
            raise UnusableSdp('it says so')
        self._session(media_id).answers.append(sdp_answer)
        return None

    async def new_data_channels(
        self, media_id: str, requests: Sequence[DataChannelRequest]
    ) -> dict[str, int]:
        await self._enter('new_data_channels')
        session = self._session(media_id)
        opened = {request.label: self._open(session, request) for request in requests}
        if self.after_opening is not None:
            await self.after_opening()
        return opened

    def _open(self, session: FakeSession, request: DataChannelRequest) -> int:
        stream = self._fresh()
        if request.publisher is None:
            if request.label in session.published:
                raise MediaError(f'{request.label} is published already')
            session.published[request.label] = stream
        else:
            if request.label not in self._session(request.publisher).published:
                raise MediaError(f'{request.label} is not published')
            session.subscribed[stream] = (request.publisher, request.label)
        return stream

    async def open_for_viewers(self, media_id: str) -> dict[str, int]:
        await self._enter('open_for_viewers')
        session = self._session(media_id)
        opened = {}
        for label in ('state_reliable_back', 'map_unreliable', 'state_reliable'):
            opened[label] = self._fresh()
            if label == 'state_reliable':
                session.subscribed[opened[label]] = ('viewers', label)
            else:
                assert label not in session.published
                session.published[label] = opened[label]
        return opened

    async def watch_channels(
        self, media_id: str, *, publisher: str, by: Identity, may_stop: bool
    ) -> dict[str, int]:
        await self._enter('watch_channels')
        self.watching[media_id] = (by, may_stop)
        self._session(publisher)
        session = self._session(media_id)
        opened = {spec.label: self._fresh() for spec in CHANNELS}
        session.subscribed |= {stream: (publisher, label) for label, stream in opened.items()}
        return opened

    def _fresh(self) -> int:
        stream, self._next_stream = self._next_stream, self._next_stream + 1
        return stream

    async def close_data_channels(self, media_id: str, stream_ids: Sequence[int]) -> None:
        await self._enter('close_data_channels')
        self.closed_channels += [(media_id, stream) for stream in stream_ids]
        session = self.sessions.get(media_id)
        if session is None:
            return
        for stream in stream_ids:
            session.subscribed.pop(stream, None)
        session.published = {
            label: stream
            for label, stream in session.published.items()
            if stream not in stream_ids
        }

    def subscriber_ready(self, media_id: str) -> None:
        self.ready.append(media_id)

    async def connected(self, media_id: str) -> None:
        await self._session(media_id).connected.wait()

    def last_heard_s(self, media_id: str) -> float | None:
        session = self.sessions.get(media_id)
        return None if session is None else session.heard_s

    async def close(self) -> None:
        self.sessions.clear()
        self.is_closed = True

    # --- for tests -----------------------------------------------------------------------------

    def _session(self, media_id: str) -> FakeSession:
        if media_id not in self.sessions:
            raise MediaSessionGone(media_id)
        return self.sessions[media_id]

    def hear_all(self) -> None:
        """Pretend that every peer has just sent something."""
        for session in self.sessions.values():
            session.heard_s = self._clock()

    def open_streams(self, media_id: str) -> set[int]:
        """Return the open channel ends of a session."""
        session = self.sessions[media_id]
        return {*session.published.values(), *session.subscribed}
