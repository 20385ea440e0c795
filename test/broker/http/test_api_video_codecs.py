"""Messages to robots, operators and viewers about the codec of the video."""

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

import pytest
from rig import Rig

from teleop_webrtc_bridge.core.messages import VideoCodec

BOTH = {'video_codecs': ['av3', 'vp8', 'h264']}


async def test_a_robot_that_has_a_choice_is_told_what_to_send(rig: Rig) -> None:
    robot = rig.robot()
    session = await rig.dial(robot, **BOTH)
    assert (await rig.heartbeat(session, robot)).body['video_codec'] == 'h264'
    rig.media.takes = (VideoCodec.VP8,)
    assert (await rig.join(session, rig.operator())).status == 200
    assert (await rig.heartbeat(session, robot)).body['video_codec'] == 'vp8'
    await rig.post(f'/sessions/{session}/leave', rig.operator(), {'reason': 'done'})


async def test_a_held_heartbeat_tells_of_a_viewer_at_once(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot, **BOTH)
    await rig.heartbeat(session, robot)
    rig.media.takes = (VideoCodec.VP8,)
    held = asyncio.create_task(rig.heartbeat(session, robot, wait_s=5.0))
    assert (await rig.join(session, alice, role='viewer')).status == 200
    assert (await held).body['video_codec'] == 'vp8'


@pytest.mark.parametrize('role', ['operator', 'viewer'])
async def test_who_sees_no_picture_is_told_why_in_every_answer(rig: Rig, role: str) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot, video_codecs=['h264'])
    assert 'video_codec' not in (await rig.heartbeat(session, robot)).body
    rig.media.takes = (VideoCodec.VP8,)
    reason = 'No picture: this robot sends H.264 only, and this browser takes VP8 only.'
    joined = (await rig.join(session, alice, role=role)).body
    assert joined['video_reason'] == reason
    me = {'cf_session_id': joined['cf_session_id']}
    assert (await rig.bridge(session, alice, **me)).body['video_reason'] == reason
    beat = (await rig.post(f'/sessions/{session}/op-heartbeat', alice, me)).body
    assert beat == {'ack': True, 'video_reason': reason}


async def test_who_should_see_one_is_told_nothing(rig: Rig) -> None:
    robot, alice = rig.robot(), rig.operator()
    session = await rig.dial(robot, **BOTH)
    rig.media.takes = (VideoCodec.VP8,)
    joined = (await rig.join(session, alice)).body
    bridged = (await rig.bridge(session, alice)).body
    beat = (await rig.post(f'/sessions/{session}/op-heartbeat', alice)).body
    assert all('video_reason' not in body for body in (joined, bridged, beat))
