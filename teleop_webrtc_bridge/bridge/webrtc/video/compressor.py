"""
FFmpeg's encoders: which are tried, how they are set up, what they can change while running.

One picture goes in, one packet comes out, small enough that none waits long behind it.
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

from collections.abc import Callable
from fractions import Fraction
import functools
from pathlib import Path
from typing import Any, cast, Final, Protocol

import av
from av.video.frame import PictureType

from teleop_webrtc_bridge.core.exceptions import EncoderUnusable

__all__ = [
    'CLOCK_RATE',
    'Compressor',
    'OpenEncoder',
    'encoder_names',
    'instructions',
    'open_encoder',
]

CLOCK_RATE: Final = 90_000
"""RTP's clock for video (RFC 6184 §8.2.1)."""
KEYFRAME_INTERVAL: Final = 3000
"""Frames; viewers ask for keyframes when they need one, and each is as large as several frames."""
#: A frame may take this part of a second of the bitrate: none waits long behind its predecessor.
BUFFER_S: Final = Fraction(1, 8)
FIRST_PART: Final = 0.9
"""Of that, for the first frame: what x264 takes by itself."""
HEADROOM: Final = 4
"""An encoder that changes its bitrate in place is opened for that many times the first one."""
LOWEST_PART: Final = Fraction(1, 8)
"""Of what it was opened for: below, its buffer allows keyframes that the link cannot carry."""
SMALLEST_CHANGE: Final = 0.03
REOPEN_BEYOND: Final = 1.25
"""One that cannot change its bitrate is opened again for one that differs by this factor."""
MAX_HELD_FRAMES: Final = 2
"""An encoder that keeps more to itself is too slow to drive by."""

_SOFTWARE: Final = 'libx264'
_HARDWARE: Final = ('h264_nvenc', 'h264_qsv', 'h264_v4l2m2m')
"""Best first. No VAAPI: its pictures have to be uploaded, and PyAV's wheels do not have it."""
_IN_PLACE: Final = frozenset({'libx264', 'h264_nvenc'})
"""Encoders that follow ``bit_rate`` without a new stream."""

#: A quarter of medium's processor time, for 1 dB of PSNR at most (docs/performance.md).
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # No keyframe just because the scene changes: intra blocks do as well, and are small.
    # Superfast, with what gives most for its time (docs/performance.md): blocks of 8×8 pixels for
    # what moves, and fine detail that is rounded off less. Left out, because it gives less than
    # it takes: blocks of 4×4 within them, and more bits for flat places.
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
        # A keyframe's size in per cent of a frame's, at 30 Hz as large as BUFFER_S allows. Other
        # frames are not bounded: libvpx does not encode one again that has become too large.
        'max-intra-rate': '375',
    },
}


#: As x264 calls them; MMX2 to SSE4.2 include what is between, and come with AVX2.
_WITHOUT_AVX512: Final = 'MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI1,BMI2,AVX2'
#: What these and AVX-512 need, as Linux calls it; a virtual machine may hide any of it.
_NEEDED: Final = frozenset({'avx512f', 'avx2', 'bmi1', 'bmi2', 'fma'})
_CPUINFO: Final = Path('/proc/cpuinfo')


class Context(Protocol):
    """What is used of ``av.VideoCodecContext``."""

    bit_rate: int | None
    pix_fmt: str | None

    def encode(self, frame: av.VideoFrame) -> list[Any]: ...


#: name, width and height in pixels, bits per second to begin with and at most, frames per second
#: → the encoder
OpenEncoder = Callable[[str, int, int, int, int, float], Context]


def encoder_names(codec: str, wanted: str) -> tuple[str, ...]:
    """
    Return FFmpeg's encoders for a codec, in the order in which they are tried.

    :param codec: Its MIME type.
    :param wanted: ``auto``, or the one to begin with if it is for this codec. The last one always
        works.
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

    :raises ValueError: FFmpeg does not have it.
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
    Return the instructions that x264 is to use, in its own words; empty: all that there are.

    With AVX-512, which it takes where it is there, this preset is slower (docs/performance.md):
    its blocks are small.

    :param cpuinfo: What Linux says of the processor.
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
    One stream of one size.

    :param name: FFmpeg's encoder.
    :param bitrate_bps: To begin with.
    :param highest_bps: It will not be told more.
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
        # x264 takes a lower bitrate later, but not a higher one than it was opened for.
        self._context = open_encoder(name, *size, bitrate_bps, self._opened_bps, fps)
        self._bitrate_bps = bitrate_bps
        self._held = 0
        self._began = False

    def follow(self, bitrate_bps: int, fps: float) -> bool:
        """
        Keep a bitrate from now on.

        :param fps: The frame rate as it is.
        :returns: Whether it can; if not, open another one.
        """
        wanted_bps = bitrate_bps * self._fps / fps if self._counts_frames else bitrate_bps
        if self.name not in _IN_PLACE:
            return 1 / REOPEN_BEYOND <= wanted_bps / self._opened_bps <= REOPEN_BEYOND
        self._bitrate_bps = min(round(wanted_bps), self._opened_bps)
        return float(LOWEST_PART) <= wanted_bps / self._opened_bps <= REOPEN_BEYOND

    def compress(self, picture: av.VideoFrame, *, keyframe: bool) -> bytes:
        """
        Return the access unit that is ready; none if the encoder keeps the picture for now.

        :raises EncoderUnusable: It has shown to be of no use.
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
    """Return whether an H.264 access unit has an SPS, in the format with start codes."""
    place = unit.find(b'\0\0\1')
    while 0 <= place < len(unit) - 3:
        if unit[place + 3] & 0x1F == 7:
            return True
        place = unit.find(b'\0\0\1', place + 3)
    return False
