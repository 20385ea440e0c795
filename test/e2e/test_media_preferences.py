"""What remains recognisable with more contrast, forced colours, or reduced motion."""

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
from typing import Any

from axe import findings
from browser import DESKTOP, OperatorPage
from playwright.sync_api import Browser, expect, Page
import pytest
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

MEDIA: dict[str, dict[str, Any]] = {
    'contrast': {'contrast': 'more'},
    'forced-colors': {'forced_colors': 'active'},
    'reduced-motion': {'reduced_motion': 'reduce'},
}
STYLE = """([selector, property]) =>
    getComputedStyle(document.querySelector(selector))[property]"""
# At once, because the page's program soon shows its own state again.
SHOW = """values => {
    Object.assign(document.body.dataset, values);
    const style = (selector) => getComputedStyle(document.querySelector(selector));
    return {
        lamp: style('.lamp').backgroundColor,
        cap: style('.estop-cap').backgroundImage,
        name: style('.estop-name').color,
        running: document.getAnimations().filter((it) => it.playState === 'running').length,
    };
}"""


@pytest.fixture
def operator(browser: Browser, stack: Stack) -> Iterator[OperatorPage]:
    """Yield the list of robots, with one of them chosen; nothing is connected."""
    context = browser.new_context(viewport=DESKTOP, locale='en-US')
    operator = OperatorPage(context.new_page())
    operator.page.goto(stack.broker.page)
    operator.page.click(f'#robots button[data-robot-id="{stack.robot_id}"]', timeout=60_000)
    yield operator
    assert operator.errors == []
    context.close()


def found(page: Page, media: str) -> list[str]:
    """Return axe-core's findings; it does not know the colours that a browser forces."""
    is_forced = media == 'forced-colors'
    return [it for it in findings(page) if not (is_forced and it.startswith('color-contrast'))]


def style(page: Page, selector: str, name: str) -> str:
    return str(page.evaluate(STYLE, [selector, name]))


@pytest.mark.parametrize('media', MEDIA)
def test_axe_finds_nothing(operator: OperatorPage, media: str) -> None:
    operator.page.emulate_media(**MEDIA[media])
    assert found(operator.page, media) == []
    operator.page.click('#connect')
    operator.wait_for_state('drivable')
    assert found(operator.page, media) == []
    operator.page.click('#disconnect')
    operator.wait_for_state('idle')


def test_forced_colours_leave_the_stop_the_state_and_the_focus(operator: OperatorPage) -> None:
    page = operator.page
    page.emulate_media(forced_colors='active')
    shown = [
        page.evaluate(SHOW, {'view': 'drive', 'state': state, 'estop': estop, 'reach': 'ready'})
        for state, estop in (('drivable', 'clear'), ('driving', 'clear'), ('stopped', 'stopped'))
    ]
    assert len({it['lamp'] for it in shown}) == 3
    assert len({it['cap'] for it in shown}) == 2
    assert {it['name'] for it in shown} == {'rgb(255, 255, 255)'}
    page.focus('#connect')
    page.keyboard.press('Tab')
    assert float(style(page, ':focus', 'outlineWidth').removesuffix('px')) >= 2.0
    expect(page.locator('#connect')).to_be_enabled()
    enabled = style(page, '#connect', 'color')
    page.evaluate("document.querySelector('#connect').disabled = true")
    assert style(page, '#connect', 'color') != enabled


def test_more_contrast_leaves_no_muted_text(operator: OperatorPage) -> None:
    page = operator.page
    before = style(page, '.fine-print', 'color')
    page.emulate_media(contrast='more')
    assert style(page, '.fine-print', 'color') == style(page, 'body', 'color') != before


def test_nothing_moves_under_reduced_motion(operator: OperatorPage) -> None:
    page = operator.page
    alarm = {'state': 'reconnecting', 'estop': 'not-confirmed'}
    assert page.evaluate(SHOW, alarm)['running'] > 0
    page.emulate_media(reduced_motion='reduce')
    assert page.evaluate(SHOW, alarm)['running'] == 0
