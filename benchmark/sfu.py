"""
Latency that the broker adds: ``python3 -m benchmark.sfu [--viewers 1 2 4 8] [--robots 1 4 8]``.

Robots send 720p at 30 Hz and 2.5 Mbit/s, encoded in advance; viewers receive without decoding. The
latency is measured from handing a frame to RTP at the robot to the arrival of its last packet at a
viewer; *added* is the excess over a direct connection from robot to viewer. For comparison, the
same run also decodes and re-encodes, with aiortc's MediaRelay and encoder.
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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, AsyncExitStack
from functools import partial
import math
from pathlib import Path
import sys
import tempfile
import time
from typing import Final

from fleet import Fleet
from process_tree import process_tree
from python_operator import operator, PythonOperator

import benchmark  # noqa: F401 - finds test/support
from benchmark.encoded_track import FPS
from benchmark.figures import Figures, percentile
from benchmark.running import bounded, machine, options, prepare_environment, report, run
from benchmark.sfu_robots import READY
from benchmark.viewer import (
    Arrivals,
    piped_program,
    read_line,
    START_S,
    Viewer,
    write_line,
)
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc

__all__ = ['figures_of']

WARM_UP_S: Final = 3.0
OVERHEAD_S: Final = 180.0


def figures_of(
    arrivals: Sequence[Arrivals],
    cpu_s: float,
    window: tuple[float, float],
    unix_ahead_s: float,
) -> Figures:
    """
    Return the figures of one case.

    :param arrivals: Arrivals at each viewer.
    :param cpu_s: CPU time of the process in the middle.
    :param window: Start and end, in seconds of ``time.monotonic``.
    :param unix_ahead_s: The clock of sending minus that of arrivals.
    """
    begin_s, end_s = window
    took_ms = [
        1e3 * (at_s + unix_ahead_s - sent_s)
        for frames in arrivals
        for at_s, sent_s in frames
        if begin_s <= at_s < end_s and not math.isnan(sent_s)
    ]
    due = FPS * (end_s - begin_s) * len(arrivals)
    cpu_percent = 100.0 * cpu_s / (end_s - begin_s)
    return {
        'latency_p50_ms': percentile(took_ms, 50),
        'latency_p95_ms': percentile(took_ms, 95),
        'frames_arrived_percent': 100.0 * len(took_ms) / due,
        'cpu_percent': cpu_percent,
        'cpu_percent_a_viewer': cpu_percent / len(arrivals),
    }


async def _observe(arrivals: Sequence[Arrivals], pid: int | None, seconds: float) -> Figures:
    """Measure for a while, from the moment when all viewers receive."""
    async with asyncio.timeout(START_S):
        while not all(arrivals):  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.05)
    await asyncio.sleep(WARM_UP_S)
    processes = [] if pid is None else process_tree(pid)

    def used_s() -> float:
        return float(sum(sum(process.cpu_times()[:2]) for process in processes))

    begin_s, begin_cpu_s = time.monotonic(), used_s()
    await asyncio.sleep(seconds)
    async with asyncio.timeout(START_S):
        while not any(frames[-1][0] >= begin_s for frames in arrivals):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return figures_of(
        arrivals,
        used_s() - begin_cpu_s,
        (begin_s, time.monotonic()),
        time.time() - time.monotonic(),
    )


async def direct(seconds: float) -> Figures:
    """Measure robot → viewer, directly."""
    async with piped_program('benchmark.encoded_track') as robot:
        viewer = Viewer()
        write_line(robot, await viewer.answer(await read_line(robot)))
        figures = await _observe([viewer.arrivals], None, seconds)
        await viewer.pc.close()
    return figures


async def transcoded(viewers: int, seconds: float) -> Figures:
    """Measure robot → decode and re-encode → viewers."""
    async with (
        piped_program('benchmark.encoded_track') as robot,
        piped_program('benchmark.transcoder', str(viewers)) as transcoder,
    ):
        write_line(transcoder, await read_line(robot))
        write_line(robot, await read_line(transcoder))
        watching = [Viewer() for _ in range(viewers)]
        for viewer in watching:
            write_line(transcoder, await viewer.answer(await read_line(transcoder)))
        arrivals = [viewer.arrivals for viewer in watching]
        figures = await _observe(arrivals, transcoder.pid, seconds)
        for viewer in watching:
            await viewer.pc.close()
    return figures


@asynccontextmanager
async def _robots(fleet: Fleet, count: int) -> AsyncIterator[None]:
    async with piped_program('benchmark.sfu_robots', fleet.url, str(count)) as robots:
        assert robots.stdin is not None
        assert robots.stdout is not None
        robots.stdin.write(f'{fleet.key}\n'.encode())
        line = await asyncio.wait_for(robots.stdout.readline(), START_S)
        if line.decode().strip() != READY:
            raise RuntimeError(f'the robots did not start: {line!r}')
        yield


async def _join(stack: AsyncExitStack, fleet: Fleet, number: int, robot: int) -> PythonOperator:
    token = fleet.tokens[number]
    person = await stack.enter_async_context(operator(fleet.url, token, decodes=False))
    # A passive viewer gets the same packets and needs no channel, which these robots lack.
    await person.connect(await person.wait_for_robot(f'robot-{robot}'), role='viewer')
    staying = asyncio.create_task(person.stay())
    stack.callback(staying.cancel)
    return person


async def forwarded(robots: int, viewers: int, seconds: float) -> Figures:
    """Measure robots → broker → viewers, with this many viewers per robot."""
    with tempfile.TemporaryDirectory(prefix='teleop-benchmark-') as folder:
        fleet = Fleet(Path(folder), operators=robots * viewers)
        try:
            await fleet.start_broker()
            async with _robots(fleet, robots), AsyncExitStack() as stack:
                people = [
                    await _join(stack, fleet, robot * viewers + number, robot)
                    for robot in range(robots)
                    for number in range(viewers)
                ]
                arrivals = [person.frames_at for person in people]
                return await _observe(arrivals, fleet.broker_pid, seconds)
        finally:
            await asyncio.to_thread(fleet.end)


async def _all(
    viewers: Sequence[int], robots: Sequence[int], reencoded: Sequence[int], seconds: float
) -> dict[str, Figures]:
    """Run every case once."""
    cases: list[tuple[str, Callable[[], Awaitable[Figures]]]] = [
        *((f'{count} viewers', partial(forwarded, 1, count, seconds)) for count in viewers),
        *((f'{count} robots', partial(forwarded, count, 1, seconds)) for count in robots),
        *((f're-encoded, {count}', partial(transcoded, count, seconds)) for count in reencoded),
    ]
    print('sfu: direct …', file=sys.stderr, flush=True)
    found = {'direct': await direct(seconds)}
    for name, case in cases:
        print(f'sfu: {name} …', file=sys.stderr, flush=True)
        figures = await case()
        added_ms = figures['latency_p50_ms'] - found['direct']['latency_p50_ms']
        found[name] = {'added_p50_ms': added_ms} | figures
    return found


def main() -> None:
    """Measure, print and write."""
    parser = options('sfu', __doc__ or '', seconds=10.0)
    parser.add_argument('--viewers', type=int, nargs='*', default=[1, 2, 4, 8])
    parser.add_argument('--robots', type=int, nargs='*', default=[1, 4, 8])
    parser.add_argument('--reencoded', type=int, nargs='*', default=[1, 2])
    arguments = parser.parse_args()
    counts = (arguments.viewers, arguments.robots, arguments.reencoded)
    prepare_environment()
    configure_aiortc(loopback=True)
    results: dict[str, list[Figures]] = {}
    for _ in range(arguments.repeats):
        number = 1 + sum(map(len, counts))
        with bounded(number * (arguments.seconds + OVERHEAD_S)):
            found = asyncio.run(_all(*counts, arguments.seconds))
        for name, figures in found.items():
            results.setdefault(name, []).append(figures)
    report(results, machine(), arguments.json)


if __name__ == '__main__':
    run('sfu', main)
