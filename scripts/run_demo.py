"""
The demo: runs a simulated robot, its bridge and a broker, and ends them in the right order.

Called by scripts/demo. It needs only the standard library, because it checks the options before
the virtual environment, in which the three programs run, exists.
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
from collections.abc import Mapping, Sequence
import contextlib
import ctypes
from dataclasses import dataclass
import fcntl
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Final, NoReturn
import urllib.error
import urllib.request

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from teleop_webrtc_bridge.core.configuration import check_robot_id  # noqa: E402
from teleop_webrtc_bridge.core.exceptions import ConfigurationError  # noqa: E402

START_TIMEOUT_S: Final = 30.0
POLL_INTERVAL_S: Final = 0.05
REQUEST_TIMEOUT_S: Final = 2.0
END_TIMEOUT_S: Final = 5.0
LAST_LOG_LINES: Final = 15
_ENDING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Ended(Exception):
    """A signal requests shutdown."""


class Failed(Exception):
    """
    The demo cannot continue.

    :param program: The program whose log has the reason.
    """

    def __init__(self, text: str, program: Program) -> None:
        super().__init__(text)
        self.program = program


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the command line."""

    robot_id: str
    port: int
    headless: bool
    verbose: bool

    @property
    def log_directory(self) -> Path:
        return ROOT / 'build' / f'demo-{self.port}'


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'{self.prog}: {message}\n')


def parse(arguments: Sequence[str]) -> Options:
    parser = _Parser(
        prog='demo',
        description='Starts a simulated robot, its bridge and a broker on this machine, and '
        'prints the address of the operator page. Open it, pick the robot, press connect, hold '
        'W, A, S or D. Ctrl-C ends everything. Sets up .venv the first time; a ROS 2 that is '
        'sourced in this terminal is not used.',
        epilog=f'Logs: {ROOT}/build/demo-PORT/{{broker,bridge,simulated_robot}}.log. The topics '
        'are visible on this machine only (ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST), on a '
        'separate ROS domain unless ROS_DOMAIN_ID is set.',
        allow_abbrev=False,
    )
    parser.add_argument(
        '--robot-id', type=_robot_id, default='demo-1', help='default: %(default)s'
    )
    parser.add_argument(
        '--port', type=_port, default=8765, help='port of the broker, default: 8765'
    )
    parser.add_argument('--headless', action='store_true', help='do not open the operator page')
    parser.add_argument('--verbose', action='store_true', help='report progress on stderr')
    return Options(**vars(parser.parse_args(arguments)))


def _robot_id(text: str) -> str:
    try:
        if text and check_robot_id(text):
            return text
    except ConfigurationError:
        pass
    raise argparse.ArgumentTypeError(
        f'{text!r} is not usable; allowed: 1 to 64 printable characters'
    )


def _port(text: str) -> int:
    if not re.fullmatch('[0-9]{1,5}', text) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f'{text!r} is not usable; allowed: 1 to 65535')
    return int(text)


class Program:
    """One of the three processes, and its log. Owned by :class:`Demo`."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_directory: Path,
    ) -> None:
        self.name = name
        self.log = log_directory / f'{name}.log'
        start = f'import sys; from {module} import main; sys.exit(main())'
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                [str(ROOT / '.venv/bin/python'), '-c', start, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C in the terminal must reach only this process: the shutdown order matters.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def said(self) -> str:
        return self.log.read_text(encoding='utf-8', errors='replace')

    def end(self) -> None:
        """Ask it to exit, and kill it if it does not."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _die_with_parent() -> None:
    """Run in the child before its program: default signals, and SIGTERM when we are killed."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Demo:
    """
    Owns the three processes.

    Single-threaded: the signals that end it, and SIGCHLD, stay blocked; it reads them while it
    waits.
    """

    def __init__(self, options: Options, private_directory: Path) -> None:
        self._options = options
        self._private = private_directory
        self._programs: list[Program] = []
        self._environment = {
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'PYTHONUNBUFFERED': '1',
            'ROS_LOG_DIR': str(options.log_directory / 'ros'),
            'ROS_HOME': str(private_directory / 'ros'),
        }
        # Separate from other robots, also on this machine.
        self._environment.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        self._environment.setdefault('ROS_DOMAIN_ID', str(1 + options.port % 100))

    def run(self) -> NoReturn:
        """
        Run until a signal arrives or a program ends.

        :raises Ended: A signal has arrived.
        :raises Failed: A program has ended by itself, or was not ready in time.
        """
        broker = self._start(
            'broker',
            'teleop_webrtc_bridge.broker.main',
            '--host=127.0.0.1',
            f'--port={self._options.port}',
            f'--state-dir={self._private / "broker"}',
            '--login-link',
        )
        self._start('simulated_robot', 'teleop_webrtc_bridge.demo.simulated_robot')
        page = self._wait_for(broker, lambda: self._page(broker))
        self._wait_for(broker, lambda: self._answer('health') == {'status': 'ok'})
        bridge = self._start(
            'bridge',
            'teleop_webrtc_bridge.bridge.ros.main',
            '--ros-args',
            '--params-file',
            str(self._parameters()),
        )
        token = page.partition('#token=')[2]
        self._wait_for(bridge, lambda: self._is_listed(token))
        names = ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE')
        graph = ' '.join(f'{name}={self._environment[name]}' for name in names)
        print(f'Operator page: {page}')
        print(f'ROS graph: {graph}', flush=True)
        if not self._options.headless:
            _open(page)
        while True:
            self._pause(None)

    def end(self) -> None:
        """End all programs: the bridge first, so that its last zero reaches the robot."""
        for name in ('bridge', 'simulated_robot', 'broker'):
            for program in self._programs:
                if program.name == name:
                    self._tell(f'ending {name}')
                    program.end()

    def _start(self, name: str, module: str, *arguments: str) -> Program:
        program = Program(
            name,
            module,
            arguments,
            environment=self._environment,
            log_directory=self._options.log_directory,
        )
        self._programs.append(program)
        self._tell(f'{name} has process {program.process.pid}, log {program.log}')
        return program

    def _wait_for(self, program: Program, condition: Any) -> Any:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (result := condition()):
            if time.monotonic() > deadline:
                raise Failed(
                    f'{program.name} was not ready within {START_TIMEOUT_S:.0f} s', program
                )
            self._pause(POLL_INTERVAL_S)
        return result

    def _pause(self, timeout_s: float | None) -> None:
        """
        Wait for a signal, or until the time is over.

        :raises Ended: A signal requests shutdown.
        :raises Failed: A program has ended.
        """
        wanted = _ENDING | {signal.SIGCHLD}
        if timeout_s is None:
            number = signal.sigwait(wanted)
        else:
            info = signal.sigtimedwait(wanted, timeout_s)
            # After SIGCONT, CPython may return a signal outside the requested set.
            known = info is not None and info.si_signo in wanted
            number = signal.Signals(info.si_signo) if info and known else signal.SIGCHLD
        if number in _ENDING:
            raise Ended
        for program in self._programs:
            status = program.process.poll()
            if status is not None:
                raise Failed(f'{program.name} has ended by itself, {_how(status)}', program)

    @staticmethod
    def _page(broker: Program) -> str:
        """Return the address with the token, which the broker writes to no log."""
        found = re.search(
            r'^Operator page: \S+ \(sign-in link: (.+)\)\n', broker.said(), re.MULTILINE
        )
        return Path(found[1]).read_text(encoding='ascii').strip() if found else ''

    def _is_listed(self, token: str) -> bool:
        sessions = self._answer('sessions', {'Authorization': f'Bearer {token}'})
        return isinstance(sessions, list) and any(
            session.get('robot_id') == self._options.robot_id for session in sessions
        )

    def _answer(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """Return the broker's answer, or ``None`` without one."""
        address = f'http://127.0.0.1:{self._options.port}/api/v1/{path}'
        # Never through a proxy that the environment may name.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(address, headers=dict(headers or {}))
        try:
            with opener.open(request, timeout=REQUEST_TIMEOUT_S) as response:
                return json.load(response)
        except (OSError, ValueError):
            return None

    def _parameters(self) -> Path:
        """Write the bridge's parameters to a file: with ``-p``, robot_id 007 would be a number."""
        path = self._private / 'bridge.yaml'
        parameters = {
            'robot_id': self._options.robot_id,
            'robot_name': self._options.robot_id,
            'robot_type': 'simulated',
            'broker_url': f'http://127.0.0.1:{self._options.port}',
            'api_key_file': str(self._private / 'broker/robot_api_key'),
            'cameras': ['front', 'rear'],
            'front': {'topic': 'camera/image_raw'},
            'rear': {'topic': 'camera_rear/image_raw'},
        }
        # JSON is YAML unless characters are escaped as surrogate pairs.
        text = json.dumps({'/**': {'ros__parameters': parameters}}, ensure_ascii=False)
        path.write_text(text, encoding='utf-8')
        return path

    def _tell(self, text: str) -> None:
        if self._options.verbose:
            print(f'demo: {text}', file=sys.stderr, flush=True)


def _how(status: int) -> str:
    return f'exit status {status}' if status >= 0 else signal.Signals(-status).name


def _open(page: str) -> None:
    """Open the page, where there is a display to open it on."""
    opener = shutil.which('xdg-open')
    if opener and (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        # Through two processes, so that it is not our child.
        subprocess.run(
            ['sh', '-c', '"$0" "$1" >/dev/null 2>&1 &', opener, page],
            stdin=subprocess.DEVNULL,
            check=False,
        )


def main(arguments: Sequence[str]) -> int:
    """
    Run the demo.

    :returns: 0 after a signal, 1 after a failure, 2 if an option is invalid.
    """
    options = parse(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        if subprocess.run([ROOT / 'scripts/setup'], check=False).returncode != 0:
            return 1
        return supervise(options)
    return 0


def supervise(options: Options) -> int:
    for number in _ENDING:
        # A shell without job control starts its children with SIGINT ignored.
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING | {signal.SIGCHLD})
    options.log_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(options.log_directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(
            f'demo: --port {options.port}: another demo uses it; allowed: a free one',
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory(prefix='teleop-demo-') as private_directory:
        demo = Demo(options, Path(private_directory))
        try:
            demo.run()
        except Ended:
            return 0
        except Failed as failure:
            lines = failure.program.said().splitlines()[-LAST_LOG_LINES:]
            print(f'demo: {failure}; last lines of {failure.program.log}:', file=sys.stderr)
            print(*(f'    {line}' for line in lines), sep='\n', file=sys.stderr)
            return 1
        finally:
            demo.end()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
