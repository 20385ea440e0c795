"""
The newest camera frame, in memory that both halves share.

A queue of frames would grow whenever the WebRTC half stalls; a slot keeps the newest and forgets
the rest. The memory is a memfd that the child inherits: it has no name, so nothing is left behind
after ``kill -9``, and pages that no frame ever touched take no memory.

Four buffers in turn, one writer, one reader: the writer, which may have begun with the next frame
already, needs two more frames before it comes back to the buffer that is being read, and the
reader notices if it did (``Frame.is_intact``).
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
import mmap
import os
import struct
from typing import Final

from teleop_webrtc_bridge.bridge.link.memory import create_memory

__all__ = [
    'MAX_FRAME_BYTES',
    'MAX_PICTURE_PX',
    'Frame',
    'FrameHeader',
    'FrameReader',
    'FrameWriter',
    'create_slot',
]

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
MAX_PICTURE_PX: Final = MAX_FRAME_BYTES // 3
"""Of a compressed picture; as many as fit uncompressed, as ``bgr8``."""
_BUFFERS: Final = 4
_INDEX: Final = struct.Struct('<Q')
#: sequence, capture time, width, height, step, place, bytes, byte order, filler, encoding
_HEADER: Final = struct.Struct('<QdIIIII??32s')
_HEADER_BYTES: Final = 4096
_AROUND_BYTES: Final = 4096
"""Room for what a message has around its pixels."""
_BODY_BYTES: Final = MAX_FRAME_BYTES + _AROUND_BYTES
_STRIDE: Final = _HEADER_BYTES + _BODY_BYTES
_SLOT_BYTES: Final = _HEADER_BYTES + _BUFFERS * _STRIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What a frame's bytes mean; the fields of ``sensor_msgs/Image``."""

    capture_s: float
    """When the picture was taken, in seconds of ``time.monotonic``."""
    width: int
    height: int
    step: int
    """Bytes a row; of a compressed picture 0."""
    encoding: str
    """One of :data:`PIXEL_FORMATS`, or ``jpeg`` or ``png``; a PNG whose grey of 16 bits is
    brightness is ``png/mono16``, else it is taken for distances."""
    is_bigendian: bool = False
    is_filler: bool = False
    """Whether it is grey in place of a picture, and was taken by no camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame in place; read it, then ask whether it stayed intact."""

    sequence: int
    header: FrameHeader
    data: memoryview
    """Its bytes in the shared memory."""
    is_intact: Callable[[], bool]
    """Whether the writer has not begun to overwrite it."""


def create_slot() -> int:
    """Return the descriptor of a new slot; the caller closes it."""
    return create_memory('teleop_frames', _SLOT_BYTES)


class FrameWriter:
    """
    Puts frames into the slot.

    :param slot: Descriptor of the shared memory.
    :param wake: Descriptor of an eventfd that is raised for each frame.
    """

    def __init__(self, slot: int, wake: int) -> None:
        self._memory = mmap.mmap(slot, _SLOT_BYTES)
        self._view = memoryview(self._memory)
        self._wake = wake
        (self._sequence,) = _INDEX.unpack_from(self._memory)

    def spare(self) -> memoryview:
        """
        Return the memory of the next frame; what is in it is none from now on.

        Whoever puts a frame there calls :meth:`publish` then, and nothing is copied.
        """
        start = self._start(self._sequence + 1)
        _INDEX.pack_into(self._memory, start, 0)  # nobody may take the old frame from now on
        body = start + _HEADER_BYTES
        return self._view[body : body + _BODY_BYTES]

    def is_spare(self, data: memoryview) -> bool:
        """Return whether this is, or was, of :meth:`spare`."""
        return data.obj is self._memory

    def publish(self, header: FrameHeader, place: int, size: int) -> None:
        """
        Make what is in the spare memory the newest frame.

        :param place: Where its bytes begin in there.
        :param size: Of all rows of all planes, or of the compressed picture.
        :raises ValueError: It is larger than :data:`MAX_FRAME_BYTES`.
        """
        if size > MAX_FRAME_BYTES or place + size > _BODY_BYTES:
            raise ValueError(f'frame of {size} bytes; at most {MAX_FRAME_BYTES}')
        sequence = self._sequence + 1
        numbers = (header.width, header.height, header.step, place, size)
        meaning = (header.is_bigendian, header.is_filler, header.encoding.encode())
        fields = (sequence, header.capture_s, *numbers, *meaning)
        _HEADER.pack_into(self._memory, self._start(sequence), *fields)
        _INDEX.pack_into(self._memory, 0, sequence)
        self._sequence = sequence
        os.eventfd_write(self._wake, 1)

    def write(self, header: FrameHeader, data: memoryview) -> None:
        """
        Make this the newest frame: one copy.

        :param data: As for :meth:`publish`.
        :raises ValueError: It is larger than :data:`MAX_FRAME_BYTES`.
        """
        if len(data) > MAX_FRAME_BYTES:
            raise ValueError(f'frame of {len(data)} bytes; at most {MAX_FRAME_BYTES}')
        self.spare()[: len(data)] = data
        self.publish(header, 0, len(data))

    @staticmethod
    def _start(sequence: int) -> int:
        return _HEADER_BYTES + (sequence % _BUFFERS) * _STRIDE

    def close(self) -> None:
        self._view.release()
        self._memory.close()


class FrameReader:
    """Takes the newest frame out of the slot."""

    def __init__(self, slot: int) -> None:
        self._memory = mmap.mmap(slot, _SLOT_BYTES, prot=mmap.PROT_READ)
        self._view = memoryview(self._memory)

    def newest(self) -> Frame | None:
        """Return the newest frame in place; ``None`` before the first one."""
        (sequence,) = _INDEX.unpack_from(self._memory)
        if sequence == 0:
            return None
        start = _HEADER_BYTES + (sequence % _BUFFERS) * _STRIDE

        def is_intact() -> bool:
            return bool(_INDEX.unpack_from(self._memory, start)[0] == sequence)

        fields = _HEADER.unpack_from(self._memory, start)
        _, capture_s, width, height, step, place, size, is_bigendian, is_filler, encoding = fields
        if not is_intact() or size > MAX_FRAME_BYTES or place + size > _BODY_BYTES:
            return None
        header = FrameHeader(
            capture_s=capture_s,
            width=width,
            height=height,
            step=step,
            encoding=encoding.rstrip(b'\0').decode('ascii', 'replace'),
            is_bigendian=is_bigendian,
            is_filler=is_filler,
        )
        first = start + _HEADER_BYTES + place
        data = self._view[first : first + size]
        return Frame(sequence=sequence, header=header, data=data, is_intact=is_intact)
