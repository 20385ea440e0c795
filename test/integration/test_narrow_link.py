"""A link to the operator that becomes too narrow for the video, and then wide again."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
import time

from counted_broker import CountedBroker
from detour import detour_to, Direction, Narrow
from frames_passed import FramesPassed
from moving_scene import MovingScene
import pytest
from python_operator import operator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.configuration import VideoConfiguration

pytestmark = pytest.mark.real_programs

FPS = 20.0
HIGHEST_BPS = 1_500_000
NARROW_BPS = 300_000
TARGET = 'video_target_bps'


@asynccontextmanager
async def moving_robot(
    broker: CountedBroker, folder: Path, url: str = ''
) -> AsyncIterator[WebrtcHalf]:
    """Start a robot whose picture uses the whole bitrate."""
    video = VideoConfiguration(
        codec='h264', bitrate_bps=HIGHEST_BPS, fps=FPS, max_width_px=640, encoder='libx264'
    )
    key = broker.key_file.read_text()
    robot = configuration(url or broker.url, key, 'go2-a', video=video)
    async with webrtc_half(robot, folder) as half:
        scene = asyncio.create_task(MovingScene(half, fps=FPS).run())
        try:
            yield half
        finally:
            scene.cancel()


async def frames_sent(half: WebrtcHalf, count: int) -> None:
    """Wait until the robot has sent this many more frames."""
    wanted = half.counter('encoded') + count
    await half.until(lambda: half.counter('encoded') >= wanted, 'frames are sent')


async def test_the_bitrate_follows_the_operators_link_down_and_up(
    broker: CountedBroker, tmp_path: Path
) -> None:
    async with (
        moving_robot(broker, tmp_path) as half,
        detour_to(broker.url) as detour,
        operator(detour.url, broker.token) as person,
    ):
        frames = FramesPassed(detour)
        await person.connect(await person.wait_for_robot('go2-a'))
        await frames_sent(half, 20)
        detour.narrow[Direction.TO_ROBOT] = Narrow(rate_bps=NARROW_BPS)
        await half.until(lambda: half.counter(TARGET) < 1.2 * NARROW_BPS, 'it goes down')
        low_s = time.monotonic()
        async with asyncio.timeout(20.0):
            while frames.count(low_s) < 3 * FPS:  # noqa: ASYNC110 - packets have no event
                await asyncio.sleep(0.02)
        assert half.counter(TARGET) < 1.5 * NARROW_BPS
        del detour.narrow[Direction.TO_ROBOT]
        lifted_bps = half.counter(TARGET)
        await half.until(lambda: half.counter(TARGET) > 1.1 * lifted_bps, 'it comes back')


async def test_a_robot_whose_own_link_becomes_narrow_keeps_its_queue_short(
    broker: CountedBroker, tmp_path: Path
) -> None:
    """The modem could queue three seconds, but the link would be given up after 2.5 s."""
    async with (
        detour_to(broker.url) as detour,
        moving_robot(broker, tmp_path, detour.url) as half,
        operator(broker.url, broker.token) as person,
    ):
        await person.connect(await person.wait_for_robot('go2-a'))
        await frames_sent(half, 20)
        detour.narrow[Direction.TO_BROKER] = Narrow(rate_bps=NARROW_BPS, queue_s=3.0)
        await half.until(lambda: half.counter(TARGET) < NARROW_BPS, 'it goes down')
        assert half.counter('held_back') > 0
        await frames_sent(half, 100)
        assert half.counter(TARGET) < 1.5 * NARROW_BPS
        assert detour.lost[Direction.TO_BROKER] == 0
        assert detour.created == 1
        del detour.narrow[Direction.TO_BROKER]
        lifted_bps = half.counter(TARGET)
        await half.until(lambda: half.counter(TARGET) > 1.1 * lifted_bps, 'it comes back')


async def test_a_viewer_on_a_bad_link_takes_nothing_from_the_operator(
    broker: CountedBroker, tmp_path: Path
) -> None:
    async with (
        moving_robot(broker, tmp_path) as half,
        detour_to(broker.url) as detour,
        operator(broker.url, broker.token) as person,
        operator(detour.url, broker.token) as viewer,
    ):
        frames = FramesPassed(detour)
        session_id = await person.wait_for_robot('go2-a')
        await person.connect(session_id)
        await viewer.connect(session_id, role='viewer')
        async with asyncio.timeout(20.0):
            while not frames.at_s:  # noqa: ASYNC110 - packets have no event
                await asyncio.sleep(0.02)
        detour.narrow[Direction.TO_ROBOT] = Narrow(rate_bps=NARROW_BPS)
        async with asyncio.timeout(20.0):
            while detour.lost[Direction.TO_ROBOT] < 200:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.02)
        assert half.counter(TARGET) > 2 * NARROW_BPS
        await person.leave()
        # Now this operator is the only receiver.
        await half.until(
            lambda: half.counter(TARGET) < 1.2 * NARROW_BPS, 'the link of the operator counts'
        )
