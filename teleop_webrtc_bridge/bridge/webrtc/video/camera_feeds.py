"""The robot's cameras as the event loop reads them, and which of them are shown."""

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
from concurrent.futures import ThreadPoolExecutor
import os
import time
from typing import Any, Final

import av
from av.codec.context import Flags
from av.video.reformatter import ColorRange, VideoReformatter

from teleop_webrtc_bridge.bridge.link.frame_slot import (
    Frame,
    FrameHeader,
    FrameReader,
    grey_frame,
    MAX_PICTURE_PX,
)
from teleop_webrtc_bridge.bridge.link.packet_ring import PacketReader, Unit
from teleop_webrtc_bridge.core.configuration import CameraConfiguration, CameraKind

__all__ = ['CameraFeed', 'CameraFeeds', 'DecodedPictures']

_ENCODING: Final = 'nv12'


class CameraFeeds:
    """
    One feed per camera, and one event for all of them.

    :param configurations: The cameras; the first one is shown.
    :param memories: Descriptors of their shared memories, in the same order.
    :param wake: Descriptor of the eventfd that announces every picture of every camera.
    """

    def __init__(
        self, configurations: Sequence[CameraConfiguration], *, memories: Sequence[int], wake: int
    ) -> None:
        self.news = asyncio.Event()
        """Set when a picture came or other cameras are shown. Clear it, look, then wait."""
        self.all = tuple(
            CameraFeed(configuration, memory, self.news)
            for configuration, memory in zip(configurations, memories, strict=True)
        )
        self._feeds = {feed.name: feed for feed in self.all}
        self.shown = self.all[:1]
        """The cameras in the picture, from the left; the ROS half selects them."""
        self._wake = wake
        asyncio.get_running_loop().add_reader(wake, self._on_wake)

    def show(self, names: Sequence[str]) -> None:
        """Show these cameras, from the left."""
        self.shown = tuple(self._feeds[name] for name in names)
        self.news.set()

    def _on_wake(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return  # a previous WebRTC process read it
        self.news.set()


class CameraFeed:
    """
    The pictures of one camera.

    :param configuration: The camera.
    :param memory: Descriptor of its shared memory.
    :param news: Set when there is a newer picture.
    """

    def __init__(
        self, configuration: CameraConfiguration, memory: int, news: asyncio.Event
    ) -> None:
        self.name = configuration.name
        self.max_width_px = configuration.max_width_px
        self.is_coded = configuration.kind is CameraKind.H264
        """Whether the camera encodes by itself."""
        self.memory = memory
        self._news = news
        self._reader: DecodedPictures | FrameReader
        self._reader = DecodedPictures(memory, news) if self.is_coded else FrameReader(memory)

    def newest(self) -> Frame | None:
        """Return the newest picture in place; ``None`` before the first one."""
        return self._reader.newest()

    def forget_decoded(self) -> None:
        """Start a new decoder: the picture that was decoded last may be old."""
        if isinstance(self._reader, DecodedPictures):
            self._reader.close()
            self._reader = DecodedPictures(self.memory, self._news)


class DecodedPictures:
    """
    Decodes a camera's own H.264, for other codecs and for cameras side by side.

    Decodes every picture, in its own thread, and keeps the newest; owned by the event loop.

    :param memory: Descriptor of the ring.
    :param news: Set when there is a newer picture.
    """

    def __init__(self, memory: int, news: asyncio.Event) -> None:
        self._reader = PacketReader(memory)
        self._news = news
        self._frame: Frame | None = None
        self._busy = False
        self._decoder: Any = None
        self._reformatter = VideoReformatter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='decoder')

    def newest(self) -> Frame | None:
        """Return the newest decoded picture, and start to decode the ones that came since."""
        units = [] if self._busy else self._read_all()
        if units:
            self._busy = True
            decoding = asyncio.get_running_loop().run_in_executor(
                self._thread, self._decode, units
            )
            decoding.add_done_callback(self._on_decoded)
        return self._frame

    def close(self) -> None:
        """Stop decoding."""
        self._thread.shutdown(wait=False)

    def _read_all(self) -> list[Unit]:
        units: list[Unit] = []
        while (unit := self._reader.next(time.monotonic())) is not None:
            units.append(unit)
        return units

    def _on_decoded(self, decoding: asyncio.Future[Frame | None]) -> None:
        self._busy = False
        if decoding.cancelled():
            return
        frame = decoding.result()
        if frame is None:
            self._reader.restart()
        else:
            self._frame = frame
        self._news.set()

    # --- in the thread ------------------------------------------------------------------------

    def _decode(self, units: list[Unit]) -> Frame | None:
        """Return the last picture; ``None``: it is broken, and a keyframe is needed."""
        newest, picture = units[-1], None
        try:
            for unit in units:
                if not unit.data:
                    self._decoder, picture = None, None
                    continue
                self._decoder = self._decoder or _open_decoder()
                picture = next(iter(self._decoder.decode(av.Packet(unit.data))), picture)
            if not newest.data:
                return grey_frame(
                    newest.width, newest.height, newest.capture_s, sequence=newest.sequence
                )
            return self._as_frame(newest, picture) if picture is not None else None
        except (av.FFmpegError, ValueError):
            self._decoder = None
            return None

    def _as_frame(self, unit: Unit, picture: av.VideoFrame) -> Frame:
        even = self._reformatter.reformat(
            picture,
            picture.width & ~1,
            picture.height & ~1,
            format=_ENCODING,
            dst_color_range=ColorRange.MPEG,
        )
        header = FrameHeader(
            capture_s=unit.capture_s,
            width=even.width,
            height=even.height,
            step=even.width,
            encoding=_ENCODING,
        )
        data = memoryview(even.to_ndarray().tobytes())
        return Frame(sequence=unit.sequence, header=header, data=data, is_intact=lambda: True)


def _open_decoder() -> av.VideoCodecContext:
    decoder = av.CodecContext.create('h264', 'r')
    decoder.thread_count = 1  # several threads would delay each picture
    decoder.flags |= Flags.low_delay.value
    decoder.options = {'max_pixels': str(MAX_PICTURE_PX)}
    return decoder
