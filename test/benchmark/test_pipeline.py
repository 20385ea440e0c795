"""Published images are matched with the frames that arrive."""

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

from dataclasses import replace

import pytest

from benchmark.pipeline import account, CASES, measure

AHEAD_S = 1_000_000.0


def test_images_are_found_by_their_stamps() -> None:
    published_s = [AHEAD_S + number / 30 for number in range(10)]
    arrived = [
        (stamp_s - AHEAD_S + 0.012, stamp_s + 0.0004)
        for number, stamp_s in enumerate(published_s)
        if number not in (3, 7)
    ]
    figures = account(published_s, arrived[::-1], AHEAD_S)
    assert figures['frames_published'] == 10
    assert figures['frames_lost'] == 2
    assert figures['stamp_to_received_p50_ms'] == pytest.approx(12.0, abs=0.01)


def test_a_frame_stands_for_one_image_only() -> None:
    figures = account([AHEAD_S, AHEAD_S + 1 / 30], [(0.01, AHEAD_S)], AHEAD_S)
    assert figures['frames_lost'] == 1


@pytest.mark.real_programs
@pytest.mark.parametrize('name', ['raw-720p', 'plain-720p'])
def test_the_bridge_and_what_it_is_compared_with_are_measured_alike(name: str) -> None:
    # Small pictures: a busy machine takes a minute to draw large ones.
    figures = measure(replace(CASES[name], size=(320, 240)), 1.0)
    assert figures['cpu_both_halves_percent'] > 0.0
    assert figures['video_kbit_s'] > 0.0
    assert figures['frames_published'] > 0
    assert figures['frames_lost'] < figures['frames_published']
    assert figures['stamp_to_received_p50_ms'] > 0.0
