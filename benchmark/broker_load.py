"""
Many robots driven through one broker: ``python3 -m benchmark.broker_load [--robots 1 8 20]``.

Each robot is a real WebRTC half that its own operator drives at 50 Hz through one broker process,
without video. Latency is the time from a command's stamp to its arrival. CPU and memory (PSS:
shared pages in equal parts) are those of the broker and its media processes. *idle* is one robot
that nobody drives.
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

import asyncio
from collections.abc import Sequence
from pathlib import Path
import sys
import tempfile
import time
from typing import Final

from fleet import Fleet, fleet
from process_tree import process_tree

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import Figures, percentile
from benchmark.running import bounded, machine, options, prepare_environment, report, run

OVERHEAD_S: Final = 60.0
PERIOD_S: Final = 0.02
MIB: Final = 2**20


def _cpu_s(broker_pid: int) -> float:
    return float(sum(sum(it.cpu_times()[:2]) for it in process_tree(broker_pid)))


def _pss_mib(broker_pid: int) -> float:
    return float(sum(it.memory_full_info().pss for it in process_tree(broker_pid)) / MIB)


async def _idle(seconds: float) -> Figures:
    """Measure a broker with one robot that nobody drives."""
    with tempfile.TemporaryDirectory(prefix='teleop-benchmark-') as folder:
        async with fleet(Path(folder), 1) as running:
            await asyncio.sleep(2.0)  # exclude the CPU time of the start
            begin_s, begin_cpu_s = time.monotonic(), _cpu_s(running.broker_pid)
            await asyncio.sleep(seconds)
            took_s = time.monotonic() - begin_s
            return {
                'cpu_percent': 100.0 * (_cpu_s(running.broker_pid) - begin_cpu_s) / took_s,
                'memory_mib': _pss_mib(running.broker_pid),
                'processes': float(len(process_tree(running.broker_pid))),
            }


def _latencies_ms(running: Fleet) -> list[float]:
    unix_ahead_s = time.time() - time.monotonic()
    return [
        1e3 * (arrival_s + unix_ahead_s - command.stamp_s)
        for robot in running.robots
        for arrival_s, command in robot.arrivals
    ]


async def _driven(robots: int, seconds: float) -> Figures:
    """Measure a broker with this many driven robots."""
    with tempfile.TemporaryDirectory(prefix='teleop-benchmark-') as folder:
        async with fleet(Path(folder), robots) as running:
            begin_s, begin_cpu_s = time.monotonic(), _cpu_s(running.broker_pid)
            commands = round(seconds / PERIOD_S)
            arrived = await running.drive_all(commands, period_s=PERIOD_S)
            took_s = time.monotonic() - begin_s
            taken = _latencies_ms(running)
            return {
                'command_p50_ms': percentile(taken, 50),
                'command_p99_ms': percentile(taken, 99),
                'arrived_percent': 100.0 * arrived / (commands * robots),
                'cpu_percent': 100.0 * (_cpu_s(running.broker_pid) - begin_cpu_s) / took_s,
                'memory_mib': _pss_mib(running.broker_pid),
                'processes': float(len(process_tree(running.broker_pid))),
            }


async def _all(robots: Sequence[int], seconds: float) -> dict[str, Figures]:
    print('broker_load: idle …', file=sys.stderr, flush=True)
    found = {'idle': await _idle(seconds)}
    for count in robots:
        print(f'broker_load: {count} robots …', file=sys.stderr, flush=True)
        found[f'{count} robots'] = await _driven(count, seconds)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = options('broker_load', __doc__ or '', seconds=10.0)
    parser.add_argument('--robots', type=int, nargs='*', default=[1, 8, 20])
    arguments = parser.parse_args()
    prepare_environment()
    results: dict[str, list[Figures]] = {}
    for _ in range(arguments.repeats):
        cases = 1 + len(arguments.robots)
        with bounded(cases * (arguments.seconds + OVERHEAD_S)):
            found = asyncio.run(_all(arguments.robots, arguments.seconds))
        for name, figures in found.items():
            results.setdefault(name, []).append(figures)
    report(results, machine(), arguments.json)


if __name__ == '__main__':
    run('broker_load', main)
