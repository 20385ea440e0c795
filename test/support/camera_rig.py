"""Common rig for tests of the bridge's cameras: a node, its executor, and their shutdown."""

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
from contextlib import contextmanager
import os
from typing import Any, Protocol, TypeVar

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from teleop_webrtc_bridge.bridge.ros.camera.camera import Cameras
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread

__all__ = ['camera_rig']


class _Rig(Protocol):
    cameras: Cameras
    thread: ImageThread


_AnyRig = TypeVar('_AnyRig', bound=_Rig)


@contextmanager
def camera_rig(make: Callable[[Any, SingleThreadedExecutor, int], _AnyRig]) -> Iterator[_AnyRig]:
    """
    Yield a rig of cameras, and shut it down.

    :param make: Makes the rig from a node, its executor, and the eventfd of the WebRTC half.
    """
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node('cameras', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    rig = make(node, executor, wake)
    yield rig
    executor.shutdown()
    rig.cameras.close()
    assert rig.thread.end()
    assert rig.thread.failure is None
    rig.cameras.free()
    node.destroy_node()
    os.close(wake)
    context.try_shutdown()
