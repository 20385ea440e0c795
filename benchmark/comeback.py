"""
How soon a robot can be driven again after its bridge hangs: ``python3 -m benchmark.comeback``.

Measures from the death of the bridge to the first motion under a new operator: the restart delay
of the unit, the start, the session and neutral. The hang is real: the hang guard ends the process
or, if only the executor hangs, the watchdog does. test/support/play_systemd.py stands in for
systemd.
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
from pathlib import Path
import sys
import tempfile
from typing import Final

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import percentile
from benchmark.motion import prepare_environment

GOAL_S: Final = 5.0
WATCHDOG_S: Final = {'spins': 60.0, 'executor_hangs': 5.0}
"""Long where the hang guard has to act first."""


async def comeback_s(fault: str) -> float:
    # Imported only after the environment is prepared: it loads ROS.
    from supervised_robot import comes_back, supervised_robot

    with tempfile.TemporaryDirectory() as folder:
        hang = Path(folder) / 'hang'
        async with supervised_robot(
            Path(folder), fault, hang, watchdog_s=WATCHDOG_S[fault]
        ) as robot:
            await robot.set_off()
            return await comes_back(robot, hang)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--rounds', type=int, default=10)
    arguments = parser.parse_args()
    prepare_environment()
    longest_s = 0.0
    for fault in WATCHDOG_S:
        took_s = sorted(asyncio.run(comeback_s(fault)) for _ in range(arguments.rounds))
        longest_s = max(longest_s, took_s[-1])
        print(
            f'{fault}: moves again p50 {percentile(took_s, 0.5):.1f} s after its death, '
            f'longest {took_s[-1]:.1f} s'
        )
    return int(longest_s > GOAL_S)


if __name__ == '__main__':
    sys.exit(main())
