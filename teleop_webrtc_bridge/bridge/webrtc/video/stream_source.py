"""A camera's own H.264 on its way to the operator: neither decoded nor encoded."""

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
from fractions import Fraction
import logging
import time
from typing import Any, Final

import av

from teleop_webrtc_bridge.bridge.link.packet_ring import PacketReader, Unit
from teleop_webrtc_bridge.bridge.webrtc.video.cameras import CameraFeed, Cameras
from teleop_webrtc_bridge.bridge.webrtc.video.compressor import CLOCK_RATE
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import EncodedFrame, MediaClock, VideoEncoder
from teleop_webrtc_bridge.bridge.webrtc.video.placeholder import grey_frame
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController
from teleop_webrtc_bridge.bridge.webrtc.video.stream_state import (
    KeyframeWait,
    StreamBitrate,
    Thinning,
)
from teleop_webrtc_bridge.core.exceptions import EncoderUnusable

__all__ = ['StreamSource']

OVER: Final = 0.9
"""The link carries too little if it is less than this part of the stream."""

_logger = logging.getLogger(__name__)


class StreamSource:
    """
    One camera that encodes by itself; a :class:`.camera_track.VideoSource`.

    Begins with a keyframe, also after everything that was left out.

    :param feed: The camera.
    :param cameras: Announce what comes from it.
    :param encoder: Encodes the grey that is shown while nobody watches.
    :param rate: Says what the link carries.
    :param clock: Of the stream that is sent.
    :param counters: Gets ``passed_on``, ``skipped`` (too late), ``over_link`` (the link carries
        less than the stream has), ``thinned`` (left out for that reason), ``keyframes_late``,
        ``encoder_failures`` (of the grey).
    """

    def __init__(
        self,
        feed: CameraFeed,
        cameras: Cameras,
        *,
        encoder: VideoEncoder,
        rate: RateController,
        clock: MediaClock,
        counters: Counter[str],
    ) -> None:
        self._name = feed.configuration.name
        self._reader = PacketReader(feed.memory)
        self._cameras = cameras
        self._encoder = encoder
        self._rate = rate
        self._clock = clock
        self._counters = counters
        self._wait = KeyframeWait()
        self._bitrate = StreamBitrate()
        self._thinning = Thinning()
        self._link_bps = 0.0
        self._is_whole = False
        """Whether everything was sent since the last keyframe."""
        self._skipped = 0
        self._told: set[str] = set()

    def begin(self) -> None:
        self._reader.restart()
        self._forget()

    def request_keyframe(self) -> None:
        self._wait.ask(time.monotonic())

    def figures(self) -> dict[str, float]:
        stream_bps = self._bitrate.bps()
        figures = {'stream_bps': stream_bps, 'link_bps': self._link_bps} if stream_bps else {}
        if self._wait.interval_s is not None:
            figures['keyframe_interval_s'] = round(self._wait.interval_s, 2)
        return figures

    async def next_unit(self) -> EncodedFrame | None:
        self._cameras.news.clear()
        now = time.monotonic()
        unit = self._reader.next(now)
        self._counters['skipped'] += self._reader.skipped - self._skipped
        self._skipped = self._reader.skipped
        if unit is None:
            await self._cameras.news.wait()
            return None
        if not unit.data:
            return await self._grey(unit, now)
        return self._pass_on(unit, now)

    def close(self) -> None:
        """Free nothing: the memory is the camera's."""

    def _forget(self) -> None:
        """Take what comes as something else than what came before."""
        self._is_whole = False
        self._wait.forget()
        self._bitrate.forget()

    def _pass_on(self, unit: Unit, now: float) -> EncodedFrame | None:
        self._bitrate.note(len(unit.data), now)
        self._judge_keyframes(unit, now)
        only_keyframes = self._judge_link(now)
        if unit.keyframe:
            self._is_whole = True
        elif only_keyframes or not self._is_whole:
            self._is_whole = False
            self._counters['thinned'] += 1
            return None
        packet: av.Packet[Any] = av.Packet(unit.data)
        packet.pts, packet.time_base = self._clock.pts(unit.capture_s), Fraction(1, CLOCK_RATE)
        self._counters['passed_on'] += 1
        return EncodedFrame(packet=packet, capture_s=unit.capture_s)

    def _judge_keyframes(self, unit: Unit, now: float) -> None:
        waited_s = self._wait.passed(unit.keyframe, now)
        if waited_s is None:
            return
        self._counters['keyframes_late'] = self._wait.late
        interval_s = self._wait.interval_s
        cadence = f'every {interval_s:.1f} s' if interval_s else 'none since it began'
        self._tell_once(
            'keyframe_late',
            f'camera={self._name} waited_s={waited_s:.1f} keyframes="{cadence}" hint="who begins '
            "to watch, or loses a packet, sees nothing until the camera's next keyframe: set its "
            'keyframe interval (GOP) to one second"',
        )

    def _judge_link(self, now: float) -> bool:
        """Return whether the link carries so little that keyframes go alone."""
        stream_bps = self._bitrate.bps()
        if not stream_bps:
            return self._thinning.is_on
        self._link_bps = self._rate.carries(stream_bps, now)
        if self._link_bps < OVER * stream_bps:
            self._counters['over_link'] += 1
            self._tell_once(
                'stream_too_large',
                f'camera={self._name} stream_bps={stream_bps:.0f} link_bps={self._link_bps:.0f} '
                'hint="nothing here can make it smaller: lower the bitrate of the camera"',
            )
        return self._thinning.follow(self._link_bps, stream_bps, now)

    async def _grey(self, unit: Unit, now: float) -> EncodedFrame | None:
        """Encode grey: nobody watches."""
        self._forget()
        target = self._rate.target(self._encoder.full_pixels, now)
        frame = grey_frame(unit)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                None, lambda: self._encoder.encode(frame, target, keyframe=True)
            )
        except (av.FFmpegError, ValueError, EncoderUnusable) as error:
            self._counters['encoder_failures'] += 1
            self._tell_once('encoder_failed', f'error={error!r}')
            self._encoder.reset()
            return None

    def _tell_once(self, event: str, text: str) -> None:
        if event not in self._told:
            self._told.add(event)
            _logger.warning('event=%s %s', event, text)
