"""What counts as a stop of the base."""

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

from ros_probe import Command

from benchmark.attack_cmd_vel import figures_of


def heard(at_s: float, linear_x: float = 0.5) -> Command:
    return Command(
        arrival_s=at_s,
        stamp_s=0.0,
        frame_id='',
        linear_x=linear_x,
        linear_y=0.0,
        angular_z=0.0,
    )


def test_zeros_and_gaps_are_counted() -> None:
    figures = figures_of([heard(0.0), heard(0.2), heard(0.5), heard(0.6, 0.0), heard(0.85)])
    assert (figures['zeros'], figures['gaps_over_watchdog']) == (1.0, 1.0)
    assert round(figures['longest_gap_ms']) == 300


def test_a_base_that_hears_nothing_has_no_figures_of_health() -> None:
    assert figures_of([])['longest_gap_ms'] == float('inf')
