"""Tests of pictures with more than 8 bits: visible, and alike in every encoding."""

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

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter, plane_rows

Array = np.ndarray[Any, Any]
WIDTH, HEIGHT = 64, 48
PERIOD_S = 1 / 30


def frame(
    encoding: str, data: bytes, *, step: int = 0, at_s: float = 0.0, is_bigendian: bool = False
) -> Frame:
    header = FrameHeader(
        capture_s=at_s,
        width=WIDTH,
        height=HEIGHT,
        step=step,
        encoding=encoding,
        is_bigendian=is_bigendian,
    )
    return Frame(sequence=1, header=header, data=memoryview(data), is_intact=lambda: True)


def raw(encoding: str, values: Array, **more: Any) -> Frame:
    data = values.tobytes()
    return frame(encoding, data, step=len(data) // HEIGHT, **more)


def png(values: Array, pixel_format: str, encoding: str = 'png', **more: Any) -> Frame:
    encoder: Any = av.CodecContext.create('png', 'w')
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, pixel_format
    encoder.time_base = Fraction(1, 30)
    picture = av.VideoFrame(WIDTH, HEIGHT, pixel_format)
    rows = values.reshape(HEIGHT, -1)
    rows = rows.astype('>u2' if pixel_format.endswith('be') else np.uint8).view(np.uint8)
    plane_rows(picture, 0)[:, : rows.shape[1]] = rows
    if pixel_format == 'pal8':
        memoryview(picture.planes[1])[:1024] = b''.join(
            bytes([grey, grey, grey, 255]) for grey in range(256)
        )
    picture.pts = 0
    data = b''.join(map(bytes, encoder.encode(picture) + encoder.encode(None)))
    return frame(encoding, data, **more)


def luma(shown: Frame, converter: FrameConverter | None = None) -> Array:
    """Return brightness from 0 to 255."""
    picture = (converter or FrameConverter()).convert(shown, max_width_px=1280, scale=1.0)
    assert picture is not None
    rows = plane_rows(picture, 0)[:HEIGHT, :WIDTH].astype(float)
    return np.clip((rows - 16.0) * 255.0 / 219.0, 0.0, 255.0)


def ramp(low: float, high: float) -> Array:
    """Return values that increase from left to right."""
    return np.tile(np.linspace(low, high, WIDTH), (HEIGHT, 1))


DEPTHS_MM = {
    'room': ramp(500, 6000),
    'table': ramp(300, 600),
    'street': ramp(9000, 60_000),
    'wall': ramp(2000, 2000),
    'holes': np.where(ramp(0, 1) < 0.3, 0, ramp(500, 6000)),
    'nothing': ramp(0, 0),
}


@pytest.mark.parametrize('name', DEPTHS_MM)
def test_depth_looks_the_same_whichever_way_it_comes(name: str) -> None:
    values = DEPTHS_MM[name].astype(np.uint16)
    looks = [
        luma(raw('16UC1', values)),
        luma(raw('16UC1', values.astype('>u2'), is_bigendian=True)),
        luma(raw('32FC1', values.astype(np.float32) / 1000)),
        luma(png(values, 'gray16be')),
    ]
    for look in looks[1:]:
        assert np.abs(look - looks[0]).max() <= 3


BRIGHTNESSES = {
    'all of the range': ramp(0, 65535),
    'of 12 bits': ramp(0, 4095),
    'of 14 bits': ramp(0, 16383),
    'thermal': ramp(29_300, 30_900),
    'grey': ramp(20_000, 20_000),
}


@pytest.mark.parametrize('name', BRIGHTNESSES)
def test_brightness_looks_the_same_whichever_way_it_comes(name: str) -> None:
    values = BRIGHTNESSES[name].astype(np.uint16)
    looks = [
        luma(raw('mono16', values)),
        luma(raw('mono16', values.astype('>u2'), is_bigendian=True)),
        luma(raw('16SC1', (values ^ 0x8000).view(np.int16))),
        luma(png(values, 'gray16be', 'png/mono16')),
        luma(png(np.stack([values, np.full_like(values, 65535)], -1), 'ya16be', 'png/mono16')),
    ]
    for look in looks[1:]:
        assert np.abs(look - looks[0]).max() <= 3


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
def test_colours_look_the_same_whichever_way_they_come(bits: int) -> None:
    values = np.stack([ramp(0, 2**bits - 1)] * 3, -1).astype(np.uint16)
    values[..., 1] //= 2
    opaque = np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)
    looks = [
        luma(raw('rgb16', values)),
        luma(raw('rgb16', values.astype('>u2'), is_bigendian=True)),
        luma(raw('rgba16', np.concatenate([values, opaque], -1))),
        luma(png(values, 'rgb48be')),
        luma(png(np.concatenate([values, opaque], -1), 'rgba64be')),
    ]
    assert looks[0].max() > 140
    for look in looks[1:]:
        assert np.abs(look - looks[0]).max() <= 3


@pytest.mark.parametrize(
    ('encoding', 'values', 'least'),
    [
        ('mono16', ramp(0, 4095), 230),
        ('mono16', ramp(0, 1023), 230),
        ('mono16', ramp(0, 16383), 230),
        ('mono16', ramp(29_300, 30_900), 230),
        ('mono16', ramp(65_000, 65_535), 230),
        ('16UC1', ramp(500, 6000), 120),
        ('16UC1', ramp(300, 600), 140),
        ('16UC1', ramp(4000, 5000), 200),
        ('16UC1', ramp(9000, 60_000), 200),
        ('16UC1', ramp(29_300, 30_900), 200),
    ],
)
def test_a_part_of_the_range_is_a_picture(encoding: str, values: Array, least: int) -> None:
    look = luma(raw(encoding, values.astype(np.uint16)))
    assert look.max() - look.min() >= least
    is_brighter = bool(look[:, -1].mean() > look[:, 0].mean())
    assert is_brighter is (encoding == 'mono16'), 'near is bright, always'


@pytest.mark.parametrize('bits', [10, 12, 14])
@pytest.mark.parametrize('encoding', ['bayer_rggb16', 'bayer_grbg16', 'bgr16'])
def test_a_sensor_of_fewer_bits_is_as_bright_as_another(encoding: str, bits: int) -> None:
    shape = (HEIGHT, WIDTH) if encoding.startswith('bayer') else (HEIGHT, WIDTH, 3)
    rows = ramp(0, 1) if len(shape) == 2 else np.stack([ramp(0, 1)] * 3, -1)
    full = luma(raw(encoding, (rows * 65535).astype(np.uint16)))
    few = luma(raw(encoding, (rows * (2**bits - 1)).astype(np.uint16)))
    assert np.abs(full - few).max() <= 6


def test_noise_is_not_made_a_picture() -> None:
    noise = np.random.default_rng(3).normal(0.0, 3.0, (HEIGHT, WIDTH))
    look = luma(raw('mono16', (20_000 + noise).astype(np.uint16)))
    assert look.std() < 6
    assert look.mean() == pytest.approx(20_000 / 257, abs=6), 'the grey that it is'
    look = luma(raw('16UC1', (2000 + noise).astype(np.uint16)))
    assert look.std() < 6


def test_a_few_outliers_do_not_darken_the_rest() -> None:
    values = ramp(0, 4095).astype(np.uint16)
    values[0, 5] = values[7, 3] = 65535
    assert np.median(luma(raw('mono16', values))) > 100


def test_no_reading_is_black_and_what_is_near_is_never_taken_for_it() -> None:
    values = ramp(300, 600).astype(np.uint16)
    values[:, 10:20] = 0
    look = luma(raw('16UC1', values))
    assert look[:, 10:20].max() == 0
    metres = values.astype(np.float32) / 1000
    metres[:, 30:35], metres[:, 40:45] = np.nan, np.inf
    look = luma(raw('32FC1', metres))
    assert look[:, 30:35].max() == 0
    assert look[:, 40:45].max() <= 3, 'beyond the range'
    assert look[:, 5].mean() > 200


def shown_in_turn(*pictures: tuple[Array, int], encoding: str = 'mono16') -> list[float]:
    """Return the mean brightness of each picture, repeated at 30 Hz."""
    converter, looks = FrameConverter(), []
    for values, count in pictures:
        for _ in range(count):
            at_s = 100.0 + PERIOD_S * len(looks)
            shown = raw(encoding, values.astype(np.uint16), at_s=at_s)
            looks.append(float(luma(shown, converter).mean()))
    return looks


def test_what_flickers_in_the_scene_does_not_make_all_of_it_flicker() -> None:
    converter, looks = FrameConverter(), []
    for number in range(60):
        values = ramp(29_300, 30_900)
        values[:, :4] = 28_900 if number % 2 else 29_300
        shown = raw('mono16', values.astype(np.uint16), at_s=100.0 + PERIOD_S * number)
        looks.append(luma(shown, converter)[:, 30:].mean())
    assert np.abs(np.diff(looks[30:])).max() < 4


def test_another_scene_is_seen_at_once_and_a_change_is_followed_slowly() -> None:
    cold, warm = ramp(29_000, 29_500), ramp(29_100, 29_700)
    looks = shown_in_turn((cold, 30), (warm, 90))
    assert np.abs(np.diff(looks[31:])).max() < 6
    assert looks[-1] == pytest.approx(127, abs=8)
    looks = shown_in_turn((cold, 30), (ramp(36_000, 36_500), 1))
    assert looks[-1] == pytest.approx(127, abs=12), 'no white wall'


def test_after_a_pause_it_is_another_scene() -> None:
    converter = FrameConverter()
    luma(raw('mono16', ramp(29_000, 30_000).astype(np.uint16), at_s=10.0), converter)
    look = luma(raw('mono16', ramp(29_300, 29_600).astype(np.uint16), at_s=20.0), converter)
    assert look.max() - look.min() > 200


@pytest.mark.parametrize('pixel_format', ['gray', 'ya8', 'pal8', 'monob', 'rgb24', 'rgba'])
def test_png_of_8_bits_and_less_is_shown_as_it_is(pixel_format: str) -> None:
    grey = ramp(40, 90).astype(np.uint8)
    opaque = np.full_like(grey, 255)
    channels = {'ya8': [grey, opaque], 'rgb24': [grey] * 3, 'rgba': [grey] * 3 + [opaque]}
    if pixel_format == 'monob':
        values, grey = np.packbits(grey > 60, axis=1), (grey > 60) * 255
    else:
        values = np.stack(channels.get(pixel_format, [grey]), -1)
    assert np.abs(luma(png(values, pixel_format)) - grey).max() <= 3


LARGEST = float(np.finfo(np.float32).max)
ODD_DISTANCES = [
    *(LARGEST, 1e16, 5e15, 1e9, 1e-45, 0.0, -0.0, -1.0, -LARGEST, np.inf, -np.inf, np.nan),
    *(1.0, 9.99, 10.0, 65.0),
]


@pytest.mark.parametrize('value', ODD_DISTANCES)
@pytest.mark.parametrize('share', [0.0, 0.01, 0.5])
def test_no_distance_keeps_a_picture_from_being_shown(value: float, share: float) -> None:
    values = np.full((HEIGHT, WIDTH), value, np.float32)
    values.flat[: int(share * values.size)] = 2.0
    converter = FrameConverter()
    for number in range(3):
        look = luma(raw('32FC1', values, at_s=number * PERIOD_S), converter)
    assert not np.isnan(look).any()
    # It does not affect the following ones.
    room = ramp(0.5, 6.0).astype(np.float32)
    look = luma(raw('32FC1', room, at_s=100.0), converter)
    assert np.abs(look - luma(raw('32FC1', room))).max() <= 3


def test_any_mixture_of_odd_distances_is_shown() -> None:
    random = np.random.default_rng(7)
    converter = FrameConverter()
    for number in range(200):
        few = random.choice(ODD_DISTANCES, size=random.integers(1, 5)).astype(np.float32)
        values = random.choice(few, size=(HEIGHT, WIDTH)).astype(np.float32)
        luma(raw('32FC1', values, at_s=number * PERIOD_S), converter)


@pytest.mark.parametrize('encoding', ['mono16', '16UC1', '16SC1'])
def test_any_mixture_of_odd_values_is_shown(encoding: str) -> None:
    random = np.random.default_rng(7)
    converter = FrameConverter()
    odd = [0, 1, 255, 256, 32767, 32768, 65534, 65535]
    for number in range(200):
        few = random.choice(odd, size=random.integers(1, 5))
        values = random.choice(few, size=(HEIGHT, WIDTH)).astype(np.uint16)
        luma(raw(encoding, values, at_s=number * PERIOD_S), converter)
