"""A stop that should not have been is told with its cause."""

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

from typing import Any

from benchmark.faults.causes import drops, why_it_stood

ZERO_S = 100.0
STEADY = [ZERO_S - 0.4 + 0.02 * number for number in range(20)]


def why(
    sent: list[float] | None = None,
    operator: tuple[dict[str, Any], ...] = (),
    robot: tuple[dict[str, Any], ...] = (),
    diagnostics: tuple[dict[str, Any], ...] = (),
    machine_s: float = 0.0,
) -> str:
    times = STEADY if sent is None else sent
    return why_it_stood(
        ZERO_S,
        machine_s=machine_s,
        sent=times,
        operator=operator,
        robot=robot,
        diagnostics=diagnostics,
    )


def test_an_operator_who_sent_nothing_is_to_blame_himself() -> None:
    assert 'longest gap 0.02 s' in why()
    assert 'longest gap 0.28 s' in why(STEADY[:7])
    late = {'kind': 'late', 'at_s': 99.9, 'by_s': 0.3}
    assert "the operator's program did not run for 0.30 s" in why(operator=(late,))


def test_what_was_refused_and_what_was_lost_is_told_once() -> None:
    refused = {'kind': 'telemetry', 'state': {'refusing': 'no_lease'}}
    events = tuple(refused | {'at_s': ZERO_S + 0.1 * number} for number in range(3))
    assert why(operator=events).count('refusing no_lease') == 1
    lost = {'kind': 'lost', 'at_s': 99.8, 'why': 'the robot is silent'}
    assert 'operator lost the robot is silent' in why(operator=(lost,))
    # What was long before, or after, is not to blame.
    assert 'lost' not in why(operator=(lost | {'at_s': 98.0}, lost | {'at_s': 102.0}))


def test_a_machine_without_time_is_told() -> None:
    assert 'machine' not in why()
    assert 'the machine made threads wait for 0.31 s' in why(machine_s=0.31)


def test_a_session_that_ended_is_told() -> None:
    ended = {'at_s': ZERO_S, 'state': 'connected', 'reason': 'the operator left'}
    assert 'robot connected the operator left' in why(robot=(ended,))


def test_counters_tell_what_grew_around_the_stop() -> None:
    before = {'at_s': 99.0, 'counters': {'dropped_stale': 2.0, 'link_full': 1.0}}
    after = {'at_s': 100.5, 'counters': {'dropped_stale': 9.0, 'link_full': 1.0}}
    late = {'at_s': 105.0, 'counters': {'dropped_stale': 90.0}}
    assert drops((before, after, late), 99.6, 101.2) == {'dropped_stale': 7.0}
    assert 'dropped_stale +7' in why(diagnostics=(before, after, late))
