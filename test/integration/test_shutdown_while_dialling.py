"""Shutdown while the broker is still creating the session, which must not be left behind."""

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
from pathlib import Path
import signal
from typing import Any

from counted_broker import CountedBroker
from programs import Programs
import pytest
from python_operator import operator
from ros_probe import ros_node
from std_srvs.srv import Trigger
from waiting import until
from webrtc_half import configuration, webrtc_half

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

SLOW_S = 0.5
"""The broker's delay after the shutdown request; shorter than the limit of a DELETE."""


def answer_soon(broker: CountedBroker) -> None:
    asyncio.get_running_loop().call_later(SLOW_S, broker.tells.set)


async def robots(broker: CountedBroker) -> list[dict[str, Any]]:
    async with operator(broker.url, broker.token) as person:
        return await person.robots()


async def test_a_session_that_is_being_made_is_deleted(
    broker: CountedBroker, tmp_path: Path
) -> None:
    broker.tells.clear()
    async with webrtc_half(
        configuration(broker.url, broker.key_file.read_text(), ''), tmp_path
    ) as half:
        await until(lambda: broker.sessions, 'a session that the robot does not know of')
        answer_soon(broker)
    assert half.process.returncode == 0
    assert broker.deleted == broker.sessions
    assert await robots(broker) == []
    assert len(broker.created) == 1


async def test_a_broker_that_never_answers_holds_up_nobody(
    broker: CountedBroker, tmp_path: Path
) -> None:
    broker.tells.clear()
    try:
        async with webrtc_half(
            configuration(broker.url, broker.key_file.read_text(), ''), tmp_path
        ) as half:
            await until(lambda: broker.sessions, 'a session that the robot does not know of')
        assert half.process.returncode == 0
    finally:
        broker.tells.set()


async def test_reconnect_and_the_end_of_the_bridge_leave_no_session_behind(
    broker: CountedBroker, started: Programs
) -> None:
    broker.tells.clear()
    bridge = started.start_bridge(broker.url, broker.key_file, 'go2-a')
    with ros_node() as node:
        reconnect = node.create_client(Trigger, '/teleop_bridge/reconnect')
        await until(reconnect.service_is_ready, 'the service')
        await until(lambda: broker.sessions, 'a session that the robot does not know of')
        called = reconnect.call_async(Trigger.Request())
        await until(called.done, 'the call')
        answer_soon(broker)
        await until(lambda: broker.deleted, 'the goodbye of the first session')
    broker.tells.clear()
    await until(lambda: len(broker.sessions) == 2, 'the next session')
    answer_soon(broker)
    assert await asyncio.to_thread(bridge.end, signal.SIGTERM) == 0
    assert broker.deleted == broker.sessions
    assert await robots(broker) == []
    assert len(broker.created) == 2
