"""
From DDS to RTP on the wire: ``python3 -m benchmark.pipeline [--cases …] [--json FILE]``.

A camera publishes at 30 Hz; the bridge (both processes of the robot) and a broker run as programs;
an operator receives, without decoding. Published images and received frames are matched by their
stamps. ``nobody`` is the same without the operator. ``h264-720p`` is a camera's own H.264, passed
through; ``h264-nobody`` is the same without the operator; in ``h264-listening`` the parameter sets
came before the bridge subscribed, so that it keeps listening for them. ``plain-720p`` is the
reference: ``raw-720p`` through a program written like rclpy's and aiortc's examples, straight to
the receiver.
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
import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass
from functools import partial
import json
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Final

from process_tree import process_tree
from programs import Broker, Program, Programs, wait_for
import psutil
from python_operator import operator, PythonOperator

import benchmark  # noqa: F401 - finds test/support
from benchmark.camera import READY
from benchmark.figures import Figures, MeasurementError, percentile
from benchmark.processes import Usage, webrtc_half
from benchmark.running import bounded, machine, options, prepare_environment, report, run
from benchmark.viewer import piped_program, read_line, START_S, Viewer, write_line
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc

__all__ = ['CASES', 'Case', 'account']

ROBOT_ID: Final = 'pipeline'
BEGUN_FRAMES: Final = 30
WARM_UP_S: Final = 4.0
LATEST_S: Final = 1.0
"""Upper limit of the time that a frame is in flight."""
SAME_S: Final = 0.008
"""Tolerance between equal stamps of different clocks; far below half of 33 ms."""
OVERHEAD_S: Final = 180.0
"""A busy machine takes long to start and to end programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The published images, and whether anybody watches."""

    transport: str = 'raw'
    size: tuple[int, int] = (1280, 720)
    bitrate_bps: int = 2_500_000
    watched: bool = True
    bare: bool = False
    """Whether the H.264 lacks its parameter sets."""
    plain: bool = False
    """Whether a program like the examples replaces the bridge."""


CASES: Final = {
    'raw-720p': Case(),
    'raw-1080p': Case(size=(1920, 1080), bitrate_bps=4_000_000),
    'jpeg-720p': Case(transport='compressed'),
    'h264-720p': Case(transport='h264'),
    'nobody': Case(watched=False),
    'h264-nobody': Case(transport='h264', watched=False),
    'h264-listening': Case(transport='h264', watched=False, bare=True),
    'plain-720p': Case(plain=True),
}


def account(
    published_s: Sequence[float], arrived: Sequence[tuple[float, float]], unix_ahead_s: float
) -> Figures:
    """
    Return the losses and latencies of the images.

    :param published_s: Stamps of the images, in seconds since 1970.
    :param arrived: Arrival, in seconds of ``time.monotonic``, and stamp of each frame.
    :param unix_ahead_s: The clock of the stamps minus that of the arrivals.
    """
    frames = sorted((taken_s, at_s) for at_s, taken_s in arrived)
    stamps = [taken_s for taken_s, _ in frames]
    took_ms, lost = [], 0
    for stamp_s in published_s:
        place = bisect.bisect_left(stamps, stamp_s - SAME_S)
        if place < len(stamps) and stamps[place] <= stamp_s + SAME_S:
            took_ms.append(1e3 * (frames[place][1] + unix_ahead_s - stamp_s))
        else:
            lost += 1
    return {
        'frames_published': len(published_s),
        'frames_lost': lost,
        'stamp_to_received_p50_ms': percentile(took_ms, 50),
        'stamp_to_received_p95_ms': percentile(took_ms, 95),
        'stamp_to_received_max_ms': max(took_ms, default=0.0),
    }


@contextmanager
def _camera(case: Case, folder: Path) -> Iterator[Path]:
    """Run the camera; yield a file that contains its stamps once it has ended."""
    log = folder / 'camera.log'
    kind = f'{case.transport}-bare' if case.bare else case.transport
    with log.open('wb') as output:
        process = subprocess.Popen(
            [sys.executable, '-m', 'benchmark.camera', kind, *map(str, case.size)],
            stdout=output,
        )
    try:
        wait_for(lambda: READY in log.read_text(), timeout_s=60.0, what='the camera')
        yield log
    finally:
        process.terminate()
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _start(programs: Programs, case: Case) -> tuple[Broker, Program]:
    broker = programs.start_broker()
    bridge = programs.start_bridge(
        *(broker.url, broker.key_file, ROBOT_ID),
        *('-p', f'image_transport:={case.transport}'),
        *('-p', f'video_bitrate:={case.bitrate_bps}'),
        *('-p', f'video_max_width:={case.size[0]}'),
    )
    bridge.wait_for_line('state="connected"', timeout_s=60.0)
    return broker, bridge


async def _observe(
    watching: PythonOperator | Viewer,
    arrived: Sequence[tuple[float, float]],
    groups: Mapping[str, Callable[[], list[psutil.Process]]],
    seconds: float,
) -> tuple[Figures, tuple[float, float]]:
    """
    Return CPU, memory and bitrate, and the window in seconds since 1970.

    :param arrived: Frames, as for :func:`account`; grows.
    :param groups: As for :class:`Usage`.
    """
    async with asyncio.timeout(START_S):
        while len(arrived) < BEGUN_FRAMES:  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.05)
    await asyncio.sleep(WARM_UP_S)
    usage, begin_s = Usage(groups), time.time()
    begun_bytes = watching.bytes_received
    await asyncio.sleep(seconds)
    figures, end_s = usage.figures(), time.time()
    figures['video_kbit_s'] = 8e-3 * (watching.bytes_received - begun_bytes) / seconds
    await asyncio.sleep(LATEST_S)
    return figures, (begin_s, end_s)


async def _watch(
    broker: Broker, usage_of: dict[str, list[psutil.Process]], case: Case, seconds: float
) -> tuple[Figures, list[tuple[float, float]], tuple[float, float]]:
    """Return CPU and memory, the received frames, and the window in seconds since 1970."""
    groups: dict[str, Callable[[], list[psutil.Process]]] = {
        name: partial(list, processes) for name, processes in usage_of.items()
    }
    if not case.watched:
        await asyncio.sleep(WARM_UP_S)
        usage, begin_s = Usage(groups), time.time()
        await asyncio.sleep(seconds)
        return usage.figures(), [], (begin_s, time.time())
    async with operator(broker.url, broker.token, decodes=False) as person:
        await person.connect(await person.wait_for_robot(ROBOT_ID))
        staying = asyncio.create_task(person.stay())
        try:
            figures, window = await _observe(person, person.frames_at, groups, seconds)
        finally:
            staying.cancel()
    return figures, person.frames_at, window


async def _watch_plain(
    seconds: float,
) -> tuple[Figures, list[tuple[float, float]], tuple[float, float]]:
    """Return the same as :func:`_watch`, for a plain bridge that counts as both halves."""
    configure_aiortc(loopback=True)
    viewer = Viewer()
    async with piped_program('benchmark.plain_bridge') as bridge:
        try:
            write_line(bridge, await viewer.answer(await read_line(bridge)))
            process = psutil.Process(bridge.pid)
            groups = {'both_halves': lambda: [process]}
            figures, window = await _observe(viewer, viewer.arrivals, groups, seconds)
        finally:
            await viewer.pc.close()
    return figures, viewer.arrivals, window


def _measure_plain(case: Case, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix='teleop-benchmark-') as folder:
        with _camera(case, Path(folder)) as log:
            try:
                figures, arrived, window = asyncio.run(_watch_plain(seconds))
            except TimeoutError:
                raise MeasurementError('no video from the plain bridge') from None
        return _found(case, figures, arrived, window, json.loads(log.read_text().splitlines()[-1]))


def measure(case: Case, seconds: float) -> Figures:
    """
    Run a case once.

    :raises MeasurementError: No video arrived.
    """
    if case.plain:
        return _measure_plain(case, seconds)
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix='teleop-benchmark-')))
        programs = Programs(folder)
        ends.callback(programs.end)
        with _camera(case, folder) as log:
            broker, bridge = _start(programs, case)
            usage_of = {
                'ros_half': [psutil.Process(bridge.pid)],
                'webrtc_half': [webrtc_half(bridge.pid)],
                'broker': process_tree(broker.program.pid),
            }
            try:
                figures, arrived, window = asyncio.run(_watch(broker, usage_of, case, seconds))
            except TimeoutError:
                raise MeasurementError(f'no video: {bridge.output()[-2000:]}') from None
        stamps_s = json.loads(log.read_text().splitlines()[-1])
    both = figures['cpu_ros_half_percent'] + figures['cpu_webrtc_half_percent']
    return _found(case, {'cpu_both_halves_percent': both} | figures, arrived, window, stamps_s)


def _found(
    case: Case,
    figures: Figures,
    arrived: Sequence[tuple[float, float]],
    window: tuple[float, float],
    stamps_s: Sequence[float],
) -> Figures:
    """
    Return the figures to report.

    :param arrived: As for :func:`account`.
    :param window: Start and end of the counted images, in seconds since 1970.
    :param stamps_s: Stamps of all images, in seconds since 1970.
    """
    found = {
        name: value
        for name, value in figures.items()
        if name.startswith(('cpu_', 'pss_', 'video_')) and 'benchmark' not in name
    }
    if case.watched:
        published_s = [stamp_s for stamp_s in stamps_s if window[0] <= stamp_s < window[1]]
        found |= account(published_s, arrived, time.time() - time.monotonic())
    return found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = options('pipeline', __doc__ or '', seconds=20.0)
    parser.add_argument('--cases', nargs='+', choices=list(CASES), default=list(CASES))
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, print and write."""
    arguments = parse(sys.argv[1:])
    prepare_environment()
    results: dict[str, list[Figures]] = {name: [] for name in arguments.cases}
    for _ in range(arguments.repeats):
        for name, repeats in results.items():
            print(f'pipeline: {name} …', file=sys.stderr, flush=True)
            with bounded(arguments.seconds + OVERHEAD_S):
                repeats.append(measure(CASES[name], arguments.seconds))
    report(results, machine(), arguments.json)


if __name__ == '__main__':
    run('pipeline', main)
