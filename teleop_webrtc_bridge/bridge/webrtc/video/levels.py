"""
Pictures of 16 bits and distances, as 8 bits: which values are black and which are white.

A camera of 12 bits, a thermal one or an arm's depth camera uses a small part of the range that its
encoding has; shown as a part of all of it, such a picture is one grey. Where it uses a fair part
of the range, that range is shown, always the same, for brightness tells something then. Else what
it uses is stretched; in between, in between. It follows slowly, so that nothing flickers.
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
import math
from typing import Any, Final

import numpy as np

__all__ = ['DEPTH', 'DEPTH_RANGE_M', 'INTENSITY', 'Levels', 'Scale']

DEPTH_RANGE_M: Final = 10.0
"""Of depth images: here and beyond is nearly black, the nearest white, no reading black."""
_FARTHEST: Final = 1000.0
"""Times the range: what is beyond is no distance, and too large a number to add a width to."""
_WHITE: Final = 65535.0
_SAMPLES: Final = 4096
"""Pixels that are looked at, evenly spread; more change nothing but the time it takes."""
_MARGIN: Final = 0.05
"""Added to what a picture uses, so that noise at its ends is not cut off."""
_SETTLING_S: Final = 0.5
_PAUSE_S: Final = 1.0
"""After such a time without a picture, it is another scene."""
_SETTLED: Final = 0.005
"""Part of the range that is no difference."""
_SENSOR_BITS: Final = 14
"""The most of a sensor whose values are not as large as their type allows."""
_LEAST_BITS: Final = 8
_BRIGHTEST: Final = 0.002
"""Part of the pixels that may be lights, or broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How values of one kind are shown."""

    wide: float
    """Part of the range from which on it is shown as it is."""
    narrow: float
    """Part of the range up to which only what is used is shown."""
    least: float
    """Part of the range that is black to white at least: noise is no picture."""
    outliers: float
    """Part of the pixels at either end that do not count."""


INTENSITY: Final = Scale(wide=0.5, narrow=0.25, least=1 / 256, outliers=0.005)
DEPTH: Final = Scale(wide=0.25, narrow=0.1, least=0.05, outliers=0.01)


class Levels:
    """Of one camera's pictures, one after the other."""

    def __init__(self) -> None:
        self._kind: object = None
        self._window: tuple[float, float] | None = None
        self._at_s = 0.0
        self._bits = 0

    def intensity(self, values: Any, kind: object, at_s: float) -> Any:
        """
        Return brightness ``[row, column]``, of 8 bits; large is bright.

        :param values: Unsigned, of 16 bits, of any byte order.
        :param kind: What pictures have in common that are of one camera.
        :param at_s: When the picture was taken, in seconds.
        :returns: ``None``: it is as it should be, with black at 0 and white at the largest value.
        """
        low, high = self._follow(_sample(values), _WHITE, INTENSITY, kind, at_s)
        if (low, high) == (0.0, _WHITE):
            return None
        first, last = max(0, math.floor(low)), min(65535, math.ceil(high))
        used = np.clip(values.astype(np.uint16, copy=False), np.uint16(first), np.uint16(last))
        used -= np.uint16(first)
        return (used * np.float32(255.0 / (last - first))).astype(np.uint8)

    def depth(self, values: Any, unit_m: float, kind: object, at_s: float) -> Any:
        """
        Return brightness as :meth:`intensity` does; near is bright, no reading is black.

        :param values: Distances; 0, less and NaN are no readings, infinity is beyond the range.
        :param unit_m: What a distance of 1 is, in metres.
        """
        sample = _sample(values).astype(np.float32)
        sample = sample[np.isfinite(sample) & (sample > 0.0)]
        full = DEPTH_RANGE_M / unit_m
        sample = np.minimum(sample, np.float32(_FARTHEST * full))
        low, high = self._follow(sample, full, DEPTH, kind, at_s)
        with np.errstate(invalid='ignore', over='ignore'):
            distances = values.astype(np.float32)
            grey = distances - np.float32(low)
            grey *= np.float32(-254.0 / (high - low))
            grey += np.float32(255.0)
            np.clip(grey, 1.0, 255.0, out=grey)
            # NaN is larger than nothing: a comparison finds it, too.
            return np.where(distances > 0.0, grey, 0.0).astype(np.uint8)

    def shift(self, values: Any, kind: object) -> int:
        """
        Return by how many bits colours are to be moved up; black stays black.

        A sensor's bits do not change: once there was a brighter picture, that is known.

        :param values: Unsigned, of 16 bits, of any byte order.
        """
        if kind != self._kind:
            self._kind, self._bits = kind, 0
        sample = _sample(values)
        place = int((len(sample) - 1) * (1.0 - _BRIGHTEST))
        brightest = int(np.partition(sample, place)[place])
        self._bits = max(self._bits, brightest.bit_length())
        return 0 if self._bits > _SENSOR_BITS else 16 - max(self._bits, _LEAST_BITS)

    def _follow(
        self, sample: Any, full: float, scale: Scale, kind: object, at_s: float
    ) -> tuple[float, float]:
        """Return the values that are black and white, or white and black, from now on."""
        if not len(sample):
            return 0.0, full
        used = _used(sample, scale)
        wanted = _wanted(used, full, scale)
        pause_s = at_s - self._at_s
        if kind != self._kind or not 0.0 < pause_s <= _PAUSE_S or self._is_elsewhere(used):
            self._window = wanted
        assert self._window is not None
        self._kind, self._at_s = kind, at_s
        part = 1.0 - math.exp(-pause_s / _SETTLING_S) if pause_s > 0.0 else 1.0
        low, high = (
            old + part * (new - old) for old, new in zip(self._window, wanted, strict=True)
        )
        least = _SETTLED * (wanted[1] - wanted[0])
        is_settled = abs(low - wanted[0]) + abs(high - wanted[1]) < least
        self._window = wanted if is_settled else (low, high)
        return self._window

    def _is_elsewhere(self, used: tuple[float, float]) -> bool:
        """Return whether most of what is used now would be all white, or all black."""
        if self._window is None:
            return True
        seen = min(used[1], self._window[1]) - max(used[0], self._window[0])
        return seen < 0.5 * (used[1] - used[0])


def _sample(values: Any) -> Any:
    # Odd: of a mosaic, all colours.
    step = math.isqrt(values.shape[0] * values.shape[1] // _SAMPLES) | 1
    return values[::step, ::step].ravel()


def _used(sample: Any, scale: Scale) -> tuple[float, float]:
    """Return the smallest and the largest value, without outliers."""
    cut = int(scale.outliers * len(sample))
    ends = (cut, len(sample) - 1 - cut)
    parted = np.partition(sample, ends)
    return float(parted[ends[0]]), float(parted[ends[1]])


def _wanted(used: tuple[float, float], full: float, scale: Scale) -> tuple[float, float]:
    low, high = used
    share = (min(high, full) - min(low, full)) / full
    whole = min(1.0, max(0.0, (share - scale.narrow) / (scale.wide - scale.narrow)))
    width = max((1.0 + _MARGIN) * (high - low), scale.least * full)
    # What is beside it lies as it does in the whole range: one grey stays the grey that it is.
    place = min(1.0, (low + high) / 2.0 / full)
    begin = low - (width - (high - low)) * place
    return begin * (1.0 - whole), (begin + width) * (1.0 - whole) + full * whole
