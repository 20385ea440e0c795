"""Which cameras the node subscribes to and shows: real topics, no broker."""

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
import time
from typing import Any

from camera_rig import camera_rig
import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from small_camera import SmallCamera

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameReader
from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera, Cameras
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl
from teleop_webrtc_bridge.bridge.ros.parameters.table import CameraSettings

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

PATIENCE_S = 30.0
WIDTH, HEIGHT = 32, 24
FPS, REAR_FPS = 30.0, 2.0


def image(grey: int) -> Image:
    data = np.full(WIDTH * HEIGHT, grey, np.uint8).tobytes()
    return Image(width=WIDTH, height=HEIGHT, step=WIDTH, encoding='mono8', data=data)


class Rig:
    """Two cameras with their drivers, and the input of the WebRTC half."""

    def __init__(self, node: Any, executor: SingleThreadedExecutor, wake: int) -> None:
        self.node, self._executor, self._wake = node, executor, wake
        self.thread = ImageThread(on_failure=lambda: None)
        self.thread.start()
        self.shown: list[tuple[str, ...]] = []
        self.told: list[str] = []
        names = ('front', 'rear')
        self.drivers = {
            name: SmallCamera(node, f'{name}/image', [image(50 + 50 * number)])
            for number, name in enumerate(names)
        }
        self.cameras = Cameras(
            [self.camera(name) for name in names],
            thread=self.thread,
            on_show=self.shown.append,
            warn=self.told.append,
            discovered_s=0.0,
        )
        self._readers = {
            camera.settings.name: FrameReader(camera.memory) for camera in self.cameras.all
        }
        self.selected = ['front']
        self.fps = FPS

    def camera(self, name: str, *, is_named: bool = True) -> Camera:
        settings = CameraSettings(
            name=name,
            topic=f'{name}/image',
            transport='raw',
            reliability='auto',
            fps=FPS if name == 'front' else REAR_FPS,
            max_width_px=1280,
            is_named=is_named,
        )
        return Camera(
            self.node,
            settings,
            thread=self.thread,
            wake=self._wake,
            on_image=lambda: None,
            warn=print,
            rcl=Rcl(),
        )

    def turn(self) -> None:
        self._executor.spin_once(timeout_sec=0.02)
        self.cameras.follow(time.monotonic(), self.fps, self.selected)

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, f'no {what}; {self.shown} {self.told}'
            self.turn()

    def run(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.turn()

    def newest(self, name: str) -> Frame:
        frame = self._readers[name].newest()
        assert frame is not None
        return frame

    def is_blind(self) -> bool:
        return self.cameras.is_blind(time.monotonic())

    def subscribers(self) -> list[int]:
        return [driver.subscribers() for driver in self.drivers.values()]

    def sees_front(self) -> None:
        self.until(lambda: not self.is_blind(), 'picture')
        self.until(lambda: self.subscribers() == [1, 0], 'one subscription')


@pytest.fixture
def rig() -> Iterator[Rig]:
    with camera_rig(Rig) as rig:
        yield rig


def test_the_new_camera_is_shown_with_its_first_picture_and_the_old_one_until_then(
    rig: Rig,
) -> None:
    rig.sees_front()
    rig.selected = ['rear']
    rig.turn()
    assert rig.cameras.is_changing
    assert not rig.shown
    assert not rig.is_blind(), 'the image is current'
    rig.until(lambda: rig.shown, 'change')
    assert rig.shown == [('rear',)]
    assert not rig.newest('rear').header.is_filler
    rig.until(lambda: rig.subscribers() == [0, 1], 'the other subscription')


def test_of_each_camera_as_many_images_are_taken_as_are_wanted_of_it(rig: Rig) -> None:
    rig.selected = ['front', 'rear']
    front, rear = (camera.counters for camera in rig.cameras.all)
    begin_s = time.monotonic()
    rig.until(lambda: rear['received'] > 60, 'images')
    elapsed_s = time.monotonic() - begin_s
    assert 0 < rear['sent'] <= 2 + 2 * REAR_FPS * elapsed_s
    assert front['sent'] > 2 * rear['sent'], (front, rear)


def test_a_change_that_is_taken_back_in_time_changes_nothing(rig: Rig) -> None:
    rig.sees_front()
    rig.drivers['rear'].is_on = False
    rig.selected = ['rear']
    rig.turn()
    rig.selected = ['front']
    rig.run(1.2)
    assert not rig.shown
    assert not rig.is_blind()
    rig.until(lambda: rig.subscribers() == [1, 0], 'one subscription')


def test_a_camera_that_is_selected_again_shows_nothing_of_before(rig: Rig) -> None:
    rig.sees_front()
    rig.selected = ['rear']
    rig.until(lambda: rig.shown == [('rear',)], 'change')
    rig.drivers['front'].is_on = False
    rig.selected = ['front']
    rig.until(lambda: len(rig.shown) == 2, 'change')
    assert rig.newest('front').header.is_filler
    assert rig.is_blind()
    rig.until(lambda: rig.told == ['event=camera_stalled topic=/front/image'], 'warning')
    rig.drivers['front'].is_on = True
    rig.until(lambda: not rig.is_blind(), 'picture')
    assert not rig.newest('front').header.is_filler


def test_one_stalled_camera_of_two_is_grey_and_makes_blind_and_a_single_one_keeps_its_picture(
    rig: Rig,
) -> None:
    rig.sees_front()
    rig.selected = ['front', 'rear']
    rig.until(lambda: rig.shown == [('front', 'rear')], 'change')
    assert not rig.is_blind()
    rig.drivers['rear'].is_on = False
    rig.until(rig.is_blind, 'blindness')
    rig.until(lambda: rig.newest('rear').header.is_filler, 'grey')
    assert not rig.newest('front').header.is_filler
    rig.selected = ['front']
    rig.until(lambda: rig.shown[-1] == ('front',), 'change')
    assert not rig.is_blind()
    # That it stands still says itself, to the page too.
    rig.drivers['front'].is_on = False
    rig.until(rig.is_blind, 'blindness')
    rig.run(0.3)
    assert not rig.newest('front').header.is_filler


def test_nobody_watches_and_nothing_is_subscribed_whatever_is_selected(rig: Rig) -> None:
    rig.fps = 0.0
    rig.run(0.2)
    assert rig.is_blind(), 'a camera with a name is there, or should be'
    rig.selected = ['rear']
    rig.until(lambda: rig.shown == [('rear',)], 'change')
    assert rig.newest('rear').header.is_filler
    rig.run(0.3)
    assert rig.subscribers() == [0, 0]


def test_before_discovery_has_ended_there_may_be_a_camera_that_nobody_has_seen(rig: Rig) -> None:
    camera = rig.camera('unseen', is_named=False)
    discovered_s = time.monotonic()
    cameras = Cameras(
        [camera],
        thread=rig.thread,
        on_show=rig.shown.append,
        warn=rig.told.append,
        discovered_s=discovered_s,
    )
    assert cameras.is_blind(discovered_s - 0.01)
    assert not cameras.is_blind(discovered_s)
    driver = SmallCamera(rig.node, 'unseen/image', [image(50)])

    def is_seen() -> bool:
        cameras.watch_graph()
        return cameras.has_any

    driver.is_on = False
    rig.until(is_seen, 'publisher')
    assert cameras.is_blind(discovered_s)
    driver.is_on = True

    def is_shown() -> bool:
        cameras.follow(time.monotonic(), FPS, ['unseen'])
        return camera.is_fresh(time.monotonic())

    rig.until(is_shown, 'image')
    assert not cameras.is_blind(time.monotonic())
    assert not cameras.is_blind(discovered_s - 0.01), 'an image is enough'
    cameras.close()
    cameras.free()
