"""Tests of the link to a ROS half that does not read, over a real socket pair."""

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
from collections.abc import Iterator
import json
import socket

import pytest

from teleop_webrtc_bridge.bridge.link.packets import (
    decode,
    MAX_PACKET_BYTES,
    Packet,
    Received,
    Status,
)
from teleop_webrtc_bridge.bridge.webrtc.ros_link import Newest, RosLink
from teleop_webrtc_bridge.core.codec import encode_drive_command
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    STATE_RELIABLE,
    Velocity,
)
from teleop_webrtc_bridge.core.session import BridgeState

PATIENCE_S = 20.0


class Ros:
    """A ROS half that reads only when the test lets it."""

    def __init__(self) -> None:
        theirs, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._theirs = theirs
        self.link = RosLink(theirs)
        self.read: list[Packet] = []

    def read_all(self) -> None:
        while True:
            try:
                self.read.append(decode(self._ours.recv(MAX_PACKET_BYTES)))
            except BlockingIOError:
                return

    async def until(self, last: Packet) -> None:
        """Read until this packet is the last one."""
        async with asyncio.timeout(PATIENCE_S):
            while self.read[-1:] != [last]:
                self.read_all()
                await asyncio.sleep(0.001)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._theirs)
        loop.remove_writer(self._theirs)
        self._theirs.close()
        self._ours.close()


@pytest.fixture
async def ros() -> Iterator[Ros]:
    half = Ros()
    yield half
    half.close()


def command(seq: int) -> Received:
    payload = encode_drive_command(
        DriveCommand(seq=seq, stamp_s=1.0, frame_id='', velocity=Velocity())
    )
    return Received(label=CMD_UNRELIABLE, payload=payload, arrival_s=float(seq))


def state(**fields: object) -> Received:
    payload = json.dumps(fields).encode()
    return Received(label=STATE_RELIABLE, payload=payload, arrival_s=1.0)


def status(epoch: int) -> Status:
    return Status(state=BridgeState.OPERATED, reason='', control_epoch=epoch, counters={})


def fill(ros: Ros, *, commands: int = 1000) -> None:
    for seq in range(commands):
        ros.link.send_newest(Newest.COMMAND, command(seq))


async def test_who_reads_late_finds_few_commands_and_the_newest_at_the_end(ros: Ros) -> None:
    fill(ros)
    ros.read_all()
    assert 5 <= len(ros.read) <= 40
    assert ros.read == [command(seq) for seq in range(len(ros.read))]
    await ros.until(command(999))
    assert len(ros.read) <= 41
    assert ros.link.counters['superseded_command'] == 999 - len(ros.read) + 1


async def test_a_command_that_was_held_leaves_without_another_one(ros: Ros) -> None:
    fill(ros)
    await ros.until(command(999))
    ros.link.send_newest(Newest.COMMAND, command(1000))
    assert ros.read[-1] == command(999)
    ros.read_all()
    assert ros.read[-1] == command(1000)


async def test_commands_leave_room_for_everything_else(ros: Ros) -> None:
    fill(ros)
    urgent = [status(1), state(type='estop', nonce=1), state(type='estop_clear', nonce=2)]
    ros.link.send_newest(Newest.STATUS, urgent[0])
    ros.link.send_newest(Newest.ESTOP, urgent[1])
    ros.link.send(urgent[2])
    ros.read_all()
    assert ros.read[-3:] == urgent


async def test_an_estop_waits_for_room_and_leaves_first(ros: Ros) -> None:
    large = state(text='x' * 30_000)
    while not ros.link.counters['link_full']:
        ros.link.send(large)
    fill(ros)
    ros.link.send_newest(Newest.STATUS, status(1))
    ros.link.send_newest(Newest.STATUS, status(2))
    ros.link.send_newest(Newest.ESTOP, state(type='estop'))
    await ros.until(command(999))
    assert ros.read[-3:] == [state(type='estop'), status(2), command(999)]


async def test_a_command_of_the_previous_operator_is_not_held(ros: Ros) -> None:
    fill(ros)
    ros.link.forget_motion()
    ros.link.send_newest(Newest.STATUS, status(2))
    await ros.until(status(2))
    ros.link.send_newest(Newest.COMMAND, command(7))
    await ros.until(command(7))
    assert ros.read[-2:] == [status(2), command(7)]


async def test_a_packet_that_is_too_large_to_leave_is_lost_and_holds_nothing_up(
    ros: Ros,
) -> None:
    ros.link.send(state(text='x' * 100_000))
    ros.link.send_newest(Newest.ESTOP, state(text='x' * 100_000))
    assert ros.link.counters['link_full'] == 2
    ros.link.send_newest(Newest.COMMAND, command(7))
    await ros.until(command(7))
