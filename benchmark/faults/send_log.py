"""
Log of the send time of each command, in a file that survives any end of the operator.

Each command has a distinct velocity for as long as it may matter, so a velocity on ``cmd_vel``
tells when the operator sent it.
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

import mmap
from pathlib import Path
import struct
from typing import Final

__all__ = ['SLOWEST', 'SendLog']

SLOTS: Final = 4096
"""More than a minute at 50 Hz."""
SLOWEST: Final = 0.5
"""All velocities lie between this and twice this, in m/s; exact in binary."""
_TIME: Final = struct.Struct('d')


class SendLog:
    """
    The times at which the newest commands were sent, by their velocity.

    :param path: File that writer and readers share.
    """

    def __init__(self, path: Path) -> None:
        size = SLOTS * _TIME.size
        with path.open('a+b') as file:
            file.truncate(size)
            self._times = mmap.mmap(file.fileno(), size)

    def velocity(self, number: int, now: float) -> float:
        """Record that a command is sent now; return the velocity that identifies it."""
        slot = number % SLOTS
        _TIME.pack_into(self._times, slot * _TIME.size, now)
        return SLOWEST * (1.0 + slot / SLOTS)

    def all_s(self) -> list[float]:
        """Return the times at which the newest commands were sent, unordered."""
        return [time_s for (time_s,) in _TIME.iter_unpack(self._times[:]) if time_s]

    def sent_s(self, velocity: float) -> float | None:
        """Return when the command with this velocity was sent; ``None``: it was altered."""
        slot = (velocity / SLOWEST - 1.0) * SLOTS
        if not 0.0 <= slot < SLOTS or slot != int(slot):
            return None
        (sent_s,) = _TIME.unpack_from(self._times, int(slot) * _TIME.size)
        return float(sent_s) or None
