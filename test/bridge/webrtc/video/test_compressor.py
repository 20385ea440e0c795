"""Tests of FFmpeg's encoders: settings, output, and the change from unusable ones."""

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

from collections.abc import Callable, Iterator
from fractions import Fraction
import itertools
import os
from typing import Any

import av
import numpy as np
import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import (
    create_slot,
    Frame,
    FrameHeader,
    FrameReader,
    FrameWriter,
)
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import (
    Compressor,
    encoder_names,
    instructions,
    open_encoder,
    VideoEncoder,
)
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import Target
from teleop_webrtc_bridge.core.configuration import VideoConfiguration
from teleop_webrtc_bridge.core.exceptions import EncoderUnusable
from teleop_webrtc_bridge.demo.camera_view import CameraView
from teleop_webrtc_bridge.demo.diff_drive import Pose
from teleop_webrtc_bridge.demo.world import courtyard

WIDTH, HEIGHT, FPS = 640, 360, 30.0
HIGHEST_BPS = 2_000_000
SECONDS = 2.0
CODECS = pytest.mark.parametrize('name', ['libx264', 'libvpx'])


class Scene:
    """A carpet, seen by a shaking camera; each call gives a picture."""

    def __init__(self) -> None:
        self._source = np.random.default_rng(11)
        coarse = self._source.integers(0, 255, ((HEIGHT + 64) // 8, (WIDTH + 64) // 8))
        self._carpet = np.kron(coarse, np.ones((8, 8))).astype(np.uint8)
        self._number = itertools.count()

    def picture(self, *, moves: bool = True, interval_s: float = 1 / FPS) -> av.VideoFrame:
        y, x = self._source.integers(0, 64, 2) if moves else (0, 0)
        luma = self._carpet[y : y + HEIGHT, x : x + WIDTH]
        planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        planes[:HEIGHT] = luma
        picture = av.VideoFrame.from_ndarray(planes, format='yuv420p')
        picture.pts = round(next(self._number) * interval_s * 90_000)
        picture.time_base = Fraction(1, 90_000)
        return picture


def compressor(name: str, bitrate_bps: int, *, fps: float = FPS) -> Compressor:
    return Compressor(
        name,
        size=(WIDTH, HEIGHT),
        bitrate_bps=bitrate_bps,
        highest_bps=HIGHEST_BPS,
        fps=fps,
        open_encoder=open_encoder,
    )


def is_keyframe(unit: bytes) -> bool:
    """Return whether an H.264 access unit holds an IDR picture."""
    return any(part[:1] and part[0] & 0x1F == 5 for part in unit.split(b'\0\0\1'))


def compressed_bps(used: Compressor, scene: Scene, *, fps: float = FPS) -> tuple[float, int]:
    """Compress two seconds; return bitrate and number of keyframes."""
    units = [
        used.compress(scene.picture(interval_s=1 / fps), keyframe=False)
        for _ in range(round(SECONDS * fps))
    ]
    return 8 * sum(map(len, units)) / SECONDS, sum(map(is_keyframe, units))


# --- instructions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('cpuinfo', 'avoids'),
    [
        ('processor\t: 0\nflags\t\t: fpu avx fma bmi1 bmi2 avx2 avx512f avx512bw\n', True),
        ('processor\t: 0\nflags\t\t: fpu avx fma bmi2 avx2 avx512f avx512bw\n', False),
        ('processor\t: 0\nflags\t\t: fpu avx avx2\n', False),
        ('processor\t: 0\nFeatures\t: fp asimd\n', False),
        ('', False),
    ],
)
def test_avx_512_is_left_out_where_it_is_there(cpuinfo: str, avoids: bool) -> None:
    found = instructions(cpuinfo)
    assert ('AVX2' in found.split(',')) is avoids
    assert 'AVX512' not in found


def test_which_instructions_are_used_changes_no_bit() -> None:
    def streams() -> Iterator[bytes]:
        for option in ('', ':asm=auto'):

            def opened(*arguments: Any, option: str = option) -> Any:
                context = open_encoder(*arguments)
                context.options['x264-params'] += option
                return context

            used = Compressor(
                'libx264',
                size=(WIDTH, HEIGHT),
                bitrate_bps=HIGHEST_BPS,
                highest_bps=HIGHEST_BPS,
                fps=FPS,
                open_encoder=opened,
            )
            scene = Scene()
            units = [used.compress(scene.picture(), keyframe=False) for _ in range(10)]
            # The first one contains x264's settings.
            yield b''.join(units[1:])

    ours, automatic = streams()
    assert ours == automatic


# --- bitrate ---------------------------------------------------------------------------------


def test_x264_changes_its_bitrate_without_a_keyframe() -> None:
    used, scene = compressor('libx264', HIGHEST_BPS), Scene()
    assert is_keyframe(used.compress(scene.picture(), keyframe=False))
    frames = 1
    for bitrate_bps in (1_000_000, 400_000, 1_500_000, 300_000):
        assert used.follow(bitrate_bps, FPS)
        # Its debt or savings at the old bitrate.
        units = [used.compress(scene.picture(), keyframe=False) for _ in range(20)]
        produced_bps, keyframes = compressed_bps(used, scene)
        # It rises slowly, as the rate controller does.
        assert 0.6 * bitrate_bps < produced_bps < 1.25 * bitrate_bps
        assert keyframes == sum(map(is_keyframe, units)) == 0
        frames += 20 + round(SECONDS * FPS)
    assert frames > 300


def test_vp8_does_not_and_says_so() -> None:
    used = compressor('libvpx', 1_000_000)
    assert used.follow(1_100_000, FPS)
    assert not used.follow(700_000, FPS)
    assert not used.follow(1_300_000, FPS)


def test_an_encoder_of_a_high_bitrate_is_not_kept_for_a_very_low_one() -> None:
    """Otherwise its buffer would allow keyframes that take a second on the link."""
    used = compressor('libx264', HIGHEST_BPS)
    assert used.follow(HIGHEST_BPS // 8, FPS)
    assert not used.follow(HIGHEST_BPS // 9, FPS)


def test_an_encoder_of_a_low_bitrate_is_not_kept_for_a_high_one() -> None:
    used = compressor('libx264', 200_000)
    assert used.follow(800_000, FPS)
    assert not used.follow(1_100_000, FPS)


@CODECS
def test_the_bitrate_is_that_of_the_frames_that_come(name: str) -> None:
    """H.264 encoders rely on the frame rate that they are opened with."""
    used, scene = compressor(name, 800_000), Scene()
    used.compress(scene.picture(), keyframe=False)
    assert used.follow(800_000, 15.0)
    compressed_bps(used, scene, fps=15.0)
    assert compressed_bps(used, scene, fps=15.0)[0] == pytest.approx(800_000, rel=0.25)


@pytest.mark.parametrize('bitrate_bps', [300_000, 1_000_000, 2_000_000])
def test_no_frame_is_large_not_even_a_keyframe_after_stillness(bitrate_bps: int) -> None:
    used, scene = compressor('libx264', bitrate_bps), Scene()
    for number in range(120):
        unit = used.compress(
            scene.picture(moves=30 < number < 60), keyframe=number in (45, 75, 110)
        )
        # Its buffer is an eighth of a second at four times the bitrate.
        assert 8 * len(unit) <= 0.55 * bitrate_bps, number


@pytest.mark.parametrize('bitrate_bps', [200_000, 300_000, 1_000_000, 2_000_000])
def test_the_first_frame_takes_an_eighth_of_a_second_at_the_first_bitrate(
    bitrate_bps: int,
) -> None:
    """It comes when the size changes, which is when the link is too narrow."""
    unit = compressor('libx264', bitrate_bps).compress(Scene().picture(), keyframe=False)
    assert is_keyframe(unit)
    assert 8 * len(unit) <= bitrate_bps / 8


def turning_robot(count: int) -> list[av.VideoFrame]:
    """Return the views of the simulated robot while it turns."""
    view = CameraView(courtyard(), width=WIDTH, height=HEIGHT)
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pictures = []
    for number in range(count):
        view.render(Pose(x=0.0, y=0.0, yaw=0.5 * number / FPS), pixels)
        picture = av.VideoFrame.from_ndarray(pixels, format='rgb24').reformat(format='yuv420p')
        picture.pts, picture.time_base = number * 3000, Fraction(1, 90_000)
        pictures.append(picture)
    return pictures


def quality_db(pictures: list[av.VideoFrame], **options: str) -> tuple[float, int]:
    """Return PSNR and size of the settled pictures."""

    def opened(name: str, *arguments: Any) -> Any:
        context = open_encoder(name, *arguments)
        context.options = context.options | options
        return context

    used = Compressor(
        'libx264',
        size=(WIDTH, HEIGHT),
        bitrate_bps=800_000,
        highest_bps=800_000,
        fps=FPS,
        open_encoder=opened,
    )
    decoder = av.CodecContext.create('h264', 'r')
    errors, size = [], 0
    for number, picture in enumerate(pictures):
        unit = used.compress(picture, keyframe=False)
        (shown,) = decoder.decode(av.Packet(unit))
        if number >= 15:
            size += len(unit)
            one, other = (p.to_ndarray()[:HEIGHT].astype(float) for p in (picture, shown))
            errors.append(((one - other) ** 2).mean())
    return float(10 * np.log10(255**2 / np.mean(errors))), size


def test_what_a_robot_sees_looks_better_than_with_superfast_alone() -> None:
    pictures = turning_robot(45)
    psnr_db, size = quality_db(pictures)
    plain_db, plain_size = quality_db(pictures, partitions='i4x4', **{'aq-mode': 'variance'})
    assert psnr_db > plain_db + 0.5
    assert size < 1.05 * plain_size


# --- which encoder ---------------------------------------------------------------------------


def test_hardware_is_tried_first_and_software_is_always_last() -> None:
    assert encoder_names('video/H264', 'auto') == (
        'h264_nvenc',
        'h264_qsv',
        'h264_v4l2m2m',
        'libx264',
    )
    assert encoder_names('video/H264', 'libx264') == ('libx264',)
    assert encoder_names('video/H264', 'h264_v4l2m2m') == ('h264_v4l2m2m', 'libx264')
    assert encoder_names('video/VP8', 'auto') == ('libvpx',)
    assert encoder_names('video/VP8', 'h264_nvenc') == ('libvpx',)


class Broken:
    """
    An encoder that opens and works for some frames, then does something else.

    :param then: What it does; gets the real encoder's packets.
    """

    def __init__(self, good: int, then: Callable[[list[Any]], list[Any]]) -> None:
        self._real = open_encoder('libx264', WIDTH, HEIGHT, HIGHEST_BPS, HIGHEST_BPS, FPS)
        self._good = good
        self._then = then
        self.bit_rate: int | None = HIGHEST_BPS
        self.pix_fmt: str | None = 'nv12'
        self.tried = 0

    def encode(self, picture: av.VideoFrame) -> list[Any]:
        assert picture.format.name == 'nv12'
        self.tried += 1
        packets = list(self._real.encode(picture.reformat(format='yuv420p')))
        return packets if self.tried <= self._good else self._then(packets)


def fail(packets: list[Any]) -> list[Any]:
    raise av.error.ExternalError(1, 'the device has gone')


def strip_start(packets: list[Any]) -> list[Any]:
    return [av.Packet(bytes(packet).replace(b'\0\0\1', b'\0\0\2')) for packet in packets]


def keep(packets: list[Any]) -> list[Any]:
    return []


def frames(count: int) -> list[Frame]:
    """Return frames as from the slot, each with its own memory."""
    carpet = np.random.default_rng(4).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
    made = []
    for number in range(count):
        slot, wake = create_slot(), os.eventfd(0, os.EFD_NONBLOCK)
        writer, reader = FrameWriter(slot, wake), FrameReader(slot)
        header = FrameHeader(
            capture_s=50.0 + number / FPS,
            width=WIDTH,
            height=HEIGHT,
            step=WIDTH,
            encoding='mono8',
        )
        writer.write(header, memoryview(np.roll(carpet, number, 1).tobytes()))
        frame = reader.newest()
        assert frame is not None
        made.append(frame)
        writer.close()
        os.close(slot)
        os.close(wake)
    return made


@pytest.mark.parametrize('good', [0, 1, 20])
@pytest.mark.parametrize(
    ('then', 'lost_frames'), [(fail, 0), (keep, 2)], ids=['fails', 'keeps all']
)
def test_an_encoder_that_fails_at_any_frame_is_left_for_the_next_one(
    good: int, then: Callable[[list[Any]], list[Any]], lost_frames: int
) -> None:
    broken: dict[str, Broken] = {}

    def opened(name: str, *arguments: Any) -> Any:
        if name == 'libx264':
            return open_encoder(name, *arguments)
        broken[name] = Broken(good, then)
        return broken[name]

    video = VideoConfiguration(
        codec='h264', bitrate_bps=HIGHEST_BPS, fps=FPS, max_width_px=1280, encoder='h264_nvenc'
    )
    encoder = VideoEncoder('video/H264', video, open_encoder=opened)
    target = Target(bitrate_bps=HIGHEST_BPS, fps=FPS, scale=1.0)
    decoder = av.CodecContext.create('h264', 'r')
    shown = [0] * 30
    stamps = []
    for number, frame in enumerate(frames(30)):
        encoded = encoder.encode(frame, target, keyframe=False)
        if encoded is not None:
            shown[number] = len(decoder.decode(av.Packet(bytes(encoded.packet))))
            stamps.append(encoded.packet.pts)
            assert encoded.capture_s == frame.header.capture_s
    assert shown.count(0) == lost_frames
    assert set(shown[good + lost_frames :]) == {1}
    assert all(later > one for one, later in itertools.pairwise(stamps))
    assert encoder.name == 'libx264'
    assert broken['h264_nvenc'].tried == good + 1 + lost_frames


def test_a_stream_without_start_codes_is_of_no_use() -> None:
    used = Compressor(
        'h264_qsv',
        size=(WIDTH, HEIGHT),
        bitrate_bps=HIGHEST_BPS,
        highest_bps=HIGHEST_BPS,
        fps=FPS,
        open_encoder=lambda *arguments: Broken(0, strip_start),
    )
    with pytest.raises(EncoderUnusable, match='h264_qsv'):
        used.compress(Scene().picture(), keyframe=False)


def test_the_last_encoder_is_opened_again_and_again() -> None:
    """The track relies on this: it drops the frame and continues."""
    attempts = []

    def opened(name: str, *arguments: Any) -> Any:
        attempts.append(name)
        return Broken(0, fail) if len(attempts) < 3 else open_encoder(name, *arguments)

    video = VideoConfiguration(
        codec='h264', bitrate_bps=HIGHEST_BPS, fps=FPS, max_width_px=1280, encoder='libx264'
    )
    encoder = VideoEncoder('video/H264', video, open_encoder=opened)
    target = Target(bitrate_bps=HIGHEST_BPS, fps=FPS, scale=1.0)
    pictures = frames(3)
    for frame in pictures[:2]:
        with pytest.raises(av.FFmpegError):
            encoder.encode(frame, target, keyframe=False)
        encoder.reset()
    assert encoder.encode(pictures[2], target, keyframe=False) is not None


def test_what_is_missing_here_ends_at_software() -> None:
    """There is no such device here: each is opened, fails and is dropped."""
    video = VideoConfiguration(codec='h264', bitrate_bps=500_000, fps=FPS, max_width_px=1280)
    encoder = VideoEncoder('video/H264', video)
    target = Target(bitrate_bps=500_000, fps=FPS, scale=1.0)
    for frame in frames(3):
        assert encoder.encode(frame, target, keyframe=False) is not None


# --- following the link ----------------------------------------------------------------------


@pytest.mark.parametrize('codec', ['video/H264', 'video/VP8'])
def test_each_change_of_the_target_is_decoded_without_a_break(codec: str) -> None:
    video = VideoConfiguration(
        codec='h264', bitrate_bps=HIGHEST_BPS, fps=FPS, max_width_px=1280, encoder='libx264'
    )
    encoder = VideoEncoder(codec, video)
    decoder = av.CodecContext.create('h264' if codec == 'video/H264' else 'vp8', 'r')
    sizes = []
    targets = [
        Target(bitrate_bps=bitrate_bps, fps=fps, scale=scale)
        for bitrate_bps, fps, scale in (
            (HIGHEST_BPS, 30.0, 1.0),
            (400_000, 20.0, 1.0),
            (200_000, 15.0, 0.75),
            (150_000, 15.0, 0.5),
            (1_200_000, 30.0, 1.0),
        )
    ]
    for number, frame in enumerate(frames(40)):
        encoded = encoder.encode(frame, targets[number // 8], keyframe=False)
        assert encoded is not None
        (picture,) = decoder.decode(av.Packet(bytes(encoded.packet)))
        sizes.append((picture.width, picture.height))
    full = (WIDTH, HEIGHT)
    assert [size for size, _ in itertools.groupby(sizes)] == [full, (480, 270), (320, 180), full]
