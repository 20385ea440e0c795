"""The whole page by keyboard alone: pick a robot, drive, stop, release, leave."""

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

import io
from typing import Any

import av
from browser import DESKTOP, OperatorPage
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, expect, Page
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

Luminances = NDArray[np.float64]
# Once around the page; it has fewer elements than that.
ALL = 40
MARGIN_PX = 8
FOCUSED = """() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const {left, top, right, bottom, width, height} = element.getBoundingClientRect();
    const places = [0.1, 0.5, 0.9].flatMap((x) => [0.2, 0.5, 0.8].map((y) => [x, y]));
    const style = getComputedStyle(element);
    return {
        name: element.id || element.dataset.code || element.dataset.robotId || element.className ||
            element.textContent,
        box: [left, top, width, height],
        isInside: left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight,
        covered: places.filter(([x, y]) => {
            const hit = document.elementFromPoint(left + x * width, top + y * height);
            return !(element.contains(hit) || hit?.contains(element));
        }),
        outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
    };
}"""
OUTLINE = "isOn => document.activeElement.style.outlineColor = isOn ? '' : 'transparent'"


def luminances(page: Page, box: list[float]) -> Luminances:
    """Return how light the element and what is around it are, as WCAG 2.2 defines it."""
    clip: Any = {
        'x': max(0.0, box[0] - MARGIN_PX),
        'y': max(0.0, box[1] - MARGIN_PX),
        'width': box[2] + 2 * MARGIN_PX,
        'height': box[3] + 2 * MARGIN_PX,
    }
    with av.open(io.BytesIO(page.screenshot(clip=clip)), 'r', format='png_pipe') as container:
        frame = next(container.decode(video=0))
    rgb = frame.to_ndarray(format='rgb24') / 255.0
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


def indicated_px(page: Page, box: list[float]) -> int:
    """Return how many pixels differ by 3:1 or more with the focus indicator and without."""
    shown = luminances(page, box)
    page.evaluate(OUTLINE, False)
    plain = luminances(page, box)
    page.evaluate(OUTLINE, True)
    brighter, darker = np.maximum(shown, plain) + 0.05, np.minimum(shown, plain) + 0.05
    return int(np.count_nonzero(brighter >= 3.0 * darker))


def tab_to(page: Page, name: str) -> None:
    """Press Tab until an element has the focus; check the indicator at each stop."""
    for _ in range(ALL):
        page.keyboard.press('Tab')
        at = page.evaluate(FOCUSED)
        if at is None:
            continue
        assert at['isInside'], at
        assert at['covered'] == [], at
        assert at['outline'] >= 2.0, at
        # An outline of two pixels around the box.
        assert indicated_px(page, at['box']) >= 2 * (at['box'][2] + at['box'][3]), at
        if at['name'] == name:
            return
    raise AssertionError(f'Tab does not reach {name}')


def test_a_drive_by_keyboard_alone(browser: Browser, stack: Stack, probe: RosProbe) -> None:
    context = browser.new_context(viewport=DESKTOP, locale='en-US')
    operator = OperatorPage(context.new_page())
    page = operator.page
    page.goto(stack.broker.page)
    robot = page.locator(f'#robots button[data-robot-id="{stack.robot_id}"]')
    expect(robot).to_be_visible(timeout=60_000)
    tab_to(page, stack.robot_id)
    page.keyboard.press('Enter')
    tab_to(page, 'connect')
    page.keyboard.press('Enter')
    operator.wait_for_state('drivable')
    tab_to(page, 'mode')
    # The last one is offered once the robot has told that it knows steps.
    expect(page.locator('#mode option[value=step]')).to_be_enabled(timeout=30_000)
    page.keyboard.press('End')
    expect(page.locator('#mode')).to_have_value('step')
    tab_to(page, 'speed')
    before = page.locator('#speed').input_value()
    page.keyboard.press('ArrowRight')
    expect(page.locator('#speed')).not_to_have_value(before)
    wait_for(lambda: not operator.metrics()['lock'], what='no lock on the page')
    tab_to(page, 'KeyW')
    page.keyboard.press('Enter')
    wait_for(probe.moving, what='motion on cmd_vel')
    operator.wait_for_state('drivable')
    tab_to(page, 'estop')
    page.keyboard.press('Enter')
    operator.wait_for_state('stopped')
    tab_to(page, 'estop-release')
    for _ in range(2):
        page.keyboard.press('Enter')
    operator.wait_for_state('drivable')
    tab_to(page, 'disconnect')
    page.keyboard.press('Enter')
    operator.wait_for_state('idle')
    assert operator.errors == []
    context.close()
