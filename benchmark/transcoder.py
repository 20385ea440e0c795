"""
Transcoding reference for the forwarding broker: ``python3 -m benchmark.transcoder VIEWERS``.

Receives one video, decodes it, and re-encodes it for each viewer, with aiortc's MediaRelay and
aiortc's own encoder. It reads the robot's offer and writes the answer, then writes an offer and
reads an answer for each viewer, each as one line of JSON. It runs until its standard input ends.
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
from functools import partial
import json
import sys
from typing import Any

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

from benchmark.encoded_track import configuration, prefer_h264
from teleop_webrtc_bridge.aiortc_support.internals import (
    configure_aiortc,
    FrameExtensions,
    prepare_receiving,
    tag_frames,
)


class Relayed(MediaStreamTrack):
    """
    Decoded frames, with the time at which the robot sent each.

    :param source: Track that delivers the frames.
    :param captures: RTP time stamp → capture time, as received.
    """

    kind = 'video'

    def __init__(self, source: MediaStreamTrack, captures: dict[int, bytes]) -> None:
        super().__init__()
        self.capture: bytes | None = None
        self._source = source
        self._captures = captures

    async def recv(self) -> Any:
        frame: Any = await self._source.recv()
        self.capture = self._captures.get(frame.pts)
        return frame


def _extensions(track: Relayed) -> FrameExtensions:
    return FrameExtensions(capture_time=track.capture)


def note_captures(receiver: Any) -> dict[int, bytes]:
    """
    Return the capture times of arriving frames, by time stamp; the result keeps growing.

    The time stamps of decoded frames count from that of the first frame.
    """
    captures: dict[int, bytes] = {}
    first: list[int] = []
    handle = receiver._handle_rtp_packet

    async def noting(packet: Any, arrival_time_ms: int) -> None:
        if not first:
            first.append(packet.timestamp)
        stamp = (packet.timestamp - first[0]) & 0xFFFFFFFF
        captures[stamp] = packet.extensions.frame.capture_time
        await handle(packet, arrival_time_ms=arrival_time_ms)

    receiver._handle_rtp_packet = noting
    return captures


async def _line() -> str:
    return str(json.loads(await asyncio.to_thread(sys.stdin.readline)))


async def _relay(viewers: int) -> None:
    configure_aiortc(loopback=True)
    relay, robot = MediaRelay(), RTCPeerConnection(configuration())
    found: dict[str, Any] = {}

    @robot.on('track')
    def on_track(track: MediaStreamTrack) -> None:
        transceiver = robot.getTransceivers()[0]
        prepare_receiving(transceiver)
        found.update(track=track, captures=note_captures(transceiver.receiver))

    await robot.setRemoteDescription(RTCSessionDescription(sdp=await _line(), type='offer'))
    await robot.setLocalDescription(await robot.createAnswer())
    print(json.dumps(robot.localDescription.sdp), flush=True)
    connections = [robot]
    for _ in range(viewers):
        pc = RTCPeerConnection(configuration())
        connections.append(pc)
        track = Relayed(relay.subscribe(found['track']), found['captures'])
        sender = pc.addTrack(track)
        prefer_h264(pc.getTransceivers()[0])
        tag_frames(sender, partial(_extensions, track))
        await pc.setLocalDescription(await pc.createOffer())
        print(json.dumps(pc.localDescription.sdp), flush=True)
        await pc.setRemoteDescription(RTCSessionDescription(sdp=await _line(), type='answer'))
    await asyncio.to_thread(sys.stdin.readline)
    for pc in connections:
        await pc.close()


if __name__ == '__main__':
    asyncio.run(_relay(int(sys.argv[1])))
