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

"""
The WebRTC half as a program; the ROS half starts it, nobody else.

``python3 -m teleop_webrtc_bridge.webrtc LINK PARENT WAKE MEMORY...``: inherited descriptors, one
memory a camera, and the parent's process id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
import ctypes
import gc
import logging
import os
from pathlib import Path
import signal
import socket
import sys
from typing import Final

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.configuration import is_loopback_url
from teleop_webrtc_bridge.link.packets import Configure, Send, Show, Shutdown
from teleop_webrtc_bridge.webrtc.cameras import Cameras
from teleop_webrtc_bridge.webrtc.half_link import HalfLink
from teleop_webrtc_bridge.webrtc.robot import Robot

OOM_SCORE: Final = 500
"""As if it took half of all memory more than it does."""
_PR_SET_PDEATHSIG = 1


class _Ended(Exception):
    """The ROS half asked for the end, or is gone."""


def main() -> None:
    link, parent, wake, *memories = map(int, sys.argv[1:])
    _die_with_parent(parent)
    _die_before_parent()
    # A terminal's signals reach us too, but the parent tells us when it is time: after the stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format='[webrtc] %(levelname)s %(message)s', level=logging.WARNING)
    asyncio.run(_run(socket.socket(fileno=link), wake, memories))


def _die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit('the parent is gone already')


def _die_before_parent() -> None:
    """When memory runs out, let the kernel end this process, not the one that stops the robot."""
    with suppress(OSError):
        Path('/proc/self/oom_score_adj').write_text(str(OOM_SCORE), 'ascii')


async def _run(socket_end: socket.socket, wake: int, memories: Sequence[int]) -> None:
    link = HalfLink(socket_end)
    first = await link.packets.get()
    if not isinstance(first, Configure):
        return
    configuration = first.configuration
    configure_aiortc(loopback=is_loopback_url(configuration.broker_url))
    cameras = Cameras(configuration.cameras, memories=memories, wake=wake)
    robot = Robot(configuration, link=link, cameras=cameras)
    # What there is now stays for good. To look through all of it takes the collector 30 ms, during
    # which no command is passed on.
    gc.collect()
    gc.freeze()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(robot.run())
            tasks.create_task(robot.report_status())
            tasks.create_task(_serve_link(link, robot, cameras))
    except* _Ended:
        pass


async def _serve_link(link: HalfLink, robot: Robot, cameras: Cameras) -> None:
    """
    Forward the ROS half's messages and do what it asks for.

    :raises _Ended: The ROS half asked for the end, or is gone.
    """
    while True:
        packet = await link.packets.get()
        if packet is None or isinstance(packet, Shutdown):
            raise _Ended
        if isinstance(packet, Send):
            robot.forward(packet)
        elif isinstance(packet, Show):
            cameras.show(packet.cameras)


if __name__ == '__main__':
    main()
