"""A camera's own H.264 as pictures: for who takes another codec, and beside other cameras."""

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
from concurrent.futures import ThreadPoolExecutor
import time
from typing import Any, Final

import av
from av.codec.context import Flags
from av.video.reformatter import ColorRange, VideoReformatter

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader, MAX_PICTURE_PX
from teleop_webrtc_bridge.bridge.link.packet_ring import PacketReader, Unit
from teleop_webrtc_bridge.bridge.webrtc.video.placeholder import grey_frame

__all__ = ['DecodedPictures']

_ENCODING: Final = 'nv12'


class DecodedPictures:
    """
    Decodes all pictures, in a thread of its own, and has the newest; owned by the event loop.

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
        """Return the newest picture that is decoded; has newer ones decoded, if there are any."""
        units = [] if self._busy else self._waiting()
        if units:
            self._busy = True
            decoding = asyncio.get_running_loop().run_in_executor(
                self._thread, self._decode, units
            )
            decoding.add_done_callback(self._on_decoded)
        return self._frame

    def close(self) -> None:
        """Decode no more."""
        self._thread.shutdown(wait=False)

    def _waiting(self) -> list[Unit]:
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
        """Return the last picture; ``None``: it is broken, and a keyframe has to come."""
        picture: av.VideoFrame | None = None
        try:
            for unit in units:
                if not unit.data:
                    self._decoder, picture = None, None
                    continue
                self._decoder = self._decoder or _open_decoder()
                picture = next(iter(self._decoder.decode(av.Packet(unit.data))), picture)
            if not units[-1].data:
                return grey_frame(units[-1])
            return self._as_frame(units[-1], picture) if picture is not None else None
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
    decoder.thread_count = 1  # several would give each picture out late
    decoder.flags |= Flags.low_delay.value
    decoder.options = {'max_pixels': str(MAX_PICTURE_PX)}
    return decoder
