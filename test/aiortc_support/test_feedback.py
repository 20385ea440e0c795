"""Reports of video receivers, and the unpublished parts of aiortc that they depend on."""

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

import ast
import asyncio
from collections.abc import AsyncIterator, Callable
import inspect
from pathlib import Path
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    VideoStreamTrack,
)
from aiortc.rtp import (
    pack_remb_fci,
    RTCP_PSFB_APP,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
)
import pytest_asyncio

from teleop_webrtc_bridge.aiortc_support import feedback
from teleop_webrtc_bridge.aiortc_support.feedback import (
    Estimate,
    Feedback,
    LossReport,
    pass_on_feedback,
    take_feedback,
)
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc

PATIENCE_S = 20.0
SENDER = {'_handle_rtcp_packet', '_ssrc'}
RECEIVER = {'_send_rtcp'}


def private(owner: object, name: str) -> Any:
    """Return a private attribute of aiortc, which this module exists to check."""
    return getattr(owner, name)


async def test_the_private_names_are_there() -> None:
    pc = RTCPeerConnection()
    try:
        video = pc.addTransceiver('video')
        assert all(hasattr(video.sender, name) for name in SENDER)
        assert all(hasattr(video.receiver, name) for name in RECEIVER)
    finally:
        await pc.close()
    for owner, name in ((RTCRtpSender, '_handle_rtcp_packet'), (RTCRtpReceiver, '_send_rtcp')):
        method = private(owner, name)
        assert inspect.iscoroutinefunction(method)
        assert list(inspect.signature(method).parameters) == ['self', 'packet']


def test_no_other_private_names_are_used() -> None:
    tree = ast.parse(Path(feedback.__file__).read_text('utf-8'))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith('_')
        and not (isinstance(node.value, ast.Name) and node.value.id == 'self')
    }
    assert used <= SENDER | RECEIVER


class Pair:
    """A sender of video and its receiver, whose reports are kept."""

    def __init__(self) -> None:
        configure_aiortc(loopback=True)
        settings = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self.near, self.far = RTCPeerConnection(settings), RTCPeerConnection(settings)
        self.heard: list[Feedback] = []
        self.sender = self.near.addTrack(VideoStreamTrack())
        take_feedback(self.sender, self.heard.append)

    @property
    def receiver(self) -> RTCRtpReceiver:
        return self.far.getReceivers()[0]

    @property
    def ssrc(self) -> int:
        return int(private(self.sender, '_ssrc'))

    async def connect(self) -> None:
        await self.near.setLocalDescription(await self.near.createOffer())
        await self.far.setRemoteDescription(self.near.localDescription)
        await self.far.setLocalDescription(await self.far.createAnswer())
        await self.near.setRemoteDescription(self.far.localDescription)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - packets of another library tell nobody
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.connect()
    yield pair
    await asyncio.gather(pair.near.close(), pair.far.close())


async def test_a_receivers_own_reports_are_heard_with_the_round_trip(pair: Pair) -> None:
    def reports() -> list[LossReport]:
        return [item for item in pair.heard if isinstance(item, LossReport)]

    await pair.until(lambda: any(report.is_next_hop for report in reports()))
    assert {report.fraction_lost for report in reports()} == {0.0}
    await pair.until(lambda: any(isinstance(item, Estimate) for item in pair.heard))
    # aiortc's own bookkeeping goes on.
    stats = await pair.sender.getStats()
    assert any(entry.type == 'remote-inbound-rtp' for entry in stats.values())


async def test_what_a_viewer_reports_is_passed_on_under_their_name(pair: Pair) -> None:
    await pair.until(lambda: bool(pair.heard))
    estimate = Estimate(source=4711, bitrate_bps=262_143)
    loss = LossReport(source=4711, fraction_lost=0.25, is_next_hop=True)
    await pass_on_feedback(pair.receiver, pair.ssrc, estimate)
    await pass_on_feedback(pair.receiver, pair.ssrc, loss)
    await pair.until(lambda: sum(item.source == 4711 for item in pair.heard) == 2)
    passed = [item for item in pair.heard if item.source == 4711]
    # The viewer was the next hop of the broker, but is not that of the robot.
    assert passed == [
        estimate,
        LossReport(source=4711, fraction_lost=0.25, is_next_hop=False),
    ]


async def test_reports_on_other_streams_and_other_messages_are_not_heard(pair: Pair) -> None:
    await pair.until(lambda: bool(pair.heard))
    handle = private(pair.sender, '_handle_rtcp_packet')
    other = (pair.ssrc + 1) % 2**32
    info = RtcpReceiverInfo(
        ssrc=other,
        fraction_lost=99,
        packets_lost=0,
        highest_sequence=0,
        jitter=0,
        lsr=0,
        dlsr=0,
    )
    await handle(RtcpRrPacket(ssrc=4711, reports=[info]))
    for fci in (pack_remb_fci(1000, [other]), b'REMB', b'', b'ELSE' + bytes(8)):
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=4711, media_ssrc=0, fci=fci))
    assert all(item.source != 4711 for item in pair.heard)
