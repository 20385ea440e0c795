"""A broker on a real socket, with fake media and a clock that tests advance."""

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

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from fake_media import FakeMedia

from teleop_webrtc_bridge.broker.access.database import Database
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.configuration import Configuration
from teleop_webrtc_bridge.broker.http.admission import RequestClass, Share, SHARES
from teleop_webrtc_bridge.broker.http.app import build_app, serving
from teleop_webrtc_bridge.broker.http.page import PageFile
from teleop_webrtc_bridge.broker.http.routes import PARTS, RequestLimits
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = [
    'IDS',
    'NO_IDS',
    'OFFER',
    'Answer',
    'Clock',
    'Rig',
    'configuration',
    'no_limits',
    'running',
]

IDS = (
    'cmd_channel_subscriber_id',
    'state_channel_subscriber_id',
    'state_back_channel_publisher_id',
    'map_channel_publisher_id',
)
NO_IDS = dict.fromkeys(IDS)
OFFER = 'v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n'
API = '/api/v1'


class Clock:
    """A clock in seconds that only tests advance."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the broker."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: Any

    @property
    def detail(self) -> str:
        assert set(self.body) == {'detail'}
        return str(self.body['detail'])


def no_limits() -> RequestLimits:
    """Return rate limits that no test reaches."""
    names = (field.name for field in fields(RequestLimits))
    return RequestLimits(**{name: RateLimit(per_minute=6e6, burst=10**9) for name in names})


class Rig:
    """A running broker, with callers of two tenants."""

    def __init__(
        self, http: aiohttp.ClientSession, media: FakeMedia, store: Store, app: web.Application
    ) -> None:
        parts = app[PARTS]
        self.app = app
        self.http = http
        self.media = media
        self.store = store
        self.broker = parts.broker
        self.database = parts.database
        self.audit = parts.audit
        self.key_usage = parts.key_usage
        self.clock = Clock(0.0)
        self.wall = Clock(0.0)
        self.port = 0

    def robot(self, owner: str = 'alice', robot_id: str | None = None) -> dict[str, str]:
        """Return the headers of a new robot key."""
        _, key = self.store.create_robot_key(
            name='key', robot_id=robot_id, owner=owner, now_s=self.wall()
        )
        return {'X-Robot-API-Key': key}

    def operator(
        self, sub: str = 'alice', role: Role = Role.OPERATOR, tenant: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a new operator token."""
        token = self.store.create_operator_token(
            sub=sub, role=role, tenant_name=tenant, now_s=self.wall(), expires_at_s=None
        )
        return {'Authorization': f'Bearer {token}'}

    async def call(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
    ) -> Answer:
        async with self.http.request(
            method, API + path, headers=headers, json=json, data=data
        ) as response:
            text = await response.text()
            is_json = response.content_type == 'application/json'
            return Answer(
                status=response.status,
                headers=response.headers.copy(),
                text=text,
                body=await response.json() if is_json else None,
            )

    async def post(
        self, path: str, headers: dict[str, str] | None = None, json: Any = None
    ) -> Answer:
        return await self.call('POST', path, headers, json)

    async def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return await self.call('GET', path, headers)

    async def dial(self, headers: dict[str, str], **fields: Any) -> str:
        """Dial in as a robot and return the session id."""
        body = {'robot_name': 'Go2', 'sdp_offer': OFFER, **fields}
        answer = await self.post('/sessions', headers, body)
        assert answer.status == 201, answer.text
        return str(answer.body['session_id'])

    async def heartbeat(self, session: str, headers: dict[str, str], **fields: Any) -> Answer:
        return await self.post(f'/sessions/{session}/heartbeat', headers, fields)

    async def robot_ids(self, session: str, headers: dict[str, str]) -> dict[str, int | None]:
        """Return the channel ids that a robot receives."""
        body = (await self.heartbeat(session, headers)).body
        return {name: body[name] for name in IDS}

    async def join(self, session: str, headers: dict[str, str], **fields: Any) -> Answer:
        body = {'role': 'operator', 'sdp_offer': OFFER, **fields}
        return await self.post(f'/sessions/{session}/join', headers, body)

    async def bridge(self, session: str, headers: dict[str, str], **fields: Any) -> Answer:
        return await self.post(f'/sessions/{session}/bridge-datachannel', headers, fields or None)

    async def pass_time(self, seconds: float) -> None:
        """Advance the clock with every peer connection alive, then run the periodic work."""
        self.clock.now_s += seconds
        self.media.hear_all()
        await self.broker.sweep()
        await self.broker.let_revoked_go()


def configuration(directory: Path, **changes: Any) -> Configuration:
    """Return a configuration for tests."""
    settings: dict[str, Any] = {
        'host': '127.0.0.1',
        'port': 0,
        'state_dir': directory,
        'log_level': 'info',
        'ice_servers': (),
        'include_loopback': True,
        'media_processes': 0,
        'viewers_may_stop': True,
        'public_urls': (),
        'trusted_proxies': (),
        'caps': Limits(),
        'audit_days': 90,
        'oidc': None,
        'login_link': False,
        **changes,
    }
    return Configuration(**settings)


@asynccontextmanager
async def running(
    directory: Path,
    *,
    page: list[PageFile] | None = None,
    limits: RequestLimits | None = None,
    shares: Mapping[RequestClass, Share] = SHARES,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """Run a broker until the context is left."""
    clock, wall = Clock(1000.0), Clock(1.7e9)
    media, database = FakeMedia(clock), Database(directory, clock=clock)
    store = Store.open(directory)
    """A connection of the test's own, as another process would have."""
    app = build_app(
        configuration(directory, **settings),
        database,
        media,
        clock=clock,
        wall_clock=wall,
        page=page or [],
        limits=limits,
        shares=shares,
    )
    async with serving(app, media, host='127.0.0.1', port=0) as served:
        base = f'http://127.0.0.1:{served.port}'
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(base, timeout=timeout) as http:
            rig = Rig(http, media, store, app)
            rig.clock, rig.wall, rig.port = clock, wall, served.port
            yield rig
    store.close()
    database.close()
