"""
Two bridges that repeatedly start and stop at the same time: ``python3 -m benchmark.ends``.

Each announces its topics while the other one starts or stops, which is when Fast DDS hangs
(docs/safety.md). There is no broker: the bridges dial in vain. Prints how many started, exited
with status 0, and exited in time, and how long the exits took; status 1 if one of them did not.
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
from collections import Counter
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import time
from typing import Final

from programs import Program, programs

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import percentile
from benchmark.motion import prepare_environment

NOBODY: Final = 'http://127.0.0.1:9'
ROBOTS: Final = ('a', 'b')
STARTED_S: Final = 30.0
END_S: Final = 5.0
"""Limit that the product promises."""
SPREAD: Final = 6
SPREAD_S: Final = 0.05
"""The end is delayed by this much more in each round; after six rounds it starts over."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--rounds', type=int, default=100)
    arguments = parser.parse_args()
    prepare_environment()
    found: Counter[str] = Counter()
    took_s: list[float] = []
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            took_s += _round(Path(folder), SPREAD_S * (number % SPREAD), found)
    print(' '.join(f'{name}={found[name]}' for name in sorted(found)))
    took_s.sort()
    if took_s:
        print(
            f'exit after SIGTERM: p50 {percentile(took_s, 0.5):.2f} s, '
            f'p99 {percentile(took_s, 0.99):.2f} s, longest {took_s[-1]:.2f} s'
        )
    return int(found['ended_with_0_in_time'] < len(ROBOTS) * arguments.rounds)


def _round(folder: Path, wait_s: float, found: Counter[str]) -> list[float]:
    """Return how long the exits took."""
    key_file = folder / 'key'
    key_file.write_text('the-key-of-nobody')
    took_s = []
    with programs(folder) as started:
        bridges = [
            started.start_bridge(NOBODY, key_file, robot, '-r', f'__ns:=/{robot}')
            for robot in ROBOTS
        ]
        for bridge in bridges:
            found['started' if _starts(bridge) else 'not_started'] += 1
        time.sleep(wait_s)
        asked_s = time.monotonic()
        for bridge in bridges:
            bridge.process.send_signal(signal.SIGTERM)
        for bridge in bridges:
            try:
                status = bridge.process.wait(END_S)
            except subprocess.TimeoutExpired:
                found['not_ended'] += 1
                bridge.process.kill()
                bridge.process.wait()
                continue
            took_s.append(time.monotonic() - asked_s)
            found['ended_with_0_in_time' if status == 0 else f'ended_with_{status}'] += 1
    return took_s


def _starts(bridge: Program) -> bool:
    try:
        bridge.wait_for_line('event=state', timeout_s=STARTED_S)
    except AssertionError:
        return False
    return True


if __name__ == '__main__':
    sys.exit(main())
