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

from collections.abc import Iterator
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys

import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import (
    create_slot,
    FrameHeader,
    FrameReader,
    FrameWriter,
    MAX_FRAME_BYTES,
)


@dataclass
class Slot:
    """One slot with its writer and its reader."""

    descriptor: int
    wake: int
    writer: FrameWriter
    reader: FrameReader

    def put(self, fill: int, *, width: int = 4, height: int = 3, encoding: str = 'mono8') -> None:
        header = FrameHeader(
            capture_s=float(fill), width=width, height=height, step=width, encoding=encoding
        )
        self.writer.write(header, memoryview(bytes([fill]) * (width * height)))


@pytest.fixture
def slot() -> Iterator[Slot]:
    descriptor = create_slot()
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    slot = Slot(descriptor, wake, FrameWriter(descriptor, wake), FrameReader(descriptor))
    yield slot
    slot.writer.close()
    os.close(descriptor)
    os.close(wake)


def test_there_is_nothing_before_the_first_frame(slot: Slot) -> None:
    assert slot.reader.newest() is None
    with pytest.raises(BlockingIOError):
        os.eventfd_read(slot.wake)


def test_a_frame_arrives_as_it_was_written(slot: Slot) -> None:
    slot.put(7, width=5, height=2, encoding='bgr8')
    frame = slot.reader.newest()
    assert frame is not None
    assert frame.header == FrameHeader(capture_s=7.0, width=5, height=2, step=5, encoding='bgr8')
    assert bytes(frame.data) == bytes([7]) * 10
    assert frame.data.readonly
    assert frame.is_intact()
    assert os.eventfd_read(slot.wake) == 1


def test_the_newest_frame_wins_and_the_sequence_tells_how_many_were_skipped(slot: Slot) -> None:
    for fill in range(1, 11):
        slot.put(fill)
    frame = slot.reader.newest()
    assert frame is not None
    assert frame.sequence == 10
    assert bytes(frame.data) == bytes([10]) * 12
    again = slot.reader.newest()
    assert again is not None
    assert again.sequence == 10


def test_a_frame_stays_intact_while_two_more_are_written_and_a_third_is_begun(slot: Slot) -> None:
    slot.put(1)
    frame = slot.reader.newest()
    assert frame is not None
    for fill in (2, 3):
        slot.put(fill)
        slot.writer.spare()[:12] = bytes([fill + 1]) * 12
        assert frame.is_intact()
        assert bytes(frame.data) == bytes([1]) * 12
    slot.put(4)
    assert frame.is_intact()
    slot.writer.spare()
    assert not frame.is_intact()


def test_what_was_put_into_the_spare_memory_is_published_without_a_copy(slot: Slot) -> None:
    spare = slot.writer.spare()
    spare[:9] = b'around it'
    spare[9:21] = bytes(range(12))
    header = FrameHeader(capture_s=1.0, width=4, height=3, step=4, encoding='mono8')
    slot.writer.publish(header, 9, 12)
    frame = slot.reader.newest()
    assert frame is not None
    assert bytes(frame.data) == bytes(range(12))
    assert slot.writer.is_spare(spare)
    assert not slot.writer.is_spare(memoryview(b'another'))
    spare[9] = 77
    assert frame.data[0] == 77, 'the same memory'


@pytest.mark.parametrize(('place', 'size'), [(0, MAX_FRAME_BYTES + 1), (9000, MAX_FRAME_BYTES)])
def test_a_place_outside_the_memory_is_refused(slot: Slot, place: int, size: int) -> None:
    header = FrameHeader(capture_s=0.0, width=1, height=1, step=1, encoding='mono8')
    slot.writer.spare()
    with pytest.raises(ValueError, match='at most'):
        slot.writer.publish(header, place, size)
    assert slot.reader.newest() is None


def test_a_write_that_breaks_off_leaves_no_half_frame_behind(slot: Slot) -> None:
    slot.put(1)
    frame = slot.reader.newest()
    assert frame is not None
    for fill in (2, 3, 4):
        slot.put(fill)
    header = FrameHeader(capture_s=0.0, width=4, height=3, step=4, encoding='mono8')
    with pytest.raises((IndexError, ValueError)):
        slot.writer.write(header, memoryview(bytes(24)).cast('H'))
    assert not frame.is_intact(), 'its buffer was being overwritten'
    newest = slot.reader.newest()
    assert newest is not None
    assert bytes(newest.data) == bytes([4]) * 12


def test_a_smaller_frame_shows_nothing_of_a_larger_one_before(slot: Slot) -> None:
    for fill in range(1, 5):
        slot.put(fill, width=100, height=100)
    for fill in range(5, 9):
        slot.put(fill, width=2, height=2)
    frame = slot.reader.newest()
    assert frame is not None
    assert bytes(frame.data) == bytes([8]) * 4


def test_a_frame_that_is_too_large_is_refused_and_the_next_one_goes_through(slot: Slot) -> None:
    header = FrameHeader(capture_s=0.0, width=1, height=1, step=1, encoding='mono8')
    with pytest.raises(ValueError, match='at most'):
        slot.writer.write(header, memoryview(bytes(MAX_FRAME_BYTES + 1)))
    assert slot.reader.newest() is None
    slot.put(1)
    assert slot.reader.newest() is not None


def test_a_second_writer_goes_on_counting(slot: Slot) -> None:
    slot.put(1)
    second = FrameWriter(slot.descriptor, slot.wake)
    header = FrameHeader(capture_s=0.0, width=1, height=1, step=1, encoding='mono8')
    second.write(header, memoryview(b'\x09'))
    second.close()
    frame = slot.reader.newest()
    assert frame is not None
    assert frame.sequence == 2


READ_IN_ANOTHER_PROCESS = """
import json, os, sys
from teleop_webrtc_bridge.bridge.link.frame_slot import FrameReader
slot, wake = map(int, sys.argv[1:])
reader = FrameReader(slot)
for line in sys.stdin:
    os.eventfd_read(wake)
    frame = reader.newest()
    print(json.dumps([frame.sequence, frame.header.encoding, sum(frame.data)]), flush=True)
"""


@pytest.mark.real_programs
def test_another_process_reads_through_inherited_descriptors(slot: Slot) -> None:
    with subprocess.Popen(
        [sys.executable, '-c', READ_IN_ANOTHER_PROCESS, str(slot.descriptor), str(slot.wake)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(slot.descriptor, slot.wake),
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for fill in (3, 4, 5, 6, 7):
            slot.put(fill, width=640, height=480, encoding='mono8')
            child.stdin.write('now\n')
            child.stdin.flush()
            said = json.loads(child.stdout.readline())
            assert said == [fill - 2, 'mono8', fill * 640 * 480]
        child.stdin.close()
        assert child.wait(timeout=10.0) == 0


def test_the_memory_has_no_name_and_takes_only_what_was_written(slot: Slot) -> None:
    slot.put(1)
    target = os.readlink(f'/proc/self/fd/{slot.descriptor}')
    assert target == '/memfd:teleop_frames (deleted)'
    assert not [path for path in Path('/dev/shm').iterdir() if 'teleop' in path.name]
    assert os.fstat(slot.descriptor).st_blocks * 512 <= 64 * 1024


@pytest.mark.real_programs
def test_a_child_that_was_not_given_the_descriptor_does_not_have_it(slot: Slot) -> None:
    listed = subprocess.run(
        [
            sys.executable,
            '-c',
            'import os; print([os.readlink(f"/proc/self/fd/{n}") '
            'for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")])',
        ],
        capture_output=True,
        text=True,
        check=True,
        close_fds=False,
    )
    assert 'teleop_frames' not in listed.stdout
