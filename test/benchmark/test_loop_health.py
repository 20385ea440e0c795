"""The stopwatch distinguishes callbacks that computed from those that waited."""

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

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest
from tree import ROOT

from benchmark.loop_health import judge

PROGRAM = """
import asyncio, time

async def computes():
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass

async def waits():
    time.sleep(0.02)

async def main():
    for step in (computes, waits):
        await asyncio.create_task(step())

asyncio.run(main())
"""


@pytest.mark.real_programs
def test_computing_and_waiting_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / 'program_with_a_loop.py').write_text(PROGRAM)
    file = tmp_path / 'calls.json'
    subprocess.run(
        [
            *(sys.executable, '-m', 'benchmark.loop_probe', str(file)),
            *(sys.executable, '-m', 'program_with_a_loop'),
        ],
        env=os.environ | {'PYTHONPATH': f'{ROOT}{os.pathsep}{tmp_path}'},
        timeout=60.0,
        check=True,
    )
    slow = {call['callback']: call for call in json.loads(file.read_text())['slow']}
    assert slow['task computes']['cpu_ms'] >= 20.0
    assert slow['task waits']['wall_ms'] >= 20.0
    assert slow['task waits']['cpu_ms'] < 20.0


def test_only_what_ended_within_the_window_counts() -> None:
    found = {
        'calls': [(1.0, 50.0), (2.0, 6.0), (3.0, 1.0), (4.0, 60.0)],
        'slow': [
            {'at_s': 2.0, 'callback': 'x', 'wall_ms': 6.0, 'cpu_ms': 2.5},
            {'at_s': 4.0, 'callback': 'y', 'wall_ms': 60.0, 'cpu_ms': 59.0},
        ],
        'collections_ms': [(2.5, 4.0), (4.0, 30.0)],
    }
    figures = judge(found, 1.5, 3.5)
    assert figures['callbacks_a_second'] == 1.0
    assert figures['clock_max_ms'] == 6.0
    assert figures['computed_max_ms'] == 2.5
    assert (figures['over_5_ms_by_the_clock'], figures['over_5_ms_computed']) == (1, 0)
    assert (figures['garbage_collections'], figures['longest_collection_ms']) == (1, 4.0)
