"""Tests of what is sent of cameras that encode by themselves, with a real ring."""

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
from collections.abc import AsyncIterator, Callable
import dataclasses
import logging
import os
import time
from typing import Any

import av
from h264_camera import encoded, pictures
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot, FrameHeader, FrameWriter
from teleop_webrtc_bridge.bridge.link.packet_ring import create_ring, PacketWriter
from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds
from teleop_webrtc_bridge.bridge.webrtc.video.camera_track import CameraTrack
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import RateController
from teleop_webrtc_bridge.core.configuration import (
    CameraConfiguration,
    CameraKind,
    VideoConfiguration,
)
from teleop_webrtc_bridge.core.messages import VideoCodec
from teleop_webrtc_bridge.core.video.h264 import AccessUnit, Held, Stream

VIDEO = VideoConfiguration(
    codec='h264', bitrate_bps=1_000_000, fps=30.0, max_width_px=640, encoder='libx264'
)
GREY = 128


class Rig:
    """Two cameras that encode, one that does not, and the track."""

    def __init__(self, codec: str = 'video/H264', video: VideoConfiguration = VIDEO) -> None:
        self.wake = os.eventfd(0, os.EFD_NONBLOCK)
        self.memories = [create_ring(), create_ring(), create_slot()]
        self.writers = [PacketWriter(memory, self.wake) for memory in self.memories[:2]]
        self.frames = FrameWriter(self.memories[2], self.wake)
        kinds = (CameraKind.H264, CameraKind.H264, CameraKind.PICTURES)
        configurations = [
            CameraConfiguration(name=name, kind=kind)
            for name, kind in zip(('front', 'rear', 'arm'), kinds, strict=True)
        ]
        self.cameras = CameraFeeds(configurations, memories=self.memories, wake=self.wake)
        self.rate = RateController(highest_bps=VIDEO.bitrate_bps, fps=VIDEO.fps)
        self.track = CameraTrack(self.cameras, self.rate)
        self.track.use(codec, video)
        self.stream = Stream()
        self._capture_s = time.monotonic() - 5.0

    def show(self, *names: str) -> None:
        """Show these cameras."""
        self.cameras.show(names)

    def shutter(self) -> float:
        """Return the next capture time, a 30th of a second after the last one."""
        self._capture_s += 1 / 30
        return self._capture_s

    def put(
        self, message: bytes, *, camera: int = 0, capture_s: float | None = None
    ) -> AccessUnit:
        """Pass a camera's message on, as the ROS half does."""
        unit = self.stream.read(message)
        assert isinstance(unit, AccessUnit)
        taken_s = self.shutter() if capture_s is None else capture_s
        self.writers[camera].write(unit, taken_s, time.monotonic())
        return unit

    def put_grey(self) -> None:
        """Show grey, as the ROS half does while nobody watches."""
        self.writers[0].write_grey(160, 96, time.monotonic())

    def put_picture(self, grey: int) -> None:
        header = FrameHeader(
            capture_s=self.shutter(), width=160, height=96, step=160, encoding='mono8'
        )
        self.frames.write(header, memoryview(bytes([grey]) * (160 * 96)))

    async def take(self) -> av.Packet[Any]:
        async with asyncio.timeout(30.0):
            return await self.track.recv()

    async def is_silent(self) -> bool:
        """Return whether nothing is sent."""
        receiving = asyncio.ensure_future(self.track.recv())
        done, _ = await asyncio.wait([receiving], timeout=0.1)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        return not done

    def close(self) -> None:
        self.track.stop()
        asyncio.get_running_loop().remove_reader(self.wake)
        self.frames.close()
        for writer in self.writers:
            writer.close()
        for descriptor in (*self.memories, self.wake):
            os.close(descriptor)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def brightness(picture: bytes, width: int = 160, height: int = 96) -> float:
    return sum(picture[: width * height]) / (width * height)


# --- what is sent --------------------------------------------------------------------------------


async def test_the_bytes_on_the_wire_are_the_cameras(rig: Rig) -> None:
    for number, message in enumerate(encoded(25)):
        unit = rig.put(message, capture_s=1000.0 + number)
        assert bytes(await rig.take()) == unit.data
        assert rig.track.capture_s == 1000.0 + number
    assert rig.track.counters['passed_on'] == 25
    assert 'encoded' not in rig.track.counters


async def test_pictures_that_came_while_another_was_sent_all_follow(rig: Rig) -> None:
    units = [rig.put(message) for message in encoded(10)]
    assert [bytes(await rig.take()) for _ in units] == [unit.data for unit in units]


async def test_time_stamps_are_those_of_capture_and_always_rise(rig: Rig) -> None:
    captures_s = (1000.0, 1000.1, 1000.2, 1000.15, 1000.4)
    stamps = []
    for capture_s, message in zip(captures_s, encoded(5), strict=True):
        rig.put(message, capture_s=capture_s)
        packet = await rig.take()
        stamps.append(packet.pts * packet.time_base)
    assert stamps == sorted(set(stamps))
    assert [float(stamp) for stamp in stamps] == pytest.approx([0.0, 0.1, 0.2, 0.2, 0.4], abs=1e-3)


async def test_a_reader_that_was_held_up_goes_on_with_a_keyframe(rig: Rig) -> None:
    messages = encoded(25)
    rig.put(messages[0])
    await rig.take()
    units = [rig.stream.read(message) for message in messages[1:]]
    long_ago = time.monotonic() - 5.0
    for number, unit in enumerate(units, 1):
        assert not isinstance(unit, Held)
        now = long_ago if number < 20 else time.monotonic()
        rig.writers[0].write(unit, now, now)
    sent = [bytes(await rig.take()) for _ in range(5)]
    assert pictures(sent) == pictures(messages[20:])
    assert rig.track.counters['skipped'] == 19


# --- grey and other cameras ----------------------------------------------------------------------


async def test_grey_while_nobody_watches_and_then_a_keyframe(rig: Rig) -> None:
    messages = encoded(25)
    sent = []
    for _ in range(3):
        rig.put_grey()
        sent.append(await rig.take())
    units = [rig.put(message) for message in messages[:3]]
    sent += [await rig.take() for _ in units]
    rig.put_grey()
    sent.append(await rig.take())
    shown = pictures([bytes(packet) for packet in sent])
    assert len(shown) == 7
    assert all(brightness(shown[number]) == pytest.approx(GREY, abs=6) for number in (0, 1, 2, 6))
    assert shown[3:6] == pictures(messages[:3])
    stamps = [packet.pts for packet in sent]
    assert stamps == sorted(set(stamps))


async def test_cameras_of_both_kinds_take_turns_on_one_track(rig: Rig) -> None:
    """A viewer's single decoder shows every picture right, from the first on."""
    small, large = encoded(3), encoded(3, width=320, height=180, first=5)
    sent: list[Any] = []

    async def stream(camera: int, messages: tuple[bytes, ...]) -> None:
        rig.show(('front', 'rear')[camera])
        rig.stream = Stream()
        for message in messages:
            rig.put(message, camera=camera)
            sent.append(await rig.take())

    await stream(0, small)
    await stream(1, large)
    rig.show('arm')
    for grey in (60, 70, 80):
        rig.put_picture(grey)
        sent.append(await rig.take())
    await stream(0, small)
    decoder: Any = av.CodecContext.create('h264', 'r')
    shown = [decoder.decode(av.Packet(bytes(packet))) for packet in sent]
    assert [len(frames) for frames in shown] == [1] * 12
    seen = [frames[0].to_ndarray(format='yuv420p').tobytes() for frames in shown]
    assert seen[:3] == seen[9:] == pictures(small)
    assert seen[3:6] == pictures(large)
    # Video's black is 16, its white 235.
    expected = [16 + grey * 219 / 255 for grey in (60, 70, 80)]
    assert [brightness(seen[6 + n]) for n in range(3)] == pytest.approx(expected, abs=6)
    stamps = [packet.pts for packet in sent]
    assert stamps == sorted(set(stamps))


async def test_cameras_of_both_kinds_beside_each_other(rig: Rig) -> None:
    rig.show('front', 'arm')
    messages = encoded(1, first=4) * 4
    decoder: Any = av.CodecContext.create('h264', 'r')
    seen: list[Any] = []
    for message in messages:
        rig.put(message)
        rig.put_picture(90)
        packet = await rig.take()
        seen += decoder.decode(av.Packet(bytes(packet)))
    rows = seen[-1].to_ndarray(format='gray').astype(float)
    assert rows.shape == (96, 320)
    want = brightness(pictures(encoded(1, first=4))[0])
    # Grey in full range, both.
    assert rows[:, 8:152].mean() == pytest.approx((want - 16) * 255 / 219, abs=6)
    assert rows[:, 168:312].mean() == pytest.approx(90, abs=6)


async def test_a_camera_that_is_shown_again_begins_with_a_keyframe(rig: Rig) -> None:
    messages = encoded(25)
    for message in messages[:3]:
        rig.put(message)
        await rig.take()
    rig.show('arm')
    rig.put_picture(90)
    await rig.take()
    rig.show('front')
    for message in messages[3:10]:
        rig.put(message)
    assert await rig.is_silent()
    unit = rig.put(messages[10])
    assert bytes(await rig.take()) == unit.data
    assert rig.track.counters['thinned'] == rig.track.counters['skipped'] == 0


# --- hints for the camera's owner ----------------------------------------------------------------


async def test_a_keyframe_that_is_late_is_told_once_with_its_cadence(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    messages = encoded(220, gop=100)
    for number, message in enumerate(messages):
        rig.put(message)
        await rig.take()
        if number == 101:
            rig.track.request_keyframe()
        if 101 <= number < 199 and not caplog.records:
            await asyncio.sleep(0.05)
    told = [record for record in caplog.records if 'keyframe_late' in record.message]
    assert len(told) == 1
    assert told[0].levelno == logging.WARNING
    assert 'camera=front' in told[0].message
    assert 'keyframes="every ' in told[0].message
    assert 'GOP' in told[0].message
    assert rig.track.counters['keyframes_late'] == 1


async def test_a_strip_below_the_picture_takes_a_picture_that_is_decoded() -> None:
    rig = Rig(video=dataclasses.replace(VIDEO, stamp_ahead_s=0.0))
    try:
        for message in encoded(1, width=320, height=180) * 2:
            rig.put(message)
            packet = await rig.take()
        assert bytes(packet) not in encoded(1, width=320, height=180)
        assert rig.track.counters['encoded'] == 2
        assert rig.track.counters['passed_on'] == 0
    finally:
        rig.close()


async def test_another_codec_gets_what_is_decoded_and_encoded_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig('video/VP8')
    try:
        assert [record.message for record in caplog.records if 'decoding' in record.message]
        decoder: Any = av.CodecContext.create('vp8', 'r')
        # Pictures of scene number 4 look alike, so it does not matter which ones are shown.
        messages = [message for _ in range(4) for message in encoded(1, first=4)]
        seen = []
        for message in messages:
            rig.put(message)
            packet = await rig.take()
            seen += decoder.decode(av.Packet(bytes(packet)))
        want = pictures(encoded(1, first=4))[0]
        assert len(seen) == 4
        for frame in seen:
            shown = frame.to_ndarray(format='yuv420p').tobytes()
            assert brightness(shown) == pytest.approx(brightness(want), abs=4)
        rig.put_grey()
        grey = decoder.decode(av.Packet(bytes(await rig.take())))[0]
        assert brightness(grey.to_ndarray(format='yuv420p').tobytes()) == pytest.approx(128, abs=6)
        assert rig.track.counters['passed_on'] == 0
    finally:
        rig.close()


async def test_the_codec_changes_within_one_stream(rig: Rig) -> None:
    messages = encoded(1, first=4)
    rig.put(messages[0])
    taken = [await rig.take()]
    assert rig.track.codec is VideoCodec.H264
    waiting = asyncio.ensure_future(rig.take())
    await asyncio.sleep(0)
    rig.track.use('video/VP8', VIDEO)
    # From the camera's last keyframe: no new picture is needed.
    taken.append(await waiting)
    assert rig.track.codec is VideoCodec.VP8
    figures = rig.track.figures()
    assert (figures['video_is_vp8'], figures['decoded_again']) == (1.0, 1.0)
    decoder: Any = av.CodecContext.create('vp8', 'r')
    (picture,) = decoder.decode(av.Packet(bytes(taken[-1])))
    want = brightness(pictures(messages)[0])
    shown = picture.to_ndarray(format='yuv420p').tobytes()
    assert brightness(shown) == pytest.approx(want, abs=4)
    rig.track.use('video/H264', VIDEO)
    unit = rig.put(messages[0])
    while rig.track.codec is not VideoCodec.H264:
        taken.append(await rig.take())
    assert bytes(taken[-1]) == unit.data
    figures = rig.track.figures()
    assert (figures['video_is_vp8'], figures['decoded_again']) == (0.0, 0.0)
    stamps = [packet.pts for packet in taken]
    assert stamps == sorted(set(stamps))


async def test_what_was_decoded_long_ago_is_not_shown_again() -> None:
    rig = Rig('video/VP8')
    try:
        rig.put(encoded(1, first=4)[0])
        old = rig.cameras.all[0]
        await rig.take()
        assert old.newest() is not None
        rig.track.use('video/H264', VIDEO)
        rig.track.use('video/VP8', VIDEO)
        assert old.newest() is None, 'a picture of now is decoded first'
    finally:
        rig.close()


def congested(rig: Rig, part: float) -> Callable[[], None]:
    """Return reports of a link that carries only a part of the stream."""

    def report() -> None:
        figures = rig.track.figures()
        if 'stream_bps' in figures:
            rig.rate.on_remb(1, part * figures['stream_bps'], time.monotonic())

    return report


async def test_a_link_that_is_too_narrow_is_told_and_gets_keyframes_only(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    finest = (('tune', 'zerolatency'), ('crf', '5'))
    messages = encoded(300, width=320, height=180, gop=10, options=finest)
    report = congested(rig, 0.3)
    sent: list[bytes] = []

    async def send() -> None:
        while True:
            sent.append(bytes(await rig.track.recv()))

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(60.0):
            number = 0
            while rig.track.counters['thinned'] < 40:
                rig.put(messages[number % 300])
                number += 1
                report()
                await asyncio.sleep(1 / 30)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert rig.track.counters['over_link'] > 0
    assert rig.track.counters['passed_on'] + rig.track.counters['thinned'] == number
    told = [record.message for record in caplog.records if 'stream_too_large' in record.message]
    assert len(told) == 1
    # Everything that was sent can be decoded.
    right = set(pictures(messages))
    assert set(pictures(sent)) <= right
