"""Data channels: held and queued messages are bounded, E-STOPs go first, floods are limited."""

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

from collections.abc import Callable
import struct
from typing import Any, cast

from aiortc import RTCDataChannel, RTCPeerConnection
import pytest

from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.media.backend import DataChannelRequest, StopSeen
from teleop_webrtc_bridge.broker.media.channels import (
    ChannelEnd,
    EstopSigner,
    FloodGuard,
    MAX_BUFFERED_BYTES,
    MAX_HELD_BYTES,
    MAX_HELD_MESSAGES,
    MAX_UNRELIABLE_BYTES,
    PeerChannels,
    StopText,
)
from teleop_webrtc_bridge.core.messages import (
    CHANNELS,
    CMD_UNRELIABLE,
    MAP_UNRELIABLE,
    STATE_RELIABLE,
    STATE_RELIABLE_BACK,
)

COMMAND = bytes(85)
ESTOP = StopText('{"type": "estop"}', is_release=False)
PERSON = Identity(sub='alice', role=Role.OPERATOR, tenant='alice')
RELEASE = StopText('{"type": "estop_clear"}', is_release=True)
PING = '{"type": "ping", "of": "estop"}'


class StuckChannel:
    """A channel on a link that transmits nothing until :meth:`drain`."""

    readyState = 'open'
    label = ''

    def __init__(self, max_retransmits: int | None) -> None:
        self.maxRetransmits = max_retransmits
        self.bufferedAmount = 0
        self.sent: list[bytes | str] = []
        self.listeners: list[Callable[[bytes | str], None]] = []

    def on(self, event: str, callback: Callable[..., Any]) -> None:
        if event == 'message':
            self.listeners.append(callback)

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
    # Twelve are queued: a quarter of a second at 50 Hz.
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
    voice = EstopSigner('m', Identity(tenant='yard', sub='bob', role=Role.OPERATOR), stops.append)
    command = struct.pack('<II', length, 16) + b'{"type":"estop"}'.ljust(length) + bytes(16)
    assert voice.sign(command) is command
    assert voice.estop(command) is None
    if length & 0xFF == 0x7B:
        assert voice.sign(command[:-1]) is None, 'neither framed nor JSON'
    assert stops == []


def test_an_estop_is_sent_at_once_and_again_when_the_robot_is_ready() -> None:
    channel = StuckChannel(max_retransmits=None)
    end = ChannelEnd(cast(RTCDataChannel, channel))
    end.deliver(ESTOP)
    assert channel.sent == [ESTOP]
    end.set_ready()
    end.set_ready()
    assert channel.sent == [ESTOP, ESTOP]


@pytest.mark.parametrize('message', [RELEASE, PING])
def test_what_does_not_stop_waits_for_the_robot_and_is_sent_once(message: str) -> None:
    channel = StuckChannel(max_retransmits=None)
    end = ChannelEnd(cast(RTCDataChannel, channel))
    end.deliver(message)
    assert channel.sent == []
    end.set_ready()
    end.set_ready()
    assert channel.sent == [message]


@pytest.mark.parametrize('filler', ['x', 'x' * (MAX_HELD_BYTES // 8), b'y' * MAX_HELD_BYTES])
def test_nothing_pushes_out_a_held_estop(filler: bytes | str) -> None:
    channel = StuckChannel(max_retransmits=None)
    channel.readyState = 'connecting'
    end = ChannelEnd(cast(RTCDataChannel, channel))
    for message in ('first', ESTOP, RELEASE, ESTOP, *[filler] * 2 * MAX_HELD_MESSAGES):
        end.deliver(message)
    channel.readyState = 'open'
    end.set_ready()
    assert channel.sent[:3] == [ESTOP, RELEASE, ESTOP]
    assert len(channel.sent) <= MAX_HELD_MESSAGES
    assert sum(map(len, channel.sent)) <= MAX_HELD_BYTES


def test_of_nothing_but_stops_the_newest_are_held_in_their_order() -> None:
    channel = StuckChannel(max_retransmits=None)
    channel.readyState = 'connecting'
    end = ChannelEnd(cast(RTCDataChannel, channel))
    for _ in range(MAX_HELD_MESSAGES):
        end.deliver(RELEASE)
    end.deliver(PING)
    end.deliver(ESTOP)
    channel.readyState = 'open'
    end.set_ready()
    assert channel.sent == [RELEASE] * (MAX_HELD_MESSAGES - 1) + [ESTOP]


class StuckConnection:
    """A peer connection whose channels lead nowhere."""

    def __init__(self) -> None:
        self.channels: dict[str, StuckChannel] = {}

    def on(self, event: str, callback: Callable[..., Any]) -> None:
        pass

    def createDataChannel(self, label: str, *, maxRetransmits: int | None, **_: Any) -> Any:
        channel = self.channels[label] = StuckChannel(maxRetransmits)
        channel.label = label
        return channel


def bridge() -> tuple[PeerChannels, StuckConnection]:
    """Return a robot's side of the channels to its operator, with their ends."""
    operator, robot = StuckConnection(), StuckConnection()
    here, there = (PeerChannels(cast(RTCPeerConnection, it)) for it in (operator, robot))
    for spec in CHANNELS:
        request = DataChannelRequest(
            label=spec.label, ordered=spec.ordered, max_retransmits=spec.max_retransmits
        )
        if spec.to_robot:
            here.open(request, None, EstopSigner('media', PERSON, lambda stop: None))
            there.open(request, here)
        else:
            there.open(request, None)
    return there, robot


def test_no_command_passes_an_estop_that_waits_for_the_robot_to_be_ready() -> None:
    there, robot = bridge()
    commands = robot.channels[CMD_UNRELIABLE]
    there.deliver(CMD_UNRELIABLE, COMMAND)
    # A message that merely mentions an E-STOP is none.
    there.deliver(STATE_RELIABLE, PING)
    there.deliver(CMD_UNRELIABLE, COMMAND)
    assert commands.sent == [COMMAND, COMMAND]

    there.deliver(STATE_RELIABLE, ESTOP)
    there.deliver(CMD_UNRELIABLE, COMMAND)
    there.deliver(CMD_UNRELIABLE, ESTOP)
    assert commands.sent == [COMMAND, COMMAND, ESTOP]

    there.set_ready()
    assert robot.channels[STATE_RELIABLE].sent == [ESTOP, PING, ESTOP]
    there.deliver(CMD_UNRELIABLE, COMMAND)
    assert commands.sent[-1] == COMMAND


@pytest.mark.parametrize(
    ('label', 'message', 'shows'),
    [
        (MAP_UNRELIABLE, b'{"type": "lease", "token": 1}', True),
        (STATE_RELIABLE_BACK, '{"type": "cmd_ack", "nonce": 1, "ok": true}', True),
        (STATE_RELIABLE_BACK, b'{"type": "pong", "client_ts": 1, "robot_ts": 1}', True),
        (STATE_RELIABLE_BACK, '{"type": "robot_telemetry", "of": "cmd_ack"}', False),
        (MAP_UNRELIABLE, b'{"type": "odom"}', False),
        (MAP_UNRELIABLE, b'lease', False),
    ],
)
def test_a_robot_shows_that_it_listens_though_its_heartbeats_are_lost(
    label: str, message: bytes | str, shows: bool
) -> None:
    there, robot = bridge()
    there.deliver(STATE_RELIABLE, PING)
    there.deliver(STATE_RELIABLE, RELEASE)
    for listener in robot.channels[label].listeners:
        listener(message)
    assert robot.channels[STATE_RELIABLE].sent == ([PING, RELEASE] if shows else [])
    there.deliver(CMD_UNRELIABLE, COMMAND)
    assert robot.channels[CMD_UNRELIABLE].sent == ([COMMAND] if shows else [])


def test_what_shows_that_a_robot_listens_counts_for_one_bridge() -> None:
    there, robot = bridge()
    for listener in robot.channels[MAP_UNRELIABLE].listeners:
        listener(b'{"type": "lease", "token": 1}')
    there.open_for_viewers()
    there.deliver(STATE_RELIABLE, PING)
    assert robot.channels[STATE_RELIABLE].sent == []


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


@pytest.mark.parametrize('max_retransmits', [0, None])
@pytest.mark.parametrize('stop', [ESTOP, RELEASE])
def test_what_waits_to_be_sent_leaves_room_for_an_estop(
    max_retransmits: int | None, stop: StopText
) -> None:
    channel = StuckChannel(max_retransmits)
    end = end_of(channel)
    for _ in range(2000):
        end.deliver(COMMAND)
    end.deliver(stop)
    assert channel.sent[-1] == stop
    for _ in range(10_000):
        end.deliver(stop)
    assert channel.bufferedAmount <= 2 * MAX_BUFFERED_BYTES + len(stop)


# --- floods ----------------------------------------------------------------------------------


def send(guard: FloodGuard, *, rate_hz: float, seconds: float, size: int = 100) -> list[bool]:
    return [guard.take(size, number / rate_hz) for number in range(int(rate_hz * seconds))]


@pytest.mark.parametrize('rate_hz', [15.0, 80.0, 199.0])
def test_what_operators_and_robots_send_passes(rate_hz: float) -> None:
    guard = FloodGuard(0.0)
    assert set(send(guard, rate_hz=rate_hz, seconds=60.0)) == {True}
    assert not guard.is_flooded()


def test_what_a_network_has_held_back_for_two_seconds_passes_at_once() -> None:
    guard = FloodGuard(0.0)
    assert {guard.take(100, 0.0) for _ in range(400)} == {True}
    assert not guard.take(100, 0.0)
    assert not guard.is_flooded()


def test_a_flood_gets_its_share_and_is_noticed() -> None:
    guard = FloodGuard(0.0)
    flows = send(guard, rate_hz=5000.0, seconds=3.0)
    assert not guard.is_flooded()
    assert sum(flows) == pytest.approx(1000, abs=2)
    guard.take(100, 3.2)
    assert guard.take(100, 3.2)
    for number in range(100):
        guard.take(100, 3.2 + number / 1000)
    assert guard.is_flooded()


def test_bursts_with_pauses_are_no_flood() -> None:
    guard = FloodGuard(0.0)
    for second in range(0, 60, 3):
        for _ in range(600):
            guard.take(100, float(second))
        assert not guard.is_flooded()


def test_bytes_count_as_well() -> None:
    guard = FloodGuard(0.0)
    flows = send(guard, rate_hz=100.0, seconds=5.0, size=32 * 1024)
    passed = sum(flows) * 32 * 1024
    assert passed == pytest.approx((1.0 + 5.0 * 0.5) * 1024**2, rel=0.02)
    assert guard.is_flooded()


def test_time_that_goes_back_gives_nothing() -> None:
    guard = FloodGuard(100.0)
    for _ in range(400):
        guard.take(1, 100.0)
    assert not guard.take(1, 0.0)
