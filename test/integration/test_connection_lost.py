"""Loss of the peer connection while both of the robot's processes keep running."""

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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from counted_broker import CountedBroker
from detour import Detour, detour_to, Direction
from diagnostic_msgs.msg import DiagnosticArray
from programs import Programs
import pytest
from python_operator import operator, PythonOperator
from ros_probe import ros_node, RosProbe
from waiting import until

from teleop_webrtc_bridge.core.messages import Velocity

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

ROBOT_ID = 'go2-a'
FORWARD = Velocity(linear_x=0.3)
PERIOD_S = 0.02
REFUSED = 25
"""Number of refused commands that proves that a held key is refused."""


class Road:
    """One robot behind a detour, with the commands to its base and its gate's refusals."""

    def __init__(self, broker: CountedBroker, detour: Detour, node: Any) -> None:
        self.broker = broker
        self.detour = detour
        self.probe = RosProbe(node)
        self._counters: dict[str, str] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._counters |= {pair.key: pair.value for pair in status.values}

    def refused(self, verdict: str) -> int:
        return int(float(self._counters.get(verdict, 0)))

    async def is_connected(self) -> None:
        await until(lambda: self.probe.state == 'connected', 'connected')

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[PythonOperator]:
        async with operator(self.broker.url, self.broker.token, with_video=False) as person:
            await person.connect(await person.wait_for_robot(ROBOT_ID))
            yield person

    async def lose(self, person: PythonOperator, loss: Callable[[], Awaitable[None]]) -> None:
        """Lose the connection while a key is held; return when a new one is up."""
        told = len(self.probe.states)
        holding = asyncio.create_task(hold(person, FORWARD, lambda: not person.can_drive))
        await loss()
        await until(
            lambda: any(state['state'] == 'backing_off' for state in self.probe.states[told:]),
            'the loss is noticed',
        )
        await until(self.probe.standing, 'the zero')
        stopped = len(self.probe.commands)
        self.detour.cut.clear()
        await self.is_connected()
        await holding
        assert all(command.is_zero for command in self.probe.commands[stopped:])

    async def cut(self) -> None:
        self.detour.cut |= set(Direction)

    async def close(self) -> None:
        """Let the broker close the robot's connection."""
        offers = self.broker.media.offers
        robots = [media_id for media_id, offer in offers.items() if 'm=video' in offer]
        await self.broker.media.close_session(robots[-1])

    async def is_refused(self, person: PythonOperator, verdict: str) -> None:
        """Hold a key until it is certain that its commands are refused."""
        before = self.refused(verdict)
        told = len(self.probe.commands)
        await hold(person, FORWARD, lambda: self.refused(verdict) >= before + REFUSED)
        assert all(command.is_zero for command in self.probe.commands[told:])

    async def moves(self, person: PythonOperator) -> None:
        """Release the key, press it again, and wait for motion."""
        await let_go(person)
        await hold(person, FORWARD, self.probe.moving)


async def hold(person: PythonOperator, velocity: Velocity, done: Callable[[], Any]) -> None:
    """Hold a key, with a command at 50 Hz, until a condition is true."""
    held_s = None
    async with asyncio.timeout(25.0):
        while not done():
            if person.can_drive:
                person.drive(velocity, held_s=held_s)
                held_s = PERIOD_S
            await asyncio.sleep(PERIOD_S)


async def let_go(person: PythonOperator) -> None:
    for _ in range(5):
        person.drive(Velocity())
        await asyncio.sleep(PERIOD_S)


async def test_after_a_lost_connection_a_held_key_moves_nothing_and_a_latch_holds(
    broker: CountedBroker, started: Programs
) -> None:
    async with detour_to(broker.url) as detour:
        with ros_node() as node:
            started.start_bridge(
                detour.url, broker.key_file, ROBOT_ID, '-p', 'max_linear_acceleration:=0.0'
            )
            road = Road(broker, detour, node)
            await road.is_connected()
            async with road.operator() as person:
                await road.moves(person)
                await road.lose(person, road.cut)
            async with road.operator() as person:
                await road.is_refused(person, 'dropped_not_neutral')
                await road.moves(person)
                assert (await person.request('estop', 'red'))['ok'] is True
                await until(road.probe.standing, 'the E-STOP')
                await road.lose(person, road.close)
            async with road.operator() as person:
                assert road.probe.said('estopped') is True
                await let_go(person)
                await road.is_refused(person, 'dropped_estop')
                assert (await person.request('estop_clear', 'green'))['ok'] is True
                await road.is_refused(person, 'dropped_not_neutral')
                await road.moves(person)
        await asyncio.to_thread(started.end)
        started.running.clear()


async def test_an_operator_who_connects_hears_from_the_broker_that_the_session_is_over(
    broker: CountedBroker, started: Programs
) -> None:
    bridge = started.start_bridge(broker.url, broker.key_file, ROBOT_ID)
    async with (
        detour_to(broker.url) as detour,
        operator(detour.url, broker.token, with_video=False) as person,
    ):
        detour.cut |= set(Direction)
        connecting = asyncio.create_task(person.connect(await person.wait_for_robot(ROBOT_ID)))
        await until(lambda: detour.seen[Direction.TO_BROKER], 'it tries to connect')
        await asyncio.to_thread(bridge.end)
        with pytest.raises(ConnectionError, match='the session has ended'):
            await connecting
