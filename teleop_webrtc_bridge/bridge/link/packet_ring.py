"""
A ring of pictures that the camera encoded itself, in memory that both halves share.

A skipped picture spoils the ones that refer to it, so they are kept in order. Their number and
their age are limited: a reader that falls behind continues with the next keyframe.

The memory is a memfd like the frame slot's. There is one writer, which never waits, and one
reader, which notices when it was overrun. Positions in the ring never wrap, so a smaller one is
older.
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
import mmap
import os
import struct
from typing import Final

from teleop_webrtc_bridge.bridge.link.frame_slot import create_memory
from teleop_webrtc_bridge.core.video.h264 import AccessUnit, MAX_UNIT_BYTES

__all__ = ['MAX_BEHIND_S', 'PacketReader', 'PacketWriter', 'Unit', 'create_ring']

MAX_BEHIND_S: Final = 0.5
"""A picture that waited longer is too old to drive by."""
_ENTRIES: Final = 256
"""Units that the ring remembers: at 120 Hz, four times as many as may wait."""
_DATA_BYTES: Final = 4 * MAX_UNIT_BYTES
_HEADER_BYTES: Final = 4096
_SEQUENCE_BYTES: Final = 8
#: Time of writing, time of capture, place, bytes, width, height, keyframe; the sequence number
#: precedes it.
_ENTRY: Final = struct.Struct('=ddQIII?')
_ENTRY_BYTES: Final = 64
_DATA_START: Final = _HEADER_BYTES + _ENTRIES * _ENTRY_BYTES
_RING_BYTES: Final = _DATA_START + _DATA_BYTES
#: Words at the beginning: the newest unit, the newest keyframe, and the end of the data that is
#: written or being written.
_NEWEST, _NEWEST_KEYFRAME, _END = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One picture that was read from the ring."""

    sequence: int
    data: bytes
    """Empty: the reader shows the grey placeholder."""
    capture_s: float
    """When the picture was taken, in seconds of ``time.monotonic``."""
    keyframe: bool
    width: int
    height: int


def create_ring() -> int:
    """Return the descriptor of a new ring; the caller closes it."""
    return create_memory('teleop_packets', _RING_BYTES)


class PacketWriter:
    """
    Puts pictures into the ring.

    :param ring: Descriptor of the shared memory.
    :param wake: Descriptor of an eventfd that is raised for each picture.
    """

    def __init__(self, ring: int, wake: int) -> None:
        self._memory = mmap.mmap(ring, _RING_BYTES)
        # Reads and writes of eight aligned bytes are atomic.
        self._words = memoryview(self._memory).cast('Q')
        self._wake = wake
        # Own copies, because the reader's process could have changed the shared ones.
        self._place = self._words[_END]
        self._sequence = self._words[_NEWEST]

    def write(self, unit: AccessUnit, capture_s: float, now: float) -> None:
        """
        Append a picture; overwrites the oldest ones if necessary.

        :param capture_s: When it was taken, in seconds of ``time.monotonic``.
        :param now: Seconds of ``time.monotonic``.
        :raises ValueError: The picture is larger than :data:`MAX_UNIT_BYTES`.
        """
        size = len(unit.data)
        if size > MAX_UNIT_BYTES:
            raise ValueError(f'access unit of {size} bytes; at most {MAX_UNIT_BYTES}')
        place = self._place
        if place % _DATA_BYTES + size > _DATA_BYTES:
            place += -place % _DATA_BYTES  # each picture is contiguous
        sequence = self._sequence + 1
        entry = _entry(sequence)
        self._words[entry // _SEQUENCE_BYTES] = 0  # invalidates the old unit
        self._words[_END] = place + size
        start = _DATA_START + place % _DATA_BYTES
        self._memory[start : start + size] = unit.data
        fields = (now, capture_s, place, size, unit.width, unit.height, unit.keyframe)
        _ENTRY.pack_into(self._memory, entry + _SEQUENCE_BYTES, *fields)
        self._words[entry // _SEQUENCE_BYTES] = sequence
        if unit.keyframe:
            self._words[_NEWEST_KEYFRAME] = sequence
        self._words[_NEWEST] = sequence
        self._place, self._sequence = place + size, sequence
        os.eventfd_write(self._wake, 1)

    def write_grey(self, width: int, height: int, now: float) -> None:
        """
        Append the grey placeholder; a keyframe must follow it.

        :param now: Seconds of ``time.monotonic``.
        """
        self.write(AccessUnit(data=b'', keyframe=True, width=width, height=height), now, now)

    def close(self) -> None:
        self._words.release()
        self._memory.close()


class PacketReader:
    """
    Reads one picture after the other from the ring, from a keyframe on.

    :param ring: Descriptor of the shared memory.
    """

    def __init__(self, ring: int) -> None:
        self._memory = mmap.mmap(ring, _RING_BYTES, prot=mmap.PROT_READ)
        self._words = memoryview(self._memory).cast('Q')
        self._sequence = max(self._words[_NEWEST_KEYFRAME], 1) - 1
        """Of the last unit that was read or skipped."""
        self._waiting = True
        """Whether the next unit must be a keyframe."""
        self._counting = False
        self.skipped = 0
        """Pictures that were skipped because this reader was behind."""

    def restart(self) -> None:
        """Continue with a keyframe: something else was shown, or pictures were lost."""
        self._waiting, self._counting = True, False

    def next(self, now: float) -> Unit | None:
        """
        Return the next picture that can be shown; ``None`` if there is none yet.

        :param now: Seconds of ``time.monotonic``.
        """
        while True:
            newest, keyframe = self._words[_NEWEST], self._words[_NEWEST_KEYFRAME]
            following = self._sequence + 1
            if self._waiting:
                following = keyframe if keyframe > self._sequence else newest + 1
                self._skip_to(following - 1)
            if following > newest:
                return None
            self._sequence = following
            unit = self._read(following, now)
            if unit is not None:
                self._waiting, self._counting = False, True
                return unit
            self._waiting = True
            self.skipped += self._counting

    def _skip_to(self, sequence: int) -> None:
        self.skipped += self._counting * (sequence - self._sequence)
        self._sequence = sequence

    def _read(self, sequence: int, now: float) -> Unit | None:
        """Return a copy of a unit; ``None`` if it was overwritten or waited too long."""
        entry = _entry(sequence)
        if self._words[entry // _SEQUENCE_BYTES] != sequence:
            return None
        fields = _ENTRY.unpack_from(self._memory, entry + _SEQUENCE_BYTES)
        written_s, capture_s, place, size, width, height, keyframe = fields
        start = _DATA_START + place % _DATA_BYTES
        data = self._memory[start : start + size]
        is_intact = (
            self._words[entry // _SEQUENCE_BYTES] == sequence
            and self._words[_END] - place <= _DATA_BYTES
        )
        if not is_intact or now - written_s > MAX_BEHIND_S:
            return None
        return Unit(
            sequence=sequence,
            data=data,
            capture_s=capture_s,
            keyframe=keyframe,
            width=width,
            height=height,
        )


def _entry(sequence: int) -> int:
    """Return the place of a unit's entry."""
    return _HEADER_BYTES + sequence % _ENTRIES * _ENTRY_BYTES
