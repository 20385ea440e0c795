"""Whether the stamps of a camera's images mean anything on the node's clock; pure."""

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

import enum
from typing import Final

__all__ = ['StampFault', 'StampWatch']

MAX_OFF_S: Final = 1.0
"""A stamp further off the node's clock is told of."""
RECENT_S: Final = 1.0
"""How long the newest image tells how the stamps are."""


class StampFault(enum.Enum):
    """What is wrong with the stamps; the value says it."""

    ZERO = 'are stamped zero'
    BEHIND = "behind the node's clock"
    AHEAD = "ahead of the node's clock"


class StampWatch:
    """
    Compares the stamp of each image with the node's clock at its arrival.

    Written by the thread that takes images; any other one may ask.
    """

    def __init__(self) -> None:
        self._newest: tuple[float, StampFault | None, float] = (float('-inf'), None, 0.0)
        """Arrival, fault, age."""

    def note(self, stamp_ns: int, age_s: float, now: float) -> None:
        """
        Take an image.

        :param stamp_ns: Its stamp.
        :param age_s: What the node's clock is ahead of that, in seconds.
        :param now: Its arrival, in seconds of any steady clock.
        """
        fault = None
        if stamp_ns == 0:
            fault = StampFault.ZERO
        elif abs(age_s) > MAX_OFF_S:
            fault = StampFault.BEHIND if age_s > 0 else StampFault.AHEAD
        # One assignment: whoever asks sees all of it, or none.
        self._newest = now, fault, age_s

    def fault(self, now: float) -> StampFault | None:
        """Return what is wrong with the images that come; ``None``: nothing, or none come."""
        arrival_s, fault, _ = self._newest
        return fault if now - arrival_s <= RECENT_S else None

    def remark(self, now: float, *, simulated: bool) -> str:
        """
        Return the fault in words; empty: there is none.

        :param now: Seconds of the same clock.
        :param simulated: The node's ``use_sim_time``.
        """
        arrival_s, fault, age_s = self._newest
        if fault is None or now - arrival_s > RECENT_S:
            return ''
        if fault is StampFault.ZERO:
            return 'images are stamped zero: the camera must set header.stamp'
        return (
            f'images are stamped {_duration(abs(age_s))} {fault.value} (use_sim_time: '
            f'{str(simulated).lower()}): they come late, or the clocks or use_sim_time differ'
        )


def _duration(seconds: float) -> str:
    """Return a duration whose text does not change with each image."""
    return f'{seconds:.0f} s' if seconds < 3600.0 else f'{seconds / 3600.0:.0f} h'
