"""
Streams of H.264 that a camera encoded: which pictures a browser can show.

Nothing is decoded. A picture is passed on if decoding can begin with it, or if everything that it
refers to was passed on before; a decoder would turn anything else into garbage. Section numbers
are those of ITU-T H.264.
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
import enum
from typing import Final, Generic, TypeVar

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.h264_syntax import (
    Bits,
    IDR_SLICE,
    KEPT,
    MAX_NAL_UNITS,
    nal_units,
    PictureParameters,
    PPS,
    read_pps,
    read_sps,
    recovery_pictures,
    SequenceParameters,
    SLICE,
    SPS,
    START_CODE,
    unescaped,
    unit_kind,
)

__all__ = ['MAX_NAL_UNITS', 'MAX_UNIT_BYTES', 'AccessUnit', 'Held', 'Stream']

MAX_UNIT_BYTES: Final = 4 * 1024 * 1024
"""Limit of one picture; about a second of the fastest camera."""
MAX_KEPT: Final = 16
"""Limit of parameter sets that are kept of either kind; encoders use one or two."""
_SLICE_BYTES: Final = 24
"""Enough for the first fields of a slice."""

_B, _I, _SI = 1, 2, 4

_T = TypeVar('_T')


class Held(enum.Enum):
    """Why a valid message yields no picture."""

    NO_PICTURE = 'no_picture'
    """It holds only parameter sets; they are kept."""
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
    """The first fields of a slice, which need no parameter sets (§7.3.3)."""

    idr: bool
    first_macroblock: int
    kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept(Generic[_T]):
    """A parameter set."""

    unit: bytes
    parameters: _T
    heard_s: float


class Stream:
    """
    The stream of one camera; each message holds one access unit.

    ``now`` is in seconds of one steady clock.
    """

    def __init__(self) -> None:
        self._sequences: dict[int, _Kept[SequenceParameters]] = {}
        self._pictures: dict[int, _Kept[PictureParameters]] = {}
        self.knows_sets: bool | None = None
        """Whether the newest picture's parameter sets are known; ``None``: no picture yet."""
        self.lacks_sets = False
        """Whether a keyframe came while they were unknown: the encoder does not repeat them."""
        self.is_gradual = False
        """Whether the encoder refreshes pictures gradually instead of sending keyframes."""
        self._waiting = True
        """Whether a reference is missing, so that only a keyframe can pass."""
        self._previous_reference = 0
        """Frame number of the last reference picture."""
        self._disordered = False
        """Whether there was a B-frame since the last keyframe."""
        self._probation = False
        """Whether there was one before it."""
        self.losses = 0
        """Number of gaps between pictures."""

    def interrupt(self) -> None:
        """Let nothing pass until the next keyframe: a picture was not passed on."""
        self._waiting = True

    def forget_sets(self, before_s: float) -> None:
        """
        Forget the parameter sets and pictures of a former encoder.

        :param before_s: Sets that were received later belong to the present one.
        """
        self.interrupt()
        self.knows_sets, self.lacks_sets, self.is_gradual = None, False, False
        _drop_older(self._sequences, before_s)
        _drop_older(self._pictures, before_s)

    def read(self, data: bytes, now: float = 0.0) -> AccessUnit | Held:
        """
        Process a message.

        :param data: An access unit with start codes or lengths, or a decoder's record (``avcC``).
        :raises PictureUndecodable: It is invalid, or browsers cannot decode it; nothing passes
            until the next keyframe.
        """
        try:
            return self._read(data, now)
        except PictureUndecodable:
            self.interrupt()
            raise

    def _read(self, data: bytes, now: float) -> AccessUnit | Held:
        if len(data) > MAX_UNIT_BYTES:
            raise PictureUndecodable(f'larger than {MAX_UNIT_BYTES} bytes')
        units = [unit for unit in nal_units(data) if unit_kind(unit) in KEPT]
        for unit in units:
            if unit_kind(unit) == SPS:
                self._keep_sps(unit, now)
            elif unit_kind(unit) == PPS:
                self._keep_pps(unit, now)
        coded = [unit for unit in units if unit_kind(unit) in (SLICE, IDR_SLICE)]
        if not coded:
            return Held.NO_PICTURE
        slices = [_slice(unit) for unit in coded]
        _check_picture(slices)
        recovery = {recovery_pictures(unit) for unit in units}
        keyframe = slices[0].idr or (
            0 in recovery and all(part.kind in (_I, _SI) for part in slices)
        )
        self.is_gradual = not keyframe and (self.is_gradual or 1 in recovery)
        sequence = self._sequence_of(coded[0])
        self.knows_sets = sequence is not None
        self.lacks_sets = not self.knows_sets and (self.lacks_sets or keyframe)
        self._check_order(slices, keyframe=keyframe)
        if self._waiting and not keyframe:
            return Held.NO_KEYFRAME
        if sequence is None:
            raise PictureUndecodable('a picture whose parameter sets (SPS, PPS) are missing')
        if not self._follow(coded[0], sequence, keyframe=keyframe):
            return Held.NO_KEYFRAME
        if keyframe:
            units = self._complete(units)
        joined = b''.join(START_CODE + unit for unit in units)
        if len(joined) > MAX_UNIT_BYTES:
            raise PictureUndecodable(
                f'larger than {MAX_UNIT_BYTES} bytes with its parameter sets and start codes'
            )
        return AccessUnit(
            data=joined,
            keyframe=keyframe,
            width=sequence.width,
            height=sequence.height,
        )

    # --- parameter sets -----------------------------------------------------------------------

    def _keep_sps(self, unit: bytes, now: float) -> None:
        sequence = read_sps(unit)
        before = self._sequences.get(sequence.number)
        _keep(self._sequences, sequence.number, unit, sequence, now)
        if before is None or before.unit == unit:
            return
        # The old PPS belong to the old SPS; new ones follow.
        for number, kept in list(self._pictures.items()):
            if kept.parameters.sequence == sequence.number:
                del self._pictures[number]

    def _keep_pps(self, unit: bytes, now: float) -> None:
        parameters = read_pps(unit)
        _keep(self._pictures, parameters.number, unit, parameters, now)

    def _sequence_of(self, unit: bytes) -> SequenceParameters | None:
        """Return the SPS of a slice; ``None``: its parameter sets are unknown."""
        picture = self._pictures.get(_slice_bits(unit, skipped=2).golomb())
        sequence = self._sequences.get(picture.parameters.sequence) if picture else None
        return sequence.parameters if sequence else None

    def _complete(self, units: list[bytes]) -> list[bytes]:
        """Return a keyframe's NAL units, with all parameter sets before the slices."""
        sets = [kept.unit for kept in self._sequences.values()]
        sets += [kept.unit for kept in self._pictures.values()]
        own = [unit_kind(unit) for unit in units if unit_kind(unit) in (SPS, PPS)]
        if set(units).issuperset(sets) and own == sorted(own):
            return units
        return [*sets, *(unit for unit in units if unit_kind(unit) not in (SPS, PPS))]

    # --- pictures -----------------------------------------------------------------------------

    def _check_order(self, slices: list[_Slice], *, keyframe: bool) -> None:
        """
        Check that pictures are shown in the order in which they come.

        A B-frame blocks the stream until a keyframe after which none follows; otherwise viewers
        would see the picture come and go.

        :raises PictureUndecodable: Their order differs.
        """
        if keyframe:
            self._probation, self._disordered = self._disordered, False
        self._disordered |= any(part.kind == _B for part in slices)
        if self._disordered or self._probation:
            raise PictureUndecodable(
                'B-frames, which browsers show in the wrong order: switch them off in the '
                'encoder (bf=0, or tune=zerolatency)'
            )

    def _follow(self, unit: bytes, sequence: SequenceParameters, *, keyframe: bool) -> bool:
        """
        Process the first slice of the next picture.

        :returns: Whether all its references were passed on.
        """
        bits = _slice_bits(unit, skipped=3)
        number = bits.take(sequence.frame_number_bits)
        following = (self._previous_reference + 1) % (1 << sequence.frame_number_bits)
        if not keyframe and number != following and not sequence.gaps_allowed:
            # A reference picture is missing (§7.4.3).
            self.losses += 1
            self._waiting = True
            return False
        self._waiting = False
        if unit[0] & 0x60:
            self._previous_reference = number
        return True


def _keep(
    sets: dict[int, _Kept[_T]], number: int, unit: bytes, parameters: _T, now: float
) -> None:
    """Store a set as the newest one, and forget the oldest if there are too many."""
    sets.pop(number, None)
    sets[number] = _Kept(unit=unit, parameters=parameters, heard_s=now)
    if len(sets) > MAX_KEPT:
        del sets[next(iter(sets))]


def _drop_older(sets: dict[int, _Kept[_T]], before_s: float) -> None:
    for number in [number for number, kept in sets.items() if kept.heard_s < before_s]:
        del sets[number]


def _slice_bits(unit: bytes, *, skipped: int = 0) -> Bits:
    """Return a slice's header (§7.3.3) after ``skipped`` fields."""
    bits = Bits(unescaped(unit[1 : 1 + _SLICE_BYTES]))
    for _ in range(skipped):
        bits.golomb()
    return bits


def _slice(unit: bytes) -> _Slice:
    bits = _slice_bits(unit)
    first_macroblock, kind = bits.golomb(), bits.golomb() % 5
    return _Slice(idr=unit_kind(unit) == IDR_SLICE, first_macroblock=first_macroblock, kind=kind)


def _check_picture(slices: list[_Slice]) -> None:
    """
    Check that these are the slices of one picture.

    :raises PictureUndecodable: They are a part of one picture, or belong to several.
    """
    begins = [part.first_macroblock == 0 for part in slices]
    if not begins[0]:
        raise PictureUndecodable('a part of a picture; a message has to hold a whole one')
    if any(begins[1:]):
        raise PictureUndecodable('several pictures; a message has to hold one')
    if len({part.idr for part in slices}) > 1:
        raise PictureUndecodable('slices of different pictures')
