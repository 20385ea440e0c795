"""The image thread: takes all images in order, and no other thread waits for it."""

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
import os
import threading

from programs import wait_for
import pytest

from teleop_webrtc_bridge.bridge.ros.camera import image_thread
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread


class Rig:
    """A thread, and how often it reported a failure."""

    def __init__(self) -> None:
        self.failures: list[Exception | None] = []
        self.thread = ImageThread(lambda: self.failures.append(self.thread.failure))

    def settle(self) -> None:
        """Wait until all requests are done."""
        done = threading.Event()
        self.thread.request(done.set)
        assert done.wait(10.0)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    assert rig.thread.end()


def test_what_is_asked_for_before_and_after_the_start_is_done_in_order(rig: Rig) -> None:
    done: list[int] = []
    rig.thread.request(lambda: done.append(1))
    rig.thread.start()
    for number in range(2, 100):
        rig.thread.request(lambda number=number: done.append(number))  # type: ignore[misc]
    rig.settle()
    assert done == list(range(1, 100))


def test_all_that_arrived_is_taken_wherever_it_arrived_and_nothing_from_what_was_removed(
    rig: Rig,
) -> None:
    waiting = {'front': 0, 'rear': 0}
    taken = {'front': 0, 'rear': 0}

    def take(name: str) -> bool:
        if not waiting[name]:
            return False
        waiting[name] -= 1
        taken[name] += 1
        return True

    def front() -> bool:
        return take('front')

    def rear() -> bool:
        return take('rear')

    rig.thread.start()
    rig.thread.add(front)
    rig.thread.add(rear)
    rig.settle()
    waiting |= {'front': 3, 'rear': 4}
    os.eventfd_write(rig.thread.wake, 7)
    wait_for(lambda: not any(waiting.values()), what='all')
    rig.thread.remove(front)
    rig.settle()
    waiting |= {'front': 1, 'rear': 1}
    os.eventfd_write(rig.thread.wake, 2)
    wait_for(lambda: not waiting['rear'], what='the rear one')
    rig.settle()
    assert waiting['front'] == 1
    assert taken == {'front': 3, 'rear': 5}


def test_a_failure_is_kept_and_told(rig: Rig) -> None:
    def fail() -> None:
        raise LookupError('nobody expects this')

    rig.thread.start()
    rig.thread.request(fail)
    wait_for(lambda: rig.failures, what='the failure')
    assert isinstance(rig.thread.failure, LookupError)
    assert rig.failures == [rig.thread.failure]


def test_whoever_ends_it_does_not_wait_for_one_that_hangs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_thread, 'LONGEST_END_S', 0.05)
    goes_on = threading.Event()
    rig.thread.start()
    rig.thread.request(goes_on.wait)
    assert not rig.thread.end()
    os.eventfd_write(rig.thread.wake, 1)  # what it uses is there still
    goes_on.set()
    rig.thread.join()


def test_one_that_never_began_can_be_ended() -> None:
    assert ImageThread(lambda: None).end()
