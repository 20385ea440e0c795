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

"""The executor of the ROS half: everything is called, and nothing is waited for twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
import threading
import time
from typing import Any

import pytest
import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from teleop_webrtc_bridge.ros.executor import LoneExecutor

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

LONG_S = 30.0
"""For what must happen, on a busy machine."""


class Watched(Node):
    """Counts how often an executor goes through everything that it waits for."""

    def __init__(self, context: Context) -> None:
        super().__init__('watched', context=context)
        self.looks = 0

    @property
    def subscriptions(self) -> Any:
        self.looks += 1
        return super().subscriptions


class Rig:
    """A node on an executor of one kind."""

    def __init__(self, kind: type[SingleThreadedExecutor]) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Watched(self._context)
        self._executor = kind(context=self._context)
        self._executor.add_node(self.node)

    def until(self, condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + LONG_S
        while not condition():
            assert time.monotonic() < end_s
            self._executor.spin_once(timeout_sec=0.5)

    def wait_for_nothing(self) -> None:
        self._executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with closing(Rig(LoneExecutor)) as rig:
        yield rig


def test_timers_messages_and_services_are_served_side_by_side(rig: Rig) -> None:
    served = dict.fromkeys(('timer', 'message', 'service'), 0)

    def note(kind: str) -> None:
        served[kind] += 1

    def answer(request: Any, response: Any) -> Any:
        note('service')
        return response

    rig.node.create_timer(
        0.01, lambda: note('timer'), clock=Clock(clock_type=ClockType.STEADY_TIME)
    )
    rig.node.create_subscription(Bool, 'said', lambda message: note('message'), 10)
    publisher = rig.node.create_publisher(Bool, 'said', 10)
    rig.node.create_service(Trigger, 'asked', answer)
    client = rig.node.create_client(Trigger, 'asked')
    rig.until(lambda: publisher.get_subscription_count() > 0 and client.service_is_ready())
    for _ in range(5):
        publisher.publish(Bool())
        served.update(dict.fromkeys(served, 0))
        answered = client.call_async(Trigger.Request())
        rig.until(lambda: all(served.values()))
        rig.until(answered.done)


def test_another_thread_wakes_it(rig: Rig) -> None:
    woken: list[int] = []
    condition = rig.node.create_guard_condition(lambda: woken.append(threading.get_ident()))
    for number in range(1, 6):
        other = threading.Timer(0.05, condition.trigger)
        other.start()
        rig.until(lambda: len(woken) >= number)  # noqa: B023 - called in this turn
        other.join()
    assert set(woken) == {threading.get_ident()}


def test_what_a_callback_subscribes_is_served(rig: Rig) -> None:
    heard: list[Bool] = []
    condition = rig.node.create_guard_condition(
        lambda: rig.node.create_subscription(Bool, 'later', heard.append, 10)
    )
    publisher = rig.node.create_publisher(Bool, 'later', 10)
    condition.trigger()
    rig.until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(Bool(data=True))
    rig.until(lambda: bool(heard))


def looks_of(kind: type[SingleThreadedExecutor]) -> int:
    """Return how often all was looked through for twenty callbacks, each on its own."""
    with closing(Rig(kind)) as rig:
        called: list[None] = []
        condition = rig.node.create_guard_condition(lambda: called.append(None))
        before = rig.node.looks
        for number in range(1, 21):
            condition.trigger()
            rig.until(lambda: len(called) >= number)  # noqa: B023 - called in this turn
            rig.wait_for_nothing()
        return rig.node.looks - before


def test_a_callback_is_followed_by_one_wait_where_rclpy_makes_two() -> None:
    assert looks_of(LoneExecutor) < looks_of(SingleThreadedExecutor)
