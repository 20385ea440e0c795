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

"""The robot's camera as a WebRTC track: always the newest frame, encoded when it is asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
import logging
import os
import time
from typing import Any, Final

from aiortc import MediaStreamTrack
import av

from teleop_webrtc_bridge.exceptions import EncoderUnusable, PictureUndecodable
from teleop_webrtc_bridge.link.frame_slot import Frame, FrameReader
from teleop_webrtc_bridge.webrtc.encoder import EncodedFrame, VideoEncoder
from teleop_webrtc_bridge.webrtc.rate_control import Pace, RateController, Target

__all__ = ['CameraTrack', 'FrameFeed']

KEYFRAME_PERIOD_S: Final = 0.3
"""A keyframe is as large as several frames: a broker that asks more often gets no more of them."""

_logger = logging.getLogger(__name__)


class FrameFeed:
    """
    The frame slot, as the event loop sees it.

    :param slot: Descriptor of the shared memory.
    :param wake: Descriptor of the eventfd that announces frames.
    """

    def __init__(self, slot: int, wake: int) -> None:
        self._reader = FrameReader(slot)
        self._wake = wake
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(wake, self._on_wake)

    def _on_wake(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return  # a previous WebRTC process took the notice
        self._arrived.set()

    async def newer_than(self, sequence: int) -> Frame:
        """Wait for a frame other than the one of this sequence number and return the newest."""
        while True:
            self._arrived.clear()
            frame = self._reader.newest()
            if frame is not None and frame.sequence != sequence:
                return frame
            await self._arrived.wait()


class CameraTrack(MediaStreamTrack):
    """
    Hands aiortc one encoded frame after the other.

    If ``recv`` raised, the video would be dead for good while the connection stays up: so an
    encoder that fails is replaced, and the frame is skipped.

    :param feed: Where the frames come from.
    :param rate: Says how many bits, frames and pixels to send; told what was sent.
    """

    kind = 'video'

    def __init__(self, feed: FrameFeed, rate: RateController) -> None:
        super().__init__()
        self.counters: Counter[str] = Counter()
        """``encoded``, ``encoder_failures``, ``undecodable``, ``torn``, ``skipped`` (too late)."""
        self.target: Target | None = None
        """What the last frame was encoded for."""
        self.capture_s = 0.0
        """When the last frame was taken, in seconds of ``time.monotonic``."""
        self._feed = feed
        self._rate = rate
        self._pace = Pace()
        self._encoder: VideoEncoder | None = None
        self._keyframe = True
        self._keyframe_s = float('-inf')
        self._sequence = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='encoder')

    def use(self, encoder: VideoEncoder) -> None:
        """Encode with this one; called when the codec is known, before the first frame is sent."""
        self._encoder = encoder

    def request_keyframe(self) -> None:
        """Make the next frame a keyframe."""
        self._keyframe = True

    async def recv(self) -> av.Packet[Any]:
        """Return the next packet; waits for as long as there is no new frame."""
        assert self._encoder is not None
        while True:
            frame = await self._feed.newer_than(self._sequence)
            if self._sequence:
                self.counters['skipped'] += frame.sequence - self._sequence - 1
            self._sequence = frame.sequence
            target = self._rate.target(self._encoder.full_pixels, time.monotonic())
            self.target = target
            if not self._pace.is_due(frame.header.capture_s, target.fps):
                continue
            encoded = await self._encode(self._encoder, frame, target)
            if encoded is not None:
                self.counters['encoded'] += 1
                self.capture_s = encoded.capture_s
                self._rate.sent(encoded.packet.size, time.monotonic())
                return encoded.packet

    def _take_keyframe_request(self) -> bool:
        """Return whether the next frame is to be a keyframe; one too many waits."""
        now = time.monotonic()
        if not self._keyframe or now - self._keyframe_s < KEYFRAME_PERIOD_S:
            return False
        self._keyframe, self._keyframe_s = False, now
        return True

    async def _encode(
        self, encoder: VideoEncoder, frame: Frame, target: Target
    ) -> EncodedFrame | None:
        keyframe = self._take_keyframe_request()
        loop = asyncio.get_running_loop()
        try:
            encoded = await loop.run_in_executor(
                self._thread, lambda: encoder.encode(frame, target, keyframe=keyframe)
            )
        except PictureUndecodable as error:
            self.counters['undecodable'] += 1
            if self.counters['undecodable'] == 1:
                _logger.warning('event=picture_undecodable reason=%r', str(error))
            encoded = None
        except (av.FFmpegError, ValueError, KeyError, EncoderUnusable) as error:
            self.counters['encoder_failures'] += 1
            if self.counters['encoder_failures'] == 1:
                _logger.error('event=encoder_failed error=%r', error)
            encoder.reset()
            encoded = None
        self.counters['torn'] += encoded is None
        if keyframe and encoded is None:
            self._keyframe, self._keyframe_s = True, float('-inf')
        return encoded

    def stop(self) -> None:
        super().stop()
        self._thread.shutdown(wait=False)
