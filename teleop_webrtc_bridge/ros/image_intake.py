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

"""
From ``sensor_msgs/Image`` to the frame slot: checked, at the wanted rate, one copy.

Encodings that the converter does not know go through cv_bridge, if it is installed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from sensor_msgs.msg import Image

from teleop_webrtc_bridge.exceptions import TeleopError
from teleop_webrtc_bridge.link.frame_slot import FrameHeader, FrameWriter, MAX_FRAME_BYTES
from teleop_webrtc_bridge.pixel_formats import PIXEL_FORMATS

__all__ = ['ImageIntake', 'ImageUnusable', 'check_image']

MAX_SIDE_PX: Final = 8192
STALLED_S: Final = 1.0
"""A camera that is silent for longer has stalled."""
#: A camera's jitter, as a part of the period, that must not cost a frame.
_JITTER: Final = 0.3


class ImageUnusable(TeleopError):
    """An image cannot be shown; the text says why and what would be."""


def check_image(image: Image) -> None:
    """
    Make sure that an image's bytes are what its header says.

    :raises ImageUnusable: Empty, too large, or with fewer bytes than its size needs.
    """
    if not (0 < image.width <= MAX_SIDE_PX and 0 < image.height <= MAX_SIDE_PX):
        raise ImageUnusable(
            f'size {image.width}x{image.height}; 1x1 to {MAX_SIDE_PX}x{MAX_SIDE_PX} is allowed'
        )
    pixel = PIXEL_FORMATS.get(image.encoding)
    row = image.width * (pixel.bytes_per_pixel if pixel else 1)
    if image.step < row:
        raise ImageUnusable(
            f'step {image.step} for {image.width} px of {image.encoding!r}; at least {row} needed'
        )
    size = image.step * image.height
    if len(image.data) < size or size > MAX_FRAME_BYTES:
        raise ImageUnusable(
            f'{len(image.data)} bytes for step {image.step} x height {image.height}; '
            f'{size} are needed, at most {MAX_FRAME_BYTES} are allowed'
        )


class ImageIntake:
    """
    Puts the images that are wanted into the frame slot.

    Owned by the thread that runs the node's callbacks; ``wanted_fps`` may be set from any thread.

    :param writer: The frame slot.
    :param warn: Tells the robot's owner; called once for each kind of fault.
    """

    def __init__(self, writer: FrameWriter, warn: Callable[[str], None]) -> None:
        self.wanted_fps = 0.0
        self.counters: Counter[str] = Counter()
        """``received``, ``sent`` (into the slot), ``unusable``."""
        self.last_received_s: float | None = None
        self._writer = writer
        self._warn = warn
        self._told: set[str] = set()
        self._due_s = 0.0

    def is_stalled(self, now: float) -> bool:
        """Return whether a camera that has worked is silent now."""
        return self.last_received_s is not None and now - self.last_received_s > STALLED_S

    def accept(self, image: Image, now: float, age_s: float) -> None:
        """
        Take an image from the topic.

        :param now: Its arrival, in seconds of ``time.monotonic``.
        :param age_s: How long ago its header says that it was taken, in seconds.
        """
        self.counters['received'] += 1
        self.last_received_s = now
        if not self._is_due(now):
            return
        try:
            check_image(image)
            usable = image if image.encoding in PIXEL_FORMATS else _through_cv_bridge(image)
        except ImageUnusable as error:
            self.counters['unusable'] += 1
            self._tell_once(f'{image.encoding} {image.width}x{image.height}', str(error))
            return
        header = FrameHeader(
            # A stamp from another clock says nothing about the age.
            capture_s=now - age_s if 0.0 <= age_s <= 10.0 else now,
            width=usable.width,
            height=usable.height,
            step=usable.step,
            encoding=usable.encoding,
        )
        self._writer.write(header, memoryview(usable.data)[: usable.step * usable.height])
        self.counters['sent'] += 1

    def _is_due(self, now: float) -> bool:
        if self.wanted_fps <= 0.0:
            return False
        period_s = 1.0 / self.wanted_fps
        if now < self._due_s - _JITTER * period_s and self._due_s - now <= 2 * period_s:
            return False
        self._due_s = max(self._due_s, now - period_s) + period_s
        return True

    def _tell_once(self, kind: str, text: str) -> None:
        if kind not in self._told and len(self._told) < 32:
            self._told.add(kind)
            self._warn(f'image dropped: {text}')


def _through_cv_bridge(image: Image) -> Any:
    """
    Convert an encoding that the video converter does not know to ``bgr8``.

    :raises ImageUnusable: cv_bridge is missing or cannot convert it either.
    """
    known = ', '.join(sorted(PIXEL_FORMATS))
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError as error:
        raise ImageUnusable(
            f'encoding {image.encoding!r} needs cv_bridge, which is not installed '
            f'(ros-$ROS_DISTRO-cv-bridge); without it: {known}'
        ) from error
    bridge = CvBridge()
    try:
        return bridge.cv2_to_imgmsg(bridge.imgmsg_to_cv2(image, 'bgr8'), 'bgr8')
    except (CvBridgeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ImageUnusable(
            f'encoding {image.encoding!r}: cv_bridge cannot convert it to bgr8 ({error}); '
            f'without it: {known}'
        ) from error
