"""
Robots for the broker, as a program: ``python3 -m benchmark.sfu_robots URL COUNT``.

The first line of standard input is the API key; the program runs until that input ends. Robots are
called ``robot-0`` and so on, and send :mod:`benchmark.encoded_track`.
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
from contextlib import AsyncExitStack
import sys

from old_robot import OldRobot

import benchmark  # noqa: F401 - finds test/support
from benchmark.encoded_track import access_units, EncodedTrack, prepare
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc

READY = 'robots: ready'


async def _live(url: str, key: str, count: int) -> None:
    configure_aiortc(loopback=True)
    access_units()
    async with AsyncExitStack() as ends:
        for number in range(count):
            robot = OldRobot(url, key, f'robot-{number}', track=EncodedTrack(), prepare=prepare)
            ends.push_async_callback(robot.close)
            await robot.dial()
            living = asyncio.create_task(robot.live())
            ends.callback(living.cancel)
        print(READY, flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == '__main__':
    asyncio.run(_live(sys.argv[1], sys.stdin.readline().strip(), int(sys.argv[2])))
