"""
H.264's parameter sets: what a stream is, and whether browsers decode it.

Section numbers are those of ITU-T H.264.
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

from dataclasses import dataclass
from typing import Final

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

__all__ = [
    'MAX_HEADER_BYTES',
    'Bits',
    'PictureParameters',
    'SequenceParameters',
    'read_pps',
    'read_sps',
    'unescaped',
]

MAX_HEADER_BYTES: Final = 2048
"""Of a parameter set; one with all its scaling lists has about half of it."""
MAX_SIDE_PX: Final = 8192
_MACROBLOCK_PX: Final = 16
_PROFILES: Final = {66: 'baseline', 77: 'main', 100: 'high'}
"""Those that browsers decode in WebRTC."""
_OTHER_PROFILES: Final = {88: 'extended', 110: 'high 10', 122: 'high 4:2:2', 244: 'high 4:4:4'}
_LONGEST_GOLOMB: Final = 31
_MAX_NUMBERS: Final = (32, 256)
"""Of sequence and of picture parameter sets."""
_MAX_CYCLE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceParameters:
    """What is used of an SPS (§7.3.2.1.1)."""

    number: int
    profile: str
    width: int
    """In pixels, after cropping."""
    height: int
    frame_number_bits: int
    gaps_allowed: bool
    """Frame numbers may be left out without a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureParameters:
    """What is used of a PPS (§7.3.2.2)."""

    number: int
    sequence: int
    """Number of the SPS that it belongs to."""


class Bits:
    """
    Reads numbers of any width, the first bit first.

    :param data: Without emulation prevention.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """
        Return the next bits as a number.

        :raises PictureUndecodable: There are not so many.
        """
        if count > self._left:
            raise PictureUndecodable('an H.264 header that ends too early')
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.take(1) == 1

    def golomb(self) -> int:
        """
        Return the next number of variable width, ue(v) (§9.1).

        :raises PictureUndecodable: It is too large, or the end is nearer.
        """
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _LONGEST_GOLOMB:
                raise PictureUndecodable('an H.264 header with a number beyond all bounds')
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        """
        Return the next number with a sign, se(v) (§9.1.1).

        :raises PictureUndecodable: As of :meth:`golomb`.
        """
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def unescaped(data: bytes) -> bytes:
    """Return the payload of a NAL unit without emulation prevention (§7.4.1)."""
    return data.replace(b'\0\0\3', b'\0\0')


def read_pps(unit: bytes) -> PictureParameters:
    """
    Return what a PPS says.

    :param unit: With its NAL header.
    :raises PictureUndecodable: It is broken.
    """
    bits = _header(unit)
    number, sequence = bits.golomb(), bits.golomb()
    if sequence >= _MAX_NUMBERS[0] or number >= _MAX_NUMBERS[1]:
        raise PictureUndecodable('a broken PPS')
    return PictureParameters(number=number, sequence=sequence)


def read_sps(unit: bytes) -> SequenceParameters:
    """
    Return what an SPS says.

    :param unit: With its NAL header.
    :raises PictureUndecodable: It is broken, or of a stream that browsers do not decode.
    """
    bits = _header(unit)
    profile = bits.take(8)
    bits.take(16)  # constraints that the stream keeps, and its level
    number = bits.golomb()
    if profile not in _PROFILES:
        name = _OTHER_PROFILES.get(profile, str(profile))
        raise PictureUndecodable(
            f'profile {name}; browsers decode {", ".join(_PROFILES.values())} only'
        )
    if _PROFILES[profile] == 'high':
        _check_high(bits)
    frame_number_bits = bits.golomb() + 4
    _skip_order(bits)
    bits.golomb()  # pictures that are kept for reference
    gaps_allowed = bits.flag()
    width, height = bits.golomb() + 1, bits.golomb() + 1
    if not bits.flag():
        raise PictureUndecodable('interlaced, which browsers do not decode: set it to progressive')
    bits.flag()  # how direct macroblocks are made
    left, right, top, bottom = [bits.golomb() for _ in range(4)] if bits.flag() else (0, 0, 0, 0)
    width_px = _MACROBLOCK_PX * width - 2 * (left + right)
    height_px = _MACROBLOCK_PX * height - 2 * (top + bottom)
    is_sized = 0 < width_px <= MAX_SIDE_PX and 0 < height_px <= MAX_SIDE_PX
    if not is_sized or frame_number_bits > 16 or number >= _MAX_NUMBERS[0]:
        raise PictureUndecodable(f'a broken SPS, or one of more than {MAX_SIDE_PX} px a side')
    return SequenceParameters(
        number=number,
        profile=_PROFILES[profile],
        width=width_px,
        height=height_px,
        frame_number_bits=frame_number_bits,
        gaps_allowed=gaps_allowed,
    )


def _header(unit: bytes) -> Bits:
    if len(unit) > MAX_HEADER_BYTES:
        raise PictureUndecodable(f'a parameter set of more than {MAX_HEADER_BYTES} bytes')
    return Bits(unescaped(unit[1:]))


def _check_high(bits: Bits) -> None:
    """
    Read what only high profiles have.

    :raises PictureUndecodable: More than 8 bits a sample, or another format than 4:2:0.
    """
    if bits.golomb() != 1:
        raise PictureUndecodable('colours that are not 4:2:0, which browsers do not decode')
    if (bits.golomb(), bits.golomb()) != (0, 0):
        raise PictureUndecodable('more than 8 bits a sample, which browsers do not decode')
    bits.flag()  # lossless blocks, which 4:2:0 does not have
    if bits.flag():
        for number in range(8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if number < 6 else 64)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _skip_order(bits: Bits) -> None:
    """Skip how the order of pictures is told."""
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.flag()
        bits.golomb()
        bits.golomb()
        cycle = bits.golomb()
        if cycle >= _MAX_CYCLE:
            raise PictureUndecodable('a broken SPS')
        for _ in range(cycle):
            bits.golomb()
    elif kind > 2:
        raise PictureUndecodable('a broken SPS')
