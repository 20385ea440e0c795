"""
One big table of colours that holds every texture at every size and every haze.

A picture element then is one number, the row of this table; the costly half of drawing becomes a
single ``numpy.take``. Memory is cheap here, about 30 MB, and processor time is not.
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

import numpy as np
from numpy.typing import NDArray

from teleop_webrtc_bridge.demo.textures import Picture

__all__ = ['BIN_EDGES_M', 'LEVELS', 'Atlas', 'bins_of']

# Distance classes: within one, haze and texture size are constant. Close ones hold full-size
# copies, so they are few; far ones are small and can afford fine steps.
BIN_EDGES_M = np.array((1.6, 3.0, 3.7, 4.5, 5.3, 6.0, 7, 8, 9, 10, 11, 12, 13.5, 15), np.float32)
LEVELS = np.array((0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3), np.int64)
_MIDDLES_M = (0.8, 2.3, 3.3, 4.1, 4.9, 5.6, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 12.7, 14.2, 17.0)
_HAZE = np.array((196.0, 208.0, 220.0), np.float32)
_HAZE_DISTANCE_M = 30.0


def bins_of(distance: NDArray[np.float32]) -> NDArray[np.int64]:
    """
    Return the distance class of each distance.

    :param distance: Distances, in m.
    """
    return np.searchsorted(BIN_EDGES_M, distance).astype(np.int64)


def _halve(picture: Picture) -> Picture:
    rows, columns = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    even = picture[:rows, :columns]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * 0.25


def _hazy(picture: Picture, distance_m: float) -> Picture:
    # Squared, so that what is close stays crisp.
    share = 1.0 - float(np.exp(-((distance_m / _HAZE_DISTANCE_M) ** 1.5)))
    # The light falls off a little too: near things look near.
    return (picture * (1.06 - 0.012 * distance_m)) * (1.0 - share) + _HAZE * share


class Atlas:
    """
    Collects pictures, then becomes a table.

    Owner: the thread that builds it; nothing changes after :meth:`table`.
    """

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint8]] = []
        self._size = 0

    def add_plain(self, picture: Picture) -> int:
        """Add a picture row by row, as it is; return the number of its first element."""
        first = self._size
        part = np.clip(picture, 0.0, 255.0).astype(np.uint8).reshape(-1, 3)
        self._parts.append(part)
        self._size += len(part)
        return first

    def add_levels(self, picture: Picture) -> list[int]:
        """
        Add a picture once per distance class, halved and hazed as that class wants.

        :returns: For each class the number of the first element.
        """
        firsts: list[int] = []
        level, scaled = 0, picture
        for target, distance_m in zip(LEVELS.tolist(), _MIDDLES_M, strict=True):
            while level < target:
                level, scaled = level + 1, _halve(scaled)
            firsts.append(self.add_plain(_hazy(scaled, distance_m)))
        return firsts

    def table(self, *, bgr: bool, repeat: int) -> NDArray[np.uint8]:
        """
        Return all colours, one element a row.

        :param bgr: Whether blue comes first.
        :param repeat: How often each colour stands in its row: pixels drawn per element.
        """
        colours = np.concatenate(self._parts)
        self._parts.clear()
        return np.tile(colours[:, ::-1] if bgr else colours, (1, repeat))
