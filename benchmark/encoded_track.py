"""
720p video at 30 Hz and 2.5 Mbit/s, encoded in advance: a robot that needs almost no CPU.

``python3 -m benchmark.encoded_track`` writes the offer to its standard output, reads the answer,
and sends until its standard input ends. The capture time of each frame is the time at which it was
handed to RTP.
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
import functools
import json
import sys
import time
from typing import Any, Final

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
import av

from benchmark.encode import ours, robot_pictures
from teleop_webrtc_bridge.aiortc_support.internals import (
    configure_aiortc,
    FrameExtensions,
    tag_frames,
    take_keyframe_requests,
)

__all__ = ['EncodedTrack', 'configuration', 'prepare']

FPS: Final = 30
CLOCK_RATE: Final = 90_000
BITRATE_BPS: Final = 2_500_000
GROUP: Final = 60
"""Frames per group; the first one is a keyframe, and the group is sent in a loop."""


@functools.cache
def access_units() -> tuple[bytes, ...]:
    """Return a group of frames."""
    encode = ours(1280, 720, BITRATE_BPS)
    units = []
    for number, picture in enumerate(robot_pictures(1280, 720)[:GROUP]):
        picture.pts, picture.time_base = number * CLOCK_RATE // FPS, Fraction(1, CLOCK_RATE)
        units.append(encode(picture, number == 0))
    return tuple(units)


class EncodedTrack(MediaStreamTrack):
    """Sends the group in a loop; starts it again when a keyframe is requested."""

    kind = 'video'

    def __init__(self) -> None:
        super().__init__()
        self.sent_unix_s = 0.0
        self._units = access_units()
        self._place = 0
        self._number = 0
        self._due_s = time.monotonic()

    def request_keyframe(self) -> None:
        self._place = 0

    async def recv(self) -> av.Packet[Any]:
        self._due_s = max(self._due_s + 1 / FPS, time.monotonic())
        await asyncio.sleep(self._due_s - time.monotonic())
        packet = av.Packet(self._units[self._place])
        self._place = (self._place + 1) % len(self._units)
        packet.pts = self._number * CLOCK_RATE // FPS
        packet.time_base = Fraction(1, CLOCK_RATE)
        self._number += 1
        self.sent_unix_s = time.time()
        return packet


def configuration() -> RTCConfiguration:
    """Return the configuration of a connection within one machine."""
    return RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)


def prepare(pc: RTCPeerConnection) -> None:
    """Set up a connection to which the track has just been added: codec and frame tags."""
    transceiver = pc.getTransceivers()[0]
    track: Any = transceiver.sender.track
    prefer_h264(transceiver)
    take_keyframe_requests(transceiver.sender, track.request_keyframe)
    tag_frames(transceiver.sender, lambda: FrameExtensions.of(track.sent_unix_s))


def prefer_h264(transceiver: Any) -> None:
    """Prefer H.264; must be called before the remote description is set, or VP8 is chosen."""
    capabilities = RTCRtpSender.getCapabilities('video').codecs
    transceiver.setCodecPreferences(
        sorted(capabilities, key=lambda codec: codec.mimeType.lower() != 'video/h264')
    )


async def _send() -> None:
    configure_aiortc(loopback=True)
    pc = RTCPeerConnection(configuration())
    pc.addTrack(EncodedTrack())
    prepare(pc)
    await pc.setLocalDescription(await pc.createOffer())
    print(json.dumps(pc.localDescription.sdp), flush=True)
    answer = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type='answer'))
    await asyncio.to_thread(sys.stdin.readline)
    await pc.close()


if __name__ == '__main__':
    asyncio.run(_send())
