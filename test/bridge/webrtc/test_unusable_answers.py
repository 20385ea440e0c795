"""Tests of unusable answers of the broker, and of failures that are not its fault."""

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
import re

from aiortc import RTCPeerConnection, RTCSessionDescription
import pytest
import pytest_asyncio
from robot_peer import robot_peer

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.bridge.webrtc.peer import RobotPeer
from teleop_webrtc_bridge.core.exceptions import PeerConnectionLost


@pytest_asyncio.fixture
async def robot() -> AsyncIterator[RobotPeer]:
    configure_aiortc(loopback=True)
    async with robot_peer() as peer:
        yield peer


async def answer_to(offer: str) -> str:
    pc = RTCPeerConnection()
    await pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type='offer'))
    await pc.setLocalDescription(await pc.createAnswer())
    answer = str(pc.localDescription.sdp)
    await pc.close()
    return answer


@pytest.mark.parametrize(
    ('pattern', 'replacement', 'reason'),
    [
        (r'a=fingerprint:.*\r\n', '', 'a=fingerprint is missing'),
        (r'a=setup:active', 'a=setup:actpass', 'active or passive'),
        (r'a=setup:active', 'a=setup:holdconn', 'allowed: active, passive or actpass'),
        (r'(a=mid:|BUNDLE )0', r'\g<1>9', 'sections are not those of the description'),
        (r'\Av=0', 'v=1', 'does not start with v=0'),
        (r'H264|VP8', 'X', 'no codec that is supported here'),
        (r'a=recvonly', 'a=', 'the direction is missing'),
    ],
)
async def test_an_answer_that_cannot_be_used_is_the_brokers_fault(
    robot: RobotPeer, pattern: str, replacement: str, reason: str
) -> None:
    answer = await answer_to(await robot.offer())
    with pytest.raises(PeerConnectionLost) as lost:
        await robot.connect(re.sub(pattern, replacement, answer))
    assert "the broker's SDP answer cannot be used: " in str(lost.value)
    assert reason in str(lost.value)


async def test_an_offer_that_cannot_be_used_is_the_brokers_fault(robot: RobotPeer) -> None:
    offer = await robot.offer()
    with pytest.raises(
        PeerConnectionLost, match="the broker's SDP offer cannot be used: no offer"
    ):
        await robot.answer(offer)


async def test_a_bug_of_ours_is_not(robot: RobotPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await answer_to(await robot.offer())

    async def set_remote(self: RTCPeerConnection, description: object) -> None:
        raise AttributeError('ours')

    monkeypatch.setattr(RTCPeerConnection, 'setRemoteDescription', set_remote)
    with pytest.raises(AttributeError, match='ours'):
        await robot.connect(answer)
