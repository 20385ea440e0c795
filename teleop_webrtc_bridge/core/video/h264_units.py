"""
Messages of H.264, taken apart into their NAL units, and what a unit says of itself.

Cameras write units after start codes (Annex B of ITU-T H.264) or after their lengths (ISO/IEC
14496-15); parameter sets also come in that standard's record for decoders (``avcC``).
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
from typing import Final

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.h264_parameters import MAX_HEADER_BYTES, unescaped

__all__ = [
    'IDR_SLICE',
    'KEPT',
    'MAX_NAL_UNITS',
    'PPS',
    'SLICE',
    'SPS',
    'START_CODE',
    'nal_units',
    'recovery_pictures',
    'unit_kind',
]

MAX_NAL_UNITS: Final = 1024
START_CODE: Final = b'\0\0\0\1'
_LENGTH_BYTES: Final = 4

SLICE, IDR_SLICE, _SEI, SPS, PPS = 1, 5, 6, 7, 8
KEPT: Final = frozenset({SLICE, IDR_SLICE, _SEI, SPS, PPS})
#: Delimiters and filling, which RTP does not need, and additions for other decoders.
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

    :raises PictureUndecodable: It is not made of them, or they are of kinds that cannot go over
        RTP as they are.
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
        # Or it is the length of a unit of 256 to 511 bytes. A slice that begins a picture, read
        # as if the code were a length, has no valid NAL header.
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
    """Return the NAL units of an MP4 sample (ISO/IEC 14496-15), lengths of four bytes."""
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

    :returns: ``None`` if it is none. Its first byte as that of a length says more than 16 MiB.
    :raises PictureUndecodable: The stream's lengths have another size than is read here.
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
    Return after how many pictures all is right if decoding begins with this unit's (§D.2.8).

    :returns: ``None`` if the unit does not say so; 0: this very picture is right; 1: later.
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
    """Return a number of SEI's kind (§7.3.2.3.1) and the place after it."""
    value = 0
    while place < len(data) and data[place] == 0xFF:
        value, place = value + 0xFF, place + 1
    return (value + data[place], place + 1) if place < len(data) else (value, place)
