"""
From the page to a subscriber of ``cmd_vel``: ``python3 -m benchmark.command [--json FILE]``.

Quiet, with a camera of 160×120 at 15 Hz: keyboard, gamepad, and the controllers of an emulated VR
headset. Beside video: keyboard, with 720p at 30 Hz that the same two robot processes, broker and
browser handle. In each case, half the round trip on one bare aiortc channel is measured on the
same machine while the video keeps running. docs/performance.md explains how a command is
recognised and which clock is used.
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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, ExitStack
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Final

from browser import chromium
from process_tree import process_tree
from programs import programs
import psutil
from ros_probe import ros_node, RosProbe

import benchmark  # noqa: F401 - finds test/support
from benchmark import raw_channel
from benchmark.figures import Figures, medians
from benchmark.frame_probe import FrameProbe
from benchmark.page_probe import MeasuredPage
from benchmark.processes import webrtc_half
from benchmark.running import (
    bounded,
    find_chromium,
    machine,
    options,
    prepare_environment,
    report,
    run,
)
from benchmark.scenario import ROBOT_ID, Window

__all__ = ['CASES', 'judge']

SMALL: Final = (160, 120, 15.0)
CASES: Final = {
    'quiet': (SMALL, 'keyboard'),
    'quiet, gamepad': (SMALL, 'gamepad'),
    'quiet, VR': (SMALL, 'vr'),
    'beside 720p30': ((1280, 720, 30.0), 'keyboard'),
}
"""Width and height in pixels, and frames per second; the device."""
TICK_MS: Final = 20.0
"""Of the page: no device may be slower than the keyboard by more."""
RAW_CHANNEL_S: Final = 6.0
OVERHEAD_S: Final = 180.0
KEPT: Final = (
    'command_p50_ms',
    'command_p99_ms',
    'command_max_ms',
    'hand_p50_ms',
    'hand_p99_ms',
    'hand_max_ms',
    'commands_sent',
    'commands_matched',
    'raw_channel_p50_ms',
    'raw_channel_p99_ms',
    'encoded_hz',
    'cpu_bridge_ros_percent',
    'cpu_bridge_webrtc_percent',
    'cpu_broker_percent',
    'cpu_others_percent',
    'load_before',
)
P50_OVER_RAW_MS: Final = 2.0
P99_RATIO: Final = 1.3


def judge(repeats: Mapping[str, Sequence[Figures]]) -> str:
    """Return the medians compared with the goals, as text."""
    quiet, gamepad, vr, beside = (medians(repeats[name]) for name in CASES)
    later_ms = [it['hand_p50_ms'] - quiet['hand_p50_ms'] for it in (gamepad, vr)]
    over_raw_ms = quiet['command_p50_ms'] - quiet['raw_channel_p50_ms']
    ratio = beside['command_p99_ms'] / quiet['command_p99_ms']
    return '\n'.join(
        (
            f'p50 above the bare channel: {over_raw_ms:.2f} ms; goal: at most {P50_OVER_RAW_MS:g}',
            *(
                f'hand to cmd_vel, p50 of {name} above the keyboard: {ms:.2f} ms; '
                f'goal: at most {TICK_MS:g}'
                for name, ms in zip(('a gamepad', 'VR'), later_ms, strict=True)
            ),
            f'p99 beside video to quiet: {ratio:.2f}; goal: at most {P99_RATIO:g}',
        )
    )


@contextmanager
def _camera(size: tuple[int, int, float]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, '-m', 'benchmark.faults.camera', *map(str, size)],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20.0)


def measure(name: str, browser_path: str, seconds: float) -> Figures:
    """Run a case once."""
    size, device = CASES[name]
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix='teleop-benchmark-')))
        started = ends.enter_context(programs(folder))
        node = ends.enter_context(ros_node('benchmark'))
        browser = ends.enter_context(chromium(browser_path))
        ends.enter_context(_camera(size))
        broker = started.start_broker()
        bridge = started.start_bridge(
            *(broker.url, broker.key_file, ROBOT_ID),
            # Each command must arrive unaltered: its velocity identifies it.
            *('-p', 'max_linear_acceleration:=0.0'),
        )
        bridge.wait_for_line('state="connected"', timeout_s=60.0)
        ros, video = RosProbe(node), FrameProbe(node, ROBOT_ID)
        page = MeasuredPage(browser, device=device)
        page.connect(broker.page, ROBOT_ID)
        usage_of = {
            'broker': process_tree(broker.program.pid),
            'bridge_ros': [psutil.Process(bridge.pid)],
            'bridge_webrtc': [webrtc_half(bridge.pid)],
        }
        window = Window(page, ros, video, usage_of)
        figures = window.measure(seconds) | window.react()
        figures |= raw_channel.measure(RAW_CHANNEL_S)
        page.close()
    return {name: figures[name] for name in KEPT}


def main() -> None:
    """Measure, print and write."""
    arguments = options('command', __doc__ or '', seconds=20.0).parse_args()
    prepare_environment()
    browser_path = find_chromium()
    results: dict[str, list[Figures]] = {name: [] for name in CASES}
    for _ in range(arguments.repeats):
        for name in CASES:
            print(f'command: {name} …', file=sys.stderr, flush=True)
            with bounded(arguments.seconds + OVERHEAD_S):
                results[name].append(measure(name, browser_path, arguments.seconds))
    report(results, machine(browser_path), arguments.json)
    print(judge(results))


if __name__ == '__main__':
    run('command', main)
