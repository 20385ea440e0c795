"""The operator's messages on their way to the ROS half: sorted and limited."""

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
import time
from typing import Final

from teleop_webrtc_bridge.bridge.link.packets import Received
from teleop_webrtc_bridge.bridge.webrtc.ros_link import Newest, NOT_FOR_THE_BASE, RosLink
from teleop_webrtc_bridge.core.codec import begins_json, decode_command, decode_state
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    Estop,
    JoyState,
    Lease,
    OperatorMessage,
    Ping,
    PoseCommand,
    STATE_RELIABLE,
)
from teleop_webrtc_bridge.core.motion.command_frames import CommandFrames
from teleop_webrtc_bridge.core.rate_limit import MessageBudget

__all__ = ['OperatorInbox', 'operator_budget']

MESSAGES_PER_S: Final = 300.0
"""Commands at 80 Hz, lease echoes at 33 Hz and E-STOPs at 50 Hz make 163."""
BURST_MESSAGES: Final = 600.0
"""More than three seconds of them, which a network may hold back and then deliver at once."""
BYTES_PER_S: Final = 512.0 * 1024
BURST_BYTES: Final = 1024.0 * 1024
RETRY_S: Final = 0.01
"""Pause before messages that wait for a token are tried again."""

_NEWEST: Final[dict[type, Newest]] = {
    Estop: Newest.ESTOP,
    Lease: Newest.LEASE,
    DriveCommand: Newest.COMMAND,
}
_JOYS: Final = {'left': Newest.LEFT_JOY, 'right': Newest.RIGHT_JOY}
_POSES: Final = {'left': Newest.LEFT_POSE, 'right': Newest.RIGHT_POSE}


def operator_budget(now_s: float) -> MessageBudget:
    """Return the budget of one channel; ``now_s`` in monotonic seconds."""
    return MessageBudget((MESSAGES_PER_S, BURST_MESSAGES), (BYTES_PER_S, BURST_BYTES), now_s)


class OperatorInbox:
    """
    Passes the operator's messages to the ROS half, within limits; owned by the event loop.

    Each channel has a budget, and E-STOPs have one that no other message can use up. Above a
    budget, the newest E-STOP, lease and command wait for the next token, and everything else is
    lost. A command for something other than the base never replaces one for the base, which may be
    its zero.

    :param link: To the ROS half.
    :param frames: Tells which commands are not for the base.
    """

    def __init__(self, link: RosLink, frames: CommandFrames) -> None:
        self.counters: Counter[str] = Counter()
        now_s = time.monotonic()
        self._budgets = {
            label: operator_budget(now_s) for label in (CMD_UNRELIABLE, STATE_RELIABLE)
        }
        self._estops = operator_budget(now_s)
        self._waiting: dict[Newest, Received] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._link = link
        self._frames = frames

    def take(self, received: Received) -> Ping | None:
        """
        Pass a message on, hold it, or drop it.

        :returns: A clock probe, which the caller answers at once.
        """
        is_command = received.label == CMD_UNRELIABLE and not begins_json(received.payload)
        if is_command and not self._waiting and self._link.is_clear() and self._admit(received):
            # The usual path: the ROS half decodes and judges the command. Its meaning matters here
            # only if it has to wait: it decides which older command this one replaces.
            self._link.send(received)
            return None
        message = _meaning(received)
        kind = self._kind(message)
        # A waiting command for the base gets the next token, however many others come.
        is_behind = kind in NOT_FOR_THE_BASE and Newest.COMMAND in self._waiting
        if is_behind or not self._admit(received, kind):
            self.counters[f'excess_{received.label}'] += 1
            if kind is not None:
                self._waiting[kind] = received
                self._schedule()
        elif kind is not None:
            self._waiting.pop(kind, None)
            self._link.send_newest(kind, received)
        elif isinstance(message, Ping) and received.label == STATE_RELIABLE:
            return message
        else:
            self._link.send(received)
        return None

    def forget_motion(self) -> None:
        """Drop the commands and leases that wait: another operator, or nobody, is in control."""
        estop = self._waiting.get(Newest.ESTOP)
        self._waiting = {} if estop is None else {Newest.ESTOP: estop}
        self._link.forget_motion()

    def _kind(self, message: OperatorMessage | None) -> Newest | None:
        if isinstance(message, DriveCommand) and self._frames.refused(message) is not None:
            return Newest.OTHER_COMMAND
        if isinstance(message, JoyState):
            return _JOYS.get(message.frame_id, Newest.JOY)
        if isinstance(message, PoseCommand):
            return _POSES[message.hand]
        return _NEWEST.get(type(message))

    def _admit(self, received: Received, kind: Newest | None = None) -> bool:
        budget = self._estops if kind is Newest.ESTOP else self._budgets[received.label]
        return budget.take(len(received.payload), time.monotonic())

    def _schedule(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._release)

    def _release(self) -> None:
        self._retry = None
        for kind, received in sorted(self._waiting.items()):
            if self._admit(received, kind):
                del self._waiting[kind]
                self._link.send_newest(kind, received)
        if self._waiting:
            self._schedule()


def _meaning(received: Received) -> OperatorMessage | None:
    """Return the decoded message; ``None``: the ROS half will ignore it or count it as broken."""
    try:
        if received.label == CMD_UNRELIABLE:
            return decode_command(received.payload)
        return decode_state(received.payload)
    except ProtocolError:
        return None
