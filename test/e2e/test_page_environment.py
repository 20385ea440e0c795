"""What the page asks of its browser while it drives, and what a screen reader hears."""

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

from browser import DESKTOP, OperatorPage
from playwright.sync_api import Browser
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

#: Notes the locks. Headless browsers grant none.
WAKE_LOCK = """(() => {
    const locks = window.wakeLocks = [];
    Object.defineProperty(navigator, 'wakeLock', {value: {
        request: async () => {
            const lock = Object.assign(new EventTarget(), {
                released: false,
                release: async () => {
                    lock.released = true;
                    lock.dispatchEvent(new Event('release'));
                },
            });
            locks.push(lock);
            return lock;
        },
    }});
})()"""
#: Notes what is written into the live regions.
LISTEN = """() => {
    window.heard = [];
    for (const region of document.querySelectorAll('[aria-live], [role=alert], [role=status]')) {
        new MutationObserver(() => heard.push([region.id, region.textContent]))
            .observe(region, {childList: true, characterData: true, subtree: true});
    }
}"""


@pytest.fixture
def operator(stack: Stack, browser: Browser) -> Iterator[OperatorPage]:
    page = OperatorPage(browser.new_page(viewport=DESKTOP))
    page.page.add_init_script(WAKE_LOCK)
    page.connect(stack.broker.page, stack.robot_id)
    yield page
    assert page.errors == []


def awake(operator: OperatorPage) -> list[Any]:
    """Return for each lock whether it is held."""
    return list(operator.page.evaluate('wakeLocks.map((it) => !it.released)'))


def test_the_screen_stays_on_while_a_robot_can_be_driven(operator: OperatorPage) -> None:
    wait_for(lambda: awake(operator) == [True], what='the lock')
    # A browser takes it back when the page is hidden, or the battery low.
    operator.page.evaluate('void wakeLocks[0].release()')
    operator.page.evaluate("void document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(lambda: awake(operator) == [False, True], what='another one')
    operator.page.click('#disconnect')
    operator.wait_for_state('idle')
    wait_for(lambda: awake(operator) == [False, False], what='its release')


def test_a_screen_reader_hears_changes_and_no_figures(
    operator: OperatorPage, probe: RosProbe
) -> None:
    page = operator.page
    wait_for(lambda: not operator.metrics()['lock'], what='no lock on the page')
    page.evaluate(LISTEN)
    page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    seen = operator.metrics()['framesPresented']
    wait_for(lambda: operator.metrics()['framesPresented'] > seen + 60, what='frames')
    page.keyboard.up('KeyW')
    operator.wait_for_state('drivable')
    # On a busy machine, the robot may have stopped and gone on.
    changes = page.evaluate('heard')
    assert ['state', 'Driving'] in changes
    assert {region for region, _ in changes} <= {'state', 'message', 'estop-note'}
    assert not [said for _, said in changes if any(it.isdigit() for it in said)]
    assert len(changes) <= 10
    page.click('#disconnect')
    operator.wait_for_state('idle')
