"""Percentiles and medians; pure."""

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

from collections.abc import Mapping, Sequence
import math
import statistics

__all__ = ['Figures', 'MeasurementError', 'medians', 'percentile']

#: Name of a figure, ending with its unit → its value.
Figures = dict[str, float]


class MeasurementError(Exception):
    """The measurement is not valid; the text says why."""


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile; NaN if there are no values."""
    if not values:
        return math.nan
    rank = math.ceil(percent / 100.0 * len(values))
    return sorted(values)[min(len(values), max(1, rank)) - 1]


def medians(repeats: Sequence[Mapping[str, float]]) -> Figures:
    """Return the median of each figure over the repeats that have it."""
    names = dict.fromkeys(name for repeat in repeats for name in repeat)
    return {
        name: statistics.median(repeat[name] for repeat in repeats if name in repeat)
        for name in names
    }
