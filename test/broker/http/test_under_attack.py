"""Heartbeats of a robot, while attackers try to keep the broker from answering them."""

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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
import time
from urllib.parse import urlsplit

import aiohttp
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from programs import Programs, programs
import pytest

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import Role

pytestmark = pytest.mark.real_programs

SLOW_CONNECTIONS = 500
CREATES = 1000
HEARTBEATS = 100
PATIENCE_S = 120.0
"""The answer times are measured by `benchmark.attack`."""


@asynccontextmanager
async def robot() -> AsyncIterator[RTCPeerConnection]:
    """Make an offer, as a robot does."""
    configure_aiortc(loopback=True)
    pc = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    pc.createDataChannel('_sctp_init', negotiated=True, id=0)
    await pc.setLocalDescription(await pc.createOffer())
    try:
        yield pc
    finally:
        await pc.close()


async def assert_heartbeats_are_answered(http: aiohttp.ClientSession, path: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(HEARTBEATS):
            async with http.post(path, json={}) as response:
                assert response.status == 200, await response.text()
            await asyncio.sleep(0.02)


class HalfRequest(asyncio.Protocol):
    """Sends the beginning of a request and then nothing."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b'GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n')

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def slow(port: int) -> None:
    """Open connections without finishing a request; replace each that is dropped."""

    async def one() -> None:
        loop = asyncio.get_running_loop()
        while True:
            # The broker may drop a connection before this slow client has noticed that it is open.
            with suppress(ConnectionError):
                transport, half = await loop.create_connection(HalfRequest, '127.0.0.1', port)
                try:
                    await half.lost.wait()
                finally:
                    transport.abort()
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(SLOW_CONNECTIONS):
            tasks.create_task(one())


async def flood(url: str, key: str, sdp: str) -> list[int]:
    """
    Create sessions as fast as ten callers can, and return the statuses of the answers.

    A request may lose its connection: until it has shown its key, it counts among the strangers of
    this address, and those have too many.
    """
    statuses: list[int] = []

    async def some(http: aiohttp.ClientSession, first: int) -> None:
        for number in range(first, CREATES, 10):
            body = {'robot_name': 'a', 'robot_id': f'r{number}', 'sdp_offer': sdp}
            with suppress(aiohttp.ClientConnectionError):
                async with http.post(f'{url}/api/v1/sessions', json=body) as response:
                    statuses.append(response.status)

    async with (
        aiohttp.ClientSession(headers={'X-Robot-API-Key': key}) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for first in range(10):
            tasks.create_task(some(http, first))
    return statuses


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Programs]:
    with programs(tmp_path) as running:
        yield running


async def test_a_robot_is_served_beside_slow_connections_and_a_flood(started: Programs) -> None:
    broker = await asyncio.to_thread(started.start_broker)
    with closing(Store.open(broker.key_file.parent)) as store:
        _, hostile = store.create_robot_key(
            name='k', robot_id=None, owner='mallory', now_s=time.time()
        )
        mallory = store.create_operator_token(
            sub='mallory', role=Role.OPERATOR, now_s=time.time(), expires_at_s=None
        )
    port = urlsplit(broker.url).port or 0
    headers = {'X-Robot-API-Key': broker.key_file.read_text().strip()}
    # Not the robot's own offer: all sessions of the flood would send it valid ICE checks, until it
    # lost its connection.
    async with robot() as nobody:
        hostile_sdp = nobody.localDescription.sdp
    async with robot() as pc, aiohttp.ClientSession(broker.url, headers=headers) as http:
        offer = pc.localDescription.sdp
        body = {'robot_name': 'Go2', 'robot_id': 'go2', 'sdp_offer': offer}
        async with http.post('/api/v1/sessions', json=body) as response:
            assert response.status == 201
            answer = await response.json()
        session = answer['session_id']
        # Connect first, or the broker gives up the session after 20 s.
        connected = asyncio.Event()

        @pc.on('connectionstatechange')
        def note() -> None:
            if pc.connectionState == 'connected':
                connected.set()

        await pc.setRemoteDescription(
            RTCSessionDescription(sdp=answer['sdp_answer'], type='answer')
        )
        async with asyncio.timeout(PATIENCE_S):
            await connected.wait()
        path = f'/api/v1/sessions/{session}/heartbeat'
        await assert_heartbeats_are_answered(http, path)
        attack = asyncio.create_task(slow(port))
        flooding = asyncio.create_task(flood(broker.url, hostile, hostile_sdp))
        await assert_heartbeats_are_answered(http, path)
        statuses = await flooding
        # Those that did not connect within 20 s have made room for others: count the live ones.
        async with http.get(
            '/api/v1/sessions', headers={'Authorization': f'Bearer {mallory}'}
        ) as response:
            assert response.status == 200, await response.text()
            live = len(await response.json())
        assert not attack.done()
        attack.cancel()
        await asyncio.wait([attack])
    assert set(statuses) == {201, 429}
    assert 0 < live <= 128
