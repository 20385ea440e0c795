"""The WebRTC half's end of the link to the ROS half."""

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
from collections import Counter
import enum
import socket
from typing import Final

from teleop_webrtc_bridge.bridge.link.packets import (
    backlog_check,
    decode,
    encode,
    MAX_PACKET_BYTES,
    Packet,
)

__all__ = ['NOT_FOR_THE_BASE', 'Newest', 'RosLink']

SEND_BUFFER_BYTES: Final = 32 * 1024
"""Linux doubles it. Commands get a quarter of that, which is about 20 of them."""


class Newest(enum.IntEnum):
    """Packets that a newer one of the same kind replaces; the most urgent first."""

    ESTOP = 0
    STATUS = 1
    LEASE = 2
    COMMAND = 3
    OTHER_COMMAND = 4
    """A command for something other than the base. The ROS half refuses it, counts it and says so;
    it must not replace a command for the base."""
    JOY = 5
    LEFT_JOY = 6
    RIGHT_JOY = 7
    LEFT_POSE = 8
    RIGHT_POSE = 9


NOT_FOR_THE_BASE: Final = frozenset(
    {
        Newest.OTHER_COMMAND,
        Newest.JOY,
        *(Newest.LEFT_JOY, Newest.RIGHT_JOY),
        *(Newest.LEFT_POSE, Newest.RIGHT_POSE),
    }
)
MOTION: Final = frozenset({Newest.LEASE, Newest.COMMAND}) | NOT_FOR_THE_BASE


class RosLink:
    """
    Sends packets to the ROS half and queues the ones that it sends; owned by the event loop.

    :param link: Our end of the socket pair.
    """

    def __init__(self, link: socket.socket) -> None:
        self.packets: asyncio.Queue[Packet | None] = asyncio.Queue()
        """Packets of the ROS half, a few a second; ``None``: it has ended."""
        self.counters: Counter[str] = Counter()
        self._held: dict[Newest, bytes] = {}
        """The packets that wait until the ROS half has read the earlier ones."""
        self._link = link
        self._is_behind = backlog_check(link)
        self._link.setblocking(False)
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
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

    def is_clear(self) -> bool:
        """Return whether nothing waits here and the ROS half has read most of what was sent."""
        return not self._held and not self._is_behind()

    def send(self, packet: Packet) -> None:
        """Send a packet; it is lost if the ROS half has stalled."""
        if self._held:
            self._flush()
        if not self._hand_over(encode(packet)):
            self.counters['link_full'] += 1

    def send_newest(self, kind: Newest, packet: Packet) -> None:
        """Send a packet; while the ROS half is behind, hold it until a newer one comes."""
        if kind in self._held:
            self.counters[f'superseded_{kind.name.lower()}'] += 1
        self._held[kind] = encode(packet)
        self._flush()

    def forget_motion(self) -> None:
        """Drop the held commands and leases: another operator, or nobody, is in control now."""
        for kind in MOTION:
            self._held.pop(kind, None)

    def _flush(self) -> None:
        """Send as many held packets as the link takes, and go on when it takes more."""
        for kind in Newest:
            if kind not in self._held:
                continue
            if kind in MOTION and self._is_behind():
                break
            if not self._hand_over(self._held[kind]):
                break
            del self._held[kind]
        if self._held:
            asyncio.get_running_loop().add_writer(self._link, self._flush)
        else:
            asyncio.get_running_loop().remove_writer(self._link)

    def _hand_over(self, data: bytes) -> bool:
        """Return whether the packet was sent, or can never be sent."""
        try:
            self._link.send(data)
        except BlockingIOError:
            return False
        except OSError:
            # The link is closed, or the packet is larger than its buffer.
            self.counters['link_full'] += 1
        return True
