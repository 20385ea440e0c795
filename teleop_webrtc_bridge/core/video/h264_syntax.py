"""
The syntax of H.264: NAL units, parameter sets, and the streams that browsers decode.

Cameras write units after start codes (Annex B of ITU-T H.264) or after their lengths (ISO/IEC
14496-15); parameter sets also come in that standard's record for decoders (``avcC``). Section
numbers are those of ITU-T H.264.
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

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

__all__ = [
    'IDR_SLICE',
    'KEPT',
    'MAX_HEADER_BYTES',
    'MAX_NAL_UNITS',
    'PPS',
    'SLICE',
    'SPS',
    'START_CODE',
    'Bits',
    'PictureParameters',
    'SequenceParameters',
    'nal_units',
    'read_pps',
    'read_sps',
    'recovery_pictures',
    'unescaped',
    'unit_kind',
]

MAX_HEADER_BYTES: Final = 2048
"""Limit of a parameter set; one with all scaling lists has about half of that."""
MAX_SIDE_PX: Final = 8192
_MACROBLOCK_PX: Final = 16
_PROFILES: Final = {66: 'baseline', 77: 'main', 100: 'high'}
"""The profiles that browsers decode in WebRTC."""
_OTHER_PROFILES: Final = {88: 'extended', 110: 'high 10', 122: 'high 4:2:2', 244: 'high 4:4:4'}
_LONGEST_GOLOMB: Final = 31
_MAX_NUMBERS: Final = (32, 256)
"""Exclusive limits of the numbers of SPS and PPS."""
_MAX_CYCLE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceParameters:
    """The fields of an SPS that are used (§7.3.2.1.1)."""

    number: int
    profile: str
    width: int
    """In pixels, after cropping."""
    height: int
    frame_number_bits: int
    gaps_allowed: bool
    """Whether gaps in the frame numbers are allowed, and so no loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureParameters:
    """The fields of a PPS that are used (§7.3.2.2)."""

    number: int
    sequence: int
    """Number of the SPS that it belongs to."""


class Bits:
    """
    Reads numbers of any width, most significant bit first.

    :param data: Without emulation prevention.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """
        Return the next bits as a number.

        :raises PictureUndecodable: Too few are left.
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

        :raises PictureUndecodable: It is too large, or the data end too early.
        """
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _LONGEST_GOLOMB:
                raise PictureUndecodable('an H.264 header with a number that is too large')
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        """
        Return the next number with a sign, se(v) (§9.1.1).

        :raises PictureUndecodable: As for :meth:`golomb`.
        """
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def unescaped(data: bytes) -> bytes:
    """Return the payload of a NAL unit without emulation prevention (§7.4.1)."""
    return data.replace(b'\0\0\3', b'\0\0')


def read_pps(unit: bytes) -> PictureParameters:
    """
    Parse a PPS.

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
    Parse an SPS.

    :param unit: With its NAL header.
    :raises PictureUndecodable: It is broken, or belongs to a stream that browsers do not decode.
    """
    bits = _header(unit)
    profile = bits.take(8)
    bits.take(16)  # constraint flags and level
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
    bits.golomb()  # number of reference pictures
    gaps_allowed = bits.flag()
    width, height = bits.golomb() + 1, bits.golomb() + 1
    if not bits.flag():
        raise PictureUndecodable('interlaced, which browsers do not decode: set it to progressive')
    bits.flag()  # direct_8x8_inference_flag
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
    Read the fields that only high profiles have.

    :raises PictureUndecodable: More than 8 bits per sample, or not 4:2:0.
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
    """Skip the fields of the picture order count."""
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


# --- NAL units --------------------------------------------------------------------------------

MAX_NAL_UNITS: Final = 1024
START_CODE: Final = b'\0\0\0\1'
_LENGTH_BYTES: Final = 4

SLICE, IDR_SLICE, _SEI, SPS, PPS = 1, 5, 6, 7, 8
KEPT: Final = frozenset({SLICE, IDR_SLICE, _SEI, SPS, PPS})
#: Delimiters and filler, which RTP does not need, and extensions for other decoders.
_DROPPED: Final = frozenset(range(9, 24))
_RECOVERY_POINT: Final = 6
#: Bytes of the record before its SPS: version, profile (3), size of lengths, number of SPS.
_RECORD_BYTES: Final = 6


def unit_kind(unit: bytes) -> int:
    """Return the type of a NAL unit (§7.4.1)."""
    return unit[0] & 0x1F


def nal_units(data: bytes) -> list[bytes]:
    """
    Return the NAL units of a message.

    :raises PictureUndecodable: It has none, or some of kinds that cannot go over RTP unchanged.
    """
    units = _split(data)
    for unit in units:
        kind = unit_kind(unit)
        if unit[0] & 0x80 or kind not in KEPT | _DROPPED or (kind in KEPT and len(unit) < 2):
            raise PictureUndecodable(f'a NAL unit of type {kind}, which no camera sends')
    return units


def _split(data: bytes) -> list[bytes]:
    code = START_CODE[1:]
    record = _by_record(data)
    if record is not None:
        return record
    if data.startswith(code):
        # It may also be the length of a unit of 256 to 511 bytes. If the code is read as a length,
        # the first slice of a picture has no valid NAL header.
        with suppress(PictureUndecodable):
            units = _by_lengths(data)
            if not any(unit[0] & 0x80 for unit in units):
                return units
        return _by_start_codes(data)
    head, found, _ = data.partition(code)
    return _by_start_codes(data) if found and not head.strip(b'\0') else _by_lengths(data)


def _by_start_codes(data: bytes) -> list[bytes]:
    """Return the NAL units of a byte stream (§B.1.1), without the zeros between them."""
    code = START_CODE[1:]
    place = data.find(code)
    units: list[bytes] = []
    for _ in range(MAX_NAL_UNITS):
        begin = place + len(code)
        place = data.find(code, begin)
        unit = data[begin : place if place >= 0 else len(data)].rstrip(b'\0')
        if unit:
            units.append(unit)
        if place < 0:
            return units
    raise PictureUndecodable(f'more than {MAX_NAL_UNITS} NAL units')


def _by_lengths(data: bytes) -> list[bytes]:
    """Return the NAL units of an MP4 sample (ISO/IEC 14496-15) with lengths of four bytes."""
    units: list[bytes] = []
    place = 0
    while place < len(data):
        begin = place + _LENGTH_BYTES
        length = int.from_bytes(data[place:begin])
        unit = data[begin : begin + length]
        if not unit or len(unit) < length or START_CODE[1:] in unit:
            raise PictureUndecodable('no H.264: neither start codes nor lengths of NAL units')
        units.append(unit)
        place = begin + length
        if len(units) > MAX_NAL_UNITS:
            raise PictureUndecodable(f'more than {MAX_NAL_UNITS} NAL units')
    if not units:
        raise PictureUndecodable('an empty message')
    return units


def _by_record(data: bytes) -> list[bytes] | None:
    """
    Return the parameter sets of a decoder's record (ISO/IEC 14496-15, 5.3.3.1).

    :returns: ``None``: it is no record. As a length, its first byte would mean 16 MiB or more.
    :raises PictureUndecodable: The stream's lengths do not have four bytes.
    """
    if len(data) <= _RECORD_BYTES or data[0] != 1 or data[4] < 0xFC or data[5] < 0xE0:
        return None
    units: list[bytes] = []
    place = _RECORD_BYTES - 1
    for mask in (0x1F, 0xFF):
        count, place = (data[place] & mask if place < len(data) else 0), place + 1
        for _ in range(count):
            begin = place + 2
            place = begin + int.from_bytes(data[place:begin])
            if not begin < place <= len(data):
                return None
            units.append(data[begin:place])
    if {unit_kind(unit) for unit in units} != {SPS, PPS}:
        return None
    length_bytes = 1 + (data[4] & 3)
    if length_bytes != _LENGTH_BYTES:
        raise PictureUndecodable(
            f'NAL units after lengths of {length_bytes} bytes; start codes, or lengths of '
            f'{_LENGTH_BYTES} bytes, are needed'
        )
    return units


def recovery_pictures(unit: bytes) -> int | None:
    """
    Return after how many pictures decoding is correct if it begins here (§D.2.8).

    :returns: ``None``: the unit does not say; 0: with this very picture; 1: later.
    """
    if unit_kind(unit) != _SEI or len(unit) > MAX_HEADER_BYTES:
        return None
    data = unescaped(unit[1:])
    place = 0
    while place + 2 < len(data):
        kind, place = _counted(data, place)
        size, place = _counted(data, place)
        if kind == _RECOVERY_POINT and size > 0 and place < len(data):
            # ue(v): a one and nothing before it is 0.
            return int(data[place] < 0x80)
        place += size
    return None


def _counted(data: bytes, place: int) -> tuple[int, int]:
    """Return a number in SEI coding (§7.3.2.3.1) and the position after it."""
    value = 0
    while place < len(data) and data[place] == 0xFF:
        value, place = value + 0xFF, place + 1
    return (value + data[place], place + 1) if place < len(data) else (value, place)
