"""
The encodings of ``sensor_msgs/Image`` that the video converter reads directly.

The names on the left are those of ``sensor_msgs/image_encodings.hpp``, the names on the right
FFmpeg's pixel formats.
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

from dataclasses import dataclass
from typing import Final

__all__ = ['PIXEL_FORMATS', 'PixelFormat']


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFormat:
    """The memory layout of one encoding."""

    name: str
    """FFmpeg's name; for samples of several bytes without ``le`` or ``be``."""
    bytes_per_pixel: int
    """In the first plane."""
    sample_bytes: int = 1
    """If more than one, ``is_bigendian`` matters."""
    is_signed: bool = False
    """Whether samples are signed."""
    grid: tuple[int, int] = (1, 1)
    """Width and height of a cell in pixels; incomplete cells at the edges are cut off."""
    chroma_rows: int = 0
    """Size of a row of the second plane (U and V interleaved), in rows of the first plane."""
    depth_unit_m: float = 0.0
    """If set, samples are distances in this unit; shown as grey."""

    @property
    def number_type(self) -> str:
        """Name of a sample's type in NumPy, without byte order."""
        return {1: 'u1', 2: 'i2' if self.is_signed else 'u2', 4: 'f4'}[self.sample_bytes]

    @property
    def channels(self) -> int:
        """Samples per pixel in the first plane."""
        return self.bytes_per_pixel // self.sample_bytes

    def ffmpeg_name(self, *, is_bigendian: bool) -> str:
        """Return FFmpeg's name for samples of this byte order."""
        if self.sample_bytes == 1:
            return self.name
        return self.name + ('be' if is_bigendian else 'le')

    def data_bytes(self, step: int, height: int) -> int:
        """
        Return the size of a picture with all planes, in bytes.

        :param step: Bytes per row of the first plane.
        """
        return step * height + self.chroma_rows * step * (height // self.grid[1])


def _packed(name: str, bytes_per_pixel: int, sample_bytes: int = 1) -> PixelFormat:
    return PixelFormat(name=name, bytes_per_pixel=bytes_per_pixel, sample_bytes=sample_bytes)


def _yuv422(name: str) -> PixelFormat:
    return PixelFormat(name=name, bytes_per_pixel=2, grid=(2, 1))


def _bayer(order: str, sample_bytes: int) -> PixelFormat:
    return PixelFormat(
        name=f'bayer_{order}{8 * sample_bytes}',
        bytes_per_pixel=sample_bytes,
        sample_bytes=sample_bytes,
        grid=(2, 2),
    )


PIXEL_FORMATS: Final = {
    'rgb8': _packed('rgb24', 3),
    'bgr8': _packed('bgr24', 3),
    '8UC3': _packed('bgr24', 3),
    'rgba8': _packed('rgba', 4),
    'bgra8': _packed('bgra', 4),
    '8UC4': _packed('bgra', 4),
    'mono8': _packed('gray', 1),
    '8UC1': _packed('gray', 1),
    # For 16-bit samples, the part of the range that the camera uses is shown.
    'rgb16': _packed('rgb48', 6, sample_bytes=2),
    'bgr16': _packed('bgr48', 6, sample_bytes=2),
    'rgba16': _packed('rgba64', 8, sample_bytes=2),
    'bgra16': _packed('bgra64', 8, sample_bytes=2),
    'mono16': _packed('gray16', 2, sample_bytes=2),
    '16SC1': PixelFormat(name='gray16', bytes_per_pixel=2, sample_bytes=2, is_signed=True),
    'yuv422': _yuv422('uyvy422'),
    'uyvy': _yuv422('uyvy422'),
    'yuv422_yuy2': _yuv422('yuyv422'),
    'yuyv': _yuv422('yuyv422'),
    'nv12': PixelFormat(name='nv12', bytes_per_pixel=1, grid=(2, 2), chroma_rows=1),
    'nv21': PixelFormat(name='nv21', bytes_per_pixel=1, grid=(2, 2), chroma_rows=1),
    # swscale mangles the colours of images of odd width.
    'nv24': PixelFormat(name='nv24', bytes_per_pixel=1, grid=(2, 1), chroma_rows=2),
    **{
        f'bayer_{order}{8 * sample_bytes}': _bayer(order, sample_bytes)
        for order in ('rggb', 'bggr', 'gbrg', 'grbg')
        for sample_bytes in (1, 2)
    },
    # REP 118: millimetres or metres.
    '16UC1': PixelFormat(name='gray16', bytes_per_pixel=2, sample_bytes=2, depth_unit_m=1e-3),
    '32FC1': PixelFormat(name='grayf32', bytes_per_pixel=4, sample_bytes=4, depth_unit_m=1.0),
}
