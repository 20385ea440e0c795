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

"""The WebRTC half's end of the link to the ROS half."""

from __future__ import annotations

import asyncio
from collections import Counter
import socket

from teleop_webrtc_bridge.link.packets import decode, encode, MAX_PACKET_BYTES, Packet

__all__ = ['HalfLink']


class HalfLink:
    """
    Packets of the ROS half, as the event loop sees them.

    :param link: Our end of the socket pair.
    """

    def __init__(self, link: socket.socket) -> None:
        self.packets: asyncio.Queue[Packet | None] = asyncio.Queue()
        """What arrived; ``None``: the ROS half is gone. It sends a few packets a second."""
        self.counters: Counter[str] = Counter()
        self._link = link
        self._link.setblocking(False)
        asyncio.get_running_loop().add_reader(link, self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._link.recv(MAX_PACKET_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b''
        if not data:
            asyncio.get_running_loop().remove_reader(self._link)
        self.packets.put_nowait(decode(data) if data else None)

    def send(self, packet: Packet) -> None:
        """Hand a packet over; when the ROS half stalls, lose the packet: the newest will come."""
        try:
            self._link.send(encode(packet))
        except (BlockingIOError, ConnectionError):
            self.counters['link_full'] += 1
