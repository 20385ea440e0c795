"""A real broker in the test's own process, with spies that only count."""

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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
import json
from pathlib import Path
import time
from typing import Any

from aiohttp import web

from teleop_webrtc_bridge.broker.access.database import Database
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.configuration import read_configuration
from teleop_webrtc_bridge.broker.http.app import build_app, serving
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.media.backend import DataChannelRequest, MediaSession
from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.core.messages import VideoCodec


class CountingMedia(EmbeddedMedia):
    """The embedded SFU, which also records the calls to it."""

    def __init__(self) -> None:
        super().__init__(include_loopback=True)
        self.offers: dict[str, str] = {}
        """Media session → the offer from which its peer connection was made."""
        self.channels: dict[str, list[str]] = {}
        """Media session → labels of the channels that were opened on it."""

    async def new_session(
        self,
        sdp_offer: str,
        *,
        beside: str | None = None,
        video_codecs: Sequence[VideoCodec] = (),
    ) -> MediaSession:
        session = await super().new_session(sdp_offer, beside=beside, video_codecs=video_codecs)
        self.offers[session.media_id] = sdp_offer
        return session

    async def new_data_channels(
        self, media_id: str, requests: Sequence[DataChannelRequest]
    ) -> dict[str, int]:
        ids = await super().new_data_channels(media_id, requests)
        self.channels.setdefault(media_id, []).extend(ids)
        return ids


class CountedBroker:
    """A running broker and the requests to it."""

    def __init__(self, media: CountingMedia, key_file: Path, token: str) -> None:
        self.media = media
        self.key_file = key_file
        self.token = token
        self.url = ''
        self.created: list[dict[str, Any]] = []
        """Bodies of ``POST /sessions``."""
        self.sessions: list[str] = []
        """Sessions that the broker created, whether their robots got the answer or not."""
        self.deleted: list[str] = []
        """Sessions that their robots deleted."""
        self.tells = asyncio.Event()
        """While not set, the broker delays the answers to ``POST /sessions``."""
        self.tells.set()

    @web.middleware
    async def spy(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == 'POST' and request.path == '/api/v1/sessions':
            self.created.append(json.loads(await request.read()))
        response: web.StreamResponse = await handler(request)
        if request.method == 'DELETE':
            self.deleted.append(request.path.rpartition('/')[2])
        if request.method == 'POST' and request.path == '/api/v1/sessions':
            assert isinstance(response, web.Response)
            assert isinstance(response.body, bytes)
            self.sessions.append(json.loads(response.body)['session_id'])
            await self.tells.wait()
        return response


@asynccontextmanager
async def counted_broker(folder: Path) -> AsyncIterator[CountedBroker]:
    """Serve a broker with one robot key and one operator token."""
    configuration = read_configuration(['--state-dir', str(folder / 'state'), '--port', '0'])
    with closing(Store.open(configuration.state_dir)) as store:
        _, key = store.create_robot_key(
            name='key', robot_id=None, owner='owner', now_s=time.time()
        )
        token = store.create_operator_token(
            sub='owner', role=Role.OPERATOR, now_s=time.time(), expires_at_s=None
        )
        key_file = folder / 'key'
        key_file.write_text(key)
        broker = CountedBroker(CountingMedia(), key_file, token)
    with closing(Database(configuration.state_dir)) as database:
        app = build_app(configuration, database, broker.media)
        app.middlewares.insert(0, broker.spy)
        async with serving(app, broker.media, host='127.0.0.1', port=0) as served:
            broker.url = f'http://127.0.0.1:{served.port}'
            yield broker
