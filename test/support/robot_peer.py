"""Robot's end of a peer connection, in the test's own process."""

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
import os

from webrtc_half import configuration

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot
from teleop_webrtc_bridge.bridge.webrtc.peer import RobotPeer
from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds

__all__ = ['robot_peer']


@asynccontextmanager
async def robot_peer() -> AsyncIterator[RobotPeer]:
    """Yield the peer connection of a robot without video, before any offer."""
    settings = configuration('http://127.0.0.1:1', 'key', 'go2')
    memory, wake = create_slot(), os.eventfd(0, os.EFD_NONBLOCK)
    peer = RobotPeer(
        settings,
        cameras=CameraFeeds(settings.cameras, memories=[memory], wake=wake),
        on_message=lambda label, message, arrival_s: None,
    )
    yield peer
    await peer.close()
    asyncio.get_running_loop().remove_reader(wake)
    os.close(memory)
    os.close(wake)
