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

"""How soon the WebRTC half is started again; test_node.py has the process itself."""

from __future__ import annotations

import itertools

from teleop_webrtc_bridge.ros.webrtc_process import back_off_s


def test_a_half_that_worked_is_started_again_at_once_however_often_it_ends() -> None:
    assert list(itertools.accumulate([6.0] * 3, back_off_s, initial=0.0)) == [0.0] * 4


def test_a_half_that_cannot_start_is_tried_ever_less_often() -> None:
    pauses_s = list(itertools.accumulate([0.5] * 7, back_off_s, initial=0.0))
    assert pauses_s[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_the_pauses_are_forgotten_when_it_works_again() -> None:
    assert back_off_s(5.0, 6.0) == 0.0
    assert back_off_s(0.0, 0.5) == 0.2
