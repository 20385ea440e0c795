"""What axe-core finds on the page in each of its states: nothing."""

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

from axe import findings
from browser import DESKTOP, OperatorPage
from fake_gamepad import FAKE_PAD
from playwright.sync_api import Browser, expect, Page, Route, ViewportSize
import pytest
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

SIZES: tuple[ViewportSize, ...] = (
    DESKTOP,
    {'width': 390, 'height': 844},
    {'width': 844, 'height': 390},
    {'width': 320, 'height': 256},
)
PEOPLE = [{'operator_id': name, 'role': 'viewer'} for name in ('ann', 'bob')]
GONE = {'detail': 'Session not found'}


@pytest.fixture
def visitor(browser: Browser) -> Iterator[OperatorPage]:
    """Yield a page that is not open yet."""
    context = browser.new_context(viewport=DESKTOP, locale='en-US')
    page = OperatorPage(context.new_page())
    yield page
    assert page.errors == []
    context.close()


def check(page: Page) -> None:
    """Fail if axe-core finds anything, at any size."""
    found = []
    for size in SIZES:
        page.set_viewport_size(size)
        found += [f'{size["width"]}x{size["height"]}: {it}' for it in findings(page)]
    page.set_viewport_size(SIZES[0])
    assert found == [], '\n'.join(found)


def play(page: Page, pattern: str, **fields: Any) -> None:
    """Add fields to the broker's answers to some calls."""

    def answer(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        route.fulfill(response=response, json=body | fields if response.ok else body)

    page.route(pattern, answer)


def hold(page: Page, pattern: str) -> None:
    """Never answer some calls."""
    page.route(pattern, lambda route: None)


def select(page: Page, stack: Stack) -> None:
    page.goto(stack.broker.page)
    page.click(f'#robots button[data-robot-id="{stack.robot_id}"]', timeout=60_000)


def signed_out(visitor: OperatorPage, stack: Stack) -> None:
    visitor.page.goto(stack.broker.url)
    visitor.wait_for_state('signed-out')


def no_robots(visitor: OperatorPage, stack: Stack) -> None:
    visitor.page.route('**/sessions', lambda route: route.fulfill(json=[]))
    visitor.page.goto(stack.broker.page)
    expect(visitor.page.locator('#list-status')).to_be_hidden()


def robots(visitor: OperatorPage, stack: Stack) -> None:
    select(visitor.page, stack)


def connecting(visitor: OperatorPage, stack: Stack) -> None:
    hold(visitor.page, '**/join')
    select(visitor.page, stack)
    visitor.page.click('#connect')
    visitor.wait_for_state('connecting')


def drivable(visitor: OperatorPage, stack: Stack) -> None:
    visitor.connect(stack.broker.page, stack.robot_id)


def driving(visitor: OperatorPage, stack: Stack) -> None:
    drivable(visitor, stack)
    visitor.page.select_option('#mode', 'toggle-20')
    visitor.page.keyboard.press('KeyA')
    visitor.wait_for_state('driving')


def stopped(visitor: OperatorPage, stack: Stack) -> None:
    drivable(visitor, stack)
    visitor.page.keyboard.press('Space')
    expect(visitor.page.locator('#estop-note')).not_to_be_empty()


def watching(visitor: OperatorPage, stack: Stack) -> None:
    select(visitor.page, stack)
    visitor.page.click('#watch')
    visitor.wait_for_state('watching')
    expect(visitor.page.locator('#control')).to_be_visible()


def reconnecting(visitor: OperatorPage, stack: Stack) -> None:
    drivable(visitor, stack)
    hold(visitor.page, '**/sessions')
    visitor.page.route('**/op-heartbeat', lambda route: route.fulfill(status=404, json=GONE))
    visitor.wait_for_state('reconnecting')


def refused(visitor: OperatorPage, stack: Stack) -> None:
    visitor.page.route(
        '**/join', lambda route: route.fulfill(status=409, json={'detail': 'In use by ann'})
    )
    select(visitor.page, stack)
    visitor.page.click('#connect')
    visitor.wait_for_state('error')


def open_panels(visitor: OperatorPage, stack: Stack) -> None:
    play(visitor.page, '**/status', watching=PEOPLE, control_request='bob')
    visitor.page.add_init_script(f'({FAKE_PAD})()')
    drivable(visitor, stack)
    visitor.page.select_option('#mode', 'toggle-20')
    for panel in ('watchers', 'gamepad'):
        visitor.page.click(f'#{panel}-toggle')
    expect(visitor.page.locator('#control-action')).to_have_text('Grant control')
    expect(visitor.page.locator('#gamepad-axes li').first).to_be_visible()


STATES = (
    *(signed_out, no_robots, robots, connecting, drivable, driving, stopped, watching),
    *(reconnecting, refused, open_panels),
)


@pytest.mark.parametrize('reach', STATES, ids=lambda reach: reach.__name__)
def test_axe_finds_nothing(
    visitor: OperatorPage, stack: Stack, reach: Callable[[OperatorPage, Stack], None]
) -> None:
    reach(visitor, stack)
    try:
        check(visitor.page)
    finally:
        if reach is stopped:
            for _ in range(2):
                visitor.page.click('#estop-release')
            visitor.wait_for_state('drivable')


@pytest.mark.parametrize('name', ['stop.html', 'stop.de.html'])
def test_axe_finds_nothing_on_the_page_about_the_stop(
    visitor: OperatorPage, stack: Stack, name: str
) -> None:
    visitor.page.goto(f'{stack.broker.url}/{name}')
    check(visitor.page)


#: Elements with a text of their own that does not fit into them. What is as long as a person likes
#: (a robot's name) ends in an ellipsis.
CUT_OFF = """() => [...document.querySelectorAll('body *')].filter((it) => {
    // What only a screen reader gets is one pixel wide.
    const isShown = it.checkVisibility({visibilityProperty: true}) && it.clientWidth > 1;
    const hasText = [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!isShown || !hasText) return false;
    if (it.closest('.robot-label, .primary, .readings, option')) return false;
    const {left, right} = it.getBoundingClientRect();
    const isCut = getComputedStyle(it).overflowX !== 'visible' && it.scrollWidth > it.clientWidth;
    return isCut || left < 0 || right > innerWidth;
}).map((it) => `${it.id || it.className || it.tagName}: ${it.textContent}`)"""


@pytest.mark.parametrize('reach', [signed_out, robots, drivable, stopped])
def test_no_german_text_is_cut_off(
    browser: Browser, stack: Stack, reach: Callable[[OperatorPage, Stack], None]
) -> None:
    context = browser.new_context(viewport=DESKTOP, locale='de-DE')
    visitor = OperatorPage(context.new_page())
    reach(visitor, stack)
    assert visitor.page.evaluate('document.documentElement.lang') == 'de'
    for size in SIZES:
        visitor.page.set_viewport_size(size)
        assert visitor.page.evaluate(CUT_OFF) == [], size
    visitor.page.set_viewport_size(DESKTOP)
    if reach is stopped:
        for _ in range(2):
            visitor.page.click('#estop-release')
        visitor.wait_for_state('drivable')
    assert visitor.errors == []
    context.close()
