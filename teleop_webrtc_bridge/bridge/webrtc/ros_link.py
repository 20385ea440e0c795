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

from teleop_webrtc_bridge.bridge.link.packets import decode, encode, MAX_PACKET_BYTES, Packet
from teleop_webrtc_bridge.bridge.link.room import has_room

__all__ = ['Newest', 'RosLink']

SEND_BUFFER_BYTES: Final = 32 * 1024
"""Linux takes it twice. Commands get a quarter of that, about 20 of them."""


class Newest(enum.IntEnum):
    """What a newer packet of the same kind makes worthless; the most urgent first."""

    ESTOP = 0
    STATUS = 1
    LEASE = 2
    COMMAND = 3
    OTHER_COMMAND = 4
    """One that does not mean the base: it is refused and told, but replaces none that does."""


MOTION: Final = (Newest.LEASE, Newest.COMMAND, Newest.OTHER_COMMAND)


class RosLink:
    """
    Packets of the ROS half, as the event loop sees them.

    :param link: Our end of the socket pair.
    """

    def __init__(self, link: socket.socket) -> None:
        self.packets: asyncio.Queue[Packet | None] = asyncio.Queue()
        """What arrived; ``None``: the ROS half is gone. It sends a few packets a second."""
        self.counters: Counter[str] = Counter()
        self._held: dict[Newest, bytes] = {}
        """What waits until the ROS half has read what was sent before."""
        self._link = link
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

    def send(self, packet: Packet) -> None:
        """Hand a packet over; when the ROS half stalls, lose it."""
        self._flush()
        if not self._hand_over(encode(packet)):
            self.counters['link_full'] += 1

    def send_newest(self, kind: Newest, packet: Packet) -> None:
        """Hand a packet over; while the ROS half is behind, hold it until a newer one comes."""
        if kind in self._held:
            self.counters[f'superseded_{kind.name.lower()}'] += 1
        self._held[kind] = encode(packet)
        self._flush()

    def forget_motion(self) -> None:
        """Hold no command any more: another operator, or none, is in control."""
        for kind in MOTION:
            self._held.pop(kind, None)

    def _flush(self) -> None:
        """Hand over what is held as far as there is room, and go on when there is more."""
        for kind in Newest:
            if kind not in self._held:
                continue
            if kind in MOTION and not has_room(self._link):
                break
            if not self._hand_over(self._held[kind]):
                break
            del self._held[kind]
        if self._held:
            asyncio.get_running_loop().add_writer(self._link, self._flush)
        else:
            asyncio.get_running_loop().remove_writer(self._link)

    def _hand_over(self, data: bytes) -> bool:
        """Return whether the packet has left, or has nowhere to go any more."""
        try:
            self._link.send(data)
        except BlockingIOError:
            return False
        except OSError:
            # Closed, or the packet is too large ever to leave.
            self.counters['link_full'] += 1
        return True
