"""Scheduling of the measuring programs, which must not suffer from the load under test."""

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

import os
import threading
import time
from typing import Final

__all__ = ['Canary', 'become_instrument']

PRIORITY: Final = 5
"""SCHED_FIFO priority: below the bridge's own drive thread, above everything else."""

PERIOD_S: Final = 0.02
LATE_S: Final = 0.06


class Canary:
    """
    A thread of normal priority that measures how long the machine makes such threads wait.

    The result puts the programs under test in context: they wait as long, whatever they do.
    """

    def __init__(self) -> None:
        self.waits: list[tuple[float, float]] = []
        """End and duration of each wait; only grows."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        due_s = time.monotonic()
        while not self._ended.wait(max(0.0, due_s - time.monotonic())):
            now = time.monotonic()
            if now - due_s > LATE_S:
                self.waits.append((now, now - due_s))
            due_s = max(due_s + PERIOD_S, now)

    def longest_s(self, begin_s: float, end_s: float) -> float:
        """Return the longest wait in a time span."""
        found = [wait_s for over_s, wait_s in list(self.waits) if begin_s <= over_s <= end_s]
        return max(found, default=0.0)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def become_instrument() -> None:
    """Run on time even where every core is busy; threads started from now on inherit this."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
