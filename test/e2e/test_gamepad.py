"""A person drives a robot with a gamepad, in Chromium and in Firefox."""

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
import json
from typing import Any, Protocol

from browser import OperatorPage
from fake_gamepad import FAKE_PAD, HOLD, LET_GO, PLUG, PRESS_ESTOP, UNPLUG
from firefox import DOUBLE_CLICK_S, firefox, FirefoxPage
from playwright.sync_api import Browser
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

#: How the hand is lost, and how what was lost comes back.
LOSSES = {
    'button released': (
        'void (fakePads.pads[0].buttons[4] = {pressed: false, touched: false, value: 0})',
        'void (fakePads.pads[0].buttons[4] = {pressed: true, touched: true, value: 1})',
    ),
    'unplugged': (UNPLUG, PLUG),
    'not connected': (
        'void (fakePads.pads[0].connected = false)',
        'void (fakePads.pads[0].connected = true)',
    ),
    'no focus': ('void (fakePads.focus = false)', 'void (fakePads.focus = true)'),
    'blurred': ("void window.dispatchEvent(new Event('blur'))", '0'),
    'hidden': (
        """(() => {
            Object.defineProperty(document, 'hidden', {value: true, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        })()""",
        """(() => {
            delete document.hidden;
            document.dispatchEvent(new Event('visibilitychange'));
        })()""",
    ),
    'stale': ('void (fakePads.still = true)', 'void (fakePads.still = false)'),
    'nonsense': ('void (fakePads.pads[0].axes[0] = NaN)', 'void (fakePads.pads[0].axes[0] = 0)'),
}


class Page(Protocol):
    """What both browsers' pages offer here."""

    def evaluate(self, expression: str) -> Any: ...

    def wait_for_state(self, state: str) -> None: ...

    def metrics(self) -> dict[str, Any]: ...

    def click(self, selector: str, *, after_s: float = 0.0) -> None: ...

    def key_down(self, key: str) -> None: ...

    def key_up(self, key: str) -> None: ...


class ChromiumPage:
    """Chromium's page."""

    def __init__(self, browser: Browser, stack: Stack) -> None:
        page = browser.new_page(viewport={'width': 1280, 'height': 800})
        page.add_init_script(f'({FAKE_PAD})()')
        self.operator = OperatorPage(page)
        self.operator.connect(stack.broker.page, stack.robot_id)
        self.wait_for_state = self.operator.wait_for_state
        self.metrics = self.operator.metrics
        self.key_down = page.keyboard.down
        self.key_up = page.keyboard.up

    def evaluate(self, expression: str) -> Any:
        return self.operator.page.evaluate(expression)

    def click(self, selector: str, *, after_s: float = 0.0) -> None:
        if after_s:
            self.operator.page.wait_for_timeout(after_s * 1000)
        self.operator.page.click(selector)


@pytest.fixture(scope='module')
def firefox_page(
    firefox_path: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FirefoxPage]:
    log = tmp_path_factory.mktemp('firefox') / 'firefox.log'
    with firefox(firefox_path, log) as started:
        started.before_each_page(FAKE_PAD)
        yield started


@pytest.fixture(params=['chromium', 'firefox'])
def page(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Page]:
    """Yield the page, connected to the robot; disconnect at the end."""
    if request.param == 'chromium':
        chromium_page = ChromiumPage(request.getfixturevalue('browser'), stack)
        yield chromium_page
        chromium_page.click('#disconnect')
        chromium_page.wait_for_state('idle')
        assert chromium_page.operator.errors == []
        return
    started: FirefoxPage = request.getfixturevalue('firefox_page')
    started.open(stack.broker.page)
    choose(started, stack)
    yield started
    started.click('#disconnect')
    started.wait_for_state('idle')
    assert started.errors() == []


def choose(page: Page, stack: Stack) -> None:
    row = f'#robots button[data-robot-id="{stack.robot_id}"]'
    page.wait_for_state('idle')
    wait_for(
        lambda: page.evaluate(f'document.querySelector({json.dumps(row)}) !== null'), what='a row'
    )
    page.click(row)
    page.click('#connect')
    page.wait_for_state('drivable')


def hold_until(page: Page, moving: Callable[[], object]) -> None:
    """Drive from neutral; a busy machine may have missed that everything was let go."""

    def attempt() -> bool:
        page.evaluate(LET_GO)
        wait_for(lambda: not page.metrics()['lock'], what='no lock on the page')
        page.evaluate(HOLD)
        try:
            return bool(wait_for(moving, timeout_s=3.0, what='motion'))
        except AssertionError:
            return False

    wait_for(attempt, what='motion of the gamepad on cmd_vel')


def assert_stands(page: Page, probe: RosProbe) -> None:
    """No motion in the next commands of the page."""
    wait_for(probe.standing, what='zero on cmd_vel')
    stood, seen = len(probe.commands), page.metrics()['commandsSent']
    wait_for(lambda: page.metrics()['commandsSent'] > seen + 20, what='more commands')
    assert all(command.is_zero for command in probe.commands[stood:])


def test_a_held_gamepad_drives(page: Page, probe: RosProbe) -> None:
    hold_until(page, probe.moving)
    command = probe.last()
    assert command is not None
    assert command.linear_x > 0.0
    assert (command.linear_y, command.angular_z) == (0.0, 0.0)
    page.evaluate('void (fakePads.pads[0].axes = [0, 0, 1, 0])')
    wait_for(lambda: probe.commands[-1].angular_z < 0.0, what='a turn to the right')
    page.evaluate(LET_GO)
    assert_stands(page, probe)


@pytest.mark.parametrize('loss', LOSSES)
def test_a_lost_hand_stops_the_robot_until_neutral(page: Page, probe: RosProbe, loss: str) -> None:
    lose, restore = LOSSES[loss]
    hold_until(page, probe.moving)
    page.evaluate(lose)
    wait_for(probe.standing, what='zero on cmd_vel')
    page.evaluate(restore)
    assert_stands(page, probe)
    hold_until(page, probe.moving)
    page.evaluate(LET_GO)
    assert_stands(page, probe)


def test_the_estop_button_latches(page: Page, probe: RosProbe) -> None:
    hold_until(page, probe.moving)
    page.evaluate(PRESS_ESTOP)
    page.wait_for_state('stopped')
    wait_for(lambda: probe.said('estopped'), what='the latch')
    page.evaluate(LET_GO)
    page.evaluate(HOLD)
    assert_stands(page, probe)
    page.evaluate(LET_GO)
    # Once the robot reports who stopped it, the page says so, which moves the button.
    said = 'document.getElementById("estop-note").textContent !== ""'
    wait_for(lambda: page.evaluate(said), what='who stopped it')
    page.click('#estop-release')
    page.click('#estop-release', after_s=DOUBLE_CLICK_S)
    page.wait_for_state('drivable')
    hold_until(page, probe.moving)
    page.evaluate(LET_GO)
    assert_stands(page, probe)


def test_each_connection_begins_slowly(stack: Stack, page: Page, probe: RosProbe) -> None:
    page.evaluate('void document.activeElement?.blur()')
    for _ in range(2):
        page.key_down('+')
        page.key_up('+')
    shown = 'document.getElementById("speed-value").textContent'
    assert '100 %' in page.evaluate(shown)
    wait_for(lambda: not page.metrics()['lock'], what='no lock on the page')
    page.key_down('w')
    wait_for(probe.moving, what='motion on cmd_vel')
    wait_for(lambda: probe.commands[-1].linear_x > 0.5, what='fast motion')
    page.key_up('w')
    wait_for(probe.standing, what='zero on cmd_vel')
    page.click('#disconnect')
    before = len(probe.commands)
    choose(page, stack)
    assert '30 %' in page.evaluate(shown)
    page.key_down('w')
    wait_for(probe.moving, what='motion on cmd_vel')
    seen = page.metrics()['commandsSent']
    wait_for(lambda: page.metrics()['commandsSent'] > seen + 20, what='more commands')
    page.key_up('w')
    wait_for(probe.standing, what='zero on cmd_vel')
    assert max(command.linear_x for command in probe.commands[before:]) <= 0.3 + 1e-9


def test_the_panel_shows_the_pad_and_why_it_does_not_drive(page: Page) -> None:
    page.evaluate(LET_GO)
    page.click('#gamepad-toggle')

    def says(part: str) -> None:
        verdict = 'document.getElementById("gamepad-verdict").textContent'
        wait_for(lambda: part in page.evaluate(verdict), what=part)

    says('hold a shoulder button')
    assert page.evaluate('document.getElementById("gamepad-axes").children.length') == 4
    page.evaluate('void (fakePads.focus = false)')
    says('focus')
    page.evaluate(
        "void Object.assign(fakePads, {focus: true}), void (fakePads.pads[0].mapping = '')"
    )
    says('unknown')
    page.evaluate("void (fakePads.pads[0].mapping = 'standard')")
    says('hold a shoulder button')
    page.click('#gamepad-toggle')


def test_the_legend_has_the_letters_of_a_us_keyboard_where_the_browser_does_not_tell(
    page: Page,
) -> None:
    letters = '[...document.querySelectorAll(".keys [data-code]")].map((it) => it.textContent)'
    assert page.evaluate(letters) == ['W', 'S', 'A', 'D', 'Q', 'E']
