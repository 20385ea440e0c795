"""
Callbacks that block the event loops: ``python3 -m benchmark.loop_health [--seconds 20]``.

Runs a real WebRTC half with 720p at 30 Hz, a real broker, and an operator who drives at 50 Hz,
leaves and joins again, each with a stopwatch in its loop (:mod:`benchmark.loop_probe`). The goal
is that no callback of the WebRTC half computes for more than 5 ms. The rest of its wall-clock time
is waiting for a core or for the interpreter's lock, which can be long on a busy machine.
``--json FILE`` writes the figures.
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
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
import json
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, Final

from programs import Broker, Programs
from python_operator import operator, PythonOperator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

import benchmark  # noqa: F401 - finds test/support
from benchmark.encode import robot_pixels
from benchmark.figures import Figures, percentile
from benchmark.running import bounded, machine, options, prepare_environment, report, run
from teleop_webrtc_bridge.core.configuration import VideoConfiguration
from teleop_webrtc_bridge.core.messages import Velocity

__all__ = ['judge', 'show_pictures']

GOAL_MS: Final = 5.0
VISITS: Final = 3
VISIT_S: Final = 2.0
"""How long the operator stays on each later visit."""
FPS: Final = 30
PERIOD_S: Final = 0.02
OVERHEAD_S: Final = 180.0
"""On a busy machine, programs take long to start and to end."""


def judge(found: Mapping[str, Any], begin_s: float, end_s: float) -> Figures:
    """Return the figures of one loop between two times."""

    def within(pairs: Sequence[tuple[float, float]]) -> list[float]:
        return [value for at_s, value in pairs if begin_s <= at_s < end_s]

    wall_ms = within(found['calls'])
    cpu_ms = within([(call['at_s'], call['cpu_ms']) for call in found['slow']])
    collections_ms = within(found['collections_ms'])
    return {
        'callbacks_a_second': len(wall_ms) / (end_s - begin_s),
        'clock_p50_ms': percentile(wall_ms, 50),
        'clock_p99_9_ms': percentile(wall_ms, 99.9),
        'clock_max_ms': max(wall_ms, default=0.0),
        'computed_max_ms': max(cpu_ms, default=0.0),
        'over_5_ms_by_the_clock': sum(ms > GOAL_MS for ms in wall_ms),
        'over_5_ms_computed': sum(ms > GOAL_MS for ms in cpu_ms),
        'garbage_collections': len(collections_ms),
        'longest_collection_ms': max(collections_ms, default=0.0),
    }


async def show_pictures(half: WebrtcHalf, *, width: int, height: int) -> None:
    """Send the simulated robot's view at 30 Hz, until cancelled."""
    pictures = robot_pixels(width, height)
    due_s = time.monotonic()
    number = 0
    while True:
        half.show_colours(pictures[number % len(pictures)])
        number += 1
        due_s = max(due_s + 1 / FPS, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())


async def _drive(person: PythonOperator, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        person.drive(Velocity(linear_x=0.1))
        await asyncio.sleep(PERIOD_S)


async def _live(broker: Broker, folder: Path, seconds: float) -> tuple[float, float]:
    """Let an operator drive, leave and join again; return once both drives are over."""
    video = VideoConfiguration(codec='h264', bitrate_bps=2_500_000, fps=FPS, max_width_px=1280)
    robot = configuration(broker.url, broker.key_file.read_text().strip(), 'robot', video=video)
    async with AsyncExitStack() as stack:
        launcher = probe(folder / 'webrtc.json')
        half = await stack.enter_async_context(webrtc_half(robot, folder, launcher))
        await half.connected()
        showing = asyncio.create_task(show_pictures(half, width=1280, height=720))
        stack.callback(showing.cancel)
        for visit in range(VISITS):
            async with operator(broker.url, broker.token, decodes=False) as person:
                await person.connect(await person.wait_for_robot('robot'))
                staying = asyncio.create_task(person.stay())
                stack.callback(staying.cancel)
                begun_s = time.monotonic()
                await _drive(person, seconds if visit == 0 else VISIT_S)
                if visit == 0:
                    driven = (begun_s, time.monotonic())
                staying.cancel()
                await person.leave()
    return driven


def probe(file: Path) -> list[str]:
    """Return the prefix of a command line that times the program's loop."""
    return [sys.executable, '-m', 'benchmark.loop_probe', str(file)]


def measure(seconds: float) -> tuple[dict[str, Figures], dict[str, float]]:
    """Run everything once; return the figures, and the longest run of each callback."""
    with tempfile.TemporaryDirectory(prefix='teleop-benchmark-') as name:
        folder = Path(name)
        files = {'WebRTC half': folder / 'webrtc.json', 'broker': folder / 'broker.json'}
        programs = Programs(folder, launcher=probe(files['broker']))
        with ExitStack() as ends:
            ends.callback(programs.end)
            broker = programs.start_broker()
            begun_s = time.monotonic()
            driven = asyncio.run(_live(broker, folder, seconds))
            lived = (begun_s, time.monotonic())
        found = {loop: json.loads(file.read_text()) for loop, file in files.items()}
    figures, culprits = {}, {}
    for loop, told in found.items():
        figures[f'{loop}, driven'] = judge(told, *driven)
        figures[f'{loop}, joins too'] = judge(told, *lived)
        for call in sorted(told['slow'], key=lambda call: float(call['cpu_ms'])):
            if call['cpu_ms'] > GOAL_MS:
                culprits[f'{loop}: {call["callback"]}'] = float(call['cpu_ms'])
    return figures, culprits


def main() -> None:
    """Measure, print and write."""
    arguments = options('loop_health', __doc__ or '', seconds=20.0).parse_args()
    prepare_environment()
    results: dict[str, list[Figures]] = {}
    culprits: dict[str, list[float]] = {}
    for _ in range(arguments.repeats):
        with bounded(arguments.seconds + OVERHEAD_S):
            figures, slow = measure(arguments.seconds)
        for loop, values in figures.items():
            results.setdefault(loop, []).append(values)
        for name, cpu_ms in slow.items():
            culprits.setdefault(name, []).append(cpu_ms)
    report(results, machine(), arguments.json)
    for name, times_ms in sorted(culprits.items()):
        text = ', '.join(f'{cpu_ms:.1f}' for cpu_ms in times_ms)
        print(f'computed for more than {GOAL_MS:g} ms, longest of each repeat: {name}: {text}')


if __name__ == '__main__':
    run('loop_health', main)
