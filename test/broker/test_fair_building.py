"""Fairness between tenants when peer connections are built."""

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

from rig import OFFER, Rig

from teleop_webrtc_bridge.broker.service import MAX_BUILDING_OF_TENANT

WAIT_S = 20.0


async def test_a_tenant_with_many_dials_holds_up_no_other_one(rig: Rig) -> None:
    rig.media.gates['new_session'] = built = asyncio.Event()
    greedy, other = rig.robot('mallory'), rig.robot('alice')
    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(rig.dial(greedy, robot_id=f'r{number}'))
        async with asyncio.timeout(WAIT_S):
            for _ in range(MAX_BUILDING_OF_TENANT):
                await rig.media.entered('new_session')
        tasks.create_task(rig.dial(other, robot_id='go2'))
        async with asyncio.timeout(WAIT_S):
            # The later dial of the other tenant reaches the media backend at once.
            await rig.media.entered('new_session')
        assert {robot['robot_id'] for robot in await listed(rig)} == set()
        assert rig.media.calls.empty()
        built.set()
    assert len(await listed(rig)) == 9


async def test_a_refused_offer_does_not_hold_up_the_tenant(rig: Rig) -> None:
    robot = rig.robot()
    rig.media.failures['new_session'] = RuntimeError('no')
    body = {'robot_name': 'Go2', 'sdp_offer': OFFER}
    assert (await rig.post('/sessions', robot, body)).status == 500
    del rig.media.failures['new_session']
    await rig.dial(robot)


async def listed(rig: Rig) -> list[dict[str, object]]:
    """Return the robots of both tenants."""
    return [
        robot
        for tenant in ('mallory', 'alice')
        for robot in (await rig.get('/sessions', rig.operator(tenant))).body
    ]
