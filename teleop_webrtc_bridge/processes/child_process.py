"""
Child processes of this package: their start, supervision, and death with the parent.

The robot's WebRTC half and the broker's media processes are such children. They are started as
modules of this package, and replaced when they hang or use too much memory.
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
"""Period of the checks."""
LATE_S: Final = 0.5
"""Cap on counted lateness, so that our own suspension is not blamed on the child."""
HUNG_S: Final = 10.0
"""Silence after which a child, which reports once a second, counts as hung. The robot stops within
a quarter of a second; a child that recovers before this limit keeps its connections."""
START_S: Final = 120.0
"""The same before its first report: imports take long on a busy computer."""
LARGEST_BYTES: Final = 2**30
"""Memory limit. The WebRTC half of a robot with a 720p camera uses 0.16 GB."""
FIRST_BACK_OFF_S: Final = 0.2
LONGEST_BACK_OFF_S: Final = 5.0
STEADY_S: Final = 5.0
"""The successor of a child that lived this long starts at once, because an operator may be
waiting. Starting a child this often takes a tenth of a core."""
OOM_SCORE: Final = 500
"""Added to ``oom_score_adj``, so that the kernel kills the child before its parent."""

_PAGE_BYTES: Final = resource.getpagesize()
_PR_SET_PDEATHSIG: Final = 1


class ChildWatch:
    """
    Decides when to kill one child.

    Time is an argument: ``now`` is in seconds of any steady clock.

    :param now: When the child was started.
    :param words: Number of reports of its predecessors.
    :param largest_bytes: Its memory limit.
    :param hung_s: How long it may be silent after its first report.
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
        Return why to kill the child; ``None``: it is healthy.

        :param words: Number of reports of the child and its predecessors.
        :param memory_bytes: Its memory.
        """
        self._silent_s += min(now - self._turn_s, TURN_S + LATE_S)
        self._turn_s = now
        if words != self._words:
            self._words, self._silent_s, self._has_spoken = words, 0.0, True
        if self._silent_s > (self._hung_s if self._has_spoken else START_S):
            return f'it has reported nothing for {self._silent_s:.0f} s'
        if memory_bytes > self._largest_bytes:
            return f'it uses {memory_bytes / 2**20:.0f} MiB of memory'
        return None


def memory_bytes(pid: int) -> int:
    """
    Return the unshared resident memory of a process; 0 when it has ended.

    Shared memory does not count: images of several large cameras are not a leak.
    """
    try:
        resident, shared = Path(f'/proc/{pid}/statm').read_text('ascii').split()[1:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES


def back_off_s(previous_s: float, lived_s: float) -> float:
    """
    Return how long to wait before the next child is started, in seconds.

    :param previous_s: The previous result; 0.0 for the first child.
    :param lived_s: How long the last child lived.
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
    Tie this process to its parent; call it first of all. Linux only.

    The kernel kills this process when the *thread* that started it ends, and kills it first when
    memory runs out. Signals of a terminal are ignored: the parent ends its children.

    :param parent: The parent's process id.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit('the parent is gone already')
    with suppress(OSError):
        Path('/proc/self/oom_score_adj').write_text(str(OOM_SCORE), 'ascii')
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
