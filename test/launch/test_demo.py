"""scripts/demo as a newcomer runs it, except for the browser."""

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

from collections.abc import Iterator
import os
from pathlib import Path
import re
import signal
import subprocess

from programs import free_port
import pytest
from tree import ROOT

pytestmark = pytest.mark.real_programs

DEMO = ROOT / 'scripts' / 'demo'
END_TIMEOUT_S = 20.0

is_set_up = pytest.mark.skipif(
    not (ROOT / '.venv' / '.setup').exists(), reason='scripts/setup has not run here'
)


class RunningDemo:
    """The demo that a test has started."""

    def __init__(self, process: subprocess.Popen[str], page: str) -> None:
        self.process = process
        self.page = page

    def pids(self) -> dict[str, int]:
        """Return the programs' processes from the output of ``--verbose``."""
        assert self.process.stderr is not None
        pids: dict[str, int] = {}
        while len(pids) < 3:
            found = re.match(r'demo: (\w+) has process (\d+)', self.process.stderr.readline())
            assert found
            pids[found[1]] = int(found[2])
        return pids


@pytest.fixture
def demo() -> Iterator[RunningDemo]:
    port = free_port()
    process = subprocess.Popen(
        [DEMO, '--headless', '--verbose', '--port', str(port), '--robot-id', '007'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(rf'Operator page: (http://127\.0\.0\.1:{port}/#token=\S+)\n', line)
    try:
        assert found, line + process.communicate(timeout=END_TIMEOUT_S)[1]
        graph = process.stdout.readline()
        assert re.fullmatch(
            r'ROS graph: ROS_DOMAIN_ID=\d+ ROS_AUTOMATIC_DISCOVERY_RANGE=\w+\n', graph
        )
        yield RunningDemo(process, found[1])
    finally:
        process.terminate()
        process.communicate(timeout=END_TIMEOUT_S)


@is_set_up
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(demo: RunningDemo, number: signal.Signals) -> None:
    pids = demo.pids()
    demo.process.send_signal(number)
    rest, said = demo.process.communicate(timeout=END_TIMEOUT_S)
    assert demo.process.returncode == 0
    assert rest == ''
    # The bridge first: its last zero needs a robot, and its DELETE a broker.
    assert said.splitlines()[-3:] == [
        'demo: ending bridge',
        'demo: ending simulated_robot',
        'demo: ending broker',
    ]
    assert not any(Path(f'/proc/{pid}').exists() for pid in pids.values())


@is_set_up
@pytest.mark.parametrize('name', ['bridge', 'simulated_robot', 'broker'])
def test_a_program_that_ends_by_itself_ends_the_demo(demo: RunningDemo, name: str) -> None:
    pids = demo.pids()
    os.kill(pids[name], signal.SIGKILL)
    _, said = demo.process.communicate(timeout=END_TIMEOUT_S)
    assert demo.process.returncode == 1
    assert f'demo: {name} has ended by itself, SIGKILL' in said
    assert not any(Path(f'/proc/{pid}').exists() for pid in pids.values())


@is_set_up
def test_a_second_demo_on_the_same_port_leaves_the_first_one_and_its_logs_alone(
    demo: RunningDemo,
) -> None:
    port = re.search(r':(\d+)/', demo.page)
    assert port
    options = ['--headless', '--port', port[1]]
    found = subprocess.run([DEMO, *options], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert f'--port {port[1]}' in found.stderr.splitlines()[-1]
    assert demo.process.poll() is None


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (['--port', '0'], '--port'),
        (['--port', '65536'], '--port'),
        (['--port', 'http'], '--port'),
        (['--robot-id', ''], '--robot-id'),
        (['--robot-id', 'x' * 65], '--robot-id'),
        (['--robot-id', 'a\nb'], '--robot-id'),
        (['--head'], '--head'),
        (['more'], 'more'),
    ],
)
def test_bad_options_end_it_with_one_line(options: list[str], named: str) -> None:
    found = subprocess.run([DEMO, *options], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, '')
    (line,) = found.stderr.splitlines()
    assert named in line


def test_help_names_options_and_logs() -> None:
    found = subprocess.run([DEMO, '--help'], capture_output=True, text=True, check=True)
    for text in ('--robot-id', '--port', '--headless', 'Ctrl-C', '.log'):
        assert text in found.stdout
