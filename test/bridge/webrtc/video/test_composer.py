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

from typing import Any

import av
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader
from teleop_webrtc_bridge.bridge.webrtc.video.composer import capture_of, Composer, layout, Part

SIDES = st.integers(2, 4096)
RED, GREEN, BLUE = (230, 20, 20), (20, 200, 20), (20, 20, 230)
NEAR = 6
"""Tolerance of the conversion from RGB and back, of 255."""


def part(
    camera: str,
    colour: tuple[int, int, int] = RED,
    *,
    size: tuple[int, int] = (320, 240),
    max_width_px: int = 1280,
    **fields: Any,
) -> Part:
    width, height = size
    values: dict[str, Any] = {'sequence': 1, 'is_intact': lambda: True, 'capture_s': 5.0} | fields
    header = FrameHeader(
        capture_s=values['capture_s'],
        width=width,
        height=height,
        step=3 * width,
        encoding='rgb8',
        is_filler=values.get('is_filler', False),
    )
    data = memoryview(np.full((height, width, 3), colour, np.uint8).tobytes())
    frame = Frame(
        sequence=values['sequence'], header=header, data=data, is_intact=values['is_intact']
    )
    return Part(camera=camera, frame=frame, max_width_px=max_width_px)


def broken_jpeg(camera: str) -> Part:
    header = FrameHeader(capture_s=5.0, width=320, height=240, step=0, encoding='jpeg')
    data = memoryview(b'\xff\xd8\xff\xe0 not a picture')
    frame = Frame(sequence=1, header=header, data=data, is_intact=lambda: True)
    return Part(camera=camera, frame=frame, max_width_px=1280)


def colours(picture: av.VideoFrame | None, columns: int) -> list[tuple[int, int, int]]:
    """Return the colours in the middle of equal columns."""
    assert picture is not None
    pixels = picture.to_ndarray(format='rgb24')
    height, width, _ = pixels.shape
    places = [round(width * (number + 0.5) / columns) for number in range(columns)]
    return [tuple(map(int, pixels[height // 2, place])) for place in places]


def assert_near(found: Any, wanted: Any) -> None:
    assert np.abs(np.subtract(found, wanted)).max() <= NEAR, (found, wanted)


@given(
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=8),
    max_width_px=st.integers(160, 7680),
    scale=st.sampled_from([1.0, 3 / 4, 1 / 2, 3 / 8, 1 / 4]),
)
def test_parts_have_one_height_even_sizes_and_fit(
    sizes: list[tuple[int, int]], max_width_px: int, scale: float
) -> None:
    laid = layout(sizes, max_width_px=max_width_px, scale=scale)
    assert len({height for _, height in laid}) == 1
    assert all(width % 2 == height % 2 == 0 for width, height in laid)
    assert all(width >= 2 and height >= 2 for width, height in laid)
    # Two pixels is the minimum.
    if all(1 / 20 < width / height < 20 for width, height in sizes) and laid[0][1] > 40:
        assert sum(width for width, _ in laid) <= max_width_px * scale + 2 * len(sizes)
        for (width, height), (own_width, own_height) in zip(laid, sizes, strict=True):
            assert abs(width / height - own_width / own_height) <= 2 / height
    assert laid[0][1] <= max(height for _, height in sizes)


def test_two_cameras_of_one_size_are_each_half_as_wide_as_the_video_may_be() -> None:
    hd = (1280, 720)
    assert layout([hd, hd], max_width_px=1280, scale=1.0) == [(640, 360), (640, 360)]
    assert layout([hd, hd], max_width_px=1280, scale=0.5) == [(320, 180), (320, 180)]
    # Small pictures are not enlarged to fill the width.
    assert layout([(320, 240)] * 2, max_width_px=1280, scale=1.0) == [(320, 240), (320, 240)]
    assert layout([(640, 480), (320, 240)], max_width_px=1280, scale=1.0) == [(640, 480)] * 2


def test_the_first_camera_is_on_the_left() -> None:
    composer = Composer(1280)
    parts = [part('front', RED), part('rear', GREEN), part('arm', BLUE)]
    picture = composer.compose(parts, 1.0)
    assert picture is not None
    assert (picture.width, picture.height, picture.format.name) == (960, 240, 'yuv420p')
    assert_near(colours(picture, 3), (RED, GREEN, BLUE))
    assert_near(colours(composer.compose(parts[::-1], 1.0), 3), (BLUE, GREEN, RED))


def test_each_part_is_the_newest_of_its_camera_whatever_its_size_and_shape() -> None:
    composer = Composer(1280)
    composer.compose([part('front', RED), part('rear', GREEN)], 1.0)
    changed = part('rear', BLUE, sequence=2, size=(161, 121))
    picture = composer.compose([part('front', RED), changed], 1.0)
    assert_near(colours(picture, 2), (RED, BLUE))
    # The same frame in another size.
    picture = composer.compose([part('front', RED), changed], 0.5)
    assert picture is not None
    assert picture.height == 120
    assert_near(colours(picture, 2), (RED, BLUE))


def test_a_camera_is_no_wider_than_it_may_be() -> None:
    parts = [part('front', size=(640, 480), max_width_px=320), part('rear', size=(320, 240))]
    picture = Composer(1280).compose(parts, 1.0)
    assert picture is not None
    assert (picture.width, picture.height) == (640, 240)


def test_a_frame_that_is_overwritten_meanwhile_makes_no_picture() -> None:
    composer = Composer(1280)
    torn = part('rear', GREEN, is_intact=lambda: False)
    assert composer.compose([part('front'), torn], 1.0) is None
    # Nor does it return when the other camera has a new frame.
    picture = composer.compose([part('front', sequence=2), part('rear', BLUE)], 1.0)
    assert_near(colours(picture, 2), (RED, BLUE))


def test_a_broken_jpeg_is_grey_and_the_others_are_shown() -> None:
    composer = Composer(1280)
    parts = [part('front', RED), broken_jpeg('rear')]
    for _ in range(2):
        assert_near(colours(composer.compose(parts, 1.0), 2), (RED, (130, 130, 130)))
    assert composer.take_undecodable() == 1
    assert composer.take_undecodable() == 0


@pytest.mark.parametrize(
    ('fields', 'capture_s'),
    [
        ([{'capture_s': 7.0}], 7.0),
        ([{'capture_s': 7.0}, {'capture_s': 6.5}, {'capture_s': 7.1}], 6.5),
        ([{'capture_s': 7.0}, {'capture_s': 3.0, 'is_filler': True}], 7.0),
        ([{'capture_s': 2.0, 'is_filler': True}, {'capture_s': 3.0, 'is_filler': True}], 3.0),
    ],
)
def test_a_picture_is_as_old_as_the_oldest_of_its_parts(
    fields: list[dict[str, Any]], capture_s: float
) -> None:
    parts = [part(str(number), **values) for number, values in enumerate(fields)]
    assert capture_of(parts) == capture_s
