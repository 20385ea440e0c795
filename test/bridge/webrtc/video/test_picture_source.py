"""Tests of the picture source with real memories and a real encoder."""

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
from collections import Counter
from collections.abc import AsyncIterator
import os
import time

import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot, FrameHeader, FrameWriter
from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import EncodedFrame, VideoEncoder
from teleop_webrtc_bridge.bridge.webrtc.video.picture_source import PictureSource
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController
from teleop_webrtc_bridge.core.configuration import CameraConfiguration, VideoConfiguration

NAMES = ('front', 'rear', 'arm')
WIDTH, HEIGHT = 64, 48
SLOW = VideoConfiguration(
    codec='h264', bitrate_bps=500_000, fps=1.0, max_width_px=640, encoder='libx264'
)
"""So low that the second picture of a test is due but the third is not."""


class Rig:
    """The ROS half on one side, the track on the other."""

    def __init__(self, writers: dict[str, FrameWriter], cameras: CameraFeeds) -> None:
        self.counters: Counter[str] = Counter()
        self.cameras = cameras
        self._writers = writers
        self.encoder = VideoEncoder('video/H264', SLOW)
        self.rate = RateController(highest_bps=SLOW.bitrate_bps, fps=SLOW.fps)
        self.source = PictureSource(
            cameras,
            self.encoder,
            max_width_px=SLOW.max_width_px,
            rate=self.rate,
            counters=self.counters,
        )

    def write(self, name: str, capture_s: float, *, is_filler: bool = False) -> None:
        header = FrameHeader(
            capture_s=capture_s,
            width=WIDTH,
            height=HEIGHT,
            step=WIDTH,
            encoding='mono8',
            is_filler=is_filler,
        )
        self._writers[name].write(header, memoryview(bytes(WIDTH * HEIGHT)))

    async def unit(self) -> EncodedFrame:
        """Return the unit that is ready."""
        async with asyncio.timeout(30.0):
            unit = await self.source.next_unit()
        assert unit is not None
        return unit

    async def nothing(self) -> None:
        """Assert that no unit is ready."""
        async with asyncio.timeout(30.0):
            assert await self.source.next_unit() is None


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    memories = [create_slot() for _ in NAMES]
    writers = {
        name: FrameWriter(memory, wake) for name, memory in zip(NAMES, memories, strict=True)
    }
    configurations = [CameraConfiguration(name=name) for name in NAMES]
    configurations[2] = CameraConfiguration(name='arm', max_width_px=WIDTH // 2)
    rig = Rig(writers, CameraFeeds(configurations, memories=memories, wake=wake))
    yield rig
    asyncio.get_running_loop().remove_reader(wake)
    rig.source.close()
    for writer in writers.values():
        writer.close()
    for descriptor in (wake, *memories):
        os.close(descriptor)


async def test_the_first_camera_is_shown_and_others_say_nothing(rig: Rig) -> None:
    rig.write('rear', 100.0)
    rig.write('front', 101.0)
    assert (await rig.unit()).capture_s == 101.0
    rig.write('rear', 102.5)
    waiting = asyncio.create_task(rig.source.next_unit())
    await asyncio.sleep(0)
    rig.write('front', 103.0)
    assert await waiting is None, 'woken, asked again'
    assert (await rig.unit()).capture_s == 103.0
    assert rig.counters['skipped'] == 0


async def test_another_selection_is_seen_at_once_however_few_frames_are_wanted(rig: Rig) -> None:
    for capture_s in (100.0, 100.01):
        rig.write('front', capture_s)
        first = await rig.unit()
    rig.write('front', 100.02)
    await rig.nothing()
    rig.write('rear', 100.015)
    rig.cameras.show(['rear'])
    second = await rig.unit()
    assert second.capture_s == 100.015
    rig.cameras.show(['front', 'rear'])
    third = await rig.unit()
    assert third.capture_s == 100.015, 'the older one of both'
    assert rig.encoder.size == (2 * WIDTH, HEIGHT)
    rig.cameras.show(['front'])
    fourth = await rig.unit()
    assert rig.encoder.size == (WIDTH, HEIGHT)
    stamps = [unit.packet.pts for unit in (first, second, third, fourth)]
    assert stamps == sorted(set(stamps)), 'even where the capture times step back'
    assert rig.counters['encoded'] == 5


async def test_grey_is_seen_at_once_and_tells_no_age(rig: Rig) -> None:
    rig.write('front', 100.0)
    rig.write('rear', 100.01)
    rig.cameras.show(['front', 'rear'])
    assert (await rig.unit()).capture_s == 100.0
    rig.write('front', 100.02)
    assert (await rig.unit()).capture_s == 100.01
    rig.write('front', 100.03)
    await rig.nothing()
    rig.write('rear', 100.02, is_filler=True)
    assert (await rig.unit()).capture_s == 100.03
    rig.write('front', 101.5)
    assert (await rig.unit()).capture_s == 101.5


async def test_before_all_that_is_selected_have_a_frame_there_is_no_unit(rig: Rig) -> None:
    rig.write('front', 100.0)
    rig.cameras.show(['front', 'arm'])
    waiting = asyncio.create_task(rig.source.next_unit())
    await asyncio.sleep(0)
    rig.write('arm', 100.0)
    assert await waiting is None
    assert rig.counters['encoded'] == 0
    await rig.unit()
    assert rig.encoder.size == (2 * WIDTH, HEIGHT)


async def test_a_camera_is_no_wider_than_it_may_be(rig: Rig) -> None:
    rig.write('arm', 100.0)
    rig.cameras.show(['arm'])
    await rig.unit()
    assert rig.encoder.size == (WIDTH // 2, HEIGHT // 2)


def fill_the_link(rig: Rig) -> float:
    """Let an answer be overdue; return the time of its probe."""
    now = time.monotonic()
    rig.rate.on_probe(now - 5.0)
    rig.rate.on_answer(now - 5.0, now - 4.95)
    rig.rate.on_probe(now - 1.0)
    rig.rate.sent(100, now)
    return now - 1.0


async def test_a_frame_that_would_wait_in_a_queue_is_left_out(rig: Rig) -> None:
    rig.write('front', 100.0)
    await rig.unit()
    probe_s = fill_the_link(rig)
    rig.write('front', 101.0)
    await rig.nothing()
    assert rig.counters['held_back'] == 1
    rig.rate.on_answer(probe_s, probe_s + 1.0)
    rig.write('front', 102.0)
    assert (await rig.unit()).capture_s == 102.0
    assert rig.counters['held_back'] == 1


async def test_a_camera_that_stalls_is_seen_whatever_waits_in_a_queue(rig: Rig) -> None:
    rig.write('front', 100.0)
    await rig.unit()
    fill_the_link(rig)
    rig.write('front', 101.0)
    await rig.nothing()
    # If this single placeholder were held back, the stale picture would stay visible.
    rig.write('front', 102.0, is_filler=True)
    await rig.unit()
    assert rig.counters['held_back'] == 1


@pytest.mark.parametrize('error', [ZeroDivisionError, OverflowError, ValueError])
async def test_a_picture_that_nobody_has_reckoned_with_does_not_end_the_track(
    rig: Rig,
    error: type[Exception],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise error('of one picture')

    with monkeypatch.context() as patch:
        patch.setattr(rig.encoder, 'encode', fail)
        for number in range(3):
            rig.write('front', 1.0 + 2.0 * number)
            await rig.nothing()
    assert rig.counters['torn'] == 3
    assert len(caplog.records) == 1
    rig.write('front', 20.0)
    await rig.unit()


async def test_a_picture_that_cannot_be_converted_is_counted_and_told_once(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError('float division by zero')

    with monkeypatch.context() as patch:
        patch.setattr(FrameConverter, '_convert_now', fail)
        for number in range(3):
            rig.write('front', 1.0 + 2.0 * number)
            await rig.nothing()
    assert rig.counters['undecodable'] == 3
    assert rig.counters['encoder_failures'] == 0
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        'event=picture_undecodable'
    ]
    rig.write('front', 20.0)
    await rig.unit()
