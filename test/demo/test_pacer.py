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

import pytest

from teleop_webrtc_bridge.demo.robot_node import Pacer


def test_a_late_call_moves_no_later_instant() -> None:
    pacer = Pacer(period_s=0.1, start_s=10.0)
    assert not pacer.take(9.99)
    assert pacer.take(10.03)
    assert pacer.next_s == pytest.approx(10.1)


def test_missed_instants_are_skipped_not_made_up_for() -> None:
    pacer = Pacer(period_s=0.1, start_s=10.0)
    assert pacer.take(10.55)
    assert not pacer.take(10.56)
    assert pacer.next_s == pytest.approx(10.6)


def test_a_thousand_periods_do_not_drift() -> None:
    pacer = Pacer(period_s=1.0 / 30.0, start_s=0.0)
    assert sum(pacer.take(millisecond / 1000.0) for millisecond in range(33_334)) == 1000
    assert pacer.next_s == pytest.approx(1000 / 30.0)
