"""How operators leave, or lose their place."""

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

from rig import NO_IDS, Rig


async def test_leave_frees_the_slot_and_tells_the_robot(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    answer = await rig.post(f'/sessions/{session}/leave', operator, {'reason': 'pagehide'})
    assert (answer.status, answer.body) == (200, {'session_id': session, 'state': 'idle'})
    assert await rig.robot_ids(session, robot) == NO_IDS
    assert set(rig.media.sessions) == {'media1'}
    assert rig.media.open_streams('media1') == set()
    again = await rig.post(f'/sessions/{session}/leave', operator)
    assert (again.status, again.body['state']) == (200, 'idle')


async def test_an_operator_without_heartbeat_is_evicted_after_20_s(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    await rig.pass_time(19.0)
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', operator)).status == 200
    await rig.heartbeat(session, robot)
    await rig.pass_time(19.9)
    assert 'media2' in rig.media.sessions
    await rig.pass_time(0.1)
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', operator)).status == 403
    assert await rig.robot_ids(session, robot) == NO_IDS
    assert set(rig.media.sessions) == {'media1'}


async def test_an_operator_whose_media_is_silent_is_evicted_after_3_s(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.bridge(session, operator)
    rig.clock.now_s += 3.0
    rig.media.sessions['media1'].heard_s = rig.clock()
    await rig.broker.sweep()
    assert 'media2' in rig.media.sessions
    rig.clock.now_s += 0.1
    await rig.broker.sweep()
    assert set(rig.media.sessions) == {'media1'}
    assert await rig.robot_ids(session, robot) == NO_IDS


async def test_an_operator_that_is_still_connecting_is_given_time(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    rig.clock.now_s += 15.0
    await rig.broker.sweep()
    assert 'media2' in rig.media.sessions


async def test_an_operator_whose_media_is_gone_is_evicted(rig: Rig) -> None:
    session, operator = await rig.dial(rig.robot()), rig.operator()
    await rig.join(session, operator)
    del rig.media.sessions['media2']
    await rig.broker.sweep()
    row = (await rig.get(f'/sessions/{session}/status', operator)).body
    assert (row['state'], row['operator_id']) == ('idle', None)


async def test_the_operator_goes_with_the_session(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot, robot_id='go2')
    await rig.join(session, operator)
    await rig.dial(robot, robot_id='go2')
    assert set(rig.media.sessions) == {'media3'}
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', operator)).status == 404
