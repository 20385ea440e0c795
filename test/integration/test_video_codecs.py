"""Browsers support different codecs: the robot's codec follows the operator."""

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
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
import dataclasses
from pathlib import Path

from aiortc import RTCPeerConnection, RTCRtpSender
from counted_broker import CountedBroker
from old_robot import old_robot
import pytest
from python_operator import operator, PythonOperator
from waiting import until
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.messages import Velocity, VideoCodec

PATIENCE_S = 30.0
H264, VP8 = VideoCodec.H264, VideoCodec.VP8
BOTH = (H264, VP8)


class Filmed:
    """A robot with a camera whose picture always changes, and its viewers."""

    def __init__(self, broker: CountedBroker, half: WebrtcHalf) -> None:
        self._broker = broker
        self._half = half

    @asynccontextmanager
    async def joined(
        self, takes: Collection[VideoCodec], role: str = 'operator', *, decodes: bool = False
    ) -> AsyncIterator[PythonOperator]:
        """Watch or drive with a browser that supports these codecs."""
        broker = self._broker
        async with operator(broker.url, broker.token, decodes=decodes, takes=takes) as person:
            await person.connect(await person.wait_for_robot('go2-a'), role=role)
            yield person
            await person.leave()

    async def film(self) -> None:
        for number in range(10**6):
            self._half.show(number)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def robot(broker: CountedBroker, folder: Path, codec: str = 'h264') -> AsyncIterator[Filmed]:
    described = configuration(broker.url, broker.key_file.read_text(), 'go2-a')
    video = dataclasses.replace(described.video, codec=codec)
    async with webrtc_half(dataclasses.replace(described, video=video), folder) as half:
        await half.connected()
        filmed = Filmed(broker, half)
        filming = asyncio.create_task(filmed.film())
        try:
            yield filmed
        finally:
            filming.cancel()
            await asyncio.gather(filming, return_exceptions=True)


async def sees(person: PythonOperator, codec: VideoCodec) -> None:
    """Wait until whole pictures of this codec have arrived."""
    await until(lambda: person.codec is codec)
    frames = person.frames
    await until(lambda: person.frames > frames + 3)
    assert person.codec is codec


async def hears(person: PythonOperator, said: Callable[[str | None], bool]) -> None:
    """Wait until the broker tells a person why there is no picture, or that there is one."""
    async with asyncio.timeout(PATIENCE_S):
        await person.heartbeat()
        while not said(person.video_reason):
            await asyncio.sleep(0.1)
            await person.heartbeat()


@pytest.mark.real_programs
async def test_what_the_operator_takes_is_sent_and_viewers_follow(
    broker: CountedBroker, tmp_path: Path
) -> None:
    async with robot(broker, tmp_path) as filmed, filmed.joined(BOTH, 'viewer') as viewer:
        await sees(viewer, H264)
        async with filmed.joined((VP8,), decodes=True) as driver:
            assert driver.bridged['video_status'] == 'ok'
            await until(lambda: driver.frames > 5)
            await sees(viewer, VP8)
            assert 'video_reason' not in driver.joined | driver.bridged
        await sees(viewer, H264)
        async with filmed.joined(BOTH, decodes=True) as driver:
            await until(lambda: driver.frames > 5)
            await sees(viewer, H264)
    offers = list(broker.media.offers)
    assert len(offers) == 4, 'one connection each, the robot included: nobody dialled again'


@pytest.mark.real_programs
async def test_a_viewer_who_cannot_take_what_the_operator_needs_is_told(
    broker: CountedBroker, tmp_path: Path
) -> None:
    async with robot(broker, tmp_path) as filmed, filmed.joined((VP8,), 'viewer') as viewer:
        # Nobody supports H.264: the viewers decide.
        await sees(viewer, VP8)
        assert viewer.video_reason is None
        async with filmed.joined(BOTH) as driver:
            await sees(driver, H264)
            await hears(viewer, lambda reason: reason is not None)
            assert viewer.video_reason == (
                'No picture: this robot sends H.264 for its operator, and this browser takes '
                'VP8 only.'
            )
            frames = viewer.frames
            async with filmed.joined((VP8,), 'viewer') as late:
                assert late.joined['video_reason'] == viewer.video_reason
                assert late.bridged['video_reason'] == viewer.video_reason
                await sees(driver, H264)
                assert late.frames == 0
            assert viewer.frames == frames, 'nothing comes that cannot be shown'
        await sees(viewer, VP8)
        await hears(viewer, lambda reason: reason is None)


@pytest.mark.real_programs
async def test_the_owners_choice_of_vp8_is_nobody_elses(
    broker: CountedBroker, tmp_path: Path
) -> None:
    async with robot(broker, tmp_path, 'vp8') as filmed:
        async with filmed.joined(BOTH) as driver:
            await sees(driver, VP8)
        async with filmed.joined((H264,)) as driver:
            assert driver.bridged['video_status'] == 'pull_error'
            assert driver.bridged['video_reason'] == (
                'No picture: this robot sends VP8 only, and this browser takes H.264 only.'
            )


def only_h264(pc: RTCPeerConnection) -> None:
    """Limit a robot to one codec, like some robots with a hardware encoder."""
    known = RTCRtpSender.getCapabilities('video').codecs
    pc.getTransceivers()[0].setCodecPreferences([it for it in known if 'H264' in it.mimeType])


async def test_who_takes_nothing_of_an_old_robot_is_told_and_drives_all_the_same(
    broker: CountedBroker,
) -> None:
    key = broker.key_file.read_text()
    async with (
        old_robot(broker.url, key, 'old-1', prepare=only_h264) as old,
        operator(broker.url, broker.token, takes=(VP8,)) as person,
    ):
        await person.connect(await person.wait_for_robot('old-1'))
        reason = 'No picture: this robot sends H.264 only, and this browser takes VP8 only.'
        assert person.joined['video_reason'] == reason
        bridged = person.bridged
        assert (bridged['video_offer'], bridged['video_status']) == (None, 'pull_error')
        assert bridged['video_reason'] == reason
        async with asyncio.timeout(PATIENCE_S):
            while len(old.commands) < 5:
                person.drive(Velocity(linear_x=0.25))
                await asyncio.sleep(0.02)
