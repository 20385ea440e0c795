"""Table that compares cases side by side; pure."""

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

from collections.abc import Mapping
import itertools
import math

from benchmark.figures import Figures

__all__ = ['gaps', 'table']


def table(columns: Mapping[str, Figures]) -> str:
    """Return one column per case and one row per figure, as Markdown that is readable as text."""
    rows = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    cells = [['', *columns]]
    for row in rows:
        values = (figures.get(row, math.nan) for figures in columns.values())
        cells.append([row, *(_text(value) for value in values)])
    widths = [max(len(line[number]) for line in cells) for number in range(len(cells[0]))]
    lines = [
        f'| {line[0].ljust(widths[0])} | '
        + ' | '.join(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        + ' |'
        for line in cells
    ]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)


def _text(value: float) -> str:
    if math.isnan(value):
        return '-'
    if value == int(value) or abs(value) >= 100:
        return f'{value:.0f}'
    return (
        f'{value:.1f}'
        if abs(value) >= 10
        else f'{value:.2f}'
        if abs(value) >= 1
        else f'{value:.3f}'
    )


def gaps(times_s: list[float], begin_s: float, end_s: float) -> list[float]:
    """Return the gaps between successive events, including those at the start and the end."""
    marks = [begin_s, *sorted(at_s for at_s in times_s if begin_s < at_s < end_s), end_s]
    return [later - one for one, later in itertools.pairwise(marks)]
