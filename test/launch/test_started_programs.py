"""The real programs, started with exactly the command lines that the launch files produce."""

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

from collections.abc import Callable, Iterator, Sequence
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time
from typing import Any
import urllib.request

from package_setup import python_command
from programs import free_port
import pytest
from starting import IS_STAND_IN, start, Started

pytestmark = pytest.mark.real_programs

pytest.importorskip('rclpy')
pytest.importorskip('aiortc')

START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0


class Programs:
    """Starts programs and ends them with the test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, started: Started) -> tuple[subprocess.Popen[bytes], Callable[[], str]]:
        """Return the process, and a function that returns its output so far."""
        log = self._directory / f'{len(self._running)}_{started.executable}.log'
        with log.open('wb') as file:
            process = subprocess.Popen(
                [sys.executable, '-c', python_command(started.executable), *started.arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        return process, log.read_text

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    programs.end()


@pytest.fixture
def port() -> int:
    return free_port()


def wait_for(
    condition: Callable[[], Any], process: subprocess.Popen[bytes], said: Callable[[], str]
) -> Any:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (result := condition()):
        assert process.poll() is None, said()
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)
    return result


def sessions(port: int, token: str) -> Sequence[dict[str, Any]]:
    request = urllib.request.Request(
        f'http://127.0.0.1:{port}/api/v1/sessions', headers={'Authorization': f'Bearer {token}'}
    )
    with urllib.request.urlopen(request, timeout=5.0) as response:
        return json.load(response)


def end(process: subprocess.Popen[bytes], said: Callable[[], str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(END_TIMEOUT_S) == 0, said()
    assert 'Traceback' not in said()


@pytest.mark.skipif(not IS_STAND_IN, reason='the real launch starts them itself, see starting.py')
def test_a_robot_joins_the_broker_that_is_started_beside_it(
    programs: Programs, port: int, tmp_path: Path
) -> None:
    arguments = {
        'robot_id': '007',
        'broker_port': str(port),
        'broker_state_dir': str(tmp_path / 'state'),
        'namespace': 'go2_a',
    }
    started = start('demo.launch.py', arguments, count=3)
    by_name = {it.executable: it for it in started}
    broker, broker_said = programs.start(by_name['teleop_broker'])
    address, link = wait_for(
        lambda: re.search(
            r'^Operator page: (\S+) \(sign-in link: (.+)\)\n', broker_said(), re.MULTILINE
        ),
        broker,
        broker_said,
    ).groups()
    linked, _, token = Path(link).read_text().strip().partition('#token=')
    assert linked == address
    assert address == f'http://127.0.0.1:{port}/'
    key_file = tmp_path / 'state' / 'robot_api_key'
    assert key_file.stat().st_mode & 0o077 == 0

    robot, robot_said = programs.start(by_name['simulated_robot'])
    bridge, bridge_said = programs.start(by_name['teleop_bridge'])
    listed = wait_for(lambda: sessions(port, token), bridge, bridge_said)
    assert [row['robot_id'] for row in listed] == ['007']
    assert key_file.read_text().strip() not in bridge_said() + broker_said()
    assert token not in bridge_said() + broker_said()

    end(bridge, bridge_said)
    assert sessions(port, token) == []
    end(robot, robot_said)
    end(broker, broker_said)


@pytest.mark.skipif(not IS_STAND_IN, reason='the real launch starts them itself, see starting.py')
@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        ({'broker_url': 'http://broker.example'}, 'broker_url'),
        ({'api_key_file': '/does/not/exist'}, 'api_key_file'),
        ({'api_key_file': ''}, 'TELEOP_API_KEY'),
        ({'robot_id': 'x' * 65}, 'robot_id'),
    ],
)
def test_what_cannot_work_ends_the_bridge_with_one_line(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], named: str
) -> None:
    monkeypatch.delenv('TELEOP_API_KEY', raising=False)
    merged = {'broker_url': 'https://127.0.0.1:9', 'api_key_file': os.devnull, **arguments}
    (started,) = start('go2.launch.py', merged, count=1)
    process, said = programs.start(started)
    assert process.wait(START_TIMEOUT_S) == 2, said()
    (line,) = said().splitlines()
    assert named in line
