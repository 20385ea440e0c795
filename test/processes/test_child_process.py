"""When a child process is given up and started again, in time that the test moves."""

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

import itertools
import os
import subprocess
import sys

import pytest

from teleop_webrtc_bridge.processes.child_process import (
    back_off_s,
    ChildWatch,
    HUNG_S,
    LARGEST_BYTES,
    memory_bytes,
    START_S,
    TURN_S,
)


class Child:
    """One that is watched, twice a second."""

    def __init__(self) -> None:
        self.now = 100.0
        self.words = 7
        self.memory_bytes = 2**27
        self._watch = ChildWatch(self.now, self.words)

    def speak(self) -> None:
        self.words += 1

    def turn(self, seconds: float = TURN_S) -> str | None:
        self.now += seconds
        return self._watch.turn(self.now, words=self.words, memory_bytes=self.memory_bytes)

    def silent_for(self, seconds: float) -> list[str | None]:
        return [self.turn() for _ in range(round(seconds / TURN_S))]


def test_a_half_that_speaks_is_well_for_ever() -> None:
    child = Child()
    for _ in range(1000):
        assert child.turn() is None
        child.speak()


def test_one_that_falls_silent_is_given_up_after_ten_seconds() -> None:
    child = Child()
    child.speak()
    child.turn()
    assert set(child.silent_for(HUNG_S)) == {None}
    assert child.turn() == 'it has reported nothing for 10 s'


def test_a_word_at_the_last_moment_counts() -> None:
    child = Child()
    child.speak()
    child.turn()
    child.silent_for(HUNG_S)
    child.speak()
    assert set(child.silent_for(HUNG_S)) == {None}


def test_the_first_word_may_take_two_minutes() -> None:
    child = Child()
    assert set(child.silent_for(START_S)) == {None}
    assert child.turn() == 'it has reported nothing for 120 s'


@pytest.mark.parametrize('asleep_s', [60.0, 1e6])
def test_a_parent_that_was_asleep_itself_does_not_blame_its_child(asleep_s: float) -> None:
    child = Child()
    child.speak()
    child.turn()
    assert child.turn(asleep_s) is None
    assert set(child.silent_for(HUNG_S - 1.0)) == {None}
    assert child.turn() is not None


def test_one_that_takes_too_much_memory_is_given_up_at_once() -> None:
    child = Child()
    child.memory_bytes = LARGEST_BYTES
    assert child.turn() is None
    child.memory_bytes += 2**20
    assert child.turn() == 'it uses 1025 MiB of memory'


@pytest.mark.real_programs
def test_memory_is_that_of_the_process() -> None:
    assert 2**23 < memory_bytes(os.getpid()) < 2**40
    with subprocess.Popen([sys.executable, '-c', '']) as ended:
        pass
    assert memory_bytes(ended.pid) == 0


# --- how soon the next one starts --------------------------------------------------------------


def test_a_half_that_worked_is_started_again_at_once_however_often_it_ends() -> None:
    assert list(itertools.accumulate([6.0] * 3, back_off_s, initial=0.0)) == [0.0] * 4


def test_a_half_that_cannot_start_is_tried_ever_less_often() -> None:
    pauses_s = list(itertools.accumulate([0.5] * 7, back_off_s, initial=0.0))
    assert pauses_s[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_the_pauses_are_forgotten_when_it_works_again() -> None:
    assert back_off_s(5.0, 6.0) == 0.0
    assert back_off_s(0.0, 0.5) == 0.2
