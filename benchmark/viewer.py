"""Receiver on one connection without a broker, and line-based talk with helper programs."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import json
import math
import sys
import time
from typing import Any, Final

from aiortc import RTCPeerConnection, RTCSessionDescription

from benchmark.encoded_track import configuration
from teleop_webrtc_bridge.aiortc_support.forwarding import VideoIngress
from teleop_webrtc_bridge.aiortc_support.internals import NTP_EPOCH_S, prepare_receiving

__all__ = ['START_S', 'Arrivals', 'Viewer', 'piped_program', 'read_line', 'write_line']

START_S: Final = 60.0
LINE_BYTES: Final = 2**20

#: Arrival of each frame's last packet (``time.monotonic``), and its send time (since 1970)
Arrivals = list[tuple[float, float]]


@asynccontextmanager
async def piped_program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module until its input ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, '-m', *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 20.0)
        except TimeoutError:
            process.kill()
            await process.wait()


async def read_line(process: asyncio.subprocess.Process) -> str:
    """Return the text of the program's next line, which is JSON."""
    assert process.stdout is not None
    return str(json.loads(await asyncio.wait_for(process.stdout.readline(), START_S)))


def write_line(process: asyncio.subprocess.Process, text: str) -> None:
    """Send a text to the program, as a line of JSON."""
    assert process.stdin is not None
    process.stdin.write(f'{json.dumps(text)}\n'.encode())


class Viewer:
    """A receiver on one connection without a broker."""

    def __init__(self) -> None:
        self.arrivals: Arrivals = []
        self.bytes_received = 0
        self.pc = RTCPeerConnection(configuration())
        self.pc.on('track', self._on_track)

    def _on_track(self, track: Any) -> None:
        transceiver = self.pc.getTransceivers()[0]
        prepare_receiving(transceiver)
        self._ingress = VideoIngress(transceiver.receiver, self._note)

    async def _note(self, packet: Any) -> None:
        self.bytes_received += len(packet.payload)
        if packet.marker:
            taken = packet.extensions.frame.capture_time
            sent_s = int.from_bytes(taken, 'big') / 2**32 - NTP_EPOCH_S if taken else math.nan
            self.arrivals.append((time.monotonic(), sent_s))

    async def answer(self, offer: str) -> str:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type='offer'))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return str(self.pc.localDescription.sdp)
