"""
Malicious HTTP clients in a separate process: ``python3 http_attackers.py KIND URL ...``.

They send prepared bytes and hardly parse the answers, so that the broker bears the load. By
default they use five addresses of this machine, reconnect when they are disconnected, and end by
themselves. The process prints a line when it begins and, at the end, the number of answers per
status as one line of JSON.
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

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
import itertools
import json
import os
import re
import resource
from urllib.parse import urlsplit

ADDRESSES = tuple(f'127.0.0.{number}' for number in range(1, 7))
PIPELINED = 16
REOPEN_S = 0.02
OPENED_AT_ONCE = 50
MOST_S = 600.0
NICE = 19
STATUS = re.compile(rb'HTTP/1\.1 (\d{3})')
ANONYMOUS_PATHS = ('/', '/main.js', '/api/v1/openapi.json', '/api/v1/health', '/nowhere')


def request(path: str, method: str = 'GET', headers: Sequence[str] = (), body: str = '') -> bytes:
    """Return the bytes of a request."""
    length = [f'Content-Length: {len(body)}'] if body else []
    lines = (f'{method} {path} HTTP/1.1', 'Host: 127.0.0.1', *headers, *length, '', body)
    return '\r\n'.join(lines).encode()


def payloads(kind: str, secret: str, path: str) -> list[tuple[bytes, int, bool]]:
    """Return what successive connections send: bytes, number of requests, whether to repeat."""
    bearer = f'Authorization: Bearer {secret}'
    sessions = '/api/v1/sessions'
    match kind:
        case 'anonymous':
            bad = request(sessions, headers=['Authorization: Bearer dto_live_' + '0' * 40])
            known = [request(path) for path in ANONYMOUS_PATHS]
            return [(it, 1, True) for it in (*known, bad)]
        case 'pipelined':
            return [(request('/api/v1/health') * PIPELINED, PIPELINED, True)]
        case 'viewer':
            return [(request(sessions, headers=[bearer]) * PIPELINED, PIPELINED, True)]
        case 'robot':
            key = f'X-Robot-API-Key: {secret}'
            beat = request(path, 'POST', [key, 'Content-Type: application/json'], '{}')
            return [(beat, 1, True)]
        case 'silent':
            half = request('/api/v1/health')[:-2]
            return [(b'', 0, False), (half, 0, False)]
        case 'swallowed':
            health, websocket = '/api/v1/health', ['Connection: Upgrade', 'Upgrade: websocket']
            sent = [
                request(health, headers=['Expect: foo']),
                b'PRI * HTTP/2.0\r\n\r\n',
                request(health, headers=websocket) + request(health),
                request(health, 'CONNECT') + request(health),
                request(sessions, 'POST', ['Transfer-Encoding: chunked']),
                request(sessions, 'POST', ['Expect: 100-continue', 'Content-Length: 99']),
            ]
            return [(it, 1, False) for it in sent]
        case 'holding':
            return [(request(sessions, headers=[bearer]), 1, False)]
    raise ValueError(kind)


class Client(asyncio.Protocol):
    """
    Sends its payload, and repeats it when all requests have been answered.

    :param payload: Bytes, number of requests in them, and whether to repeat them.
    """

    def __init__(self, payload: tuple[bytes, int, bool], statuses: Counter[str]) -> None:
        self._bytes, self._requests, self._again = payload
        self._statuses = statuses
        self._answers = 0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._bytes:
            transport.write(self._bytes)

    def data_received(self, data: bytes) -> None:
        for status in STATUS.findall(data):
            self._statuses[status.decode()] += 1
            self._answers += 1
        if self._again and self._answers >= self._requests:
            self._answers = 0
            self._transport.write(self._bytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self._statuses['dropped'] += 1
        if not self.lost.done():
            self.lost.set_result(None)


async def keep_connected(
    address: str, port: int, payload: tuple[bytes, int, bool], statuses: Counter[str]
) -> None:
    """Connect, and reconnect whenever the connection is lost."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            _, client = await loop.create_connection(
                lambda: Client(payload, statuses), '127.0.0.1', port, local_addr=(address, 0)
            )
        except OSError:
            statuses['not connected'] += 1
        else:
            await client.lost
        await asyncio.sleep(REOPEN_S)


async def attack(options: argparse.Namespace, secret: str) -> None:
    """Attack for some time, print the answers, and disappear without closing anything."""
    statuses: Counter[str] = Counter()
    port = urlsplit(options.url).port or 80
    sent = itertools.cycle(payloads(options.kind, secret, options.path))
    addresses = itertools.cycle(ADDRESSES[options.skip :][: options.addresses])
    tasks = []
    for number in range(options.connections):
        client = keep_connected(next(addresses), port, next(sent), statuses)
        tasks.append(asyncio.create_task(client))
        if number % OPENED_AT_ONCE == 0:
            await asyncio.sleep(REOPEN_S)
    print('ready', flush=True)
    await asyncio.wait(tasks, timeout=min(options.seconds, MOST_S))
    print(json.dumps(statuses), flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description='Attack a broker of your own.')
    parser.add_argument('kind')
    parser.add_argument('url')
    parser.add_argument('--connections', type=int, default=40)
    parser.add_argument('--addresses', type=int, default=5)
    parser.add_argument('--skip', type=int, default=0, help='skip this many addresses')
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--path', default='/api/v1/sessions/x/heartbeat')
    parser.add_argument('--nice', type=int, default=NICE)
    options = parser.parse_args()
    os.nice(options.nice)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # The secret is not on the command line, which everybody can see.
    asyncio.run(attack(options, os.environ.get('ATTACKER_SECRET', '')))


if __name__ == '__main__':
    main()
