"""
What the base receives during attacks: ``python3 -m benchmark.attack_cmd_vel [ATTACK ...]``.

A real bridge is driven at 50 Hz through a real broker, and another node records every message on
``cmd_vel``. A stop is a zero, or a gap of more than 0.25 s, while the operator drives forward
without a pause. The attacks are those of :mod:`benchmark.attack`, after a quiet phase.
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
import itertools
import json
from pathlib import Path
import tempfile
from typing import Final

from driven_robot import driven_robot, DrivenRobot, FORWARD
from ros_probe import Command

from benchmark.attack import requests, table
from benchmark.attack_subject import WATCHDOG_S
from benchmark.figures import Figures
from benchmark.running import bounded, prepare_environment

KINDS: Final = ('anonymous', 'viewer', 'robot', 'silent')
OVERHEAD_S: Final = 60.0


def figures_of(commands: Sequence[Command]) -> Figures:
    """Return how often the base was stopped, judged by the messages received while driving."""
    gaps_s = [
        later.arrival_s - earlier.arrival_s for earlier, later in itertools.pairwise(commands)
    ]
    return {
        'messages': float(len(commands)),
        'zeros': float(sum(command.is_zero for command in commands)),
        'gaps_over_watchdog': float(sum(gap_s > WATCHDOG_S for gap_s in gaps_s)),
        'longest_gap_ms': 1e3 * max(gaps_s, default=float('inf')),
    }


async def _phase(robot: DrivenRobot, seconds: float) -> Figures:
    # Nobody drives while an attacker starts, so the robot stands still: that is no false stop.
    await robot.set_off()
    first = len(robot.probe.commands)
    await robot.hold_for(FORWARD, seconds)
    return figures_of(robot.probe.commands[first:])


async def measure(kind: str, connections: int, folder: Path, seconds: float) -> dict[str, Figures]:
    """Return the figures of a quiet phase and of an attack."""
    async with driven_robot(folder, '-p', f'command_timeout:={WATCHDOG_S}') as robot:
        phases = {'quiet': await _phase(robot, seconds)}
        async with requests(kind, connections, robot.broker, seconds):
            phases['attack'] = await _phase(robot, seconds)
    return phases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('attacks', nargs='*', choices=[*KINDS, []], metavar='ATTACK')
    parser.add_argument('--seconds', type=float, default=20.0, help='per phase, at most 25')
    parser.add_argument('--connections', type=int, nargs='+', default=[40, 400])
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    prepare_environment()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.attacks or KINDS:
            for connections in options.connections:
                name = f'{kind} {connections}'
                own = Path(folder) / name.replace(' ', '_')
                own.mkdir()
                with bounded(2 * options.seconds + OVERHEAD_S):
                    results[name] = asyncio.run(measure(kind, connections, own, options.seconds))
                print(f'\n{name}\n\n{table(dict(results[name]))}', flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
