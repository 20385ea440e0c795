"""H.264 parameter sets, written field by field, and how their numbers are read."""

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

from h264_camera import encoded, nal_units
from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.h264 import MAX_KEPT, Stream
from teleop_webrtc_bridge.core.video.h264_syntax import (
    Bits,
    MAX_HEADER_BYTES,
    PPS,
    read_pps,
    read_sps,
    SPS,
    START_CODE,
)
from teleop_webrtc_bridge.core.video.h264_syntax import (
    nal_units as split,
)


def ue(number: int) -> str:
    """Write an unsigned Exp-Golomb code (§9.1)."""
    return f'{number + 1:b}'.rjust(2 * (number + 1).bit_length() - 1, '0')


def se(number: int) -> str:
    """Write a signed Exp-Golomb code (§9.1.1)."""
    return ue(2 * number - 1 if number > 0 else -2 * number)


def as_bytes(bits: str) -> bytes:
    """Return bits, padded to whole bytes, with emulation prevention (§7.4.1)."""
    padded = bits + '0' * (-len(bits) % 8)
    data = bytearray()
    for byte in int('1' + padded, 2).to_bytes(len(padded) // 8 + 1)[1:]:
        if byte <= 3 and data.endswith(b'\0\0'):
            data.append(3)
        data.append(byte)
    return bytes(data)


def high(chroma: int = 1, luma_bits: int = 8, lists: str = '0') -> str:
    """Write the fields that only the high profile has; ``lists`` begins with their flag."""
    return ue(chroma) + ue(luma_bits - 8) + ue(0) + '0' + lists


def sps(
    *,
    profile: int = 66,
    number: int = 0,
    extra: str = '',
    order: str = ue(2),
    frame_number_bits: int = 4,
    macroblocks: tuple[int, int] = (10, 6),
    progressive: bool = True,
    crop: tuple[int, int, int, int] | None = None,
) -> bytes:
    """Write an SPS (§7.3.2.1.1); ``crop`` is left, right, top, bottom in units of two pixels."""
    bits = f'{profile:08b}' + '0' * 16 + ue(number) + extra + ue(frame_number_bits - 4) + order
    bits += ue(1) + '0' + ue(macroblocks[0] - 1) + ue(macroblocks[1] - 1)
    bits += '1' if progressive else '0'
    bits += '1' + ('0' if crop is None else '1' + ''.join(map(ue, crop))) + '0' + '1'
    return bytes([0x60 | SPS]) + as_bytes(bits)


def pps(number: int, sequence: int) -> bytes:
    """Write the beginning of a PPS (§7.3.2.2)."""
    return bytes([0x60 | PPS]) + as_bytes(ue(number) + ue(sequence) + '1' * 16)


def test_what_is_written_here_is_read() -> None:
    found = read_sps(sps(number=3, frame_number_bits=9, crop=(0, 1, 0, 2)))
    assert (found.number, found.profile, found.frame_number_bits) == (3, 'baseline', 9)
    assert (found.width, found.height) == (158, 92)
    assert not found.gaps_allowed


SCALING_LISTS = '1' + ''.join(
    '1' + se(1) * (16 if number < 6 else 64) if number % 2 else '0' for number in range(8)
)
ENDS_EARLY = '1' + '1' + se(-8) + '0' * 7
"""The first list repeats its default from its second entry on (§7.3.2.1.1.1): -8 makes it 0."""


@pytest.mark.parametrize('lists', ['0', SCALING_LISTS, ENDS_EARLY])
def test_scaling_lists_are_skipped(lists: str) -> None:
    found = read_sps(sps(profile=100, extra=high(lists=lists)))
    assert (found.profile, found.width, found.height) == ('high', 160, 96)


@pytest.mark.parametrize(
    'order',
    [
        ue(0) + ue(4),
        ue(1) + '0' + se(-3) + se(2) + ue(0),
        ue(1) + '1' + se(-3) + se(2) + ue(3) + se(1) + se(-1) + se(700),
        ue(2),
    ],
)
def test_each_kind_of_picture_order_is_skipped(order: str) -> None:
    found = read_sps(sps(order=order))
    assert (found.width, found.height) == (160, 96)


@pytest.mark.parametrize(
    ('unit', 'reason'),
    [
        (sps(profile=122), 'profile high 4:2:2; browsers decode baseline, main, high only'),
        (sps(profile=55), 'profile 55'),
        (sps(profile=100, extra=high(chroma=3)), 'not 4:2:0'),
        (sps(profile=100, extra=high(luma_bits=10)), 'more than 8 bits'),
        (sps(order=ue(3)), 'a broken SPS'),
        (sps(order=ue(1) + '0' + se(0) + se(0) + ue(256)), 'a broken SPS'),
        (sps(progressive=False), 'interlaced'),
        (sps(macroblocks=(513, 6)), 'more than 8192 px'),
        (sps(crop=(0, 80, 0, 0)), 'a broken SPS'),
        (sps(frame_number_bits=17), 'a broken SPS'),
        (sps(number=32), 'a broken SPS'),
        (sps()[:5], 'ends too early'),
        (b'\x67' + b'\x42\0\0' + bytes(8), 'that is too large'),
        (sps() + bytes(MAX_HEADER_BYTES), 'more than 2048 bytes'),
    ],
)
def test_an_sps_that_browsers_do_not_decode_is_refused(unit: bytes, reason: str) -> None:
    with pytest.raises(PictureUndecodable, match=reason):
        read_sps(unit)


def test_a_pps_names_its_sps() -> None:
    found = read_pps(pps(255, 31))
    assert (found.number, found.sequence) == (255, 31)


@pytest.mark.parametrize(('number', 'sequence'), [(256, 0), (0, 32)])
def test_a_pps_beyond_the_limits_is_refused(number: int, sequence: int) -> None:
    with pytest.raises(PictureUndecodable, match='a broken PPS'):
        read_pps(pps(number, sequence))


@given(st.lists(st.integers(-(2**30), 2**30)))
def test_numbers_with_a_sign_are_read_as_they_were_written(numbers: list[int]) -> None:
    bits = Bits(as_bytes(''.join(map(se, numbers))).replace(b'\0\0\3', b'\0\0'))
    assert [bits.signed_golomb() for _ in numbers] == numbers


def test_a_start_code_that_is_a_length_too_is_a_start_code_before_a_slice() -> None:
    # 00 00 01 65 is the length 357 as well, and 357 bytes follow.
    unit = bytes([0x65, 0x88]) + bytes([0x55]) * 356
    assert split(START_CODE[1:] + unit) == [unit]


# --- parameter sets in a stream ------------------------------------------------------------------


def message(*units: bytes) -> bytes:
    return b''.join(START_CODE + unit for unit in units)


def test_a_stream_keeps_a_limited_number_of_parameter_sets() -> None:
    keyframe = encoded(1)[0]
    slices = [unit for unit in nal_units(keyframe) if unit[0] & 0x1F == 5]
    stream = Stream()
    stream.read(message(sps(), pps(0, 0)))
    for number in range(1, MAX_KEPT + 1):
        stream.read(message(pps(number, 0)))
    with pytest.raises(PictureUndecodable):
        stream.read(message(*slices))


def test_a_new_sps_forgets_only_its_own_pps() -> None:
    keyframe = encoded(1)[0]
    sets = [unit for unit in nal_units(keyframe) if unit[0] & 0x1F in (SPS, PPS)]
    slices = [unit for unit in nal_units(keyframe) if unit[0] & 0x1F == 5]
    stream = Stream()
    stream.read(message(*sets))
    stream.read(message(sps(number=1), pps(1, 1)))
    stream.read(message(sps(number=1, macroblocks=(20, 12))))
    assert stream.read(message(*slices)) is not None
    assert stream.losses == 0


def test_a_message_of_slices_of_different_pictures_is_refused() -> None:
    units = encoded(2)
    stream = Stream()
    stream.read(units[0])
    idr = next(unit for unit in nal_units(units[0]) if unit[0] & 0x1F == 5)
    # The second slice begins behind the first macroblock.
    other = bytes([0x61, 0b01000000 | idr[1] >> 2]) + idr[2:]
    with pytest.raises(PictureUndecodable, match='slices of different pictures'):
        stream.read(message(idr, other))
