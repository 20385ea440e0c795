"""Detour between robots and a broker that forwards HTTP and UDP, and can be cut or impaired."""

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
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
import enum
import functools
import json
import random
import re
import threading
import time
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

_CANDIDATE = re.compile(r'^a=candidate:.*\r?\n', re.MULTILINE)
_Address = tuple[str, int]
RECENT = 500
"""Number of packets, each way, whose times are kept."""


class Direction(enum.Enum):
    """Direction of packets."""

    TO_BROKER = 'to broker'
    TO_ROBOT = 'to robot'


class _Side(asyncio.DatagramProtocol):
    """One socket of a path; packets that it receives are sent by the other one."""

    def __init__(self, detour: Detour, direction: Direction, target: _Address) -> None:
        self._detour = detour
        self._direction = direction
        self._target = target
        self.other: _Side | None = None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._detour.came_s[self._direction].append(time.monotonic())
        if not self._detour.lets_through(self._direction):
            return
        waits_s = self._detour.waits_s(self._direction, len(data))
        if waits_s is None:
            return
        delay_s = waits_s + self._detour.delay_s()
        if delay_s > 0.0:
            asyncio.get_running_loop().call_later(delay_s, self._pass_on, data)
        else:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self._detour.passed_s[self._direction].append(time.monotonic())
            self._detour.on_passed(self._direction, data)
            self.other.transport.sendto(data, self._target)

    @property
    def address(self) -> _Address:
        host, port = self.transport.get_extra_info('sockname')[:2]
        return host, port


@dataclass(kw_only=True)
class Narrow:
    """A rate-limited link."""

    rate_bps: float
    queue_s: float = 0.5
    """Packets that would wait longer than this are lost."""
    free_s: float = 0.0
    """When the link will have sent its queue, in seconds of ``time.monotonic``."""

    def waits_s(self, size: int) -> float | None:
        """Return the time until the next packet has passed; ``None``: it is lost."""
        now = time.monotonic()
        if self.free_s - now > self.queue_s:
            return None
        self.free_s = max(self.free_s, now) + 8 * size / self.rate_bps
        return self.free_s - now


class Detour:
    """
    Forwards all packets between the robots that dial here and the broker.

    :param broker_url: The real broker.
    """

    def __init__(self, broker_url: str) -> None:
        self.cut: set[Direction] = set()
        self.loss = 0.0
        """Fraction of the packets that is lost, each way."""
        self.delays_s = (0.0, 0.0)
        """Least and greatest delay, each way; drawn for each packet, so that packets overtake."""
        self.seen: Counter[Direction] = Counter()
        self.lost: Counter[Direction] = Counter()
        self.came_s = {direction: deque[float](maxlen=RECENT) for direction in Direction}
        """Arrival of the latest packets, in seconds of ``time.monotonic``."""
        self.passed_s = {direction: deque[float](maxlen=RECENT) for direction in Direction}
        """Departure of the latest packets, likewise."""
        self.on_passed: Callable[[Direction, bytes], None] = lambda direction, data: None
        """Called for each packet that departs."""
        self.narrow: dict[Direction, Narrow] = {}
        """Rate-limited links, which all peers share."""
        self.http_down = False
        self.url = ''
        self.created = 0
        self._random = random.Random(1)
        self._broker_url = broker_url
        self._sides: list[_Side] = []

    def lets_through(self, direction: Direction) -> bool:
        passes = direction not in self.cut and self._random.random() >= self.loss
        self.seen[direction] += 1
        self.lost[direction] += not passes
        return passes

    def waits_s(self, direction: Direction, size: int) -> float | None:
        """Return how long a packet waits in the queue; ``None``: it is lost."""
        narrow = self.narrow.get(direction)
        waits_s = 0.0 if narrow is None else narrow.waits_s(size)
        self.lost[direction] += waits_s is None
        return waits_s

    def delay_s(self) -> float:
        """Return the delay of the next packet."""
        return self._random.uniform(*self.delays_s)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Forward a call; descriptions get the detour's addresses."""
        try:
            if self.http_down:
                raise aiohttp.ClientConnectionError('HTTP is cut')
            return await self._forward(request)
        except aiohttp.ClientConnectionError:
            # As without a detour: a missing answer stays missing and does not become a 500.
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        creates = request.method == 'POST' and request.path == '/api/v1/sessions'
        joins = request.method == 'POST' and request.path.endswith('/join')
        names = ('X-Robot-API-Key', 'Authorization')
        headers = {name: request.headers[name] for name in names if name in request.headers}
        if body:
            headers['Content-Type'] = 'application/json'
        offer = ''
        if creates or joins:
            fields = json.loads(body)
            offer = fields['sdp_offer']
            to_robot, to_broker = await self._path()
            fields['sdp_offer'] = _with_candidate(offer, to_broker.address)
            body = json.dumps(fields).encode()
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                request.method, self._broker_url + request.path, data=body, headers=headers
            ) as answer,
        ):
            text = await answer.read()
            if answer.status == (201 if creates else 200) and offer:
                self.created += creates
                fields = json.loads(text)
                to_robot.other, to_broker.other = to_broker, to_robot
                to_robot._target = _candidate(fields['sdp_answer'])
                to_broker._target = _candidate(offer)
                fields['sdp_answer'] = _with_candidate(fields['sdp_answer'], to_robot.address)
                text = json.dumps(fields).encode()
            return web.Response(status=answer.status, body=text, content_type=answer.content_type)

    async def _path(self) -> tuple[_Side, _Side]:
        """Return the side to which the robot sends and the side to which the broker sends."""
        loop = asyncio.get_running_loop()
        sides = []
        for direction in (Direction.TO_BROKER, Direction.TO_ROBOT):
            _, side = await loop.create_datagram_endpoint(
                functools.partial(_Side, self, direction, ('', 0)), local_addr=('127.0.0.1', 0)
            )
            sides.append(side)
        self._sides += sides
        return sides[0], sides[1]

    def close(self) -> None:
        for side in self._sides:
            side.transport.close()


def _candidate(sdp: str) -> _Address:
    """Return the loopback address of a description."""
    for line in sdp.splitlines():
        if line.startswith('a=candidate:'):
            words = line.split()
            if words[4] == '127.0.0.1' and words[2].lower() == 'udp':
                return words[4], int(words[5])
    raise AssertionError(f'no loopback candidate: {sdp}')


def _with_candidate(sdp: str, address: _Address) -> str:
    """Replace all candidates of a description with one."""
    line = f'a=candidate:1 1 udp 2130706431 {address[0]} {address[1]} typ host\r\n'
    bare = _CANDIDATE.sub('', sdp)
    return bare.replace('a=end-of-candidates', f'{line}a=end-of-candidates')


@asynccontextmanager
async def detour_to(broker_url: str) -> AsyncIterator[Detour]:
    """Run a detour to a broker."""
    detour = Detour(broker_url)
    app = web.Application()
    app.router.add_route('*', '/{path:.*}', detour.forward)
    async with TestServer(app) as server:
        detour.url = str(server.make_url('')).rstrip('/')
        try:
            yield detour
        finally:
            detour.close()


@contextmanager
def detour_on_a_thread(broker_url: str) -> Iterator[Detour]:
    """Run a detour on a thread of its own, for callers without an event loop."""
    started: list[Detour] = []
    loop = asyncio.new_event_loop()
    ready, end = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with detour_to(broker_url) as detour:
            started.append(detour)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[run()])
    thread.start()
    assert ready.wait(30.0)
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
