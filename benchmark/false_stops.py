"""
Stops that nobody requested, on a bad network: ``python3 -m benchmark.false_stops``.

Two robots (the real node with its real WebRTC half) dial a real broker through a relay. Each way,
between robot and broker, it loses 20 % of all packets and delays the others by 20 to 80 ms, drawn
independently, so that they overtake each other. The operators' own link is loopback. One operator
echoes the robot's tokens as our page does; the other does not, like an old peer. Both hold full
speed at 50 Hz. Every zero on ``cmd_vel`` that follows a motion is a false stop. Exit status 1 if
there is one. Other networks: ``--loss``, ``--delays``.
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
from collections.abc import Iterable
from contextlib import AsyncExitStack
import itertools
import json
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, Final

import aiohttp
from detour import Detour, detour_to, Direction
from programs import Broker, programs, wait_for
from python_operator import operator
from ros_probe import ros_node

import benchmark  # noqa: F401 - finds test/support
from benchmark.motion import Driver, LinkLost, Motion, prepare_environment
from teleop_webrtc_bridge.core.messages import Velocity

LOSS: Final = 0.2
DELAYS_S: Final = (0.02, 0.08)
FULL_SPEED: Final = Velocity(linear_x=10.0)
"""More than any limit."""
BEFORE_S: Final = 0.6
"""Time before a stop that is examined: the longest time-out plus the delays."""
CONNECT_S: Final = 60.0
REDIAL_S: Final = 5.0
"""The limit of joins is 12 per minute."""
KINDS: Final = {'page': True, 'old': False}
"""Robot id → whether its operator echoes tokens."""


class Ride:
    """
    One robot behind its own detour, and its operator.

    :param name: The robot's id.
    :param echoes: Whether its operator echoes tokens.
    :param broker: The broker.
    :param node: Hears what the robot publishes.
    """

    def __init__(self, name: str, *, echoes: bool, broker: Broker, node: Any) -> None:
        self.name = name
        self.motion = Motion(node, name)
        self.links_lost: list[float] = []
        """Times at which the link was lost, in seconds since the start."""
        self.stops: list[dict[str, Any]] = []
        """Circumstances of each stop, to separate effects of the network and the machine."""
        self._echoes = echoes
        self._broker = broker
        self._driver: Driver | None = None
        self._commands = 0
        self._began_s = 0.0

    async def run(self, detour: Detour, seconds: float) -> dict[str, Any]:
        """Drive until the time is up; reconnect after the link is lost."""
        self._began_s = time.monotonic()
        seen, lost = Counter(detour.seen), Counter(detour.lost)
        watching = asyncio.create_task(self._watch(detour))
        while (left_s := self._began_s + seconds - time.monotonic()) > 0.0:
            try:
                await self._drive(left_s)
            except (LinkLost, AssertionError, TimeoutError, aiohttp.ClientError) as error:
                # This may also happen while connecting, on such a network.
                self.links_lost.append(time.monotonic() - self._began_s)
                said = f'link lost after {self.links_lost[-1]:.0f} s: {error!r}'
                print(f'{self.name}: {said}', flush=True)
                await asyncio.sleep(REDIAL_S)
        watching.cancel()
        minutes = (time.monotonic() - self._began_s) / 60.0
        packets = {it.value: detour.seen[it] - seen[it] for it in Direction}
        packets_lost = {it.value: detour.lost[it] - lost[it] for it in Direction}
        return self._figures(minutes) | {'packets': packets, 'packets_lost': packets_lost}

    async def _drive(self, seconds: float) -> None:
        """
        Connect, and hold full speed.

        :raises LinkLost: The operator's channel was closed.
        """
        broker = self._broker
        async with operator(broker.url, broker.token, with_video=False) as person:
            session_id = await person.wait_for_robot(self.name)
            await person.connect(session_id)
            await asyncio.to_thread(wait_for, lambda: self.motion.is_heard, timeout_s=CONNECT_S)
            driver = Driver(person, session_id, self.motion, echoes=self._echoes)
            beating = asyncio.create_task(driver.beat())
            try:
                await driver.begin(FULL_SPEED)
                self._driver = driver
                await driver.drive(FULL_SPEED, seconds)
            finally:
                self._commands += driver.commands
                beating.cancel()
                # An operator who leaves stops the robot as well.
                self._driver = None

    async def _watch(self, detour: Detour) -> None:
        motion = self.motion
        seen = len(motion.stops_s)
        while True:
            await asyncio.sleep(0.02)
            for stop_s in motion.stops_s[seen:]:
                seen += 1
                if self._driver is None:
                    continue
                came, passed = (
                    times[Direction.TO_ROBOT] for times in (detour.came_s, detour.passed_s)
                )
                stop = {
                    'at_s': stop_s - self._began_s,
                    'longest_pause_of_the_operator_s': _pause(self._driver.sent_s, stop_s),
                    'longest_pause_of_the_broker_s': _pause(came, stop_s),
                    'longest_pause_of_the_relay_s': _pause(passed, stop_s),
                    'load': os.getloadavg()[0],
                    'gate': motion.counters,
                }
                self.stops.append(stop)
                print(f'{self.name}: {json.dumps(stop)}', flush=True)

    def _figures(self, minutes: float) -> dict[str, Any]:
        gaps_ms = Counter(self.motion.gaps_ms)
        return {
            'operator': self.name,
            'minutes': minutes,
            'false_stops': len(self.stops),
            'links_lost': len(self.links_lost),
            'commands_sent': self._commands,
            'commands_published': self.motion.commands,
            'gap_p50_ms': _gap(gaps_ms, 0.5),
            'gap_p99_ms': _gap(gaps_ms, 0.99),
            'gap_p99_99_ms': _gap(gaps_ms, 0.9999),
            'gap_max_ms': _gap(gaps_ms, 1.0),
            'gate': self.motion.counters,
            'stops': self.stops,
            'load': os.getloadavg()[0],
        }


async def measure(
    folder: Path, minutes: float, *, loss: float, delays_s: tuple[float, float]
) -> list[dict[str, Any]]:
    """
    Drive both robots and return the figures of each.

    :param loss: Fraction of packets lost, each way.
    :param delays_s: Least and greatest delay of a packet, each way.
    """
    with programs(folder) as running, ros_node('false_stops') as node:
        broker = running.start_broker()
        rides = [Ride(name, echoes=it, broker=broker, node=node) for name, it in KINDS.items()]
        async with AsyncExitStack() as stack:
            detours = [await stack.enter_async_context(detour_to(broker.url)) for _ in rides]
            for ride, detour in zip(rides, detours, strict=True):
                detour.loss, detour.delays_s = loss, delays_s
                running.start_bridge(
                    detour.url, broker.key_file, ride.name, '-r', f'__ns:=/{ride.name}'
                )
            return await asyncio.gather(
                *(
                    ride.run(detour, 60.0 * minutes)
                    for ride, detour in zip(rides, detours, strict=True)
                )
            )


def _gap(gaps_ms: Counter[int], part: float) -> int:
    """Return a quantile of the intervals between motions on ``cmd_vel``."""
    left = part * gaps_ms.total()
    for gap_ms in sorted(gaps_ms):
        left -= gaps_ms[gap_ms]
        if left <= 0:
            return gap_ms
    return 0


def _pause(times_s: Iterable[float], stop_s: float) -> float:
    """Return the longest pause just before a stop."""
    times = [at_s for at_s in times_s if stop_s - BEFORE_S < at_s <= stop_s]
    edges = [stop_s - BEFORE_S, *times, stop_s]
    return max(later - earlier for earlier, later in itertools.pairwise(edges))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('--minutes', type=float, default=30.0, help='minutes of driving (30)')
    parser.add_argument('--json', type=Path, help='write the figures here')
    parser.add_argument(
        '--loss', type=float, default=LOSS, help='fraction of packets lost, each way (0.2)'
    )
    parser.add_argument(
        '--delays',
        type=float,
        nargs=2,
        default=DELAYS_S,
        metavar=('LEAST', 'MOST'),
        help='delay of a packet, each way, in seconds (0.02 0.08)',
    )
    options = parser.parse_args()
    prepare_environment()
    folder = Path(tempfile.mkdtemp(prefix='false_stops_'))
    print(f'logs: {folder}', flush=True)
    results = asyncio.run(
        measure(folder, options.minutes, loss=options.loss, delays_s=tuple(options.delays))
    )
    names = [name for name, value in results[0].items() if isinstance(value, int | float)]
    print(f'| | {" | ".join(it["operator"] for it in results)} |')
    print(f'|---|{"---|" * len(results)}')
    for name in names:
        print(f'| {name} | {" | ".join(f"{it[name]:.6g}" for it in results)} |')
    for direction in Direction:
        parts = [
            it['packets_lost'][direction.value] / it['packets'][direction.value] for it in results
        ]
        print(f'| lost {direction.value} | {" | ".join(f"{part:.2%}" for part in parts)} |')
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + '\n')
    sys.exit(any(it['false_stops'] or it['links_lost'] for it in results))


if __name__ == '__main__':
    main()
