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

"""
H.264 that somebody else encoded: which of its pictures a browser can show.

Nothing is decoded. A picture is passed on if it begins the stream anew, or if everything that it
refers to was passed on before it: of anything else a decoder makes garbage. Section numbers are
those of ITU-T H.264.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
import enum
from typing import Final, TypeVar

from teleop_webrtc_bridge.exceptions import PictureUndecodable
from teleop_webrtc_bridge.h264_parameters import (
    Bits,
    MAX_HEADER_BYTES,
    PictureParameters,
    read_pps,
    read_sps,
    SequenceParameters,
    unescaped,
)

__all__ = ['MAX_NAL_UNITS', 'MAX_UNIT_BYTES', 'AccessUnit', 'Held', 'Stream']

MAX_UNIT_BYTES: Final = 4 * 1024 * 1024
"""Of one picture; about a second of the fastest camera's."""
MAX_NAL_UNITS: Final = 1024
MAX_KEPT: Final = 16
"""Parameter sets of either kind; encoders have one or two."""
START_CODE: Final = b'\0\0\0\1'
_LENGTH_BYTES: Final = 4
_SLICE_BYTES: Final = 24
"""Enough for the first fields of a slice."""

_SLICE, _IDR_SLICE, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
_KEPT: Final = frozenset({_SLICE, _IDR_SLICE, _SEI, _SPS, _PPS})
#: Delimiters and filling, which RTP does not need, and additions for other decoders.
_DROPPED: Final = frozenset(range(9, 24))
_B, _I, _SI = 1, 2, 4
_RECOVERY_POINT: Final = 6

_T = TypeVar('_T')


class Held(enum.Enum):
    """Why a message that is in order brings no picture."""

    NO_PICTURE = 'no_picture'
    """Parameter sets only; they are kept."""
    NO_KEYFRAME = 'no_keyframe'
    """It refers to a picture that was not passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessUnit:
    """One picture."""

    data: bytes
    """Its NAL units, each after a start code (Annex B); a keyframe's begin with the SPS."""
    keyframe: bool
    """Decoding can begin here."""
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """What a slice says of itself, whatever its parameter sets (§7.3.3)."""

    idr: bool
    first_macroblock: int
    kind: int


class Stream:
    """One camera's pictures, message after message; each holds one access unit."""

    def __init__(self) -> None:
        self._sequences: dict[int, tuple[bytes, SequenceParameters]] = {}
        self._pictures: dict[int, tuple[bytes, PictureParameters]] = {}
        self._waiting = True
        """For a keyframe: something that later pictures refer to is missing."""
        self._previous_reference = 0
        """Frame number of the last picture that others may refer to."""
        self._disordered = False
        """There was a B-frame since the last keyframe."""
        self._probation = False
        """There was one before it."""
        self.losses = 0
        """How often pictures were missing."""

    def interrupt(self) -> None:
        """Let nothing pass until the next keyframe: something was not passed on."""
        self._waiting = True

    def read(self, data: bytes) -> AccessUnit | Held:
        """
        Take a message.

        :param data: An access unit, its NAL units after start codes or after their lengths.
        :raises PictureUndecodable: It is none, or none that browsers decode; nothing else passes
            until the next keyframe.
        """
        try:
            return self._read(data)
        except PictureUndecodable:
            self.interrupt()
            raise

    def _read(self, data: bytes) -> AccessUnit | Held:
        if len(data) > MAX_UNIT_BYTES:
            raise PictureUndecodable(f'larger than {MAX_UNIT_BYTES} bytes')
        units = [unit for unit in _nal_units(data) if _kind(unit) in _KEPT]
        for unit in units:
            if _kind(unit) == _SPS:
                self._keep_sps(unit)
            elif _kind(unit) == _PPS:
                self._keep_pps(unit)
        coded = [unit for unit in units if _kind(unit) in (_SLICE, _IDR_SLICE)]
        if not coded:
            return Held.NO_PICTURE
        slices = [_slice(unit) for unit in coded]
        _check_picture(slices)
        keyframe = slices[0].idr or (
            all(part.kind in (_I, _SI) for part in slices) and any(map(_is_recovery_point, units))
        )
        self._check_order(slices, keyframe=keyframe)
        if self._waiting and not keyframe:
            return Held.NO_KEYFRAME
        sequence = self._follow(coded[0], keyframe=keyframe)
        if sequence is None:
            return Held.NO_KEYFRAME
        if keyframe:
            units = self._complete(units)
        return AccessUnit(
            data=b''.join(START_CODE + unit for unit in units),
            keyframe=keyframe,
            width=sequence.width,
            height=sequence.height,
        )

    # --- parameter sets -----------------------------------------------------------------------

    def _keep_sps(self, unit: bytes) -> None:
        sequence = read_sps(unit)
        before = self._sequences.get(sequence.number)
        if before is not None and before[0] == unit:
            return
        _keep(self._sequences, sequence.number, (unit, sequence))
        # Those of before were written for another picture; its own follow.
        for number, (_, parameters) in list(self._pictures.items()):
            if parameters.sequence == sequence.number:
                del self._pictures[number]

    def _keep_pps(self, unit: bytes) -> None:
        parameters = read_pps(unit)
        _keep(self._pictures, parameters.number, (unit, parameters))

    def _complete(self, units: list[bytes]) -> list[bytes]:
        """Return a keyframe's NAL units with all that is needed to decode it."""
        sets = [unit for unit, _ in (*self._sequences.values(), *self._pictures.values())]
        if set(units).issuperset(sets):
            return units
        return [*sets, *(unit for unit in units if _kind(unit) not in (_SPS, _PPS))]

    # --- pictures -----------------------------------------------------------------------------

    def _check_order(self, slices: list[_Slice], *, keyframe: bool) -> None:
        """
        Make sure that pictures are shown in the order in which they come.

        One B-frame condemns what follows until a keyframe after which there was none: else
        viewers would see the stream come and go.

        :raises PictureUndecodable: They are not.
        """
        if keyframe:
            self._probation, self._disordered = self._disordered, False
        self._disordered |= any(part.kind == _B for part in slices)
        if self._disordered or self._probation:
            raise PictureUndecodable(
                'B-frames, which browsers show in the wrong order: switch them off in the '
                'encoder (bf=0, or tune=zerolatency)'
            )

    def _follow(self, unit: bytes, *, keyframe: bool) -> SequenceParameters | None:
        """
        Take the first slice of the next picture.

        :returns: ``None`` if something that it refers to was not passed on.
        """
        bits = _slice_bits(unit)
        bits.golomb()
        bits.golomb()
        _, picture = self._pictures.get(bits.golomb(), (b'', None))
        _, sequence = self._sequences.get(picture.sequence if picture else -1, (b'', None))
        if sequence is None:
            raise PictureUndecodable('a picture whose parameter sets (SPS, PPS) did not come')
        number = bits.take(sequence.frame_number_bits)
        following = (self._previous_reference + 1) % (1 << sequence.frame_number_bits)
        if not keyframe and number != following and not sequence.gaps_allowed:
            # A picture that others refer to is missing (§7.4.3).
            self.losses += 1
            self._waiting = True
            return None
        self._waiting = False
        if unit[0] & 0x60:
            self._previous_reference = number
        return sequence


def _keep(sets: dict[int, _T], number: int, value: _T) -> None:
    """Make it the newest of all, and forget the oldest if there are too many."""
    sets.pop(number, None)
    sets[number] = value
    if len(sets) > MAX_KEPT:
        del sets[next(iter(sets))]


def _kind(unit: bytes) -> int:
    """Return the type of a NAL unit (§7.4.1)."""
    return unit[0] & 0x1F


def _slice_bits(unit: bytes) -> Bits:
    return Bits(unescaped(unit[1 : 1 + _SLICE_BYTES]))


def _slice(unit: bytes) -> _Slice:
    bits = _slice_bits(unit)
    first_macroblock, kind = bits.golomb(), bits.golomb() % 5
    return _Slice(idr=_kind(unit) == _IDR_SLICE, first_macroblock=first_macroblock, kind=kind)


def _check_picture(slices: list[_Slice]) -> None:
    """
    Make sure that these are the slices of one picture.

    :raises PictureUndecodable: They are of a part of one, or of several.
    """
    begins = [part.first_macroblock == 0 for part in slices]
    if not begins[0]:
        raise PictureUndecodable('a part of a picture; a message has to hold a whole one')
    if any(begins[1:]):
        raise PictureUndecodable('several pictures; a message has to hold one')
    if len({part.idr for part in slices}) > 1:
        raise PictureUndecodable('slices of different pictures')


def _is_recovery_point(unit: bytes) -> bool:
    """Return whether it says that decoding may begin with this very picture (§D.2.8)."""
    if _kind(unit) != _SEI or len(unit) > MAX_HEADER_BYTES:
        return False
    data = unescaped(unit[1:])
    place = 0
    while place + 2 < len(data):
        kind, place = _counted(data, place)
        size, place = _counted(data, place)
        if kind == _RECOVERY_POINT:
            # ue(v): a one and nothing before it is 0 frames until the picture is right.
            return size > 0 and place < len(data) and data[place] >= 0x80
        place += size
    return False


def _counted(data: bytes, place: int) -> tuple[int, int]:
    """Return a number of SEI's kind (§7.3.2.3.1) and the place after it."""
    value = 0
    while place < len(data) and data[place] == 0xFF:
        value, place = value + 0xFF, place + 1
    return (value + data[place], place + 1) if place < len(data) else (value, place)


# --- NAL units -------------------------------------------------------------------------------


def _nal_units(data: bytes) -> list[bytes]:
    """
    Return the NAL units of a message.

    :raises PictureUndecodable: It is not made of them, or they are of kinds that cannot go over
        RTP as they are.
    """
    units = _split(data)
    for unit in units:
        kind = _kind(unit)
        if unit[0] & 0x80 or kind not in _KEPT | _DROPPED or (kind in _KEPT and len(unit) < 2):
            raise PictureUndecodable(f'a NAL unit of type {kind}, which no camera sends')
    return units


def _split(data: bytes) -> list[bytes]:
    code = START_CODE[1:]
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
