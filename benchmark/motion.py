"""Real robots that a Python operator drives; shared by the measurements of the motion path."""

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
from collections import Counter, deque
import contextlib
import json
import time
from typing import Any, Final

import aiohttp
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from python_operator import PythonOperator

from benchmark.running import prepare_environment
from teleop_webrtc_bridge.core.messages import Velocity

__all__ = ['Driver', 'LinkLost', 'Motion', 'prepare_environment']

PERIOD_S: Final = 0.02
"""Tick period of the page."""
ECHO_PERIOD_S: Final = 0.04
"""Effective echo period of the page, a multiple of its tick."""
OPERATOR_BEAT_S: Final = 5.0
LET_GO_S: Final = 0.75
"""If the robot stands this long, the operator releases the key and presses it again."""
RECENT: Final = 500


class LinkLost(Exception):
    """The operator's channel was closed during the drive."""


class Motion:
    """
    The messages of one robot, as its base receives them; written by the ROS thread only.

    :param node: A node for this object only.
    :param robot_id: The id of the robot, which is also its namespace.
    """

    def __init__(self, node: Any, robot_id: str) -> None:
        self.commands = 0
        self.moving = False
        self.stops_s: list[float] = []
        """Times at which a zero followed a motion, in seconds of ``time.monotonic``."""
        self.gaps_ms: Counter[int] = Counter()
        """Intervals between motions, in whole milliseconds."""
        self.counters: dict[str, str] = {}
        """Counters of the gate, from /diagnostics."""
        self.session: dict[str, str] = {}
        """Counters of the WebRTC half, from /diagnostics."""
        self._robot_id = robot_id
        self._topic = f'/{robot_id}/cmd_vel'
        self._moved_s: float | None = None
        node.create_subscription(TwistStamped, self._topic, self._on_command, 50)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_command(self, message: TwistStamped) -> None:
        now = time.monotonic()
        self.commands += 1
        moving = bool(message.twist.linear.x)
        if self.moving and not moving:
            self.stops_s.append(now)
        elif self.moving and self._moved_s is not None:
            self.gaps_ms[round(1e3 * (now - self._moved_s))] += 1
        self.moving = moving
        self._moved_s = now if moving else None

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.hardware_id != self._robot_id:
                continue
            if 'subscribers' in values:
                self.counters = values
            elif 'control_epoch' in values:
                self.session = values

    @property
    def is_heard(self) -> bool:
        """Whether the robot has discovered this subscriber."""
        return int(self.counters.get('subscribers', 0)) > 0


class Driver:
    """
    Holds a key as a page does; owned by the event loop.

    :param person: The operator's connection, which is up.
    :param session_id: The robot's session.
    :param motion: The messages that the robot publishes.
    :param echoes: Echo the robot's tokens, as our page does; old peers don't.
    :param period_s: Time between two commands.
    """

    def __init__(
        self,
        person: PythonOperator,
        session_id: str,
        motion: Motion,
        *,
        echoes: bool,
        period_s: float = PERIOD_S,
    ) -> None:
        self.sent_s: deque[float] = deque(maxlen=RECENT)
        """Send times of the latest commands, in seconds of ``time.monotonic``."""
        self.commands = 0
        self._person = person
        self._session_id = session_id
        self._motion = motion
        self._echoes = echoes
        self._period_s = period_s
        self._lease = ''
        self._echo_due_s = 0.0

    async def begin(self, velocity: Velocity) -> None:
        """
        Hold the key until the robot moves.

        :raises LinkLost: The operator's channel was closed.
        """
        async with asyncio.timeout(30.0):
            while not self._motion.moving:
                await self._hold(Velocity(), 0.3)
                await self._hold(velocity, 0.5)

    async def drive(self, velocity: Velocity, seconds: float) -> None:
        """
        Hold the key; if the robot stands still for long, press it again.

        :raises LinkLost: The operator's channel was closed.
        """
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0.0:
            await self._hold(velocity, min(LET_GO_S, left_s))
            if not self._motion.moving:
                await self._hold(Velocity(), 0.3)

    async def beat(self) -> None:
        """Send the operator's heartbeats to the broker, until cancelled."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, ValueError):
                await self._person.call('POST', f'sessions/{self._session_id}/op-heartbeat')
            await asyncio.sleep(OPERATOR_BEAT_S)

    async def _hold(self, velocity: Velocity, seconds: float) -> None:
        due_s = time.monotonic()
        end_s = due_s + seconds
        while due_s < end_s:
            if not self._person.can_drive:
                raise LinkLost
            self._person.drive(velocity)
            self.sent_s.append(time.monotonic())
            self.commands += 1
            if self._echoes and due_s >= self._echo_due_s:
                self._echo_due_s = due_s + ECHO_PERIOD_S
                self._echo()
            due_s = max(due_s + self._period_s, time.monotonic() - self._period_s)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    def _echo(self) -> None:
        for _, message in self._person.received:
            if isinstance(message, bytes) and b'"lease"' in message:
                token = json.loads(message)['token']
                self._lease = json.dumps({'type': 'lease', 'token': token})
        self._person.received.clear()
        if self._lease:
            self._person.send('cmd_unreliable', self._lease.encode())
