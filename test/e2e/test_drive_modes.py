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

import math

from browser import OperatorPage
from programs import wait_for
import pytest
from ros_probe import RosProbe

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

STEP_M = 0.2


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
    return len(probe.poses) > 5 and math.dist(probe.poses[-1], probe.poses[-5]) < 1e-4


def test_one_press_moves_the_robot_by_one_step(operator: OperatorPage, probe: RosProbe) -> None:
    choose(operator, 'step')
    wait_for(lambda: stands(operator, probe), what='rest')
    start = probe.poses[-1]
    # Auto-repeat of a key that is held is no second press.
    for _ in range(5):
        operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    wait_for(lambda: stands(operator, probe), what='the end of the step')
    operator.page.keyboard.up('KeyW')
    # The simulated base has some inertia.
    assert moved_m(probe, start) == pytest.approx(STEP_M, abs=0.05)
    # The same by a button, for one hand and for switches; Space would be the E-STOP.
    start = probe.poses[-1]
    operator.page.focus('#directions button[data-code=KeyS]')
    operator.page.keyboard.press('Enter')
    wait_for(probe.moving, what='motion on cmd_vel')
    wait_for(lambda: stands(operator, probe), what='the end of the step')
    assert moved_m(probe, start) == pytest.approx(STEP_M, abs=0.05)


def test_a_cancelled_step_is_shorter(operator: OperatorPage, probe: RosProbe) -> None:
    choose(operator, 'step')
    operator.page.locator('#speed').fill('10')
    wait_for(lambda: stands(operator, probe), what='rest')
    start = probe.poses[-1]
    operator.page.keyboard.press('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    operator.page.keyboard.press('Escape')
    wait_for(lambda: stands(operator, probe), what='rest')
    assert moved_m(probe, start) < 0.75 * STEP_M


def test_a_press_drives_until_the_next_one_or_until_the_page_is_left(
    operator: OperatorPage, probe: RosProbe
) -> None:
    choose(operator, 'toggle-20')
    for end in ('press', 'blur'):
        wait_for(lambda: not operator.metrics()['lock'], what='no lock on the page')
        operator.page.keyboard.press('KeyA')
        wait_for(probe.moving, what='motion on cmd_vel')
        more_commands(operator)
        assert probe.moving(), 'without a hand on the key'
        if end == 'press':
            operator.page.keyboard.press('KeyA')
        else:
            operator.page.evaluate("window.dispatchEvent(new Event('blur'))")
        wait_for(probe.standing, what='zero on cmd_vel')


def test_a_toggle_that_is_abandoned_stops_by_itself(
    operator: OperatorPage, probe: RosProbe
) -> None:
    choose(operator, 'toggle-5')
    operator.page.keyboard.press('KeyA')
    wait_for(probe.moving, what='motion on cmd_vel')
    wait_for(probe.standing, what='zero on cmd_vel')
    stood = len(probe.commands)
    more_commands(operator)
    assert all(command.is_zero for command in probe.commands[stood:])
