"""
Malicious clients for :mod:`benchmark.attack`, in a separate process at the lowest priority.

Prints a line when it begins and, at the end, the broker's answers as one line of JSON.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
import json
import os
import random
import re
import socket
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc

SLOW_CONNECTIONS: Final = 500
TRICKLE_S: Final = 1.0
REOPEN_S: Final = 0.2
CREATES: Final = 1000
CALLERS: Final = 10
DIALERS: Final = 4
REDIAL_S: Final = 0.5
CONNECT_S: Final = 20.0
MESSAGES: Final = 500
DATAGRAM_PERIOD_S: Final = 0.005
PORTS: Final = 32
"""Number of the latest answers whose ports receive garbage."""
NICE: Final = 19


@asynccontextmanager
async def peer() -> AsyncIterator[RTCPeerConnection]:
    """Create a robot's peer connection with a local description."""
    pc = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    pc.addTransceiver('video', direction='sendonly')
    pc.createDataChannel('_sctp_init', negotiated=True, id=0)
    await pc.setLocalDescription(await pc.createOffer())
    try:
        yield pc
    finally:
        await pc.close()


class Slow:
    """
    Connections that never finish a request; every second one has a valid key.

    :param url: The broker's address.
    :param key: A robot API key of a different tenant from the robot under test.
    """

    def __init__(self, url: str, key: str) -> None:
        self.statuses: Counter[str] = Counter()
        self._port = urlsplit(url).port or 80
        self._beginnings = (
            b'GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ',
            (
                'POST /api/v1/sessions/a/heartbeat HTTP/1.1\r\nHost: 127.0.0.1\r\n'
                f'X-Robot-API-Key: {key}\r\nContent-Length: 1000\r\n\r\n'
            ).encode(),
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(SLOW_CONNECTIONS):
                tasks.create_task(self._one(self._beginnings[number % 2]))

    async def _one(self, beginning: bytes) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection('127.0.0.1', self._port)
            except OSError:
                self.statuses['not connected'] += 1
            else:
                try:
                    with suppress(OSError):
                        self.statuses[await _trickle(reader, writer, beginning)] += 1
                finally:
                    writer.transport.abort()
            await asyncio.sleep(REOPEN_S)


async def _trickle(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, beginning: bytes
) -> str:
    """Send one byte per second until the broker closes; return its status, if it sent one."""
    answer = asyncio.ensure_future(reader.read(1024))
    try:
        writer.write(beginning)
        while not answer.done():
            await asyncio.wait([answer], timeout=TRICKLE_S)
            writer.write(b'a')
        status = re.match(rb'HTTP/1\.1 (\d+)', answer.result())
        return status[1].decode() if status else 'dropped'
    finally:
        answer.cancel()


class Flood:
    """
    Session creates, some of which connect, and garbage for the resulting ports and channels.

    :param url: The broker's address.
    :param key: A robot API key of a different tenant from the robot under test.
    """

    def __init__(self, url: str, key: str) -> None:
        self.statuses: Counter[str] = Counter()
        self._url = f'{url}/api/v1/sessions'
        self._key = key
        self._ports: list[int] = []

    async def run(self) -> None:
        configure_aiortc(loopback=True)
        async with (
            aiohttp.ClientSession(headers={'X-Robot-API-Key': self._key}) as http,
            peer() as stale,
            asyncio.TaskGroup() as tasks,
        ):
            for first in range(CALLERS):
                tasks.create_task(self._creates(http, first, stale.localDescription.sdp))
            for number in range(DIALERS):
                tasks.create_task(self._dials(http, number))
            tasks.create_task(self._garbage())

    async def _creates(self, http: aiohttp.ClientSession, first: int, sdp: str) -> None:
        """Send creates one after the other, whatever the answer."""
        for number in range(first, CREATES, CALLERS):
            await self._create(http, f'r{number}', sdp)

    async def _dials(self, http: aiohttp.ClientSession, number: int) -> None:
        """Dial, connect, send too much, and start over."""
        count = 0
        while True:
            async with peer() as pc:
                answer = None
                while answer is None:
                    count += 1
                    answer = await self._create(
                        http, f'd{number}-{count}', pc.localDescription.sdp
                    )
                    await asyncio.sleep(REDIAL_S)
                with suppress(TimeoutError, ConnectionError):
                    await self._connect(pc, answer)

    async def _connect(self, pc: RTCPeerConnection, sdp_answer: str) -> None:
        channel = pc.createDataChannel('garbage')
        await pc.setRemoteDescription(RTCSessionDescription(sdp=sdp_answer, type='answer'))
        async with asyncio.timeout(CONNECT_S):
            while channel.readyState != 'open':  # noqa: ASYNC110 - aiortc has no event for it
                await asyncio.sleep(REDIAL_S)
        self.statuses['connected'] += 1
        for _ in range(MESSAGES):
            channel.send(random.randbytes(random.randrange(1, 100)))
        await asyncio.sleep(REDIAL_S)

    async def _create(self, http: aiohttp.ClientSession, robot_id: str, sdp: str) -> str | None:
        """Return the answer to an offer, or ``None`` when it was refused."""
        body = {'robot_name': 'a', 'robot_id': robot_id, 'sdp_offer': sdp}
        try:
            async with http.post(self._url, json=body) as response:
                self.statuses[str(response.status)] += 1
                if response.status != 201:
                    return None
                answer = str((await response.json())['sdp_answer'])
        except aiohttp.ClientError:
            self.statuses['dropped'] += 1
            return None
        found = re.findall(r'a=candidate:\S+ \d udp \d+ 127\.0\.0\.1 (\d+)', answer)
        self._ports = [*self._ports, *map(int, found)][-PORTS:]
        return answer

    async def _garbage(self) -> None:
        """Send datagrams that are not STUN, and some that only begin like DTLS or RTP."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            while True:
                if self._ports:
                    first = random.choice((0x00, 0x16, 0x80, 0xFF))
                    datagram = bytes([first]) + random.randbytes(random.randrange(1200))
                    with suppress(OSError):
                        sender.sendto(datagram, ('127.0.0.1', random.choice(self._ports)))
                await asyncio.sleep(DATAGRAM_PERIOD_S)


ATTACKS: Final[dict[str, type[Slow] | type[Flood]]] = {'slow': Slow, 'flood': Flood}


async def attack(kind: str, url: str, key: str, seconds: float) -> None:
    """Attack for some time, print the number of answers per status, and leave without DELETE."""
    attacker = ATTACKS[kind](url, key)
    print('ready', flush=True)
    attacking = asyncio.create_task(attacker.run())
    await asyncio.wait([attacking], timeout=seconds)
    if attacking.done():
        await attacking  # it can only end by failing
    print(json.dumps(attacker.statuses), flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description='Attack a broker of your own.')
    parser.add_argument('kind', choices=ATTACKS)
    parser.add_argument('url')
    parser.add_argument('seconds', type=float)
    options = parser.parse_args()
    os.nice(NICE)
    asyncio.run(attack(options.kind, options.url, os.environ['ATTACKER_KEY'], options.seconds))


if __name__ == '__main__':
    main()
