"""The functions of rcl that are called by ctypes, and the memory that they write to."""

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
import ctypes
import os
import time
from typing import Any

from programs import wait_for
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String

from teleop_webrtc_bridge.bridge.link.frame_slot import FrameReader
from teleop_webrtc_bridge.bridge.ros.camera import rcl
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl, RclUnusable
from teleop_webrtc_bridge.bridge.ros.node import TeleopBridge
from teleop_webrtc_bridge.bridge.ros.parameters.table import API_KEY_VARIABLE
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
        functions.raise_on_message(handle, '/text', announced)
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
        Rcl().raise_on_message(handle, '/text', announced)
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
        functions.raise_on_message(handle, '/text', announced)
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
    """Cyclone DDS's RMW implementation does so for each message."""
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


# --- what differs is not used ----------------------------------------------------------------


def fields(*names: str) -> tuple[tuple[str, Any], ...]:
    """Return fields of a C array, in this order."""
    kinds = dict(rcl._Bytes._fields_) | {'more': ctypes.c_size_t}
    return tuple((name, kinds[name]) for name in names)


ALLOCATOR = rcl._Allocator._fields_
OTHER_LAYOUTS = {
    'length and capacity change places': (
        fields('buffer', 'capacity', 'length', 'allocator'),
        ALLOCATOR,
    ),
    'the array has one field more': (
        fields('buffer', 'length', 'capacity', 'more', 'allocator'),
        ALLOCATOR,
    ),
    'the allocator comes first': (
        fields('allocator', 'buffer', 'length', 'capacity'),
        ALLOCATOR,
    ),
    'allocate and deallocate change places': (
        rcl._Bytes._fields_,
        (ALLOCATOR[1], ALLOCATOR[0], *ALLOCATOR[2:]),
    ),
    'the allocator has one field less': (rcl._Bytes._fields_, (*ALLOCATOR[:3], ALLOCATOR[4])),
    'the allocator has one field more': (
        rcl._Bytes._fields_,
        (*ALLOCATOR, ('more', ctypes.c_void_p)),
    ),
}


def use_layout(monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    """Make the module describe structures that differ from those of rcutils."""
    array, allocator = OTHER_LAYOUTS[layout]
    other = type('_Allocator', (ctypes.Structure,), {'_fields_': allocator})
    array = tuple((name, other if name == 'allocator' else kind) for name, kind in array)
    monkeypatch.setattr(rcl, '_Allocator', other)
    monkeypatch.setattr(rcl, '_Bytes', type('_Bytes', (ctypes.Structure,), {'_fields_': array}))


@pytest.mark.parametrize('layout', OTHER_LAYOUTS)
def test_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    use_layout(monkeypatch, layout)
    with pytest.raises(RclUnusable, match='unknown layout'):
        Rcl()


def test_a_ros_without_these_functions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rcl.ctypes, 'CDLL', lambda name: ctypes.PyDLL(None))
    with pytest.raises(RclUnusable, match='rcutils_uint8_array_init'):
        Rcl()


def test_another_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rcl.platform, 'machine', lambda: 'riscv64')
    with pytest.raises(RclUnusable, match='riscv64'):
        Rcl()


def test_a_handle_of_another_topic_is_refused(node: Node) -> None:
    announced = os.eventfd(0)
    subscription = node.create_subscription(String, 'text', print, 10)
    with subscription.handle, pytest.raises(RclUnusable, match="b'/text' instead of /other"):
        Rcl().raise_on_message(subscription.handle, '/other', announced)
    node.destroy_subscription(subscription)
    os.close(announced)


# --- the bridge's choice ---------------------------------------------------------------------


@pytest.fixture
def choice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[bool], tuple[bytes, str]]:
    """Return a function: let a bridge take an image; return the image and the log line."""
    monkeypatch.setenv(API_KEY_VARIABLE, 'dtk_live_' + '0' * 40)

    def choose(direct: bool) -> tuple[bytes, str]:
        context = Context()
        rclpy.init(context=context)
        bridge = TeleopBridge(
            context=context,
            parameter_overrides=[Parameter('direct_image_take', value=direct)],
        )
        camera = Node('camera', context=context)
        publisher = camera.create_publisher(Image, 'image', 10)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(bridge)
        (taken,) = bridge._cameras.all
        reader = FrameReader(taken.memory)
        bridge._images.start()
        taken.open(time.monotonic())
        taken.want(30.0)
        data = b''

        def arrived() -> bool:
            nonlocal data
            publisher.publish(
                Image(width=4, height=3, step=4, encoding='mono8', data=bytes(range(12)))
            )
            executor.spin_once(timeout_sec=0.05)
            frame = reader.newest()
            data = b'' if frame is None else bytes(frame.data)
            return frame is not None

        wait_for(arrived, what='an image')
        executor.shutdown()
        bridge.free()
        camera.destroy_node()
        context.try_shutdown()
        lines = capfd.readouterr().err.splitlines()
        return data, '\n'.join(line for line in lines if 'event=images_by_rclpy' in line)

    return choose


PICTURE = bytes(range(12))


def test_images_are_taken_directly(choice: Callable[[bool], tuple[bytes, str]]) -> None:
    assert choice(True) == (PICTURE, '')


def test_a_parameter_lets_rclpy_take_them(choice: Callable[[bool], tuple[bytes, str]]) -> None:
    data, line = choice(False)
    assert data == PICTURE
    assert line.endswith("event=images_by_rclpy reason='direct_image_take is false'")
    assert '[INFO]' in line


def test_with_another_layout_rclpy_takes_them_and_one_line_says_so(
    choice: Callable[[bool], tuple[bytes, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_layout(monkeypatch, 'length and capacity change places')
    data, line = choice(True)
    assert data == PICTURE
    assert line.count('\n') == 0
    assert '[WARN]' in line
    assert 'unknown layout' in line
