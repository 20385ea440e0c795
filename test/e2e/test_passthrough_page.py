"""Passed-through H.264 of a camera, in every supported profile, in a real Chromium."""

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

from collections.abc import Iterator

from browser import OperatorPage
from coded_camera import coded_camera
from programs import wait_for
import pytest
from stack import running_stack, Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

WIDTH, HEIGHT = 640, 360
STEPS = [23 + 12 * number for number in range(16)]
"""The mean brightnesses of the scene's pictures."""
OFF = 4.0
"""Tolerance for coding and scaling; half of a step is 6."""


@pytest.fixture(scope='module')
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = ('-p', 'image_transport:=h264')
    with running_stack(tmp_path_factory.mktemp('stack'), *options) as running:
        yield running


def step(operator: OperatorPage) -> int | None:
    """Return which of the scene's brightnesses the page shows."""
    pixels = operator.picture()
    mean = sum(pixels) / len(pixels)
    near = min(range(16), key=lambda number: abs(STEPS[number] - mean))
    return near if abs(STEPS[near] - mean) < OFF else None


@pytest.mark.parametrize('profile', ['Baseline', 'Main', 'High'])
def test_chromium_shows_what_the_camera_encoded(
    operator: OperatorPage, stack: Stack, profile: str
) -> None:
    with coded_camera(profile, WIDTH, HEIGHT, 30):
        presented = operator.metrics()['framesPresented']
        wait_for(
            lambda: operator.metrics()['framesPresented'] > presented + 30,
            what='frames',
            timeout_s=60.0,
        )
        assert (operator.metrics()['width'], operator.metrics()['height']) == (WIDTH, HEIGHT)
        seen: set[int | None] = set()

        def changes() -> bool:
            seen.add(step(operator))
            return len(seen - {None}) >= 6

        wait_for(changes, what='the scene', timeout_s=60.0)
        before = operator.metrics()['framesPresented']
        wait_for(
            lambda: operator.metrics()['framesPresented'] > before + 60,
            what='more frames',
            timeout_s=60.0,
        )
    assert 'image dropped' not in stack.bridge.output()
