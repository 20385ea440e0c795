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
Which encodings of ``sensor_msgs/Image`` are handed to the video converter as they are.

The names on the left are those of ``sensor_msgs/image_encodings.hpp``, the names on the right
FFmpeg's pixel formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ['PIXEL_FORMATS', 'PixelFormat']


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFormat:
    """How the bytes of one encoding are laid out."""

    name: str
    """FFmpeg's name."""
    bytes_per_pixel: int


PIXEL_FORMATS: Final = {
    'rgb8': PixelFormat(name='rgb24', bytes_per_pixel=3),
    'bgr8': PixelFormat(name='bgr24', bytes_per_pixel=3),
    '8UC3': PixelFormat(name='bgr24', bytes_per_pixel=3),
    'rgba8': PixelFormat(name='rgba', bytes_per_pixel=4),
    'bgra8': PixelFormat(name='bgra', bytes_per_pixel=4),
    '8UC4': PixelFormat(name='bgra', bytes_per_pixel=4),
    'mono8': PixelFormat(name='gray', bytes_per_pixel=1),
    '8UC1': PixelFormat(name='gray', bytes_per_pixel=1),
    'yuv422': PixelFormat(name='uyvy422', bytes_per_pixel=2),
    'uyvy': PixelFormat(name='uyvy422', bytes_per_pixel=2),
    'yuv422_yuy2': PixelFormat(name='yuyv422', bytes_per_pixel=2),
    'yuyv': PixelFormat(name='yuyv422', bytes_per_pixel=2),
}
