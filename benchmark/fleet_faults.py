"""
Robots that share one key, under random faults: ``python3 -m benchmark.fleet_faults``.

Each round kills the broker with signal 9, restarts it, and injects a fault into each robot at a
random moment: it cuts the UDP path one way or both, cuts HTTP, kills the WebRTC process, or does
nothing. Then all faults are undone, every robot must reconnect, and each robot is driven by its
own operator with a velocity that no other robot gets. Prints a line per round and a summary; with
``--json FILE``, writes it. The same ``--seed`` gives the same faults.
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
from collections import Counter
from collections.abc import Callable
import dataclasses
import json
import os
from pathlib import Path
import random
import tempfile
import time
from typing import Any

from detour import Detour, Direction
from fleet import Fleet, fleet, Resources
from process_tree import process_tree
from webrtc_half import WebrtcHalf

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import percentile

PERIOD_S = 0.05
FAULT_WITHIN_S = 1.0
"""Time after the kill of the broker within which each fault begins."""
HEAL_WITHIN_S = 4.0
BACK_S = 60.0
SETTLED_S = 60.0
"""How long the broker may take to remove the last operators."""


def _cut_udp(*directions: Direction) -> Callable[[WebrtcHalf, Detour], None]:
    return lambda robot, detour: detour.cut.update(directions)


def _cut_http(robot: WebrtcHalf, detour: Detour) -> None:
    detour.http_down = True


def _kill(robot: WebrtcHalf, detour: Detour) -> None:
    robot.statuses.clear()
    robot.kill()


FAULTS: dict[str, Callable[[WebrtcHalf, Detour], None]] = {
    'nothing': lambda robot, detour: None,
    'partition': _cut_udp(*Direction),
    'one way to the broker': _cut_udp(Direction.TO_BROKER),
    'one way to the robot': _cut_udp(Direction.TO_ROBOT),
    'no HTTP': _cut_http,
    'WebRTC process killed': _kill,
}


async def suffer(running: Fleet, number: int, fault: str, chance: random.Random) -> float:
    """
    Inject a fault into a robot, undo it, and wait until the robot is connected again.

    :returns: Seconds from the moment when both robot and broker worked again.
    """
    robot, detour = running.by_number[number], running.detours[number]
    epoch = robot.status.control_epoch if robot.status else 0
    await asyncio.sleep(chance.uniform(0.0, FAULT_WITHIN_S))
    FAULTS[fault](robot, detour)
    await asyncio.sleep(chance.uniform(0.0, HEAL_WITHIN_S))
    detour.cut.clear()
    detour.http_down = False
    healed_s = max(time.monotonic(), await running.broker_ready_s())
    if fault == 'WebRTC process killed':
        back_s = await robot.connected(timeout_s=BACK_S)
    else:
        back_s = await robot.reconnected(epoch, timeout_s=BACK_S)
    return max(0.0, back_s - healed_s)


async def one_round(running: Fleet, commands_each: int, chance: random.Random) -> dict[str, Any]:
    """Inject faults into all robots, then drive all of them."""
    count = len(running.robots)
    faults = [chance.choice(list(FAULTS)) for _ in range(count)]
    await running.kill_broker()
    restart = asyncio.create_task(running.start_broker())
    back = await asyncio.gather(
        *(suffer(running, number, faults[number], chance) for number in range(count))
    )
    await restart
    arrived = await running.drive_all(commands_each, period_s=PERIOD_S)
    return {
        'faults': Counter(faults),
        'back_s': back,
        'sent': commands_each * count,
        'arrived': arrived,
        'astray': len(running.strangers()),
        'listed': await running.listed(),
        'load': os.getloadavg()[0],
    }


async def used(running: Fleet) -> dict[str, Any]:
    """Return the resources that the broker uses, and the highest figures among the robots."""
    each = [Resources.of(robot.process.pid) for robot in running.robots]
    broker = [process.pid for process in process_tree(running.broker_pid)]
    return {
        'broker': dataclasses.asdict(Resources.of(*broker)),
        'robot_descriptors': max(it.descriptors for it in each),
        'robot_threads': max(it.threads for it in each),
        'robot_rss_mb': max(it.rss_mb for it in each),
        'robot_tasks': max(robot.counter('tasks') for robot in running.robots),
        'sessions': await running.listed(),
    }


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all rounds, and compare the resources used before and after."""
    chance = random.Random(options.seed)
    commands_each = max(1, -(-options.commands // (options.robots * options.rounds)))
    rounds = []
    async with fleet(folder, options.robots, detoured=True) as running:
        await running.drive_all(commands_each, period_s=PERIOD_S)
        await running.nobody_drives(timeout_s=SETTLED_S)
        before = await used(running)
        for number in range(options.rounds):
            rounds.append(await one_round(running, commands_each, chance))
            print(f'round {number + 1}: {_line(rounds[-1])}', flush=True)
        await running.nobody_drives(timeout_s=SETTLED_S)
        after = await used(running)
    back = sorted(value for it in rounds for value in it['back_s'])
    return {
        'robots': options.robots,
        'rounds': options.rounds,
        'seed': options.seed,
        'faults': sum((it['faults'] for it in rounds), Counter()),
        'back_p50_s': percentile(back, 50),
        'back_p95_s': percentile(back, 95),
        'back_max_s': back[-1],
        **{name: sum(it[name] for it in rounds) for name in ('sent', 'arrived', 'astray')},
        'rounds_with_all_listed': sum(it['listed'] == options.robots for it in rounds),
        'before': before,
        'after': after,
    }


def _line(result: dict[str, Any]) -> str:
    return (
        f'back within {max(result["back_s"]):.1f} s; {result["arrived"]} of {result["sent"]} '
        f'commands arrived, {result["astray"]} astray; {result["listed"]} robots listed; '
        f'load {result["load"]:.1f}'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--robots', type=int, default=20)
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--commands', type=int, default=10_000, help='in total, at least')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(options, Path(folder)))
    for name, value in result.items():
        print(f'{name}: {value}')
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
