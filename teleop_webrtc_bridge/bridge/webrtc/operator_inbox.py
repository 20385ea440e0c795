"""What the operator sends, thinned out before the ROS half has to read it."""

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
from teleop_webrtc_bridge.bridge.webrtc.ros_link import Newest, RosLink
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    Estop,
    Lease,
    OperatorMessage,
    STATE_RELIABLE,
)
from teleop_webrtc_bridge.core.motion.command_frames import CommandFrames
from teleop_webrtc_bridge.core.rate_limit import MessageBudget

__all__ = ['OperatorInbox', 'operator_budget']

MESSAGES_PER_S: Final = 300.0
"""Commands at 80 Hz, echoes of the lease at 33 Hz and E-STOPs at 50 Hz are 163."""
BURST_MESSAGES: Final = 600.0
"""What a network that has held all of these back for three seconds delivers at once."""
BYTES_PER_S: Final = 512.0 * 1024
BURST_BYTES: Final = 1024.0 * 1024
TURN_S: Final = 0.01
"""How soon what is held is tried again."""

_NEWEST: Final[dict[type, Newest]] = {
    Estop: Newest.ESTOP,
    Lease: Newest.LEASE,
    DriveCommand: Newest.COMMAND,
}


def operator_budget(now_s: float) -> MessageBudget:
    """Return the budget of one channel; ``now_s`` in monotonic seconds."""
    return MessageBudget((MESSAGES_PER_S, BURST_MESSAGES), (BYTES_PER_S, BURST_BYTES), now_s)


class OperatorInbox:
    """
    A budget for each channel, and one for E-STOPs, which no other message can use up.

    Of what is above a limit, the newest E-STOP, lease and command wait for the next token; the
    rest is lost. A command that does not mean the base never takes the place of one that does:
    what it would delete may be the zero of the base. Owned by the event loop.

    :param link: To the ROS half.
    :param frames: Tells which commands do not mean the base.
    """

    def __init__(self, link: RosLink, frames: CommandFrames) -> None:
        self.counters: Counter[str] = Counter()
        now_s = time.monotonic()
        self._budgets = {
            label: operator_budget(now_s) for label in (CMD_UNRELIABLE, STATE_RELIABLE)
        }
        self._estops = operator_budget(now_s)
        self._waiting: dict[Newest, Received] = {}
        self._turn: asyncio.TimerHandle | None = None
        self._link = link
        self._frames = frames

    def admit(self, received: Received, message: OperatorMessage | None) -> bool:
        """
        Return whether a message is within the limits; if not, deal with it.

        :param message: What it says; ``None`` if that is nothing.
        """
        kind = self._kind(message)
        # However many jogs there are, the next token is for the command that waits.
        is_behind = kind is Newest.OTHER_COMMAND and Newest.COMMAND in self._waiting
        if not is_behind and self._take(kind, received):
            if kind is not None:
                self._waiting.pop(kind, None)
            return True
        self.counters[f'excess_{received.label}'] += 1
        if kind is not None:
            self._waiting[kind] = received
            self._schedule()
        return False

    def deliver(self, received: Received, message: OperatorMessage | None) -> None:
        """Hand a message that was admitted to the ROS half."""
        kind = self._kind(message)
        if kind is None:
            self._link.send(received)
        else:
            self._link.send_newest(kind, received)

    def forget_motion(self) -> None:
        """Hold no command any more: another operator, or none, is in control."""
        estop = self._waiting.get(Newest.ESTOP)
        self._waiting = {} if estop is None else {Newest.ESTOP: estop}
        self._link.forget_motion()

    def _kind(self, message: OperatorMessage | None) -> Newest | None:
        if isinstance(message, DriveCommand) and self._frames.refused(message) is not None:
            return Newest.OTHER_COMMAND
        return _NEWEST.get(type(message))

    def _take(self, kind: Newest | None, received: Received) -> bool:
        budget = self._estops if kind is Newest.ESTOP else self._budgets[received.label]
        return budget.take(len(received.payload), time.monotonic())

    def _schedule(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(TURN_S, self._release)

    def _release(self) -> None:
        self._turn = None
        for kind, received in sorted(self._waiting.items()):
            if self._take(kind, received):
                del self._waiting[kind]
                self._link.send_newest(kind, received)
        if self._waiting:
            self._schedule()
