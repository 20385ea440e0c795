"""
A day of commands, and half an hour of video: ``python3 -m benchmark.soak``.

Two parts. *Packets*: the real node gets 4.3 million commands (a day at 50 Hz) on the socket on
which its WebRTC half would send them, as fast as it accepts them. *Link*: broker, bridge and
simulated robot (720p, 30 Hz), and an operator who drives through the real peer connection, about
as fast as the limits of broker and robot allow, and receives the video. Prints each process's
resources at the start and at the end, and the slope of a line fitted to the memory of the second
half. ``--commands 0`` or ``--minutes 0`` skips a part.
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
from contextlib import contextmanager
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Final

from fleet import Resources
from process_tree import process_tree
from programs import Programs, programs, wait_for
from python_operator import operator
from ros_probe import ros_node

import benchmark  # noqa: F401 - finds test/support
from benchmark.motion import Driver, LinkLost, Motion, prepare_environment
from benchmark.processes import webrtc_half
from teleop_webrtc_bridge.core.messages import Velocity

ROBOT_ID: Final = 'soak'
NAMESPACE: Final = ('-r', f'__ns:=/{ROBOT_ID}')
NOBODY: Final = 'http://127.0.0.1:9'
DAY_COMMANDS: Final = 4_320_000
SAMPLE_S: Final = 5.0
STALL_S: Final = 60.0
"""Time without a further command after which something must be broken."""
START_S: Final = 60.0
WARM_S: Final = 10.0
"""Time after which everything that starts once has started."""
FORWARD: Final = Velocity(linear_x=0.5, angular_z=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Resources of a process at one moment."""

    at_s: float
    commands: int
    descriptors: int
    threads: int
    rss_kb: float
    tasks: float
    """Number of tasks of the event loop, where there is one."""


class Watch:
    """
    Collects samples of some processes.

    :param pids: Name → process id.
    """

    def __init__(self, pids: dict[str, int]) -> None:
        self.samples: dict[str, list[Sample]] = {name: [] for name in pids}
        self._pids = pids
        self._began_s = time.monotonic()

    def sample(self, commands: int, tasks: float) -> None:
        for name, pid in self._pids.items():
            used = Resources.of(pid)
            self.samples[name].append(
                Sample(
                    at_s=time.monotonic() - self._began_s,
                    commands=commands,
                    descriptors=used.descriptors,
                    threads=used.threads,
                    rss_kb=1e3 * used.rss_mb,
                    tasks=tasks if name == 'webrtc' else 0.0,
                )
            )

    def rows(self) -> dict[str, dict[str, Any]]:
        return {name: _row(samples) for name, samples in self.samples.items()}


def _row(samples: list[Sample]) -> dict[str, Any]:
    first, last = samples[0], samples[-1]
    half = samples[len(samples) // 2 :]
    rss = [sample.rss_kb for sample in half]
    row: dict[str, Any] = {
        'minutes': (last.at_s - first.at_s) / 60.0,
        'commands': last.commands - first.commands,
        'rss_begin_mb': first.rss_kb / 1e3,
        'rss_end_mb': last.rss_kb / 1e3,
        'rss_kb_per_minute': 60.0 * _slope([sample.at_s for sample in half], rss),
        'rss_kb_per_1000_commands': 1e3 * _slope([float(it.commands) for it in half], rss),
    }
    for name in ('descriptors', 'threads', 'tasks'):
        row[name] = [getattr(first, name), getattr(last, name)]
    return row


def _slope(xs: list[float], ys: list[float]) -> float:
    return statistics.linear_regression(xs, ys).slope if len(set(xs)) > 1 else float('nan')


# --- packets ---------------------------------------------------------------------------------


@contextmanager
def _fed_node(folder: Path, commands: int) -> Iterator[int]:
    """Start the node with its feeder and return its process id."""
    key_file = folder / 'key'
    key_file.write_text('the-key-of-nobody', encoding='utf-8')
    command = [*_without_realtime(), sys.executable, '-m', 'benchmark.soak_node', str(folder)]
    command += ['--ros-args', *NAMESPACE]
    command += ['-p', f'robot_id:={ROBOT_ID}', '-p', f'broker_url:={NOBODY}']
    command += ['-p', f'api_key_file:={key_file}']
    environment = os.environ | {'SOAK_COMMANDS': str(commands)}
    with (folder / 'node.log').open('wb') as log:
        node = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        yield node.pid
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(START_S)


def _without_realtime() -> list[str]:
    """Return the prefix that denies SCHED_FIFO to root's drive thread, which would fill a core."""
    if os.geteuid() != 0 or shutil.which('setpriv') is None:
        return []
    return ['setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice']


def feed(folder: Path, commands: int) -> dict[str, Any]:
    """Feed the node and return the result."""
    with ros_node('soak') as node, _fed_node(folder, commands) as pid:
        motion = Motion(node, ROBOT_ID)
        wait_for(lambda: _judged(motion) > 0, timeout_s=START_S, what='the first command')
        watch = Watch({'ros': pid})
        began_s = moved_s = time.monotonic()
        seen = 0
        while (judged := _judged(motion)) < commands:
            watch.sample(judged, 0.0)
            if judged > seen:
                seen, moved_s = judged, time.monotonic()
            elif time.monotonic() > moved_s + STALL_S:
                break
            time.sleep(SAMPLE_S)
        watch.sample(judged, 0.0)
        took_s = time.monotonic() - began_s
        return {
            'commands_fed': commands,
            'commands_judged': judged,
            'commands_per_s': judged / took_s,
            'published': motion.commands,
            'gate': motion.counters,
            'processes': watch.rows(),
            'samples': [asdict(sample) for sample in watch.samples['ros']],
        }


def _judged(motion: Motion) -> int:
    """Return how many commands the gate has judged, whatever the verdict."""
    names = [name for name in motion.counters if name == 'accepted' or name.startswith('dropped_')]
    return sum(int(motion.counters[name]) for name in names)


# --- link ------------------------------------------------------------------------------------


async def ride(folder: Path, minutes: float, rate_hz: float) -> dict[str, Any]:
    """Drive through the real peer connection and return the result."""
    with programs(folder) as running, ros_node('soak') as node:
        motion = Motion(node, ROBOT_ID)
        broker = running.start_broker()
        bridge = _start_robot(running, broker.url, broker.key_file)
        async with operator(broker.url, broker.token) as person:
            session_id = await person.wait_for_robot(ROBOT_ID)
            await person.connect(session_id)
            await asyncio.to_thread(wait_for, lambda: motion.is_heard, timeout_s=START_S)
            driver = Driver(person, session_id, motion, echoes=True, period_s=1.0 / rate_hz)
            beating = asyncio.create_task(driver.beat())
            await driver.begin(FORWARD)
            await driver.drive(FORWARD, WARM_S)
            front, media = process_tree(broker.program.pid)
            pids = {'ros': bridge, 'webrtc': webrtc_half(bridge).pid}
            watch = Watch(pids | {'broker': front.pid, 'media': media.pid})
            driving = asyncio.create_task(driver.drive(FORWARD, 60.0 * minutes))
            frames = person.frames
            while not driving.done():
                watch.sample(driver.commands, float(motion.session.get('tasks', 'nan')))
                await asyncio.wait([driving], timeout=SAMPLE_S)
            watch.sample(driver.commands, float(motion.session.get('tasks', 'nan')))
            beating.cancel()
            return {
                'link_lost': isinstance(driving.exception(), LinkLost),
                'commands_sent': driver.commands,
                'judged': _judged(motion),
                'frames': person.frames - frames,
                'stops': len(motion.stops_s),
                'gate': motion.counters,
                'session': motion.session,
                'processes': watch.rows(),
                'samples': {
                    name: [asdict(sample) for sample in samples]
                    for name, samples in watch.samples.items()
                },
            }


def _start_robot(running: Programs, url: str, key_file: Path) -> int:
    """Start the simulated robot and its bridge, and return the bridge's process id."""
    running.start_simulation(*NAMESPACE)
    bridge = running.start_bridge(
        url, key_file, ROBOT_ID, *NAMESPACE, '-r', 'image:=camera/image_raw'
    )
    bridge.wait_for_line('state="connected"', timeout_s=START_S)
    return bridge.pid


# --- program ---------------------------------------------------------------------------------


def _show(title: str, result: dict[str, Any]) -> None:
    plain = {name: value for name, value in result.items() if isinstance(value, int | float)}
    print(f'{title}: {json.dumps(plain)}')
    rows = result['processes']
    print(f'| | {" | ".join(rows)} |')
    print(f'|---|{"---|" * len(rows)}')
    for name in next(iter(rows.values())):
        cells = [
            ', '.join(f'{value:g}' for value in row[name])
            if isinstance(row[name], list)
            else f'{row[name]:.5g}'
            for row in rows.values()
        ]
        print(f'| {name} | {" | ".join(cells)} |')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        '--commands', type=int, default=DAY_COMMANDS, help='commands fed as packets (4320000)'
    )
    parser.add_argument(
        '--minutes', type=float, default=30.0, help='minutes on the real link (30)'
    )
    parser.add_argument(
        '--rate', type=float, default=150.0, help='commands per second on the real link (150)'
    )
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    prepare_environment()
    results: dict[str, Any] = {}
    if options.commands:
        with tempfile.TemporaryDirectory() as folder:
            results['packets'] = feed(Path(folder), options.commands)
        _show('packets', results['packets'])
    if options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            results['link'] = asyncio.run(ride(Path(folder), options.minutes, options.rate))
        _show('link', results['link'])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
