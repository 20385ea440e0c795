"""
Video on a link that becomes too narrow for it, and then wide again.

``python3 -m benchmark.narrow_link [--json FILE]``, after ``scripts/setup --tests``. Runs a real
WebRTC half, a real broker and an operator over a link with a queue of half a second: wide for ten
seconds, narrow for thirty, wide for forty. A frame counts when its last packet has passed.
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
from contextlib import AsyncExitStack
import json
from pathlib import Path
import tempfile
import time
from typing import Final

from counted_broker import counted_broker
from detour import Detour, detour_to, Direction, Narrow
from frames_passed import FramesPassed
from moving_scene import MovingScene
from python_operator import operator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import Figures
from teleop_webrtc_bridge.core.configuration import VideoConfiguration

__all__ = ['measure']

LINKS_BPS: Final = (300_000, 1_000_000)
HIGHEST_BPS: Final = 2_000_000
FPS: Final = 20.0
WIDE_S: Final = 10.0
NARROW_S: Final = 30.0
SETTLING_S: Final = 5.0
AGAIN_S: Final = 40.0
LOOK_S: Final = 0.2


async def measure(link_bps: int, folder: Path) -> Figures:
    """Run one robot over one link."""
    video = VideoConfiguration(codec='h264', bitrate_bps=HIGHEST_BPS, fps=FPS, max_width_px=640)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(counted_broker(folder))
        robot = configuration(broker.url, broker.key_file.read_text(), 'robot', video=video)
        half = await stack.enter_async_context(webrtc_half(robot, folder))
        detour = await stack.enter_async_context(detour_to(broker.url))
        person = await stack.enter_async_context(operator(detour.url, broker.token))
        frames = FramesPassed(detour)
        scene = asyncio.create_task(MovingScene(half, fps=FPS).run())
        stack.callback(scene.cancel)
        await person.connect(await person.wait_for_robot('robot'))
        staying = asyncio.create_task(person.stay())
        stack.callback(staying.cancel)
        await asyncio.sleep(WIDE_S)
        return await _narrowed(link_bps, half, detour, frames)


async def _narrowed(
    link_bps: int, half: WebrtcHalf, detour: Detour, frames: FramesPassed
) -> Figures:
    narrow_s = time.monotonic()
    detour.narrow[Direction.TO_ROBOT] = Narrow(rate_bps=link_bps)
    rates = await _watch(half, narrow_s + NARROW_S)
    lifted_s = time.monotonic()
    del detour.narrow[Direction.TO_ROBOT]
    later = await _watch(half, lifted_s + AGAIN_S)
    settled_s = narrow_s + SETTLING_S
    settled = [bps for at_s, bps in rates if at_s > settled_s]
    below = [at_s - narrow_s for at_s, bps in rates if bps < link_bps]
    full = [at_s - lifted_s for at_s, bps in later if bps > 0.9 * HIGHEST_BPS]
    return {
        'below_the_link_after_s': min(below, default=float('inf')),
        'lowest_kbit_s': 1e-3 * min(settled),
        'highest_kbit_s': 1e-3 * max(settled),
        'longest_gap_settling_s': frames.longest_gap_s(narrow_s, settled_s),
        'longest_gap_settled_s': frames.longest_gap_s(settled_s, lifted_s),
        'frames_a_second_settled': (frames.count(settled_s) - frames.count(lifted_s))
        / (lifted_s - settled_s),
        'packets_lost': float(detour.lost[Direction.TO_ROBOT]),
        'full_again_after_s': min(full, default=float('inf')),
    }


async def _watch(half: WebrtcHalf, until_s: float) -> list[tuple[float, float]]:
    """Return the bitrate over time."""
    seen = []
    while (now := time.monotonic()) < until_s:
        seen.append((now, half.counter('video_target_bps')))
        await asyncio.sleep(LOOK_S)
    return seen


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', type=Path)
    arguments = parser.parse_args()
    results = {}
    for link_bps in LINKS_BPS:
        with tempfile.TemporaryDirectory() as folder:
            results[f'{link_bps // 1000} kbit/s'] = asyncio.run(measure(link_bps, Path(folder)))
    for name in next(iter(results.values())):
        values = ' | '.join(f'{figures[name]:10.2f}' for figures in results.values())
        print(f'{name:28} | {values}')
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
