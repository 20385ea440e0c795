"""What the page does when it cannot see the robot, or when the robot does not confirm a stop."""

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

import signal

from browser import OperatorPage
from playwright.sync_api import expect
from programs import wait_for
import psutil
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

FROZEN = 'teleop_webrtc_bridge.demo.simulated_robot'


def commands_sent(operator: OperatorPage, more: int) -> None:
    """Wait until the page has sent this many more commands, whatever their content."""
    before = operator.metrics()['commandsSent']
    wait_for(lambda: operator.metrics()['commandsSent'] > before + more, what='commands')


def test_a_frozen_picture_stops_the_robot_until_neutral(
    stack: Stack, operator: OperatorPage, probe: RosProbe
) -> None:
    (camera,) = (it for it in stack.programs.running if FROZEN in str(it.process.args))
    operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    camera.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: operator.metrics()['lock'] == 'video', what='the lock')
        wait_for(probe.standing, what='zero on cmd_vel')
        stopped = len(probe.commands)
        commands_sent(operator, 25)
    finally:
        camera.process.send_signal(signal.SIGCONT)
    # The picture moves again, and the key is still held.
    wait_for(lambda: operator.metrics()['lock'] == 'neutral', what='the picture')
    commands_sent(operator, 25)
    assert all(command.is_zero for command in probe.commands[stopped:])
    wait_for(lambda: operator.let_go_and_press(probe.moving), what='motion after neutral')
    operator.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')


def test_an_estop_that_the_robot_does_not_confirm_says_so_until_it_does(
    stack: Stack, operator: OperatorPage, probe: RosProbe
) -> None:
    said = operator.page.locator('#estop-state')
    (half,) = psutil.Process(stack.bridge.pid).children()
    half.send_signal(signal.SIGSTOP)
    try:
        operator.page.click('#estop')
        expect(said).to_have_text('NOT CONFIRMED', timeout=60_000)
    finally:
        half.send_signal(signal.SIGCONT)
    wait_for(lambda: probe.said('estopped'), what='the latch')
    operator.wait_for_state('stopped')
    expect(said).to_have_text('STOPPED')
    operator.page.click('#estop-release')
    operator.page.click('#estop-release')
    operator.wait_for_state('drivable')
