"""Many WebRTC halves that share one key, one real broker process, and one operator per robot."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import time

from detour import Detour, detour_to
from programs import free_port, Program, Programs
import psutil
from python_operator import operator, PythonOperator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.session import BridgeState

OWNER = 'owner'
DRIVEN_S = 120.0
"""Time limit for all commands of one operator."""
TAG_M_S = 0.001
"""Robot number n is driven at (n + 1) times this speed only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Total resources of some processes."""

    descriptors: int
    threads: int
    rss_mb: float

    @classmethod
    def of(cls, *pids: int) -> Resources:
        processes = [psutil.Process(pid) for pid in pids]
        return cls(
            descriptors=sum(process.num_fds() for process in processes),
            threads=sum(process.num_threads() for process in processes),
            rss_mb=sum(process.memory_info().rss for process in processes) / 1e6,
        )


class Fleet:
    """
    The broker and its robots.

    :param folder: For state and logs.
    :param operators: How many operators there will be; each has their own token, because
        joins are limited per operator.
    """

    def __init__(self, folder: Path, *, operators: int) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.by_number: dict[int, WebrtcHalf] = {}
        self.detours: dict[int, Detour] = {}
        self._state_dir = folder / 'state'
        self._programs = Programs(folder)
        self._program: Program | None = None
        self._ready = asyncio.Event()
        self._ready_s = 0.0
        with closing(Store.open(self._state_dir)) as store:
            _, self.key = store.create_robot_key(
                name='fleet', robot_id=None, owner=OWNER, now_s=time.time()
            )
            self.tokens = [
                store.create_operator_token(
                    sub=f'admin-{number}', role=Role.ADMIN, now_s=time.time(), expires_at_s=None
                )
                for number in range(operators)
            ]

    @property
    def broker_pid(self) -> int:
        assert self._program is not None
        return self._program.pid

    async def start_broker(self) -> None:
        """Start the broker, always with the same port and state."""
        self._program = self._programs.start(
            'broker.main', '--port', str(self.port), '--state-dir', str(self._state_dir)
        )
        await asyncio.to_thread(self._program.wait_for_line, 'event=broker_ready')
        self._ready_s = time.monotonic()
        self._ready.set()

    async def broker_ready_s(self) -> float:
        """Wait for the broker and return when it became ready (``time.monotonic``)."""
        await self._ready.wait()
        return self._ready_s

    async def kill_broker(self) -> None:
        assert self._program is not None
        self._ready.clear()
        self._program.process.kill()
        await asyncio.to_thread(self._program.process.wait)

    async def add_robot(self, stack: AsyncExitStack, number: int, *, detoured: bool) -> WebrtcHalf:
        """
        Start the robot with this number.

        :param detoured: Let it dial through its own detour, which is then in :attr:`detours`.
        """
        url = self.url
        if detoured:
            self.detours[number] = await stack.enter_async_context(detour_to(self.url))
            url = self.detours[number].url
        robot = await stack.enter_async_context(
            webrtc_half(configuration(url, self.key, f'robot-{number}'), self.folder)
        )
        self.by_number[number] = robot
        return robot

    @property
    def robots(self) -> list[WebrtcHalf]:
        return [self.by_number[number] for number in sorted(self.by_number)]

    async def everybody_is_there(self, *, timeout_s: float) -> None:
        await asyncio.gather(*(robot.connected(timeout_s=timeout_s) for robot in self.robots))

    async def listed(self) -> int:
        """Return how many robots the broker lists."""
        async with operator(self.url, self.tokens[0]) as person:
            return len(await person.robots())

    async def nobody_drives(self, *, timeout_s: float) -> None:
        """Wait until no robot has an operator."""
        await asyncio.gather(
            *(
                robot.until(
                    partial(_is_alone, robot),
                    'without an operator',
                    timeout_s=timeout_s,
                )
                for robot in self.robots
            )
        )

    async def drive_all(self, commands_each: int, *, period_s: float) -> int:
        """Drive each robot by its own operator; return how many commands arrived."""
        for robot in self.robots:
            robot.commands.clear()
        await asyncio.gather(
            *(self._drive(number, commands_each, period_s) for number in range(len(self.robots)))
        )
        return sum(len(robot.commands) for robot in self.robots)

    async def _drive(self, number: int, commands: int, period_s: float) -> None:
        """Drive one robot; after a lost link (on a busy machine), join again as a page does."""
        sent = 0
        async with asyncio.timeout(DRIVEN_S):
            while sent < commands:
                sent += await self._drive_on(number, commands - sent, period_s)

    async def _drive_on(self, number: int, commands: int, period_s: float) -> int:
        """Return how many commands were sent while the link was up."""
        async with operator(self.url, self.tokens[number], with_video=False) as person:
            session_id = await person.wait_for_robot(f'robot-{number}')
            await person.connect(session_id)
            beating = asyncio.create_task(_beat(person, session_id))
            try:
                sent = await _send(person, number, commands, period_s)
            finally:
                beating.cancel()
            if sent == commands:
                # The ping follows the commands: once answered, they have arrived or are lost.
                robot = self.robots[number]
                await robot.until(lambda: robot.commands, f'a command at robot {number}')
                await person.ping()
            return sent

    def strangers(self) -> list[tuple[int, float]]:
        """Return each command that reached the wrong robot."""
        return [
            (number, command.velocity.linear_x)
            for number, robot in enumerate(self.robots)
            for command in robot.commands
            if command.velocity.linear_x != (number + 1) * TAG_M_S
        ]

    def end(self) -> None:
        if self._program is not None and self._program.process.poll() is None:
            self._program.end()


async def _beat(person: PythonOperator, session_id: str) -> None:
    """Send the operator's heartbeats to the broker."""
    while True:
        await person.call('POST', f'sessions/{session_id}/op-heartbeat')
        await asyncio.sleep(5.0)


async def _send(person: PythonOperator, number: int, commands: int, period_s: float) -> int:
    """Return how many commands were sent before the link was lost."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for sent in range(commands):
        if not person.can_drive:
            return sent
        person.drive(Velocity(linear_x=(number + 1) * TAG_M_S))
        due += period_s
        await asyncio.sleep(max(0.0, due - loop.time()))
    return commands


@asynccontextmanager
async def fleet(folder: Path, count: int, *, detoured: bool = False) -> AsyncIterator[Fleet]:
    """
    Start a broker and this many robots, and continue when all of them are connected.

    :param detoured: Let each robot dial through its own detour.
    """
    running = Fleet(folder, operators=count)
    try:
        await running.start_broker()
        async with AsyncExitStack() as stack:
            await asyncio.gather(
                *(running.add_robot(stack, number, detoured=detoured) for number in range(count))
            )
            await running.everybody_is_there(timeout_s=60.0)
            yield running
    finally:
        await asyncio.to_thread(running.end)


async def reconnect_times(running: Fleet) -> tuple[list[float], list[float]]:
    """
    Kill the broker and restart it.

    :returns: For each robot, the seconds until it was connected again: from the kill, and from
        when the broker was ready.
    """
    epochs = [robot.status.control_epoch for robot in running.robots if robot.status]
    killed_s = time.monotonic()
    await running.kill_broker()
    await running.start_broker()
    ready_s = time.monotonic()
    back = await asyncio.gather(
        *(
            robot.reconnected(epoch, timeout_s=60.0)
            for robot, epoch in zip(running.robots, epochs, strict=True)
        )
    )
    return sorted(at - killed_s for at in back), sorted(at - ready_s for at in back)


def _is_alone(robot: WebrtcHalf) -> bool:
    return robot.state is BridgeState.CONNECTED
