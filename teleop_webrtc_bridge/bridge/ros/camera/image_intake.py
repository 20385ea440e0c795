"""
From ``sensor_msgs`` to the frame slot, where DDS has put it already: checked, at the wanted rate.

Compressed images go through as they are: whoever encodes decodes them. Encodings that the
converter does not know go through cv_bridge, if it is installed.
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

from collections import Counter
from collections.abc import Callable
import dataclasses
import functools
import importlib
from typing import Any, Final

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from teleop_webrtc_bridge.bridge.link.frame_slot import (
    FrameHeader,
    FrameWriter,
    MAX_FRAME_BYTES,
    MAX_PICTURE_PX,
)
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable, TeleopError
from teleop_webrtc_bridge.core.frame_pacer import FramePacer
from teleop_webrtc_bridge.core.texts import MAX_NAME_CHARS, shown
from teleop_webrtc_bridge.core.video.compressed_header import CompressedHeader, read_header
from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS
from teleop_webrtc_bridge.core.video.serialized_image import (
    SerializedCompressedImage,
    SerializedImage,
)

__all__ = ['ImageIntake', 'ImageUnusable', 'check_compressed', 'check_image', 'find_cv_bridge']

MAX_SIDE_PX: Final = 8192
STALLED_S: Final = 1.0
"""A camera that is silent for longer has stalled."""
MAX_AGE_S: Final = 10.0
MAX_TOLD: Final = 32
"""Different faults that are said; more would only fill the log."""
GREY_SIZE_PX: Final = (640, 360)
"""Of the frame that keeps the track alive, before there was any image."""
DEPTH_ENCODING: Final = '16UC1'
_COMPRESSED_DEPTH: Final = 'compressedDepth'
_DEPTH_HEADER_BYTES: Final = 12
#: How formats begin of which grey of 16 bits is brightness. Any other is taken for a distance.
_BRIGHTNESS: Final = ('mono', 'gray', 'grey', 'y1', '16sc1')
#: A camera's jitter, as a part of the period, that must not cost a frame.
_JITTER: Final = 0.3


class ImageUnusable(TeleopError):
    """An image cannot be shown; the text says why and what would be."""


def check_image(image: SerializedImage | Image) -> None:
    """
    Make sure that an image's bytes are what its header says.

    :raises ImageUnusable: Empty, too large, or with fewer bytes than its size needs.
    """
    pixel = PIXEL_FORMATS.get(image.encoding)
    _check_size(image.width, image.height, pixel.grid if pixel else (1, 1))
    row = image.width * (pixel.bytes_per_pixel if pixel else 1)
    if image.step < row:
        raise ImageUnusable(
            f'step {image.step} for {image.width} px of {_name(image.encoding)}; '
            f'at least {row} needed'
        )
    size = _data_bytes(image)
    if len(image.data) < size or size > MAX_FRAME_BYTES:
        raise ImageUnusable(
            f'{len(image.data)} bytes for step {image.step} x height {image.height}; '
            f'{size} are needed, at most {MAX_FRAME_BYTES} are allowed'
        )


def check_compressed(image: SerializedCompressedImage) -> CompressedHeader:
    """
    Return what a compressed image is, by its own header.

    :raises ImageUnusable: It is no JPEG or PNG, or too large once it is decoded.
    """
    if len(image.data) > MAX_FRAME_BYTES:
        raise ImageUnusable(f'{len(image.data)} bytes; at most {MAX_FRAME_BYTES} are allowed')
    try:
        header = read_header(image.data)
    except PictureUndecodable as error:
        raise ImageUnusable(
            f'compressed image of format {_name(image.format)}: {error}'
        ) from error
    _check_size(header.width, header.height, (1, 1))
    if header.width * header.height > MAX_PICTURE_PX:
        raise ImageUnusable(
            f'{header.encoding} of {header.width}x{header.height}; '
            f'at most {MAX_PICTURE_PX} px are allowed'
        )
    return header


def _check_size(width: int, height: int, smallest: tuple[int, int]) -> None:
    if not (smallest[0] <= width <= MAX_SIDE_PX and smallest[1] <= height <= MAX_SIDE_PX):
        raise ImageUnusable(
            f'size {width}x{height}; {smallest[0]}x{smallest[1]} to '
            f'{MAX_SIDE_PX}x{MAX_SIDE_PX} is allowed'
        )


def _data_bytes(image: SerializedImage | Image) -> int:
    """Return how many bytes the header speaks of."""
    pixel = PIXEL_FORMATS.get(image.encoding)
    rows = int(image.step) * int(image.height)
    return pixel.data_bytes(image.step, image.height) if pixel else rows


class ImageIntake:
    """
    Puts the images that are wanted into the frame slot.

    Owned by the thread that takes images. Any other one may ask how it is (``is_``, ``counters``,
    :meth:`remark`), and set ``wanted_fps`` and ``expected``.

    :param writer: The frame slot.
    :param warn: Tells the robot's owner; called once for each kind of fault.
    """

    def __init__(self, writer: FrameWriter, warn: Callable[[str], None]) -> None:
        self.wanted_fps = 0.0
        self.counters: Counter[str] = Counter()
        """``received``, ``sent`` (into the slot), ``unusable``, ``grey`` (keep-alive)."""
        self.expected = False
        """Whether there is, or was, a camera: somebody publishes the topic."""
        self.is_grey = False
        """Whether what is in the slot is grey, instead of a picture."""
        self._last_usable_s: float | None = None
        self._is_usable = True
        self._unusable_s = float('-inf')
        self._reason = ''
        """Why the last unusable image could not be shown."""
        self._writer = writer
        self._warn = warn
        self._told: set[str] = set()
        self._pacer = FramePacer(_JITTER)
        self._size_px = GREY_SIZE_PX

    def is_stalled(self, now: float) -> bool:
        """
        Return whether there is a camera, but no picture of now to drive by.

        So it is, too, while the topic is not subscribed: who begins to drive is not trusted with
        full speed before there is a first image.

        :param now: Seconds of ``time.monotonic``.
        """
        return not self.is_fresh(now) and (self.expected or self._last_usable_s is not None)

    def is_fresh(self, now: float) -> bool:
        """Return whether there is a picture of now."""
        last_usable_s = self._last_usable_s
        return last_usable_s is not None and now - last_usable_s <= STALLED_S

    def memory(self) -> memoryview:
        """Return where the next message is to be put: a raw image stays there, in the slot."""
        return self._writer.spare()

    def remark(self, now: float) -> str:
        """Return what is not as it should be with the images; empty: nothing."""
        if now - self._unusable_s > STALLED_S or not self.is_stalled(now):
            return ''
        return f'images arrive, but cannot be shown: {self._reason}'

    def refuse(self, reason: str, now: float) -> None:
        """
        Take note of a message that is no image at all.

        :param now: Its arrival, in seconds of ``time.monotonic``.
        """
        self.counters['received'] += 1
        self.counters['unusable'] += 1
        self.expected = True
        self._is_usable = False
        self._reason, self._unusable_s = shown(reason), now

    def accept(
        self, image: SerializedImage | SerializedCompressedImage, now: float, age_s: float
    ) -> None:
        """
        Take an image from the topic.

        :param now: Its arrival, in seconds of ``time.monotonic``.
        :param age_s: How long ago its header says that it was taken, in seconds.
        """
        self.counters['received'] += 1
        self.expected = True
        if self.wanted_fps <= 0.0 or not self._pacer.is_due(now, self.wanted_fps):
            if self._is_usable:
                self._last_usable_s = now
            return
        # A stamp from another clock says nothing about the age.
        capture_s = now - age_s if 0.0 <= age_s <= MAX_AGE_S else now
        try:
            if isinstance(image, SerializedCompressedImage):
                self._take_compressed(image, capture_s)
            else:
                self._take_raw(image, capture_s)
        except ImageUnusable as error:
            self.counters['unusable'] += 1
            self._is_usable = False
            self._reason, self._unusable_s = str(error), now
            self._tell_once(_kind(image), str(error))
            return
        self._is_usable = True
        self.is_grey = False
        self._last_usable_s = now
        self.counters['sent'] += 1

    def keep_alive(self, now: float) -> None:
        """
        Show grey: a media backend may give up a track that sends nothing.

        An old picture would look like what the robot sees now.

        :param now: Seconds of ``time.monotonic``.
        """
        self._writer.write_grey(*self._size_px, now)
        self.counters['grey'] += 1
        self.is_grey = True

    def forget(self) -> None:
        """Take what is in the slot for a picture of long ago."""
        self._last_usable_s = None

    def _take_raw(self, image: SerializedImage, capture_s: float) -> None:
        check_image(image)
        usable = image if image.encoding in PIXEL_FORMATS else _through_cv_bridge(image)
        header = FrameHeader(
            capture_s=capture_s,
            width=usable.width,
            height=usable.height,
            step=usable.step,
            encoding=usable.encoding,
            is_bigendian=bool(usable.is_bigendian),
        )
        self._put(header, usable, _data_bytes(usable))
        self._size_px = (usable.width, usable.height)

    def _take_compressed(self, message: SerializedCompressedImage, capture_s: float) -> None:
        image = _bare(message)
        found = check_compressed(image)
        header = FrameHeader(
            capture_s=capture_s,
            width=found.width,
            height=found.height,
            step=0,
            encoding=_full_encoding(found.encoding, image.format),
        )
        self._put(header, image, len(image.data))
        self._size_px = (found.width, found.height)

    def _put(self, header: FrameHeader, image: Any, size: int) -> None:
        """Make this the newest frame; without a copy if it was taken into the slot."""
        data = memoryview(image.data)[:size]
        if self._writer.is_spare(data):
            self._writer.publish(header, image.place, size)
        else:
            self._writer.write(header, data)

    def _tell_once(self, kind: str, text: str) -> None:
        if kind not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(kind)
            self._warn(f'image dropped: {text}')


def _bare(image: SerializedCompressedImage) -> SerializedCompressedImage:
    """
    Return a picture without what compressed_depth_image_transport puts before it.

    :raises ImageUnusable: It is not simply a picture behind that.
    """
    if _COMPRESSED_DEPTH not in image.format:
        return image
    if not image.format.startswith(DEPTH_ENCODING):
        raise ImageUnusable(
            f'compressed image of format {_name(image.format)}: of {_COMPRESSED_DEPTH}, '
            f'{DEPTH_ENCODING} as PNG is allowed'
        )
    place = image.place + _DEPTH_HEADER_BYTES
    return dataclasses.replace(image, data=image.data[_DEPTH_HEADER_BYTES:], place=place)


def _full_encoding(encoding: str, said: str) -> str:
    """
    Return the encoding of a compressed picture, and what it was before.

    :param said: The format of the message. As image_transport writes it, it begins with that.
    """
    before = said.partition(';')[0].strip().lower()
    is_brightness = encoding == 'png' and before.startswith(_BRIGHTNESS)
    return f'{encoding}/mono16' if is_brightness else encoding


def _kind(image: SerializedImage | SerializedCompressedImage) -> str:
    """Return what images have in common that are dropped for the same reason, as a rule."""
    if isinstance(image, SerializedCompressedImage):
        return f'compressed {_name(image.format)}'
    return f'{_name(image.encoding)} {image.width}x{image.height}'


def _name(text: str) -> str:
    """Return what a message calls itself: whoever publishes may write there what they like."""
    return repr(shown(text, MAX_NAME_CHARS))


@functools.cache
def find_cv_bridge() -> tuple[Any, type[Exception]] | None:
    """Return a bridge and its exception, looked for once; ``None`` if it is not installed."""
    try:
        module = importlib.import_module('cv_bridge')
    except ImportError:
        return None
    return module.CvBridge(), module.CvBridgeError


def _through_cv_bridge(image: SerializedImage) -> Any:
    """
    Convert an encoding that the video converter does not know to ``bgr8``.

    :raises ImageUnusable: cv_bridge is missing or cannot convert it either.
    """
    known = ', '.join(sorted(PIXEL_FORMATS))
    found = find_cv_bridge()
    if found is None:
        raise ImageUnusable(
            f'encoding {_name(image.encoding)} needs cv_bridge, which is not installed '
            f'(ros-$ROS_DISTRO-cv-bridge); without it: {known}'
        )
    bridge, bridge_error = found
    try:
        message = deserialize_message(bytes(image.serialized), Image)
        converted = bridge.cv2_to_imgmsg(bridge.imgmsg_to_cv2(message, 'bgr8'), 'bgr8')
    except (bridge_error, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ImageUnusable(
            f'encoding {_name(image.encoding)}: cv_bridge cannot convert it to bgr8 '
            f'({shown(str(error))}); '
            f'without it: {known}'
        ) from error
    check_image(converted)
    return converted
