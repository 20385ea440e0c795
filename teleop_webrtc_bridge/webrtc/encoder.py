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

"""
From a frame in the slot to a compressed packet: conversion and the encoder's settings.

aiortc would encode by itself, at x264's preset *medium*: a whole core for 720p at 30 Hz. So the
track hands over packets, and everything about quality, rate and latency is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast, Final

import av
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
import numpy as np

from teleop_webrtc_bridge.configuration import VideoConfiguration
from teleop_webrtc_bridge.link.frame_slot import Frame
from teleop_webrtc_bridge.pixel_formats import PIXEL_FORMATS

__all__ = ['EncodedFrame', 'VideoEncoder']

CLOCK_RATE: Final = 90_000
"""RTP's clock for video (RFC 6184 §8.2.1)."""
KEYFRAME_INTERVAL: Final = 300
"""Frames; viewers ask for keyframes when they need one."""
#: A frame may take this part of a second of the bitrate: none waits long behind its predecessor.
BUFFER_S: Final = Fraction(1, 6)

#: superfast costs a fifth of medium, for 2 dB of PSNR at most (docs/performance.md).
_H264: Final = {'preset': 'superfast', 'tune': 'zerolatency'}
_VP8: Final = {
    'deadline': 'realtime',
    'cpu-used': '-8',
    'lag-in-frames': '0',
    'error-resilient': '1',
    'noise-sensitivity': '0',
    'static-thresh': '1',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFrame:
    """One access unit, and when its picture was taken."""

    packet: av.Packet[Any]
    capture_s: float
    """Seconds of ``time.monotonic``."""


class VideoEncoder:
    """
    Encodes the frames of one peer connection; used by one thread at a time.

    :param codec: The negotiated codec's MIME type, ``video/H264`` or ``video/VP8``.
    :param video: Bitrate, rate and size.
    """

    def __init__(self, codec: str, video: VideoConfiguration) -> None:
        self._codec = codec.lower()
        self._video = video
        self._reformatter = VideoReformatter()
        self._context: av.VideoCodecContext | None = None
        self._origin_s: float | None = None
        self._last_pts = -1
        self.size = (0, 0)
        """Width and height of the last encoded frame, in pixels."""

    def encode(self, frame: Frame, *, keyframe: bool) -> EncodedFrame | None:
        """
        Convert and encode a frame.

        :param keyframe: A viewer needs a keyframe.
        :returns: ``None`` if the frame was overwritten while it was read: a newer one is there.
        :raises av.FFmpegError: The encoder failed; :meth:`reset` before the next frame.
        """
        picture = self._reformatter.reformat(
            wrap(frame), *self._target_size(frame), format='yuv420p'
        )
        if not frame.is_intact():
            return None
        context = self._context_for(picture)
        picture.pts = self._pts(frame.header.capture_s)
        picture.time_base = Fraction(1, CLOCK_RATE)
        picture.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = context.encode(picture)
        if not packets:
            return None
        packet = packets[0] if len(packets) == 1 else av.Packet(b''.join(map(bytes, packets)))
        packet.pts, packet.time_base = picture.pts, Fraction(1, CLOCK_RATE)
        return EncodedFrame(packet=packet, capture_s=frame.header.capture_s)

    def reset(self) -> None:
        """Begin with a new encoder, and so with a keyframe."""
        self._context = None

    def _target_size(self, frame: Frame) -> tuple[int, int]:
        """Return the encoded size: at most the configured width, both even (4:2:0)."""
        width, height = frame.header.width, frame.header.height
        scale = min(1.0, self._video.max_width_px / width)
        return max(2, int(width * scale) & ~1), max(2, round(height * scale) & ~1)

    def _pts(self, capture_s: float) -> int:
        """Return a time stamp that always rises, even where the camera's stamps do not."""
        if self._origin_s is None:
            self._origin_s = capture_s
        pts = max(self._last_pts + 1, round((capture_s - self._origin_s) * CLOCK_RATE))
        self._last_pts = pts
        return pts

    def _context_for(self, picture: av.VideoFrame) -> av.VideoCodecContext:
        size = (picture.width, picture.height)
        if self._context is None or self.size != size:
            self._context = self._open(*size)
            self.size = size
        return self._context

    def _open(self, width: int, height: int) -> av.VideoCodecContext:
        is_h264 = self._codec == 'video/h264'
        name = 'libx264' if is_h264 else 'libvpx'
        context = cast(av.VideoCodecContext, av.CodecContext.create(name, 'w'))
        context.width, context.height = width, height
        context.pix_fmt = 'yuv420p'
        context.bit_rate = self._video.bitrate_bps
        context.time_base = Fraction(1, CLOCK_RATE)
        context.framerate = Fraction(self._video.fps).limit_denominator(1000)
        context.gop_size = KEYFRAME_INTERVAL
        context.thread_count = 1
        rate = {
            'maxrate': str(self._video.bitrate_bps),
            'bufsize': str(int(self._video.bitrate_bps * BUFFER_S)),
        }
        if is_h264:
            context.profile = 'Baseline'
        else:
            rate |= {'minrate': rate['maxrate']}
        context.options = (_H264 if is_h264 else _VP8) | rate
        return context


def wrap(frame: Frame) -> av.VideoFrame:
    """Return the frame as FFmpeg sees it, in place where PyAV can."""
    header = frame.header
    pixel = PIXEL_FORMATS[header.encoding]
    rows: Any = np.frombuffer(frame.data, np.uint8).reshape(header.height, header.step)
    rows = rows[:, : header.width * pixel.bytes_per_pixel]
    if pixel.bytes_per_pixel == 2:
        picture = av.VideoFrame(header.width, header.height, pixel.name)
        plane = picture.planes[0]
        target = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * header.height]
        target.reshape(header.height, plane.line_size)[:, : rows.shape[1]] = rows
        return picture
    if pixel.bytes_per_pixel > 1:
        shape = (header.height, header.width, pixel.bytes_per_pixel)
        strides = (header.step, pixel.bytes_per_pixel, 1)
        rows = np.lib.stride_tricks.as_strided(rows, shape, strides)
    return av.VideoFrame.from_numpy_buffer(rows, format=pixel.name)
