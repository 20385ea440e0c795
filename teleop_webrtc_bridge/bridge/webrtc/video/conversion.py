"""
Conversion of a frame to the picture that is encoded: 4:2:0, of the wanted size, both even.

YUV and grey formats never become RGB on the way. RGB, grey and Bayer are read in place; packed
4:2:2 and two planes are copied first, since PyAV cannot wrap them. Values of 16 bits and distances
become 8 bits (:class:`Levels`).
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
from dataclasses import dataclass
import math
from typing import Any, cast, Final

import av
from av.video.reformatter import ColorRange, VideoReformatter
import numpy as np

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader, MAX_PICTURE_PX
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS, PixelFormat

__all__ = [
    'DEPTH_RANGE_M',
    'INTENSITY',
    'FrameConverter',
    'Levels',
    'plane_rows',
]

#: FFmpeg's decoders, by the encodings of the slot that are compressed pictures.
_DECODERS: Final = {'jpeg': 'mjpeg', 'png': 'png'}
#: The encoding of a 16-bit grey PNG that does not say what it is.
DEPTH_ENCODING: Final = '16UC1'
#: The decoders' 16-bit formats and the encodings of the same layout; empty for grey.
_DEEP: Final = {'gray16be': '', 'ya16be': '', 'rgb48be': 'rgb16', 'rgba64be': 'rgba16'}

DEPTH_RANGE_M: Final = 10.0
"""Distances from here on are nearly black, the nearest are white, missing ones are black."""
_FARTHEST: Final = 1000.0
"""Multiple of the range beyond which numbers are too large to calculate with."""
_WHITE: Final = 65535.0
_SAMPLES: Final = 4096
"""Pixels that are examined, evenly spread; more would only take longer."""
_MARGIN: Final = 0.05
"""Added to the used range, so that noise at its ends is not cut off."""
_SETTLING_S: Final = 0.5
_PAUSE_S: Final = 1.0
"""After a longer pause, the scene is a new one."""
_SETTLED: Final = 0.005
"""Differences below this share of the range do not count."""
_SENSOR_BITS: Final = 14
"""A sensor with more bits is taken to use all 16."""
_LEAST_BITS: Final = 8
_BRIGHTEST: Final = 0.002
"""Share of the pixels that may be lights or defects."""


class FrameConverter:
    """Converts one frame after the other; one thread at a time may use it."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._demosaicer = VideoReformatter()
        self._decoders: dict[str, av.VideoCodecContext] = {}
        self._levels = Levels()

    def convert(self, frame: Frame, *, max_width_px: int, scale: float) -> av.VideoFrame | None:
        """
        Return the picture of a frame as ``yuv420p``, limited range.

        An odd size is made even by scaling, or by repeating the edge if there is no scaling.

        :param max_width_px: Wider pictures are scaled down to it.
        :param scale: Factor by which that size is made smaller.
        :returns: ``None`` if the frame was overwritten while it was read.
        :raises PictureUndecodable: The frame is a broken JPEG or PNG, or cannot be converted.
        """

        def size(width: int, height: int) -> tuple[int, int]:
            return _target_size(width, height, max_width_px, scale)

        picture = self._convert(frame, size)
        return None if picture is None else _padded(picture)

    def convert_to(self, frame: Frame, width: int, height: int) -> av.VideoFrame | None:
        """
        Return the picture of a frame, like :meth:`convert`, but in this size.

        :param width: In pixels; even, as the height.
        """
        return self._convert(frame, lambda *source: (width, height))

    def _convert(
        self, frame: Frame, size: Callable[[int, int], tuple[int, int]]
    ) -> av.VideoFrame | None:
        header = frame.header
        try:
            codec, _, kind = header.encoding.partition('/')
            if codec in _DECODERS:
                source = self._decode(frame, codec)
                if source is None:
                    return None
                source = self._levelled(source, kind or DEPTH_ENCODING, header)
                # A JPEG has the full range, which the conversion would keep.
                picture = self._reformatter.reformat(
                    source,
                    *size(source.width, source.height),
                    format='yuv420p',
                    dst_color_range=ColorRange.MPEG,
                )
            else:
                source = self._wrap(frame)
                if source.format.name.startswith('bayer'):
                    # In one step to 4:2:0, swscale's brightness is off by up to 30.
                    source = self._demosaicer.reformat(source, format='rgb24')
                picture = self._reformatter.reformat(
                    source, *size(source.width, source.height), format='yuv420p'
                )
            # The source refers to the slot's memory, so it must live until here.
            return picture if frame.is_intact() else None
        except ArithmeticError as error:
            # Unexpected values: the next picture may be good.
            raise PictureUndecodable(
                f'{header.encoding} of {header.width}x{header.height}: {error!r}'
            ) from error

    def _decode(self, frame: Frame, encoding: str) -> av.VideoFrame | None:
        data = bytes(frame.data)
        if not frame.is_intact():
            return None
        # A decoder is dropped after a broken picture, whose remains would spoil the next one.
        decoder = self._decoders.pop(encoding, None) or _open_decoder(_DECODERS[encoding])
        try:
            # An empty packet would mean the end of the stream.
            pictures = decoder.decode(av.Packet(data)) if data else []
        except av.FFmpegError as error:
            raise PictureUndecodable(f'{encoding} of {len(data)} bytes: {error}') from error
        if not pictures:
            raise PictureUndecodable(f'{encoding} of {len(data)} bytes: no picture in it')
        self._decoders[encoding] = decoder
        return pictures[0]

    def _wrap(self, frame: Frame) -> av.VideoFrame:
        """Return the frame for FFmpeg, in place if PyAV can wrap it."""
        header = frame.header
        pixel = PIXEL_FORMATS[header.encoding]
        if pixel.data_bytes(header.step, header.height) > len(frame.data):
            raise ValueError(f'{len(frame.data)} bytes for {header}')
        right, down = pixel.grid
        width, height = header.width - header.width % right, header.height - header.height % down
        if pixel.sample_bytes > 1:
            rows = _values(frame, pixel, width, height)
            levelled = self._of_8_bits(rows, pixel, header)
            if levelled is not None:
                return levelled
        name = pixel.ffmpeg_name(is_bigendian=header.is_bigendian)
        if pixel.chroma_rows or pixel.channels == 2 or header.step % pixel.sample_bytes:
            return _copied(frame, pixel, name, width, height)
        # The format's name gives the byte order.
        rows = _values(frame, pixel, width, height).view(pixel.number_type)
        return av.VideoFrame.from_numpy_buffer(rows, format=name)

    def _levelled(self, source: av.VideoFrame, kind: str, header: FrameHeader) -> av.VideoFrame:
        """
        Return a decoded picture, with the levels that it would have had uncompressed.

        :param kind: Its encoding when uncompressed, if it is 16-bit grey.
        """
        encoding = _DEEP.get(source.format.name)
        if encoding is None:
            return source
        pixel = PIXEL_FORMATS[encoding or kind]
        channels = len(source.format.components)
        rows = plane_rows(source, 0)[:, : 2 * channels * source.width].view('>u2')
        rows = rows.reshape(source.height, source.width, channels)
        levelled = self._of_8_bits(rows[..., 0] if pixel.channels == 1 else rows, pixel, header)
        return source if levelled is None else levelled

    def _of_8_bits(
        self, rows: Any, pixel: PixelFormat, header: FrameHeader
    ) -> av.VideoFrame | None:
        """
        Return a picture whose values were brought into the visible range.

        :param rows: Its values ``[row, column]`` or ``[row, column, channel]``.
        :returns: ``None`` if they need no change.
        """
        kind, at_s = (pixel.name, pixel.depth_unit_m, rows.shape), header.capture_s
        if pixel.depth_unit_m:
            grey = self._levels.depth(rows, pixel.depth_unit_m, kind, at_s)
            return av.VideoFrame.from_numpy_buffer(grey, format='gray')
        if pixel.name == 'gray16':
            grey = self._levels.intensity(_unsigned(rows, pixel), kind, at_s)
            if grey is None and not pixel.is_signed:
                return None
            if grey is None:
                grey = (_unsigned(rows, pixel) >> np.uint16(8)).astype(np.uint8)
            return av.VideoFrame.from_numpy_buffer(grey, format='gray')
        shift = self._levels.shift(rows[..., :3] if rows.ndim == 3 else rows, kind)
        if not shift:
            return None
        rows = np.minimum(rows, np.uint16(0xFFFF >> shift)).astype(np.uint16) << np.uint16(shift)
        return av.VideoFrame.from_numpy_buffer(rows, format=pixel.ffmpeg_name(is_bigendian=False))


def _values(frame: Frame, pixel: PixelFormat, width: int, height: int) -> Any:
    """Return the values of the first plane, in place."""
    strides = (frame.header.step, pixel.bytes_per_pixel, pixel.sample_bytes)
    shape = (height, width, pixel.channels)
    dimensions = 2 if pixel.channels == 1 else 3
    return np.ndarray(
        shape[:dimensions],
        np.dtype(('>' if frame.header.is_bigendian else '<') + pixel.number_type),
        frame.data,
        strides=strides[:dimensions],
    )


def _unsigned(rows: Any, pixel: PixelFormat) -> Any:
    """Return values with 0 as the lowest possible one."""
    if not pixel.is_signed:
        return rows
    return rows.astype(np.int16).view(np.uint16) ^ np.uint16(0x8000)


def _open_decoder(name: str) -> av.VideoCodecContext:
    decoder = cast(av.VideoCodecContext, av.CodecContext.create(name, 'r'))
    decoder.thread_count = 1  # several threads would delay each picture
    # Refuse half a picture, and a second header that was not checked.
    decoder.options = {'err_detect': 'explode', 'max_pixels': str(MAX_PICTURE_PX)}
    return decoder


def _target_size(width: int, height: int, max_width_px: int, scale: float) -> tuple[int, int]:
    """Return the size to convert to: even (4:2:0), or the size of the source."""
    scale *= min(1.0, max_width_px / width)
    if scale == 1.0:
        return width, height
    return max(2, int(width * scale) & ~1), max(2, round(height * scale) & ~1)


def _copied(frame: Frame, pixel: PixelFormat, name: str, width: int, height: int) -> av.VideoFrame:
    """Return a copy of the frame's planes."""
    step = frame.header.step
    picture = av.VideoFrame(width, height, name)
    data = np.frombuffer(frame.data, np.uint8)
    first = step * frame.header.height
    rows = data[:first].reshape(-1, step)[:height, : width * pixel.bytes_per_pixel]
    plane_rows(picture, 0)[:height, : rows.shape[1]] = rows
    if pixel.chroma_rows:
        chroma_step = step * pixel.chroma_rows
        chroma_height = height // pixel.grid[1]
        rows = data[first : first + chroma_step * chroma_height].reshape(-1, chroma_step)
        plane_rows(picture, 1)[:chroma_height, : width * pixel.chroma_rows] = rows[
            :, : width * pixel.chroma_rows
        ]
    return picture


def plane_rows(picture: av.VideoFrame, number: int) -> Any:
    """Return the bytes of a plane as an array ``[row, byte]``, with FFmpeg's padding."""
    plane = picture.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint8)
    return rows[: plane.line_size * plane.height].reshape(plane.height, plane.line_size)


def _padded(picture: av.VideoFrame) -> av.VideoFrame:
    """Return the picture with an even size, by repeating its edge."""
    width, height = picture.width, picture.height
    if width % 2 == 0 and height % 2 == 0:
        return picture
    padded = av.VideoFrame(width + width % 2, height + height % 2, 'yuv420p')
    for number in range(3):
        source = picture.planes[number]
        rows, target = plane_rows(picture, number), plane_rows(padded, number)
        target[: source.height, : source.width] = rows[:, : source.width]
        target[:, source.width :] = target[:, source.width - 1 : source.width]
        target[source.height :] = target[source.height - 1 : source.height]
    return padded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretching:
    """When and how far the used range is stretched; all are shares of the full range."""

    wide: float
    """A picture that uses at least this share is shown unchanged."""
    narrow: float
    """A picture that uses at most this share is stretched fully."""
    least: float
    """Least share between black and white, so that noise does not fill it."""
    outliers: float
    """Share of the pixels that is ignored at either end."""


INTENSITY: Final = _Stretching(wide=0.5, narrow=0.25, least=1 / 256, outliers=0.005)
DEPTH: Final = _Stretching(wide=0.25, narrow=0.1, least=0.05, outliers=0.01)


class Levels:
    """
    Maps one camera's 16-bit values or distances to 8 bits: decides what is black and white.

    A 12-bit camera, a thermal camera or an arm's depth camera uses a small share of the range of
    its encoding and would look uniformly grey. If a picture uses a large share, the full range is
    shown, because absolute brightness is then informative. Otherwise the used range is stretched,
    with a transition in between. The levels follow slowly, so that nothing flickers.
    """

    def __init__(self) -> None:
        self._kind: object = None
        self._window: tuple[float, float] | None = None
        self._at_s = 0.0
        self._bits = 0

    def intensity(self, values: Any, kind: object, at_s: float) -> Any:
        """
        Return brightness ``[row, column]`` of 8 bits; large is bright.

        :param values: Unsigned 16-bit values of any byte order.
        :param kind: Identifies pictures of one format.
        :param at_s: The capture time in seconds.
        :returns: ``None``: no change is needed, black is 0 and white the largest value.
        """
        low, high = self._follow(_sample(values), _WHITE, INTENSITY, kind, at_s)
        if (low, high) == (0.0, _WHITE):
            return None
        first, last = max(0, math.floor(low)), min(65535, math.ceil(high))
        used = np.clip(values.astype(np.uint16, copy=False), np.uint16(first), np.uint16(last))
        used -= np.uint16(first)
        return (used * np.float32(255.0 / (last - first))).astype(np.uint8)

    def depth(self, values: Any, unit_m: float, kind: object, at_s: float) -> Any:
        """
        Return brightness as :meth:`intensity` does; near is bright, no reading is black.

        :param values: Distances; zero, negative and NaN are no readings, infinity is out of range.
        :param unit_m: Metres per unit of distance.
        """
        sample = _sample(values).astype(np.float32)
        sample = sample[np.isfinite(sample) & (sample > 0.0)]
        full = DEPTH_RANGE_M / unit_m
        sample = np.minimum(sample, np.float32(_FARTHEST * full))
        low, high = self._follow(sample, full, DEPTH, kind, at_s)
        with np.errstate(invalid='ignore', over='ignore'):
            distances = values.astype(np.float32)
            grey = distances - np.float32(low)
            grey *= np.float32(-254.0 / (high - low))
            grey += np.float32(255.0)
            np.clip(grey, 1.0, 255.0, out=grey)
            # NaN is not greater than 0 either.
            return np.where(distances > 0.0, grey, 0.0).astype(np.uint8)

    def shift(self, values: Any, kind: object) -> int:
        """
        Return the number of bits by which to shift colour values up; black stays black.

        The number of a sensor's bits is learnt from its brightest picture so far.

        :param values: Unsigned 16-bit values of any byte order.
        """
        if kind != self._kind:
            self._kind, self._bits = kind, 0
        sample = _sample(values)
        place = int((len(sample) - 1) * (1.0 - _BRIGHTEST))
        brightest = int(np.partition(sample, place)[place])
        self._bits = max(self._bits, brightest.bit_length())
        return 0 if self._bits > _SENSOR_BITS else 16 - max(self._bits, _LEAST_BITS)

    def _follow(
        self, sample: Any, full: float, scale: _Stretching, kind: object, at_s: float
    ) -> tuple[float, float]:
        """Return the values that are the ends of the visible range from now on."""
        if not len(sample):
            return 0.0, full
        used = _used(sample, scale)
        wanted = _wanted(used, full, scale)
        pause_s = at_s - self._at_s
        if kind != self._kind or not 0.0 < pause_s <= _PAUSE_S or self._is_elsewhere(used):
            self._window = wanted
        assert self._window is not None
        self._kind, self._at_s = kind, at_s
        part = 1.0 - math.exp(-pause_s / _SETTLING_S) if pause_s > 0.0 else 1.0
        low, high = (
            old + part * (new - old) for old, new in zip(self._window, wanted, strict=True)
        )
        least = _SETTLED * (wanted[1] - wanted[0])
        is_settled = abs(low - wanted[0]) + abs(high - wanted[1]) < least
        self._window = wanted if is_settled else (low, high)
        return self._window

    def _is_elsewhere(self, used: tuple[float, float]) -> bool:
        """Return whether most of the used range would be all white or all black."""
        if self._window is None:
            return True
        seen = min(used[1], self._window[1]) - max(used[0], self._window[0])
        return seen < 0.5 * (used[1] - used[0])


def _sample(values: Any) -> Any:
    # Odd, so that it meets all colours of a mosaic.
    step = math.isqrt(values.shape[0] * values.shape[1] // _SAMPLES) | 1
    return values[::step, ::step].ravel()


def _used(sample: Any, scale: _Stretching) -> tuple[float, float]:
    """Return the smallest and the largest value without outliers."""
    cut = int(scale.outliers * len(sample))
    ends = (cut, len(sample) - 1 - cut)
    parted = np.partition(sample, ends)
    return float(parted[ends[0]]), float(parted[ends[1]])


def _wanted(used: tuple[float, float], full: float, scale: _Stretching) -> tuple[float, float]:
    low, high = used
    share = (min(high, full) - min(low, full)) / full
    whole = min(1.0, max(0.0, (share - scale.narrow) / (scale.wide - scale.narrow)))
    width = max((1.0 + _MARGIN) * (high - low), scale.least * full)
    # The used range keeps its place in the full one: a uniform grey stays the same grey.
    place = min(1.0, (low + high) / 2.0 / full)
    begin = low - (width - (high - low)) * place
    return begin * (1.0 - whole), (begin + width) * (1.0 - whole) + full * whole
