"""
What can be done about a stream that somebody else encodes, which is little; pure.

Its keyframes come when they come, and its bits are as many as they are.
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

from collections import deque
from typing import Final

__all__ = ['KeyframeWait', 'StreamBitrate', 'Thinning']

LATE_S: Final = 1.2
"""A keyframe that was asked for that long ago is late; one a second is not."""
PAUSE_S: Final = 1.0
"""After such a time without any picture, it was not a keyframe that was waited for."""
WINDOW_S: Final = 2.0
SHORTEST_WINDOW_S: Final = 0.5

CONGESTED: Final = 0.7
"""Part of the stream that the link must carry; with less, most pictures would get lost."""
CONGESTED_S: Final = 2.0
RELIEVED: Final = 0.95
SOON_S: Final = 10.0
FIRST_TRIAL_S: Final = 5.0
LONGEST_TRIAL_S: Final = 30.0
"""For so long at most keyframes go alone before all pictures are tried again."""


class KeyframeWait:
    """How long those wait who asked for a keyframe; every ``now`` is in seconds."""

    def __init__(self) -> None:
        self.late = 0
        """Keyframes that came late, or have not come yet."""
        self.interval_s: float | None = None
        """From the last keyframe but one to the last."""
        self._keyframe_s: float | None = None
        self._asked_s: float | None = None
        self._picture_s = float('-inf')
        self._is_late = False

    def ask(self, now: float) -> None:
        """Note that somebody asks for one."""
        if self._asked_s is None:
            self._asked_s, self._is_late = now, False

    def passed(self, keyframe: bool, now: float) -> float | None:
        """
        Note that a picture came.

        :returns: How long somebody has waited for a keyframe, once it is late; told once.
        """
        waited_s = None
        if self._asked_s is not None and now - self._picture_s > PAUSE_S:
            self._asked_s = now
        self._picture_s = now
        if self._asked_s is not None and now - self._asked_s > LATE_S and not self._is_late:
            self._is_late = True
            self.late += 1
            waited_s = now - self._asked_s
        if keyframe:
            if self._keyframe_s is not None:
                self.interval_s = now - self._keyframe_s
            self._keyframe_s, self._asked_s = now, None
        return waited_s

    def forget(self) -> None:
        """Measure no interval to what came before: the stream was interrupted."""
        self._keyframe_s = None


class StreamBitrate:
    """What a stream has had of late; every ``now`` is in seconds."""

    def __init__(self) -> None:
        self._sizes: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def note(self, size: int, now: float) -> None:
        """Note a picture of that many bytes."""
        self._sizes.append((now, size))
        self._bytes += size
        while self._sizes[0][0] < now - WINDOW_S:
            self._bytes -= self._sizes.popleft()[1]

    def bps(self) -> float:
        """Return bits per second; 0.0 while that is not known yet."""
        if not self._sizes:
            return 0.0
        first_s, first_size = self._sizes[0]
        span_s = self._sizes[-1][0] - first_s
        return 8.0 * (self._bytes - first_size) / span_s if span_s > SHORTEST_WINDOW_S else 0.0

    def forget(self) -> None:
        """Begin anew: the stream was interrupted."""
        self._sizes.clear()
        self._bytes = 0


class Thinning:
    """
    Whether keyframes go alone, because the link carries far less than the stream has.

    Most of the other pictures would get lost, and spoil the rest. After a while all of them are
    tried again: a link that is hardly used tells little of what it carries.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._since_s: float | None = None
        """When it began, or when the link began to be too narrow."""
        self._trial_s = FIRST_TRIAL_S
        self._ended_s = float('-inf')

    def follow(self, link_bps: float, stream_bps: float, now: float) -> bool:
        """
        Return whether to send keyframes only.

        :param now: In seconds.
        """
        if self.is_on:
            assert self._since_s is not None
            is_over = link_bps >= RELIEVED * stream_bps or now - self._since_s >= self._trial_s
            if is_over:
                self.is_on, self._since_s, self._ended_s = False, None, now
            return self.is_on
        if not stream_bps or link_bps >= CONGESTED * stream_bps:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now
        if now - self._since_s >= CONGESTED_S:
            soon = now - self._ended_s < SOON_S
            self._trial_s = min(2 * self._trial_s, LONGEST_TRIAL_S) if soon else FIRST_TRIAL_S
            self.is_on, self._since_s = True, now
        return self.is_on
