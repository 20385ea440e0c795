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

"""When the WebRTC half must be killed: it hangs, or takes all memory; it is then started again."""

from __future__ import annotations

from pathlib import Path
import resource
from typing import Final

__all__ = ['LARGEST_BYTES', 'TURN_S', 'ChildWatch', 'memory_bytes']

TURN_S: Final = 0.5
"""How often it is looked at."""
LATE_S: Final = 0.5
"""Later turns than this count as this late: a process that stood still has heard nobody."""
HUNG_S: Final = 10.0
"""Silence of a half that says once a second how it is. The robot stands from its first quarter of
a second on; a half that comes back sooner than this keeps its connection."""
START_S: Final = 120.0
"""Silence in the beginning: a busy computer takes long to import what it needs."""
LARGEST_BYTES: Final = 2**30
"""With a camera of 720p it takes 0.16 GB."""
_PAGE_BYTES: Final = resource.getpagesize()


class ChildWatch:
    """
    Decides when to give one child up.

    Pure: ``now`` comes in seconds of any steady clock.

    :param now: When the child was started.
    :param words: How often its predecessors have said something.
    :param largest_bytes: What it may hold.
    """

    def __init__(self, now: float, words: int, *, largest_bytes: int = LARGEST_BYTES) -> None:
        self._turn_s = now
        self._silent_s = 0.0
        self._words = words
        self._has_spoken = False
        self._largest_bytes = largest_bytes

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
        if self._silent_s > (HUNG_S if self._has_spoken else START_S):
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
