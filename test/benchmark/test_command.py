"""The goals of the command path, from medians."""

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

from benchmark.command import judge
from benchmark.figures import Figures


def figures(**given: float) -> Figures:
    return {
        'command_p50_ms': 5.0,
        'command_p99_ms': 10.0,
        'hand_p50_ms': 12.0,
        'raw_channel_p50_ms': 0.8,
        **given,
    }


def test_goals_compare_medians_within_one_run() -> None:
    quiet = [figures(command_p50_ms=p50, hand_p50_ms=12.0) for p50 in (2.0, 5.0, 90.0)]
    beside = [figures(command_p99_ms=15.0)]
    text = judge(
        {
            'quiet': quiet,
            'quiet, gamepad': [figures(hand_p50_ms=12.5)],
            'quiet, VR': [figures(hand_p50_ms=20.0)],
            'beside 720p30': beside,
        }
    )
    assert 'p50 above the bare channel: 4.20 ms' in text
    assert 'hand to cmd_vel, p50 of a gamepad above the keyboard: 0.50 ms' in text
    assert 'p50 of VR above the keyboard: 8.00 ms' in text
    assert 'p99 beside video to quiet: 1.50' in text
