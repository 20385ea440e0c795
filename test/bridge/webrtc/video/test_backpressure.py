"""
A WebRTC process under a flood and on a link that does not drain.

The peer connection is real, and nothing between it and the operator thins anything out.
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
from collections.abc import AsyncIterator
import json
from pathlib import Path
import time

from old_broker import KEY, old_broker, OldBroker, OldSession
import pytest
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.codec import encode_drive_command
from teleop_webrtc_bridge.core.messages import (
    DriveCommand,
    MAP_UNRELIABLE,
    STATE_RELIABLE_BACK,
    Velocity,
)
from teleop_webrtc_bridge.core.session import BridgeState

pytestmark = pytest.mark.real_programs

PATIENCE_S = 60.0
FLOOD = 4000
CHUNK = 50


@pytest.fixture
async def broker() -> AsyncIterator[OldBroker]:
    async with old_broker() as running:
        yield running


@pytest.fixture
async def robot(broker: OldBroker, tmp_path: Path) -> AsyncIterator[WebrtcHalf]:
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
        await half.connected()
        broker.newest.bridge()
        await half.in_state(BridgeState.OPERATED)
        await half.until(lambda: is_open(broker.newest), 'open channels')
        yield half


def is_open(session: OldSession) -> bool:
    return all(channel.readyState == 'open' for channel in session.channels.values())


def command(seq: int) -> bytes:
    return encode_drive_command(
        DriveCommand(seq=seq, stamp_s=time.time(), frame_id='', velocity=Velocity())
    )


async def test_a_flood_is_thinned_out_and_hides_no_estop(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    channel = broker.newest.channels['cmd_unreliable']
    start_s = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        for seq in range(1, FLOOD + 1):
            channel.send(command(seq))
            while seq % CHUNK == 0 and channel.bufferedAmount > 0:  # noqa: ASYNC110
                await asyncio.sleep(0)
    broker.newest.channels['state_reliable'].send('{"type":"estop","nonce":1}')
    await robot.until(lambda: robot.others, 'the E-STOP')
    assert json.loads(robot.others[0].payload) == {'type': 'estop', 'nonce': 1}
    lasted_s = time.monotonic() - start_s
    # The burst, 300 per second, and a margin for the event loop's turns.
    assert len(robot.commands) <= 600 + 300 * (lasted_s + 1.0)
    seqs = [one.seq for one in robot.commands]
    assert seqs == sorted(set(seqs))
    # Commands at an ordinary rate after the flood are obeyed again.
    async with asyncio.timeout(PATIENCE_S):
        while robot.commands[-1].seq <= FLOOD:
            channel.send(command(FLOOD + 1))
            await asyncio.sleep(0.05)
    await robot.until(
        lambda: robot.counter('excess_cmd_unreliable') > 0, 'the flood in the counters'
    )


def say_while_nobody_reads(
    robot: WebrtcHalf, *, messages: int, telemetry: bool, answer_bytes: int
) -> None:
    """Send more than fits, while this process, which is also the operator, does nothing else."""
    filler = 'x' * 1000
    for number in range(messages):
        if telemetry:
            robot.say(
                STATE_RELIABLE_BACK,
                json.dumps({'type': 'robot_telemetry', 'n': number, 'x': filler}).encode(),
            )
            robot.say(MAP_UNRELIABLE, json.dumps({'type': 'odom', 'x': filler}).encode())
        answer = {'type': 'cmd_ack', 'nonce': number, 'ok': True, 'reason': 'x' * answer_bytes}
        robot.say(STATE_RELIABLE_BACK, json.dumps(answer).encode(), urgent=True)
        time.sleep(0.004)


def heard(broker: OldBroker, kind: str) -> list[dict[str, object]]:
    messages = [json.loads(message) for _, message in broker.newest.heard]
    return [message for message in messages if message['type'] == kind]


async def test_a_link_that_does_not_drain_loses_telemetry_and_no_answer(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    say_while_nobody_reads(robot, messages=200, telemetry=True, answer_bytes=10)
    await robot.until(
        lambda: robot.counter('telemetry_lost') > 0, 'lost telemetry', timeout_s=PATIENCE_S
    )
    async with asyncio.timeout(PATIENCE_S):
        while len(heard(broker, 'cmd_ack')) < 200:  # noqa: ASYNC110 - aiortc has no event for it
            await asyncio.sleep(0.01)
    assert [message['nonce'] for message in heard(broker, 'cmd_ack')] == list(range(200))
    assert robot.counter('answers_lost') == 0
    assert len(heard(broker, 'robot_telemetry')) < 150


async def test_nothing_is_queued_without_bound(broker: OldBroker, robot: WebrtcHalf) -> None:
    say_while_nobody_reads(robot, messages=200, telemetry=False, answer_bytes=2000)
    await robot.until(
        lambda: robot.counter('answers_lost') > 0, 'lost answers', timeout_s=PATIENCE_S
    )

    def answered() -> float:
        return len(heard(broker, 'cmd_ack')) + robot.counter('answers_lost')

    async with asyncio.timeout(PATIENCE_S):
        while answered() < 200:  # noqa: ASYNC110 - two processes tell it
            await asyncio.sleep(0.01)
    # 64 KB, and the messages already on their way.
    assert len(heard(broker, 'cmd_ack')) < 100
