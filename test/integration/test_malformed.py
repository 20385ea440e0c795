"""
Many malformed messages, sent to a real robot over a real peer connection.

``MALFORMED_MESSAGES=100000`` sets their number, for a longer run.
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
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
import json
import math
import os
from pathlib import Path
import random
import struct
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from old_broker import KEY, old_broker, OldBroker, OldSession
from programs import Programs
import psutil
import pytest
from ros_probe import ros_node, RosProbe
from waiting import until

from teleop_webrtc_bridge.core.codec import decode_command, decode_state, encode_drive_command
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    Estop,
    EstopClear,
    STATE_RELIABLE,
    Velocity,
)

pytestmark = pytest.mark.real_programs

MESSAGES = int(os.environ.get('MALFORMED_MESSAGES', '3000'))
LABELS = (CMD_UNRELIABLE, STATE_RELIABLE)
RATE_HZ = 250.0
"""Rate on each channel: just below the robot's limit, so that every message is decoded."""
CHUNK = 50
MAX_GROWTH_BYTES = 48 * 2**20
SEED = 1

COMMAND = encode_drive_command(
    DriveCommand(seq=1, stamp_s=1.7e9, frame_id='x', velocity=Velocity(linear_x=0.5))
)
NUMBERS = ('NaN', 'Infinity', '-Infinity', '1e999', '9' * 5000, '-1', 'true', 'null', '"7"', '[]')
SIZES = (5, *[100] * 20, 31_000)
FIELDS = ('client_ts', 'token', 'nonce', 'latch', 'x')
TYPES = ('ping', 'lease', 'nav_goal', 'video_stats', 'light', 'unknown', 'estop ')


def malformed(source: random.Random) -> bytes | str:
    """Return a message that moves, stops and releases nothing."""
    while True:
        message = _any_message(source)
        if not _means_something(message):
            return message


def _any_message(source: random.Random) -> bytes | str:
    match source.randrange(9):
        case 0:
            return source.randbytes(source.randint(0, 200))
        case 1:
            return COMMAND[: source.randint(0, len(COMMAND) - 1)]
        case 2:
            axes = [source.choice((math.nan, math.inf, -math.inf, 1e308)) for _ in range(6)]
            return COMMAND[:-48] + struct.pack('>6d', *axes)
        case 3:
            fields = ','.join(f'"{name}":{source.choice(NUMBERS)}' for name in FIELDS)
            return f'{{"type":"{source.choice(TYPES)}",{fields}}}'
        case 4:
            return '{"a":' + source.choice(('[', '{"a":')) * (source.choice(SIZES) // 5)
        case 5:
            return b'{"type":"' + source.randbytes(40)
        case 6:
            return json.dumps({'type': source.choice(TYPES), 'x': 'y' * source.choice(SIZES)})
        case 7:
            return COMMAND.decode('latin-1')
        case _:
            changed = bytearray(COMMAND)
            for _ in range(source.randint(1, 6)):
                changed[source.randrange(28)] = source.randrange(256)
            return bytes(changed)


def _means_something(message: bytes | str) -> bool:
    for decode in (decode_command, decode_state):
        try:
            meaning = decode(message)
        except ProtocolError:
            continue
        if isinstance(meaning, DriveCommand | Estop | EstopClear):
            return True
    return False


@pytest.fixture
async def broker() -> AsyncIterator[OldBroker]:
    async with old_broker() as running:
        yield running


@contextmanager
def counted(node: Any) -> Iterator[dict[str, str]]:
    """Collect the values on ``/diagnostics``."""
    values: dict[str, str] = {}

    def on_message(message: DiagnosticArray) -> None:
        for status in message.status:
            values.update({pair.key: pair.value for pair in status.values})

    subscription = node.create_subscription(DiagnosticArray, '/diagnostics', on_message, 10)
    yield values
    node.destroy_subscription(subscription)


async def send_malformed(session: OldSession, messages: int) -> None:
    """Send this many messages, alternating between both channels, within the robot's limit."""
    source = random.Random(SEED)
    due_s = time.monotonic()
    for number in range(messages):
        session.channels[LABELS[number % 2]].send(malformed(source))
        if number % CHUNK == 0:
            await answered(session, float(number))
            # Delays of a busy machine are not made up for: the robot drops messages above its
            # limit, including the ping.
            due_s = max(due_s + CHUNK / (2 * RATE_HZ), time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())


async def answered(session: OldSession, stamp_s: float) -> None:
    """Return when the robot has answered a ping and thus handled all earlier messages."""
    seen = len(session.heard)
    ping = json.dumps({'type': 'ping', 'client_ts': stamp_s})
    session.channels[STATE_RELIABLE].send(ping)
    pong = f'"client_ts": {stamp_s}'
    await until(lambda: any(pong in str(text) for _, text in session.heard[seen:]), pong)
    session.heard.clear()


async def set_off(session: OldSession, moving: Callable[[], bool]) -> None:
    """Drive from neutral. Nothing is published for a zero while the robot stands."""
    begun_s = time.monotonic()

    def sent() -> bool:
        # Neutral is repeated: a busy machine may have stopped the robot for a moment.
        is_neutral = (time.monotonic() - begun_s) % 0.5 < 0.2
        session.drive(Velocity() if is_neutral else Velocity(linear_x=0.3))
        return moving()

    await until(sent, 'motion')


def memory_bytes(process: psutil.Process) -> int:
    return sum(one.memory_info().rss for one in (process, *process.children()))


@pytest.mark.timeout(120 + MESSAGES / 100)
async def test_nothing_malformed_moves_the_robot_or_stays_in_its_memory(
    broker: OldBroker, tmp_path: Path
) -> None:
    key_file = tmp_path / 'key'
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    started = Programs(tmp_path)
    try:
        with ros_node() as node, counted(node) as values:
            probe = RosProbe(node)
            bridge = started.start_bridge(broker.url, key_file, 'go2-a')
            await until(lambda: broker.sessions, 'a session')
            await until(lambda: broker.newest.pc.connectionState == 'connected', 'a connection')
            session = broker.newest
            session.bridge()
            await until(lambda: 'operated' in probe.state, 'operated')
            await until(
                lambda: int(values.get('subscribers', '0')) > 0, 'the bridge knows the probe'
            )
            await send_malformed(session, MESSAGES // 3)
            before = memory_bytes(psutil.Process(bridge.pid))
            await send_malformed(session, MESSAGES - MESSAGES // 3)

            assert not [command for command in probe.commands if not command.is_zero]
            await set_off(session, probe.moving)
            grown = memory_bytes(psutil.Process(bridge.pid)) - before
            assert grown < MAX_GROWTH_BYTES
            assert broker.newest is session, 'the connection has held'
            # The messages have reached the drive thread and were not only dropped by a rate limit.
            await until(lambda: int(values.get('malformed', '0')) > MESSAGES / 4, f'{values}')
            print(f'messages={MESSAGES} grown_bytes={grown} counters={values}')
    finally:
        await asyncio.to_thread(started.end)
