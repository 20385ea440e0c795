"""Standard output and error that never block; unread lines are lost."""

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
"""How long the end of the process waits for a reader of the last lines."""


@contextmanager
def output_that_never_blocks() -> Iterator[None]:
    """
    Redirect standard output and standard error into a non-blocking pipe, which a thread reads.

    rclpy holds the GIL while it writes a log line. If the reader is stuck (a stopped launch, a
    terminal after Ctrl-S, a supervisor that hangs), it blocks every thread of the process,
    including the one that stops the robot. Writes to the pipe do not block; lines that do not fit
    are lost. Child processes inherit the pipe.
    """
    # None: it was closed when the process started.
    streams = {1: sys.stdout, 2: sys.stderr}
    kept = {number: os.dup(number) for number, stream in streams.items() if stream is not None}
    for number in kept:
        streams[number].flush()
    if os.isatty(2):
        # rcutils would check the pipe, which is not a terminal.
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
    """Forward everything until all writers are gone; this may block."""
    while data := os.read(source, CHUNK_BYTES):
        while data:
            try:
                data = data[os.write(target, data) :]
            except OSError:
                # A full disk or a closed terminal: the data are lost.
                break
