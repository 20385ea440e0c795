"""
The video encoder: from a frame to a compressed packet.

aiortc's own encoder uses x264's preset *medium*, which takes a whole core for 720p at 30 Hz. So
the track delivers finished packets. One picture goes in and one packet comes out, small enough
that none waits long behind it.
"""

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

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
import functools
import logging
from pathlib import Path
from typing import Any, cast, Final

import av
from av.video.frame import PictureType

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame
from teleop_webrtc_bridge.bridge.webrtc.video.composer import append_strip
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter
from teleop_webrtc_bridge.bridge.webrtc.video.rate_control import Target
from teleop_webrtc_bridge.core.configuration import VideoConfiguration
from teleop_webrtc_bridge.core.exceptions import EncoderUnusable

__all__ = [
    'CLOCK_RATE',
    'Compressor',
    'EncodedFrame',
    'MediaClock',
    'OpenEncoder',
    'VideoEncoder',
    'encoder_names',
    'instructions',
    'open_encoder',
]

CLOCK_RATE: Final = 90_000
"""RTP's clock for video (RFC 6184 §8.2.1)."""
KEYFRAME_INTERVAL: Final = 3000
"""In frames. Keyframes are large, and viewers ask for one when they need it."""
#: The largest frame takes this many seconds of the bitrate, so that the next one waits little.
BUFFER_S: Final = Fraction(1, 8)
FIRST_PART: Final = 0.9
"""Share of that for the first frame; x264's default."""
HEADROOM: Final = 4
"""An encoder that can change its bitrate is opened for this multiple of the first one."""
LOWEST_PART: Final = Fraction(1, 8)
"""Share of that: below it, the buffer allows keyframes that the link cannot carry."""
SMALLEST_CHANGE: Final = 0.03
REOPEN_BEYOND: Final = 1.25
"""An encoder that cannot change its bitrate is reopened when it differs by this factor."""
MAX_HELD_FRAMES: Final = 2
"""An encoder that holds back more frames is too slow to drive by."""

_SOFTWARE: Final = 'libx264'
_HARDWARE: Final = ('h264_nvenc', 'h264_qsv', 'h264_v4l2m2m')
"""Best first. VAAPI needs uploaded pictures and is not in PyAV's wheels."""
_IN_PLACE: Final = frozenset({'libx264', 'h264_nvenc'})
"""Encoders that change ``bit_rate`` without a new stream."""

#: A quarter of medium's processor time, for 1 dB of PSNR at most (docs/performance.md).
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # No keyframe at a scene change: intra blocks do as well and are small. Superfast, with the
    # options that gain most for their time (docs/performance.md): motion blocks of 8×8 pixels and
    # less rounding of fine detail. Blocks of 4×4 pixels and more bits for flat areas cost more
    # than they gain.
    'libx264': {
        'preset': 'superfast',
        'tune': 'zerolatency',
        'sc_threshold': '0',
        'partitions': 'p8x8',
        'aq-mode': 'none',
        'x264-params': 'deadzone-inter=8:deadzone-intra=4',
    },
    'h264_nvenc': {
        'preset': 'p2',
        'tune': 'ull',
        'rc': 'cbr',
        'zerolatency': '1',
        'delay': '0',
        'forced-idr': '1',
    },
    'h264_qsv': {'preset': 'veryfast', 'async_depth': '1', 'forced_idr': '1'},
    'h264_v4l2m2m': {},
    'libvpx': {
        'deadline': 'realtime',
        'cpu-used': '-8',
        'lag-in-frames': '0',
        'error-resilient': '1',
        'noise-sensitivity': '0',
        'static-thresh': '1',
        # A keyframe's size in per cent of a frame's: at 30 Hz, as much as BUFFER_S allows. Other
        # frames have no bound: libvpx does not encode a frame again that has become too large.
        'max-intra-rate': '375',
    },
}

#: x264's names; MMX2 to SSE4.2 include the sets between them and come with AVX2.
_WITHOUT_AVX512: Final = 'MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI1,BMI2,AVX2'
#: Linux's names of the flags for these and for AVX-512; a virtual machine may hide any of them.
_NEEDED: Final = frozenset({'avx512f', 'avx2', 'bmi1', 'bmi2', 'fma'})
_CPUINFO: Final = Path('/proc/cpuinfo')


#: name, width and height in pixels, first and highest bits per second, frames per second
#: → an ``av.VideoCodecContext``
OpenEncoder = Callable[[str, int, int, int, int, float], Any]


def encoder_names(codec: str, wanted: str) -> tuple[str, ...]:
    """
    Return FFmpeg's encoders for a codec, in the order of trial; the last one always works.

    :param codec: Its MIME type.
    :param wanted: ``auto``, or the encoder to try first if it is for this codec.
    """
    if codec.lower() != 'video/h264':
        return ('libvpx',)
    first = _HARDWARE if wanted == 'auto' else (wanted,)
    return (*(name for name in first if name != _SOFTWARE), _SOFTWARE)


def open_encoder(
    name: str, width: int, height: int, bitrate_bps: int, highest_bps: int, fps: float
) -> av.VideoCodecContext:
    """
    Set an encoder up; FFmpeg opens it with the first picture.

    :raises ValueError: FFmpeg does not have this encoder.
    """
    context = cast(av.VideoCodecContext, av.CodecContext.create(name, 'w'))
    context.width, context.height = width, height
    context.pix_fmt = 'nv12' if name == 'h264_qsv' else 'yuv420p'
    context.bit_rate = highest_bps
    context.time_base = Fraction(1, CLOCK_RATE)
    context.framerate = Fraction(fps).limit_denominator(1000)
    context.gop_size = KEYFRAME_INTERVAL
    context.max_b_frames = 0
    context.thread_count = 1
    rate = {'maxrate': str(highest_bps), 'bufsize': str(int(highest_bps * BUFFER_S))}
    # The first frame, a keyframe, may be as large as a buffer for the first bitrate.
    rate |= {'rc_init_occupancy': str(int(FIRST_PART * bitrate_bps * BUFFER_S))}
    if name == 'libvpx':
        rate |= {'minrate': rate['maxrate']}
    else:
        context.profile = 'Baseline' if name == _SOFTWARE else 'Constrained Baseline'
    context.options = _OPTIONS[name] | rate
    if name == _SOFTWARE and _instructions_here():
        context.options['x264-params'] += f':asm={_instructions_here()}'
    return context


def instructions(cpuinfo: str) -> str:
    """
    Return the instruction sets that x264 may use, by its names; empty: all.

    x264 uses AVX-512 where available, but this preset is slower with it, since its blocks are
    small (docs/performance.md).

    :param cpuinfo: The contents of ``/proc/cpuinfo``.
    """
    flags = next((line for line in cpuinfo.splitlines() if line.startswith('flags')), '')
    return _WITHOUT_AVX512 if _NEEDED.issubset(flags.split()) else ''


@functools.cache
def _instructions_here() -> str:
    try:
        return instructions(_CPUINFO.read_text())
    except OSError:
        return ''


class Compressor:
    """
    One open FFmpeg encoder, for pictures of one size.

    :param name: FFmpeg's name of the encoder.
    :param bitrate_bps: The first bitrate.
    :param highest_bps: The highest bitrate that will be asked for.
    :param fps: H.264 encoders count frames, not time, to keep the bitrate.
    :param open_encoder: As :func:`open_encoder`.
    """

    def __init__(
        self,
        name: str,
        *,
        size: tuple[int, int],
        bitrate_bps: int,
        highest_bps: int,
        fps: float,
        open_encoder: OpenEncoder,
    ) -> None:
        self.name = name
        self.size = size
        self._counts_frames = name != 'libvpx'
        self._fps = fps
        in_place = name in _IN_PLACE
        self._opened_bps = min(HEADROOM * bitrate_bps, highest_bps) if in_place else bitrate_bps
        # x264 accepts a lower bitrate later, but no higher one than it was opened for.
        self._context = open_encoder(name, *size, bitrate_bps, self._opened_bps, fps)
        self._bitrate_bps = bitrate_bps
        self._held = 0
        self._began = False

    def follow(self, bitrate_bps: int, fps: float) -> bool:
        """
        Keep to a bitrate from now on.

        :param fps: The actual frame rate.
        :returns: Whether it can; if not, open another one.
        """
        wanted_bps = bitrate_bps * self._fps / fps if self._counts_frames else bitrate_bps
        if self.name not in _IN_PLACE:
            return 1 / REOPEN_BEYOND <= wanted_bps / self._opened_bps <= REOPEN_BEYOND
        self._bitrate_bps = min(round(wanted_bps), self._opened_bps)
        return float(LOWEST_PART) <= wanted_bps / self._opened_bps <= REOPEN_BEYOND

    def compress(self, picture: av.VideoFrame, *, keyframe: bool) -> bytes:
        """
        Return the access unit; empty if the encoder keeps the picture for now.

        :raises EncoderUnusable: Its output is unusable.
        :raises av.FFmpegError: It failed.
        """
        if self._began:
            present_bps = self._context.bit_rate or 1
            if abs(self._bitrate_bps / present_bps - 1.0) > SMALLEST_CHANGE:
                self._context.bit_rate = self._bitrate_bps
        if picture.format.name != self._context.pix_fmt:
            stamp = picture.pts, picture.time_base
            picture = picture.reformat(format=self._context.pix_fmt)
            picture.pts, picture.time_base = stamp
        picture.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = self._context.encode(picture)
        if not packets:
            self._held += 1
            if self._held > MAX_HELD_FRAMES:
                raise EncoderUnusable(self.name, f'keeps {self._held} frames back')
            return b''
        unit = b''.join(map(bytes, packets))
        if not self._began and self._counts_frames and not _has_parameter_sets(unit):
            raise EncoderUnusable(self.name, 'its stream does not begin with parameter sets')
        self._began = True
        return unit


def _has_parameter_sets(unit: bytes) -> bool:
    """Return whether an H.264 access unit with start codes has an SPS."""
    place = unit.find(b'\0\0\1')
    while 0 <= place < len(unit) - 3:
        if unit[place + 3] & 0x1F == 7:
            return True
        place = unit.find(b'\0\0\1', place + 3)
    return False


USUAL_SHAPE: Final = 16 / 9
USUAL_INTERVAL_S: Final = 1.0
"""A longer interval between two frames is a pause and says nothing about the frame rate."""
INTERVAL_SMOOTHING: Final = 0.1
SLOWEST_PART: Final = 1 / 3
"""Share of the frame rate: a slow camera may not save up bits without limit."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFrame:
    """One access unit and its capture time."""

    packet: av.Packet[Any]
    capture_s: float
    """Seconds of ``time.monotonic``."""


class MediaClock:
    """Makes the time stamps of one stream, whose sources may change."""

    def __init__(self) -> None:
        self._origin_s: float | None = None
        self._last_pts = -1

    def pts(self, capture_s: float) -> int:
        """Return a time stamp that always rises, even if the camera's stamps do not."""
        if self._origin_s is None:
            self._origin_s = capture_s
        pts = max(self._last_pts + 1, round((capture_s - self._origin_s) * CLOCK_RATE))
        self._last_pts = pts
        return pts


class VideoEncoder:
    """
    Encodes the frames of one peer connection; one thread at a time may use it.

    It tries one FFmpeg encoder after the other and never returns to one that failed. The last one
    is in software and always works.

    :param codec: The negotiated codec's MIME type, ``video/H264`` or ``video/VP8``.
    :param video: Bitrate, frame rate and size.
    :param clock: Makes the stream's time stamps, if the stream has other sources as well.
    :param open_encoder: Sets up FFmpeg's encoder of a name.
    """

    def __init__(
        self,
        codec: str,
        video: VideoConfiguration,
        *,
        clock: MediaClock | None = None,
        open_encoder: OpenEncoder = open_encoder,
    ) -> None:
        self._video = video
        self._open_encoder = open_encoder
        self._names = deque(encoder_names(codec, video.encoder))
        self._converter = FrameConverter()
        self._compressor: Compressor | None = None
        self._clock = clock or MediaClock()
        self._last_capture_s = float('-inf')
        self._interval_s = 1.0 / video.fps
        self._waiting: deque[tuple[int, float]] = deque()
        """Time stamp and capture time of the pictures inside the encoder."""
        self.size = (0, 0)
        """Width and height of the last encoded frame, in pixels."""
        self.full_pixels = round(video.max_width_px**2 / USUAL_SHAPE)
        """Pixels of a picture in full size; a guess before the first one."""

    @property
    def name(self) -> str:
        """The encoder in use, as FFmpeg calls it."""
        return self._names[0]

    def encode(
        self, frame: Frame, target: Target, *, keyframe: bool, max_width_px: int | None = None
    ) -> EncodedFrame | None:
        """
        Convert and encode a frame.

        :param keyframe: Whether a viewer needs a keyframe.
        :param max_width_px: The camera's own limit, instead of the one for all video.
        :returns: ``None`` if the frame was overwritten while it was read: there is a newer one.
        :raises av.FFmpegError: The last encoder failed; :meth:`reset` before the next frame.
        :raises EncoderUnusable: The same.
        :raises PictureUndecodable: The frame is a broken JPEG or PNG.
        """
        picture = self._converter.convert(
            frame, max_width_px=max_width_px or self._video.max_width_px, scale=target.scale
        )
        if picture is None:
            return None
        return self.encode_picture(picture, frame.header.capture_s, target, keyframe=keyframe)

    def encode_picture(
        self, picture: av.VideoFrame, capture_s: float, target: Target, *, keyframe: bool
    ) -> EncodedFrame | None:
        """
        Encode a converted picture.

        :param picture: Made by a :class:`FrameConverter`, in the target's scale.
        :param capture_s: Its capture time, in seconds of ``time.monotonic``.
        :returns: ``None`` if the encoder keeps it for now.
        :raises av.FFmpegError: As :meth:`encode`.
        :raises EncoderUnusable: As :meth:`encode`.
        """
        self.full_pixels = round(picture.width * picture.height / target.scale**2)
        if self._video.stamp_ahead_s is not None:
            picture = append_strip(picture, capture_s + self._video.stamp_ahead_s)
        self._note_interval(capture_s)
        picture.pts = self._clock.pts(capture_s)
        picture.time_base = Fraction(1, CLOCK_RATE)
        self._waiting.append((picture.pts, capture_s))
        data = self._compress(picture, target, keyframe=keyframe)
        if not data:
            return None
        pts, capture_s = self._waiting.popleft()
        packet = av.Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, CLOCK_RATE)
        return EncodedFrame(packet=packet, capture_s=capture_s)

    def left_out(self) -> None:
        """Note that a picture was dropped: the next interval says nothing about the frame rate."""
        self._last_capture_s = float('-inf')

    def reset(self) -> None:
        """Begin with a new encoder and thus with a keyframe."""
        self._compressor = None
        self._waiting.clear()

    def _compress(self, picture: av.VideoFrame, target: Target, *, keyframe: bool) -> bytes:
        while True:
            try:
                compressor = self._compressor_for(picture, target)
                return compressor.compress(picture, keyframe=keyframe)
            except (av.FFmpegError, ValueError, EncoderUnusable) as error:
                if len(self._names) == 1:
                    raise
                _logger.info('event=encoder_left name=%s reason=%r', self.name, str(error))
                self._names.popleft()
                self._forget_older_pictures()

    def _forget_older_pictures(self) -> None:
        """Drop the present encoder and the pictures inside it, except the newest."""
        newest = self._waiting[-1]
        self.reset()
        self._waiting.append(newest)

    def _compressor_for(self, picture: av.VideoFrame, target: Target) -> Compressor:
        size = (picture.width, picture.height)
        fps = self._fps(target)
        present = self._compressor
        stays = present is not None and present.size == size
        if present is not None and stays and present.follow(target.bitrate_bps, fps):
            return present
        if present is not None:
            self._forget_older_pictures()
        self._compressor = Compressor(
            self.name,
            size=size,
            bitrate_bps=target.bitrate_bps,
            highest_bps=max(self._video.bitrate_bps, target.bitrate_bps),
            fps=fps,
            open_encoder=self._open_encoder,
        )
        self.size = size
        _logger.debug('event=encoder_opened name=%s size=%r', self.name, size)
        return self._compressor

    def _note_interval(self, capture_s: float) -> None:
        interval_s = capture_s - self._last_capture_s
        self._last_capture_s = capture_s
        if 0.0 < interval_s < USUAL_INTERVAL_S:
            self._interval_s += INTERVAL_SMOOTHING * (interval_s - self._interval_s)

    def _fps(self, target: Target) -> float:
        """Return the actual frame rate: a camera may be slower than the target."""
        return min(max(1.0 / self._interval_s, SLOWEST_PART * target.fps), target.fps)
