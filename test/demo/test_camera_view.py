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

import math

import numpy as np
from numpy.typing import NDArray
import pytest

from teleop_webrtc_bridge.demo.camera_view import CameraView
from teleop_webrtc_bridge.demo.diff_drive import DriveSpeed, Pose
from teleop_webrtc_bridge.demo.overlay import Overlay
from teleop_webrtc_bridge.demo.world import courtyard

WIDTH, HEIGHT = 640, 360
Pixels = NDArray[np.uint8]


@pytest.fixture(scope='module')
def view() -> CameraView:
    return CameraView(courtyard(), width=WIDTH, height=HEIGHT)


def draw(view: CameraView, pose: Pose) -> Pixels:
    # A colour that the world does not have shows what was not painted.
    picture = np.full((HEIGHT, WIDTH, 3), (255, 0, 255), np.uint8)
    view.render(pose, picture)
    return picture


def red_columns(picture: Pixels) -> NDArray[np.intp]:
    # The red and white pillar, at the height of the horizon.
    band = picture[slice(HEIGHT // 4, HEIGHT // 2)].astype(int)
    red = (band[..., 0] > 150) & (band[..., 1] < 80) & (band[..., 2] < 80)
    return np.flatnonzero(red.sum(axis=0) > 10)


@pytest.mark.parametrize('yaw', np.linspace(-3.0, 3.1, 9).tolist())
def test_every_pixel_is_painted_and_the_picture_is_rich(view: CameraView, yaw: float) -> None:
    picture = draw(view, Pose(yaw=yaw))
    assert not (picture == (255, 0, 255)).all(axis=-1).any()
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 500


def test_the_same_pose_gives_the_same_picture(view: CameraView) -> None:
    first = draw(view, Pose(x=0.3, y=0.2, yaw=0.1))
    draw(view, Pose(yaw=2.0))
    assert np.array_equal(first, draw(view, Pose(x=0.3, y=0.2, yaw=0.1)))


@pytest.mark.parametrize('pose', [Pose(x=0.1), Pose(x=-0.1), Pose(y=0.1), Pose(yaw=0.05)])
def test_a_small_move_changes_much_of_the_picture(view: CameraView, pose: Pose) -> None:
    changed = (draw(view, Pose()) != draw(view, pose)).any(axis=-1)
    assert changed.mean() > 0.2


def test_turning_left_moves_landmarks_right(view: CameraView) -> None:
    ahead = red_columns(draw(view, Pose())).mean()
    left = red_columns(draw(view, Pose(yaw=0.2))).mean()
    right = red_columns(draw(view, Pose(yaw=-0.1))).mean()
    assert right < ahead - 20
    assert left > ahead + 20


def test_a_landmark_is_where_the_pinhole_model_puts_it(view: CameraView) -> None:
    # The pillar stands at (4.2, 1.5): left of the axis.
    columns = red_columns(draw(view, Pose()))
    expected = WIDTH / 2 - view.focal_px * 1.5 / 4.2
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(expected, abs=3.0)


def test_driving_forward_makes_landmarks_grow(view: CameraView) -> None:
    far = np.ptp(red_columns(draw(view, Pose())))
    near = np.ptp(red_columns(draw(view, Pose(x=2.0, y=0.4))))
    assert near > 1.5 * far


def test_walls_hide_what_is_behind_them(view: CameraView) -> None:
    # From behind the partition 'A' the red pillar is not in sight; beside it, it is.
    assert not len(red_columns(draw(view, Pose(x=6.2, y=4.5, yaw=-2.16))))
    assert len(red_columns(draw(view, Pose(x=6.5, y=1.5, yaw=math.pi))))


def test_bgr_is_rgb_reversed(view: CameraView) -> None:
    reverse = CameraView(courtyard(), width=WIDTH, height=HEIGHT, bgr=True)
    assert np.array_equal(draw(view, Pose())[..., ::-1], draw(reverse, Pose()))


@pytest.mark.parametrize('size', [(64, 64), (66, 480), (1280, 64)])
def test_any_even_size_works(size: tuple[int, int]) -> None:
    width, height = size
    view = CameraView(courtyard(), width=width, height=height)
    picture = np.full((height, width, 3), (255, 0, 255), np.uint8)
    for yaw in (0.0, 1.6, -2.8):
        view.render(Pose(x=-1.0, yaw=yaw), picture)
        Overlay(width=width, height=height).draw(picture, Pose(), DriveSpeed(), 0.0)
    assert not (picture == (255, 0, 255)).all(axis=-1).any()


def test_nose_against_a_wall(view: CameraView) -> None:
    # The texture is larger than the picture, and no sky is left.
    picture = draw(view, Pose(x=-5.65, y=0.2, yaw=math.pi))
    assert picture.std() > 5.0


def test_the_overlay_shows_heading_and_speed_only_where_it_is(view: CameraView) -> None:
    overlay = Overlay(width=WIDTH, height=HEIGHT)
    assert overlay.fits
    plain = draw(view, Pose())

    def drawn(pose: Pose, velocity: DriveSpeed) -> Pixels:
        picture = plain.copy()
        overlay.draw(picture, pose, velocity, 1_700_000_000.0)
        return picture

    still = drawn(Pose(), DriveSpeed())
    # The compass tape is above row 46, the read-out from there to row 90.
    assert np.array_equal(still[90:], plain[90:])
    turned, moving = drawn(Pose(yaw=0.3), DriveSpeed()), drawn(Pose(), DriveSpeed(linear=-0.5))
    assert (turned[:46] != still[:46]).any()
    assert np.array_equal(turned[46:], still[46:])
    assert (moving[46:90] != still[46:90]).any()
    assert np.array_equal(moving[:46], still[:46])


def test_the_overlay_covers_its_earlier_self() -> None:
    overlay = Overlay(width=WIDTH, height=HEIGHT)
    once, twice = (np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(2))
    overlay.draw(twice, Pose(yaw=1.0), DriveSpeed(linear=-5.0, angular=-10.0), 1.0)
    overlay.draw(twice, Pose(), DriveSpeed(), 2.0)
    overlay.draw(once, Pose(), DriveSpeed(), 2.0)
    # A text of changing length would leave its end behind.
    assert np.array_equal(once, twice)
