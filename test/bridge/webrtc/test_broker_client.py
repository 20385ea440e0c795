"""Tests of the broker client against a real HTTP server that misbehaves."""

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
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
import pytest
import pytest_asyncio

from teleop_webrtc_bridge.bridge.webrtc.broker_client import BrokerClient
from teleop_webrtc_bridge.core.codec import MAX_HTTP_BODY_BYTES
from teleop_webrtc_bridge.core.configuration import BridgeConfiguration, VideoConfiguration
from teleop_webrtc_bridge.core.exceptions import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    ProtocolError,
    SessionGone,
    SessionSuperseded,
)
from teleop_webrtc_bridge.core.messages import ChannelIds, IceServer, SessionAnswer

PATIENCE_S = 20.0
KEY = 'dtk_live_0123456789abcdef'
CAPTIVE_PORTAL = '<!DOCTYPE html><html><body>Please log in to the hotel Wi-Fi</body></html>'

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answers = Callable[[Handler], Awaitable[BrokerClient]]


def configuration(broker_url: str) -> BridgeConfiguration:
    return BridgeConfiguration(
        robot_id='go2-a',
        robot_name='Go2 A',
        robot_type='go2',
        broker_url=broker_url,
        instance_id='i1',
        api_key=KEY,
        clock_ahead_s=0.0,
        video=VideoConfiguration(codec='h264', bitrate_bps=1, fps=1.0, max_width_px=2),
    )


@pytest_asyncio.fixture
async def client_of() -> AsyncIterator[Answers]:
    """Start servers that give one answer to everything, each with a client."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> BrokerClient:
            app = web.Application()
            app.router.add_route('*', '/{path:.*}', handler)
            server = await stack.enter_async_context(TestServer(app))
            url = str(server.make_url('')).rstrip('/')
            return await stack.enter_async_context(BrokerClient(configuration(url)))

        yield start


def saying(body: Any = None, **options: Any) -> Handler:
    """Return a handler that always gives the same answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if isinstance(body, str | bytes | None):
            text = body.encode() if isinstance(body, str) else body
            return web.Response(body=text, **options)
        return web.json_response(body, **options)

    return answer


# --- what is sent ----------------------------------------------------------------------------


async def test_each_call_is_what_the_protocol_says(client_of: Answers) -> None:
    calls: list[tuple[str, str, Any]] = []

    async def record(request: web.Request) -> web.StreamResponse:
        assert request.headers['X-Robot-API-Key'] == KEY
        body = await request.json() if request.can_read_body else None
        calls.append((request.method, request.path, body))
        if request.method == 'DELETE':
            return web.Response(status=204)
        return web.json_response(
            {
                'ack': True,
                'session_id': 's1',
                'sdp_answer': 'v=0',
                'ice_servers': [{'urls': 'stun:a'}],
            }
        )

    client = await client_of(record)
    assert await client.ice_servers() == (IceServer(urls=('stun:a',)),)
    answer = await client.create_session('the offer')
    assert answer == SessionAnswer(session_id='s1', sdp_answer='v=0')
    beat = await client.heartbeat('s1', {'rtt_ms': 12.5}, wait_s=0.5)
    assert beat.channels == ChannelIds()
    await client.answer_renegotiation('s1', 'the answer')
    await client.delete_session('s1')
    assert calls == [
        ('GET', '/api/v1/sessions/turn-credentials', None),
        (
            'POST',
            '/api/v1/sessions',
            {
                'robot_id': 'go2-a',
                'robot_name': 'Go2 A',
                'robot_type': 'go2',
                'instance_id': 'i1',
                'video_codecs': ['h264', 'vp8'],
                'sdp_offer': 'the offer',
            },
        ),
        (
            'POST',
            '/api/v1/sessions/s1/heartbeat',
            {'rtt_ms': 12.5, 'wait_s': 0.5, 'instance_id': 'i1'},
        ),
        ('POST', '/api/v1/sessions/s1/renegotiate-robot', {'sdp_answer': 'the answer'}),
        ('DELETE', '/api/v1/sessions/s1', None),
    ]


@pytest.mark.parametrize('status', [200, 201])
async def test_a_session_may_be_answered_with_200_or_201(client_of: Answers, status: int) -> None:
    client = await client_of(saying({'session_id': 'a', 'sdp_answer': 'v=0'}, status=status))
    assert (await client.create_session('v=0')).session_id == 'a'


# --- statuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('status', 'kind'),
    [
        (400, BrokerError),
        (401, BrokerRefused),
        (403, BrokerRefused),
        (404, SessionGone),
        (409, SessionSuperseded),
        (413, BrokerError),
        (422, BrokerError),
        (429, BrokerError),
        (500, BrokerError),
        (502, BrokerError),
        (503, BrokerError),
        (206, BrokerError),
    ],
)
async def test_each_status_has_its_exception_with_the_brokers_own_words(
    client_of: Answers, status: int, kind: type[BrokerError]
) -> None:
    client = await client_of(saying({'detail': 'so it is\n\x1b[31m'}, status=status))
    with pytest.raises(BrokerError, match='127.0.0.1') as raised:
        await client.create_session('v=0')
    assert type(raised.value) is kind
    assert f'HTTP {status} so it is??[31m' in str(raised.value)
    assert KEY not in str(raised.value)
    assert raised.value.retry_after_s is None


async def test_a_broker_that_does_not_know_its_own_name_says_the_setting(
    client_of: Answers,
) -> None:
    detail = "Host 'broker.lan:8765': not known here; add its URL to the setting public_urls"
    client = await client_of(saying({'detail': detail}, status=421))
    with pytest.raises(BrokerError) as caught:
        await client.create_session('v=0')
    assert detail in str(caught.value)
    assert '\n' not in str(caught.value)


async def test_a_superseded_robot_is_named(client_of: Answers) -> None:
    client = await client_of(saying({'detail': 'no'}, status=409))
    with pytest.raises(SessionSuperseded, match="robot_id 'go2-a' is used by another"):
        await client.heartbeat('s', {}, wait_s=0.0)


@pytest.mark.parametrize(
    ('header', 'seconds'),
    [
        ('7', 7.0),
        ('0', 0.0),
        ('999999', 300.0),
        ('1' * 5000, 300.0),
        ('-1', None),
        ('soon', None),
        ('1e3', None),
        ('Wed, 21 Oct 2026 07:28:00 GMT', None),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_retry_after_is_read_and_bounded(
    client_of: Answers, header: str, seconds: float | None
) -> None:
    client = await client_of(saying({'detail': ''}, status=429, headers={'Retry-After': header}))
    with pytest.raises(BrokerError) as raised:
        await client.create_session('v=0')
    assert raised.value.retry_after_s == seconds


# --- redirects -------------------------------------------------------------------------------


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_the_key_goes_to_no_other_host(
    client_of: Answers, status: int
) -> None:
    reached: list[web.Request] = []

    async def steal(request: web.Request) -> web.StreamResponse:
        reached.append(request)
        return web.json_response({'session_id': 'a', 'sdp_answer': 'v=0'})

    app = web.Application()
    app.router.add_route('*', '/{path:.*}', steal)
    async with TestServer(app) as thief:
        there = str(thief.make_url('/api/v1/sessions'))
        client = await client_of(saying(b'', status=status, headers={'Location': there}))
        with pytest.raises(BrokerError, match='redirects are refused'):
            await client.create_session('v=0')
        with pytest.raises(BrokerError, match='redirects are refused'):
            await client.heartbeat('s', {}, wait_s=0.0)
    assert reached == []


# --- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'body',
    [
        CAPTIVE_PORTAL,
        'null',
        '[]',
        '{"a":' + '[' * 12_000,
        '{"session_id":"a"}',
        '{"session_id":"../x","sdp_answer":"v=0"}',
        b'\xff\xfe\x00',
        b'',
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_makes_no_sense_is_refused(
    client_of: Answers, body: str | bytes
) -> None:
    client = await client_of(saying(body))
    with pytest.raises(ProtocolError):
        await client.create_session('v=0')


@pytest.mark.parametrize('status', [200, 403, 511])
async def test_a_captive_portal_is_a_broker_failure_not_a_crash(
    client_of: Answers, status: int
) -> None:
    client = await client_of(saying(CAPTIVE_PORTAL, status=status, content_type='text/html'))
    with pytest.raises((BrokerError, ProtocolError)) as raised:
        await client.heartbeat('s', {}, wait_s=0.0)
    assert 'hotel' not in str(raised.value)


@pytest.mark.parametrize('status', [200, 500])
async def test_an_oversized_body_is_not_read_to_its_end(client_of: Answers, status: int) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while sent < 64 * MAX_HTTP_BODY_BYTES:
            await response.write(b' ' * 65536)
            sent += 65536
        return response

    client = await client_of(flood)
    with pytest.raises(BrokerUnreachable, match='more than'):
        await client.create_session('v=0')
    assert sent < 64 * MAX_HTTP_BODY_BYTES


async def test_a_detail_of_any_shape_is_shown_short(client_of: Answers) -> None:
    for detail in ('x' * 60_000, [{'loc': ['body']}], {'a': 1}, None, 7):
        client = await client_of(saying({'detail': detail}, status=422))
        with pytest.raises(BrokerError) as raised:
            await client.create_session('v=0')
        assert len(str(raised.value)) < 300


# --- silence ---------------------------------------------------------------------------------


async def test_a_heartbeat_that_is_not_answered_is_given_up(client_of: Answers) -> None:
    async def stall(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    client = await client_of(stall)
    with pytest.raises(BrokerUnreachable, match='no answer within 0.3 s'):
        await client.heartbeat('s', {}, wait_s=-2.7)


async def test_a_body_that_trickles_is_given_up(client_of: Answers) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b' ')
            await asyncio.sleep(0.02)

    client = await client_of(trickle)
    with pytest.raises(BrokerUnreachable, match='no answer within'):
        await client.heartbeat('s', {}, wait_s=-2.7)


async def test_a_goodbye_is_bounded_and_never_fails(client_of: Answers) -> None:
    async def stall(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    client = await client_of(stall)
    async with asyncio.timeout(PATIENCE_S):
        await client.delete_session('s')
    for body, status in ((CAPTIVE_PORTAL, 200), ('', 500), ('{}', 404)):
        client = await client_of(saying(body, status=status))
        await client.delete_session('s')


async def test_a_goodbye_tells_that_another_instance_had_taken_over(client_of: Answers) -> None:
    client = await client_of(saying('{"detail":"superseded"}', status=409))
    with pytest.raises(SessionSuperseded):
        await client.delete_session('s')


async def test_nobody_listening_is_said_with_the_reason() -> None:
    url = f'http://127.0.0.1:{unused_port()}'
    async with BrokerClient(configuration(url)) as client:
        with pytest.raises(BrokerUnreachable, match='127.0.0.1:.*Connect call failed|refused'):
            await client.create_session('v=0')


async def test_a_connection_that_breaks_off_is_said(client_of: Answers) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    client = await client_of(hang_up)
    with pytest.raises(BrokerUnreachable):
        await client.create_session('v=0')


# --- ICE servers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('body', 'status'),
    [('', 404), ('{}', 502), (CAPTIVE_PORTAL, 200), ('{"ice_servers":7}', 200), ('', 429)],
)
async def test_without_usable_ice_servers_there_is_none(
    client_of: Answers, body: str, status: int
) -> None:
    client = await client_of(saying(body, status=status))
    assert await client.ice_servers() is None


async def test_a_refused_key_is_said_by_the_first_call_already(client_of: Answers) -> None:
    client = await client_of(saying('{"detail":"bad key"}', status=401))
    with pytest.raises(BrokerRefused, match='API key refused'):
        await client.ice_servers()
