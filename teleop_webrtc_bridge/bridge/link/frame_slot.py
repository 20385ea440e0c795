"""
The newest camera frame, in memory that both halves share.

A queue of frames would grow whenever the WebRTC half stalls; a slot keeps only the newest one. The
memory is a memfd that the child inherits: it has no name, so nothing is left behind after
``kill -9``, and pages that no frame ever touched take no memory.

There are four buffers, one writer and one reader. The writer may already have begun the next frame
and needs two more before it returns to the buffer that is being read; the reader notices if it did
(``Frame.is_intact``).
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
import fcntl
import mmap
import os
import struct
from typing import Final

__all__ = [
    'MAX_FRAME_BYTES',
    'MAX_PICTURE_PX',
    'Frame',
    'FrameHeader',
    'FrameReader',
    'FrameWriter',
    'create_memory',
    'create_slot',
    'grey_frame',
]

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
MAX_PICTURE_PX: Final = MAX_FRAME_BYTES // 3
"""Limit of a compressed picture: as many pixels as fit uncompressed, as ``bgr8``."""
_GREY: Final = 128
_BUFFERS: Final = 4
_INDEX: Final = struct.Struct('<Q')
#: sequence, capture time, width, height, step, place, bytes, byte order, filler, encoding
_HEADER: Final = struct.Struct('<QdIIIII??32s')
_HEADER_BYTES: Final = 4096
_BODY_BYTES: Final = MAX_FRAME_BYTES + 4096
"""The largest frame, and the fields that a message has around its pixels."""
_STRIDE: Final = _HEADER_BYTES + _BODY_BYTES
_SLOT_BYTES: Final = _HEADER_BYTES + _BUFFERS * _STRIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """The meaning of a frame's bytes: the fields of ``sensor_msgs/Image``."""

    capture_s: float
    """When the picture was taken, in seconds of ``time.monotonic``."""
    width: int
    height: int
    step: int
    """Bytes per row; 0 for a compressed picture."""
    encoding: str
    """One of :data:`PIXEL_FORMATS`, or ``jpeg`` or ``png``. A 16-bit grey PNG holds brightness if
    this is ``png/mono16``, otherwise distances."""
    is_bigendian: bool = False
    is_filler: bool = False
    """Whether this is the grey placeholder and not a camera's picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame in place: read it, then check that it stayed intact."""

    sequence: int
    header: FrameHeader
    data: memoryview
    """Its bytes in the shared memory."""
    is_intact: Callable[[], bool]
    """Whether the writer has not begun to overwrite it."""


def grey_frame(width: int, height: int, capture_s: float, *, sequence: int = 0) -> Frame:
    """Return the placeholder that is shown instead of a picture that is missing or stale."""
    header = FrameHeader(
        capture_s=capture_s,
        width=width,
        height=height,
        step=width,
        encoding='mono8',
        is_filler=True,
    )
    data = memoryview(bytes([_GREY]) * (width * height))
    return Frame(sequence=sequence, header=header, data=data, is_intact=lambda: True)


def create_memory(name: str, size: int) -> int:
    """
    Return the descriptor of zeroed memory that a child process inherits; the caller closes it.

    :param name: Shown in ``/proc`` only.
    :param size: In bytes.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    # Shrinking it would crash the half that stops the robot.
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


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
        Return the memory of the next frame; the frame that was in it becomes invalid.

        Write a frame into it, then call :meth:`publish`: nothing is copied.
        """
        start = self._start(self._sequence + 1)
        _INDEX.pack_into(self._memory, start, 0)  # invalidates the old frame
        body = start + _HEADER_BYTES
        return self._view[body : body + _BODY_BYTES]

    def is_spare(self, data: memoryview) -> bool:
        """Return whether this memory came from :meth:`spare`."""
        return data.obj is self._memory

    def publish(self, header: FrameHeader, place: int, size: int) -> None:
        """
        Make the contents of the spare memory the newest frame.

        :param place: Where its bytes begin in that memory.
        :param size: Bytes of all rows of all planes, or of the compressed picture.
        :raises ValueError: The frame is larger than :data:`MAX_FRAME_BYTES`.
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
        Copy a frame into the slot and make it the newest one.

        :param data: All rows of all planes, or the compressed picture.
        :raises ValueError: The frame is larger than :data:`MAX_FRAME_BYTES`.
        """
        if len(data) > MAX_FRAME_BYTES:
            raise ValueError(f'frame of {len(data)} bytes; at most {MAX_FRAME_BYTES}')
        self.spare()[: len(data)] = data
        self.publish(header, 0, len(data))

    def write_grey(self, width: int, height: int, now: float) -> None:
        """Make the grey placeholder the newest frame."""
        grey = grey_frame(width, height, now)
        self.write(grey.header, grey.data)

    @staticmethod
    def _start(sequence: int) -> int:
        return _HEADER_BYTES + (sequence % _BUFFERS) * _STRIDE

    def close(self) -> None:
        self._view.release()
        self._memory.close()


class FrameReader:
    """Reads the newest frame of the slot."""

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
