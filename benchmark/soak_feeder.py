"""
Stand-in for the WebRTC half that sends commands to the ROS half as fast as it accepts them.

``python3 -m benchmark.soak_feeder LINK SLOT WAKE PARENT``; the variable ``SOAK_COMMANDS`` is the
number of commands.
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

import json
import os
import socket
import sys
import time
from typing import Final

from teleop_webrtc_bridge.bridge.link.packets import (
    decode,
    encode,
    MAX_PACKET_BYTES,
    Received,
    Send,
    Shutdown,
    Status,
)
from teleop_webrtc_bridge.core.codec import encode_drive_command
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    MAP_UNRELIABLE,
    Velocity,
)
from teleop_webrtc_bridge.core.session import BridgeState

STATUS_PERIOD_S: Final = 1.0
NEUTRAL: Final = 50
"""Number of zeros in each thousand commands."""


class _Ended(Exception):
    """The ROS half requested the end, or is gone."""


class Feeder:
    """
    One operator who only sends.

    :param link: Socket to the ROS half; sending blocks while it is full.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._status_due_s = 0.0

    def feed(self, commands: int) -> None:
        """
        Send this many commands, then only status messages.

        :raises _Ended: The ROS half has ended.
        """
        for number in range(commands):
            now = time.monotonic()
            # The robot stands still for part of each thousand commands: a day includes stops.
            moving = number % 1000 >= NEUTRAL
            speed = 0.3 + 0.1 * (number % 7) if moving else 0.0
            command = DriveCommand(
                seq=number % 2**31,
                stamp_s=time.time(),
                frame_id='soak',
                velocity=Velocity(linear_x=speed),
            )
            self._say(encode_drive_command(command), now)
            self._live(now)
        while True:
            self._live(time.monotonic())
            time.sleep(0.05)

    def _say(self, payload: bytes, now: float) -> None:
        packet = Received(label=CMD_UNRELIABLE, payload=payload, arrival_s=now)
        self._link.sendall(encode(packet))

    def _live(self, now: float) -> None:
        """Report an operator, and echo the tokens of the lease."""
        if now >= self._status_due_s:
            self._status_due_s = now + STATUS_PERIOD_S
            status = Status(
                state=BridgeState.OPERATED,
                reason='',
                control_epoch=1,
                counters={},
            )
            self._link.sendall(encode(status))
        while True:
            try:
                data = self._link.recv(MAX_PACKET_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            packet = decode(data) if data else Shutdown()
            if isinstance(packet, Shutdown):
                raise _Ended
            if isinstance(packet, Send) and packet.label == MAP_UNRELIABLE:
                token = json.loads(packet.payload)['token']
                self._say(json.dumps({'type': 'lease', 'token': token}).encode(), now)


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[1]))
    # The configuration, which is not needed here.
    link.setblocking(True)
    link.recv(MAX_PACKET_BYTES)
    try:
        Feeder(link).feed(int(os.environ['SOAK_COMMANDS']))
    except (_Ended, ConnectionError):
        return


if __name__ == '__main__':
    main()
