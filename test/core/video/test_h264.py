"""Which pictures of somebody else's H.264 are passed on, and that none of them is garbage."""

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

from collections.abc import Sequence

from h264_camera import encoded, nal_units, only_sets, pictures, without_sets
from hypothesis import given, settings
from hypothesis import strategies as st
from lines_run import lines_run
import pytest

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.h264 import (
    AccessUnit,
    Held,
    MAX_NAL_UNITS,
    MAX_UNIT_BYTES,
    Stream,
)
from teleop_webrtc_bridge.core.video.h264_syntax import Bits, read_sps

SPS, PPS = 7, 8
START = b'\0\0\0\1'


def kinds(data: bytes) -> list[int]:
    return [unit[0] & 0x1F for unit in nal_units(data)]


def read_all(stream: Stream, units: Sequence[bytes]) -> str:
    """Return K for a keyframe, p for another picture, - for one held back, x for one refused."""
    told = ''
    for unit in units:
        try:
            found = stream.read(unit)
        except PictureUndecodable:
            told += 'x'
            continue
        told += '-' if isinstance(found, Held) else 'K' if found.keyframe else 'p'
    return told


def passed(stream: Stream, units: Sequence[bytes]) -> list[AccessUnit]:
    return [found for unit in units if isinstance(found := stream.read(unit), AccessUnit)]


# --- what passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize('profile', ['Baseline', 'Main', 'High'])
@pytest.mark.parametrize('size', [(160, 96), (162, 90), (1920, 1080)])
def test_every_picture_passes_byte_by_byte(profile: str, size: tuple[int, int]) -> None:
    units = encoded(6, width=size[0], height=size[1], gop=4, profile=profile)
    found = passed(Stream(), units)
    assert [unit.keyframe for unit in found] == [True, False, False, False, True, False]
    assert {(unit.width, unit.height) for unit in found} == {size}
    for unit, original in zip(found, units, strict=True):
        assert nal_units(unit.data) == nal_units(original)


@pytest.mark.parametrize('options', ['slices=4', 'aud=1', 'open-gop=1', 'aud=1:slices=3'])
def test_slices_delimiters_and_open_groups(options: str) -> None:
    units = encoded(12, gop=5, options=(('x264-params', f'bframes=0:{options}'),))
    found = passed(Stream(), units)
    assert [unit.keyframe for unit in found] == [number % 5 == 0 for number in range(12)]
    for unit, original in zip(found, units, strict=True):
        # A delimiter tells a decoder nothing that RTP does not tell.
        assert nal_units(unit.data) == [part for part in nal_units(original) if part[0] != 9]


@pytest.mark.parametrize('code', [b'\0\0\1', b'\0\0\0\1', b'\0\0\0\0\0\1'])
def test_start_codes_of_any_length(code: bytes) -> None:
    units = encoded(3)
    other = [b''.join(code + part for part in nal_units(unit)) + b'\0\0' for unit in units]
    assert [unit.data for unit in passed(Stream(), other)] == [
        b''.join(START + part for part in nal_units(unit)) for unit in units
    ]


def test_lengths_in_the_place_of_start_codes() -> None:
    units = encoded(12)
    mp4 = [b''.join(len(part).to_bytes(4) + part for part in nal_units(unit)) for unit in units]
    assert [unit.data for unit in passed(Stream(), mp4)] == [
        unit.data for unit in passed(Stream(), units)
    ]


def test_a_stream_that_is_joined_begins_with_its_next_keyframe() -> None:
    stream = Stream()
    assert read_all(stream, encoded(25)[3:]) == '-------Kppppppppp' + 'Kpppp'
    assert stream.losses == 0


# --- parameter sets ------------------------------------------------------------------------------


def test_a_keyframe_that_lacks_its_parameter_sets_gets_the_newest() -> None:
    units = encoded(25)
    bare = [units[0], *map(without_sets, units[1:])]
    found = passed(Stream(), bare)
    assert [unit.keyframe for unit in found] == [number % 10 == 0 for number in range(25)]
    assert kinds(found[10].data)[:2] == [SPS, PPS]
    assert pictures([unit.data for unit in found[10:]]) == pictures(units[10:])


def test_parameter_sets_may_come_in_messages_of_their_own() -> None:
    units = encoded(5)
    stream = Stream()
    assert stream.read(only_sets(units[0])) is Held.NO_PICTURE
    found = passed(stream, [*map(without_sets, units)])
    assert pictures([unit.data for unit in found]) == pictures(units)


@pytest.mark.parametrize('together', [True, False])
def test_a_pps_may_come_before_its_sps(together: bool) -> None:
    units = encoded(5)
    swapped = [START + part for part in reversed(nal_units(only_sets(units[0])))]
    first = [b''.join(swapped) + without_sets(units[0])] if together else [*swapped, units[0]]
    found = passed(Stream(), [*first, *map(without_sets, units[1:])])
    assert kinds(found[0].data)[:2] == [SPS, PPS], 'decoders want it so'
    assert pictures([unit.data for unit in found]) == pictures(units)


def test_pictures_may_take_turns_between_several_parameter_sets() -> None:
    streams = [
        encoded(5, width=width, height=96, options=(('x264-params', f'sps-id={number}'),))
        for number, width in enumerate((160, 320))
    ]
    sets = [only_sets(units[0]) for units in streams]
    stream = Stream()
    assert {stream.read(data) for data in sets} == {Held.NO_PICTURE}
    for units, width in zip(streams * 2, (160, 320) * 2, strict=True):
        found = passed(stream, [*map(without_sets, units)])
        assert [unit.width for unit in found] == [width] * 5
        assert pictures([unit.data for unit in found]) == pictures(units)


def record(unit: bytes, *, length_bytes: int = 4, end: bytes = b'\xfd\xf8\xf8\0') -> bytes:
    """Return a keyframe's parameter sets as MP4 and RTSP hand them out (``avcC``)."""
    sps, pps = nal_units(only_sets(unit))
    head = b'\1' + sps[1:4] + bytes([0xFC | length_bytes - 1, 0xE1])
    return head + len(sps).to_bytes(2) + sps + b'\1' + len(pps).to_bytes(2) + pps + end


@pytest.mark.parametrize('end', [b'', b'\xfd\xf8\xf8\0'], ids=['main', 'high'])
def test_parameter_sets_may_come_in_a_record_for_decoders(end: bytes) -> None:
    units = encoded(5)
    mp4 = [
        b''.join(len(part).to_bytes(4) + part for part in nal_units(without_sets(unit)))
        for unit in units
    ]
    stream = Stream()
    assert stream.read(record(units[0], end=end)) is Held.NO_PICTURE
    found = passed(stream, mp4)
    assert pictures([unit.data for unit in found]) == pictures(units)


def test_a_record_that_is_broken_or_of_other_lengths_is_refused() -> None:
    whole = record(encoded(1)[0], end=b'')
    for size in range(7, len(whole)):
        with pytest.raises(PictureUndecodable, match='neither start codes nor lengths'):
            Stream().read(whole[:size])
    with pytest.raises(PictureUndecodable, match='lengths of 2 bytes'):
        Stream().read(record(encoded(1)[0], length_bytes=2))


def test_whether_the_parameter_sets_are_known_and_whether_they_ever_will_be() -> None:
    units = encoded(15)
    stream = Stream()
    assert stream.knows_sets is None, 'no picture yet'
    assert stream.read(units[5]) is Held.NO_KEYFRAME
    assert (stream.knows_sets, stream.lacks_sets) == (False, False), 'they may come'
    assert read_all(stream, [without_sets(units[10])]) == 'x'
    assert (stream.knows_sets, stream.lacks_sets) == (False, True), 'they do not'
    assert stream.read(only_sets(units[0])) is Held.NO_PICTURE
    assert stream.read(units[11]) is Held.NO_KEYFRAME
    assert (stream.knows_sets, stream.lacks_sets) == (True, False), 'they did all the same'


def test_parameter_sets_of_another_encoder_are_forgotten_and_newer_ones_kept() -> None:
    small, large = encoded(25), encoded(25, width=320, height=180)
    bare = [*map(without_sets, large)]
    stream = Stream()
    stream.read(small[0], 10.0)
    stream.forget_sets(10.1)
    assert stream.knows_sets is None
    assert read_all(stream, bare[:12]) == 'x---------x-'
    stream.read(only_sets(large[0]), 12.0)
    stream.forget_sets(11.9)
    assert [unit.width for unit in passed(stream, bare[12:])] == [320] * 5


def test_an_encoder_without_keyframes_is_known_as_such() -> None:
    params = 'bframes=0:intra-refresh=1:keyint=10'
    units = encoded(30, options=(('tune', 'zerolatency'), ('x264-params', params)))
    stream = Stream()
    assert read_all(stream, units) == 'K' + 'p' * 29
    stream = Stream()
    assert read_all(stream, units[5:]) == '-' * 25
    assert stream.is_gradual
    assert not stream.lacks_sets
    assert read_all(stream, encoded(2)) == 'Kp'
    assert not stream.is_gradual


def test_a_keyframe_whose_parameter_sets_never_came_is_refused_and_told() -> None:
    stream = Stream()
    with pytest.raises(PictureUndecodable, match=r'SPS, PPS'):
        stream.read(without_sets(encoded(5)[0]))
    assert read_all(stream, [*map(without_sets, encoded(25)), *encoded(5)]) == (
        'x---------x---------x----Kpppp'
    )


def test_the_size_may_change_with_a_keyframe() -> None:
    small, large = encoded(5), encoded(5, width=320, height=180)
    found = passed(Stream(), [*small, *large, *small])
    assert [unit.width for unit in found] == [160] * 5 + [320] * 5 + [160] * 5
    assert kinds(found[5].data).count(SPS) == kinds(found[5].data).count(PPS) == 1


# --- losses --------------------------------------------------------------------------------------


def test_after_a_loss_nothing_passes_until_the_next_keyframe() -> None:
    stream = Stream()
    units = list(encoded(25))
    del units[5]
    assert read_all(stream, units) == 'Kpppp----' + 'Kppppppppp' + 'Kpppp'
    assert stream.losses == 1


def test_a_lost_keyframe_costs_all_that_refers_to_it() -> None:
    units = list(encoded(25))
    del units[10]
    assert read_all(Stream(), units) == 'Kppppppppp' + '---------' + 'Kpppp'


def test_what_was_not_passed_on_is_lost_as_well() -> None:
    stream = Stream()
    units = encoded(25)
    assert read_all(stream, units[:5]) == 'Kpppp'
    stream.interrupt()
    assert read_all(stream, units[5:]) == '-----' + 'Kppppppppp' + 'Kpppp'
    assert stream.losses == 0


def head(frame_number: int, *, idr: bool = False, reference: bool = True) -> bytes:
    """Return a picture without its content, which nobody here looks at."""
    number = format(frame_number, f'0{read_sps(nal_units(encoded(1)[0])[0]).frame_number_bits}b')
    # The first macroblock, all slices are P or I, the first PPS, the frame number.
    text = '1' + ('0001000' if idr else '00110') + '1' + number + '1'
    kind = (5 if idr else 1) | (0x60 if reference else 0)
    return START + bytes([kind]) + int(text.ljust(32, '0'), 2).to_bytes(4) + b'\x80'


@pytest.mark.parametrize(
    ('frames', 'told'),
    [
        # Frame numbers count references; s is spare: nothing refers to it.
        ('I0 r1 r2 r3', 'Kppp'),
        ('I0 s1 r1 s2 s2 r2', 'Kppppp'),
        ('I0 s1 s2', 'Kp-'),
        ('I0 s1 r2 r3 I0 r1', 'Kp--Kp'),
        ('I0 r1 r1', 'Kp-'),
        ('I0 I0 r1', 'KKp'),
    ],
)
def test_a_gap_in_the_frame_numbers_is_a_loss(frames: str, told: str) -> None:
    stream = Stream()
    assert read_all(stream, encoded(1)) == 'K'
    units = [
        head(int(frame[1:]), idr=frame[0] == 'I', reference=frame[0] != 's')
        for frame in frames.split()
    ]
    assert read_all(stream, units) == told


@given(lost=st.sets(st.integers(0, 59), max_size=20))
@settings(deadline=None, max_examples=60)
def test_whatever_is_lost_what_passes_is_right(lost: set[int]) -> None:
    units = encoded(60, gop=12)
    right = pictures(units)
    numbers = {bytes(unit): number for number, unit in enumerate(units)}
    kept = [unit for number, unit in enumerate(units) if number not in lost]
    stream = Stream()
    originals, found = [], []
    for unit in kept:
        read = stream.read(unit)
        if isinstance(read, AccessUnit):
            originals.append(numbers[unit])
            found.append(read.data)
    assert pictures(found) == [right[number] for number in originals]
    for begin in range(0, 60, 12):
        first = next((n for n in range(begin, begin + 12) if n in lost), begin + 12)
        assert {n for n in originals if begin <= n < begin + 12} == set(range(begin, first))


# --- what browsers do not show -------------------------------------------------------------------


@pytest.mark.parametrize(
    ('pix_fmt', 'options', 'reason'),
    [
        ('yuv444p', 'bframes=0', r'profile high 4:4:4; browsers decode baseline, main, high only'),
        ('yuv422p', 'bframes=0', r'profile high 4:2:2'),
        ('yuv420p10le', 'bframes=0', r'profile high 10'),
        ('yuv420p', 'bframes=0:interlaced=1', r'interlaced'),
    ],
)
def test_what_browsers_do_not_decode_is_refused(pix_fmt: str, options: str, reason: str) -> None:
    units = encoded(15, pix_fmt=pix_fmt, options=(('x264-params', options),))
    stream = Stream()
    with pytest.raises(PictureUndecodable, match=reason):
        stream.read(units[0])
    assert read_all(stream, units[1:]) == '-' * 9 + 'x' + '-' * 4
    assert read_all(stream, encoded(3)) == 'Kpp', 'the camera was set up anew'


def test_b_frames_condemn_the_stream_until_they_are_switched_off() -> None:
    units = encoded(25, b_frames=2, options=())
    stream = Stream()
    told = read_all(stream, units)
    assert told.rstrip('x') in ('K', 'Kp'), 'until the first of them'
    with pytest.raises(PictureUndecodable, match='bf=0'):
        stream.read(units[5])
    assert read_all(stream, encoded(25)) == 'x' * 10 + 'Kppppppppp' + 'Kpppp'


# --- what is no access unit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (b'', 'an empty message'),
        (b'\xff\xd8\xff\xe0 a JPEG', 'neither start codes nor lengths'),
        (b'\1' + b'\0\0\1\x65\x88', 'neither start codes nor lengths'),
        (b'\0\0\1\x7c\x85\x88', 'type 28'),
        (b'\0\0\1\0\0\1\xe5\x88', 'type 5'),
        (b'\0\0\1\x65', 'type 5'),
        (b'\0\0\1\x67\x42\0\x1f', 'ends too early'),
        (b'\0\0\1\x67' + b'\x42' * 3000, 'more than 2048 bytes'),
        (b'\0\0\1\x09\x10' * (MAX_NAL_UNITS + 1), 'more than 1024 NAL units'),
        (b'\0\0\0\2\x09\x10' * (MAX_NAL_UNITS + 1), 'more than 1024 NAL units'),
        (bytes(MAX_UNIT_BYTES + 1), 'larger than'),
    ],
)
def test_other_bytes_are_refused(data: bytes, reason: str) -> None:
    stream = Stream()
    assert read_all(stream, encoded(12)[:3]) == 'Kpp'
    with pytest.raises(PictureUndecodable, match=reason):
        stream.read(data)
    assert read_all(stream, encoded(12)[3:]) == '-' * 7 + 'Kp'


def test_a_message_of_two_pictures_is_refused() -> None:
    units = encoded(3)
    with pytest.raises(PictureUndecodable, match='several pictures'):
        Stream().read(units[0] + units[1])


def test_a_message_of_a_part_of_a_picture_is_refused() -> None:
    units = encoded(3, options=(('x264-params', 'bframes=0:slices=4'),))
    parts = nal_units(units[0])
    head = [part for part in parts if part[0] & 0x1F != 5]
    with pytest.raises(PictureUndecodable, match='a part of a picture'):
        Stream().read(b''.join(START + part for part in (*head, parts[-1])))


@pytest.mark.parametrize('data', [b'\0', b'\1', b'\0\0\1', b'\0\0\3', b'\xff', b'\0\0\0\1\x06'])
def test_the_work_in_python_does_not_grow_with_a_message(data: bytes) -> None:
    message = (b'\0\0\1\x65' + data * MAX_UNIT_BYTES)[:MAX_UNIT_BYTES]
    assert lines_run(lambda: read_all(Stream(), [message, message[3:]])) < 20_000


# --- numbers -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**31 - 2), max_size=20), st.integers(0, 7))
def test_numbers_of_variable_width_are_read_as_they_were_written(
    numbers: list[int], spare: int
) -> None:
    text = ''.join(
        f'{number + 1:b}'.rjust(2 * (number + 1).bit_length() - 1, '0') for number in numbers
    )
    text += '1' * spare
    text += '0' * (-len(text) % 8)
    bits = Bits(int(text or '0', 2).to_bytes(len(text) // 8))
    assert [bits.golomb() for _ in numbers] == numbers
    for _ in range(spare):
        assert bits.flag()


@given(st.binary(max_size=40))
def test_any_sps_is_read_or_refused(data: bytes) -> None:
    try:
        found = read_sps(b'\x67' + data)
    except PictureUndecodable:
        return
    assert 0 < found.width <= 8192
    assert 0 < found.height <= 8192
    assert 4 <= found.frame_number_bits <= 16


def test_a_keyframe_that_is_too_large_with_its_parameter_sets_is_refused() -> None:
    units = encoded(5)
    stream = Stream()
    assert stream.read(only_sets(units[0])) is Held.NO_PICTURE
    bare = without_sets(units[0])
    large = bare + b'\x55' * (MAX_UNIT_BYTES - len(bare))
    with pytest.raises(PictureUndecodable, match='parameter sets'):
        stream.read(large)
    assert stream.read(units[1]) is Held.NO_KEYFRAME, 'it was not passed on'
    assert isinstance(stream.read(units[0]), AccessUnit)
