"""The robot's cameras, as the event loop sees them, and which of them are shown."""

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
from collections.abc import Sequence
import os

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameReader
from teleop_webrtc_bridge.bridge.webrtc.video.decoded_pictures import DecodedPictures
from teleop_webrtc_bridge.core.configuration import CameraConfiguration, CameraKind

__all__ = ['CameraFeed', 'Cameras']


class CameraFeed:
    """
    What comes from one camera.

    :param configuration: The camera.
    :param memory: Descriptor of its shared memory.
    :param news: Set when something came from it.
    """

    def __init__(
        self, configuration: CameraConfiguration, memory: int, news: asyncio.Event
    ) -> None:
        self.configuration = configuration
        self.memory = memory
        self._news = news
        self._reader: DecodedPictures | FrameReader
        if configuration.kind is CameraKind.H264:
            self._reader = DecodedPictures(memory, news)
        else:
            self._reader = FrameReader(memory)

    @property
    def name(self) -> str:
        return self.configuration.name

    @property
    def max_width_px(self) -> int | None:
        return self.configuration.max_width_px

    def newest(self) -> Frame | None:
        """Return the newest picture in place; ``None`` before the first one."""
        return self._reader.newest()

    def forget_decoded(self) -> None:
        """Begin to decode anew: what was decoded last may be of long ago."""
        if isinstance(self._reader, DecodedPictures):
            self._reader.close()
            self._reader = DecodedPictures(self.memory, self._news)


class Cameras:
    """
    One feed for each camera, and one notice for all of them.

    :param configurations: The cameras; the first is shown.
    :param memories: Descriptors of their shared memories, in the same order.
    :param wake: Descriptor of the eventfd that announces whatever comes from any of them.
    """

    def __init__(
        self, configurations: Sequence[CameraConfiguration], *, memories: Sequence[int], wake: int
    ) -> None:
        self.news = asyncio.Event()
        """Set when something came from a camera, or others are shown. Clear, look, then wait."""
        self.all = tuple(
            CameraFeed(configuration, memory, self.news)
            for configuration, memory in zip(configurations, memories, strict=True)
        )
        self._feeds = {feed.name: feed for feed in self.all}
        self.shown = self.all[:1]
        """What the picture consists of, from the left; the ROS half decides that."""
        self._wake = wake
        asyncio.get_running_loop().add_reader(wake, self._on_wake)

    def show(self, names: Sequence[str]) -> None:
        """Let the picture consist of these cameras, from the left."""
        self.shown = tuple(self._feeds[name] for name in names)
        self.news.set()

    def _on_wake(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return  # a previous WebRTC process took the notice
        self.news.set()
