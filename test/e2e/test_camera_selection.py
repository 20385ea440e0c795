"""An operator switches between two cameras in a real Chromium."""

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

from collections.abc import Callable, Iterator
from typing import Any

from browser import difference, OperatorPage
from playwright.sync_api import Browser, expect
from programs import wait_for
import pytest
from ros_probe import ros_node
from stack import running_stack, Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

FRONT, REAR = '/camera/image_raw', '/camera_rear/image_raw'
OPTIONS = (
    *('-p', 'cameras:=[front, rear]'),
    *('-p', 'front.topic:=camera/image_raw'),
    *('-p', 'rear.topic:=camera_rear/image_raw'),
)
#: No overlay: its instruments would move even in the picture of a standing robot.
SMALL = tuple(
    word for option in ('width:=640', 'height:=360', 'overlay:=false') for word in ('-p', option)
)
SINGLE, BOTH = 640 / 360, 1280 / 360
"""Aspect ratios; on a busy machine the rate control makes pictures smaller."""
SEEN = 8.0
"""Mean difference in grey values that means another picture, not another encoding of it."""


@pytest.fixture(scope='module')
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp('stack'), *OPTIONS, robot=SMALL) as running:
        yield running


@pytest.fixture(scope='module')
def node() -> Iterator[Any]:
    with ros_node() as node:
        yield node


def until(condition: Callable[[], Any], *, what: str) -> None:
    """Wait for a condition for as long as a busy machine may take."""
    wait_for(condition, what=what, timeout_s=60.0)


def has_shape(operator: OperatorPage, shape: float) -> bool:
    metrics = operator.metrics()
    return bool(abs(metrics['width'] / max(1, metrics['height']) / shape - 1.0) < 0.05)


def selected(operator: OperatorPage) -> list[str]:
    state = operator.metrics()['telemetry'].get('state', {})
    return list(state.get('selected', []))


def shown(operator: OperatorPage, what: Callable[[], bool]) -> list[int]:
    """Wait for a condition on the picture, and then until the picture is sharp; return it."""
    until(what, what='another picture')
    seen = operator.metrics()['framesPresented']
    until(lambda: operator.metrics()['framesPresented'] > seen + 15, what='frames')
    return operator.picture()


def test_the_operator_sees_the_camera_that_they_select_on_the_same_connection(
    operator: OperatorPage, node: Any
) -> None:
    page = operator.page
    front = shown(operator, lambda: operator.metrics()['framesPresented'] > 5)
    assert has_shape(operator, SINGLE)
    until(lambda: selected(operator) == ['front'], what='telemetry')
    until(lambda: node.count_subscribers(FRONT) == 1, what='subscription')
    assert node.count_subscribers(REAR) == 0
    page.evaluate("document.querySelector('#video').srcObject.getVideoTracks()[0].kept = true")

    page.click('#cameras [data-camera="rear"]')
    rear = shown(operator, lambda: difference(front, operator.picture()) > SEEN)
    assert selected(operator) == ['rear']
    until(lambda: node.count_subscribers(FRONT) == 0, what='end of the subscription')
    assert node.count_subscribers(REAR) == 1

    page.click('#cameras .several')
    shown(operator, lambda: has_shape(operator, BOTH))
    for name in ('front', 'rear'):
        expect(page.locator(f'#cameras [data-camera="{name}"]')).to_have_attribute(
            'aria-pressed', 'true'
        )
    left, right = halves(operator)
    # Compare the camera, not the sharpness: on a busy machine the picture becomes coarse.
    assert difference(front, left) < difference(rear, left)
    assert difference(rear, right) < difference(front, right)
    until(lambda: node.count_subscribers(FRONT) == 1, what='subscription')

    page.keyboard.press('Digit1')
    again = shown(operator, lambda: has_shape(operator, SINGLE))
    assert difference(front, again) < difference(rear, again)
    until(lambda: node.count_subscribers(REAR) == 0, what='end of the subscription')
    # The first track is still playing: nothing was renegotiated.
    assert page.evaluate("document.querySelector('#video').srcObject.getVideoTracks()[0].kept")
    assert page.evaluate('document.body.dataset.state') == 'drivable'


def halves(operator: OperatorPage) -> tuple[list[int], list[int]]:
    """Return the left or right half of the picture, as :meth:`OperatorPage.picture` does."""
    return tuple(
        operator.page.evaluate(
            """left => {
                const video = document.querySelector('#video');
                const canvas = new OffscreenCanvas(32, 18);
                const context = canvas.getContext('2d', {willReadFrequently: true});
                const half = video.videoWidth / 2;
                const place = [left ? 0 : half, 0, half, video.videoHeight];
                context.drawImage(video, ...place, 0, 0, 32, 18);
                const pixels = context.getImageData(0, 0, 32, 18).data;
                return Array.from({length: 32 * 18}, (_, i) => pixels[4 * i + 1]);
            }""",
            left,
        )
        for left in (True, False)
    )


def test_who_watches_sees_what_the_operator_selects_and_has_no_switch(
    operator: OperatorPage, browser: Browser, stack: Stack
) -> None:
    until(lambda: selected(operator) == ['front'], what='telemetry')
    operator.page.keyboard.press('Digit2')
    until(lambda: selected(operator) == ['rear'], what='the rear camera')
    viewer = OperatorPage(browser.new_page())
    viewer.page.goto(stack.broker.page)
    viewer.page.click(f'#robots button[data-robot-id="{stack.robot_id}"]', timeout=60_000)
    viewer.page.click('#watch')
    viewer.wait_for_state('watching')
    until(lambda: viewer.metrics()['framesPresented'] > 5, what='frames for the viewer')
    until(lambda: difference(operator.picture(), viewer.picture()) < SEEN, what='the same picture')
    until(lambda: viewer.metrics()['cameras'] == ['front', 'rear'], what='telemetry')
    expect(viewer.page.locator('#cameras')).to_be_hidden()
    viewer.page.keyboard.press('Digit1')
    operator.page.wait_for_timeout(500)
    assert selected(operator) == ['rear']
    viewer.page.close()
