"""An image is read from its bytes as rclpy reads it, or it is said where they end."""

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
from teleop_webrtc_bridge.core.video.serialized_image import read_compressed_image, read_image

rclpy = pytest.importorskip('rclpy.serialization')
messages = pytest.importorskip('sensor_msgs.msg')

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

UINT32 = st.integers(0, 2**32 - 1)
#: In ROS, text has no NUL.
TEXT = st.text(st.characters(exclude_characters='\0', codec='utf-8'), max_size=9)
IMAGES = st.fixed_dictionaries(
    {
        'height': UINT32,
        'width': UINT32,
        'encoding': TEXT,
        'is_bigendian': st.integers(0, 255),
        'step': UINT32,
        'data': st.binary(max_size=50),
    }
)


@given(
    fields=IMAGES,
    frame_id=TEXT,
    seconds=st.integers(-(2**31), 2**31 - 1),
    nanoseconds=UINT32,
)
def test_what_rclpy_writes_is_read(
    fields: dict[str, object], frame_id: str, seconds: int, nanoseconds: int
) -> None:
    message = messages.Image(**fields)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
    serialized = rclpy.serialize_message(message)
    image = read_image(serialized)
    assert {name: getattr(image, name) for name in fields} == fields
    assert image.stamp_ns == seconds * 10**9 + nanoseconds
    assert image.serialized.obj is serialized
    assert image.serialized[image.place :][: len(image.data)] == image.data


@given(
    name=TEXT,
    data=st.binary(max_size=50),
    frame_id=TEXT,
    seconds=st.integers(-(2**31), 2**31 - 1),
    nanoseconds=UINT32,
)
def test_what_rclpy_writes_of_a_compressed_image_is_read(
    name: str, data: bytes, frame_id: str, seconds: int, nanoseconds: int
) -> None:
    message = messages.CompressedImage(format=name, data=data)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
    serialized = rclpy.serialize_message(message)
    image = read_compressed_image(serialized)
    assert (image.format, image.data) == (name, data)
    assert image.stamp_ns == seconds * 10**9 + nanoseconds
    assert image.data.obj is serialized
    assert serialized[image.place :][: len(data)] == data


def big_endian() -> bytes:
    """Return 2 px of ``mono8`` from a computer of the other kind."""
    header = struct.pack('>iII', 5, 6, 4) + b'cam\0'
    size = struct.pack('>II', 1, 2)
    encoding = struct.pack('>I', 6) + b'mono8\0'
    # The number is followed by one byte up to the next multiple of four.
    step = b'\1\0' + b'\0' * (-(len(header + size + encoding) + 2) % 4) + struct.pack('>I', 2)
    return b'\0\0\0\0' + header + size + encoding + step + struct.pack('>I', 2) + b'ab'


def test_what_a_big_endian_computer_writes_is_read() -> None:
    image = read_image(big_endian())
    found = (image.stamp_ns, image.width, image.height, image.encoding, image.step)
    assert found == (5_000_000_006, 2, 1, 'mono8', 2)
    assert (image.is_bigendian, bytes(image.data)) == (1, b'ab')
    assert rclpy.deserialize_message(big_endian(), messages.Image).data.tobytes() == b'ab'


def test_the_pixels_are_not_copied() -> None:
    serialized = rclpy.serialize_message(messages.Image(data=b'pixels'))
    assert read_image(serialized).data.obj is serialized


def test_wherever_the_bytes_end_too_early_that_is_said() -> None:
    message = messages.Image(encoding='mono8', data=b'pixels')
    complete = rclpy.serialize_message(message)
    end = complete.index(b'pixels') + len(b'pixels')
    assert bytes(read_image(complete[:end]).data) == b'pixels'
    names = set()
    for length in range(4, end):
        with pytest.raises(PictureUndecodable, match='bytes, [0-9]+ are needed up to') as said:
            read_image(complete[:length])
        names.add(str(said.value).partition('up to ')[2])
    assert names >= {'header.stamp', 'height and width', 'encoding', 'is_bigendian', 'step'}
    assert 'data' in names


@pytest.mark.parametrize('data', [b'', b'\0', b'\0\2\0\0', b'\0\7\0\0' + bytes(100)])
def test_other_encapsulations_are_refused(data: bytes) -> None:
    with pytest.raises(PictureUndecodable, match=f"'{data[:2].hex()}'; 0000 or 0001"):
        read_image(data)


def test_a_length_beyond_the_end_is_refused() -> None:
    """A sequence of 4 GiB in a message of 36 bytes."""
    with pytest.raises(PictureUndecodable, match='4294967311 are needed up to header.frame_id'):
        read_image(b'\0\1\0\0' + bytes(8) + b'\xff' * 4 + bytes(20))
