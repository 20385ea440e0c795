"""
Time from the last command to the zero, 200 times: ``python3 -m benchmark.stop_times``.

Four robots at once, the real node with its real WebRTC half, are driven by Python operators who
repeatedly fall silent. Two robots keep SCHED_FIFO for their drive thread, the other two lose it.
Everything runs once on the machine as it is and once beside six busy loops. The time is measured
by the robot's stamps of the last motion and the first zero (the drive thread alone) and by their
arrival at a subscriber. ``command_timeout`` is 0.25 s.
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
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
import itertools
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any, Final

from programs import programs, wait_for
from python_operator import operator
from ros_probe import ros_node, RosProbe

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import percentile
from benchmark.motion import Driver, Motion, prepare_environment
from teleop_webrtc_bridge.core.messages import Velocity

ROBOTS: Final = {'fifo_a': True, 'fifo_b': True, 'plain_a': False, 'plain_b': False}
"""Robot id → whether the drive thread keeps SCHED_FIFO."""
HOGS: Final = 6
DRIVE_S: Final = 0.4
SILENCE_S: Final = 0.6
START_S: Final = 60.0
FORWARD: Final = Velocity(linear_x=0.5)


@contextmanager
def _hogs(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _take_realtime_away(pid: int) -> None:
    """Give all threads of a process the normal scheduling."""
    for task in Path(f'/proc/{pid}/task').iterdir():
        os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))


async def measure(folder: Path, trials: int) -> dict[str, Any]:
    """Return the times of every trial, in seconds."""
    results: dict[str, Any] = {}
    with programs(folder) as running, ros_node('stop_times') as node:
        broker = running.start_broker()
        probes = {name: RosProbe(node, f'{name}/') for name in ROBOTS}
        async with AsyncExitStack() as stack:
            drivers = {}
            bridges = {
                name: running.start_bridge(
                    broker.url, broker.key_file, name, '-r', f'__ns:=/{name}'
                )
                for name in ROBOTS
            }
            for name, bridge in bridges.items():
                bridge.wait_for_line('state="connected"', timeout_s=START_S)
                motion = Motion(node, name)
                person = operator(broker.url, broker.token, with_video=False)
                driver = await _connect(await stack.enter_async_context(person), name, motion)
                beating = asyncio.create_task(driver.beat())
                stack.callback(beating.cancel)
                if not ROBOTS[name]:
                    _take_realtime_away(bridge.pid)
                drivers[name] = driver
            rounds = -(-trials // (len(ROBOTS) // 2))
            for hogs in (0, HOGS):
                with _hogs(hogs):
                    load = os.getloadavg()[0]
                    for name, driver in drivers.items():
                        await driver.begin(FORWARD)
                        await asyncio.sleep(SILENCE_S)
                        del probes[name].commands[:]
                    await asyncio.gather(*(_rides(it, rounds) for it in drivers.values()))
                    await asyncio.sleep(SILENCE_S)
                results[f'{hogs} hogs'] = _figures(probes) | {'load': [load, os.getloadavg()[0]]}
    return results


async def _connect(person: Any, name: str, motion: Motion) -> Driver:
    session_id = await person.wait_for_robot(name)
    await person.connect(session_id)
    await asyncio.to_thread(wait_for, lambda: motion.is_heard, timeout_s=START_S)
    return Driver(person, session_id, motion, echoes=True)


async def _rides(driver: Driver, rounds: int) -> None:
    for _ in range(rounds):
        # The silence before this has made the robot ready: it counts as neutral.
        await driver.drive(FORWARD, DRIVE_S)
        await asyncio.sleep(SILENCE_S)


def _figures(probes: dict[str, RosProbe]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fifo, kind in ((True, 'SCHED_FIFO'), (False, 'normal')):
        pairs = [
            (before, after)
            for name, probe in probes.items()
            if ROBOTS[name] is fifo
            for before, after in itertools.pairwise(probe.commands)
            if after.is_zero and not before.is_zero
        ]
        found[kind] = {
            'trials': len(pairs),
            'stamps_s': sorted(after.stamp_s - before.stamp_s for before, after in pairs),
            'arrivals_s': sorted(after.arrival_s - before.arrival_s for before, after in pairs),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('--trials', type=int, default=200, help='trials of each kind (200)')
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    if not hasattr(os, 'SCHED_FIFO') or os.geteuid() != 0:
        sys.exit('needs root, for SCHED_FIFO')
    prepare_environment()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(Path(folder), options.trials))
    print('| | drive thread | trials | stamps: p50, p99, max | arrivals: p50, p99, max |')
    print('|---|---|---|---|---|')
    for name, result in results.items():
        for kind in ('SCHED_FIFO', 'normal'):
            row = result[kind]
            cells = [
                ', '.join(f'{1e3 * percentile(row[it], part):.1f} ms' for part in (50, 99, 100))
                for it in ('stamps_s', 'arrivals_s')
            ]
            print(f'| {name} | {kind} | {row["trials"]} | {cells[0]} | {cells[1]} |')
        print(f'load at start and end: {result["load"]}')
    print(f'took {time.monotonic() - began_s:.0f} s')
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
