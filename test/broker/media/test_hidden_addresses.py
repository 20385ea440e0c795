"""A browser that hides its addresses is found through its connectivity checks."""

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
import re

from aiortc import RTCPeerConnection, RTCSessionDescription
import pytest

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.broker.media.peer_session import PeerSession
from teleop_webrtc_bridge.core.sdp import strip_forbidden_candidates

PATIENCE_S = 30.0
TCP = 'a=candidate:2 1 TCP 2105458943 192.0.2.2 9 typ host tcptype active\r\n'


@pytest.mark.parametrize('beside', ['', TCP])
async def test_a_browser_that_hides_its_addresses_connects(beside: str) -> None:
    configure_aiortc(loopback=True)
    session, browser = PeerSession(lambda media_id: None), RTCPeerConnection()
    try:
        browser.createDataChannel('_sctp_init')
        await browser.setLocalDescription(await browser.createOffer())
        named = browser.localDescription.sdp
        hidden = re.sub(r'(a=candidate:\S+ 1 udp \d+) \S+', r'\1 6b9ae570.local', named)
        assert hidden.count('.local ') == named.count('a=candidate:') > 0
        offer = hidden.replace('a=end-of-candidates', f'{beside}a=end-of-candidates')
        answer = await session.answer(strip_forbidden_candidates(offer, allow_local=True))
        async with asyncio.timeout(PATIENCE_S):
            await browser.setRemoteDescription(RTCSessionDescription(sdp=answer, type='answer'))
            await session.connected()
    finally:
        await session.close()
        await browser.close()
