"""
The demo's courtyard: walls, pillars and crates, which are the robot's obstacles.

Coordinates are those of REP 103: x east, y north, z up, in m. The robot starts at the origin and
looks east. Each side of the yard has a look and a colour of its own, so that one frame is enough
to tell where the robot looks.
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

from dataclasses import dataclass, field
import math

__all__ = ['Colour', 'Crate', 'Decal', 'Pillar', 'Wall', 'World', 'courtyard']

Colour = tuple[int, int, int]

WEST, EAST, SOUTH, NORTH = -6.0, 10.0, -5.0, 5.0

RED: Colour = (200, 54, 48)
BLUE: Colour = (44, 98, 196)
GREEN: Colour = (46, 150, 84)
YELLOW: Colour = (240, 190, 48)
ORANGE: Colour = (232, 128, 44)
WHITE: Colour = (238, 236, 228)
DARK: Colour = (52, 54, 62)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decal:
    """
    Something painted on a wall.

    :param kind: ``door``, ``window`` or ``sign``.
    :param at_m: Distance of its middle from the wall's start, in m.
    :param colour: Main colour, as red, green, blue.
    :param text: The letters on a sign.
    """

    kind: str
    at_m: float
    colour: Colour
    text: str = ''


@dataclass(frozen=True, kw_only=True, slots=True)
class Wall:
    """
    A straight wall of the world's wall height.

    :param start: The end that is on the left when one looks at the painted side, in m.
    :param end: The other end, in m.
    :param material: A name that :mod:`textures` knows.
    :param colour: Main colour, as red, green, blue.
    :param light: How bright the sun makes this side, 1.0 is full.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    material: str
    colour: Colour
    light: float = 1.0
    decals: tuple[Decal, ...] = ()

    @property
    def length_m(self) -> float:
        """Length, in m."""
        return math.dist(self.start, self.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pillar:
    """
    A standing cylinder with two-coloured bands.

    :param at: Middle, in m.
    :param radius_m: Radius, in m.
    :param height_m: Height, in m.
    :param spiral: Whether the bands climb around it.
    """

    at: tuple[float, float]
    radius_m: float
    height_m: float
    colours: tuple[Colour, Colour]
    spiral: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Crate:
    """
    A box on the floor.

    :param at: Middle, in m.
    :param size_m: Length of its sides, in m.
    :param height_m: Height, in m; above the camera, because tops are not drawn.
    :param yaw: Rotation, in rad.
    """

    at: tuple[float, float]
    size_m: float
    height_m: float
    yaw: float
    colour: Colour

    def corners(self) -> tuple[tuple[float, float], ...]:
        """Return the four corners, counter-clockwise seen from above, in m."""
        half = self.size_m / math.sqrt(2.0)
        angles = (self.yaw + math.pi * (0.25 + 0.5 * i) for i in range(4))
        x, y = self.at
        return tuple((x + half * math.cos(a), y + half * math.sin(a)) for a in angles)


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """
    Everything that can be seen and bumped into.

    :param walls: The walls; together they enclose every place where the robot can be.
    :param wall_height_m: Height of all walls, in m: so nothing is visible behind a wall.
    :param low: South-west corner of the floor, in m.
    :param high: North-east corner of the floor, in m.
    :param edges: All straight obstacle edges: walls and the sides of crates, in m.
    """

    walls: tuple[Wall, ...]
    pillars: tuple[Pillar, ...]
    crates: tuple[Crate, ...]
    wall_height_m: float
    low: tuple[float, float]
    high: tuple[float, float]
    edges: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = field(init=False)

    def __post_init__(self) -> None:
        edges = [(wall.start, wall.end) for wall in self.walls]
        for crate in self.crates:
            corners = crate.corners()
            edges += [(corners[i], corners[(i + 1) % 4]) for i in range(4)]
        # Computed once: the drive needs them at every step.
        object.__setattr__(self, 'edges', tuple(edges))

    def clearance(self, x: float, y: float) -> tuple[float, tuple[float, float]]:
        """
        Find the obstacle that is nearest to a point.

        :param x: The point's x, in m.
        :param y: The point's y, in m.
        :returns: The distance, in m, and the unit vector from the obstacle to the point.
        """
        best, away = math.inf, (0.0, 0.0)
        for start, end in self.edges:
            px, py = _nearest_on_edge((x, y), start, end)
            distance = math.hypot(x - px, y - py)
            if distance < best:
                best, away = distance, (x - px, y - py)
        for pillar in self.pillars:
            dx, dy = x - pillar.at[0], y - pillar.at[1]
            distance = math.hypot(dx, dy) - pillar.radius_m
            if distance < best:
                best, away = distance, (dx, dy)
        norm = math.hypot(*away)
        return best, (away[0] / norm, away[1] / norm) if norm > 0.0 else (0.0, 0.0)

    def slide(
        self, old: tuple[float, float], new: tuple[float, float], radius_m: float
    ) -> tuple[float, float]:
        """
        Move a disc, and let obstacles push it aside rather than through.

        :param old: The disc's present position, which is free, in m.
        :param new: The wanted position, in m; less than the radius away from ``old``.
        :param radius_m: Its radius, in m.
        :returns: The final position, in m.
        """
        x, y = new
        for _ in range(4):
            distance, (ax, ay) = self.clearance(x, y)
            push = radius_m - distance
            if push <= 1e-9:
                return (x, y)
            x, y = x + ax * push, y + ay * push
        # A corner that pushes to and fro: only the old position is certainly free.
        return (x, y) if self.clearance(x, y)[0] >= radius_m - 1e-6 else old


def _nearest_on_edge(
    point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]
) -> tuple[float, float]:
    ex, ey = end[0] - start[0], end[1] - start[1]
    along = (point[0] - start[0]) * ex + (point[1] - start[1]) * ey
    share = min(1.0, max(0.0, along / (ex * ex + ey * ey)))
    return start[0] + share * ex, start[1] + share * ey


_PERIMETER = (
    Wall(
        start=(WEST, NORTH),
        end=(EAST, NORTH),
        material='brick',
        colour=(176, 92, 70),
        light=0.92,
        decals=(
            Decal(kind='window', at_m=2.0, colour=(150, 196, 222)),
            Decal(kind='door', at_m=5.0, colour=GREEN),
            Decal(kind='sign', at_m=8.0, colour=DARK, text='N'),
            Decal(kind='window', at_m=10.5, colour=(150, 196, 222)),
            Decal(kind='door', at_m=13.5, colour=YELLOW),
        ),
    ),
    Wall(
        start=(EAST, NORTH),
        end=(EAST, SOUTH),
        material='panel',
        colour=(86, 138, 178),
        decals=(
            Decal(kind='door', at_m=2.2, colour=ORANGE),
            Decal(kind='sign', at_m=5.0, colour=WHITE, text='E'),
            Decal(kind='door', at_m=7.8, colour=WHITE),
        ),
    ),
    Wall(
        start=(EAST, SOUTH),
        end=(WEST, SOUTH),
        material='hedge',
        colour=(74, 128, 62),
        light=1.05,
        decals=(
            Decal(kind='sign', at_m=8.0, colour=YELLOW, text='S'),
            Decal(kind='door', at_m=12.0, colour=RED),
        ),
    ),
    Wall(
        start=(WEST, SOUTH),
        end=(WEST, NORTH),
        material='wood',
        colour=(190, 142, 88),
        light=0.84,
        decals=(
            Decal(kind='door', at_m=2.0, colour=BLUE),
            Decal(kind='sign', at_m=5.0, colour=RED, text='W'),
            Decal(kind='window', at_m=8.0, colour=(150, 196, 222)),
        ),
    ),
)


def _partition(
    start: tuple[float, float], end: tuple[float, float], colour: Colour, text: str
) -> tuple[Wall, ...]:
    # A wall is painted on one side only, so a free-standing one is four walls around a core.
    (x0, y0), (x1, y1) = start, end
    length, half = math.dist(start, end), 0.08
    nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
    a, b = (x0 - nx, y0 - ny), (x1 - nx, y1 - ny)
    c, d = (x1 + nx, y1 + ny), (x0 + nx, y0 + ny)
    sign = (Decal(kind='sign', at_m=length / 2, colour=colour, text=text),)
    return (
        Wall(start=a, end=b, material='stone', colour=(206, 198, 180), decals=sign),
        Wall(start=b, end=c, material='stone', colour=colour),
        Wall(start=c, end=d, material='stone', colour=(206, 198, 180), light=0.8, decals=sign),
        Wall(start=d, end=a, material='stone', colour=colour),
    )


def courtyard() -> World:
    """Return the demo's world."""
    return World(
        walls=(
            *_PERIMETER,
            *_partition((5.2, 5.0), (5.2, 2.4), ORANGE, 'A'),
            *_partition((-2.6, -5.0), (-2.6, -2.2), BLUE, 'B'),
        ),
        pillars=(
            Pillar(at=(4.2, 1.5), radius_m=0.22, height_m=2.6, colours=(RED, WHITE), spiral=True),
            Pillar(at=(4.2, -1.5), radius_m=0.22, height_m=2.6, colours=(BLUE, WHITE)),
            Pillar(
                at=(-3.4, 1.8), radius_m=0.3, height_m=3.0, colours=(GREEN, WHITE), spiral=True
            ),
            Pillar(at=(7.6, 0.0), radius_m=0.35, height_m=3.4, colours=(YELLOW, DARK)),
            Pillar(at=(1.2, -3.2), radius_m=0.18, height_m=1.1, colours=(ORANGE, WHITE)),
            Pillar(at=(2.6, -3.2), radius_m=0.18, height_m=1.1, colours=(ORANGE, WHITE)),
        ),
        crates=(
            Crate(at=(1.6, 3.1), size_m=0.9, height_m=0.9, yaw=0.35, colour=(186, 134, 76)),
            Crate(at=(2.7, 3.6), size_m=0.7, height_m=1.3, yaw=-0.2, colour=(168, 116, 64)),
            Crate(at=(6.6, -3.3), size_m=1.0, height_m=1.0, yaw=0.6, colour=(96, 134, 120)),
            Crate(at=(-4.2, -1.6), size_m=0.8, height_m=0.8, yaw=0.1, colour=(186, 134, 76)),
        ),
        wall_height_m=2.2,
        low=(WEST, SOUTH),
        high=(EAST, NORTH),
    )
