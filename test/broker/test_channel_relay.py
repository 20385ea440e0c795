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

"""What waits to be sent is bounded: by its worth where it may be lost, by memory where not."""

from __future__ import annotations

from collections.abc import Callable
import struct
from typing import Any, cast

from aiortc import RTCDataChannel, RTCPeerConnection
import pytest

from teleop_webrtc_bridge.broker.channel_relay import (
    ChannelEnd,
    MAX_BUFFERED_BYTES,
    MAX_UNRELIABLE_BYTES,
    Voice,
)
from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.media import DataChannelRequest, StopSeen
from teleop_webrtc_bridge.broker.peer_channels import PeerChannels
from teleop_webrtc_bridge.messages import CHANNELS, CMD_UNRELIABLE, STATE_RELIABLE

COMMAND = bytes(85)


class StuckChannel:
    """A channel of a link that takes nothing, until :meth:`drain`."""

    readyState = 'open'
    label = ''

    def __init__(self, max_retransmits: int | None) -> None:
        self.maxRetransmits = max_retransmits
        self.bufferedAmount = 0
        self.sent: list[bytes | str] = []

    def on(self, event: str, callback: Callable[[], Any]) -> None:
        pass

    def send(self, message: bytes | str) -> None:
        self.sent.append(message)
        self.bufferedAmount += len(message)

    def drain(self) -> None:
        self.bufferedAmount = 0


def end_of(channel: StuckChannel) -> ChannelEnd:
    end = ChannelEnd(cast(RTCDataChannel, channel))
    end.set_ready()
    return end


def test_commands_do_not_wait_until_they_are_too_old() -> None:
    channel = StuckChannel(max_retransmits=0)
    end = end_of(channel)
    for _ in range(100):
        end.deliver(COMMAND)
    assert channel.bufferedAmount <= MAX_UNRELIABLE_BYTES + len(COMMAND)
    assert end.counters['lost'] == 100 - len(channel.sent)
    # Twelve of them wait: a quarter of a second at 50 Hz.
    assert len(channel.sent) == 13
    channel.drain()
    end.deliver(b'new')
    assert channel.sent[-1] == b'new'


def test_a_command_never_waits_for_the_robot_to_be_ready() -> None:
    channel = StuckChannel(max_retransmits=0)
    channel.readyState = 'connecting'
    end = ChannelEnd(cast(RTCDataChannel, channel))
    end.deliver(b'too early')
    channel.readyState = 'open'
    end.deliver(b'now')
    assert channel.sent == [b'now']
    end.set_ready()
    assert channel.sent == [b'now']


@pytest.mark.parametrize('length', [122, 123, 379])
def test_a_framed_command_is_held_up_by_an_estop_though_it_may_begin_like_json(
    length: int,
) -> None:
    command = struct.pack('<II', length, 16) + b'{}'.ljust(length) + bytes(16)
    channel = StuckChannel(max_retransmits=0)
    end = ChannelEnd(cast(RTCDataChannel, channel), is_stopped=lambda: True)
    end.set_ready()
    for message in (COMMAND, command, '{"type":"estop"}', b'{"type":"estop"}'):
        end.deliver(message)
    assert channel.sent == ['{"type":"estop"}', b'{"type":"estop"}']


@pytest.mark.parametrize('length', [122, 123, 379])
def test_a_framed_command_is_forwarded_as_it_is_though_it_may_begin_like_json(
    length: int,
) -> None:
    stops: list[StopSeen] = []
    voice = Voice('m', Identity(tenant='yard', sub='bob', role=Role.OPERATOR), stops.append)
    command = struct.pack('<II', length, 16) + b'{"type":"estop"}'.ljust(length) + bytes(16)
    assert voice.sign(command) is command
    assert voice.estop(command) is None
    if length & 0xFF == 0x7B:
        assert voice.sign(command[:-1]) is None, 'neither framed nor JSON'
    assert stops == []


def test_an_estop_waits_for_the_robot_to_be_ready_and_is_sent_once() -> None:
    channel = StuckChannel(max_retransmits=None)
    end = ChannelEnd(cast(RTCDataChannel, channel))
    end.deliver('{"type":"estop"}')
    assert channel.sent == []
    end.set_ready()
    end.set_ready()
    assert channel.sent == ['{"type":"estop"}']


class StuckConnection:
    """A peer connection whose channels go nowhere."""

    def __init__(self) -> None:
        self.channels: dict[str, StuckChannel] = {}

    def on(self, event: str, callback: Callable[..., Any]) -> None:
        pass

    def createDataChannel(self, label: str, *, maxRetransmits: int | None, **_: Any) -> Any:
        channel = self.channels[label] = StuckChannel(maxRetransmits)
        channel.label = label
        return channel


def test_no_command_passes_an_estop_that_waits_for_the_robot_to_be_ready() -> None:
    operator, robot = StuckConnection(), StuckConnection()
    here, there = (PeerChannels(cast(RTCPeerConnection, it)) for it in (operator, robot))
    for spec in (spec for spec in CHANNELS if spec.to_robot):
        request = DataChannelRequest(
            label=spec.label, ordered=spec.ordered, max_retransmits=spec.max_retransmits
        )
        here.open(request, None)
        there.open(request, here)
    commands = robot.channels[CMD_UNRELIABLE]
    there.deliver(CMD_UNRELIABLE, COMMAND)
    assert commands.sent == [COMMAND]

    there.deliver(STATE_RELIABLE, '{"type": "estop"}')
    there.deliver(CMD_UNRELIABLE, COMMAND)
    there.deliver(CMD_UNRELIABLE, '{"type": "estop"}')
    assert commands.sent == [COMMAND, '{"type": "estop"}']

    there.set_ready()
    assert robot.channels[STATE_RELIABLE].sent == ['{"type": "estop"}']
    there.deliver(CMD_UNRELIABLE, COMMAND)
    assert commands.sent[-1] == COMMAND


def test_what_must_arrive_waits_for_longer() -> None:
    channel = StuckChannel(max_retransmits=None)
    end = end_of(channel)
    for _ in range(2000):
        end.deliver(COMMAND)
    assert channel.bufferedAmount > MAX_BUFFERED_BYTES
    assert channel.bufferedAmount <= MAX_BUFFERED_BYTES + len(COMMAND)


@pytest.mark.parametrize('size', [2000, 16_000])
def test_one_large_message_passes_when_nothing_waits(size: int) -> None:
    channel = StuckChannel(max_retransmits=0)
    end_of(channel).deliver(bytes(size))
    assert channel.sent == [bytes(size)]
