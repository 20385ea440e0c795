"""Simulated camera that encodes its own H.264: a moving scene encoded by x264."""

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

from fractions import Fraction
import functools
from typing import Any

import av
import numpy as np

__all__ = [
    'encoded',
    'nal_units',
    'only_sets',
    'pictures',
    'published',
    'scene',
    'without_sets',
]

PUBLISHED = 60


def scene(number: int, width: int, height: int) -> np.ndarray[Any, Any]:
    """
    Return a picture ``[row, column, colour]`` that differs from its neighbours.

    Its brightness encodes its number, in 16 steps that are easy to distinguish.
    """
    y, x = np.mgrid[0:height, 0:width]
    wave = (x + 3 * number + y) % 64
    grey = 20 + 12 * (number % 16)
    return np.stack([grey + wave // 8] * 3, -1).astype(np.uint8)


@functools.cache
def encoded(
    count: int,
    *,
    width: int = 160,
    height: int = 96,
    gop: int = 10,
    b_frames: int = 0,
    pix_fmt: str = 'yuv420p',
    first: int = 0,
    options: tuple[tuple[str, str], ...] = (('tune', 'zerolatency'),),
    profile: str = '',
) -> tuple[bytes, ...]:
    """
    Return the access units of a scene.

    :param gop: Pictures from one keyframe to the next.
    :param first: Number of the first picture.
    :param options: Options of libx264.
    """
    context: Any = av.CodecContext.create('libx264', 'w')
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.gop_size, context.max_b_frames, context.thread_count = gop, b_frames, 1
    context.options = {'preset': 'superfast', 'sc_threshold': '0', **dict(options)}
    if profile:
        context.profile = profile
    packets: list[Any] = []
    for number in range(count):
        rgb = av.VideoFrame.from_ndarray(scene(first + number, width, height), format='rgb24')
        picture = rgb.reformat(format=pix_fmt)
        picture.pts = number
        packets += context.encode(picture)
    packets += context.encode(None)
    return tuple(map(bytes, packets))


def published(width: int, height: int, gop: int, profile: str = 'High') -> tuple[bytes, ...]:
    """Return the access units that h264_publisher.py publishes in a loop."""
    options = (('tune', 'zerolatency'), ('crf', '30'))
    size = {'width': width, 'height': height}
    return encoded(PUBLISHED, gop=gop, profile=profile, options=options, **size)


def nal_units(data: bytes) -> list[bytes]:
    """Return the NAL units between the start codes."""
    return [unit.rstrip(b'\0') for unit in data.split(b'\0\0\1')[1:]]


def pictures(units: list[bytes] | tuple[bytes, ...]) -> list[bytes]:
    """Return the pictures of a decoder that gets all units, in output order."""
    decoder: Any = av.CodecContext.create('h264', 'r')
    decoder.thread_count = 1
    decoder.flags |= av.codec.context.Flags.low_delay.value
    shown = [frame for unit in units for frame in decoder.decode(av.Packet(unit))]
    return [frame.to_ndarray(format='yuv420p').tobytes() for frame in (*shown, *decoder.decode())]


def without_sets(unit: bytes) -> bytes:
    """Return an access unit without its parameter sets."""
    parts = [part for part in nal_units(unit) if part[0] & 0x1F not in (7, 8)]
    return b''.join(b'\0\0\0\1' + part for part in parts)


def only_sets(unit: bytes) -> bytes:
    """Return only the parameter sets of an access unit."""
    parts = [part for part in nal_units(unit) if part[0] & 0x1F in (7, 8)]
    return b''.join(b'\0\0\0\1' + part for part in parts)
