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

from collections.abc import Iterator
import dataclasses
import itertools
import os
from typing import Any

import av
import numpy as np
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import (
    create_slot,
    Frame,
    FrameHeader,
    FrameReader,
    FrameWriter,
)
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import (
    EncodedFrame,
    open_encoder,
    VideoEncoder,
)
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import Target
from teleop_webrtc_bridge.core.configuration import VideoConfiguration
from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS

CODECS = pytest.mark.parametrize('codec', ['video/H264', 'video/VP8'])
DECODERS = {'video/H264': 'h264', 'video/VP8': 'vp8'}
SETTINGS = VideoConfiguration(codec='h264', bitrate_bps=2_000_000, fps=30.0, max_width_px=1280)
FULL = Target(bitrate_bps=2_000_000, fps=30.0, scale=1.0)

DRAWN = sorted(
    name
    for name, pixel in PIXEL_FORMATS.items()
    if pixel.sample_bytes == 1 and not pixel.chroma_rows
)
"""Encodings that the camera below can draw; test_conversion.py has all of them."""


class Camera:
    """Writes grey pictures into a slot; the newest one is encoded."""

    def __init__(self, slot: int, wake: int) -> None:
        self.writer = FrameWriter(slot, wake)
        self.reader = FrameReader(slot)
        self.capture_s = 50.0

    def shoot(
        self,
        width: int = 320,
        height: int = 240,
        *,
        encoding: str = 'bgr8',
        grey: int = 128,
        padding: int = 0,
        interval_s: float = 1 / 30,
    ) -> Frame:
        self.capture_s += interval_s
        pixel = PIXEL_FORMATS[encoding]
        step = width * pixel.bytes_per_pixel + padding
        rows = np.full((height, step), grey, np.uint8)
        if encoding in ('yuv422', 'uyvy'):
            rows[:, : width * 2 : 2] = 128  # no colour; the odd bytes are the brightness
        elif encoding in ('yuyv', 'yuv422_yuy2'):
            rows[:, 1 : width * 2 : 2] = 128
        if padding:
            rows[:, -padding:] = 255 - grey
        header = FrameHeader(
            capture_s=self.capture_s, width=width, height=height, step=step, encoding=encoding
        )
        self.writer.write(header, memoryview(rows.tobytes()))
        frame = self.reader.newest()
        assert frame is not None
        return frame


@pytest.fixture
def camera() -> Iterator[Camera]:
    slot, wake = create_slot(), os.eventfd(0, os.EFD_NONBLOCK)
    camera = Camera(slot, wake)
    yield camera
    camera.writer.close()
    os.close(slot)
    os.close(wake)


class Viewer:
    """Decodes the encoder's output as a browser would."""

    def __init__(self, codec: str) -> None:
        self._decoder = av.CodecContext.create(DECODERS[codec], 'r')

    def see(self, encoded: EncodedFrame | None) -> av.VideoFrame:
        assert encoded is not None
        frames = self._decoder.decode(av.Packet(bytes(encoded.packet)))
        assert len(frames) == 1, 'one packet is one picture, without delay'
        return frames[0]


def brightness(picture: av.VideoFrame) -> float:
    return float(picture.to_ndarray(format='gray').mean())


@CODECS
def test_each_picture_is_decoded_as_it_was_shown(camera: Camera, codec: str) -> None:
    encoder, viewer = VideoEncoder(codec, SETTINGS), Viewer(codec)
    for number in range(30):
        grey = 60 + 5 * number
        picture = viewer.see(encoder.encode(camera.shoot(grey=grey), FULL, keyframe=False))
        assert (picture.width, picture.height) == (320, 240)
        assert brightness(picture) == pytest.approx(grey, abs=6)


@CODECS
@pytest.mark.parametrize('encoding', DRAWN)
@pytest.mark.parametrize('padding', [0, 24])
def test_every_encoding_and_padding_is_encoded(
    camera: Camera, codec: str, encoding: str, padding: int
) -> None:
    encoder, viewer = VideoEncoder(codec, SETTINGS), Viewer(codec)
    frame = camera.shoot(encoding=encoding, grey=90, padding=padding)
    picture = viewer.see(encoder.encode(frame, FULL, keyframe=False))
    assert brightness(picture) == pytest.approx(90, abs=16)
    # A padding byte in the picture would be a bright dot.
    pixels = picture.to_ndarray(format='gray').astype(int)
    assert int(pixels.max() - pixels.min()) < 16


@CODECS
@pytest.mark.parametrize(
    ('size', 'encoded'),
    [
        ((641, 479), (642, 480)),
        ((640, 480), (640, 480)),
        ((1, 1), (2, 2)),
        ((3, 2), (4, 2)),
        ((2560, 1440), (1280, 720)),
        ((1921, 1081), (1280, 720)),
        ((1280, 721), (1280, 722)),
    ],
)
def test_the_encoded_size_is_even_and_within_the_largest_width(
    camera: Camera, codec: str, size: tuple[int, int], encoded: tuple[int, int]
) -> None:
    encoder = VideoEncoder(codec, SETTINGS)
    picture = Viewer(codec).see(encoder.encode(camera.shoot(*size), FULL, keyframe=False))
    assert (picture.width, picture.height) == encoded
    assert encoder.size == encoded


def test_a_narrow_largest_width_scales_and_keeps_the_shape(camera: Camera) -> None:
    narrow = VideoConfiguration(codec='h264', bitrate_bps=500_000, fps=30.0, max_width_px=333)
    encoder = VideoEncoder('video/H264', narrow)
    encoded = encoder.encode(camera.shoot(1280, 720), FULL, keyframe=False)
    picture = Viewer('video/H264').see(encoded)
    assert (picture.width, picture.height) == (332, 186)


@CODECS
def test_size_and_encoding_may_change_in_the_middle(camera: Camera, codec: str) -> None:
    encoder, viewer = VideoEncoder(codec, SETTINGS), Viewer(codec)
    last_pts = -1
    for width, height, encoding, grey in (
        (320, 240, 'bgr8', 50),
        (640, 480, 'bgr8', 100),
        (640, 480, 'mono8', 150),
        (322, 242, 'yuyv', 200),
        (320, 240, 'rgba8', 70),
    ):
        for number in range(3):
            shot = camera.shoot(width, height, encoding=encoding, grey=grey)
            encoded = encoder.encode(shot, FULL, keyframe=False)
            picture = viewer.see(encoded)
            assert encoded is not None
            assert (picture.width, picture.height) == (width, height)
            assert brightness(picture) == pytest.approx(grey, abs=16), number
            assert encoded.packet.pts is not None
            assert encoded.packet.pts > last_pts
            last_pts = encoded.packet.pts


@CODECS
def test_a_keyframe_comes_when_it_is_asked_for(camera: Camera, codec: str) -> None:
    encoder = VideoEncoder(codec, SETTINGS)
    for number in range(20):
        asked = number in (7, 15)
        encoded = encoder.encode(camera.shoot(grey=100 + number), FULL, keyframe=asked)
        assert encoded is not None
        # A viewer who joins now sees a picture only from a keyframe on.
        newcomer = av.CodecContext.create(DECODERS[codec], 'r')
        try:
            seen = bool(newcomer.decode(av.Packet(bytes(encoded.packet))))
        except av.FFmpegError:
            seen = False
        assert seen == (number == 0 or asked), number


@CODECS
def test_time_stamps_always_rise_even_when_the_cameras_do_not(camera: Camera, codec: str) -> None:
    encoder = VideoEncoder(codec, SETTINGS)
    stamps = []
    for interval_s in (0.0, 1 / 30, 0.0, 0.0, -5.0, 1 / 30, 7.0, 1e-9):
        encoded = encoder.encode(camera.shoot(interval_s=interval_s), FULL, keyframe=False)
        assert encoded is not None
        stamps.append(encoded.packet.pts)
    assert all(later > earlier for earlier, later in itertools.pairwise(stamps))


def test_time_stamps_follow_the_capture_time_at_90_khz(camera: Camera) -> None:
    encoder = VideoEncoder('video/H264', SETTINGS)
    first = encoder.encode(camera.shoot(), FULL, keyframe=False)
    second = encoder.encode(camera.shoot(interval_s=0.5), FULL, keyframe=False)
    assert first is not None
    assert second is not None
    assert second.packet.pts - first.packet.pts == 45_000
    assert second.packet.time_base.denominator == 90_000
    assert second.capture_s == camera.capture_s


@CODECS
def test_a_torn_frame_is_left_out_and_the_next_one_is_encoded(camera: Camera, codec: str) -> None:
    encoder, viewer = VideoEncoder(codec, SETTINGS), Viewer(codec)
    torn = camera.shoot(grey=50)
    newest = torn
    while torn.is_intact():
        newest = camera.shoot(grey=200)
    assert encoder.encode(torn, FULL, keyframe=False) is None
    picture = viewer.see(encoder.encode(newest, FULL, keyframe=False))
    assert brightness(picture) == pytest.approx(200, abs=6)


@CODECS
def test_after_a_reset_the_stream_begins_with_a_keyframe_and_later_stamps(
    camera: Camera, codec: str
) -> None:
    encoder = VideoEncoder(codec, SETTINGS)
    before = encoder.encode(camera.shoot(), FULL, keyframe=False)
    encoder.reset()
    after = encoder.encode(camera.shoot(grey=77), FULL, keyframe=False)
    assert before is not None
    assert after is not None
    assert after.packet.pts > before.packet.pts
    assert brightness(Viewer(codec).see(after)) == pytest.approx(77, abs=6)


def test_the_bitrate_is_kept(camera: Camera) -> None:
    encoder = VideoEncoder('video/H264', SETTINGS)
    source = np.random.default_rng(1)
    size = 0
    for number in range(60):
        noise = source.integers(0, 255, (240, 320 * 3), np.uint8)
        header = FrameHeader(
            capture_s=100.0 + number / 30, width=320, height=240, step=960, encoding='bgr8'
        )
        camera.writer.write(header, memoryview(noise.tobytes()))
        frame = camera.reader.newest()
        assert frame is not None
        encoded = encoder.encode(frame, FULL, keyframe=False)
        assert encoded is not None
        size += len(bytes(encoded.packet))
    assert size * 8 / 2.0 == pytest.approx(SETTINGS.bitrate_bps, rel=0.35)


def test_nothing_bad_can_be_taken_for_a_good_frame(camera: Camera) -> None:
    encoder = VideoEncoder('video/H264', SETTINGS)
    good = camera.shoot()
    header = FrameHeader(capture_s=0.0, width=4, height=4, step=12, encoding='32SC1')
    unknown = Frame(sequence=1, header=header, data=memoryview(bytes(48)), is_intact=lambda: True)
    with pytest.raises(KeyError):
        encoder.encode(unknown, FULL, keyframe=False)
    assert encoder.encode(good, FULL, keyframe=False) is not None


def test_a_picture_that_was_left_out_makes_the_next_one_no_larger(camera: Camera) -> None:
    """When a camera becomes slower, each picture gets more bits."""
    told: dict[str, list[int]] = {'slower': [], 'left out': []}
    software = dataclasses.replace(SETTINGS, encoder='libx264')
    half = Target(bitrate_bps=1_000_000, fps=30.0, scale=1.0)
    for case, bitrates in told.items():
        contexts: list[Any] = []

        def opened(*arguments: Any, contexts: list[Any] = contexts) -> Any:
            contexts.append(open_encoder(*arguments))
            return contexts[-1]

        encoder = VideoEncoder('video/H264', software, open_encoder=opened)
        encoder.encode(camera.shoot(), half, keyframe=False)
        for _ in range(20):
            if case == 'left out':
                encoder.left_out()
            encoder.encode(camera.shoot(interval_s=0.1), half, keyframe=False)
            bitrates.append(contexts[-1].bit_rate)
    assert max(told['slower']) > 1_500_000
    assert set(told['left out'][1:]) == {1_000_000}
