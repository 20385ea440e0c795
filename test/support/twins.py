"""Two robots with the same id that take over from each other, and an operator."""

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
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from counted_broker import CountedBroker
from python_operator import operator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.session import BridgeState

ROBOT_ID = 'twin'
PERIOD_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Commands that arrived while one robot was driven until its twin dialled in."""

    sent: int
    arrived: int
    astray: int
    """Commands that arrived at the twin, or that belong to an earlier turn."""


async def take_turns(broker: CountedBroker, folder: Path, takeovers: int) -> list[Turn]:
    """
    Drive one robot until its twin dials in, then the twin, and so on.

    :raises AssertionError: A robot does not appear, or is not told that it was superseded.
    """
    key = broker.key_file.read_text()
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                webrtc_half(configuration(broker.url, key, ROBOT_ID), folder)
            )
            for _ in range(2)
        ]
        told = [asyncio.create_task(it.in_state(BridgeState.SUPERSEDED)) for it in (one, two)]
        _, others = await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        holder, other = (one, two) if two.state is BridgeState.SUPERSEDED else (two, one)
        turns = []
        for number in range(takeovers):
            turns.append(await _drive_and_lose(broker, holder, other, tag=0.1 + 0.001 * number))
            holder, other = other, holder
        return turns


async def _drive_and_lose(
    broker: CountedBroker, holder: WebrtcHalf, other: WebrtcHalf, tag: float
) -> Turn:
    """Drive one robot until its twin dials in; the twin must receive no commands."""
    await holder.connected()
    holder.commands.clear()
    other.commands.clear()
    sent = 0
    async with operator(broker.url, broker.token, with_video=False) as person:
        await person.connect(await person.wait_for_robot(ROBOT_ID))
        other.statuses.clear()
        other.kill()
        while person.can_drive:
            person.drive(Velocity(linear_x=tag))
            sent += 1
            await asyncio.sleep(PERIOD_S)
    await holder.until(lambda: holder.state is BridgeState.SUPERSEDED, 'told')
    await other.connected()
    here = [command.velocity.linear_x for command in holder.commands]
    wrong = sum(value != tag for value in here)
    return Turn(sent=sent, arrived=len(here) - wrong, astray=wrong + len(other.commands))
