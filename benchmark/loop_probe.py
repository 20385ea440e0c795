"""
Runs an asyncio program with a stopwatch in its loop.

``python3 -m benchmark.loop_probe FILE PROGRAM``, where ``PROGRAM`` is the command line
``python3 -m MODULE ARGUMENTS``; it runs in this process. When it ends, the durations of the
callbacks are written to the file as JSON: wall-clock time, and the CPU time of the loop's thread.
The difference is waiting for the interpreter's lock or for a core.
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

import asyncio
import gc
import json
from pathlib import Path
import runpy
import sys
import time
from typing import Any, Final

__all__ = ['Stopwatch']

NOTED_MS: Final = 2.0
"""Callbacks that take longer are recorded by name."""


class Stopwatch:
    """Times the callbacks of this process's event loops; owned by the thread that runs them."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, float]] = []
        """End of each callback in seconds of ``time.monotonic``, and its duration in ms."""
        self.slow: list[dict[str, Any]] = []
        self.collections_ms: list[tuple[float, float]] = []
        """The same for garbage collections."""
        self._collection_s = 0.0

    def start(self) -> None:
        """Begin to measure."""
        private: Any = asyncio.Handle
        run = private._run

        def timed(handle: Any) -> None:
            name, collections = handle._callback, len(self.collections_ms)
            at_s, cpu_s = time.perf_counter(), time.thread_time()
            run(handle)
            wall_ms = 1e3 * (time.perf_counter() - at_s)
            self.calls.append((round(time.monotonic(), 3), round(wall_ms, 3)))
            if wall_ms > NOTED_MS:
                cpu_ms = 1e3 * (time.thread_time() - cpu_s)
                self.slow.append(
                    {
                        'at_s': time.monotonic(),
                        'callback': _name(name),
                        'wall_ms': wall_ms,
                        'cpu_ms': cpu_ms,
                        'collected_garbage': len(self.collections_ms) > collections,
                    }
                )

        private._run = timed
        gc.callbacks.append(self._on_collection)

    def _on_collection(self, phase: str, about: dict[str, int]) -> None:
        if phase == 'start':
            self._collection_s = time.perf_counter()
        else:
            took_ms = 1e3 * (time.perf_counter() - self._collection_s)
            self.collections_ms.append((round(time.monotonic(), 3), round(took_ms, 3)))

    def write(self, file: Path) -> None:
        found = {
            'calls': self.calls,
            'slow': self.slow,
            'collections_ms': self.collections_ms,
        }
        file.write_text(json.dumps(found))


def _name(callback: Any) -> str:
    """Return the name of a callback; for the step of a task, that of its coroutine."""
    owner = getattr(callback, '__self__', None)
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        return f'task {coroutine.__qualname__}'
    return str(getattr(callback, '__qualname__', callback))


def main() -> None:
    file, _, _, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    stopwatch = Stopwatch()
    stopwatch.start()
    try:
        runpy.run_module(module, run_name='__main__', alter_sys=True)
    finally:
        stopwatch.write(Path(file))


if __name__ == '__main__':
    main()
