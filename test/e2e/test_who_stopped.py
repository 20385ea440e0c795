"""The page shows who stopped the robot and who watches: a real robot, a partly fake broker."""

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
import json
import time
from typing import Any

from browser import DESKTOP, OperatorPage
from playwright.sync_api import Browser, expect, Page, Route
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import ROBOT_ID, running_stack, Stack
from std_msgs.msg import Bool

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

LONG_NAME = 'Wolfeschlegelsteinhausenbergerdorff.von-der-Nachtschicht.Nord-22'
"""The longest name that a broker accepts."""
LONGER_NOTE = f'#estop-note::after {{ content: " {"W" * 40}" }}'
SIZES = {
    'desktop': DESKTOP,
    'window': {'width': 1000, 'height': 640},
    'upright phone': {'width': 390, 'height': 844},
    'phone on its side': {'width': 844, 'height': 390},
    'small phone on its side': {'width': 667, 'height': 375},
}
PEOPLE = [
    {'operator_id': '<b>ann</b>', 'role': 'viewer'},
    *({'operator_id': f'guest{number}', 'role': 'viewer'} for number in range(9)),
]


@pytest.fixture(scope='module')
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Begin with a robot that a viewer stopped before its restart."""
    folder = tmp_path_factory.mktemp('stack')
    latch = folder / 'ros' / 'teleop_webrtc_bridge' / f'{ROBOT_ID}.estop'
    latch.parent.mkdir(parents=True)
    by = {'sub': LONG_NAME, 'role': 'viewer'}
    latch.write_text(json.dumps({'by': by, 'since_s': time.time()}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_HOME', str(folder / 'ros'))
        options = ('-r', 'image:=camera/image_raw', '-p', 'estop_persist:=true')
        with running_stack(folder, *options) as running:
            yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[OperatorPage]:
    context = browser.new_context(viewport=DESKTOP)
    page = OperatorPage(context.new_page())
    yield page
    assert page.errors == []
    context.close()


def play(page: Page, pattern: str, **fields: Any) -> None:
    """Add fields to the broker's answers to some calls."""

    def answer(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        route.fulfill(response=response, json=body | fields if response.ok else body)

    page.route(pattern, answer)


def select(page: Page, stack: Stack) -> None:
    page.goto(stack.broker.page)
    page.click(f'#robots button[data-robot-id="{stack.robot_id}"]', timeout=60_000)


def state_is(page: OperatorPage, *states: str) -> None:
    page.page.wait_for_function(
        'states => states.includes(document.body.dataset.state)', arg=states, timeout=60_000
    )


def release(page: OperatorPage) -> None:
    page.page.click('#estop-release')
    page.page.click('#estop-release')
    page.wait_for_state('drivable')


def top_at(page: Page, selector: str) -> bool:
    """Return whether an element is completely visible and a press on its middle reaches it."""
    return bool(
        page.evaluate(
            """selector => {
                const element = document.querySelector(selector);
                const {left, top, right, bottom} = element.getBoundingClientRect();
                const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
                const inside = left >= 0 && top >= 0 && right <= innerWidth &&
                    bottom <= innerHeight;
                return inside && element.contains(hit);
            }""",
            selector,
        )
    )


def test_who_drives_and_who_watches_reads_who_stopped_the_robot(
    stack: Stack, page: OperatorPage, probe: RosProbe, browser: Browser
) -> None:
    note, message = page.page.locator('#estop-note'), page.page.locator('#message')
    select(page.page, stack)
    page.page.click('#connect')
    page.wait_for_state('stopped')
    expect(message).to_contain_text(f'Stopped by {LONG_NAME}, viewer.')
    expect(note).to_have_text(f'by {LONG_NAME[:17]}…, viewer')
    expect(page.page.locator('#estop-state')).to_have_text('STOPPED')
    release(page)
    expect(note).to_have_text('')

    button = probe.node.create_publisher(Bool, 'teleop_bridge/estop_in', 10)
    wait_for(lambda: button.get_subscription_count() > 0, what='~/estop_in')
    button.publish(Bool(data=True))
    page.wait_for_state('stopped')
    expect(note).to_have_text('by /teleop_bridge/estop_in on the robot')
    watcher = OperatorPage(browser.new_context(viewport=DESKTOP).new_page())
    select(watcher.page, stack)
    watcher.page.click('#watch')
    watcher.wait_for_state('stopped')
    expect(watcher.page.locator('#message')).to_have_text(
        'Stopped by /teleop_bridge/estop_in on the robot. '
        'Only the operator who drives can release it.'
    )
    watcher.page.click('#disconnect')
    probe.node.destroy_publisher(button)
    release(page)
    page.page.click('#disconnect')


@pytest.mark.parametrize('size', SIZES.values(), ids=SIZES)
def test_the_estop_stays_in_reach_whatever_is_shown(
    stack: Stack, page: OperatorPage, probe: RosProbe, size: Any
) -> None:
    page.page.set_viewport_size(size)
    play(page.page, '**/status', watching=PEOPLE)
    select(page.page, stack)
    page.page.click('#connect')
    state_is(page, 'stopped', 'drivable')
    if page.page.evaluate('document.body.dataset.state') == 'drivable':
        page.page.click('#estop')
        page.wait_for_state('stopped')
    expect(page.page.locator('#estop-note')).not_to_have_text('')
    # The name of whoever it was may have the maximum length.
    page.page.evaluate('rule => document.styleSheets[0].insertRule(rule)', LONGER_NOTE)
    page.page.click('#watchers-toggle')
    first = page.page.locator('#watchers-list .put-out').first
    expect(first).to_be_visible()
    for selector in ('#estop', '#estop-release', '#disconnect', '#watchers-list .put-out'):
        assert top_at(page.page, selector), selector
    first.click()
    expect(first).to_have_text('Press again')
    assert top_at(page.page, '#estop')
    release(page)
    assert top_at(page.page, '#estop')
    page.page.click('#disconnect')


def test_a_viewer_is_put_out_with_two_presses(stack: Stack, page: OperatorPage) -> None:
    calls: list[tuple[str, Any]] = []

    def removed(route: Route) -> None:
        calls.append((route.request.url, route.request.post_data_json))
        route.fulfill(json={'removed': 1})

    play(page.page, '**/status', watching=PEOPLE)
    page.page.route('**/remove-viewer', removed)
    select(page.page, stack)
    page.page.click('#connect')
    state_is(page, 'stopped', 'drivable')
    toggle = page.page.locator('#watchers-toggle')
    expect(toggle).to_have_text('Watched by <b>ann</b> and 9 more')
    assert page.page.locator('#watchers b').count() == 0, 'names are text'
    toggle.click()
    row = page.page.locator('#watchers-list li').first
    expect(row.locator('span')).to_have_text('<b>ann</b>, viewer')
    row.locator('.put-out').dblclick()
    expect(row.locator('.put-out')).to_have_text('Press again')
    assert calls == [], 'a double click is one decision'
    row.locator('.put-out').click()
    wait_for(lambda: page.page.evaluate('1') and calls, what='the call')
    ((url, body),) = calls
    session = page.metrics()['sessionId']
    assert url.endswith(f'/api/v1/sessions/{session}/remove-viewer')
    assert body == PEOPLE[0]
    page.page.click('#disconnect')


def test_who_was_put_out_reads_why_and_knocks_no_more(stack: Stack, page: OperatorPage) -> None:
    reason = 'You were removed by the operator of this robot; you may come back in 600 s'
    joins: list[str] = []
    polls: list[str] = []
    page.page.on('request', lambda it: joins.append(it.url) if it.url.endswith('/join') else None)
    page.page.on(
        'request', lambda it: polls.append(it.url) if it.url.endswith('/sessions') else None
    )
    select(page.page, stack)
    page.page.click('#watch')
    state_is(page, 'stopped', 'watching')
    assert len(joins) == 1
    page.page.route('**/op-heartbeat', lambda route: route.fulfill(status=403, json={}))
    page.page.route(
        '**/join',
        lambda route: route.fulfill(
            status=403, json={'detail': reason}, headers={'Retry-After': '600'}
        ),
    )
    page.wait_for_state('error')
    expect(page.page.locator('#message')).to_have_text(reason)
    seen = len(polls)
    wait_for(lambda: page.page.evaluate('1') and len(polls) >= seen + 2, what='the list')
    assert len(joins) == 2, 'one that was refused, and no more'
    assert page.page.evaluate('document.body.dataset.state') == 'error'


def test_a_viewer_who_may_not_stop_sees_that_and_why(
    stack: Stack, page: OperatorPage, probe: RosProbe
) -> None:
    select(page.page, stack)
    page.page.click('#connect')
    state_is(page, 'stopped', 'drivable')
    if page.page.evaluate('document.body.dataset.state') == 'stopped':
        release(page)
    page.page.click('#disconnect')
    page.wait_for_state('idle')
    play(page.page, '**/join', may_stop=False)
    page.page.click('#watch')
    page.wait_for_state('watching')
    button = page.page.locator('#estop')
    expect(button).to_have_attribute('aria-disabled', 'true')
    expect(page.page.locator('#estop-note')).to_have_text('Viewers may not stop this robot.')
    button.click(force=True)
    page.page.keyboard.press('Space')
    expect(page.page.locator('#estop-state')).to_have_text('')
    assert page.metrics()['estop'] == 'clear'
    assert probe.said('estopped') is False
    page.page.click('#disconnect')
    # An operator's setting is not queried.
    page.wait_for_state('idle')
    page.page.click('#connect')
    page.wait_for_state('drivable')
    expect(button).to_have_attribute('aria-disabled', 'false')
    page.page.click('#disconnect')
