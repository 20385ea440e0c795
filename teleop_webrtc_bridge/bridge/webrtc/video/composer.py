"""
Composed pictures: several cameras side by side, and a time stamp strip below.

The cameras have one height; the first one is on the left. The strip (docs/protocol.md §6) is for
viewers that see only pixels: cells as wide as the strip is high, white for 1; first a pattern of
four, then the time of capture in milliseconds, most significant bit first.
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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import av
import numpy as np

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, grey_frame
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter, plane_rows
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

__all__ = ['Composer', 'Part', 'append_strip', 'capture_of', 'layout']

SMALLEST_PX: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One camera's share of the picture."""

    camera: str
    frame: Frame
    max_width_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A converted part."""

    sequence: int
    size: tuple[int, int]
    picture: av.VideoFrame


def capture_of(parts: Sequence[Part]) -> float:
    """Return the capture time of a picture: that of its oldest part; grey has no age."""
    captures = [part.frame.header.capture_s for part in parts if not part.frame.header.is_filler]
    return min(captures) if captures else max(part.frame.header.capture_s for part in parts)


def layout(
    sizes: Sequence[tuple[int, int]], *, max_width_px: int, scale: float
) -> list[tuple[int, int]]:
    """
    Return the size of each part in the picture: even, all of one height, undistorted.

    :param sizes: Original width and height of each part.
    :param max_width_px: Limit for the whole picture; no part is enlarged to reach it.
    :param scale: Factor by which the picture is made smaller.
    """
    shapes = [width / height for width, height in sizes]
    height = min(max(height for _, height in sizes), max_width_px / sum(shapes))
    rows = max(SMALLEST_PX, int(height * scale) & ~1)
    return [(max(SMALLEST_PX, int(shape * rows) & ~1), rows) for shape in shapes]


class Composer:
    """
    Puts the newest pictures of several cameras side by side; one thread at a time may use it.

    :param max_width_px: Of the whole picture.
    """

    def __init__(self, max_width_px: int) -> None:
        self._undecodable = 0
        self._max_width_px = max_width_px
        self._converters: dict[str, FrameConverter] = {}
        self._tiles: dict[str, _Tile] = {}

    def compose(self, parts: Sequence[Part], scale: float) -> av.VideoFrame | None:
        """
        Return the picture as ``yuv420p``.

        :param scale: Factor by which it is made smaller.
        :returns: ``None`` if a frame was overwritten while it was read.
        """
        sizes = layout(
            [_full_size(part) for part in parts], max_width_px=self._max_width_px, scale=scale
        )
        tiles = [self._tile(part, size) for part, size in zip(parts, sizes, strict=True)]
        self._tiles = {
            part.camera: tile for part, tile in zip(parts, tiles, strict=True) if tile is not None
        }
        whole = av.VideoFrame(sum(width for width, _ in sizes), sizes[0][1], 'yuv420p')
        left = 0
        for tile in tiles:
            if tile is None:
                return None
            _paste(tile.picture, whole, left)
            left += tile.size[0]
        return whole

    def take_undecodable(self) -> int:
        """Return how many parts were grey since the last call because their picture was broken."""
        count, self._undecodable = self._undecodable, 0
        return count

    def _tile(self, part: Part, size: tuple[int, int]) -> _Tile | None:
        present = self._tiles.get(part.camera)
        sequence = part.frame.sequence
        if present is not None and (present.sequence, present.size) == (sequence, size):
            return present
        converter = self._converters.setdefault(part.camera, FrameConverter())
        try:
            picture = converter.convert_to(part.frame, *size)
        except PictureUndecodable:
            self._undecodable += 1
            grey = grey_frame(*size, part.frame.header.capture_s)
            picture = converter.convert_to(grey, *size)
        return None if picture is None else _Tile(sequence=sequence, size=size, picture=picture)


def _full_size(part: Part) -> tuple[int, int]:
    header = part.frame.header
    factor = min(1.0, part.max_width_px / header.width)
    return max(1, round(header.width * factor)), max(1, round(header.height * factor))


def _paste(picture: av.VideoFrame, whole: av.VideoFrame, left: int) -> None:
    for number in range(3):
        plane = picture.planes[number]
        start = left if number == 0 else left // 2
        rows = plane_rows(picture, number)[: plane.height, : plane.width]
        plane_rows(whole, number)[: plane.height, start : start + plane.width] = rows


CELL_PX: Final = 16
SYNC: Final = (1, 0, 1, 0)
BITS: Final = 22
SMALLEST_WIDTH_PX: Final = CELL_PX * (len(SYNC) + BITS)
#: Of the limited range; GREY is no colour.
WHITE, BLACK, GREY = 235, 16, 128


def append_strip(picture: av.VideoFrame, unix_s: float) -> av.VideoFrame:
    """
    Return the picture with a strip below it; one that is too narrow stays unchanged.

    :param picture: ``yuv420p`` with an even size.
    :param unix_s: The time of capture.
    """
    width, height = picture.width, picture.height
    if width < SMALLEST_WIDTH_PX:
        return picture
    longer = av.VideoFrame(width, height + CELL_PX, 'yuv420p')
    for number in range(3):
        plane = picture.planes[number]
        rows = plane_rows(longer, number)
        rows[: plane.height, : plane.width] = plane_rows(picture, number)[
            : plane.height, : plane.width
        ]
        rows[plane.height :] = GREY if number else BLACK
    stamp = round(1e3 * unix_s) % (1 << BITS)
    bits = (*SYNC, *(stamp >> place & 1 for place in reversed(range(BITS))))
    cells = np.repeat(np.where(bits, WHITE, BLACK), CELL_PX).astype(np.uint8)
    plane_rows(longer, 0)[height : height + CELL_PX, : len(cells)] = cells
    return longer
