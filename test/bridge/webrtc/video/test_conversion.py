"""Tests of every encoding against a reference in numpy."""

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

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from av.video.reformatter import VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader, MAX_PICTURE_PX
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import DEPTH_RANGE_M, FrameConverter
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS

Array = np.ndarray[Any, Any]
BLOCK = 16
"""Side of a patch of one colour in pixels; its middle is compared."""
RGB = sorted(name for name in PIXEL_FORMATS if name.startswith(('rgb', 'bgr', '8UC3', '8UC4')))
GREY = ['mono8', '8UC1', 'mono16', '16SC1']
YUV = ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21', 'nv24']
BAYER = sorted(name for name in PIXEL_FORMATS if name.startswith('bayer'))
DEPTH = ['16UC1', '32FC1']
WIDE = [name for name, pixel in PIXEL_FORMATS.items() if pixel.sample_bytes > 1]


def scene(columns: int = 6, rows: int = 4, *, width: int = 0, height: int = 0) -> Array:
    """Return patches of random colours ``[row, column, R G B]``, cropped to a size."""
    source = np.random.default_rng(7)
    patches = source.integers(20, 236, (rows, columns, 3)).astype(np.uint8)
    whole = patches.repeat(BLOCK, 0).repeat(BLOCK, 1)
    return whole[: height or None, : width or None]


def to_yuv(rgb: Array) -> Array:
    """Return BT.601 values of limited range in full resolution."""
    red, green, blue = np.moveaxis(rgb.astype(float) / 255.0, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = (
        16.0 + 219.0 * luma,
        128.0 + 224.0 * (blue - luma) / 1.772,
        128.0 + 224.0 * (red - luma) / 1.402,
    )
    return np.stack([plane.round() for plane in planes], axis=-1).astype(np.uint8)


def packed_422(rgb: Array, order: tuple[int, int]) -> list[Array]:
    """Return rows of luma and alternating U and V; ``order``: their places."""
    yuv = to_yuv(rgb)
    rows = np.zeros((*rgb.shape[:2], 2), np.uint8)
    rows[..., order[0]] = yuv[..., 0]
    rows[:, 0::2, order[1]] = yuv[:, 0::2, 1]
    rows[:, 1::2, order[1]] = yuv[:, 0::2, 2][:, : rows.shape[1] // 2]
    return [rows]


def two_planes(rgb: Array, share: int, *, swapped: bool = False) -> list[Array]:
    yuv = to_yuv(rgb)
    chroma = yuv[::share, ::share, 1:]
    return [yuv[..., 0], chroma[..., ::-1] if swapped else chroma]


def mosaic(rgb: Array, order: str, *, wide: bool) -> list[Array]:
    rows = np.zeros(rgb.shape[:2], np.uint8)
    for number, colour in enumerate(order):
        right, down = number % 2, number // 2
        rows[down::2, right::2] = rgb[down::2, right::2, 'rgb'.index(colour)]
    return [widened(rows)] if wide else [rows]


def widened(values: Array) -> Array:
    """Return 16-bit samples whose lower byte is random."""
    return values.astype(np.uint16) * 256 + 77


def ordered(rgb: Array, order: str) -> Array:
    opaque = np.full(rgb.shape[:2], 255, np.uint8)
    return np.stack([opaque if c == 'a' else rgb[..., 'rgb'.index(c)] for c in order], axis=-1)


def drawn(encoding: str, rgb: Array) -> list[Array]:
    """Return the planes of a scene, each an array ``[row, ...]``."""
    grey = np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    draw: dict[str, Callable[[], list[Array]]] = {
        'mono8': lambda: [grey],
        '8UC1': lambda: [grey],
        'mono16': lambda: [widened(grey)],
        '16SC1': lambda: [(widened(grey) ^ 0x8000).view(np.int16)],
        '8UC3': lambda: [ordered(rgb, 'bgr')],
        '8UC4': lambda: [ordered(rgb, 'bgra')],
        'yuv422': lambda: packed_422(rgb, (1, 0)),
        'uyvy': lambda: packed_422(rgb, (1, 0)),
        'yuv422_yuy2': lambda: packed_422(rgb, (0, 1)),
        'yuyv': lambda: packed_422(rgb, (0, 1)),
        'nv12': lambda: two_planes(rgb, 2),
        'nv21': lambda: two_planes(rgb, 2, swapped=True),
        'nv24': lambda: two_planes(rgb, 1),
    }
    if encoding in draw:
        return draw[encoding]()
    if encoding.startswith('bayer'):
        return mosaic(rgb, encoding[6:10], wide=encoding.endswith('16'))
    samples = ordered(rgb, encoding.rstrip('0123456789'))
    return [widened(samples) if encoding.endswith('16') else samples]


def frame_of(
    encoding: str, planes: list[Array], *, padding: int = 0, is_bigendian: bool = False
) -> Frame:
    """Return a frame as the ROS half writes it, with conspicuous padding bytes."""
    height, width = planes[0].shape[:2]
    parts, step = [], 0
    for plane in planes:
        swapped = plane.astype(plane.dtype.newbyteorder('>')) if is_bigendian else plane
        rows = np.frombuffer(swapped.tobytes(), np.uint8).reshape(len(plane), -1)
        step = step or rows.shape[1] + padding
        full = np.full((len(rows), -(-rows.shape[1] // step) * step), 0x5A, np.uint8)
        full[:, : rows.shape[1]] = rows
        parts.append(full.tobytes())
    return frame_with(
        b''.join(parts), encoding, width, height, step=step, is_bigendian=is_bigendian
    )


def frame_with(
    data: bytes, encoding: str, width: int, height: int, *, step: int = 0, **more: bool
) -> Frame:
    header = FrameHeader(
        capture_s=0.0, width=width, height=height, step=step, encoding=encoding, **more
    )
    return Frame(sequence=1, header=header, data=memoryview(data), is_intact=lambda: True)


def convert(frame: Frame, *, max_width_px: int = 4096, scale: float = 1.0) -> av.VideoFrame:
    picture = FrameConverter().convert(frame, max_width_px=max_width_px, scale=scale)
    assert picture is not None
    assert picture.format.name == 'yuv420p'
    return picture


def seen(picture: av.VideoFrame) -> Array:
    """Return the planes in full resolution, ``[row, column, Y U V]``."""
    planes = []
    for number, plane in enumerate(picture.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        rows = rows[: plane.height, : plane.width]
        planes.append(rows if number == 0 else rows.repeat(2, 0).repeat(2, 1))
    return np.stack(planes, axis=-1)


def middles(yuv: Array) -> Array:
    return yuv[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].astype(int)


def assert_shows(picture: av.VideoFrame, rgb: Array, *, colour: bool = True) -> None:
    wanted, found = middles(to_yuv(rgb)), middles(seen(picture))
    if not colour:
        wanted[..., 1:] = 128
    assert np.abs(found - wanted).max() <= 3


@pytest.mark.parametrize('padding', [0, 6, 1])
@pytest.mark.parametrize('encoding', [*RGB, *GREY, *YUV, *BAYER])
def test_the_picture_is_what_the_camera_saw(encoding: str, padding: int) -> None:
    rgb = scene()
    picture = convert(frame_of(encoding, drawn(encoding, rgb), padding=padding))
    assert (picture.width, picture.height) == (rgb.shape[1], rgb.shape[0])
    assert_shows(picture, rgb, colour=encoding not in GREY)


@pytest.mark.parametrize('encoding', [name for name in WIDE if name not in DEPTH])
def test_big_endian_samples_are_read_as_such(encoding: str) -> None:
    rgb = scene()
    frame = frame_of(encoding, drawn(encoding, rgb), padding=2, is_bigendian=True)
    assert_shows(convert(frame), rgb, colour=encoding not in GREY)


@pytest.mark.parametrize('encoding', [*RGB, *GREY, *YUV, *BAYER])
def test_a_larger_picture_is_scaled_down(encoding: str) -> None:
    rgb = scene().repeat(2, 0).repeat(2, 1)
    picture = convert(frame_of(encoding, drawn(encoding, rgb)), max_width_px=rgb.shape[1] // 2)
    assert_shows(picture, scene(), colour=encoding not in GREY)


@pytest.mark.parametrize('encoding', [*RGB, *GREY])
def test_an_odd_size_is_made_even_by_repeating_the_edge(encoding: str) -> None:
    # The last patches are nine pixels wide and high, which includes their middle.
    rgb = scene(width=6 * BLOCK - 7, height=4 * BLOCK - 7)
    picture = convert(frame_of(encoding, drawn(encoding, rgb), padding=3))
    assert (picture.width, picture.height) == (6 * BLOCK - 6, 4 * BLOCK - 6)
    assert_shows(picture, rgb, colour=encoding not in GREY)
    pixels = seen(picture).astype(int)
    assert np.abs(pixels[:, -1] - pixels[:, -3]).max() <= 3
    assert np.abs(pixels[-1] - pixels[-3]).max() <= 3


@pytest.mark.parametrize('encoding', [*YUV, *BAYER])
def test_half_a_cell_of_shared_colour_is_cut_off(encoding: str) -> None:
    even = scene()
    planes = drawn(encoding, even)
    width = even.shape[1]
    frame = frame_of(encoding, planes)
    header = FrameHeader(
        capture_s=0.0,
        width=width - 1,
        height=even.shape[0] - (encoding in BAYER),
        step=frame.header.step,
        encoding=encoding,
    )
    odd = Frame(sequence=1, header=header, data=frame.data, is_intact=lambda: True)
    picture = convert(odd)
    assert picture.width == width - 2
    assert picture.height == even.shape[0] - 2 * (encoding in BAYER)
    assert_shows(picture, even[: picture.height, : picture.width])


@pytest.mark.parametrize('encoding', sorted(PIXEL_FORMATS))
def test_the_smallest_picture_is_converted(encoding: str) -> None:
    pixel = PIXEL_FORMATS[encoding]
    width, height = pixel.grid
    step = width * pixel.bytes_per_pixel
    data = bytes(pixel.data_bytes(step, height))
    picture = convert(frame_with(data, encoding, width, height, step=step))
    assert (picture.width, picture.height) == (2, 2)


@pytest.mark.parametrize('is_bigendian', [False, True])
@pytest.mark.parametrize('encoding', DEPTH)
def test_depth_is_grey_the_nearer_the_brighter(encoding: str, is_bigendian: bool) -> None:
    metres = np.array([[0.0, 0.1, DEPTH_RANGE_M / 2, DEPTH_RANGE_M, 3 * DEPTH_RANGE_M, 0.0]])
    unit_m = PIXEL_FORMATS[encoding].depth_unit_m
    kind = np.uint16 if encoding == '16UC1' else np.float32
    values = (metres / unit_m).astype(kind).repeat(BLOCK, 0).repeat(BLOCK, 1)
    picture = convert(frame_of(encoding, [values], padding=4, is_bigendian=is_bigendian))
    found = middles(seen(picture))[0]
    full_range = (found[:, 0] - 16) * 255 / 219
    assert full_range == pytest.approx([0, 252, 128, 1, 1, 0], abs=2.5)
    assert (found[:, 1:] == 128).all()


def test_depth_that_is_no_number_is_black_and_beyond_is_nearly_black() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, -1.0, 1e38, 1.0]], np.float32)
    picture = convert(frame_of('32FC1', [values.repeat(BLOCK, 0).repeat(BLOCK, 1)]))
    found = middles(seen(picture))[0, :, 0]
    assert found.tolist() == pytest.approx([16, 17, 16, 16, 17, 213], abs=1)


@pytest.mark.parametrize('encoding', sorted(PIXEL_FORMATS))
def test_too_few_bytes_are_refused_and_not_read_beyond(encoding: str) -> None:
    pixel = PIXEL_FORMATS[encoding]
    step = 4 * pixel.bytes_per_pixel
    data = bytes(pixel.data_bytes(step, 4) - 1)
    with pytest.raises(ValueError, match='bytes for'):
        convert(frame_with(data, encoding, 4, 4, step=step))


def test_size_and_encoding_may_change_with_every_frame() -> None:
    converter = FrameConverter()
    shots = [(name, scene(width=width)) for width in (96, 64, 32) for name in ('bgr8', *YUV)]
    shots += [('png', scene()), ('jpeg', scene(width=64)), ('mono16', scene())]
    for encoding, rgb in shots:
        compressed = encoding in ('png', 'jpeg')
        frame = (
            compressed_frame(encoding, rgb)
            if compressed
            else frame_of(encoding, drawn(encoding, rgb))
        )
        picture = converter.convert(frame, max_width_px=4096, scale=1.0)
        assert picture is not None
        assert_shows(picture, rgb, colour=encoding != 'mono16')


# --- JPEG and PNG ------------------------------------------------------------------------------


def compressed(encoding: str, rgb: Array, pixel_format: str = '') -> bytes:
    name = {'jpeg': 'mjpeg', 'png': 'png'}[encoding]
    context: Any = av.CodecContext.create(name, 'w')
    context.pix_fmt = pixel_format or {'jpeg': 'yuvj420p', 'png': 'rgb24'}[encoding]
    context.width, context.height = rgb.shape[1], rgb.shape[0]
    context.time_base = Fraction(1, 30)
    context.options = {'qmin': '1', 'qmax': '1'} if encoding == 'jpeg' else {}
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format='rgb24')
    picture = VideoReformatter().reformat(picture, format=context.pix_fmt)
    picture.pts = 0
    return b''.join(bytes(packet) for packet in context.encode(picture) + context.encode(None))


def compressed_frame(encoding: str, rgb: Array, pixel_format: str = '') -> Frame:
    data = compressed(encoding, rgb, pixel_format)
    return frame_with(data, encoding, rgb.shape[1], rgb.shape[0])


@pytest.mark.parametrize(
    ('encoding', 'pixel_format'),
    [
        ('jpeg', 'yuvj420p'),
        ('jpeg', 'yuvj422p'),
        ('jpeg', 'yuvj444p'),
        ('png', 'rgb24'),
        ('png', 'rgba'),
        ('png', 'rgb48be'),
    ],
)
@pytest.mark.parametrize('cut', [0, 7])
def test_compressed_pictures_are_decoded(encoding: str, pixel_format: str, cut: int) -> None:
    rgb = scene(width=6 * BLOCK - cut, height=4 * BLOCK - cut)
    picture = convert(compressed_frame(encoding, rgb, pixel_format))
    assert (picture.width, picture.height) == (
        6 * BLOCK - cut + cut % 2,
        4 * BLOCK - cut + cut % 2,
    )
    assert_shows(picture, rgb)


def test_a_large_compressed_picture_is_scaled_down_in_the_limited_range() -> None:
    white = np.full((64, 96, 3), 255, np.uint8)
    picture = convert(compressed_frame('jpeg', white), max_width_px=48)
    assert (picture.width, picture.height) == (48, 32)
    assert np.abs(seen(picture).astype(int) - (235, 128, 128)).max() <= 1


@pytest.mark.parametrize('encoding', ['jpeg', 'png'])
def test_a_broken_picture_is_refused_and_the_next_good_one_is_shown(encoding: str) -> None:
    converter = FrameConverter()
    rgb = scene()
    good = compressed_frame(encoding, rgb)
    data = bytes(good.data)
    for broken in (data[: len(data) // 2], data[:40], b'', b'\xff\xd8' + bytes(100)):
        with pytest.raises(PictureUndecodable, match=encoding):
            converter.convert(frame_with(broken, encoding, 96, 64), max_width_px=96, scale=1.0)
        picture = converter.convert(good, max_width_px=96, scale=1.0)
        assert picture is not None
        assert_shows(picture, rgb)


def test_the_decoder_itself_refuses_what_would_fill_the_memory() -> None:
    data = bytearray(compressed('jpeg', scene()))
    start = data.index(b'\xff\xc0')
    data[start + 5 : start + 9] = b'\xff\xff\xff\xff'
    assert MAX_PICTURE_PX < 0xFFFF * 0xFFFF
    with pytest.raises(PictureUndecodable):
        convert(frame_with(bytes(data), 'jpeg', 96, 64))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), encoding=st.sampled_from(['jpeg', 'png']))
def test_no_damage_does_more_than_lose_the_picture(data: st.DataObject, encoding: str) -> None:
    damaged = bytearray(COMPRESSED[encoding])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    frame = frame_with(bytes(damaged), encoding, 96, 64)
    try:
        picture = FrameConverter().convert(frame, max_width_px=96, scale=1.0)
    except PictureUndecodable:
        return
    assert picture is not None
    assert picture.width % 2 == picture.height % 2 == 0


COMPRESSED = {encoding: compressed(encoding, scene()) for encoding in ('jpeg', 'png')}


@pytest.mark.parametrize('encoding', ['bgr8', 'nv12', 'jpeg'])
def test_a_frame_that_is_overwritten_meanwhile_is_left_out(encoding: str) -> None:
    rgb = scene()
    whole = (
        compressed_frame(encoding, rgb)
        if encoding == 'jpeg'
        else frame_of(encoding, drawn(encoding, rgb))
    )
    torn = Frame(sequence=1, header=whole.header, data=whole.data, is_intact=lambda: False)
    assert FrameConverter().convert(torn, max_width_px=96, scale=1.0) is None
