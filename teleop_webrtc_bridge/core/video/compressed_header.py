"""
The size of a JPEG or PNG, read from its header before anything is decoded.

A few bytes can claim a picture that would fill the memory when decoded.
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
import struct
from typing import Final

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

__all__ = ['CompressedHeader', 'read_header']

_JPEG: Final = b'\xff\xd8'
_PNG: Final = b'\x89PNG\r\n\x1a\n'
#: length, type, width, height
_PNG_HEADER: Final = struct.Struct('>I4sII')
#: length of the segment, bits a sample, height, width
_JPEG_FRAME: Final = struct.Struct('>HBHH')
_JPEG_LENGTH: Final = struct.Struct('>H')
#: SOF0 to SOF15 without DHT, JPG and DAC, which lie between them.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MAX_SEGMENTS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedHeader:
    """Encoding and size of a compressed picture."""

    encoding: str
    """``jpeg`` or ``png``."""
    width: int
    height: int


def read_header(data: memoryview) -> CompressedHeader:
    """
    Read encoding and size from the beginning of a picture.

    :raises PictureUndecodable: It is neither JPEG nor PNG, or its header is broken.
    """
    if bytes(data[: len(_JPEG)]) == _JPEG:
        return _jpeg(data)
    if bytes(data[: len(_PNG)]) == _PNG:
        return _png(data)
    raise PictureUndecodable('neither JPEG nor PNG')


def _png(data: memoryview) -> CompressedHeader:
    if len(data) < len(_PNG) + _PNG_HEADER.size:
        raise PictureUndecodable('a PNG without a header')
    _, kind, width, height = _PNG_HEADER.unpack_from(data, len(_PNG))
    if kind != b'IHDR':
        raise PictureUndecodable('a PNG without a header')
    return CompressedHeader(encoding='png', width=width, height=height)


def _jpeg(data: memoryview) -> CompressedHeader:
    position = len(_JPEG)
    for _ in range(_MAX_SEGMENTS):
        # A marker is FF and a kind; FF may be repeated before it.
        if position + 2 + _JPEG_FRAME.size > len(data) or data[position] != 0xFF:
            break
        kind = data[position + 1]
        if kind == 0xFF:
            position += 1
            continue
        if kind in _JPEG_FRAMES:
            _, _, height, width = _JPEG_FRAME.unpack_from(data, position + 2)
            return CompressedHeader(encoding='jpeg', width=width, height=height)
        (length,) = _JPEG_LENGTH.unpack_from(data, position + 2)
        position += 2 + max(length, 2)
    raise PictureUndecodable('a JPEG without a readable header')
