"""A small fleet with one key; benchmark/fleet.py and fleet_redials.py are the long versions."""

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

from collections.abc import AsyncIterator
from pathlib import Path
import random

from aiohttp import web
from fleet import Fleet, fleet, reconnect_times, Resources
from old_broker import KEY, NOBODY, old_broker, OldBroker
import pytest
from webrtc_half import configuration, webrtc_half

from teleop_webrtc_bridge.core.session import BridgeState

pytestmark = pytest.mark.real_programs

ROBOTS = 6
COMMANDS_EACH = 100
REDIALS = 30
ARRIVE = 0.8
"""On a busy machine the unreliable channel may lose commands; none may reach a wrong robot."""


async def test_a_fleet_under_one_key_never_mixes_whatever_happens(tmp_path: Path) -> None:
    async with fleet(tmp_path, ROBOTS) as robots:
        baseline = [Resources.of(robot.process.pid) for robot in robots.robots]
        await _drive(robots)
        await reconnect_times(robots)
        await _drive(robots)
        for robot in random.Random(3).sample(robots.robots, 2):
            robot.statuses.clear()
            robot.kill()
            await robot.connected()
        await _drive(robots)
        assert await robots.listed() == ROBOTS
        for robot, before in zip(robots.robots, baseline, strict=True):
            after = Resources.of(robot.process.pid)
            assert after.descriptors <= before.descriptors + 4
            assert after.threads <= before.threads + 3


async def _drive(robots: Fleet) -> None:
    arrived = await robots.drive_all(COMMANDS_EACH, period_s=0.02)
    assert robots.strangers() == []
    assert arrived > ARRIVE * ROBOTS * COMMANDS_EACH


@pytest.fixture
async def forgetful() -> AsyncIterator[OldBroker]:
    """Forget each session after one heartbeat."""
    async with old_broker() as broker:

        async def forget(request: web.Request) -> web.StreamResponse:
            session = broker.sessions[int(request.match_info['session_id'][1:])]
            if len(session.beats_s) == 1:
                return web.json_response(NOBODY)
            return web.json_response({'detail': 'Session not found'}, status=404)

        broker.closes_older = True
        broker.instead['heartbeat'] = forget
        yield broker


async def test_redials_leave_nothing_behind(forgetful: OldBroker, tmp_path: Path) -> None:
    async with webrtc_half(configuration(forgetful.url, KEY, 'go2-a'), tmp_path) as robot:
        await robot.until(lambda: len(forgetful.sessions) > 5, 'warm')
        warm = Resources.of(robot.process.pid)
        tasks = robot.counter('tasks')
        await robot.until(lambda: len(forgetful.sessions) > 5 + REDIALS, 'redials', timeout_s=60.0)
        del forgetful.instead['heartbeat']
        await robot.until(lambda: len(forgetful.newest.beats_s) >= 3, 'served')
        after = Resources.of(robot.process.pid)
        assert robot.state is BridgeState.CONNECTED
        assert after.descriptors <= warm.descriptors + 4
        assert after.threads <= warm.threads + 3
        assert robot.counter('tasks') <= tasks + 8
