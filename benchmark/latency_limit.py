"""
How soon the robot's speed follows the latency: ``python3 -m benchmark.latency_limit``.

A page in Chromium drives the simulated robot at full speed, through a relay between robot and
broker. The relay's delay grows by 100 ms and by 300 ms for the round trip, and is gone again. For
each step: the time until the commands on ``cmd_vel`` have come within a tenth of the speed that
they then keep, and the largest step between two commands. ``latency_budget`` is 0.1 s.
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

from collections.abc import Sequence
from contextlib import ExitStack
import itertools
from pathlib import Path
import sys
import tempfile
import time
from typing import Final

from browser import chromium, OperatorPage
from detour import Detour, detour_on_a_thread
from programs import programs, wait_for
from ros_probe import Command, ros_node, RosProbe

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import Figures, MeasurementError, percentile
from benchmark.running import (
    bounded,
    find_chromium,
    machine,
    options,
    prepare_environment,
    report,
    run,
)

__all__ = ['settled_s']

ROBOT_ID: Final = 'go2-a'
BUDGET_S: Final = 0.1
#: Of the round trip; the packets wait for half of it each way.
STEPS_S: Final = {'+100 ms': 0.1, '+300 ms': 0.3, 'gone': 0.0}
OVERHEAD_S: Final = 120.0
NEAR: Final = 0.1


def settled_s(commands: Sequence[Command], begun_s: float) -> float:
    """
    Return the time from the step until the speed has come near the one that it then keeps.

    :param commands: From the step on, without a stop.
    :param begun_s: Time of the step, by the clock of the commands' arrival.
    :raises MeasurementError: The robot stopped, or there are too few commands.
    """
    speeds = [command.linear_x for command in commands]
    if len(speeds) < 50 or min(speeds) <= 0.0:
        raise MeasurementError('the robot stopped; is the machine too busy?')
    kept = percentile(speeds[-25:], 50)
    for command in reversed(commands):
        if abs(command.linear_x - kept) > NEAR * kept:
            return command.arrival_s - begun_s
    return 0.0


def measure(browser_path: str, seconds: float) -> dict[str, Figures]:
    """Run all steps once."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix='teleop-benchmark-')))
        started = ends.enter_context(programs(folder))
        browser = ends.enter_context(chromium(browser_path))
        broker = started.start_broker()
        started.start_simulation()
        detour = ends.enter_context(detour_on_a_thread(broker.url))
        probe = RosProbe(ends.enter_context(ros_node('benchmark')))
        bridge = started.start_bridge(
            *(detour.url, broker.key_file, ROBOT_ID, '-r', 'image:=camera/image_raw'),
            *('-p', f'latency_budget:={BUDGET_S}', '-p', 'latency_speed_floor:=0.05'),
        )
        bridge.wait_for_line('state="connected"', timeout_s=60.0)
        page = OperatorPage(browser.new_page(viewport={'width': 1280, 'height': 800}))
        page.connect(broker.page, ROBOT_ID)
        page.choose_speed(100)
        wait_for(lambda: page.let_go_and_press(probe.moving), what='motion')
        time.sleep(seconds)
        return {name: _step(detour, probe, delay_s, seconds) for name, delay_s in STEPS_S.items()}


def _step(detour: Detour, probe: RosProbe, delay_s: float, seconds: float) -> Figures:
    before = probe.commands[-1].linear_x
    seen, begun_s = len(probe.commands), time.monotonic()
    detour.delays_s = (delay_s / 2, delay_s / 2)
    time.sleep(seconds)
    commands = probe.commands[seen:]
    jumps = (abs(b.linear_x - a.linear_x) for a, b in itertools.pairwise(commands))
    return {
        'settled_s': settled_s(commands, begun_s),
        'speed_before': before,
        'speed_after': commands[-1].linear_x,
        'largest_step': max(jumps),
    }


def main() -> None:
    """Measure, print and write."""
    arguments = options('latency_limit', __doc__ or '', seconds=4.0).parse_args()
    prepare_environment()
    browser_path = find_chromium()
    results: dict[str, list[Figures]] = {name: [] for name in STEPS_S}
    for repeat in range(arguments.repeats):
        print(f'latency_limit: {repeat + 1} …', file=sys.stderr, flush=True)
        with bounded((1 + len(STEPS_S)) * arguments.seconds + OVERHEAD_S):
            for name, figures in measure(browser_path, arguments.seconds).items():
                results[name].append(figures)
    report(results, machine(browser_path), arguments.json)


if __name__ == '__main__':
    run('latency_limit', main)
