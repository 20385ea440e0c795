"""
The packets between the ROS half and the WebRTC half.

They travel over an AF_UNIX SOCK_SEQPACKET pair, one packet per message: a kind byte, a fixed head
and a payload. Both ends always have the same version, so the format may change freely. Monotonic
times are valid on both ends: all processes share CLOCK_MONOTONIC.
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

from collections.abc import Callable
import dataclasses
from dataclasses import dataclass
import enum
import json
import math
import select
import socket
import struct
from typing import Any, Final

from teleop_webrtc_bridge.core.configuration import (
    BridgeConfiguration,
    CameraConfiguration,
    CameraKind,
    VideoConfiguration,
)
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import CHANNELS
from teleop_webrtc_bridge.core.session import BridgeState

__all__ = [
    'MAX_PACKET_BYTES',
    'Configure',
    'Packet',
    'Received',
    'Send',
    'Show',
    'Shutdown',
    'Status',
    'backlog_check',
    'decode',
    'encode',
]

MAX_PACKET_BYTES: Final = 128 * 1024
_LABELS: Final = tuple(spec.label for spec in CHANNELS)
_SEND_HEAD: Final = struct.Struct('<BB??')
_RECEIVED_HEAD: Final = struct.Struct('<BBd')
#: Exceptions that reading broken bytes raises.
_BROKEN: Final = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(RecursionError, struct.error),
)


class _Kind(enum.IntEnum):
    CONFIGURE = 1
    SEND = 2
    SHUTDOWN = 3
    RECEIVED = 4
    STATUS = 5
    SHOW = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """ROS → WebRTC, the first packet: the configuration."""

    configuration: BridgeConfiguration


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """ROS → WebRTC: send this to the operator."""

    label: str
    payload: bytes
    text: bool
    urgent: bool
    """Whether the operator waits for it: an acknowledgement, not telemetry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """ROS → WebRTC: show these cameras from now on."""

    cameras: tuple[str, ...]
    """Their names, from the left; at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """ROS → WebRTC: say goodbye to the broker and exit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """WebRTC → ROS: the operator sent this; not yet checked."""

    label: str
    payload: bytes
    arrival_s: float
    """``time.monotonic`` at its arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """WebRTC → ROS: on every change and once a second."""

    state: BridgeState
    reason: str
    control_epoch: int
    """Rises with every operator and every session: commands of two epochs never mix."""
    counters: dict[str, float]
    path: str = ''
    """``direct``, or the relay over which the broker is reached; empty: not connected."""


Packet = Configure | Send | Show | Shutdown | Received | Status


def encode(packet: Packet) -> bytes:
    """Return the packet's bytes."""
    match packet:
        case Received():
            label = _LABELS.index(packet.label)
            return _RECEIVED_HEAD.pack(_Kind.RECEIVED, label, packet.arrival_s) + packet.payload
        case Send():
            label = _LABELS.index(packet.label)
            head = _SEND_HEAD.pack(_Kind.SEND, label, packet.text, packet.urgent)
            return head + packet.payload
        case Status():
            fields = dataclasses.asdict(packet) | {'state': packet.state.value}
            return bytes([_Kind.STATUS]) + json.dumps(fields).encode()
        case Configure():
            fields = dataclasses.asdict(packet.configuration)
            return bytes([_Kind.CONFIGURE]) + json.dumps(fields).encode()
        case Show():
            return bytes([_Kind.SHOW]) + json.dumps({'cameras': packet.cameras}).encode()
        case Shutdown():
            return bytes([_Kind.SHUTDOWN])


def decode(data: bytes) -> Packet:
    """
    Return the packet.

    :raises ProtocolError: The bytes are not a packet: the other half is broken.
    """
    try:
        kind = _Kind(data[0])
        if kind is _Kind.RECEIVED:
            _, label, arrival_s = _RECEIVED_HEAD.unpack_from(data)
            if not math.isfinite(arrival_s):
                raise ValueError('the arrival time is not finite')
            payload = data[_RECEIVED_HEAD.size :]
            return Received(label=_LABELS[label], payload=payload, arrival_s=arrival_s)
        if kind is _Kind.SEND:
            _, label, text, urgent = _SEND_HEAD.unpack_from(data)
            payload = data[_SEND_HEAD.size :]
            return Send(label=_LABELS[label], payload=payload, text=text, urgent=urgent)
        if kind is _Kind.SHUTDOWN:
            return Shutdown()
        return _decode_json(kind, json.loads(data[1:]))
    except _BROKEN as error:
        raise ProtocolError(f'broken link packet: {error!r}') from error


def _decode_json(kind: _Kind, fields: dict[str, Any]) -> Packet:
    if kind is _Kind.STATUS:
        status = Status(**fields | {'state': BridgeState(fields['state'])})
        _check_status(status)
        return status
    if kind is _Kind.SHOW:
        return Show(cameras=tuple(map(str, fields['cameras'])))
    video = VideoConfiguration(**fields['video'])
    cameras = tuple(
        CameraConfiguration(**camera | {'kind': CameraKind(camera['kind'])})
        for camera in fields['cameras']
    )
    frames = tuple(map(str, fields['command_frames_refused']))
    values = fields | {'video': video, 'cameras': cameras, 'command_frames_refused': frames}
    return Configure(configuration=BridgeConfiguration(**values))


def _check_status(status: Status) -> None:
    """
    Check the fields: they come from the half that parses bytes from the network.

    :raises ValueError: A field has the wrong type or is not finite.
    """
    numbers = status.counters.values()
    texts = (status.reason, status.path)
    if not all(isinstance(text, str) for text in texts) or type(status.control_epoch) is not int:
        raise ValueError('a status with a wrong type')
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError('a status with a number that is not finite')


def backlog_check(link: socket.socket) -> Callable[[], bool]:
    """
    Return a predicate that tells whether the other half still has to read much of what was sent.

    The kernel calls an AF_UNIX socket writable while at most a quarter of its buffer is in use
    (``unix_writable``). Routine packets that are sent only then leave the rest to urgent ones.
    """
    poll = select.poll()
    poll.register(link, select.POLLOUT)
    return lambda: not any(events & select.POLLOUT for _, events in poll.poll(0))
