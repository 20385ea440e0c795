"""The video source for uncompressed pictures: it encodes the newest ones on demand."""

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

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
import logging
import time
from typing import Final

import av

from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds
from teleop_webrtc_bridge.bridge.webrtc.video.composer import capture_of, Composer, Part
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import EncodedFrame, VideoEncoder
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController, Target
from teleop_webrtc_bridge.core.exceptions import EncoderUnusable, PictureUndecodable
from teleop_webrtc_bridge.core.frame_pacer import FramePacer

__all__ = ['PictureSource']

KEYFRAME_PERIOD_S: Final = 0.3
"""Keyframes are at least this far apart: each is as large as several other frames."""

PACE_TOLERANCE: Final = 0.4
"""Fraction of the frame interval by which a camera may jitter."""

_logger = logging.getLogger(__name__)


class PictureSource:
    """
    Encodes the pictures of the cameras that are shown.

    An encoder that fails is replaced, and the frame is skipped.

    :param cameras: The cameras.
    :param encoder: Encodes their pictures.
    :param max_width_px: Width of the whole picture.
    :param rate: Decides bitrate, frame rate and size.
    :param counters: Gets ``encoded``, ``encoder_failures``, ``undecodable``, ``torn``,
        ``skipped`` (too late), ``held_back`` (it would wait in a queue).
    """

    def __init__(
        self,
        cameras: CameraFeeds,
        encoder: VideoEncoder,
        *,
        max_width_px: int,
        rate: RateController,
        counters: Counter[str],
    ) -> None:
        self.target: Target | None = None
        self._cameras = cameras
        self._encoder = encoder
        self._rate = rate
        self._counters = counters
        self._pacer = FramePacer(PACE_TOLERANCE)
        self._keyframe = True
        self._keyframe_s = float('-inf')
        self._width_px = max_width_px
        self._composer = Composer(max_width_px)
        self._sequences: dict[str, int] = {}
        """Sequence number of the last frame of each camera that is shown."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='encoder')

    def begin(self) -> None:
        self.request_keyframe()

    def request_keyframe(self) -> None:
        self._keyframe = True

    def figures(self) -> dict[str, float]:
        if self.target is None:
            return {}
        return {
            'video_target_bps': float(self.target.bitrate_bps),
            'video_target_fps': self.target.fps,
            'video_scale': self.target.scale,
        }

    async def next_unit(self) -> EncodedFrame | None:
        self._cameras.news.clear()
        parts = self._parts()
        sequences = {part.camera: part.frame.sequence for part in parts}
        if not parts or sequences == self._sequences:
            await self._cameras.news.wait()
            return None
        # Other cameras are shown, or one has stalled. There may be no later frame to show that.
        is_news = sequences.keys() != self._sequences.keys() or any(
            part.frame.header.is_filler and part.frame.sequence != self._sequences[part.camera]
            for part in parts
        )
        if is_news:
            self._pacer = FramePacer(PACE_TOLERANCE)
        self._count_skipped(sequences)
        self._sequences = sequences
        now = time.monotonic()
        target = self._rate.target(self._encoder.full_pixels, now)
        self.target = target
        if not self._pacer.is_due(capture_of(parts), target.fps):
            return None
        if self._rate.holds_back(now) and not is_news:
            self._counters['held_back'] += 1
            self._encoder.left_out()
            return None
        return await self._encode(parts, target)

    def _parts(self) -> list[Part]:
        """Return the newest frame of each camera that is shown; none until all have one."""
        feeds = self._cameras.shown
        parts = [
            Part(camera=feed.name, frame=frame, max_width_px=feed.max_width_px or self._width_px)
            for feed in feeds
            if (frame := feed.newest()) is not None
        ]
        return parts if len(parts) == len(feeds) else []

    def _count_skipped(self, sequences: dict[str, int]) -> None:
        for camera, sequence in sequences.items():
            last = self._sequences.get(camera, sequence)
            self._counters['skipped'] += max(0, sequence - last - 1)

    def _take_keyframe_request(self) -> bool:
        """Return whether the next frame has to be a keyframe; not more often than allowed."""
        now = time.monotonic()
        if not self._keyframe or now - self._keyframe_s < KEYFRAME_PERIOD_S:
            return False
        self._keyframe, self._keyframe_s = False, now
        return True

    async def _encode(self, parts: Sequence[Part], target: Target) -> EncodedFrame | None:
        keyframe = self._take_keyframe_request()
        loop = asyncio.get_running_loop()
        try:
            encoded = await loop.run_in_executor(
                self._thread, lambda: self._encode_now(parts, target, keyframe=keyframe)
            )
        except (PictureUndecodable, ArithmeticError) as error:
            self._counters['undecodable'] += 1
            if self._counters['undecodable'] == 1:
                _logger.warning('event=picture_undecodable reason=%r', str(error))
            encoded = None
        except (av.FFmpegError, ValueError, KeyError, EncoderUnusable) as error:
            self._counters['encoder_failures'] += 1
            if self._counters['encoder_failures'] == 1:
                _logger.error('event=encoder_failed error=%r', error)
            self._encoder.reset()
            encoded = None
        self._counters['undecodable'] += self._composer.take_undecodable()
        self._counters['torn'] += encoded is None
        self._counters['encoded'] += encoded is not None
        if keyframe and encoded is None:
            self._keyframe, self._keyframe_s = True, float('-inf')
        return encoded

    def _encode_now(
        self, parts: Sequence[Part], target: Target, *, keyframe: bool
    ) -> EncodedFrame | None:
        """Convert and encode; runs in the encoder's thread."""
        if len(parts) == 1:
            (part,) = parts
            return self._encoder.encode(
                part.frame, target, keyframe=keyframe, max_width_px=part.max_width_px
            )
        picture = self._composer.compose(parts, target.scale)
        if picture is None:
            return None
        return self._encoder.encode_picture(picture, capture_of(parts), target, keyframe=keyframe)

    def close(self) -> None:
        self._thread.shutdown(wait=False)
