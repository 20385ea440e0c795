"""The functions of rcl that are called past rclpy, and the memory that they are given."""

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
import ctypes
import os

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import String

from teleop_webrtc_bridge.bridge.ros.camera import rcl
from teleop_webrtc_bridge.bridge.ros.camera.rcl import find_rcl, Rcl
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SIZE = 1000


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context)
    node = Node('taker', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_messages_are_taken_one_by_one_and_announced_by_their_number(node: Node) -> None:
    functions = Rcl()
    announced = os.eventfd(0)
    publisher = node.create_publisher(String, 'text', 10)
    subscription = node.create_subscription(String, 'text', print, 10)
    memory = memoryview(bytearray(SIZE))
    handle = subscription.handle
    with handle:
        functions.raise_on_message(handle, announced)
        assert functions.take(handle, memory) is None
        for text in ('one', 'two', 'three'):
            publisher.publish(String(data=text))
        arrived = 0
        while arrived < 3:
            arrived += os.eventfd_read(announced)
        assert arrived == 3
        for text in ('one', 'two', 'three'):
            size = functions.take(handle, memory)
            assert size is not None
            assert text.encode() in bytes(memory[:size])
        assert functions.take(handle, memory) is None
    node.destroy_subscription(subscription)
    os.close(announced)


def test_what_came_before_is_announced_as_well(node: Node) -> None:
    announced = os.eventfd(0)
    publisher = node.create_publisher(String, 'text', 10)
    subscription = node.create_subscription(String, 'text', print, 10)
    for text in ('one', 'two'):
        publisher.publish(String(data=text))
    handle = subscription.handle
    with handle:
        Rcl().raise_on_message(handle, announced)
        assert os.eventfd_read(announced) == 2
    node.destroy_subscription(subscription)
    os.close(announced)


def test_one_that_does_not_fit_is_lost_and_nothing_is_written_beyond_the_memory(
    node: Node,
) -> None:
    functions = Rcl()
    announced = os.eventfd(0)
    publisher = node.create_publisher(String, 'text', 10)
    subscription = node.create_subscription(String, 'text', print, 10)
    around = bytearray(b'.' * 3 * SIZE)
    memory = memoryview(around)[SIZE : 2 * SIZE]
    handle = subscription.handle
    with handle:
        functions.raise_on_message(handle, announced)
        for text in ('x' * 2 * SIZE, 'fits'):
            publisher.publish(String(data=text))
        arrived = 0
        while arrived < 2:
            arrived += os.eventfd_read(announced)
        with pytest.raises(PictureUndecodable, match=f'2[0-9]+ bytes; at most {SIZE} are'):
            functions.take(handle, memory)
        assert set(around) == {ord('.')}
        assert functions.take(handle, memory) is not None
        assert set(around[:SIZE]) == set(around[2 * SIZE :]) == {ord('.')}
    node.destroy_subscription(subscription)
    os.close(announced)


def test_whoever_asks_for_the_size_that_is_needed_keeps_the_memory() -> None:
    """Eclipse Cyclone's RMW implementation does, for each message."""
    resize = ctypes.CDLL('librcutils.so').rcutils_uint8_array_resize
    resize.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    ctypes.CDLL('librcutils.so').rcutils_reset_error()
    memory = memoryview(bytearray(SIZE))
    fixed = rcl._FixedMemory()
    array = fixed.of(memory)
    begin = array.buffer
    for size in (10, SIZE, 1, SIZE - 1):
        assert resize(ctypes.byref(array), size) == 0
        assert (array.buffer, array.capacity) == (begin, size)
    assert fixed.refused_bytes == 0
    assert resize(ctypes.byref(array), SIZE + 1) != 0
    assert fixed.refused_bytes == SIZE + 1
    ctypes.CDLL('librcutils.so').rcutils_reset_error()


def test_a_ros_without_these_functions_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    find_rcl.cache_clear()
    monkeypatch.setattr(rcl.ctypes, 'CDLL', lambda name: ctypes.PyDLL(None))
    assert find_rcl() is None
    monkeypatch.undo()
    find_rcl.cache_clear()
    assert find_rcl() is not None
