"""The table of cases, and the gaps between events."""

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

import math

import pytest

from benchmark.comparison import gaps, table


def test_a_column_a_case_and_a_row_a_figure() -> None:
    text = table({'quiet': {'p50_ms': 1.234, 'frames': 300.0}, 'loss': {'p50_ms': 61.0}})
    assert [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()] == [
        ['', 'quiet', 'loss'],
        ['-' * 8, '-' * 7, '-' * 6],
        ['p50_ms', '1.23', '61'],
        ['frames', '300', '-'],
    ]


def test_what_was_not_measured_is_not_a_number() -> None:
    assert '| nan' not in table({'a': {'x': math.nan}})


def test_gaps_begin_and_end_with_the_window() -> None:
    assert gaps([5.0, 3.0, 3.5, 9.0], 2.0, 6.0) == pytest.approx([1.0, 0.5, 1.5, 1.0])
    assert gaps([], 2.0, 6.0) == [4.0]
