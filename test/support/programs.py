"""The package's programs as real processes, for tests and benchmarks."""

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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, ExitStack
import os
from pathlib import Path
import random
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TypeVar

from ros_domain import FIRST_FREE_PORT
from tree import ROOT

END_S = 10.0
#: Not seeded: tests that run in parallel must not try the same ports.
_RANDOM = random.SystemRandom()

_T = TypeVar('_T')


def wait_for(condition: Callable[[], _T], *, timeout_s: float = 30.0, what: str = '') -> _T:
    """Return the first true value of a condition; fail after a time-out."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'not within {timeout_s:g} s: {what or condition}')
        time.sleep(0.01)


def free_port() -> int:
    """Return a free TCP port, which stays free while its user restarts."""
    return _free_ports(1, socket.SOCK_STREAM)[0]


def free_udp_ports(count: int) -> tuple[int, int]:
    """Return the first and the last port of a range of free UDP ports."""
    return _free_ports(count, socket.SOCK_DGRAM)


def _free_ports(count: int, kind: socket.SocketKind) -> tuple[int, int]:
    while True:
        # Above the ports of DDS, below the ephemeral ports of the system.
        first = _RANDOM.randrange(FIRST_FREE_PORT, 32_768 - count)
        ports = range(first, first + count)
        with ExitStack() as ends:
            try:
                for port in ports:
                    probe = ends.enter_context(socket.socket(socket.AF_INET, kind))
                    probe.bind(('', port))
            except OSError:
                continue
        return ports[0], ports[-1]


def page_address(line: str, root: Path = Path('/')) -> str:
    """
    Return the complete address of the operator page from a line of the broker.

    :param root: Root of the broker's file system, as this process sees it.
    """
    page = line.partition('Operator page: ')[2].strip()
    kept = re.fullmatch(r'\S+ \(sign-in link: (.+)\)', page)
    return (root / kept[1].lstrip('/')).read_text(encoding='ascii').strip() if kept else page


class Program:
    """One of our programs as a process, with its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def wait_for_line(self, text: str, *, timeout_s: float = 60.0) -> str:
        """Return the first line that contains the text."""

        def found() -> str | None:
            if self.process.poll() is not None and text not in self.output():
                raise AssertionError(f'ended with {self.process.returncode}: {self.output()}')
            return next((line for line in self.output().splitlines() if text in line), None)

        return str(wait_for(found, timeout_s=timeout_s, what=f'{text!r} in {self.log}'))

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Signal the process to end and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'did not end: {self.output()}') from None


class Programs:
    """
    Starts programs and ends them in reverse order.

    :param folder: For logs and state.
    :param environment: Added to this process's environment.
    :param launcher: Command before each command line; its process becomes the program.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._launcher = launcher
        self.running: list[Program] = []
        # The latch of a killed bridge must not affect the bridge of the next test.
        home = {'ROS_HOME': str(folder / 'ros_home')}
        self.environment = {**home, **os.environ, **(environment or {})}
        """Environment of the programs that are started from now on."""
        self.environment.pop('TELEOP_API_KEY', None)

    def start(self, module: str, *arguments: str, name: str | None = None) -> Program:
        log = self.folder / f'{name or module.rpartition(".")[2]}_{len(self.running)}.log'
        with log.open('wb') as output:
            process = subprocess.Popen(
                [
                    *self._launcher,
                    sys.executable,
                    '-m',
                    f'teleop_webrtc_bridge.{module}',
                    *arguments,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=ROOT,
            )
        program = Program(process, log)
        self.running.append(program)
        return program

    def start_broker(self, *arguments: str) -> Broker:
        port = free_port()
        state_dir = self.folder / 'broker'
        program = self.start(
            'broker.main', '--port', str(port), '--state-dir', str(state_dir), *arguments
        )
        return Broker(program, port, state_dir)

    def start_bridge(
        self, broker_url: str, key_file: Path, robot_id: str, *arguments: str
    ) -> Program:
        return self.start(
            'bridge.ros.main',
            '--ros-args',
            *('-p', f'robot_id:="{robot_id}"'),
            *('-p', f'broker_url:={broker_url}'),
            *('-p', f'api_key_file:={key_file}'),
            *arguments,
            name='bridge',
        )

    def start_simulation(self, *arguments: str) -> Program:
        return self.start('demo.simulated_robot', '--ros-args', *arguments)

    def end(self) -> None:
        """End all programs, even if one of them does not end properly."""
        with ExitStack() as ends:
            for program in self.running:
                ends.callback(program.end)


class Broker:
    """
    A running broker and what is needed to use it.

    :param root: Root of its file system, as this process sees it.
    """

    def __init__(
        self, program: Program, port: int, state_dir: Path, root: Path = Path('/')
    ) -> None:
        self.program = program
        self.url = f'http://127.0.0.1:{port}'
        self.key_file = root / state_dir.relative_to('/') / 'robot_api_key'
        self.page = page_address(program.wait_for_line('Operator page: '), root)
        self.token = self.page.partition('token=')[2]
        program.wait_for_line('event=broker_ready')


@contextmanager
def programs(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Programs]:
    """End all started programs, whatever happens."""
    started = Programs(folder, environment)
    try:
        yield started
    finally:
        started.end()
