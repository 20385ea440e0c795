"""Cameras whose encoder sends its parameter sets only once: real topics, no broker."""

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

from collections.abc import Callable, Iterator, Sequence
import itertools
import time
from typing import Any

from camera_rig import camera_rig
from h264_camera import encoded, nal_units, only_sets, without_sets
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage

from teleop_webrtc_bridge.bridge.link.packet_ring import PacketReader, Unit
from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera, Cameras
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl
from teleop_webrtc_bridge.bridge.ros.parameters.table import CameraSettings

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

PATIENCE_S = 30.0
PERIOD_S = 1 / 30
LATCHED = QoSProfile(depth=300, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Encoder:
    """
    A camera's driver, which publishes while it is switched on, the first message once.

    :param first: What comes once.
    :param units: What comes then, again and again.
    """

    def __init__(
        self, node: Any, first: bytes, units: Sequence[bytes], qos: QoSProfile | int = 10
    ) -> None:
        self.is_on = False
        self._node = node
        self._units = itertools.chain([first], itertools.cycle(units))
        self._publisher = node.create_publisher(CompressedImage, 'image/h264', qos)
        self._timer = node.create_timer(PERIOD_S, self._publish)

    def _publish(self) -> None:
        if self.is_on:
            self.publish(1)

    def lose(self) -> None:
        """Drop the next messages."""
        next(self._units)

    def publish(self, count: int) -> None:
        for _ in range(count):
            data = next(self._units)
            if data:
                message = CompressedImage(format='h264', data=data)
                message.header.stamp = self._node.get_clock().now().to_msg()
                self._publisher.publish(message)

    def subscribers(self) -> int:
        return int(self._publisher.get_subscription_count())

    def end(self) -> None:
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)


class Rig:
    """A camera of the bridge, and a node for its drivers."""

    def __init__(self, node: Any, executor: SingleThreadedExecutor, wake: int) -> None:
        self.node = node
        self._executor = executor
        self.thread = ImageThread(on_failure=lambda: None)
        self.thread.start()
        self.told: list[str] = []
        self.woken = 0
        settings = CameraSettings(
            name='image',
            topic='image',
            transport='h264',
            reliability='auto',
            fps=30.0,
            max_width_px=1280,
        )
        self.camera = Camera(
            node,
            settings,
            thread=self.thread,
            wake=wake,
            on_image=self._on_image,
            warn=self.told.append,
            rcl=Rcl(),
        )
        self.cameras = Cameras(
            [self.camera],
            thread=self.thread,
            on_show=lambda names: None,
            warn=self.told.append,
            discovered_s=0.0,
        )
        self.reader = PacketReader(self.camera.memory)
        self.fps = 0.0

    def _on_image(self) -> None:
        self.woken += 1

    def encoder(
        self, units: Sequence[bytes], *, qos: QoSProfile | int = 10, apart: bool = False
    ) -> Encoder:
        """Return an encoder that sends its parameter sets only once."""
        bare = [without_sets(unit) for unit in units]
        if apart:
            return Encoder(self.node, only_sets(units[0]), bare, qos)
        return Encoder(self.node, units[0], [*bare[1:], bare[0]], qos)

    def turn(self) -> None:
        self._executor.spin_once(timeout_sec=0.02)
        self.cameras.watch_graph()
        self.cameras.follow(time.monotonic(), self.fps, ['image'])

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, f'no {what}; {self.told} {self.counters}'
            self.turn()

    @property
    def counters(self) -> dict[str, int]:
        return dict(self.camera.counters)

    def picture(self) -> Unit | None:
        return self.reader.next(time.monotonic())

    def shows(self, width: int) -> None:
        """Watch until a decodable keyframe of that width arrives."""
        self.fps = 30.0
        found: list[Unit] = []

        def is_seen() -> bool:
            unit = self.picture()
            if unit is not None and unit.data:
                found.append(unit)
            return bool(found)

        self.until(is_seen, 'picture')
        unit = found[0]
        assert unit.keyframe
        assert [part[0] & 0x1F for part in nal_units(unit.data)][:2] == [7, 8]
        assert unit.width == width
        self.until(lambda: not self.cameras.is_blind(time.monotonic()), 'sight')

    def remark(self) -> str:
        return self.camera.remark(time.monotonic())


@pytest.fixture
def rig() -> Iterator[Rig]:
    with camera_rig(Rig) as rig:
        yield rig


@pytest.mark.parametrize('apart', [False, True], ids=['with the keyframe', 'in a message apart'])
def test_sets_that_come_once_are_heard_though_nobody_watches_yet(rig: Rig, apart: bool) -> None:
    encoder = rig.encoder(encoded(30), apart=apart)
    rig.until(lambda: encoder.subscribers() == 1, 'subscription')
    encoder.is_on = True
    rig.until(lambda: encoder.subscribers() == 0, 'the end of the subscription')
    assert rig.cameras.is_blind(time.monotonic()), 'nothing was shown to anybody'
    assert rig.cameras.are_closed
    assert rig.picture() is None
    assert rig.woken == 0, 'which costs more than the picture'
    rig.shows(160)
    assert rig.told == []


def test_a_publisher_that_starts_again_is_heard_from_its_start(rig: Rig) -> None:
    first = rig.encoder(encoded(30))
    rig.until(lambda: first.subscribers() == 1, 'subscription')
    first.is_on = True
    rig.until(lambda: first.subscribers() == 0, 'the end of the subscription')
    first.end()
    rig.until(lambda: rig.camera.is_subscribed, 'readiness for what starts next')
    second = rig.encoder(encoded(30, width=320, height=180))
    rig.until(lambda: second.subscribers() == 1, 'subscription')
    second.is_on = True
    rig.until(lambda: second.subscribers() == 0, 'the end of the subscription')
    rig.shows(320)


def test_sets_of_a_publisher_that_is_gone_are_not_used_for_the_next_one(rig: Rig) -> None:
    first = rig.encoder(encoded(30))
    rig.until(lambda: first.subscribers() == 1, 'subscription')
    first.is_on = True
    rig.shows(160)
    rig.until(lambda: rig.counters['sent'] > 60, 'pictures')
    first.end()
    second = rig.encoder(encoded(30, width=320, height=180))
    second.lose()
    rig.until(lambda: second.subscribers() == 1, 'subscription')
    rig.until(lambda: rig.camera.is_stalled(time.monotonic()), 'stall')
    second.is_on = True
    rig.until(lambda: 'parameter sets' in rig.remark(), 'remark')
    while (unit := rig.picture()) is not None:
        assert unit.width == 160


def test_who_came_too_late_for_them_is_told_of_which_camera_and_what_to_do(rig: Rig) -> None:
    encoder = rig.encoder(encoded(30))
    encoder.lose()
    rig.until(lambda: encoder.subscribers() == 1, 'subscription')
    encoder.is_on = True
    rig.until(rig.remark, 'remark')
    assert 'repeat-headers=1' in rig.remark()
    (told,) = rig.told
    assert told.startswith('topic=/image/h264 ')
    assert 'repeat_sequence_header=1' in told
    rig.fps = 30.0
    rig.until(lambda: not rig.cameras.are_closed, 'somebody who watches')
    faults = rig.cameras.faults(time.monotonic())
    assert 'repeat-headers=1' in faults['image']
    assert len(rig.told) == 1


def test_a_publisher_that_keeps_what_it_sent_gives_them_to_who_comes_late(rig: Rig) -> None:
    encoder = rig.encoder(encoded(30), qos=LATCHED)
    encoder.publish(150)
    rig.until(lambda: rig.camera.counters['received'] > 0, 'history')
    assert rig.picture() is None, 'pictures of before are shown to nobody'
    encoder.is_on = True
    # Not all of the history is waited for.
    rig.until(lambda: encoder.subscribers() == 0, 'the end of the subscription')
    received = rig.camera.counters['received']
    rig.shows(160)
    assert rig.camera.counters['received'] < received + 90, 'nor to who watches'


def test_an_encoder_that_repeats_them_is_subscribed_only_while_somebody_watches(
    rig: Rig,
) -> None:
    units = encoded(30)
    encoder = Encoder(rig.node, units[0], [*units[1:], units[0]])
    rig.until(lambda: encoder.subscribers() == 1, 'subscription')
    encoder.is_on = True
    rig.until(lambda: encoder.subscribers() == 0, 'the end of the subscription')
    rig.shows(160)
    rig.fps = 0.0
    rig.until(lambda: encoder.subscribers() == 0, 'the end of the subscription')
    assert rig.told == []
