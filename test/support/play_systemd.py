"""
Stand-in for systemd with the bridge's unit: starts a program, watches it, and restarts it.

Its arguments are the watchdog's time-out in seconds and the command line of the program; the unit
file gives the rest. SIGINT and SIGTERM end both.
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

from collections.abc import Mapping
import os
from pathlib import Path
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from systemd_unit import BRIDGE, read_unit, Unit

# As systemd does: these variables tell the program that it is the unit's main process.
WITH_ITS_PID = ('/bin/sh', '-c', 'export WATCHDOG_PID=$$ SYSTEMD_EXEC_PID=$$; exec "$@"', 'sh')


class Player:
    """One running unit, and the socket on which its program notifies its state."""

    def __init__(self, unit: Unit, watchdog_s: float, command: list[str]) -> None:
        self._unit = unit
        self._watchdog_s = watchdog_s
        self._command = command
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._is_ending, self._wake = os.pipe()

    def end(self, *_: object) -> None:
        os.write(self._wake, b'x')

    def run(self, folder: str) -> int:
        """Run the program until it must not be restarted; return its status."""
        path = str(Path(folder) / 'notify')
        self._socket.bind(path)
        environment = {
            **os.environ,
            'NOTIFY_SOCKET': path,
            'WATCHDOG_USEC': str(round(1e6 * self._watchdog_s)),
        }
        while True:
            status = self._run_once(environment)
            is_asked = bool(select.select([self._is_ending], [], [], 0.0)[0])
            if is_asked or not self._unit.is_repeated(status):
                return status
            say(f'ended with status {status}, again in {self._unit.restart_s} s')
            if select.select([self._is_ending], [], [], self._unit.restart_s)[0]:
                return status

    def _run_once(self, environment: Mapping[str, str]) -> int:
        process = subprocess.Popen([*WITH_ITS_PID, *self._command], env=environment)
        ended = os.pidfd_open(process.pid)
        deadline_s = None
        while True:
            wait_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            sources: list[Any] = [ended, self._is_ending, self._socket]
            ready, _, _ = select.select(sources, [], [], wait_s)
            if ended in ready:
                break
            if self._is_ending in ready:
                process.terminate()
                break
            if self._socket in ready:
                text = self._socket.recv(4096).decode('ascii')
                if text != 'WATCHDOG=1':
                    say(text)
                deadline_s = time.monotonic() + self._watchdog_s
            else:
                say(f'not fed for {self._watchdog_s} s')
                process.send_signal(self._unit.watchdog_signal)
                deadline_s = None
        os.close(ended)
        return process.wait()


def say(text: str) -> None:
    print(f'systemd: {text}', flush=True)


if __name__ == '__main__':
    player = Player(read_unit(BRIDGE, 'driven'), float(sys.argv[1]), sys.argv[2:])
    signal.signal(signal.SIGINT, player.end)
    signal.signal(signal.SIGTERM, player.end)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(player.run(folder))
