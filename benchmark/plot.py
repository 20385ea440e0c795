"""Line plots over time as SVG, without a library; pure."""

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
from html import escape
from typing import Final

__all__ = ['Line', 'Panel', 'svg']

WIDTH: Final = 760
PANEL_HEIGHT: Final = 200
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 28, 24
TICKS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points (x, y) joined by the line."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    steps: bool = False
    """Each value holds until the next point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines that share one scale, which begins at zero."""

    title: str
    lines: Sequence[Line]
    highest: float
    """Upper end of the scale; larger values are drawn at the upper edge."""


def svg(panels: Sequence[Panel], *, x_title: str) -> str:
    """Return stacked panels with a common x axis, as SVG text."""
    last = max(x for panel in panels for line in panel.lines for x, _ in line.points)
    height = PANEL_HEIGHT * len(panels) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, PANEL_HEIGHT * number, last)
    parts.append(_text(WIDTH / 2, height - 8, x_title, 'middle'))
    return '\n'.join([*parts, '</svg>', ''])


def _panel(panel: Panel, above: float, last: float) -> list[str]:
    top, bottom = above + TOP, above + PANEL_HEIGHT - 24
    parts = [_text(LEFT, above + 16, panel.title, 'start')]

    def place(x: float, y: float) -> tuple[float, float]:
        part = min(1.0, max(0.0, y / panel.highest))
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last, bottom - (bottom - top) * part

    for tick in range(TICKS + 1):
        value = panel.highest * tick / TICKS
        _, y = place(0.0, value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(_text(LEFT - 6, y + 4, f'{value:g}', 'end'))
        x, _ = place(last * tick / TICKS, 0.0)
        parts.append(_text(x, bottom + 14, f'{last * tick / TICKS:.0f}', 'middle'))
    right = WIDTH - RIGHT
    for line in reversed(panel.lines):
        parts.append(_text(right, above + 16, line.name, 'end', line.colour))
        right -= 8 * len(line.name) + 16
        points = [place(x, y) for x, y in (_stairs(line.points) if line.steps else line.points)]
        text = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        parts.append(
            f'<polyline points="{text}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>'
        )
    return parts


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    stairs = []
    before = None
    for x, y in points:
        if before is not None:
            stairs.append((x, before))
        stairs.append((x, y))
        before = y
    return stairs


def _text(x: float, y: float, text: str, anchor: str, colour: str = '#333') -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f'{escape(text)}</text>'
    )
