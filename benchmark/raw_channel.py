"""
The floor of the latency: half the round trip of a command's bytes on one bare aiortc channel.

``python3 -m benchmark.raw_channel SECONDS`` starts an echo process, sends it 50 messages a second
and prints half of each round trip in milliseconds, as JSON. No broker, bridge or DDS is involved.
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
import json
import subprocess
import sys
import time
from typing import Final

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from benchmark.figures import Figures, percentile
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.core.codec import encode_drive_command
from teleop_webrtc_bridge.core.messages import DriveCommand, Velocity

__all__ = ['measure']

PERIOD_S: Final = 0.02
START_S: Final = 15.0
ECHO: Final = '--echo'


def measure(seconds: float) -> Figures:
    """
    Measure in separate processes.

    :raises subprocess.SubprocessError: The measurement failed.
    """
    done = subprocess.run(
        [sys.executable, '-m', 'benchmark.raw_channel', str(seconds)],
        stdout=subprocess.PIPE,
        timeout=seconds + 2 * START_S,
        check=True,
    )
    halves_ms = json.loads(done.stdout)
    return {
        'raw_channel_p50_ms': percentile(halves_ms, 50),
        'raw_channel_p99_ms': percentile(halves_ms, 99),
    }


def _payload(number: int) -> bytes:
    return encode_drive_command(
        DriveCommand(seq=number, stamp_s=time.time(), frame_id='keyboard', velocity=Velocity())
    )


def _channel(pc: RTCPeerConnection) -> RTCDataChannel:
    return pc.createDataChannel('raw', negotiated=True, id=1, ordered=False, maxRetransmits=0)


async def _echo() -> None:
    """Answer the offer on standard input, then echo until that input ends."""
    pc = RTCPeerConnection()
    channel = _channel(pc)
    channel.on('message', channel.send)
    offer = await asyncio.to_thread(sys.stdin.readline)
    await pc.setRemoteDescription(RTCSessionDescription(sdp=json.loads(offer), type='offer'))
    await pc.setLocalDescription(await pc.createAnswer())
    print(json.dumps(pc.localDescription.sdp), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await pc.close()


async def _send(seconds: float) -> list[float]:
    echo = await asyncio.create_subprocess_exec(
        *(sys.executable, '-m', 'benchmark.raw_channel', ECHO),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**20,
    )
    assert echo.stdin is not None
    assert echo.stdout is not None
    pc = RTCPeerConnection()
    channel = _channel(pc)
    sent_s: dict[int, float] = {}
    halves_ms: list[float] = []
    opened = asyncio.Event()
    channel.on('open', opened.set)
    # Stamps differ, so the bytes identify the message without decoding it while measuring.
    channel.on('message', lambda echoed: halves_ms.append(_half_ms(sent_s, echoed)))
    async with asyncio.timeout(START_S):
        await pc.setLocalDescription(await pc.createOffer())
        echo.stdin.write(f'{json.dumps(pc.localDescription.sdp)}\n'.encode())
        answer = json.loads(await echo.stdout.readline())
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type='answer'))
        await opened.wait()
    due_s = time.monotonic()
    for number in range(round(seconds / PERIOD_S)):
        due_s += PERIOD_S
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        payload = _payload(number)
        sent_s[hash(payload)] = time.monotonic()
        channel.send(payload)
    await asyncio.sleep(10 * PERIOD_S)
    echo.stdin.close()
    await pc.close()
    await echo.wait()
    return halves_ms


def _half_ms(sent_s: dict[int, float], echoed: bytes) -> float:
    return 500.0 * (time.monotonic() - sent_s[hash(echoed)])


def main(arguments: list[str]) -> None:
    configure_aiortc(loopback=True)
    if arguments == [ECHO]:
        asyncio.run(_echo())
    else:
        print(json.dumps(asyncio.run(_send(float(arguments[0])))))


if __name__ == '__main__':
    main(sys.argv[1:])
