"""Tests of the time stamp strip, read from the decoded picture."""

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

import dataclasses
from typing import Any

import av
import numpy as np
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import VideoEncoder
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import Target
from teleop_webrtc_bridge.core.configuration import VideoConfiguration

AHEAD_S = 1_700_000_000.123
NARROW_BPS = 150_000
VIDEO = VideoConfiguration(
    codec='h264',
    bitrate_bps=NARROW_BPS,
    fps=30.0,
    max_width_px=1280,
    encoder='libx264',
    stamp_ahead_s=AHEAD_S,
)
TARGET = Target(bitrate_bps=NARROW_BPS, fps=30.0, scale=1.0)
CODECS = pytest.mark.parametrize('codec', ['video/H264', 'video/VP8'])


def noise(capture_s: float, *, width: int = 640, height: int = 360) -> Frame:
    """Return a frame that uses all available bits."""
    source = np.random.default_rng(round(capture_s * 1000))
    data = memoryview(source.integers(0, 255, (height, width), np.uint8).tobytes())
    header = FrameHeader(
        capture_s=capture_s, width=width, height=height, step=width, encoding='mono8'
    )
    return Frame(sequence=1, header=header, data=data, is_intact=lambda: True)


def read_strip(picture: av.VideoFrame) -> int:
    """Return the milliseconds in the last 16 rows."""
    grey = picture.to_ndarray(format='gray').astype(int)
    cells = [int(grey[-8, 16 * number + 8] > 128) for number in range(26)]
    assert cells[:4] == [1, 0, 1, 0]
    return int(''.join(map(str, cells[4:])), 2)


def decoder(codec: str) -> Any:
    return av.CodecContext.create({'video/H264': 'h264', 'video/VP8': 'vp8'}[codec], 'r')


@CODECS
@pytest.mark.parametrize('height', [360, 359, 242])
def test_the_strip_tells_when_the_picture_was_taken_also_with_few_bits(
    codec: str, height: int
) -> None:
    encoder, viewer = VideoEncoder(codec, VIDEO), decoder(codec)
    for number in range(20):
        capture_s = 50.0 + number / 30
        encoded = encoder.encode(noise(capture_s, height=height), TARGET, keyframe=False)
        assert encoded is not None
        (picture,) = viewer.decode(av.Packet(bytes(encoded.packet)))
        assert (picture.width, picture.height) == (640, height + height % 2 + 16)
        assert read_strip(picture) == round(1e3 * (capture_s + AHEAD_S)) % 2**22


@pytest.mark.parametrize(
    ('video', 'size', 'shown'),
    [
        (VIDEO, (415, 100), (416, 116)),
        (VIDEO, (414, 100), (414, 100)),
        (dataclasses.replace(VIDEO, max_width_px=320), (640, 480), (320, 240)),
        (dataclasses.replace(VIDEO, stamp_ahead_s=None), (640, 480), (640, 480)),
    ],
)
def test_only_pictures_that_are_wide_enough_have_one_and_only_if_it_is_wanted(
    video: VideoConfiguration, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    encoder = VideoEncoder('video/H264', video)
    encoder.encode(noise(50.0, width=size[0], height=size[1]), TARGET, keyframe=False)
    assert encoder.size == shown
    assert encoder.full_pixels == pytest.approx(shown[0] * shown[1], abs=17 * shown[0])
