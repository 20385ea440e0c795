"""What ``/diagnostics`` says of images that arrive and are not as they should be: real topics."""

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
import os
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from small_camera import SmallCamera

from teleop_webrtc_bridge.bridge.link.packets import Status
from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera, CameraSettings
from teleop_webrtc_bridge.bridge.ros.camera.image_stamps import StampFault, StampWatch
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.diagnostics import diagnose
from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.parameters.table import PARAMETERS, Settings
from teleop_webrtc_bridge.core.session import BridgeState

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

PATIENCE_S = 30.0
WIDTH, HEIGHT = 32, 24
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
SETTINGS = Settings(**{row.name: row.default for row in PARAMETERS})
SNAPSHOT = DriveSnapshot(
    status=Status(state=BridgeState.OPERATED, reason='', control_epoch=1, counters={})
)


def image(**fields: Any) -> Image:
    whole = {'width': WIDTH, 'height': HEIGHT, 'step': WIDTH, 'encoding': 'mono8'}
    return Image(**whole | {'data': bytes(WIDTH * HEIGHT)} | fields)


class Nobody:
    """Who subscribes ``cmd_vel``."""

    topic_name = '/cmd_vel'

    def get_subscription_count(self) -> int:
        return 0


class Rig:
    """One camera that somebody watches, and its driver."""

    def __init__(self, node: Any, executor: SingleThreadedExecutor, transport: str) -> None:
        self.node = node
        self.told: list[str] = []
        self.each_turn: Callable[[], None] = lambda: None
        self._executor = executor
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._thread = ImageThread(on_failure=lambda: None)
        self._thread.start()
        self.camera = Camera(
            node,
            CameraSettings(
                name='image',
                topic='image',
                transport=transport,
                reliability='auto',
                fps=30.0,
                max_width_px=640,
            ),
            thread=self._thread,
            wake=self._wake,
            on_image=lambda: None,
            warn=self.told.append,
        )
        self.all = (self.camera,)
        self.camera.open(time.monotonic())
        self.camera.want(30.0)

    def is_selected(self, camera: Camera) -> bool:
        return camera is self.camera

    def said(self) -> DiagnosticStatus:
        self.each_turn()
        self._executor.spin_once(timeout_sec=0.02)
        self.camera.watch_graph()
        cameras: Any = self
        topic: Any = Nobody()
        told = diagnose(SETTINGS, SNAPSHOT, cameras, topic, now=time.monotonic())
        return next(status for status in told if status.name.endswith(': video'))

    def until(self, level: bytes, *words: str) -> DiagnosticStatus:
        """Wait until this is said of the camera."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            said = self.said()
            if said.level == level and all(word in said.message for word in words):
                return said
            assert time.monotonic() < deadline_s, (level, words, said)

    def close(self) -> None:
        self.camera.close()
        assert self._thread.end()
        assert self._thread.failure is None
        self.camera.free()
        os.close(self._wake)


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node('camera', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    rigs: list[Rig] = []

    def open_one(transport: str = 'raw') -> Rig:
        rigs.append(Rig(node, executor, transport))
        return rigs[-1]

    yield open_one
    executor.shutdown()
    for it in rigs:
        it.close()
    node.destroy_node()
    context.try_shutdown()


UNUSABLE = {
    'encoding': (image(encoding='no_such'), 'no_such'),
    'step': (image(step=5), 'step 5'),
    'size': (image(width=0), 'size 0x24'),
    'too few bytes': (image(data=b'123'), '3 bytes'),
    'garbage': (b'\0\1\0\0\xff\xff', 'bytes'),
}


@pytest.mark.parametrize(('unusable', 'reason'), UNUSABLE.values(), ids=UNUSABLE)
def test_images_that_cannot_be_shown_are_said_to_arrive_and_why(
    rig: Callable[..., Rig], unusable: Any, reason: str
) -> None:
    robot = rig()
    driver = SmallCamera(robot.node, 'image', [image()])
    robot.until(OK, 'receiving')
    driver.images = [unusable]
    said = robot.until(ERROR, 'images arrive, but cannot be shown', reason)
    assert 'no image' not in said.message
    driver.images = [image()]
    robot.until(OK, 'receiving')
    driver.is_on = False
    robot.until(ERROR, 'no image on /image')


def test_compressed_images_that_cannot_be_shown_are_told_as_well(
    rig: Callable[..., Rig],
) -> None:
    robot = rig('compressed')
    broken = CompressedImage(format='jpeg', data=b'no picture')
    SmallCamera(robot.node, 'image/compressed', [broken])
    robot.until(ERROR, 'images arrive, but cannot be shown', "'jpeg'")


@pytest.mark.parametrize(
    ('ahead_s', 'words'),
    [
        (None, ('images are stamped zero',)),
        (-3.0, ('images are stamped 3 s behind', 'use_sim_time: false')),
        (5.0, ('images are stamped 5 s ahead', 'use_sim_time: false')),
    ],
    ids=['zero', 'past', 'future'],
)
def test_stamps_that_mean_nothing_are_told_and_logged_once(
    rig: Callable[..., Rig], ahead_s: float | None, words: tuple[str, ...]
) -> None:
    robot = rig()
    driver = SmallCamera(robot.node, 'image', [image()], ahead_s=ahead_s)
    robot.until(WARN, *words)
    assert len(robot.told) == 1
    assert 'event=image_stamps topic=/image' in robot.told[0]
    driver.ahead_s = 0.0
    robot.until(OK, 'receiving')


def test_a_simulated_clock_that_the_camera_does_not_follow_is_told(
    rig: Callable[..., Rig],
) -> None:
    robot = rig()
    publisher = robot.node.create_publisher(Image, 'image', 1)
    stamped = image()
    stamped.header.stamp = robot.node.get_clock().now().to_msg()
    robot.node.set_parameters([Parameter('use_sim_time', value=True)])
    # Timers of the node stand still now.
    robot.each_turn = lambda: publisher.publish(stamped)
    robot.until(WARN, 'ahead of', 'use_sim_time: true')


@pytest.mark.parametrize(
    ('stamp_ns', 'age_s', 'fault'),
    [
        (0, 1.7e9, StampFault.ZERO),
        (1, 0.0, None),
        (1, 0.9, None),
        (1, -0.9, None),
        (1, 1.1, StampFault.BEHIND),
        (1, -1.1, StampFault.AHEAD),
        (-1, 1.7e9, StampFault.BEHIND),
    ],
)
def test_each_fault_of_a_stamp(stamp_ns: int, age_s: float, fault: StampFault | None) -> None:
    watch = StampWatch()
    assert watch.fault(50.0) is None
    watch.note(stamp_ns, age_s, 50.0)
    assert watch.fault(50.5) is fault
    assert bool(watch.remark(50.5, simulated=False)) is (fault is not None)
    assert watch.fault(52.0) is None, 'nothing comes any more'
    assert watch.remark(52.0, simulated=False) == ''
