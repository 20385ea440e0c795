"""Latency and cost of the process between robots and viewers, and a short run of all cases."""

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

from benchmark.encoded_track import FPS
from benchmark.sfu import direct, figures_of
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc

AHEAD_S = 1_000_000.0


def test_figures_of_a_case() -> None:
    frames = [(50 + n / FPS, AHEAD_S + 50 + n / FPS - 0.004) for n in range(10 * FPS)]
    half = frames[::2]
    untold = [(52.0, math.nan)]
    figures = figures_of([frames, half + untold], 1.0, (50.0, 60.0), AHEAD_S)
    assert figures['latency_p50_ms'] == pytest.approx(4.0, abs=0.01)
    assert figures['frames_arrived_percent'] == pytest.approx(75.0)
    assert figures['cpu_percent'] == pytest.approx(10.0)
    assert figures['cpu_percent_a_viewer'] == pytest.approx(5.0)


@pytest.mark.real_programs
async def test_without_anything_between_all_frames_carry_when_they_were_sent() -> None:
    configure_aiortc(loopback=True)
    figures = await direct(1.0)
    assert figures['frames_arrived_percent'] > 0.0
    assert figures['latency_p50_ms'] > 0.0
