"""
The world as the robot's camera sees it.

Walls are upright and the camera does not tilt, so the texture is linear within each column:
a picture costs a few array operations per layer (sky, floor, walls, each visible object) and one
table look-up. There is no loop over columns or pixels. Buffers are kept between pictures.
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

import numpy as np
from numpy.typing import NDArray

from teleop_webrtc_bridge.demo.diff_drive import Pose
from teleop_webrtc_bridge.demo.textures import (
    paint_crate,
    paint_floor,
    paint_pillar,
    paint_sky,
    paint_wall,
    Picture,
    PIXELS_PER_M,
    SKY_COLUMNS,
)
from teleop_webrtc_bridge.demo.world import Pillar, World

__all__ = ['CameraView']

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CAMERA_HEIGHT_M = 0.6
HORIZONTAL_FIELD_OF_VIEW = math.radians(82.0)
# Nothing nearer than this is drawn; the robot's body keeps obstacles farther away anyway.
NEAREST_M = 0.05
# Two pixels per ray: halves the cost of a picture, and a video encoder hides the difference.
PIXELS_PER_RAY = 2
# Distance classes: within one, haze and texture size are constant. Close ones hold full-size
# copies, so they are few; far ones are small and can afford fine steps.
_BIN_EDGES_M = np.array((1.6, 3.0, 3.7, 4.5, 5.3, 6.0, 7, 8, 9, 10, 11, 12, 13.5, 15), np.float32)
_LEVELS = np.array((0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3), np.int64)
_MIDDLES_M = (0.8, 2.3, 3.3, 4.1, 4.9, 5.6, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 12.7, 14.2, 17.0)
_HAZE = np.array((196.0, 208.0, 220.0), np.float32)
_HAZE_DISTANCE_M = 30.0


def _bins_of(distance: NDArray[np.float32]) -> NDArray[np.int64]:
    """
    Return the distance class of each distance.

    :param distance: Distances, in m.
    """
    return np.searchsorted(_BIN_EDGES_M, distance).astype(np.int64)


def _halve(picture: Picture) -> Picture:
    rows, columns = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    even = picture[:rows, :columns]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * 0.25


def _hazy(picture: Picture, distance_m: float) -> Picture:
    # Squared, so that near things stay crisp.
    share = 1.0 - float(np.exp(-((distance_m / _HAZE_DISTANCE_M) ** 1.5)))
    # The light falls off a little too: near things look near.
    return (picture * (1.06 - 0.012 * distance_m)) * (1.0 - share) + _HAZE * share


class _Atlas:
    """
    One big table of colours that holds every texture at every size and every haze.

    A picture element is then one number, its row in this table, and the costly half of drawing
    becomes a single ``numpy.take``. Memory is cheap here, about 30 MB; processor time is not.

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
        Add a picture once per distance class, halved and hazed as that class requires.

        :returns: For each class the number of the first element.
        """
        firsts: list[int] = []
        level, scaled = 0, picture
        for target, distance_m in zip(_LEVELS.tolist(), _MIDDLES_M, strict=True):
            while level < target:
                level, scaled = level + 1, _halve(scaled)
            firsts.append(self.add_plain(_hazy(scaled, distance_m)))
        return firsts

    def table(self, *, bgr: bool, repeat: int) -> NDArray[np.uint8]:
        """
        Return all colours, one element a row.

        :param bgr: Whether blue comes first.
        :param repeat: How often each row repeats its colour: pixels drawn per element.
        """
        colours = np.concatenate(self._parts)
        self._parts.clear()
        return np.tile(colours[:, ::-1] if bgr else colours, (1, repeat))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Surfaces:
    """
    Upright surfaces, one array element each.

    :param firsts: Table element where the surface starts, by surface and distance class.
    :param columns: Width of the full-size texture.
    :param rows: Height of the full-size texture.
    """

    firsts: Ints
    columns: Ints
    rows: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hits:
    """
    The first hits of the rays of a few adjacent columns.

    :param span: The columns.
    :param depth: Distance along the optical axis, in m; infinite where there is nothing.
    :param along: Distance along the surface from its left end, in m.
    :param surface: Number of the surface.
    """

    span: slice
    depth: Floats
    along: Floats
    surface: Ints


class CameraView:
    """
    A camera in a world; owner: the one thread that calls :meth:`render`.

    :param world: The world to draw.
    :param width: Of the picture, in pixels; even.
    :param height: Of the picture, in pixels.
    :param bgr: Whether pixels are blue, green, red.
    """

    def __init__(self, world: World, *, width: int, height: int, bgr: bool = False) -> None:
        self._world = world
        self._width, self._height = width, height
        self._rays = width // PIXELS_PER_RAY
        self.focal_px = 0.5 * width / math.tan(0.5 * HORIZONTAL_FIELD_OF_VIEW)
        atlas = _Atlas()
        self._build_surfaces(atlas)
        self._build_floor(atlas)
        self._horizon = height // 2
        self._sky_first = atlas.add_plain(paint_sky(self._horizon, self.focal_px))
        self._colours = atlas.table(bgr=bgr, repeat=PIXELS_PER_RAY)
        self._build_camera_tables()

    def _build_surfaces(self, atlas: _Atlas) -> None:
        pictures: list[Picture] = [
            paint_wall(wall, self._world.wall_height_m) for wall in self._world.walls
        ]
        for crate in self._world.crates:
            for side in range(4):
                light = 0.85 + 0.2 * math.cos(crate.yaw + 0.5 * math.pi * (side + 1) - 3.9)
                pictures.append(paint_crate(crate.colour, crate.size_m, crate.height_m, light))
        pictures += [paint_pillar(pillar) for pillar in self._world.pillars]
        # Columns of a wall are contiguous in the table: one column of the screen walks one.
        firsts = [atlas.add_levels(picture.transpose(1, 0, 2)) for picture in pictures]
        self._surfaces = _Surfaces(
            firsts=np.array(firsts, np.int64),
            columns=np.array([picture.shape[1] for picture in pictures], np.int64),
            rows=np.array([picture.shape[0] for picture in pictures], np.int64),
        )
        edges = np.array(self._world.edges, np.float32)
        self._edge_start = edges[:, 0, :]
        self._edge_vector = edges[:, 1, :] - edges[:, 0, :]
        self._edge_length = np.hypot(self._edge_vector[:, 0], self._edge_vector[:, 1])

    def _build_floor(self, atlas: _Atlas) -> None:
        picture = paint_floor(self._world)
        self._floor_columns = picture.shape[1]
        self._floor_firsts = np.array(atlas.add_levels(picture), np.int64)

    def _build_camera_tables(self) -> None:
        height, rays = self._height, self._rays
        centre = (np.arange(rays, dtype=np.float32) + 0.5) * PIXELS_PER_RAY - 0.5 * self._width
        # Metres to the right of the optical axis per metre of depth, for each ray.
        self._aside = (centre / self.focal_px).astype(np.float32)
        self._angle = np.arctan(self._aside)
        # Pixels below the horizon, for the middle of each row.
        self._below = np.arange(height, dtype=np.float32) + 0.5 - self._horizon
        drop = np.maximum(self._below, 0.5)
        self._floor_depth = (self.focal_px * CAMERA_HEIGHT_M / drop).astype(np.float32)
        bins = _bins_of(self._floor_depth)
        level = _LEVELS[bins]
        self._floor_scale = (PIXELS_PER_M / 2.0**level).astype(np.float32)[:, None]
        self._floor_stride = (self._floor_columns >> level).astype(np.int32)[:, None]
        self._floor_first = self._floor_firsts[bins][:, None]
        self._row_numbers = np.arange(height, dtype=np.int16)[:, None]
        sky_rows = np.arange(self._horizon, dtype=np.int64)[:, None]
        self._sky_row_first = self._sky_first + sky_rows * SKY_COLUMNS
        self._elements = np.zeros((height, rays), np.int64)
        self._float = np.empty(height * rays, np.float32)
        self._int = np.empty((2, height * rays), np.int32)
        self._long = np.empty(height * rays, np.int64)

    def render(self, pose: Pose, out: NDArray[np.uint8]) -> None:
        """
        Draw what the camera sees from a pose.

        :param pose: Where the camera is; it looks along the heading.
        :param out: The picture to overwrite, ``(height, width, 3)``, contiguous.
        """
        cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
        ray_x = (cos + self._aside * sin).astype(np.float32)
        ray_y = (sin - self._aside * cos).astype(np.float32)
        depth, along = self._cross_edges(pose, ray_x, ray_y)
        count = len(self._world.walls)
        nearest = np.argmin(depth[:count], axis=0)[None, :]
        walls = _Hits(
            span=slice(0, self._rays),
            depth=np.take_along_axis(depth, nearest, axis=0)[0],
            along=np.take_along_axis(along, nearest, axis=0)[0],
            surface=nearest[0],
        )
        self._draw_sky(pose, walls.depth)
        self._draw_floor(pose, ray_x, ray_y, walls.depth)
        self._draw_hits(walls, self._world.wall_height_m)
        for hits, height_m in self._objects(pose, (ray_x, ray_y), depth, along, walls.depth):
            self._draw_hits(hits, height_m)
        target = out.reshape(self._height, self._rays, 3 * PIXELS_PER_RAY)
        # All numbers are within the table; 'clip' only spares numpy a second buffer.
        np.take(self._colours, self._elements, axis=0, out=target, mode='clip')

    def _cross_edges(self, pose: Pose, ray_x: Floats, ray_y: Floats) -> tuple[Floats, Floats]:
        # Every ray against every edge: a small matrix, cheaper than any clever search.
        from_x = (self._edge_start[:, 0] - np.float32(pose.x))[:, None]
        from_y = (self._edge_start[:, 1] - np.float32(pose.y))[:, None]
        edge_x, edge_y = self._edge_vector[:, :1], self._edge_vector[:, 1:]
        across = ray_x * edge_y - ray_y * edge_x
        across[across == 0.0] = 1e-9
        depth = (from_x * edge_y - from_y * edge_x) / across
        share = (from_x * ray_y - from_y * ray_x) / across
        # A hair of overlap closes the gap between two walls that share a corner.
        depth[(depth < NEAREST_M) | (share < -1e-5) | (share > 1.00001)] = np.inf
        return depth, share * self._edge_length[:, None]

    def _objects(
        self,
        pose: Pose,
        rays: tuple[Floats, Floats],
        depth: Floats,
        along: Floats,
        limit: Floats,
    ) -> list[tuple[_Hits, float]]:
        # Farthest first: each is painted over what is behind it.
        found: list[tuple[float, _Hits, float]] = []
        walls = len(self._world.walls)
        for number, crate in enumerate(self._world.crates):
            first = walls + 4 * number
            sides = slice(first, first + 4)
            side = np.argmin(depth[sides], axis=0) + first
            columns = np.arange(self._rays)
            hits = _visible(depth[side, columns], along[side, columns], side, limit)
            if hits is not None:
                found.append((math.dist(crate.at, (pose.x, pose.y)), hits, crate.height_m))
        surface = walls + 4 * len(self._world.crates)
        for number, pillar in enumerate(self._world.pillars):
            near, around = _cross_pillar(pose, rays, pillar)
            numbers = np.full(self._rays, surface + number, np.int64)
            hits = _visible(near, around, numbers, limit)
            if hits is not None:
                found.append((math.dist(pillar.at, (pose.x, pose.y)), hits, pillar.height_m))
        found.sort(key=lambda item: -item[0])
        return [(hits, height_m) for _, hits, height_m in found]

    def _draw_sky(self, pose: Pose, wall_depth: Floats) -> None:
        rise = self._world.wall_height_m - CAMERA_HEIGHT_M
        lowest = self._horizon - self.focal_px * rise / float(wall_depth.max())
        rows = min(self._horizon, max(0, math.ceil(lowest)))
        turn = (self._angle - pose.yaw) * (SKY_COLUMNS / (2.0 * math.pi))
        columns = turn.astype(np.int64) % SKY_COLUMNS
        np.add(self._sky_row_first[:rows], columns, out=self._elements[:rows])

    def _draw_floor(self, pose: Pose, ray_x: Floats, ray_y: Floats, wall_depth: Floats) -> None:
        highest = self._horizon + self.focal_px * CAMERA_HEIGHT_M / float(wall_depth.max())
        first = min(self._height, max(self._horizon + 1, math.floor(highest)))
        rows = slice(first, self._height)
        shape = (self._height - first, self._rays)
        size = shape[0] * shape[1]
        real = self._float[:size].reshape(shape)
        column, row = self._int[:, :size].reshape(2, *shape)
        scale = self._floor_scale[rows]
        reach = self._floor_depth[rows, None] * scale
        for ray, place, low, target in (
            (ray_x, pose.x, self._world.low[0], column),
            (ray_y, pose.y, self._world.low[1], row),
        ):
            np.multiply(reach, ray, out=real)
            np.add(real, np.float32(place - low) * scale, out=target, casting='unsafe')
        np.multiply(row, self._floor_stride[rows], out=row)
        np.add(row, column, out=row)
        np.add(row, self._floor_first[rows], out=self._elements[rows])

    def _draw_hits(self, hits: _Hits, height_m: float) -> None:
        depth = hits.depth
        top = self._horizon - self.focal_px * (height_m - CAMERA_HEIGHT_M) / depth
        bottom = self._horizon + self.focal_px * CAMERA_HEIGHT_M / depth
        # A row belongs to the surface if its middle does. If no surface is there, the range is
        # empty.
        top = np.clip(np.ceil(top - 0.5), 0, self._height)
        bottom = np.clip(np.ceil(bottom - 0.5), 0, self._height)
        seen = np.isfinite(depth)
        if not seen.any():
            return
        bottom[~seen] = -1.0
        rows = slice(int(top[seen].min()), int(bottom[seen].max()))
        shape = (rows.stop - rows.start, len(depth))
        if shape[0] <= 0:
            return
        size = shape[0] * shape[1]
        real = self._float[:size].reshape(shape)
        texel = self._int[0, :size].reshape(shape)
        element = self._long[:size].reshape(shape)
        start, step, offset = self._texture_columns(hits, height_m)
        np.multiply(self._below[rows, None], step, out=real)
        np.add(real, offset, out=texel, casting='unsafe')
        np.add(texel, start, out=element)
        row = self._row_numbers[rows]
        inside = row >= top.astype(np.int16)
        inside &= row < bottom.astype(np.int16)
        np.copyto(self._elements[rows, hits.span], element, where=inside)

    def _texture_columns(self, hits: _Hits, height_m: float) -> tuple[Ints, Floats, Floats]:
        # For each screen column: table element of the texture column, texels per screen row,
        # and the texel at the horizon.
        depth = np.where(np.isfinite(hits.depth), hits.depth, np.float32(1.0))
        bins = _bins_of(depth)
        level = _LEVELS[bins]
        rows = self._surfaces.rows[hits.surface] >> level
        last = (self._surfaces.columns[hits.surface] >> level) - 1
        column = (hits.along * np.float32(PIXELS_PER_M)).astype(np.int64) >> level
        column = np.clip(column, 0, last)
        start = self._surfaces.firsts[hits.surface, bins] + column * rows
        step = (rows * depth / (self.focal_px * height_m)).astype(np.float32)
        offset = (rows * ((height_m - CAMERA_HEIGHT_M) / height_m)).astype(np.float32)
        return start, step, offset


def _cross_pillar(
    pose: Pose, rays: tuple[Floats, Floats], pillar: Pillar
) -> tuple[Floats, Floats]:
    ray_x, ray_y = rays
    to_x, to_y = np.float32(pillar.at[0] - pose.x), np.float32(pillar.at[1] - pose.y)
    square = ray_x * ray_x + ray_y * ray_y
    middle = ray_x * to_x + ray_y * to_y
    rest = middle * middle - square * (to_x * to_x + to_y * to_y - pillar.radius_m**2)
    depth = (middle - np.sqrt(np.maximum(rest, 0.0))) / square
    depth = np.where((rest > 0.0) & (depth > NEAREST_M), depth, np.float32(np.inf))
    with np.errstate(invalid='ignore'):
        angle = np.arctan2(depth * ray_y - to_y, depth * ray_x - to_x)
    along = np.nan_to_num((angle + np.float32(math.pi)) * np.float32(pillar.radius_m))
    return depth.astype(np.float32), along.astype(np.float32)


def _visible(depth: Floats, along: Floats, surface: Ints, limit: Floats) -> _Hits | None:
    # Only the columns that matter: an object's cost is then its area on the screen.
    depth = np.where(depth < limit, depth, np.float32(np.inf))
    columns = np.flatnonzero(np.isfinite(depth))
    if not len(columns):
        return None
    span = slice(int(columns[0]), int(columns[-1]) + 1)
    return _Hits(span=span, depth=depth[span], along=along[span], surface=surface[span])
