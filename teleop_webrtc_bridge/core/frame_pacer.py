"""A frame pacer, which drops frames evenly; pure: time is an argument."""

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

__all__ = ['FramePacer']


class FramePacer:
    """
    Drops frames of a camera so that their average rate does not exceed a limit.

    :param tolerance: Fraction of the interval by which a frame may be early: cameras jitter.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._due_s = float('-inf')

    def is_due(self, now_s: float, fps: float) -> bool:
        """
        Return whether to take a frame, and count it if so.

        :param now_s: When it was captured or arrived, in seconds; this clock may step.
        :param fps: Frames per second, on average.
        """
        interval_s = 1.0 / fps
        if now_s < self._due_s - 2 * interval_s:
            self._due_s = now_s  # the clock stepped back, or the rate was much lower before
        if now_s < self._due_s - self._tolerance * interval_s:
            return False
        # After a pause, at most one extra frame passes.
        self._due_s = max(self._due_s + interval_s, now_s)
        return True
