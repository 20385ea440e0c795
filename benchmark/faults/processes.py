"""Processes on the three hosts: started in a namespace, read line by line, always ended."""

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

from collections.abc import Callable, Mapping, Sequence
import ctypes
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Final, TypeVar

import psutil

__all__ = ['Process', 'TooSlow', 'alive', 'wait_for']

ROOT: Final = Path(__file__).resolve().parents[2]
END_S: Final = 6.0
#: linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
POLL_S: Final = 0.01
BUSY_WAIT_S: Final = 90.0
"""Time in which a healthy stack reaches an expected state, even on a busy machine."""

_T = TypeVar('_T')


class TooSlow(Exception):
    """Something expected did not happen; the text says what."""


def wait_for(condition: Callable[[], _T], what: str, timeout_s: float = BUSY_WAIT_S) -> _T:
    """
    Return the first true value of a condition.

    :raises TooSlow: The condition stays false.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TooSlow(f'not within {timeout_s:g} s: {what}')
        time.sleep(POLL_S)
    return value


_libc: Final = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """Let the kernel kill this process when the matrix is killed, which then ends nothing."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Process:
    """
    A Python module as a process.

    JSON on its standard output is kept as events, all other output as lines. Lists only grow, so
    any thread may read them.

    :param prefix: Command prefix that runs it on a host.
    :param log: File for its standard error.
    """

    def __init__(
        self,
        prefix: Sequence[str],
        module: str,
        *arguments: str,
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.name = module
        self._log = log
        with log.open('ab') as errors:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, '-m', module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(environment),
                cwd=ROOT,
                text=True,
                preexec_fn=_die_with_parent,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{'):
                self.events.append(json.loads(line))
            else:
                self.lines.append(line.rstrip('\n'))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status; ``None`` while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float = BUSY_WAIT_S) -> int:
        """
        Return its exit status.

        :raises TooSlow: It does not end.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TooSlow(f'{self.name} did not end') from None

    def order(self, text: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text + '\n')
        self._process.stdin.flush()

    def close_input(self) -> None:
        """End its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; return the time, in seconds of ``time.monotonic``."""
        now = time.monotonic()
        self._process.send_signal(number)
        return now

    def of_kind(self, kind: str, since_s: float = 0.0) -> list[dict[str, Any]]:
        """Return the events of a kind that were written since a time."""
        return [e for e in list(self.events) if e['kind'] == kind and e['at_s'] >= since_s]

    def wait_for_event(
        self, kind: str, since_s: float = 0.0, timeout_s: float = BUSY_WAIT_S
    ) -> dict[str, Any]:
        """
        Return the first event of a kind since a time.

        :raises TooSlow: It does not come, or the process ended.
        """

        def first() -> dict[str, Any] | None:
            found = self.of_kind(kind, since_s)
            if not found and self.status is not None:
                raise TooSlow(f'{self.name} ended with {self.status}: {self._log.read_text()}')
            return found[0] if found else None

        return wait_for(first, f'{kind} of {self.name}', timeout_s) or {}

    def wait_for_line(self, text: str) -> str:
        """
        Return the first line that contains a text.

        :raises TooSlow: It does not come, or the process ended.
        """

        def first() -> str | None:
            if self.status is not None:
                raise TooSlow(f'{self.name} ended with {self.status}: {self._log.read_text()}')
            return next((line for line in list(self.lines) if text in line), None)

        return wait_for(first, f'{text!r} of {self.name}') or ''

    def end(self) -> None:
        """Kill it and its children, stopped or not."""
        family = _family(self.pid)
        for process in family:
            _signal(process, signal.SIGCONT)
        _signal_pid(self._process, signal.SIGTERM)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in family:
            _signal(process, signal.SIGKILL)
        self._reader.join(END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


def _family(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _signal_pid(process: subprocess.Popen[str], number: signal.Signals) -> None:
    if process.poll() is None:
        os.kill(process.pid, number)
