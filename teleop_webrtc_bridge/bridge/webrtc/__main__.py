"""
The WebRTC half as a program, which only the ROS half starts.

``python3 -m teleop_webrtc_bridge.bridge.webrtc LINK PARENT WAKE MEMORY...``: the inherited
descriptors, with one memory per camera, and the parent's process id.
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
from collections.abc import Sequence
import gc
import logging
import socket
import sys

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.bridge.link.packets import Configure, Send, Show, Shutdown
from teleop_webrtc_bridge.bridge.webrtc.robot import Robot
from teleop_webrtc_bridge.bridge.webrtc.ros_link import RosLink
from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds
from teleop_webrtc_bridge.core.configuration import is_loopback_url
from teleop_webrtc_bridge.processes.child_process import live_as_child


class _Ended(Exception):
    """The ROS half asked this process to end, or has ended itself."""


def main() -> None:
    link, parent, wake, *memories = map(int, sys.argv[1:])
    live_as_child(parent)
    logging.basicConfig(format='[webrtc] %(levelname)s %(message)s', level=logging.WARNING)
    asyncio.run(_run(socket.socket(fileno=link), wake, memories))


def _name_robot_in_logs(robot_id: str) -> None:
    """Prefix log lines with the robot's id: a fleet may share one terminal."""
    name = f'webrtc {robot_id}'.strip().replace('%', '%%')
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(f'[{name}] %(levelname)s %(message)s'))


async def _run(socket_end: socket.socket, wake: int, memories: Sequence[int]) -> None:
    link = RosLink(socket_end)
    first = await link.packets.get()
    if not isinstance(first, Configure):
        return
    configuration = first.configuration
    _name_robot_in_logs(configuration.robot_id)
    configure_aiortc(loopback=is_loopback_url(configuration.broker_url))
    cameras = CameraFeeds(configuration.cameras, memories=memories, wake=wake)
    robot = Robot(configuration, link=link, cameras=cameras)
    # These objects live as long as the process. Scanning them would take the collector 30 ms, in
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


async def _serve_link(link: RosLink, robot: Robot, cameras: CameraFeeds) -> None:
    """
    Obey the ROS half's packets.

    :raises _Ended: The ROS half asked this process to end, or has ended itself.
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
