"""The common part of the intakes of images and of H.264 streams."""

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

from collections import Counter
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from teleop_webrtc_bridge.bridge.link.frame_slot import FrameWriter
from teleop_webrtc_bridge.bridge.link.packet_ring import PacketWriter

__all__ = ['STALLED_S', 'Intake', 'WarnOnce', 'cannot_show', 'capture_time']

STALLED_S: Final = 1.0
"""Time without a usable image after which a camera is stalled."""
MAX_AGE_S: Final = 10.0
MAX_WARNINGS: Final = 32
"""Limit of different faults that are logged; more would flood the log."""
GREY_SIZE_PX: Final = (640, 360)
"""Size of the grey frame before the first image."""

_Writer = TypeVar('_Writer', bound=FrameWriter | PacketWriter)


class WarnOnce:
    """
    Logs each kind of fault once, and not more than :data:`MAX_WARNINGS` kinds.

    :param warn: Logs a warning.
    """

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self._kinds: set[object] = set()

    def __call__(self, kind: object, text: str) -> None:
        if kind not in self._kinds and len(self._kinds) < MAX_WARNINGS:
            self._kinds.add(kind)
            self._warn(text)


class Intake(Generic[_Writer]):
    """
    The state of one camera's images, on their way into shared memory.

    Owned by the image thread. Other threads may read ``is_…``, ``expected``, ``counters`` and
    ``remark``, and set ``wanted_fps`` and ``expected``. Every ``now`` is in seconds of
    ``time.monotonic``.

    :param writer: Writes into the shared memory.
    :param warn: Logs a warning; called once for each kind of fault.
    """

    def __init__(self, writer: _Writer, warn: Callable[[str], object]) -> None:
        self.wanted_fps = 0.0
        """0: nobody watches."""
        self.counters: Counter[str] = Counter()
        """``received``, ``sent`` (to the WebRTC half), ``unusable``, ``grey`` (keep-alive)."""
        self.expected = False
        """Whether there is, or was, a camera: the topic has had a publisher."""
        self.is_grey = False
        """Whether the newest frame is grey, instead of an image."""
        self._writer = writer
        self._warn = warn
        self._warn_once = WarnOnce(warn)
        self._last_usable_s: float | None = None
        self._reason = ''
        """Why the last unusable image could not be shown."""
        self._size_px = GREY_SIZE_PX

    def is_fresh(self, now: float) -> bool:
        """Return whether there is a current image."""
        last_usable_s = self._last_usable_s
        return last_usable_s is not None and now - last_usable_s <= STALLED_S

    def is_stalled(self, now: float) -> bool:
        """
        Return whether there is a camera, but no current image to drive by.

        This includes a topic that is not subscribed to: an operator who begins to drive does not
        get the full speed before the first image.
        """
        return not self.is_fresh(now) and (self.expected or self._last_usable_s is not None)

    def keep_alive(self, now: float) -> None:
        """
        Send a grey frame, because media backends drop tracks that send nothing.

        An old image would look like a current one.
        """
        self._writer.write_grey(*self._size_px, now)
        self.counters['grey'] += 1
        self.is_grey = True

    def forget(self) -> None:
        """Treat the last image as outdated."""
        self._last_usable_s = None

    def _note_received(self) -> None:
        self.counters['received'] += 1
        self.expected = True

    def _note_unusable(self, reason: str) -> None:
        self.counters['unusable'] += 1
        self._reason = reason

    def _note_sent(self, now: float, size_px: tuple[int, int]) -> None:
        self.counters['sent'] += 1
        self.is_grey = False
        self._last_usable_s = now
        self._size_px = size_px


def capture_time(now: float, age_s: float) -> float:
    """
    Return when an image was taken, in seconds of ``time.monotonic``.

    :param now: Its arrival.
    :param age_s: Its age by its header. A header that uses another clock is ignored.
    """
    return now - age_s if 0.0 <= age_s <= MAX_AGE_S else now


def cannot_show(reason: str) -> str:
    """Return the remark about a camera whose images are unusable."""
    return f'images arrive, but cannot be shown: {reason}'
