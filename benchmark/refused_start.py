"""
The cost of a refused start: ``python3 -m benchmark.refused_start [--repeats N]``.

For a bridge with invalid parameters: processor and wall time until it exits with status 2. For
comparison, in turn: the same refused only by the node, with ROS loaded, as it was before the
parameters were read early; and a Python that does nothing, which is the floor.
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
import os
import resource
import subprocess
import sys
import time
from typing import Final

from benchmark.comparison import table
from benchmark.figures import Figures, MeasurementError, medians
from benchmark.running import bounded, machine, prepare_environment, ROOT, run

LONGEST_S: Final = 60.0
MISCONFIGURED: Final = 2
LATE: Final = """
import sys
from teleop_webrtc_bridge.bridge.ros import main as program
program.refuse_early = lambda arguments: None
sys.exit(program.main())
"""
PROGRAMS: Final = {
    'refused early': ('-m', 'teleop_webrtc_bridge.bridge.ros.main'),
    'refused by the node': ('-c', LATE),
    'Python alone': ('-c', f'raise SystemExit({MISCONFIGURED})'),
}
REFUSED: Final = {
    'unknown parameter': ('--ros-args', '-p', 'max_liner_x:=0.1'),
    'bad robot_id': ('--ros-args', '-p', 'robot_id:=007'),
    'no API key': (),
}


def measure(*arguments: str) -> Figures:
    """
    Run Python with these arguments to its end.

    :raises MeasurementError: It does not exit as refused.
    """
    environment = {name: value for name, value in os.environ.items() if name != 'TELEOP_API_KEY'}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode != MISCONFIGURED:
        raise MeasurementError(f'ended with status {ended.returncode}: {arguments}')
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {'cpu_ms': 1e3 * used_s, 'wall_ms': 1e3 * wall_s}


def main() -> None:
    parser = argparse.ArgumentParser(prog='refused_start', description=__doc__)
    parser.add_argument('--repeats', type=int, default=15)
    arguments = parser.parse_args()
    prepare_environment()
    for key, value in machine().items():
        print(f'{key}: {value}')
    for reason, options in REFUSED.items():
        runs: dict[str, list[Figures]] = {name: [] for name in PROGRAMS}
        with bounded(LONGEST_S * arguments.repeats):
            for _ in range(arguments.repeats):
                for name, program in PROGRAMS.items():
                    runs[name].append(measure(*program, *options))
        print(f'\n{reason}\n\n{table({name: medians(each) for name, each in runs.items()})}')


if __name__ == '__main__':
    run('refused_start', main)
