"""Several cameras side by side in one picture: all of one height, the first one on the left."""

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

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter, plane_rows
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

__all__ = ['Composer', 'Part', 'capture_of', 'layout']

SMALLEST_PX: Final = 2
GREY: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one camera adds to the picture."""

    camera: str
    frame: Frame
    max_width_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A part that has been converted."""

    sequence: int
    size: tuple[int, int]
    picture: av.VideoFrame


def capture_of(parts: Sequence[Part]) -> float:
    """Return when a picture of these parts was taken: with the oldest, but grey has no age."""
    captures = [part.frame.header.capture_s for part in parts if not part.frame.header.is_filler]
    return min(captures) if captures else max(part.frame.header.capture_s for part in parts)


def layout(
    sizes: Sequence[tuple[int, int]], *, max_width_px: int, scale: float
) -> list[tuple[int, int]]:
    """
    Return the size of each part in the picture: even, all of one height, no shape distorted.

    :param sizes: Width and height of each part as it comes.
    :param max_width_px: Of the whole picture; narrower if no part is as high as that needs.
    :param scale: Part of that size that is wanted.
    """
    shapes = [width / height for width, height in sizes]
    height = min(max(height for _, height in sizes), max_width_px / sum(shapes))
    rows = max(SMALLEST_PX, int(height * scale) & ~1)
    return [(max(SMALLEST_PX, int(shape * rows) & ~1), rows) for shape in shapes]


class Composer:
    """
    Puts the newest pictures of several cameras side by side; used by one thread at a time.

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

        :param scale: Part of its full size that is wanted.
        :returns: ``None`` if a frame was overwritten while it was read.
        """
        sizes = layout(
            [_full_size(part) for part in parts], max_width_px=self._max_width_px, scale=scale
        )
        tiles = [self._tile(part, size) for part, size in zip(parts, sizes, strict=True)]
        # Of cameras that are not in this picture nothing is kept.
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
        """Return how many parts were grey, since last asked, for their JPEG or PNG was broken."""
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
            picture = _grey(*size)
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


def _grey(width: int, height: int) -> av.VideoFrame:
    picture = av.VideoFrame(width, height, 'yuv420p')
    for number in range(3):
        plane_rows(picture, number)[:] = GREY
    return picture
