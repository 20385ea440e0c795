"""What is read of a request before it is parsed, and what it takes of processor time."""

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

from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.broker.http.middleware import Metered
from teleop_webrtc_bridge.broker.http.request_head import (
    END_OF_HEAD,
    fault_of,
    HeadFault,
    read_head,
)


def head(line: str, *headers: str) -> bytes:
    return '\r\n'.join((line, *headers, '', '')).encode()


def test_secrets_are_told_apart_and_not_kept() -> None:
    first = read_head(head('GET / HTTP/1.1', 'X-Robot-API-Key: abc'))
    again = read_head(head('GET /x HTTP/1.1', 'x-robot-api-key:  abc '))
    other = read_head(head('GET / HTTP/1.1', 'X-Robot-API-Key: abd'))
    token = read_head(head('GET / HTTP/1.1', 'Authorization: Bearer abc'))
    assert first.robot_secret == again.robot_secret != other.robot_secret
    assert first.robot_secret is not None
    assert b'abc' not in first.robot_secret
    assert first.secrets == (first.robot_secret,)
    assert token.secrets == (token.operator_secret,)
    assert read_head(head('GET / HTTP/1.1')).secrets == ()


@pytest.mark.parametrize(
    ('line', 'is_urgent'),
    [
        ('POST /api/v1/sessions/x/heartbeat HTTP/1.1', True),
        ('POST /api/v1/sessions/x/op-heartbeat HTTP/1.1', True),
        ('POST /api/v1/sessions/x/join HTTP/1.1', True),
        ('POST /api/v1/sessions HTTP/1.1', True),
        ('DELETE /api/v1/sessions/x HTTP/1.1', True),
        ('GET /api/v1/sessions/turn-credentials HTTP/1.1', True),
        ('GET /api/v1/sessions HTTP/1.1', False),
        ('GET /api/v1/sessions/x/status HTTP/1.1', False),
        ('POST /api/v1/keys HTTP/1.1', False),
        ('POST /api/v1/sessionsx HTTP/1.1', False),
        ('GET / HTTP/1.1\r\nX: POST /api/v1/sessions', False),
    ],
)
def test_what_is_urgent(line: str, is_urgent: bool) -> None:
    assert read_head(head(line)).is_urgent == is_urgent


@pytest.mark.parametrize(
    ('headers', 'body_bytes'),
    [
        (['Content-Length: 17'], 17),
        (['content-length:0'], 0),
        (['Content-Length: -1'], 0),
        (['Content-Length: 1e3'], 0),
        (['Content-Length: ' + '9' * 50], 0),
        (['Content-Length:'], 0),
        (['X-Content-Length: 5'], 0),
        ([], 0),
    ],
)
def test_the_length_of_the_body(headers: list[str], body_bytes: int) -> None:
    assert read_head(head('POST / HTTP/1.1', *headers)).body_bytes == body_bytes


def test_forwarded_addresses_keep_their_order() -> None:
    found = read_head(head('GET / HTTP/1.1', 'X-Forwarded-For: a, b', 'x-forwarded-for: c'))
    assert found.forwarded == ('a, b', 'c')
    assert read_head(head('GET / HTTP/1.1', 'Transfer-Encoding: chunked')).is_last


@pytest.mark.parametrize(
    'data',
    [
        head('CONNECT a:1 HTTP/1.1'),
        head('GET / HTTP/1.1', 'upgrade: websocket'),
        head('POST / HTTP/1.1', 'Transfer-Encoding: chunked'),
    ],
)
def test_after_some_requests_nothing_can_be_told_apart(data: bytes) -> None:
    assert read_head(data).is_last
    assert not read_head(head('GET / HTTP/1.1', 'Upgrade-Insecure-Requests: 1')).is_last


@pytest.mark.parametrize(
    ('data', 'fault'),
    [
        (head('GET / HTTP/1.1', 'Host: a'), None),
        (head('GET /a?b=%20 HTTP/1.0'), None),
        (head('POST / HTTP/1.1', 'Content-Length: 5', 'Expect: 100-Continue'), None),
        (head('PRI * HTTP/2.0'), HeadFault.VERSION),
        (head('GET / HTTP/0.9'), HeadFault.VERSION),
        (head('GET /'), HeadFault.NO_REQUEST),
        (head('GET  / HTTP/1.1'), HeadFault.NO_REQUEST),
        (head('GET / b HTTP/1.1'), HeadFault.NO_REQUEST),
        (head('get / HTTP/1.1'), HeadFault.NO_REQUEST),
        (head('GET / HTTP/1.1 '), HeadFault.NO_REQUEST),
        (head('GET / HTTP/1.10'), HeadFault.NO_REQUEST),
        (head('GET /\u00e9 HTTP/1.1'), HeadFault.NO_REQUEST),
        (head('GET / HTTP/1.1', 'A: b\nExpect: foo'), HeadFault.NO_REQUEST),
        (head('GET / HTTP/1.1', 'A: b\rExpect: foo'), HeadFault.NO_REQUEST),
        (head('GET / HTTP/1.1', 'Expect:', ' foo'), HeadFault.NO_REQUEST),
        (head('POST / HTTP/1.1', 'Content-Length: ' + '0' * 20 + '5'), HeadFault.NO_REQUEST),
        (head('POST / HTTP/1.1', 'Content-Length: +5'), HeadFault.NO_REQUEST),
        (head('GET / HTTP/1.1', 'Expect: foo'), HeadFault.EXPECTATION),
        (head('GET / HTTP/1.1', 'expect:100-continue, foo'), HeadFault.EXPECTATION),
        (head('GET / HTTP/1.1', 'Expect: 100-continue', 'Expect: x'), HeadFault.EXPECTATION),
    ],
)
def test_what_no_route_would_get_is_told(data: bytes, fault: HeadFault | None) -> None:
    assert fault_of(data) is fault


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(junk: bytes) -> None:
    for data in (junk, junk + END_OF_HEAD):
        read_head(data)
        fault_of(data)


# --- processor time ----------------------------------------------------------------------------


async def work() -> str:
    await asyncio.sleep(0)
    sum(range(300_000))
    await asyncio.sleep(0.01)
    return 'done'


async def test_only_the_steps_of_what_is_awaited_count() -> None:
    metered = Metered(work())

    async def other() -> None:
        for _ in range(20):
            sum(range(300_000))
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert await metered == 'done'
    await task
    assert metered.cpu_s > 0.0


async def test_failures_and_cancellation_go_both_ways() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError('so it is')

    metered = Metered(fail())
    with pytest.raises(ValueError, match='so it is'):
        await metered
    seen = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append('cancelled')
            raise

    async def outer() -> None:
        await Metered(wait())

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ['cancelled']


async def test_a_timeout_inside_works() -> None:
    async def slow() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return 'late'
        return 'early'

    assert await Metered(slow()) == 'late'
