"""
A robot being driven while peers send hostile packets: ``python3 -m benchmark.hostile_media``.

The robot is a real WebRTC half that a real operator drives at 50 Hz through a broker process. A
hostile viewer of that robot, or a hostile robot of the same tenant, runs in its own process at the
lowest priority: it connects normally, attacks for some seconds at the rate given by ``--rate``,
and dials again whenever it is disconnected. Prints a row for each attack: commands that arrived,
their delay, and *false stops*: gaps in which the robot's watchdog stops it.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
import itertools
import json
import os
from pathlib import Path
import random
import sys
import tempfile
import time
from typing import Any, Final

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from hostile_packets import ATTACKS
from programs import Broker, programs
from python_operator import operator, PythonOperator

from benchmark.attack_subject import Healthy, healthy, phase
from benchmark.attackers import peer
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.core.messages import CMD_UNRELIABLE

PHASE_S: Final = 20.0
RATE_HZ: Final = 500.0
WATCHDOG_S: Final = 0.25
"""The default ``command_timeout``."""
NICE: Final = 19
REDIAL_S: Final = 1.0
ROLES: Final = ('viewer', 'robot')
MESSAGES: Final = 'messages'
"""Messages on the data channels, 500 per second."""


class Attacker:
    """
    One hostile peer, which dials again whenever it is disconnected.

    :param url: The broker's address.
    """

    def __init__(self, url: str, secret: str, *, kind: str, rate_hz: float) -> None:
        self.counts = {'sent': 0, 'connected': 0, 'refused': 0}
        self._url = url
        self._secret = secret
        self._attack = ATTACKS.get(kind)
        self._rate_hz = rate_hz
        self._source = random.Random(kind)

    async def as_viewer(self) -> None:
        """Watch the driven robot."""
        async with operator(self._url, self._secret, decodes=False) as person:
            session_id = await person.wait_for_robot('healthy')
            await person.connect(session_id, role='viewer')
            self.counts['connected'] += 1
            # A hostile peer may use private attributes.
            pc: RTCPeerConnection = vars(person)['_pc']
            await self._storm(pc, person)

    async def as_robot(self) -> None:
        """Publish video that nobody watches."""
        headers = {'X-Robot-API-Key': self._secret}
        async with peer() as pc, aiohttp.ClientSession(self._url, headers=headers) as http:
            body = {'robot_name': 'a', 'robot_id': 'bad', 'sdp_offer': pc.localDescription.sdp}
            async with http.post('/api/v1/sessions', json=body) as response:
                if response.status >= 400:
                    self.counts['refused'] += 1
                    return
                answer = await response.json()
            await pc.setRemoteDescription(
                RTCSessionDescription(sdp=answer['sdp_answer'], type='answer')
            )
            async with asyncio.timeout(PHASE_S):
                assert pc.sctp is not None
                while pc.sctp.state != 'connected':  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            self.counts['connected'] += 1
            await self._storm(pc, None)

    async def _storm(self, pc: RTCPeerConnection, person: PythonOperator | None) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while pc.connectionState == 'connected':
            if self._attack is not None:
                await self._attack(pc, self._source)
            elif person is not None and person.can_drive:
                person.send(CMD_UNRELIABLE, b'x' * 72)
            self.counts['sent'] += 1
            due = max(due + 1.0 / self._rate_hz, loop.time() - 0.1)
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def run(self, role: str) -> None:
        """Attack until cancelled."""
        while True:
            with suppress(Exception):
                await (self.as_viewer() if role == 'viewer' else self.as_robot())
            await asyncio.sleep(REDIAL_S)


async def attack(role: str, kind: str, url: str, seconds: float, rate_hz: float) -> None:
    """Run as the attacker's process."""
    os.nice(NICE)
    configure_aiortc(loopback=True)
    attacker = Attacker(url, os.environ['ATTACKER_SECRET'], kind=kind, rate_hz=rate_hz)
    print('begins', flush=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await attacker.run(role)
    print(json.dumps(attacker.counts), flush=True)


@asynccontextmanager
async def attacked(
    broker: Broker, role: str, kind: str, seconds: float, rate_hz: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an attacker in its own process."""
    secret = broker.key_file.read_text().strip() if role == 'robot' else broker.token
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, '-m', 'benchmark.hostile_media', '--attacker', role),
        *('--attack', kind, '--url', broker.url, '--seconds', str(seconds)),
        *('--rate', str(rate_hz)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {'ATTACKER_SECRET': secret},
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def row(subject: Healthy, seconds: float) -> dict[str, Any]:
    """Measure for some seconds and return the figures."""
    robot = subject.driven.robot
    first = len(robot.arrivals)
    began_s = time.monotonic()
    figures = await phase(subject, seconds)
    times = [
        began_s,
        *(at_s for at_s, _ in robot.arrivals[first:]),
        time.monotonic(),
    ]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return {
        'false_stops': sum(gap > WATCHDOG_S for gap in gaps),
        'longest_gap_ms': 1e3 * max(gaps),
        **{name: figures[name] for name in ('command_p50_ms', 'command_p99_ms')},
        **{name: figures[name] for name in ('commands_sent', 'commands_arrived')},
        **{name: figures[name] for name in ('cpu_media_percent', 'reconnects')},
        'rss_media_mib': figures['rss_media_mib'],
    }


async def measure(
    folder: Path, kinds: list[tuple[str, str]], seconds: float, rate_hz: float
) -> dict[str, dict[str, Any]]:
    """Return a row for each attack, and one before and after."""
    rows: dict[str, dict[str, Any]] = {}
    with programs(folder) as started:
        broker = await asyncio.to_thread(started.start_broker)
        async with healthy(broker, folder) as subject:
            rows['quiet'] = await row(subject, seconds)
            for role, kind in kinds:
                async with attacked(broker, role, kind, seconds, rate_hz) as process:
                    figures = await row(subject, seconds)
                    assert process.stdout is not None
                    said = await process.stdout.readline()
                rows[f'{role}: {kind}'] = figures | json.loads(said or b'{}')
                print(line(f'{role}: {kind}', rows[f'{role}: {kind}']), flush=True)
            rows['quiet after'] = await row(subject, seconds)
    return rows


def line(name: str, figures: dict[str, Any]) -> str:
    """Return one row as readable text."""
    shown = ' '.join(f'{key}={value:.4g}' for key, value in figures.items())
    return f'{name:28s} {shown}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--seconds', type=float, default=PHASE_S, help='per attack')
    parser.add_argument('--rate', type=float, default=RATE_HZ, help='packets a second')
    parser.add_argument('--role', choices=ROLES, action='append')
    parser.add_argument('--attack', choices=[*ATTACKS, MESSAGES], action='append')
    parser.add_argument('--json', type=Path, help='write the figures here')
    parser.add_argument('--attacker', choices=ROLES, help=argparse.SUPPRESS)
    parser.add_argument('--url', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attacker:
        asyncio.run(
            attack(options.attacker, options.attack[0], options.url, options.seconds, options.rate)
        )
        return
    kinds = [
        (role, kind)
        for role in options.role or ROLES
        for kind in options.attack or [*ATTACKS, MESSAGES]
        if (role, kind) != ('robot', MESSAGES)
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder), kinds, options.seconds, options.rate))
    print()
    for name, figures in rows.items():
        print(line(name, figures))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + '\n')


if __name__ == '__main__':
    main()
