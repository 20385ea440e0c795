"""A robot that an old broker has silently given up becomes visible again."""

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
from collections.abc import AsyncIterator, Callable
from pathlib import Path
import sys
from typing import Any

from aiohttp import web
from old_broker import answering, KEY, NOBODY, old_broker, OldBroker
from programs import programs, wait_for
import pytest
from ros_probe import ros_node, RosProbe
from std_srvs.srv import Trigger
import suspendable
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.session import BridgeState

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

REAPED_S = 31.0
"""A little more than the time in docs/protocol.md §4."""


@pytest.fixture
async def broker() -> AsyncIterator[OldBroker]:
    async with old_broker() as running:
        yield running


@pytest.fixture
def sleep(tmp_path: Path) -> Callable[[float], object]:
    """Return a function that sets the total time for which the robot's computer has slept."""
    file = tmp_path / 'suspended_s'
    file.write_text('0.0')
    return lambda seconds: file.write_text(str(seconds))


@pytest.fixture
async def robot(
    broker: OldBroker, sleep: Callable[[float], object], tmp_path: Path
) -> AsyncIterator[WebrtcHalf]:
    launcher = (sys.executable, suspendable.__file__, str(tmp_path / 'suspended_s'))
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path, launcher) as half:
        await half.connected()
        await half.until(lambda: broker.newest.beats_s, 'a heartbeat')
        yield half


async def beats(broker: OldBroker, robot: WebrtcHalf, count: int) -> None:
    """Wait for this many more heartbeats."""
    wanted = len(broker.newest.beats_s) + count
    await robot.until(lambda: len(broker.newest.beats_s) >= wanted, 'heartbeats')


async def dropped(request: web.Request) -> web.StreamResponse:
    """Break the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    'trouble',
    [
        answering({'detail': 'down'}, status=503),
        answering(b'<html>Please log in</html>'),
        dropped,
    ],
    ids=['503', 'portal', 'broken'],
)
async def test_a_robot_whose_heartbeats_failed_until_it_was_reaped_dials_anew(
    broker: OldBroker, robot: WebrtcHalf, sleep: Callable[[float], object], trouble: Any
) -> None:
    broker.instead['heartbeat'] = trouble
    await robot.until(lambda: robot.counter('heartbeats_missed') > 0, 'a miss')
    sleep(REAPED_S)
    broker.give_up()
    del broker.instead['heartbeat']
    told = asyncio.create_task(robot.in_state(BridgeState.BACKING_OFF))
    await robot.until(broker.visible, 'visible again')
    assert 'no heartbeat was answered for' in (await told).reason
    await robot.connected()
    assert broker.deleted == ['s0']


async def test_a_robot_that_was_suspended_until_it_was_reaped_dials_anew(
    broker: OldBroker, robot: WebrtcHalf, sleep: Callable[[float], object]
) -> None:
    broker.give_up()
    sleep(REAPED_S)
    await robot.until(broker.visible, 'visible again')


async def test_a_shorter_silence_keeps_the_session(
    broker: OldBroker, robot: WebrtcHalf, sleep: Callable[[float], object]
) -> None:
    for asleep_s in (12.0, 24.0, 36.0):
        sleep(asleep_s)
        await beats(broker, robot, 2)
    assert len(broker.tries_s) == 1
    assert robot.state is BridgeState.CONNECTED


async def test_a_session_that_is_driven_is_kept_until_the_operator_has_left(
    broker: OldBroker, robot: WebrtcHalf, sleep: Callable[[float], object]
) -> None:
    session = broker.newest
    session.bridge()
    await robot.until(lambda: robot.state is BridgeState.OPERATED, 'operated')
    sleep(REAPED_S)
    await beats(broker, robot, 3)
    assert len(broker.tries_s) == 1
    session.ids.clear()
    await robot.until(lambda: len(broker.sessions) == 2, 'a new session')


async def test_a_broker_that_tells_epochs_says_itself_what_is_gone(
    broker: OldBroker, robot: WebrtcHalf, sleep: Callable[[float], object]
) -> None:
    broker.instead['heartbeat'] = answering(NOBODY | {'control_epoch': 0})
    await beats(broker, robot, 2)
    sleep(REAPED_S)
    await beats(broker, robot, 3)
    assert len(broker.tries_s) == 1


async def test_reconnect_cures_what_the_robot_cannot_see(
    broker: OldBroker, tmp_path: Path
) -> None:
    """A robot superseded on an old broker gets heartbeat answers as if nobody drove."""
    key = tmp_path / 'key'
    key.write_text(KEY)
    with programs(tmp_path) as started, ros_node() as node:
        probe = RosProbe(node)
        started.start_bridge(broker.url, key, 'go2-a')

        async def until(condition: Callable[[], Any], what: str) -> None:
            await asyncio.to_thread(wait_for, condition, what=what)

        await until(lambda: probe.state == 'connected', 'connected')
        broker.give_up()
        heard = len(broker.newest.beats_s)
        await until(lambda: len(broker.newest.beats_s) >= heard + 3, 'heartbeats')
        assert probe.state == 'connected'
        assert broker.visible() == []
        client = node.create_client(Trigger, 'teleop_bridge/reconnect')
        await until(client.service_is_ready, 'the service')
        client.call_async(Trigger.Request())
        await until(broker.visible, 'visible again')
        await asyncio.to_thread(started.end)
