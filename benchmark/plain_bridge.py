"""
Plain reference bridge for comparison: ``python3 -m benchmark.plain_bridge``.

The video part of a bridge, written like rclpy's and aiortc's examples: a callback hands each
``sensor_msgs/Image`` to a track, which aiortc encodes with its own H.264 encoder. It is one
process, without broker or commands. It writes its offer and reads the answer, each as one line of
JSON, and runs until its standard input ends. Frames carry their stamps in the same way as the
bridge's, so that both are measured alike.
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
from fractions import Fraction
import json
import os
import sys
import threading
import time
from typing import Any, Final

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from ros import ros
from sensor_msgs.msg import Image

from benchmark.encoded_track import CLOCK_RATE, configuration, prefer_h264
from teleop_webrtc_bridge.aiortc_support.internals import (
    configure_aiortc,
    FrameExtensions,
    tag_frames,
)

__all__: list[str] = []

DEPTH: Final = 1


class ImageTrack(MediaStreamTrack):
    """Track that sends the newest image whenever there is one."""

    kind = 'video'

    def __init__(self) -> None:
        super().__init__()
        self.stamp_s = 0.0
        self._newest: Image | None = None
        self._is_new = asyncio.Event()
        self._began_s = time.monotonic()

    def put(self, image: Image) -> None:
        self._newest = image
        self._is_new.set()

    async def recv(self) -> Any:
        await self._is_new.wait()
        self._is_new.clear()
        image: Any = self._newest
        stamp = image.header.stamp
        self.stamp_s = stamp.sec + stamp.nanosec * 1e-9
        pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        frame: Any = VideoFrame.from_ndarray(pixels, format='bgr24')
        frame.pts = round((time.monotonic() - self._began_s) * CLOCK_RATE)
        frame.time_base = Fraction(1, CLOCK_RATE)
        return frame


def _subscribe(track: ImageTrack, loop: asyncio.AbstractEventLoop) -> None:
    """Receive images and hand them to the track, in this thread."""

    def put(image: Image) -> None:
        loop.call_soon_threadsafe(track.put, image)

    with ros(SignalHandlerOptions.NO):
        node = rclpy.create_node('plain_bridge')
        node.create_subscription(
            Image,
            'image',
            put,
            QoSProfile(depth=DEPTH),
        )
        try:
            rclpy.spin(node)
        except ExternalShutdownException:
            return


async def _serve() -> None:
    configure_aiortc(loopback=True)
    track, pc = ImageTrack(), RTCPeerConnection(configuration())
    sender = pc.addTrack(track)
    prefer_h264(pc.getTransceivers()[0])
    tag_frames(sender, lambda: FrameExtensions.of(track.stamp_s))
    await pc.setLocalDescription(await pc.createOffer())
    print(json.dumps(pc.localDescription.sdp), flush=True)
    answer = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type='answer'))
    loop = asyncio.get_running_loop()
    threading.Thread(target=_subscribe, args=(track, loop), daemon=True).start()
    await asyncio.to_thread(sys.stdin.readline)
    await pc.close()


if __name__ == '__main__':
    asyncio.run(_serve())
    # The spinning thread is not joined: rclpy would abort.
    os._exit(0)
