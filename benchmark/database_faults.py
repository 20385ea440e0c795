"""
A robot being driven while the broker's database fails: ``python3 -m benchmark.database_faults``.

A real WebRTC half is driven at 50 Hz through a broker process. During each fault, API keys are
created as well. Prints the longest gap between two commands that arrive at the robot (0.25 s stop
it), the latency of the commands, and the answers to the calls. ``--sweep`` instead measures the
cost of checking for revoked keys, with few and with many keys in the database.
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
from contextlib import closing
import itertools
from pathlib import Path
import statistics
import tempfile
import time
from typing import Any, Final

from database_faults import Fault, faults
from driven_half import driven_half, DrivenHalf
from failing_disk import FailingDisk
from programs import programs

from benchmark.figures import percentile
from teleop_webrtc_bridge.broker.access.authenticator import Credentials
from teleop_webrtc_bridge.broker.access.database import Database
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role

SECONDS: Final = 10.0
KEYS_PERIOD_S: Final = 6.0
"""The limit is ten per minute."""
STEADY_COMMANDS: Final = 50
KEYS: Final = (10, 50_000)
IN_USE: Final = 20
SWEEPS: Final = 200


async def measure(subject: DrivenHalf, fault: Fault, seconds: float) -> dict[str, Any]:
    """Return the figures of one fault."""
    assert subject.robot.status is not None
    epoch = subject.robot.status.control_epoch
    wall_ahead_s = time.time() - time.monotonic()
    first = len(subject.robot.arrivals) - 1
    answers: list[str] = []

    async def make_keys() -> None:
        while True:
            began_s = time.monotonic()
            status, _ = await subject.person.call('POST', 'keys', {'name': 'yard'})
            answers.append(f'{status} after {time.monotonic() - began_s:.1f} s')
            await asyncio.sleep(KEYS_PERIOD_S)

    making = asyncio.create_task(make_keys())
    async with fault.lasting():
        await asyncio.sleep(seconds)
    making.cancel()
    await asyncio.wait([making])
    arrivals = subject.robot.arrivals[first:]
    times = [arrival_s for arrival_s, _ in arrivals]
    latencies = [1e3 * (at_s - (command.stamp_s - wall_ahead_s)) for at_s, command in arrivals]
    return {
        'longest gap ms': f'{1e3 * max(b - a for a, b in itertools.pairwise(times)):.0f}',
        'command p99 ms': f'{percentile(latencies, 99.0):.1f}',
        'new sessions': subject.robot.status.control_epoch - epoch,
        'POST /keys': ', '.join(answers) or 'no answer yet',
    }


async def drive_through(folder: Path, seconds: float) -> list[tuple[str, dict[str, Any]]]:
    """Return the figures of each fault."""
    disk = FailingDisk(folder, folder / 'broker') if FailingDisk.compiler() else None
    figures = []
    with programs(folder, disk.environment if disk else None) as started:
        broker = await asyncio.to_thread(started.start_broker)
        async with driven_half(broker, folder) as subject:
            robot = subject.robot
            await robot.until(lambda: len(robot.arrivals) > STEADY_COMMANDS, 'commands')
            for name, fault in faults(broker.key_file.parent, disk).items():
                figures.append((name, await measure(subject, fault, seconds)))
                print(figures[-1], flush=True)
                # A whole minute of faults without a pause would lock everybody out.
                await asyncio.sleep(3.0)
    return figures


async def sweep(folder: Path, keys: int) -> dict[str, Any]:
    """Return the duration of a check for revoked keys, with a few of many keys in use."""
    with closing(Store.open(folder)) as store, store.transaction():
        secrets = [
            store.create_robot_key(name='k', robot_id=None, owner=f'tenant {number}', now_s=1.0)[1]
            for number in range(keys)
        ][:IN_USE]
    with closing(Database(folder)) as database:
        credentials = Credentials(database, time.time)
        for secret in secrets:
            assert await credentials.robot(secret) is not None
        everybody = OperatorCaller(sub='', role=Role.ADMIN)
        figures: dict[str, Any] = {'keys': keys}
        for name, changes in (('unchanged', False), ('changed', True)):
            walls, loops, all_cpu = [], [], []
            for _ in range(SWEEPS):
                if changes:
                    await database.write(lambda store: store.revoke_robot_key('', everybody, 1.0))
                    await asyncio.sleep(0.005)
                wall_s, loop_s, cpu_s = (
                    time.perf_counter(),
                    time.thread_time(),
                    time.process_time(),
                )
                await credentials.ended([], [])
                walls.append(1e3 * (time.perf_counter() - wall_s))
                loops.append(1e3 * (time.thread_time() - loop_s))
                all_cpu.append(1e3 * (time.process_time() - cpu_s))
            for kind, values in (('wall', walls), ('event loop', loops), ('process', all_cpu)):
                figures[f'{name}: {kind} ms'] = f'{statistics.median(values):.3f}'
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--seconds', type=float, default=SECONDS, help='per fault')
    parser.add_argument(
        '--sweep', action='store_true', help='measure the check for revoked keys instead'
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.sweep:
            rows = []
            for keys in KEYS:
                (Path(folder) / str(keys)).mkdir()
                rows.append((str(keys), asyncio.run(sweep(Path(folder) / str(keys), keys))))
        else:
            rows = asyncio.run(drive_through(Path(folder), options.seconds))
    names = list(dict.fromkeys(name for _, figures in rows for name in figures))
    print(f'| | {" | ".join(names)} |')
    print(f'|---|{"---|" * len(names)}')
    for title, figures in rows:
        print(f'| {title} | {" | ".join(str(figures[name]) for name in names)} |')


if __name__ == '__main__':
    main()
