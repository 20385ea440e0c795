"""Half-open links: a real WebRTC half, a real broker, and a path between them that is cut."""

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
import functools
import itertools
import os
from pathlib import Path
import signal

from counted_broker import CountedBroker
from detour import Detour, detour_to, Direction
import pytest
from python_operator import operator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.messages import STATE_RELIABLE_BACK, Velocity
from teleop_webrtc_bridge.core.session import BridgeState

pytestmark = pytest.mark.real_programs

HEALTHY_S = 6.0
"""Longer than a link may be silent."""


@pytest.fixture
async def detour(broker: CountedBroker) -> AsyncIterator[Detour]:
    async with detour_to(broker.url) as between:
        yield between


@pytest.fixture
async def robot(
    broker: CountedBroker, detour: Detour, tmp_path: Path
) -> AsyncIterator[WebrtcHalf]:
    async with webrtc_half(
        configuration(detour.url, broker.key_file.read_text(), 'go2-a'), tmp_path
    ) as half:
        await half.connected()
        yield half


def told(robot: WebrtcHalf, count: int) -> bool:
    return len(robot.statuses) > count


@pytest.mark.parametrize(
    'cut',
    [{Direction.TO_BROKER}, {Direction.TO_ROBOT}, set(Direction)],
    ids=['to broker', 'to robot', 'both'],
)
async def test_a_link_that_is_dead_one_way_or_both_is_found_and_dialled_anew(
    detour: Detour, robot: WebrtcHalf, cut: set[Direction]
) -> None:
    await robot.until(lambda: robot.counter('rtt_ms') > 0.0, 'an answer to a probe')
    detour.cut |= cut
    status = await robot.in_state(BridgeState.BACKING_OFF)
    assert 'no answer on the peer connection' in status.reason
    detour.cut.clear()
    epoch = status.control_epoch
    await robot.connected()
    assert robot.status is not None
    assert robot.status.control_epoch > epoch
    assert detour.created == 2


async def test_a_link_on_which_nobody_says_anything_stays(
    detour: Detour, robot: WebrtcHalf
) -> None:
    beats = len(robot.statuses)
    await robot.until(lambda: len(robot.statuses) >= beats + HEALTHY_S, 'status once a second')
    assert set(robot.states()) <= {
        BridgeState.BACKING_OFF,
        BridgeState.DIALLING,
        BridgeState.CONNECTED,
    }
    assert detour.created == 1


async def test_an_operator_who_says_nothing_stays(
    broker: CountedBroker, detour: Detour, robot: WebrtcHalf
) -> None:
    async with operator(broker.url, broker.token, with_video=False) as person:
        await person.connect(await person.wait_for_robot('go2-a'))
        await robot.until(lambda: robot.state is BridgeState.OPERATED, 'operated')
        for beat in range(len(robot.statuses), len(robot.statuses) + int(HEALTHY_S)):
            robot.say(STATE_RELIABLE_BACK, b'{"type":"robot_telemetry"}')
            await robot.until(functools.partial(told, robot, beat), 'a status a second')
        assert robot.state is BridgeState.OPERATED
        person.drive(Velocity(linear_x=0.1))
        await robot.until(lambda: robot.commands, 'a command')
    assert detour.created == 1


async def test_a_fifth_of_all_packets_lost_each_way_is_no_dead_link(
    detour: Detour, robot: WebrtcHalf
) -> None:
    detour.loss = 0.2
    stop = asyncio.Event()

    async def film() -> None:
        for picture in itertools.count():
            if stop.is_set():
                return
            robot.show(picture)
            await asyncio.sleep(0.1)

    filming = asyncio.create_task(film())
    beats = len(robot.statuses)
    await robot.until(lambda: len(robot.statuses) >= beats + 2 * HEALTHY_S, 'a status a second')
    stop.set()
    await filming
    assert robot.state is BridgeState.CONNECTED
    assert detour.created == 1


async def test_http_that_is_down_alone_does_not_end_a_session(
    detour: Detour, robot: WebrtcHalf
) -> None:
    detour.http_down = True
    await robot.until(lambda: robot.counter('heartbeats_missed') >= 3, 'missed heartbeats')
    assert robot.state is BridgeState.CONNECTED
    detour.http_down = False
    missed = robot.counter('heartbeats_missed')
    beats = len(robot.statuses)
    await robot.until(lambda: len(robot.statuses) >= beats + 3, 'a status a second')
    assert robot.counter('heartbeats_missed') <= missed + 1
    assert detour.created == 1


async def test_a_process_that_was_stopped_for_a_while_keeps_a_link_that_works(
    broker: CountedBroker, tmp_path: Path
) -> None:
    """A suspension shorter than the broker's time-out must not be blamed on the broker."""
    async with webrtc_half(
        configuration(broker.url, broker.key_file.read_text(), 'go2-a'), tmp_path
    ) as half:
        await half.connected()
        await half.until(lambda: half.counter('rtt_ms') > 0.0, 'an answer to a probe')
        os.kill(half.process.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)
        os.kill(half.process.pid, signal.SIGCONT)
        beats = len(half.statuses)
        await half.until(lambda: len(half.statuses) >= beats + 3, 'a status a second')
        assert half.state is BridgeState.CONNECTED
        assert len(broker.created) == 1
