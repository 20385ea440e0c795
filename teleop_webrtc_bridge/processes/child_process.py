"""
What a child process of ours, and the process that watches it, have in common.

The robot's WebRTC half and the broker's media processes are such children: they are started as
modules of this package, die with their parent, and are replaced when they hang or take all memory.
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

from contextlib import suppress
import ctypes
import os
from pathlib import Path
import resource
import signal
import sys
from typing import Final

__all__ = [
    'LARGEST_BYTES',
    'TURN_S',
    'ChildWatch',
    'back_off_s',
    'child_environment',
    'live_as_child',
    'memory_bytes',
]

TURN_S: Final = 0.5
"""How often it is looked at."""
LATE_S: Final = 0.5
"""Later turns than this count as this late: a process that stood still has heard nobody."""
HUNG_S: Final = 10.0
"""Silence of a child that says once a second how it is. The robot stands from the first quarter of
a second on; a child that comes back sooner than this keeps its connections."""
START_S: Final = 120.0
"""Silence in the beginning: a busy computer takes long to import what it needs."""
LARGEST_BYTES: Final = 2**30
"""The WebRTC half of a robot with a camera of 720p takes 0.16 GB."""
FIRST_BACK_OFF_S: Final = 0.2
LONGEST_BACK_OFF_S: Final = 5.0
STEADY_S: Final = 5.0
"""The successor of a child that lived this long starts at once: an operator waits. To start as
often as that takes a tenth of a core."""
OOM_SCORE: Final = 500
"""Raises ``oom_score_adj``: short of memory, the kernel kills the child before its parent."""

_PAGE_BYTES: Final = resource.getpagesize()
_PR_SET_PDEATHSIG: Final = 1


class ChildWatch:
    """
    Decides when to give one child up.

    Time is an argument: ``now`` is in seconds of any steady clock.

    :param now: When the child was started.
    :param words: How often its predecessors have said something.
    :param largest_bytes: What it may hold.
    :param hung_s: How long a child that has spoken may be silent.
    """

    def __init__(
        self,
        now: float,
        words: int,
        *,
        largest_bytes: int = LARGEST_BYTES,
        hung_s: float = HUNG_S,
    ) -> None:
        self._turn_s = now
        self._silent_s = 0.0
        self._words = words
        self._has_spoken = False
        self._largest_bytes = largest_bytes
        self._hung_s = hung_s

    def turn(self, now: float, *, words: int, memory_bytes: int) -> str | None:
        """
        Return why the child must be killed; ``None``: it is well.

        :param words: How often it and its predecessors have said something.
        :param memory_bytes: What it holds.
        """
        self._silent_s += min(now - self._turn_s, TURN_S + LATE_S)
        self._turn_s = now
        if words != self._words:
            self._words, self._silent_s, self._has_spoken = words, 0.0, True
        if self._silent_s > (self._hung_s if self._has_spoken else START_S):
            return f'it has said nothing for {self._silent_s:.0f} s'
        if memory_bytes > self._largest_bytes:
            return f'it takes {memory_bytes / 2**20:.0f} MiB of memory'
        return None


def memory_bytes(pid: int) -> int:
    """
    Return the resident memory of a process that is its own; 0 when it has ended.

    Without what it shares: the images of several large cameras are no leak of its own.
    """
    try:
        resident, shared = Path(f'/proc/{pid}/statm').read_text('ascii').split()[1:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES


def back_off_s(previous_s: float, lived_s: float) -> float:
    """
    Return how long to wait before the next child is started, in seconds.

    :param previous_s: The same before the child that has ended; 0.0 for the first one.
    :param lived_s: How long it lived.
    """
    if lived_s > STEADY_S:
        return 0.0
    return min(max(2 * previous_s, FIRST_BACK_OFF_S), LONGEST_BACK_OFF_S)


def child_environment(*, without: str = '') -> dict[str, str]:
    """
    Return the environment for a child that runs a module of this package.

    :param without: A variable that the child must not see.
    """
    environment = {name: value for name, value in os.environ.items() if name != without}
    package = str(Path(__file__).parent.parent)
    paths = [package, *filter(None, environment.get('PYTHONPATH', '').split(os.pathsep))]
    return environment | {'PYTHONPATH': os.pathsep.join(paths)}


def live_as_child(parent: int) -> None:
    """
    Tie this process to the one that started it. For Linux; to be called first of all.

    The kernel kills it when the *thread* that started it ends, and ends it first when memory runs
    out. A terminal's signals are ignored: the parent says when it is time.

    :param parent: The parent's process id.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit('the parent is gone already')
    with suppress(OSError):
        Path('/proc/self/oom_score_adj').write_text(str(OOM_SCORE), 'ascii')
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
