"""
The WebRTC half as a child process, which is restarted when it ends or hangs.

It does not stop the robot: :mod:`~teleop_webrtc_bridge.bridge.ros.drive` does, at the half's end.
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

from collections.abc import Callable, Sequence
import os
import select
import socket
import subprocess
import sys
import threading
import time
from typing import Final

from teleop_webrtc_bridge.bridge.link.packets import Configure, encode
from teleop_webrtc_bridge.bridge.ros.parameters.table import API_KEY_VARIABLE
from teleop_webrtc_bridge.processes.child_process import (
    back_off_s,
    child_environment,
    ChildWatch,
    LARGEST_BYTES,
    memory_bytes,
    TURN_S,
)

__all__ = ['WebrtcProcess']

GOODBYE_S: Final = 3.0
"""Time for the child to end after the request; its DELETE takes at most 2 s."""


class WebrtcProcess:
    """
    The child process and the thread that watches it.

    The thread, not the caller, starts each child: the kernel kills the child when the *thread*
    that started it ends (PR_SET_PDEATHSIG), and this one lives as long as the process.

    :param configure: The first packet to each child. It holds the API key, which is therefore
        neither on the child's command line nor in its environment.
    :param memories: Descriptors of the cameras' shared memories, in configuration order.
    :param wake: Descriptor of the eventfd that announces frames of any camera.
    :param on_link: Called from the watching thread with our end of the link to each new child.
    :param warn: Logs that a child ended by itself.
    :param words: Returns the number of status messages from all children until now.
    :param program: The module to run.
    :param largest_bytes: Memory limit of a child.
    """

    def __init__(
        self,
        configure: Configure,
        *,
        memories: Sequence[int],
        wake: int,
        on_link: Callable[[socket.socket], None],
        warn: Callable[[str], None],
        words: Callable[[], int],
        program: str = 'teleop_webrtc_bridge.bridge.webrtc',
        largest_bytes: int = LARGEST_BYTES,
    ) -> None:
        self.restarts = 0
        """How often a child ended by itself."""
        self._configure = configure
        self._memories = tuple(memories)
        self._wake = wake
        self._on_link = on_link
        self._warn = warn
        self._words = words
        self._program = program
        self._largest_bytes = largest_bytes
        self._ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name='webrtc_process', daemon=True)

    @property
    def pid(self) -> int | None:
        """The present child's process id."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Wait until the child, which has been asked to end, has ended; else kill it."""
        self._ending.set()
        self._thread.join(GOODBYE_S)
        if self._thread.is_alive() and self._child is not None:
            self._child.kill()
            self._thread.join()

    def _watch(self) -> None:
        pause_s = 0.0
        while not self._ending.is_set():
            started_s = time.monotonic()
            child = self._spawn()
            status = self._wait(child)
            if self._ending.is_set():
                return
            lived_s = time.monotonic() - started_s
            pause_s = back_off_s(pause_s, lived_s)
            # Status 0: it was asked to leave (~/reconnect), which is not a fault.
            if status != 0:
                self.restarts += 1
                self._warn(
                    f'event=webrtc_process_ended pid={child.pid} status={status} '
                    f'lived_s={lived_s:.1f} restart_in_s={pause_s:.1f}'
                )
            self._ending.wait(pause_s)

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Return the child's exit status; kill it if it hangs or exceeds its memory limit."""
        watch = ChildWatch(time.monotonic(), self._words(), largest_bytes=self._largest_bytes)
        pidfd = os.pidfd_open(child.pid)
        try:
            ended = select.poll()
            ended.register(pidfd, select.POLLIN)
            while not ended.poll(1e3 * TURN_S):
                reason = watch.turn(
                    time.monotonic(), words=self._words(), memory_bytes=memory_bytes(child.pid)
                )
                if reason is not None:
                    self._warn(f'event=webrtc_process_given_up pid={child.pid} reason="{reason}"')
                    child.kill()
                    break
        finally:
            os.close(pidfd)
        return child.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            numbers = (theirs.fileno(), os.getpid(), self._wake, *self._memories)
            command = [sys.executable, '-m', self._program, *map(str, numbers)]
            self._child = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(), self._wake, *self._memories),
                env=child_environment(without=API_KEY_VARIABLE),
                # A terminal's Ctrl-C must not reach the child, which is asked to end.
                process_group=0,
            )
        ours.setblocking(False)
        ours.send(encode(self._configure))
        self._on_link(ours)
        return self._child
