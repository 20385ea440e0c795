"""One step, and a press that drives until the next one: real Chromium, robot and odometry."""

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

from collections.abc import Callable
from contextlib import suppress
import itertools
import math

from browser import browser_process, kill, OperatorPage
from playwright.sync_api import Browser
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

STEP_M = 0.2
STEP_RAD = math.radians(15.0)
APART_PX = 24


def choose(operator: OperatorPage, mode: str) -> None:
    operator.page.wait_for_selector(
        f'#mode option[value={mode}]:not([disabled])', state='attached'
    )
    operator.page.select_option('#mode', mode)
    wait_for(lambda: not operator.metrics()['lock'], what='no lock on the page')


def moved_m(probe: RosProbe, start: tuple[float, float]) -> float:
    return math.dist(start, probe.poses[-1])


def more_commands(operator: OperatorPage) -> None:
    seen = operator.metrics()['commandsSent']
    wait_for(lambda: operator.metrics()['commandsSent'] > seen + 25, what='commands')


def stands(operator: OperatorPage, probe: RosProbe) -> bool:
    """Whether the page asks for nothing, and the robot has come to rest."""
    if operator.metrics()['sent'][-1]['zero'] is False or probe.moving():
        return False
    if len(probe.headings) <= 5 or abs(probe.headings[-1] - probe.headings[-5]) > 1e-4:
        return False
    return math.dist(probe.poses[-1], probe.poses[-5]) < 1e-4


def until_it_moves(operator: OperatorPage, probe: RosProbe, press: Callable[[], object]) -> None:
    """Press until the robot moves; a busy machine may have needed neutral first."""

    def attempt() -> bool:
        wait_for(lambda: not operator.metrics()['lock'], what='no lock on the page')
        press()
        with suppress(AssertionError):
            return bool(wait_for(probe.moving, timeout_s=3.0))
        return False

    wait_for(attempt, what='motion on cmd_vel')


def whole_step(
    operator: OperatorPage, probe: RosProbe, press: Callable[[], object]
) -> tuple[float, float]:
    """
    Return the metres and radians of a step; none goes too far.

    A gap in the commands ends a step, and a busy machine makes gaps: then it is tried again.
    """
    for _ in range(5):
        wait_for(lambda: stands(operator, probe), what='rest')
        place, heading = probe.poses[-1], probe.headings[-1]
        until_it_moves(operator, probe, press)
        wait_for(lambda: stands(operator, probe), what='the end of the step')
        metres = math.dist(place, probe.poses[-1])
        radians = math.remainder(probe.headings[-1] - heading, math.tau)
        # The simulated base has some inertia.
        assert metres <= STEP_M + 0.05
        assert abs(radians) <= STEP_RAD + 0.06
        if metres >= STEP_M - 0.05 or abs(radians) >= STEP_RAD - 0.06:
            return metres, radians
    raise AssertionError('no whole step in five attempts')


def test_one_press_moves_the_robot_by_one_step(operator: OperatorPage, probe: RosProbe) -> None:
    choose(operator, 'step')

    def hold() -> None:
        # Auto-repeat of a key that is held is no second press.
        operator.page.keyboard.up('KeyW')
        for _ in range(5):
            operator.page.keyboard.down('KeyW')

    assert whole_step(operator, probe, hold)[0] == pytest.approx(STEP_M, abs=0.05)
    operator.page.keyboard.up('KeyW')
    # The same by a button, for one hand and for switches; Space would be the E-STOP.
    operator.page.focus('#directions button[data-code=KeyS]')
    metres, _ = whole_step(operator, probe, lambda: operator.page.keyboard.press('Enter'))
    assert metres == pytest.approx(STEP_M, abs=0.05)


@pytest.mark.parametrize(('code', 'sign'), [('KeyA', 1.0), ('KeyD', -1.0)])
def test_one_press_turns_the_robot_by_one_step(
    operator: OperatorPage, probe: RosProbe, code: str, sign: float
) -> None:
    choose(operator, 'step')
    metres, radians = whole_step(operator, probe, lambda: operator.page.keyboard.press(code))
    assert radians == pytest.approx(sign * STEP_RAD, abs=0.06)
    assert metres < 0.01


def test_tab_reaches_the_direction_buttons_and_a_held_enter_is_one_press(
    operator: OperatorPage, probe: RosProbe
) -> None:
    choose(operator, 'step')
    focused = 'document.activeElement?.dataset?.code ?? ""'
    codes = []
    # Once around the page; it has fewer elements than that.
    for _ in range(40):
        operator.page.keyboard.press('Tab')
        codes.append(operator.page.evaluate(focused))
        if codes[-1] == 'KeyW':
            break
    assert codes[-1] == 'KeyW', 'Tab does not reach the button'
    seen = 0

    def hold() -> None:
        nonlocal seen
        operator.page.keyboard.up('Enter')
        seen = len(probe.commands)
        for _ in range(12):
            operator.page.keyboard.down('Enter')

    metres, _ = whole_step(operator, probe, hold)
    operator.page.keyboard.up('Enter')
    more_commands(operator)
    zeros = [command.is_zero for command in probe.commands[seen:]]
    starts = sum(was and not now for was, now in itertools.pairwise([True, *zeros]))
    assert starts == 1
    assert metres == pytest.approx(STEP_M, abs=0.05)


def test_the_browser_remembers_the_mode(stack: Stack, operator: OperatorPage) -> None:
    page = operator.page
    assert page.input_value('#mode') == 'hold'
    assert page.is_hidden('#directions')
    choose(operator, 'step')
    # The address differs only in its fragment: to open it again would not load the page anew.
    page.goto('about:blank')
    operator.connect(stack.broker.page, stack.robot_id)
    assert page.input_value('#mode') == 'step'
    assert page.get_attribute('#directions', 'hidden') is None


@pytest.mark.parametrize('size', [(1280, 800), (800, 360), (360, 800), (320, 256)])
def test_no_direction_is_next_to_the_estop(operator: OperatorPage, size: tuple[int, int]) -> None:
    choose(operator, 'step')
    operator.page.set_viewport_size({'width': size[0], 'height': size[1]})
    more_commands(operator)
    estop = operator.page.locator('#estop').bounding_box()
    assert estop is not None
    boxes = [it.bounding_box() for it in operator.page.locator('#directions button').all()]
    # A phone on its side and a page magnified four times have no room for them.
    assert [box is not None for box in boxes] == [size[1] >= 701] * 6
    for box in filter(None, boxes):
        assert min(box['width'], box['height']) >= 44.0
        is_apart = (
            box['x'] + box['width'] + APART_PX <= estop['x']
            or box['y'] + box['height'] + APART_PX <= estop['y']
        )
        assert is_apart, (box, estop)
        # Whoever has the buttons must be able to choose another mode.
        assert operator.page.is_visible('#mode')


def test_a_cancelled_step_is_shorter(operator: OperatorPage, probe: RosProbe) -> None:
    choose(operator, 'step')
    operator.page.locator('#speed').fill('10')
    wait_for(lambda: stands(operator, probe), what='rest')
    start = probe.poses[-1]
    until_it_moves(operator, probe, lambda: operator.page.keyboard.press('KeyW'))
    operator.page.keyboard.press('Escape')
    wait_for(lambda: stands(operator, probe), what='rest')
    assert moved_m(probe, start) < 0.75 * STEP_M


def test_a_press_drives_until_the_next_one_or_until_the_page_is_left(
    operator: OperatorPage, probe: RosProbe
) -> None:
    choose(operator, 'toggle-20')

    def goes_on() -> bool:
        until_it_moves(operator, probe, lambda: operator.page.keyboard.press('KeyA'))
        begun = len(probe.commands)
        more_commands(operator)
        return not any(command.is_zero for command in probe.commands[begun:])

    for end in ('press', 'blur', 'Escape'):
        wait_for(goes_on, what='motion without a hand on the key')
        if end == 'press':
            operator.page.keyboard.press('KeyA')
        elif end == 'Escape':
            operator.page.keyboard.press(end)
        else:
            operator.page.evaluate("window.dispatchEvent(new Event('blur'))")
        wait_for(probe.standing, what='zero on cmd_vel')


def test_a_toggle_that_is_abandoned_stops_by_itself(
    operator: OperatorPage, probe: RosProbe
) -> None:
    choose(operator, 'toggle-5')
    until_it_moves(operator, probe, lambda: operator.page.keyboard.press('KeyA'))
    wait_for(probe.standing, what='zero on cmd_vel')
    stood = len(probe.commands)
    more_commands(operator)
    assert all(command.is_zero for command in probe.commands[stood:])


def test_a_page_that_is_killed_in_a_step_stops_the_robot(
    stack: Stack, probe: RosProbe, browser: Browser
) -> None:
    operator = OperatorPage(browser.new_page())
    operator.connect(stack.broker.page, stack.robot_id)
    choose(operator, 'step')
    operator.page.locator('#speed').fill('10')
    wait_for(lambda: stands(operator, probe), what='rest')
    start = probe.poses[-1]
    until_it_moves(operator, probe, lambda: operator.page.keyboard.press('KeyW'))
    kill(browser_process())
    wait_for(probe.standing, what='zero on cmd_vel')
    stood = len(probe.commands)
    wait_for(lambda: probe.state == 'connected', what='no operator')
    assert all(command.is_zero for command in probe.commands[stood:])
    assert moved_m(probe, start) < 0.75 * STEP_M
