"""
The operator program: ``python3 -m benchmark.faults.driver URL TOKEN ROBOT_ID SEND_LOG``.

Reconnects as often as necessary, reads orders from its standard input, and writes events to its
standard output, each as one JSON object per line. Like the page, it sends 50 commands per second
and echoes the robot's newest token; it never releases a key by itself.
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

import asyncio
from contextlib import suppress
import json
import os
from pathlib import Path
import random
import sys
import time
from typing import Any, Final

import aiohttp
from aiortc.exceptions import InvalidStateError
from python_operator import HEARTBEAT_PERIOD_S, operator, PythonOperator

from benchmark.faults.send_log import SendLog
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    MAP_UNRELIABLE,
    STATE_RELIABLE,
    Velocity,
)

TICK_S: Final = 0.02
ECHO_TICKS: Final = 2
FRAME_TICKS: Final = 5
CONNECT_S: Final = 6.0
RETRY_S: Final = 0.1
SILENCE_S: Final = 5.0
"""Silence of the robot after which the link is given up, as in the page."""
PICTURE_S: Final = 0.5
"""Time without a new picture after which a keyframe is requested."""
DEAF_S: Final = 0.5
"""Silence after which the operator counts as disconnected."""
LATE_S: Final = 0.06
"""Later ticks are reported: the machine, not the bridge, caused commands to be skipped."""
FULL_BYTES: Final = 300
"""More than a few commands in the send buffer: the link does not accept them."""
FAILURES: Final = (
    AssertionError,
    TimeoutError,
    ConnectionError,
    aiohttp.ClientError,
    InvalidStateError,
)
"""Errors with which an attempt to connect may fail."""
GARBAGE_A_TICK: Final = 20
FLOOD_A_TICK: Final = 100


def say(kind: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({'kind': kind, 'at_s': time.monotonic(), **fields}) + '\n')
    sys.stdout.flush()


class Driver:
    """Owns the operator's intent, and the connection while there is one."""

    def __init__(self, url: str, token: str, robot_id: str, log: SendLog) -> None:
        self._url, self._token, self._robot_id, self._log = url, token, robot_id, log
        self._person: PythonOperator | None = None
        self._wants = 'silence'
        self._sent = 0
        self._ticks = 0
        self._heard_s = 0.0
        self._deaf = False
        self._token_heard: int | None = None
        self._echoed: int | None = None
        self._estop: str | None = None
        self._frames = 0
        self._seen_s = 0.0
        self._random = random.Random(1)

    # --- orders ------------------------------------------------------------------------------

    async def obey(self) -> None:
        """Follow standard input until it ends."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            order = json.loads(line)
            match order['do']:
                case 'estop':
                    self._estop = order['nonce']
                    say('estop_pressed', nonce=self._estop)
                    self._press()
                case 'estop_clear':
                    say('clears', link=self._person.sctp_state if self._person else 'none')
                    self._send(
                        STATE_RELIABLE,
                        json.dumps({'type': 'estop_clear', 'nonce': order['nonce']}),
                    )
                case wish:
                    self._wants = wish
                    say('wants', wish=wish)
        raise EOFError

    # --- the connection ----------------------------------------------------------------------

    async def stay_connected(self) -> None:
        while True:
            try:
                await self._one_connection()
            except FAILURES as error:
                say('refused', why=str(error)[:200])
            await asyncio.sleep(RETRY_S)

    async def _one_connection(self) -> None:
        async with operator(self._url, self._token) as person:
            async with asyncio.timeout(CONNECT_S):
                await person.connect(await person.wait_for_robot(self._robot_id))
            person.received.clear()
            self._frames, self._token_heard, self._echoed = person.frames, None, None
            self._heard_s = time.monotonic()
            self._person = person
            say('connected')
            if self._estop is not None:
                self._press()
            heartbeats = asyncio.create_task(_stay(person))
            try:
                say('lost', why=await self._why_it_ended(person, heartbeats))
            finally:
                self._person = None
                heartbeats.cancel()
                await asyncio.gather(heartbeats, return_exceptions=True)

    async def _why_it_ended(self, person: PythonOperator, heartbeats: asyncio.Task[None]) -> str:
        while person.can_drive:
            if time.monotonic() - self._heard_s > SILENCE_S:
                return 'the robot is silent'
            if heartbeats.done():
                return f'heartbeat: {heartbeats.exception()}'[:200]
            await asyncio.sleep(TICK_S)
        return 'the connection was closed'

    async def keep_the_picture_moving(self) -> None:
        while True:
            await asyncio.sleep(PICTURE_S)
            person = self._person
            if person is not None and time.monotonic() - self._seen_s > PICTURE_S:
                await person.ask_for_a_new_picture()

    # --- fifty times a second ----------------------------------------------------------------

    async def tick_for_ever(self) -> None:
        due_s = time.monotonic()
        while True:
            # Missed ticks are not made up for: no page would do so.
            now = time.monotonic()
            if now - due_s > LATE_S:
                say('late', by_s=round(now - due_s, 3))
            due_s = max(due_s + TICK_S, now)
            await asyncio.sleep(due_s - time.monotonic())
            self._ticks += 1
            if self._person is not None:
                self._tick(self._person)

    def _tick(self, person: PythonOperator) -> None:
        self._listen(person)
        held_back = person.holds_back
        if self._ticks % ECHO_TICKS == 0 and self._token_heard != self._echoed and not held_back:
            self._echoed = self._token_heard
            lease = {'type': 'lease', 'token': self._token_heard}
            self._send(CMD_UNRELIABLE, json.dumps(lease).encode())
        if self._estop is not None:
            # With each tick until acknowledged, as the page does in its first second.
            self._send_estop(CMD_UNRELIABLE)
        if self._ticks % FRAME_TICKS == 0 and person.frames != self._frames:
            self._frames, self._seen_s = person.frames, time.monotonic()
            say('frames', count=person.frames)
        if self._ticks % FRAME_TICKS == 0 and person.buffered > FULL_BYTES:
            say('full', buffered=person.buffered, sctp=person.sctp_state)
        # Like the page, an operator sends nothing while bytes wait; an attacker does.
        if not held_back or self._wants in ('garbage', 'flood'):
            self._act()

    def _act(self) -> None:
        match self._wants:
            case 'drive' | 'garbage' | 'flood' as wish:
                self._drive(1.0)
                if wish == 'garbage':
                    self._send_garbage()
                elif wish == 'flood':
                    for _ in range(FLOOD_A_TICK):
                        self._drive(1.0)
            case 'neutral':
                self._drive(0.0)

    def _drive(self, share: float) -> None:
        if self._person is None or not self._person.can_drive:
            return
        self._sent += 1
        velocity = share * self._log.velocity(self._sent, time.monotonic())
        self._person.drive(Velocity(linear_x=velocity))

    def _send_garbage(self) -> None:
        for _ in range(GARBAGE_A_TICK):
            data = self._random.randbytes(self._random.randrange(1, 200))
            self._send(self._random.choice((CMD_UNRELIABLE, STATE_RELIABLE)), data)

    def _press(self) -> None:
        self._send_estop(STATE_RELIABLE)
        self._send_estop(CMD_UNRELIABLE)

    def _send_estop(self, label: str) -> None:
        data = json.dumps({'type': 'estop', 'nonce': self._estop})
        self._send(label, data if label == STATE_RELIABLE else data.encode())

    def _send(self, label: str, data: bytes | str) -> None:
        if self._person is not None and self._person.can_drive:
            self._person.send(label, data)

    # --- what the robot says -----------------------------------------------------------------

    def _listen(self, person: PythonOperator) -> None:
        messages, person.received[:] = list(person.received), []
        for label, data in messages:
            self._heard_s = time.monotonic()
            message = json.loads(data)
            if label == MAP_UNRELIABLE and message['type'] == 'lease':
                self._token_heard = max(self._token_heard or 0, message['token'])
            elif message['type'] == 'robot_telemetry':
                say('telemetry', state=message['state'])
            elif message['type'] == 'cmd_ack':
                say('acknowledged', nonce=message['nonce'], ok=message['ok'])
                if message['nonce'] == self._estop:
                    self._estop = None
        deaf = time.monotonic() - self._heard_s > DEAF_S
        if deaf and not self._deaf:
            say('deaf', why='nothing heard from the robot')
        self._deaf = deaf


async def _stay(person: PythonOperator) -> None:
    """Keep the robot, as the page does; end when the broker refuses, not when it is away."""
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            await person.heartbeat()
        await asyncio.sleep(HEARTBEAT_PERIOD_S)


async def main() -> None:
    url, token, robot_id, path = sys.argv[1:]
    driver = Driver(url, token, robot_id, SendLog(Path(path)))
    say('ready', pid=os.getpid())
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(driver.obey())
            tasks.create_task(driver.stay_connected())
            tasks.create_task(driver.tick_for_ever())
            tasks.create_task(driver.keep_the_picture_moving())
    except* EOFError:
        say('ended')


if __name__ == '__main__':
    asyncio.run(main())
