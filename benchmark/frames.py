"""
Accounts for frames that are lost between the camera and the encoder; pure.

It uses the bridge's own counters from ``/diagnostics``; the published images are counted by
``camera_info``, which has the stamp of each image.
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

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.figures import Figures, MeasurementError

__all__ = ['Snapshot', 'account', 'balance', 'total_dropped']


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The bridge's counters at one moment."""

    at_s: float
    """In the robot's clock."""
    counters: Mapping[str, float]


def balance(published_s: Sequence[float], snapshots: Iterable[Snapshot]) -> float:
    """
    Return received minus published, up to a constant.

    The difference between two such balances was lost on the way. A frame that is in flight at
    the moment of a snapshot is not lost, so the best of several snapshots counts.
    """
    return max(
        shot.counters['received'] - bisect.bisect_right(published_s, shot.at_s)
        for shot in snapshots
    )


def account(published_s: Sequence[float], snapshots: Sequence[Snapshot]) -> Figures:
    """
    Return rates, and losses within the bridge, between the first and the last snapshot.

    :param published_s: Stamps of all images, in order.
    :raises MeasurementError: There are too few snapshots.
    """
    if len(snapshots) < 2:
        raise MeasurementError('fewer than two /diagnostics of the bridge in the window')
    first, last = snapshots[0], snapshots[-1]
    duration_s = last.at_s - first.at_s

    def grown(name: str) -> float:
        return last.counters.get(name, 0.0) - first.counters.get(name, 0.0)

    published = bisect.bisect_right(published_s, last.at_s) - bisect.bisect_right(
        published_s, first.at_s
    )
    return {
        'published_hz': published / duration_s,
        'received_hz': grown('received') / duration_s,
        'slot_hz': grown('sent') / duration_s,
        'encoded_hz': grown('encoded') / duration_s,
        'dropped_intake': grown('received') - grown('sent'),
        'dropped_skipped': grown('skipped'),
        'dropped_torn': grown('torn'),
    }


def total_dropped(figures: Figures) -> float:
    """Return the number of frames lost between the camera and the encoder."""
    return sum(value for name, value in figures.items() if name.startswith('dropped_'))
