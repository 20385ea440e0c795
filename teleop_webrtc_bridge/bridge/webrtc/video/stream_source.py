"""
The video source that passes on a camera's own H.264, neither decoded nor encoded.

Nothing here can change when keyframes come or how many bits a picture has; pictures can only be
left out (:class:`Thinning`).
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

import asyncio
from collections import Counter, deque
from fractions import Fraction
import logging
import time
from typing import Any, Final

import av

from teleop_webrtc_bridge.bridge.link.frame_slot import grey_frame
from teleop_webrtc_bridge.bridge.link.packet_ring import PacketReader, Unit
from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeed, CameraFeeds
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import (
    CLOCK_RATE,
    EncodedFrame,
    MediaClock,
    VideoEncoder,
)
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController
from teleop_webrtc_bridge.core.exceptions import EncoderUnusable

__all__ = ['KeyframeWait', 'StreamBitrate', 'StreamSource', 'Thinning']

OVERDUE_S: Final = 1.2
"""A keyframe that was requested longer ago is late; at one keyframe per second, none is late."""
PAUSE_S: Final = 1.0
"""After such a pause, the viewer was not waiting for a keyframe but for any picture."""
WINDOW_S: Final = 2.0
SHORTEST_WINDOW_S: Final = 0.5

CONGESTED: Final = 0.7
"""Share of the stream that the link must carry: below it, most pictures would be lost."""
CONGESTED_S: Final = 2.0
RELIEVED: Final = 0.95
SOON_S: Final = 10.0
FIRST_TRIAL_S: Final = 5.0
LONGEST_TRIAL_S: Final = 30.0
"""How long, at most, only keyframes are sent before all pictures are tried again."""
OVER: Final = 0.9
"""The stream is too large if the link carries less than this share of it."""

_logger = logging.getLogger(__name__)


class StreamSource:
    """
    The stream of one camera that encodes by itself.

    It begins with a keyframe, and again after each gap.

    :param feed: The camera.
    :param cameras: Announces its pictures.
    :param encoder: Encodes the grey placeholder that is shown while nobody watches.
    :param rate: Estimates how much the link carries.
    :param clock: Makes the time stamps of the stream.
    :param counters: Gets ``passed_on``, ``skipped`` (too late), ``over_link`` (the stream is too
        large for the link), ``thinned`` (left out for that reason), ``keyframes_late``,
        ``encoder_failures`` (of the placeholder).
    """

    def __init__(
        self,
        feed: CameraFeed,
        cameras: CameraFeeds,
        *,
        encoder: VideoEncoder,
        rate: RateController,
        clock: MediaClock,
        counters: Counter[str],
    ) -> None:
        self._name = feed.name
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

    def _forget(self) -> None:
        """Treat the following pictures as a new stream."""
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
            f'camera={self._name} waited_s={waited_s:.1f} keyframes="{cadence}" hint="an '
            "operator who joins or loses a packet sees nothing until the camera's next keyframe: "
            'set its keyframe interval (GOP) to one second"',
        )

    def _judge_link(self, now: float) -> bool:
        """Return whether the link carries so little that only keyframes are sent."""
        stream_bps = self._bitrate.bps()
        if not stream_bps:
            return self._thinning.is_on
        self._link_bps = self._rate.carries(stream_bps, now)
        if self._link_bps < OVER * stream_bps:
            self._counters['over_link'] += 1
            self._tell_once(
                'stream_too_large',
                f'camera={self._name} stream_bps={stream_bps:.0f} link_bps={self._link_bps:.0f} '
                'hint="the bridge cannot make it smaller: lower the bitrate of the camera"',
            )
        return self._thinning.follow(self._link_bps, stream_bps, now)

    async def _grey(self, unit: Unit, now: float) -> EncodedFrame | None:
        """Encode the placeholder: nobody watches."""
        self._forget()
        target = self._rate.target(self._encoder.full_pixels, now)
        frame = grey_frame(unit.width, unit.height, unit.capture_s, sequence=unit.sequence)
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


class KeyframeWait:
    """Measures how long a requested keyframe takes; every ``now`` is in seconds."""

    def __init__(self) -> None:
        self.late = 0
        """How many keyframes came late or are overdue."""
        self.interval_s: float | None = None
        """Time between the last two keyframes."""
        self._keyframe_s: float | None = None
        self._asked_s: float | None = None
        self._picture_s = float('-inf')
        self._is_late = False

    def ask(self, now: float) -> None:
        """Note a request for a keyframe."""
        if self._asked_s is None:
            self._asked_s, self._is_late = now, False

    def passed(self, keyframe: bool, now: float) -> float | None:
        """
        Note a picture.

        :returns: How long a keyframe has been awaited, once per keyframe that is late.
        """
        waited_s = None
        if self._asked_s is not None and now - self._picture_s > PAUSE_S:
            self._asked_s = now
        self._picture_s = now
        if self._asked_s is not None and now - self._asked_s > OVERDUE_S and not self._is_late:
            self._is_late = True
            self.late += 1
            waited_s = now - self._asked_s
        if keyframe:
            if self._keyframe_s is not None:
                self.interval_s = now - self._keyframe_s
            self._keyframe_s, self._asked_s = now, None
        return waited_s

    def forget(self) -> None:
        """Begin anew: the stream was interrupted."""
        self._keyframe_s = None


class StreamBitrate:
    """Measures the recent bitrate of a stream; every ``now`` is in seconds."""

    def __init__(self) -> None:
        self._sizes: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def note(self, size: int, now: float) -> None:
        """Note a picture and its size in bytes."""
        self._sizes.append((now, size))
        self._bytes += size
        while self._sizes[0][0] < now - WINDOW_S:
            self._bytes -= self._sizes.popleft()[1]

    def bps(self) -> float:
        """Return bits per second; 0.0 while they are not known."""
        if not self._sizes:
            return 0.0
        first_s, first_size = self._sizes[0]
        span_s = self._sizes[-1][0] - first_s
        return 8.0 * (self._bytes - first_size) / span_s if span_s > SHORTEST_WINDOW_S else 0.0

    def forget(self) -> None:
        """Begin anew: the stream was interrupted."""
        self._sizes.clear()
        self._bytes = 0


class Thinning:
    """
    Decides whether only keyframes are sent because the stream is far too large for the link.

    Most of the other pictures would be lost, and the rest would be garbage. All pictures are tried
    again after a while, because a link that is hardly used shows little of its capacity.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._since_s: float | None = None
        """When thinning began, or when the link became too narrow."""
        self._trial_s = FIRST_TRIAL_S
        self._ended_s = float('-inf')

    def follow(self, link_bps: float, stream_bps: float, now: float) -> bool:
        """
        Return whether to send keyframes only.

        :param now: In seconds.
        """
        if self.is_on:
            assert self._since_s is not None
            is_over = link_bps >= RELIEVED * stream_bps or now - self._since_s >= self._trial_s
            if is_over:
                self.is_on, self._since_s, self._ended_s = False, None, now
            return self.is_on
        if not stream_bps or link_bps >= CONGESTED * stream_bps:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now
        if now - self._since_s >= CONGESTED_S:
            soon = now - self._ended_s < SOON_S
            self._trial_s = min(2 * self._trial_s, LONGEST_TRIAL_S) if soon else FIRST_TRIAL_S
            self.is_on, self._since_s = True, now
        return self.is_on
