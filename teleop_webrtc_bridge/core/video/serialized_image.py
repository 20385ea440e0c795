"""
Image messages, parsed in place in the bytes that DDS delivers.

rclpy would copy the pixels twice, into a message in C and from there into one in Python. Meanwhile
it would hold the interpreter's lock, and the drive thread would have to wait.

Source: OMG DDSI-RTPS 2.5, section 10 (encapsulation), and OMG CORBA 3.3 part 2, section 9.3 (CDR:
a number is aligned to its size, counted from behind the encapsulation's header).
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
from typing import Any, Final

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

__all__ = ['SerializedCompressedImage', 'SerializedImage', 'read_compressed_image', 'read_image']

#: By the identifier of the encapsulation: CDR_BE and CDR_LE, which is what all of ROS 2 uses.
_BYTE_ORDERS: Final = {b'\0\0': '>', b'\0\1': '<'}
_ENCAPSULATION_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SerializedImage:
    """A ``sensor_msgs/Image``, without a copy of its pixels."""

    stamp_ns: int
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview
    place: int
    """Offset of ``data`` in :attr:`serialized`."""
    serialized: memoryview
    """The whole message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerializedCompressedImage:
    """A ``sensor_msgs/CompressedImage``, without a copy of its data."""

    stamp_ns: int
    format: str
    data: memoryview
    place: int
    """Offset of ``data`` in the message."""


def read_image(serialized: bytes | memoryview) -> SerializedImage:
    """
    Return the fields of an image; their consistency is not checked.

    :param serialized: The message as DDS delivers it.
    :raises PictureUndecodable: The message is too short or not CDR.
    """
    serialized = memoryview(serialized)
    fields = _Fields(serialized)
    stamp_ns = fields.header()
    height, width = fields.numbers('height and width', 'II')
    encoding = fields.text('encoding')
    (is_bigendian,) = fields.numbers('is_bigendian', 'B')
    (step,) = fields.numbers('step', 'I')
    data = fields.array('data')
    return SerializedImage(
        stamp_ns=stamp_ns,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=data,
        place=fields.position - len(data),
        serialized=serialized,
    )


def read_compressed_image(serialized: bytes | memoryview) -> SerializedCompressedImage:
    """
    Return the fields of a compressed image; see :func:`read_image`.

    :raises PictureUndecodable: The message is too short or not CDR.
    """
    fields = _Fields(memoryview(serialized))
    stamp_ns = fields.header()
    name = fields.text('format')
    data = fields.array('data')
    place = fields.position - len(data)
    return SerializedCompressedImage(stamp_ns=stamp_ns, format=name, data=data, place=place)


class _Fields:
    """
    Reads the fields of a message one after the other.

    :raises PictureUndecodable: The encapsulation is not one that ROS 2 uses.
    """

    def __init__(self, serialized: memoryview) -> None:
        identifier = bytes(serialized[:2])
        order = _BYTE_ORDERS.get(identifier)
        if order is None:
            raise PictureUndecodable(
                f'encapsulation {identifier.hex()!r}; 0000 or 0001 is allowed'
            )
        self._serialized = serialized
        self._order = order
        self.position = _ENCAPSULATION_BYTES
        """Offset of the next field."""

    def header(self) -> int:
        """Return the stamp of a ``std_msgs/Header``, in nanoseconds."""
        seconds, nanoseconds = self.numbers('header.stamp', 'iI')
        self.array('header.frame_id')
        return int(seconds * 10**9 + nanoseconds)

    def numbers(self, name: str, kinds: str) -> tuple[Any, ...]:
        """Return numbers of the same size, of 4 bytes or 1; ``kinds`` as for :mod:`struct`."""
        size = struct.calcsize(f'={kinds}')
        each = size // len(kinds)
        # The encapsulation header is as long as the largest number, so it does not shift this.
        begin = -(-self.position // each) * each
        self._end_with(name, begin + size)
        return struct.unpack_from(self._order + kinds, self._serialized, begin)

    def text(self, name: str) -> str:
        """Return a string."""
        return bytes(self.array(name)).removesuffix(b'\0').decode(errors='replace')

    def array(self, name: str) -> memoryview:
        """Return the bytes of a sequence, or of a string with its NUL."""
        (length,) = self.numbers(name, 'I')
        begin = self.position
        self._end_with(name, begin + length)
        return self._serialized[begin : self.position]

    def _end_with(self, name: str, end: int) -> None:
        if end > len(self._serialized):
            raise PictureUndecodable(
                f'{len(self._serialized)} bytes, {end} are needed up to {name}'
            )
        self.position = end
