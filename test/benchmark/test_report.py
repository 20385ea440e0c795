"""The benchmark's report, and when it fails."""

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

import pytest

from benchmark.figures import Figures, medians, percentile
from benchmark.report import Floor, FLOORS, judge, table


def good() -> Figures:
    return {floor.figure: floor.limit for floor in FLOORS}


def test_floors_that_are_just_reached_pass() -> None:
    assert all(verdict.passed for verdict in judge([good(), good()]))


@pytest.mark.parametrize('floor', FLOORS, ids=lambda floor: floor.figure)
def test_a_missed_floor_fails(floor: Floor) -> None:
    missed = {**good(), floor.figure: floor.limit + 1.0}
    assert [verdict.passed for verdict in judge([missed])].count(False) == 1


@pytest.mark.parametrize('figure', ['command_p50_ms', 'dropped'])
def test_what_could_not_be_measured_fails(figure: str) -> None:
    unknown = {**good(), figure: math.nan}
    assert not all(verdict.passed for verdict in judge([good(), unknown, good()]))


def test_one_bad_repeat_fails_only_what_may_never_happen() -> None:
    bad = {**good(), 'command_p50_ms': 1e3, 'dropped': 1.0}
    failed = [verdict.text for verdict in judge([good(), bad, good()]) if not verdict.passed]
    assert failed == ['frames dropped between DDS and encoder, worst repeat']


def test_the_table_has_a_column_for_each_repeat() -> None:
    repeats = [{'command_p50_ms': value} for value in (1.0, 2.0, 9.0)]
    rows = table(repeats, judge([good()])).splitlines()
    row = next(row for row in rows if row.startswith('  p50 [ms]'))
    assert row.split()[2:] == ['2.00', '1.00', '2.00', '9.00']


def test_the_table_tells_which_floor_was_missed() -> None:
    said = table([good()], judge([{**good(), 'dropped': 3.0}]))
    assert '  FAIL  frames dropped between DDS and encoder, worst repeat: 3.00, at most 0' in said


def test_percentiles_are_values_that_occurred() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, percent) for percent in (1, 50, 99)] == [1.0, 3.0, 5.0]
    assert math.isnan(percentile([], 50))


def test_medians_are_taken_figure_by_figure() -> None:
    assert medians([{'a': 1.0, 'b': 3.0}, {'a': 2.0, 'b': 2.0}, {'a': 9.0}]) == {
        'a': 2.0,
        'b': 2.5,
    }
