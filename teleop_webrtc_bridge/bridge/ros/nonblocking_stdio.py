"""What is printed never holds the process up: if nobody reads it, lines are lost, not time."""

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
from contextlib import contextmanager
import os
import sys
import threading
from typing import Final

__all__ = ['output_that_never_blocks']

CHUNK_BYTES: Final = 64 * 1024
LAST_LINES_S: Final = 1.0
"""How long the end waits for the reader of the last lines."""


@contextmanager
def output_that_never_blocks() -> Iterator[None]:
    """
    Put a pipe of ours, with a thread behind it, before standard output and standard error.

    rclpy writes a log line while it holds the GIL. If whoever should read it does not (a launch
    that is stopped, a terminal after Ctrl-S, a supervisor that hangs), it waits there, and with it
    every thread of the process, the one that has to stop the robot included. Into our pipe it
    writes without waiting; what finds no room is lost. The child processes inherit the pipe.
    """
    # None: it was closed when the process was started.
    streams = {1: sys.stdout, 2: sys.stderr}
    kept = {number: os.dup(number) for number, stream in streams.items() if stream is not None}
    for number in kept:
        streams[number].flush()
    if os.isatty(2):
        # rcutils asks the pipe, which is no terminal.
        os.environ.setdefault('RCUTILS_COLORIZED_OUTPUT', '1')
    threads = [_put_pipe_before(number, target) for number, target in kept.items()]
    try:
        yield
    finally:
        for number, target in kept.items():
            os.dup2(target, number)
        for thread in threads:
            thread.join(LAST_LINES_S)


def _put_pipe_before(number: int, target: int) -> threading.Thread:
    source, ours = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    os.dup2(ours, number)
    os.close(ours)
    thread = threading.Thread(
        target=_forward, args=(source, target), name=f'output_{number}', daemon=True
    )
    thread.start()
    return thread


def _forward(source: int, target: int) -> None:
    """Pass everything on until nobody can write any more; here it may wait."""
    while data := os.read(source, CHUNK_BYTES):
        while data:
            try:
                data = data[os.write(target, data) :]
            except OSError:
                # A full disk, a closed terminal: it has nowhere to go.
                break
