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
Reads ``sensor_msgs/Image`` where it lies, in the bytes that DDS delivers.

rclpy would copy the pixels twice more, into a message in C and from there into one in Python, and
hold the interpreter's lock meanwhile, for which the thread that drives would have to wait.

Source: OMG DDSI-RTPS 2.5, section 10 (encapsulation), and OMG CORBA 3.3 part 2, section 9.3 (CDR:
a number is aligned to its size, counted from behind the encapsulation's header).
"""

from __future__ import annotations

from dataclasses import dataclass
import struct
from typing import Any, Final

from teleop_webrtc_bridge.exceptions import PictureUndecodable

__all__ = ['SerializedImage', 'read_image']

#: By the identifier of the encapsulation: CDR_BE and CDR_LE, which is what all of ROS 2 uses.
_BYTE_ORDERS: Final = {b'\0\0': '>', b'\0\1': '<'}
_ENCAPSULATION_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SerializedImage:
    """A ``sensor_msgs/Image``, see there; its pixels are where they were."""

    stamp_ns: int
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview
    serialized: bytes
    """The whole message."""


def read_image(serialized: bytes) -> SerializedImage:
    """
    Return the fields of an image; whether they make sense together is not looked at.

    :param serialized: What a subscription with ``raw=True`` delivers.
    :raises PictureUndecodable: It is none.
    """
    identifier = serialized[:2]
    order = _BYTE_ORDERS.get(identifier)
    if order is None:
        raise PictureUndecodable(f'encapsulation {identifier.hex()!r}; 0000 or 0001 is allowed')
    fields = _Fields(memoryview(serialized)[_ENCAPSULATION_BYTES:], order)
    seconds, nanoseconds = fields.numbers('header.stamp', 'iI')
    fields.array('header.frame_id')
    height, width = fields.numbers('height and width', 'II')
    encoding = fields.array('encoding')
    (is_bigendian,) = fields.numbers('is_bigendian', 'B')
    (step,) = fields.numbers('step', 'I')
    return SerializedImage(
        stamp_ns=seconds * 10**9 + nanoseconds,
        height=height,
        width=width,
        encoding=bytes(encoding).removesuffix(b'\0').decode(errors='replace'),
        is_bigendian=is_bigendian,
        step=step,
        data=fields.array('data'),
        serialized=serialized,
    )


class _Fields:
    """The fields of a message, one after the other."""

    def __init__(self, body: memoryview, order: str) -> None:
        self._body = body
        self._order = order
        self._position = 0

    def numbers(self, name: str, kinds: str) -> tuple[Any, ...]:
        """Return numbers of the same size; ``kinds`` as for :mod:`struct`."""
        size = struct.calcsize(f'={kinds}')
        each = size // len(kinds)
        begin = -(-self._position // each) * each
        self._end_with(name, begin + size)
        return struct.unpack_from(self._order + kinds, self._body, begin)

    def array(self, name: str) -> memoryview:
        """Return the bytes of a sequence, or of a string with its NUL."""
        (length,) = self.numbers(name, 'I')
        begin = self._position
        self._end_with(name, begin + length)
        return self._body[begin : self._position]

    def _end_with(self, name: str, end: int) -> None:
        if end > len(self._body):
            raise PictureUndecodable(f'{len(self._body)} bytes, {end} are needed up to {name}')
        self._position = end
