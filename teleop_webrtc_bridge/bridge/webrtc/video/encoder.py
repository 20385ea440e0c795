"""
From a frame in the slot to a compressed packet: conversion, and which encoder compresses it.

aiortc would encode by itself, at x264's preset *medium*: a whole core for 720p at 30 Hz. So the
track hands over packets; how they are made, :mod:`.compressor` says.
"""

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

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
import logging
from typing import Any, Final

import av

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame
from teleop_webrtc_bridge.bridge.webrtc.video.compressor import (
    CLOCK_RATE,
    Compressor,
    encoder_names,
    open_encoder,
    OpenEncoder,
)
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import Target
from teleop_webrtc_bridge.bridge.webrtc.video.stamp_strip import append_strip
from teleop_webrtc_bridge.core.configuration import VideoConfiguration
from teleop_webrtc_bridge.core.exceptions import EncoderUnusable

__all__ = ['EncodedFrame', 'MediaClock', 'VideoEncoder']

USUAL_SHAPE: Final = 16 / 9
USUAL_INTERVAL_S: Final = 1.0
"""A longer one between two frames is a pause, not a frame rate."""
INTERVAL_SMOOTHING: Final = 0.1
SLOWEST_PART: Final = 1 / 3
"""Of the frame rate: bits of frames that do not come are not saved up without end."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFrame:
    """One access unit, and when its picture was taken."""

    packet: av.Packet[Any]
    capture_s: float
    """Seconds of ``time.monotonic``."""


class MediaClock:
    """The time stamps of one stream, whatever its packets come from."""

    def __init__(self) -> None:
        self._origin_s: float | None = None
        self._last_pts = -1

    def pts(self, capture_s: float) -> int:
        """Return a time stamp that always rises, even where the camera's stamps do not."""
        if self._origin_s is None:
            self._origin_s = capture_s
        pts = max(self._last_pts + 1, round((capture_s - self._origin_s) * CLOCK_RATE))
        self._last_pts = pts
        return pts


class VideoEncoder:
    """
    Encodes the frames of one peer connection; used by one thread at a time.

    One encoder after the other is tried, and one that fails is not tried again: the last one is
    in software and always works.

    :param codec: The negotiated codec's MIME type, ``video/H264`` or ``video/VP8``.
    :param video: Bitrate, rate and size.
    :param clock: Of the stream that the packets are for; ``None``: they make up all of it.
    :param open_encoder: Sets up FFmpeg's encoder of a name.
    """

    def __init__(
        self,
        codec: str,
        video: VideoConfiguration,
        *,
        clock: MediaClock | None = None,
        open_encoder: OpenEncoder = open_encoder,
    ) -> None:
        self._video = video
        self._open_encoder = open_encoder
        self._names = deque(encoder_names(codec, video.encoder))
        self._converter = FrameConverter()
        self._compressor: Compressor | None = None
        self._clock = clock or MediaClock()
        self._last_capture_s = float('-inf')
        self._interval_s = 1.0 / video.fps
        self._waiting: deque[tuple[int, float]] = deque()
        """Time stamp and capture time of the pictures that the encoder has."""
        self.size = (0, 0)
        """Width and height of the last encoded frame, in pixels."""
        self.full_pixels = round(video.max_width_px**2 / USUAL_SHAPE)
        """How many a picture has at full size; a guess before the first one."""

    @property
    def name(self) -> str:
        """The encoder in use, as FFmpeg calls it."""
        return self._names[0]

    def encode(
        self, frame: Frame, target: Target, *, keyframe: bool, max_width_px: int | None = None
    ) -> EncodedFrame | None:
        """
        Convert and encode a frame.

        :param keyframe: A viewer needs a keyframe.
        :param max_width_px: Instead of the one that all of the video has.
        :returns: ``None`` if the frame was overwritten while it was read: a newer one is there.
        :raises av.FFmpegError: The last encoder failed; :meth:`reset` before the next frame.
        :raises EncoderUnusable: The same.
        :raises PictureUndecodable: The frame is a broken JPEG or PNG.
        """
        picture = self._converter.convert(
            frame, max_width_px=max_width_px or self._video.max_width_px, scale=target.scale
        )
        if picture is None:
            return None
        return self.encode_picture(picture, frame.header.capture_s, target, keyframe=keyframe)

    def encode_picture(
        self, picture: av.VideoFrame, capture_s: float, target: Target, *, keyframe: bool
    ) -> EncodedFrame | None:
        """
        Encode a picture that is converted already.

        :param picture: As :class:`FrameConverter` makes them, of the target's scale.
        :param capture_s: When it was taken, in seconds of ``time.monotonic``.
        :returns: ``None`` if the encoder keeps it for now.
        :raises av.FFmpegError: As :meth:`encode`.
        :raises EncoderUnusable: As :meth:`encode`.
        """
        self.full_pixels = round(picture.width * picture.height / target.scale**2)
        if self._video.stamp_ahead_s is not None:
            picture = append_strip(picture, capture_s + self._video.stamp_ahead_s)
        self._note_interval(capture_s)
        picture.pts = self._clock.pts(capture_s)
        picture.time_base = Fraction(1, CLOCK_RATE)
        self._waiting.append((picture.pts, capture_s))
        data = self._compress(picture, target, keyframe=keyframe)
        if not data:
            return None
        pts, capture_s = self._waiting.popleft()
        packet = av.Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, CLOCK_RATE)
        return EncodedFrame(packet=packet, capture_s=capture_s)

    def left_out(self) -> None:
        """Note that a picture was not encoded: the time to the next one tells nothing."""
        self._last_capture_s = float('-inf')

    def reset(self) -> None:
        """Begin with a new encoder, and so with a keyframe."""
        self._compressor = None
        self._waiting.clear()

    def _compress(self, picture: av.VideoFrame, target: Target, *, keyframe: bool) -> bytes:
        while True:
            try:
                compressor = self._compressor_for(picture, target)
                return compressor.compress(picture, keyframe=keyframe)
            except (av.FFmpegError, ValueError, EncoderUnusable) as error:
                if len(self._names) == 1:
                    raise
                _logger.info('event=encoder_left name=%s reason=%r', self.name, str(error))
                self._names.popleft()
                self._forget_older_pictures()

    def _forget_older_pictures(self) -> None:
        """Leave the present encoder, and what it still has, for the newest picture."""
        newest = self._waiting[-1]
        self.reset()
        self._waiting.append(newest)

    def _compressor_for(self, picture: av.VideoFrame, target: Target) -> Compressor:
        size = (picture.width, picture.height)
        fps = self._fps(target)
        present = self._compressor
        stays = present is not None and present.size == size
        if present is not None and stays and present.follow(target.bitrate_bps, fps):
            return present
        if present is not None:
            self._forget_older_pictures()
        self._compressor = Compressor(
            self.name,
            size=size,
            bitrate_bps=target.bitrate_bps,
            highest_bps=max(self._video.bitrate_bps, target.bitrate_bps),
            fps=fps,
            open_encoder=self._open_encoder,
        )
        self.size = size
        _logger.debug('event=encoder_opened name=%s size=%r', self.name, size)
        return self._compressor

    def _note_interval(self, capture_s: float) -> None:
        interval_s = capture_s - self._last_capture_s
        self._last_capture_s = capture_s
        if 0.0 < interval_s < USUAL_INTERVAL_S:
            self._interval_s += INTERVAL_SMOOTHING * (interval_s - self._interval_s)

    def _fps(self, target: Target) -> float:
        """Return the frame rate as it is: a camera may be slower than is asked for."""
        return min(max(1.0 / self._interval_s, SLOWEST_PART * target.fps), target.fps)
