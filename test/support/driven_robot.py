"""A real robot that a Python operator drives, and a probe that listens like its base."""

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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
import itertools
from pathlib import Path
import time
from typing import Any

from programs import Broker, Program, Programs, wait_for
from python_operator import operator, PythonOperator
from ros_probe import Acquaintance, Command, ros_node, RosProbe

from teleop_webrtc_bridge.core.messages import Velocity

ROBOT_ID = 'driven'
TIMEOUT_S = 1.0
"""The longest ``command_timeout``: a busy test machine must not stop the robot."""
PATIENCE_S = 30.0
PERIOD_S = 0.02
BEAT_S = 5.0
FORWARD = Velocity(linear_x=0.5)


@dataclass(frozen=True, kw_only=True)
class DrivenRobot:
    """A bridge, its broker and operator, and a separate node that receives ``cmd_vel``."""

    broker: Broker
    bridge: Program
    person: PythonOperator
    probe: RosProbe
    node: Any

    async def hold(
        self,
        velocity: Velocity,
        condition: Callable[[], Any],
        *,
        period_s: float = PERIOD_S,
        still: bool = False,
    ) -> None:
        """
        Hold a key until a condition is true.

        :param still: Whether the key has been held since the command before.
        """
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.person.drive(velocity, held_s=period_s if still else None)
                still = True
                await asyncio.sleep(period_s)

    async def hold_for(
        self,
        velocity: Velocity,
        seconds: float,
        *,
        period_s: float = PERIOD_S,
        still: bool = False,
    ) -> None:
        """Hold a key for some time, as :meth:`hold` does."""
        end_s = time.monotonic() + seconds
        await self.hold(velocity, lambda: time.monotonic() > end_s, period_s=period_s, still=still)

    async def set_off(self) -> None:
        """Start driving from neutral."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.probe.moving():
                await self.hold_for(Velocity(), 0.2)
                await self.hold_for(FORWARD, 0.3)

    async def move_with_nothing_under_way(self) -> None:
        """
        Drive until the base has received the newest command.

        No other command is published later: it would be older than the newest one.
        """
        async with asyncio.timeout(PATIENCE_S):
            for number in itertools.count():
                await self.set_off()
                # Slower, because only a rising speed is limited; and different each time.
                newest = Velocity(linear_x=0.1 + 0.001 * number)
                self.person.drive(newest)
                end_s = time.monotonic() + TIMEOUT_S
                while time.monotonic() < end_s:
                    last = self.probe.last()
                    if last is not None and last.linear_x == newest.linear_x:
                        return
                    await asyncio.sleep(0.001)

    async def falls_silent(self) -> Command:
        """
        Stop sending, and return the zero that follows.

        It must arrive while the operator is still there, because an operator who leaves stops the
        robot as well.
        """
        seen = len(self.probe.commands)
        await asyncio.to_thread(wait_for, self.probe.standing, what='the zero')
        assert self.person.can_drive
        assert self.probe.state == 'operated'
        return next(it for it in self.probe.commands[seen:] if it.is_zero)

    async def assert_drives_and_stops(self) -> list[Command]:
        """Drive for a while without a stop, then fall silent; return the commands of the drive."""
        await self.set_off()
        begin = len(self.probe.commands)
        await self.hold_for(FORWARD, 0.5)
        heard = self.probe.commands[begin:]
        assert heard
        assert not any(command.is_zero for command in heard)
        await self.falls_silent()
        return heard


@asynccontextmanager
async def driven_robot(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> AsyncIterator[DrivenRobot]:
    """
    Start a broker and a bridge, and connect an operator.

    :param options: Options of the bridge.
    :param environment: Added to this process's environment, for the bridge only.
    :param launcher: Command before the bridge's command line; its process becomes the bridge.
    """
    broker_side, robot_side = Programs(folder), Programs(folder, environment, launcher)
    try:
        broker = await asyncio.to_thread(broker_side.start_broker)
        bridge = robot_side.start_bridge(
            broker.url,
            broker.key_file,
            ROBOT_ID,
            *('-p', f'command_timeout:={TIMEOUT_S}'),
            *options,
        )
        with ros_node('base') as node:
            probe, acquaintance = RosProbe(node), Acquaintance(node)
            async with operator(broker.url, broker.token, with_video=False) as person:
                session_id = await person.wait_for_robot(ROBOT_ID)
                await person.connect(session_id)
                await asyncio.to_thread(
                    wait_for, lambda: acquaintance.made('/cmd_vel'), timeout_s=PATIENCE_S
                )
                beating = asyncio.create_task(_beat(person, session_id))
                try:
                    yield DrivenRobot(
                        broker=broker, bridge=bridge, person=person, probe=probe, node=node
                    )
                finally:
                    beating.cancel()
    finally:
        await asyncio.to_thread(robot_side.end)
        await asyncio.to_thread(broker_side.end)


async def _beat(person: PythonOperator, session_id: str) -> None:
    """Send the operator's heartbeats to the broker."""
    while True:
        await person.call('POST', f'sessions/{session_id}/op-heartbeat')
        await asyncio.sleep(BEAT_S)
