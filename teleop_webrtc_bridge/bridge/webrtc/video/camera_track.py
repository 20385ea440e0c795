"""The robot's WebRTC video track: it picks the source that makes its packets."""

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
from typing import Any

from aiortc import MediaStreamTrack
import av

from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import MediaClock, VideoEncoder
from teleop_webrtc_bridge.bridge.webrtc.video.picture_source import PictureSource
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController
from teleop_webrtc_bridge.bridge.webrtc.video.stream_source import StreamSource
from teleop_webrtc_bridge.core.configuration import VideoConfiguration
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['CameraTrack', 'VideoSource']

_logger = logging.getLogger(__name__)


#: Makes access units from the cameras that are shown. ``next_unit`` never raises; after ``None``,
#: the track asks again, since another source may be the right one by then.
VideoSource = PictureSource | StreamSource


class CameraTrack(MediaStreamTrack):
    """
    Gives aiortc one access unit after the other.

    ``recv`` must not raise: the video would end for good while the connection stays up.

    :param cameras: The cameras.
    :param rate: Decides bitrate, frame rate and size, and learns what was sent.
    """

    kind = 'video'

    def __init__(self, cameras: CameraFeeds, rate: RateController) -> None:
        super().__init__()
        self.counters: Counter[str] = Counter()
        """How many pictures were sent, skipped, undecodable and so on."""
        self.capture_s = 0.0
        """Capture time of the last frame, in seconds of ``time.monotonic``."""
        self._cameras = cameras
        self._rate = rate
        self._clock = MediaClock()
        self.codec = VideoCodec.H264
        """The codec of the last packet."""
        self._pictures: PictureSource | None = None
        self._chosen = self.codec
        self._streams: dict[str, StreamSource] = {}
        """Sources that pass on a camera's own H.264, by its name; none for other codecs."""
        self._present: VideoSource | None = None

    def figures(self) -> dict[str, float]:
        """Return the source's figures, the codec, and whether H.264 is decoded again."""
        if self._present is None:
            return {}
        coded = any(feed.is_coded for feed in self._cameras.shown)
        return self._present.figures() | {
            'video_is_vp8': float(self.codec is VideoCodec.VP8),
            'decoded_again': float(coded and self._present is self._pictures),
        }

    def use(self, codec: str, video: VideoConfiguration) -> None:
        """
        Send this codec from now on, from a keyframe on; called before the first frame.

        :param codec: Its MIME type.
        """
        self._close_pictures()
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
        coded = [feed for feed in self._cameras.all if feed.is_coded]
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
                'event=decoding codec=%s hint="the camera\'s H.264 is decoded and encoded again, '
                'which takes processor time. It is passed on if the media backend and the '
                "operator's browser support H.264, video_codec is h264 and video_stamp_strip "
                'is not set"',
                codec,
            )
        # Wakes recv(), which may be waiting in the older source.
        self._cameras.news.set()

    def request_keyframe(self) -> None:
        """Make the next frame a keyframe."""
        if self._present is not None:
            self._present.request_keyframe()

    async def recv(self) -> av.Packet[Any]:
        """Return the next packet; waits until there is a new frame."""
        while True:
            source, codec = self._source(), self._chosen
            unit = await source.next_unit()
            if unit is not None:
                self.codec = codec
                self.capture_s = unit.capture_s
                self._rate.sent(unit.packet.size, time.monotonic())
                return unit.packet

    def _source(self) -> VideoSource:
        """Return the source for the cameras that are shown now."""
        assert self._pictures is not None
        source: VideoSource = self._pictures
        if len(self._cameras.shown) == 1:
            source = self._streams.get(self._cameras.shown[0].name, source)
        if source is not self._present:
            source.begin()
            self._present = source
        return source

    def stop(self) -> None:
        super().stop()
        self._close_pictures()

    def _close_pictures(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
