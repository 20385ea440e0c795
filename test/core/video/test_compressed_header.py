"""Sizes that compressed pictures claim, read from their first bytes."""

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

import struct

from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.compressed_header import CompressedHeader, read_header

PNG = b'\x89PNG\r\n\x1a\n'
START = b'\xff\xd8'
APP0 = b'\xff\xe0' + struct.pack('>H', 16) + bytes(14)


def png(width: int, height: int, kind: bytes = b'IHDR') -> bytes:
    return PNG + struct.pack('>I4sII', 13, kind, width, height) + bytes(9)


def frame(width: int, height: int, kind: int = 0xC0) -> bytes:
    return struct.pack('>BBHBHH', 0xFF, kind, 17, 8, height, width) + bytes(10)


def size(data: bytes) -> tuple[str, int, int]:
    header = read_header(memoryview(data))
    assert isinstance(header, CompressedHeader)
    return header.encoding, header.width, header.height


@given(width=st.integers(0, 2**32 - 1), height=st.integers(0, 2**32 - 1))
def test_a_png_tells_its_size_whatever_it_is(width: int, height: int) -> None:
    assert size(png(width, height)) == ('png', width, height)


@given(width=st.integers(0, 65535), height=st.integers(0, 65535))
def test_a_jpeg_tells_its_size_whatever_it_is(width: int, height: int) -> None:
    assert size(START + APP0 + frame(width, height)) == ('jpeg', width, height)


@pytest.mark.parametrize(
    'data',
    [
        START + frame(4, 3),
        START + APP0 * 5 + frame(4, 3),
        START + b'\xff\xff\xff' + frame(4, 3),
        START + APP0 + frame(4, 3, 0xC2),
        START + APP0 + frame(4, 3, 0xCF),
        # Tables whose kinds lie between those of frames.
        START
        + b''.join(bytes([0xFF, kind]) + b'\0\3x' for kind in (0xC4, 0xC8, 0xCC))
        + frame(4, 3),
    ],
)
def test_the_frame_is_found_behind_other_segments(data: bytes) -> None:
    assert size(data) == ('jpeg', 4, 3)


@pytest.mark.parametrize(
    ('data', 'why'),
    [
        (b'', 'neither JPEG nor PNG'),
        (b'GIF89a' + bytes(40), 'neither JPEG nor PNG'),
        (PNG[:-1], 'neither JPEG nor PNG'),
        (PNG, 'a PNG without a header'),
        (png(4, 3)[: len(PNG) + 15], 'a PNG without a header'),
        (png(4, 3, b'IDAT'), 'a PNG without a header'),
        (START, 'a JPEG without a readable header'),
        (START + APP0 + b'xx' + frame(4, 3), 'a JPEG without a readable header'),
        ((START + APP0 + frame(4, 3))[:-11], 'a JPEG without a readable header'),
        # Segments and padding without end: no more than 256 are looked at.
        (START + b'\xff' * 1000, 'a JPEG without a readable header'),
        (START + APP0 * 256 + frame(4, 3), 'a JPEG without a readable header'),
        (START + b'\xff\xe0\0\0' * 300, 'a JPEG without a readable header'),
    ],
)
def test_what_has_no_size_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(PictureUndecodable, match=why):
        read_header(memoryview(data))
