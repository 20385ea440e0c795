"""
The textures of the demo's world: walls, pillars, crates, floor and sky.

A picture is a new ``(rows, columns, 3)`` array: red, green, blue, float32 from 0 to 255, row 0 at
the top, ``PIXELS_PER_M`` pixels per metre. All are painted once at the start, from fixed seeds, so
every run looks the same.
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

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teleop_webrtc_bridge.demo.world import Colour, Decal, Pillar, Wall, World

__all__ = [
    'PIXELS_PER_M',
    'SKY_COLUMNS',
    'Picture',
    'paint_crate',
    'paint_floor',
    'paint_pillar',
    'paint_sky',
    'paint_wall',
    'span',
    'text_mask',
]

PIXELS_PER_M = 80
# Widths and heights are multiples of this, so that a picture can be halved three times.
BLOCK = 8
# Columns for a full turn; column 0 is east, and columns run clockwise, as the eye reads.
SKY_COLUMNS = 2880

Picture = NDArray[np.floating[Any]]


def _pixels(metres: float) -> int:
    return max(BLOCK, round(metres * PIXELS_PER_M / BLOCK) * BLOCK)


def _noise(rng: np.random.Generator, rows: int, columns: int, cell: int) -> Picture:
    # One channel of noise in square cells, -1 to 1: coarse ones read as patches, fine as grain.
    coarse = rng.uniform(-1.0, 1.0, (-(-rows // cell), -(-columns // cell))).astype(np.float32)
    return np.repeat(np.repeat(coarse, cell, axis=0), cell, axis=1)[:rows, :columns, None]


def _blocks(
    rng: np.random.Generator, rows: int, columns: int, size: tuple[int, int], colour: Colour
) -> Picture:
    # Courses of shifted blocks with joints: brick or cut stone, by size.
    height, width = size
    row = np.arange(rows)[:, None]
    column = np.arange(columns)[None, :] + (row // height % 2) * (width // 2)
    tone = rng.uniform(0.82, 1.12, (rows // height + 1, columns // width + 2))
    tones = tone[row // height, column // width].astype(np.float32)[..., None]
    picture: Picture = tones * np.array(colour, np.float32)
    joint = (row % height == 0) | (column % width == 0)
    picture[joint] = 0.55 * np.array(colour, np.float32) + 60.0
    return picture


def _panels(
    rng: np.random.Generator, rows: int, columns: int, width: int, colour: Colour, grain: float
) -> Picture:
    # Upright boards or metal sheets with a dark gap, each a little different.
    column = np.arange(columns)
    tone = rng.uniform(0.86, 1.08, columns // width + 1)[column // width]
    tone = tone * (1.0 - 0.10 * np.abs(column % width / width - 0.4))
    tone = np.where(column % width < 2, tone * 0.62, tone).astype(np.float32)
    picture = np.ones((rows, 1, 1), np.float32) * tone[None, :, None]
    picture = picture * np.array(colour, np.float32)
    picture *= 1.0 + np.float32(grain) * _noise(rng, rows, columns, 4)
    return picture


def _hedge(rng: np.random.Generator, rows: int, columns: int, colour: Colour) -> Picture:
    leaves = sum(share * _noise(rng, rows, columns, cell) for share, cell in _LEAVES)
    return np.array(colour, np.float32) * (1.0 + np.asarray(leaves, np.float32))


_LEAVES = ((0.16, 24), (0.14, 8), (0.16, 4), (0.12, 2))


def _material(rng: np.random.Generator, wall: Wall, rows: int, columns: int) -> Picture:
    if wall.material == 'brick':
        return _blocks(rng, rows, columns, (8, 24), wall.colour)
    if wall.material == 'stone':
        return _blocks(rng, rows, columns, (32, 52), wall.colour)
    if wall.material == 'panel':
        return _panels(rng, rows, columns, 80, wall.colour, 0.02)
    if wall.material == 'wood':
        return _panels(rng, rows, columns, 18, wall.colour, 0.07)
    return _hedge(rng, rows, columns, wall.colour)


def _box(picture: Picture, top: float, left: float, size: tuple[float, float]) -> Picture:
    # The part of a picture from `top` and `left`, in m; a view, so writing to it paints.
    scale = PIXELS_PER_M
    first_row, first_column = round(top * scale), round(left * scale)
    rows, columns = round(size[0] * scale), round(size[1] * scale)
    return picture[span(first_row, rows), span(first_column, columns)]


def _paint_decal(picture: Picture, decal: Decal, height_m: float) -> None:
    colour = np.array(decal.colour, np.float32)
    if decal.kind == 'door':
        _box(picture, height_m - 1.86, decal.at_m - 0.56, (1.86, 1.12))[:] = 0.35 * colour + 20.0
        _box(picture, height_m - 1.78, decal.at_m - 0.48, (1.78, 0.96))[:] = colour
        for top in (1.62, 0.82):
            _box(picture, height_m - top, decal.at_m - 0.36, (0.62, 0.72))[:] = 0.82 * colour
        _box(picture, height_m - 0.95, decal.at_m + 0.34, (0.1, 0.1))[:] = (250.0, 236.0, 180.0)
    elif decal.kind == 'window':
        _box(picture, 0.5, decal.at_m - 0.76, (0.96, 1.52))[:] = (236.0, 232.0, 222.0)
        for left in (-0.68, 0.04):
            glass = _box(picture, 0.58, decal.at_m + left, (0.8, 0.64))
            glass[:] = colour * np.linspace(1.15, 0.7, glass.shape[0])[:, None, None]
    else:
        _box(picture, 0.3, decal.at_m - 0.6, (1.3, 1.2))[:] = 0.3 * colour + 10.0
        plate = _box(picture, 0.35, decal.at_m - 0.55, (1.2, 1.1))
        plate[:] = colour
        mask = np.kron(text_mask(decal.text), np.ones((11, 11), bool))
        top, left = (plate.shape[0] - mask.shape[0]) // 2, (plate.shape[1] - mask.shape[1]) // 2
        ink = 245.0 if colour.mean() < 150.0 else 40.0
        plate[span(top, mask.shape[0]), span(left, mask.shape[1])][mask] = ink


def _shade_foot_and_top(picture: Picture) -> None:
    rows = picture.shape[0]
    # Less sky light reaches the foot of a wall; a bright coping ends it against the sky.
    foot = np.linspace(0.0, 1.0, rows, dtype=np.float32) ** 6
    picture *= (1.0 - 0.45 * foot)[:, None, None]
    coping = picture[span(0, BLOCK // 2)]
    coping[:] = coping * 0.5 + 110.0


def paint_wall(wall: Wall, height_m: float) -> Picture:
    """
    Paint a wall with all its decals.

    :param height_m: The wall's height, in m.
    """
    rng = np.random.default_rng(round(wall.length_m * 1000.0) + len(wall.material))
    rows, columns = _pixels(height_m), _pixels(wall.length_m)
    picture = _material(rng, wall, rows, columns) * (1.0 + 0.03 * _noise(rng, rows, columns, 2))
    for decal in wall.decals:
        _paint_decal(picture, decal, height_m)
    _shade_foot_and_top(picture)
    return np.clip(picture * wall.light, 0.0, 255.0).astype(np.float32)


def paint_pillar(pillar: Pillar) -> Picture:
    """Paint the side of a pillar, unrolled from angle -pi to pi around its axis."""
    rows, columns = _pixels(pillar.height_m), _pixels(2.0 * math.pi * pillar.radius_m)
    row = np.arange(rows)[:, None] / PIXELS_PER_M
    turn = np.arange(columns)[None, :] / columns
    band = (row / 0.4 + (turn if pillar.spiral else 0.0 * turn)) % 1.0 < 0.5
    colours = np.array(pillar.colours, np.float32)
    picture = np.where(band[..., None], colours[0], colours[1])
    # The sun stands in the south-west: that side is bright.
    light = 0.8 + 0.22 * np.cos(2.0 * math.pi * (turn - 0.5) + 0.75 * math.pi)
    lit: Picture = picture * light[..., None].astype(np.float32)
    _shade_foot_and_top(lit)
    return np.clip(lit, 0.0, 255.0).astype(np.float32)


def paint_crate(colour: Colour, size_m: float, height_m: float, light: float) -> Picture:
    """
    Paint one side of a crate: boards in a frame with a brace.

    :param light: How bright the sun makes this side, 1.0 is full.
    """
    rng = np.random.default_rng(round(1000.0 * size_m))
    rows, columns = _pixels(height_m), _pixels(size_m)
    picture: Picture = _panels(rng, rows, columns, 12, colour, 0.06)
    row, column = np.arange(rows)[:, None], np.arange(columns)[None, :]
    edge = np.minimum(np.minimum(row, rows - 1 - row), np.minimum(column, columns - 1 - column))
    brace = np.abs(row / rows - column / columns) * rows
    picture[(brace < 6) | (edge < 7)] = 1.18 * np.array(colour, np.float32)
    picture[(np.abs(brace - 6) < 1) & (edge >= 7) | (edge == 7)] *= 0.6
    _shade_foot_and_top(picture)
    lit: Picture = np.clip(picture * light, 0.0, 255.0)
    return lit


def paint_floor(world: World) -> Picture:
    """Paint the whole floor: tiles, a line to follow, a mark, shadows; row 0 is the south."""
    rows = round((world.high[1] - world.low[1]) * PIXELS_PER_M / BLOCK) * BLOCK
    columns = round((world.high[0] - world.low[0]) * PIXELS_PER_M / BLOCK) * BLOCK
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / PIXELS_PER_M + world.low[1]
    x = (np.arange(columns, dtype=np.float32)[None, :] + 0.5) / PIXELS_PER_M + world.low[0]
    rng = np.random.default_rng(7)
    light_tile = (np.floor(x) + np.floor(y)) % 2.0 == 0.0
    picture = np.where(
        light_tile[..., None],
        np.array((198, 192, 180), np.float32),
        np.array((118, 124, 134), np.float32),
    )
    picture *= 1.0 + 0.05 * _noise(rng, rows, columns, PIXELS_PER_M)
    picture *= 1.0 + 0.03 * _noise(rng, rows, columns, 2)
    joint = (x - np.floor(x) < 0.03) | (y - np.floor(y) < 0.03)
    picture[joint] *= 0.72
    _paint_marks(picture, x, y)
    # Shadows are soft: a quarter of the resolution is enough and saves half a second at start.
    shadow = _floor_shadow(world, x[:, 2::4], y[2::4])
    picture *= np.repeat(np.repeat(shadow, 4, axis=0), 4, axis=1)[..., None]
    return np.clip(picture, 0.0, 255.0).astype(np.float32)


def _paint_marks(picture: Picture, x: Picture, y: Picture) -> None:
    # A rounded guide line to follow around the yard.
    out_x, out_y = np.maximum(np.abs(x - 2.2) - 4.6, 0.0), np.maximum(np.abs(y) - 1.0, 0.0)
    line = np.abs(np.hypot(out_x, out_y) - 1.1)
    picture[line < 0.07] = (240.0, 196.0, 40.0)
    x = x - 2.0
    radius = np.hypot(x, y)
    picture[(radius < 0.75) & (radius > 0.62)] = (40.0, 120.0, 210.0)
    picture[(radius < 0.5)] = (232.0, 236.0, 240.0)
    # An arrow to the east, in sight of the robot when it starts.
    arrow = (np.abs(y) < (0.42 - x) * 0.55) & (x > -0.05) | (np.abs(y) < 0.08) & (
        np.abs(x + 0.2) < 0.2
    )
    picture[(radius < 0.46) & arrow] = (40.0, 120.0, 210.0)


def _floor_shadow(world: World, x: Picture, y: Picture) -> Picture:
    # Soft darkness around everything on the floor; without it, things seem to float.
    nearest = np.full(np.broadcast_shapes(x.shape, y.shape), 9.0, np.float32)
    for (x0, y0), (x1, y1) in world.edges:
        ex, ey = x1 - x0, y1 - y0
        share = np.clip(((x - x0) * ex + (y - y0) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        np.minimum(nearest, np.hypot(x - x0 - share * ex, y - y0 - share * ey), out=nearest)
    for pillar in world.pillars:
        distance = np.hypot(x - pillar.at[0], y - pillar.at[1]) - pillar.radius_m
        np.minimum(nearest, distance, out=nearest)
    return 1.0 - 0.5 * np.exp(-np.maximum(nearest, 0.0) / 0.16)


def _waves(
    rng: np.random.Generator, angle: NDArray[np.float64], frequencies: tuple[int, ...]
) -> NDArray[np.float64]:
    # Whole frequencies only, so that the end of the turn meets its start.
    phases = rng.uniform(0.0, 2.0 * math.pi, len(frequencies))
    parts = [
        np.sin(f * angle + phase) / f**0.7 for f, phase in zip(frequencies, phases, strict=True)
    ]
    return np.asarray(sum(parts))


def _cover(picture: Picture, share: NDArray[np.float64], colour: tuple[float, ...]) -> None:
    picture += share[..., None].astype(np.float32) * (np.array(colour, np.float32) - picture)


def paint_sky(rows: int, focal_px: float) -> Picture:
    """
    Paint the sky as a band around the horizon: a gradient, a sun, clouds and two ranges of hills.

    :param rows: Height of the band above the horizon, in pixels.
    :param focal_px: The camera's focal length, in pixels; it converts slopes to rows.
    """
    rng = np.random.default_rng(11)
    angle = np.linspace(0.0, 2.0 * math.pi, SKY_COLUMNS, endpoint=False)[None, :]
    slope = ((rows - np.arange(rows) - 0.5) / focal_px)[:, None]
    picture = np.empty((rows, SKY_COLUMNS, 3), np.float32)
    picture[:] = (212.0, 226.0, 236.0)
    height = np.clip(slope / 0.5, 0.0, 1.0) ** 0.8 * np.ones_like(angle)
    _cover(picture, height, (72.0, 134.0, 206.0))
    drift = _waves(rng, angle + 1.6 * slope, (3, 5, 8, 13)) + _waves(rng, angle, (21, 34, 55))
    billow = drift + 0.9 * np.sin(26.0 * slope + 2.0 * _waves(rng, angle, (2, 5, 9)))
    cloud = np.clip((billow - 0.35) / 1.1, 0.0, 1.0)
    _cover(picture, 0.85 * cloud**1.5, (250.0, 250.0, 248.0))
    away = np.abs((angle - 0.75 * math.pi + math.pi) % (2.0 * math.pi) - math.pi)
    sun = np.hypot(away, slope - 0.36)
    _cover(picture, np.clip(np.exp(-((sun / 0.16) ** 2)), 0.0, 1.0) * 0.7, (255.0, 246.0, 214.0))
    _cover(picture, np.clip((0.05 - sun) / 0.006, 0.0, 1.0), (255.0, 252.0, 236.0))
    far = 0.23 + 0.05 * _waves(rng, angle, (2, 3, 7, 12, 19, 41))
    _cover(picture, (slope < far).astype(float), (156.0, 178.0, 204.0))
    near = 0.17 + 0.035 * _waves(rng, angle, (3, 4, 9, 17, 60, 130))
    _cover(picture, (slope < near).astype(float), (112.0, 144.0, 150.0))
    return picture


# A 5 by 7 bitmap font, so that the demo needs no font file and no imaging library. One hexadecimal
# pair per row, top first; the highest of the five bits is the left column.
_GLYPHS = {
    ' ': '00000000000000',
    '+': '0004041F040400',
    '-': '0000001F000000',
    '.': '00000000000C0C',
    '/': '00010204081000',
    ':': '000C0C000C0C00',
    '°': '0C12120C000000',
    '0': '0E11131519110E',
    '1': '040C040404040E',
    '2': '0E11010204081F',
    '3': '1F02040201110E',
    '4': '02060A121F0202',
    '5': '1F101E0101110E',
    '6': '0608101E11110E',
    '7': '1F010204080808',
    '8': '0E11110E11110E',
    '9': '0E11110F01020C',
    'A': '0E11111F111111',
    'B': '1E11111E11111E',
    'C': '0E11101010110E',
    'D': '1E11111111111E',
    'E': '1F10101E10101F',
    'F': '1F10101E101010',
    'G': '0E11101711110F',
    'H': '1111111F111111',
    'I': '0E04040404040E',
    'L': '1010101010101F',
    'M': '111B1515111111',
    'N': '11111915131111',
    'O': '0E11111111110E',
    'P': '1E11111E101010',
    'R': '1E11111E141211',
    'S': '0F10100E01011E',
    'T': '1F040404040404',
    'U': '1111111111110E',
    'V': '11111111110A04',
    'W': '1111111515150A',
    'Y': '11110A04040404',
}


def _glyph(character: str) -> NDArray[np.bool_]:
    rows = np.frombuffer(bytes.fromhex(_GLYPHS[character]), np.uint8)
    return np.unpackbits(rows[:, None], axis=1)[:, 3:].astype(bool)


_MASKS = {character: _glyph(character) for character in _GLYPHS}
_GAP = np.zeros((7, 1), bool)


def span(first: int, length: int) -> slice:
    """Return the slice that begins at an index and has a length."""
    return slice(first, first + length)


def text_mask(text: str) -> NDArray[np.bool_]:
    """
    Return the mask of a line of text, 7 rows high: true where there is ink.

    :param text: Capital letters, digits and a few symbols.
    :raises KeyError: If a character is not in the font.
    """
    return np.hstack([part for c in text for part in (_MASKS[c], _GAP)])[:, :-1]
