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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import os
from pathlib import Path
import subprocess
import sys
import time

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot
from teleop_webrtc_bridge.bridge.link.packet_ring import (
    create_ring,
    MAX_BEHIND_S,
    PacketReader,
    PacketWriter,
    Unit,
)
from teleop_webrtc_bridge.core.video.h264 import AccessUnit, MAX_UNIT_BYTES

NOW_S = 5000.0
KEPT_UNITS = 255
"""A unit survives this many later ones; the next one may overwrite it."""


@dataclass
class Ring:
    """One ring with its writer, its reader and a clock."""

    descriptor: int
    wake: int
    writer: PacketWriter
    reader: PacketReader
    now: float = NOW_S
    count: int = 0

    def put(self, kind: str = 'p', *, size: int = 8) -> bytes:
        """Write a keyframe (K) or another picture (p) and return its data."""
        self.count += 1
        data = self.count.to_bytes(8).ljust(size, b'.')
        unit = AccessUnit(data=data, keyframe=kind == 'K', width=self.count, height=7)
        self.writer.write(unit, capture_s=self.now - 0.1, now=self.now)
        return data

    def take(self) -> list[int]:
        """Return the numbers of the pictures that can be read."""
        numbers = []
        while (unit := self.reader.next(self.now)) is not None:
            assert int.from_bytes(unit.data[:8]) == unit.sequence == unit.width
            numbers.append(unit.sequence)
        return numbers

    def close(self) -> None:
        self.writer.close()
        os.close(self.descriptor)
        os.close(self.wake)


def opened() -> Ring:
    descriptor = create_ring()
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    return Ring(descriptor, wake, PacketWriter(descriptor, wake), PacketReader(descriptor))


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = opened()
    yield ring
    ring.close()


def put_all(ring: Ring, kinds: str) -> None:
    for kind in kinds:
        ring.put(kind)


def test_there_is_nothing_before_the_first_picture(ring: Ring) -> None:
    assert ring.reader.next(NOW_S) is None
    with pytest.raises(BlockingIOError):
        os.eventfd_read(ring.wake)


def test_a_picture_arrives_as_it_was_written(ring: Ring) -> None:
    data = ring.put('K', size=3000)
    assert ring.reader.next(NOW_S) == Unit(
        sequence=1, data=data, capture_s=NOW_S - 0.1, keyframe=True, width=1, height=7
    )
    assert os.eventfd_read(ring.wake) == 1
    assert ring.reader.next(NOW_S) is None


def test_pictures_come_in_order_and_none_is_left_out(ring: Ring) -> None:
    put_all(ring, 'KppKpp')
    assert ring.take() == [4, 5, 6], 'the newest keyframe to begin with'
    put_all(ring, 'ppKpp')
    assert ring.take() == [7, 8, 9, 10, 11]
    assert ring.reader.skipped == 0


def test_nothing_comes_before_a_keyframe(ring: Ring) -> None:
    put_all(ring, 'ppp')
    assert ring.take() == []
    put_all(ring, 'ppKp')
    assert ring.take() == [6, 7]
    assert ring.reader.skipped == 0


# --- a reader that is behind ---------------------------------------------------------------------


def test_what_waited_too_long_is_left_out_with_all_that_refers_to_it(ring: Ring) -> None:
    put_all(ring, 'Kp')
    assert ring.take() == [1, 2]
    put_all(ring, 'pp')
    ring.now += MAX_BEHIND_S + 0.1
    put_all(ring, 'pp')
    assert ring.take() == []
    assert ring.reader.skipped == 4
    put_all(ring, 'pKp')
    assert ring.take() == [8, 9]
    assert ring.reader.skipped == 5


def test_a_keyframe_that_is_not_too_old_is_where_it_goes_on(ring: Ring) -> None:
    put_all(ring, 'Kp')
    assert ring.take() == [1, 2]
    put_all(ring, 'p')
    ring.now += MAX_BEHIND_S - 0.1
    put_all(ring, 'ppKpp')
    ring.now += 0.2
    assert ring.take() == [6, 7, 8]
    assert ring.reader.skipped == 3


def test_a_keyframe_that_is_too_old_is_not(ring: Ring) -> None:
    put_all(ring, 'Kp')
    assert ring.take() == [1, 2]
    put_all(ring, 'pKp')
    ring.now += MAX_BEHIND_S + 0.1
    put_all(ring, 'p')
    assert ring.take() == []
    assert ring.reader.skipped == 4


def test_nothing_that_is_read_in_time_is_left_out(ring: Ring) -> None:
    ring.put('K')
    taken = []
    for _ in range(100):
        ring.now += MAX_BEHIND_S - 0.1
        taken += ring.take()
        ring.put()
    assert taken == list(range(1, 101))


def test_a_reader_that_was_overrun_goes_on_with_a_keyframe(ring: Ring) -> None:
    put_all(ring, 'Kp')
    assert ring.take() == [1, 2]
    put_all(ring, 'p' * (KEPT_UNITS + 1))
    assert ring.take() == list(range(3, 3 + KEPT_UNITS + 1)), 'all of them are still there'
    put_all(ring, 'p' * (KEPT_UNITS + 2))
    assert ring.take() == []
    put_all(ring, 'Kp')
    first = ring.count - 1
    assert ring.take() == [first, first + 1]


def test_pictures_that_were_overwritten_are_not_taken(ring: Ring) -> None:
    ring.put('K')
    assert ring.take() == [1]
    for _ in range(3):
        ring.put(size=MAX_UNIT_BYTES)
    assert ring.take() == [2, 3, 4]
    for _ in range(5):
        ring.put(size=MAX_UNIT_BYTES)
    assert ring.take() == []
    assert ring.reader.skipped == 5


def test_a_restart_begins_with_a_keyframe_and_counts_nothing(ring: Ring) -> None:
    put_all(ring, 'Kppp')
    assert ring.take() == [1, 2, 3, 4]
    put_all(ring, 'pp')
    ring.reader.restart()
    assert ring.take() == []
    put_all(ring, 'pKp')
    assert ring.take() == [8, 9]
    assert ring.reader.skipped == 0


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just('put'), st.sampled_from('Kpppp'), st.integers(8, 200_000)),
            st.tuples(st.just('wait'), st.just(''), st.integers(0, 400)),
            st.tuples(st.just('take'), st.just(''), st.just(0)),
            st.tuples(st.just('burst'), st.just('p'), st.integers(200, 300)),
        ),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=150)
def test_whatever_happens_what_comes_is_whole_in_order_and_can_be_decoded(
    steps: list[tuple[str, str, int]],
) -> None:
    ring = opened()
    written: dict[int, tuple[bytes, str, float]] = {}
    last = 0
    try:
        for step, kind, number in [*steps, ('take', '', 0)]:
            match step:
                case 'put' | 'burst':
                    for _ in range(number if step == 'burst' else 1):
                        data = ring.put(kind, size=number)
                        written[ring.count] = (data, kind, ring.now)
                case 'wait':
                    ring.now += number * 1e-3
                case 'take':
                    while (unit := ring.reader.next(ring.now)) is not None:
                        data, kind, written_s = written[unit.sequence]
                        assert unit.data == data
                        assert ring.now - written_s <= MAX_BEHIND_S
                        assert unit.sequence == last + 1 or (kind == 'K' and unit.sequence > last)
                        last = unit.sequence
    finally:
        ring.close()


# --- the memory ----------------------------------------------------------------------------------


def test_a_picture_that_is_too_large_is_refused_and_the_next_one_goes_through(ring: Ring) -> None:
    unit = AccessUnit(data=bytes(MAX_UNIT_BYTES + 1), keyframe=True, width=1, height=1)
    with pytest.raises(ValueError, match='at most'):
        ring.writer.write(unit, NOW_S, NOW_S)
    assert ring.take() == []
    ring.put('K')
    assert ring.take() == [1]


READ_IN_ANOTHER_PROCESS = """
import os, select, sys, time
from teleop_webrtc_bridge.bridge.link.packet_ring import PacketReader
ring, wake, last = map(int, sys.argv[1:])
reader, taken = PacketReader(ring), 0
print('ready', flush=True)
while taken < last:
    select.select([wake], [], [])
    os.eventfd_read(wake)
    while (unit := reader.next(time.monotonic())) is not None:
        number = int.from_bytes(unit.data[:8])
        assert unit.sequence == unit.width == number, (unit.sequence, number)
        assert unit.data == number.to_bytes(8) * (len(unit.data) // 8), number
        assert unit.keyframe or number == taken + 1, (number, taken)
        taken = number
print(taken, reader.skipped, flush=True)
"""


@pytest.mark.real_programs
def test_another_process_never_sees_a_torn_picture(ring: Ring) -> None:
    """The writer is much faster than the reader and overruns it all the time."""
    last = 6000
    with subprocess.Popen(
        [
            *(sys.executable, '-c', READ_IN_ANOTHER_PROCESS),
            *map(str, (ring.descriptor, ring.wake, last)),
        ],
        stdout=subprocess.PIPE,
        pass_fds=(ring.descriptor, ring.wake),
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == 'ready\n'
        for number in range(1, last + 1):
            # The last one is a keyframe, which no reader skips.
            data = number.to_bytes(8) * (8000 if number % 3 else 100)
            keyframe = number % 7 == 0 or number == last
            unit = AccessUnit(data=data, keyframe=keyframe, width=number, height=1)
            now = time.monotonic()
            ring.writer.write(unit, now, now)
        said = child.stdout.readline().split()
        assert child.wait(timeout=30.0) == 0
    assert int(said[0]) == last


def test_the_memory_has_no_name_and_takes_only_what_was_written(ring: Ring) -> None:
    ring.put('K')
    target = os.readlink(f'/proc/self/fd/{ring.descriptor}')
    assert target == '/memfd:teleop_packets (deleted)'
    assert not [path for path in Path('/dev/shm').iterdir() if 'teleop' in path.name]
    assert os.fstat(ring.descriptor).st_blocks * 512 <= 64 * 1024


def test_nobody_can_make_it_smaller(ring: Ring) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(ring.descriptor, 0)


def test_what_the_other_process_writes_does_not_move_the_writer(ring: Ring) -> None:
    put_all(ring, 'Kp')
    os.pwrite(ring.descriptor, b'\xff' * 24, 0)
    ring.put('K')
    assert os.pread(ring.descriptor, 8, 0) == (3).to_bytes(8, sys.byteorder)


@pytest.mark.parametrize('create', [create_slot, create_ring])
def test_the_other_half_cannot_change_its_size(create: Callable[[], int]) -> None:
    memory = create()
    try:
        size = os.fstat(memory).st_size
        for other in (0, size - 1, size + 1):
            with pytest.raises(PermissionError):
                os.ftruncate(memory, other)
        assert os.fstat(memory).st_size == size
    finally:
        os.close(memory)
