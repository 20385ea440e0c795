"""
Robots that share one key on one broker: ``python3 -m benchmark.fleet``.

For each number of robots: how long they take to become drivable, the CPU and memory of robots and
broker while nobody drives, tagged commands to all of them at once, and how long they take to
reconnect after a kill -9 of the broker. Prints a table and, with ``--json FILE``, writes the
figures.
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
from collections.abc import Sequence
import json
import os
from pathlib import Path
import tempfile
import time
from typing import Any

from fleet import Fleet, fleet, reconnect_times
from process_tree import process_tree
import psutil

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import percentile

IDLE_S = 10.0
PERIOD_S = 0.05
COMMANDS = 10_000


async def idle_cost(running: Fleet) -> dict[str, float]:
    """Return CPU in per cent of one core and RSS in MB, of the broker and of one robot."""
    broker = process_tree(running.broker_pid)
    processes = [*broker, *(psutil.Process(robot.process.pid) for robot in running.robots)]
    before = [_cpu_s(process) for process in processes]
    began_s = time.monotonic()
    await asyncio.sleep(IDLE_S)
    took_s = time.monotonic() - began_s
    cpu = [
        100.0 * (_cpu_s(process) - was) / took_s
        for process, was in zip(processes, before, strict=True)
    ]
    rss = [process.memory_info().rss / 1e6 for process in processes]
    robots = len(running.robots)
    return {
        'broker_cpu_pct': sum(cpu[: len(broker)]),
        'broker_rss_mb': sum(rss[: len(broker)]),
        'robot_cpu_pct': sum(cpu[len(broker) :]) / robots,
        'robot_rss_mb': sum(rss[len(broker) :]) / robots,
    }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(count: int, folder: Path, commands: int) -> dict[str, Any]:
    """Measure one fleet."""
    began_s = time.monotonic()
    async with fleet(folder, count) as running:
        figures: dict[str, Any] = {'robots': count, 'load': os.getloadavg()[0]}
        there = [robot.statuses for robot in running.robots]
        figures['all_connected_s'] = time.monotonic() - began_s
        dials = sorted(_dial_s(statuses) for statuses in there)
        figures |= {'dial_p50_s': percentile(dials, 50), 'dial_max_s': dials[-1]}
        figures |= await idle_cost(running)
        each = max(1, commands // count)
        arrived = await running.drive_all(each, period_s=PERIOD_S)
        figures |= {
            'commands_sent': each * count,
            'commands_arrived': arrived,
            'commands_astray': len(running.strangers()),
        }
        since_kill, since_ready = await reconnect_times(running)
        for name, values in (('kill', since_kill), ('ready', since_ready)):
            figures[f'back_since_{name}_p50_s'] = percentile(values, 50)
            figures[f'back_since_{name}_p95_s'] = percentile(values, 95)
        figures['listed'] = await running.listed()
    return figures


def _dial_s(statuses: Sequence[tuple[float, Any]]) -> float:
    """Return the seconds from the first sign of life of a WebRTC half to its session."""
    return next(at_s for at_s, status in statuses if status.control_epoch > 0) - statuses[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--robots', type=int, nargs='+', default=[1, 5, 20])
    parser.add_argument('--commands', type=int, default=COMMANDS, help='per fleet, in total')
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    results = []
    for count in options.robots:
        with tempfile.TemporaryDirectory() as folder:
            # Each fleet has its own event loop, so that nothing is left of the previous one.
            commands = min(options.commands, 500 * count)
            results.append(asyncio.run(measure(count, Path(folder), commands)))
        print(f'{count} robots: done', flush=True)
    names = [name for name in results[0] if name != 'robots']
    print(f'| | {" | ".join(str(it["robots"]) for it in results)} |')
    print(f'|---|{"---|" * len(results)}')
    for name in names:
        print(f'| {name} | {" | ".join(f"{it[name]:.4g}" for it in results)} |')
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
