"""How much memory a picture takes, for each encoding."""

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

import pytest

from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS


@pytest.mark.parametrize('encoding', sorted(PIXEL_FORMATS))
def test_samples_fill_the_pixels(encoding: str) -> None:
    pixel = PIXEL_FORMATS[encoding]
    assert pixel.channels * pixel.sample_bytes == pixel.bytes_per_pixel
    assert pixel.channels in (1, 2, 3, 4)


@pytest.mark.parametrize('encoding', sorted(PIXEL_FORMATS))
def test_the_byte_order_is_named_where_it_matters(encoding: str) -> None:
    pixel = PIXEL_FORMATS[encoding]
    names = {pixel.ffmpeg_name(is_bigendian=order) for order in (False, True)}
    if pixel.sample_bytes == 1:
        assert names == {pixel.name}
    else:
        assert names == {f'{pixel.name}le', f'{pixel.name}be'}


@pytest.mark.parametrize(
    ('encoding', 'step', 'height', 'expected'),
    [
        ('rgb8', 12, 3, 36),
        ('mono16', 10, 3, 30),
        ('uyvy', 8, 3, 24),
        ('nv12', 4, 4, 4 * 4 + 4 * 2),
        ('nv21', 4, 5, 4 * 5 + 4 * 2),
        ('nv24', 4, 3, 4 * 3 + 2 * 4 * 3),
        ('bayer_rggb16', 8, 2, 16),
    ],
)
def test_all_planes_count(encoding: str, step: int, height: int, expected: int) -> None:
    assert PIXEL_FORMATS[encoding].data_bytes(step, height) == expected


def test_distances_are_millimetres_or_metres() -> None:
    units = {name: it.depth_unit_m for name, it in PIXEL_FORMATS.items() if it.depth_unit_m}
    assert units == {'16UC1': 1e-3, '32FC1': 1.0}


@pytest.mark.parametrize(
    ('encoding', 'number_type'),
    [('mono8', 'u1'), ('mono16', 'u2'), ('16UC1', 'u2'), ('16SC1', 'i2'), ('32FC1', 'f4')],
)
def test_the_type_of_a_sample(encoding: str, number_type: str) -> None:
    assert PIXEL_FORMATS[encoding].number_type == number_type
