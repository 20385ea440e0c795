"""The robot's picture as a WebRTC track, whatever the cameras give."""

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

from collections import Counter
import logging
import time
from typing import Any, Protocol

from aiortc import MediaStreamTrack
import av

from teleop_webrtc_bridge.bridge.webrtc.video.cameras import Cameras
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import EncodedFrame, MediaClock, VideoEncoder
from teleop_webrtc_bridge.bridge.webrtc.video.picture_source import PictureSource
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController
from teleop_webrtc_bridge.bridge.webrtc.video.stream_source import StreamSource
from teleop_webrtc_bridge.core.configuration import CameraKind, VideoConfiguration
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['CameraTrack', 'VideoSource']

_logger = logging.getLogger(__name__)


class VideoSource(Protocol):
    """Makes access units of what the shown cameras of one kind give; owned by the event loop."""

    def begin(self) -> None:
        """Take over from another source: with a keyframe."""

    def request_keyframe(self) -> None:
        """Send a keyframe as soon as there can be one."""

    def figures(self) -> dict[str, float]:
        """Return what the link makes of the stream, by name."""

    async def next_unit(self) -> EncodedFrame | None:
        """
        Return the next access unit; never raises.

        :returns: ``None`` if there was none, or no more of it than waiting for something to
            happen: ask again, maybe another source.
        """

    def close(self) -> None:
        """Free what it has."""


class CameraTrack(MediaStreamTrack):
    """
    Hands aiortc one access unit after the other.

    If ``recv`` raised, the video would be dead for good while the connection stays up.

    :param cameras: Where the pictures come from.
    :param rate: Says how many bits, frames and pixels to send; told what was sent.
    """

    kind = 'video'

    def __init__(self, cameras: Cameras, rate: RateController) -> None:
        super().__init__()
        self.counters: Counter[str] = Counter()
        """What became of the pictures."""
        self.capture_s = 0.0
        """When the last frame was taken, in seconds of ``time.monotonic``."""
        self._cameras = cameras
        self._rate = rate
        self._clock = MediaClock()
        self.codec = VideoCodec.H264
        """What the last packet is of."""
        self._pictures: PictureSource | None = None
        self._chosen = self.codec
        self._streams: dict[str, StreamSource] = {}
        """By the camera's name; none if the codec is another than the cameras'."""
        self._present: VideoSource | None = None

    def figures(self) -> dict[str, float]:
        """Return what the link makes of the stream, by name, and what is made of the pictures."""
        if self._present is None:
            return {}
        coded = any(feed.configuration.kind is CameraKind.H264 for feed in self._cameras.shown)
        return self._present.figures() | {
            'video_is_vp8': float(self.codec is VideoCodec.VP8),
            'decoded_again': float(coded and self._present is self._pictures),
        }

    def use(self, codec: str, video: VideoConfiguration) -> None:
        """
        Send this codec from now on, beginning with a keyframe; called before the first frame.

        :param codec: Its MIME type.
        """
        self._close_sources()
        self._chosen = VideoCodec(codec.lower().removeprefix('video/'))
        encoder = VideoEncoder(codec, video, clock=self._clock)
        self._pictures = PictureSource(
            self._cameras,
            encoder,
            max_width_px=video.max_width_px,
            rate=self._rate,
            counters=self.counters,
        )
        self._streams = {}
        coded = [feed for feed in self._cameras.all if feed.configuration.kind is CameraKind.H264]
        if self._chosen is VideoCodec.H264 and video.stamp_ahead_s is None:
            self._streams = {
                feed.name: StreamSource(
                    feed,
                    self._cameras,
                    encoder=VideoEncoder(codec, video, clock=self._clock),
                    rate=self._rate,
                    clock=self._clock,
                    counters=self.counters,
                )
                for feed in coded
            }
        elif coded:
            for feed in coded:
                feed.forget_decoded()
            _logger.warning(
                'event=decoding codec=%s hint="what the camera encoded is decoded and encoded '
                'again, which takes processor time: H.264 would be passed on, if the media '
                "backend and the operator's browser take it, video_codec is h264 and "
                'video_stamp_strip is not set"',
                codec,
            )
        # Whoever waits for the older source's news looks at the newer one.
        self._cameras.news.set()

    def request_keyframe(self) -> None:
        """Make the next frame a keyframe."""
        if self._present is not None:
            self._present.request_keyframe()

    async def recv(self) -> av.Packet[Any]:
        """Return the next packet; waits for as long as there is no new frame."""
        while True:
            source, codec = self._source(), self._chosen
            unit = await source.next_unit()
            if unit is not None:
                self.codec = codec
                self.capture_s = unit.capture_s
                self._rate.sent(unit.packet.size, time.monotonic())
                return unit.packet

    def _source(self) -> VideoSource:
        """Return who makes access units of what is shown now."""
        assert self._pictures is not None
        source: VideoSource = self._pictures
        if len(self._cameras.shown) == 1:
            source = self._streams.get(self._cameras.shown[0].configuration.name, source)
        if source is not self._present:
            source.begin()
            self._present = source
        return source

    def stop(self) -> None:
        super().stop()
        self._close_sources()

    def _close_sources(self) -> None:
        for source in (self._pictures, *self._streams.values()):
            if source is not None:
                source.close()
