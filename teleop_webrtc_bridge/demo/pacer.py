"""A fixed grid of instants at which periodic work is due; it has no clock of its own."""

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

__all__ = ['Pacer']


class Pacer:
    """
    A grid of instants. A late call does not shift later instants; missed ones are skipped.

    Owned by the one thread that calls it.

    :param period_s: Distance between two instants, in s.
    :param start_s: The first instant, by the caller's steady clock, in s.
    """

    def __init__(self, *, period_s: float, start_s: float) -> None:
        self._period_s = period_s
        #: The next instant, in s.
        self.next_s = start_s

    def take(self, now_s: float) -> bool:
        """
        Return whether an instant has passed since the last call, and advance if so.

        :param now_s: The steady clock, in s.
        """
        late_s = now_s - self.next_s
        if late_s < 0.0:
            return False
        self.next_s += self._period_s * (1 + late_s // self._period_s)
        return True
