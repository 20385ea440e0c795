"""
The intake of raw and compressed images, which checks them and fills the frame slot.

Raw images are in the slot already, where the image subscription took them. Compressed images are
forwarded unchanged; the WebRTC half decodes them. cv_bridge, if installed, converts encodings that
the video converter does not support.
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
from teleop_webrtc_bridge.bridge.ros.camera.intake import (
    cannot_show,
    capture_time,
    Intake,
    STALLED_S,
)
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable, TeleopError
from teleop_webrtc_bridge.core.frame_pacer import FramePacer
from teleop_webrtc_bridge.core.texts import MAX_NAME_CHARS, shown
from teleop_webrtc_bridge.core.video.compressed_header import CompressedHeader, read_header
from teleop_webrtc_bridge.core.video.h264_syntax import MAX_SIDE_PX
from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS
from teleop_webrtc_bridge.core.video.serialized_image import (
    SerializedCompressedImage,
    SerializedImage,
)

__all__ = ['ImageIntake', 'ImageUnusable', 'check_compressed', 'check_image', 'find_cv_bridge']

DEPTH_ENCODING: Final = '16UC1'
_COMPRESSED_DEPTH: Final = 'compressedDepth'
_DEPTH_HEADER_BYTES: Final = 12
#: Prefixes of formats whose 16-bit grey is brightness. In others it is a distance.
_BRIGHTNESS: Final = ('mono', 'gray', 'grey', 'y1', '16sc1')
#: Jitter of a camera, as a fraction of the period, that does not drop a frame.
_JITTER: Final = 0.3


class ImageUnusable(TeleopError):
    """An image cannot be shown; the text says why, and what is allowed."""


def check_image(image: SerializedImage | Image) -> None:
    """
    Check that an image's data match its header.

    :raises ImageUnusable: It is empty, too large, or has fewer bytes than its size needs.
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
    Return size and encoding of a compressed image, from its own header.

    :raises ImageUnusable: It is neither JPEG nor PNG, or too large when decoded.
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
    """Return the number of bytes that the header announces."""
    pixel = PIXEL_FORMATS.get(image.encoding)
    rows = int(image.step) * int(image.height)
    return pixel.data_bytes(image.step, image.height) if pixel else rows


class ImageIntake(Intake[FrameWriter]):
    """
    Puts images into the frame slot, at the wanted rate.

    :param writer: The frame slot.
    :param warn: Logs a warning; called once for each kind of fault.
    """

    def __init__(self, writer: FrameWriter, warn: Callable[[str], object]) -> None:
        super().__init__(writer, warn)
        self._is_usable = True
        self._unusable_s = float('-inf')
        self._pacer = FramePacer(_JITTER)

    def memory(self) -> memoryview:
        """Return the memory for the next message; a raw image stays there, in the slot."""
        return self._writer.spare()

    def remark(self, now: float) -> str:
        """Return the fault of the images; empty: none."""
        if now - self._unusable_s > STALLED_S or not self.is_stalled(now):
            return ''
        return cannot_show(self._reason)

    def refuse(self, reason: str, now: float) -> None:
        """
        Note a message that is not an image.

        :param now: Its arrival.
        """
        self._note_received()
        self._refuse(shown(reason), now)

    def accept(
        self, image: SerializedImage | SerializedCompressedImage, now: float, age_s: float
    ) -> None:
        """
        Process an image from the topic.

        :param now: Its arrival.
        :param age_s: Its age by its header, in seconds.
        """
        self._note_received()
        fps = self.wanted_fps  # read once, because another thread may set it to 0 meanwhile
        if fps <= 0.0 or not self._pacer.is_due(now, fps):
            if self._is_usable:
                self._last_usable_s = now
            return
        try:
            if isinstance(image, SerializedCompressedImage):
                size_px = self._take_compressed(image, capture_time(now, age_s))
            else:
                size_px = self._take_raw(image, capture_time(now, age_s))
        except ImageUnusable as error:
            self._refuse(str(error), now)
            self._warn_once(_kind(image), f'image dropped: {error}')
            return
        self._is_usable = True
        self._note_sent(now, size_px)

    def _refuse(self, reason: str, now: float) -> None:
        self._note_unusable(reason)
        self._is_usable = False
        self._unusable_s = now

    def _take_raw(self, image: SerializedImage, capture_s: float) -> tuple[int, int]:
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
        return usable.width, usable.height

    def _take_compressed(
        self, message: SerializedCompressedImage, capture_s: float
    ) -> tuple[int, int]:
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
        return found.width, found.height

    def _put(self, header: FrameHeader, image: Any, size: int) -> None:
        """Make this the newest frame, without a copy if it is in the slot already."""
        data = memoryview(image.data)[:size]
        if self._writer.is_spare(data):
            self._writer.publish(header, image.place, size)
        else:
            self._writer.write(header, data)


def _bare(image: SerializedCompressedImage) -> SerializedCompressedImage:
    """
    Return an image without the header of compressed_depth_image_transport.

    :raises ImageUnusable: The image behind that header is not a plain PNG.
    """
    if _COMPRESSED_DEPTH not in image.format:
        return image
    if not image.format.startswith(DEPTH_ENCODING):
        raise ImageUnusable(
            f'compressed image of format {_name(image.format)}: with {_COMPRESSED_DEPTH}, '
            f'only {DEPTH_ENCODING} as PNG is allowed'
        )
    place = image.place + _DEPTH_HEADER_BYTES
    return dataclasses.replace(image, data=image.data[_DEPTH_HEADER_BYTES:], place=place)


def _full_encoding(encoding: str, said: str) -> str:
    """
    Return the encoding of a compressed image, with the encoding before compression.

    :param said: The message's format, which begins with it, as image_transport writes it.
    """
    before = said.partition(';')[0].strip().lower()
    is_brightness = encoding == 'png' and before.startswith(_BRIGHTNESS)
    return f'{encoding}/mono16' if is_brightness else encoding


def _kind(image: SerializedImage | SerializedCompressedImage) -> str:
    """Return a key that groups images which are usually dropped for the same reason."""
    if isinstance(image, SerializedCompressedImage):
        return f'compressed {_name(image.format)}'
    return f'{_name(image.encoding)} {image.width}x{image.height}'


def _name(text: str) -> str:
    """Return a name from a message, made printable and short."""
    return repr(shown(text, MAX_NAME_CHARS))


@functools.cache
def find_cv_bridge() -> tuple[Any, type[Exception]] | None:
    """Return cv_bridge and its exception; ``None`` if it is not installed. Looks once."""
    try:
        module = importlib.import_module('cv_bridge')
    except ImportError:
        return None
    return module.CvBridge(), module.CvBridgeError


def _through_cv_bridge(image: SerializedImage) -> Any:
    """
    Convert an image that the video converter does not support to ``bgr8``.

    :raises ImageUnusable: cv_bridge is missing or cannot convert it.
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
