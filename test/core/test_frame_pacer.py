"""The pacer, in time that the test makes."""

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

import itertools

import pytest

from teleop_webrtc_bridge.core.frame_pacer import FramePacer


@pytest.mark.parametrize('wanted', [30.0, 20.0, 15.0, 10.0, 7.0])
def test_frames_are_left_out_evenly(wanted: float) -> None:
    pacer = FramePacer(0.4)
    sent = [number / 30 for number in range(300) if pacer.is_due(number / 30, wanted)]
    assert len(sent) == pytest.approx(10 * wanted, abs=2)
    gaps = [later - one for one, later in itertools.pairwise(sent)]
    assert max(gaps) <= 1 / wanted + 1 / 30


def test_no_frame_is_left_out_of_a_camera_that_is_not_exact() -> None:
    pacer = FramePacer(0.4)
    times = [number / 30 + (0.012 if number % 3 else -0.012) for number in range(300)]
    assert all(pacer.is_due(at_s, 30.0) for at_s in times)


def test_a_pause_is_not_made_up_for_and_a_step_back_stops_nothing() -> None:
    pacer = FramePacer(0.4)
    assert pacer.is_due(100.0, 10.0)
    assert pacer.is_due(200.0, 10.0)
    assert [pacer.is_due(200.0 + number / 100, 10.0) for number in range(1, 20)].count(True) <= 3
    assert pacer.is_due(50.0, 10.0)
    assert not pacer.is_due(50.01, 10.0)


def test_a_higher_rate_holds_at_once_and_is_not_exceeded() -> None:
    pacer = FramePacer(0.4)
    assert pacer.is_due(100.0, 1.0)
    taken = [pacer.is_due(100.0 + number / 100, 10.0) for number in range(1, 101)]
    assert taken[0], 'the rate was much lower before'
    assert taken.count(True) == pytest.approx(10, abs=1)
