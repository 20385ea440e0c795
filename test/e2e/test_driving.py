"""A person drives a robot from a browser: real processes, real DDS, real Chromium."""

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

import time
from typing import Any

from browser import browser_process, difference, kill, OperatorPage
from playwright.sync_api import Browser, expect
from programs import wait_for
import psutil
import pytest
from ros_probe import RosProbe
from stack import Stack
from std_srvs.srv import SetBool, Trigger

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]


def wait_for_picture(operator: OperatorPage) -> None:
    wait_for(lambda: operator.metrics()['framesPresented'] > 5, what='frames on the page')


def test_the_page_shows_the_picture_that_the_robot_publishes(operator: OperatorPage) -> None:
    wait_for_picture(operator)
    metrics = operator.metrics()
    assert (metrics['width'], metrics['height']) == (1280, 720)
    assert max(operator.picture()) - min(operator.picture()) > 50
    expect(operator.page.locator('#path')).to_have_text('direct', timeout=30_000)


def test_holding_w_drives_forward_and_releasing_stops(
    operator: OperatorPage, probe: RosProbe
) -> None:
    start = len(probe.commands)
    operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    command = probe.last()
    assert command is not None
    assert command.linear_x > 0.0
    assert command.linear_y == 0.0
    assert command.angular_z == 0.0
    assert command.frame_id == 'base_link'
    assert abs(time.time() - command.stamp_s) < 3600.0, 'by the same clock'
    operator.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')
    stamps = [command.stamp_s for command in probe.commands[start:]]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    ('key', 'axis', 'sign'),
    [
        ('KeyS', 'linear_x', -1),
        ('KeyA', 'angular_z', 1),
        ('KeyD', 'angular_z', -1),
        ('KeyQ', 'linear_y', 1),
        ('KeyE', 'linear_y', -1),
    ],
)
def test_each_key_moves_its_axis(
    operator: OperatorPage, probe: RosProbe, key: str, axis: str, sign: int
) -> None:
    operator.page.keyboard.down(key)
    wait_for(probe.moving, what='motion on cmd_vel')
    assert getattr(probe.last(), axis) * sign > 0.0
    operator.page.keyboard.up(key)
    wait_for(probe.standing, what='zero on cmd_vel')


def test_the_picture_changes_as_the_robot_drives(operator: OperatorPage, probe: RosProbe) -> None:
    wait_for_picture(operator)
    before = operator.picture()
    wait_for(lambda: len(probe.poses) > 0, what='odometry')
    operator.page.keyboard.down('KeyA')

    def turned() -> bool:
        # A busy machine may have stopped the robot for a moment: then only a new press counts.
        if operator.metrics()['lock'] == 'neutral':
            operator.page.keyboard.up('KeyA')
            operator.page.keyboard.down('KeyA')
        return difference(before, operator.picture()) > 15.0

    wait_for(turned, what='another picture')
    operator.page.keyboard.up('KeyA')
    wait_for(probe.standing, what='zero on cmd_vel')


def test_losing_the_focus_stops_the_robot(operator: OperatorPage, probe: RosProbe) -> None:
    operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    operator.page.evaluate("window.dispatchEvent(new Event('blur'))")
    wait_for(probe.standing, what='zero on cmd_vel')
    stood, seen = len(probe.commands), operator.metrics()['lastCommandSeq']
    # The key is still down on the keyboard and repeats, which must not move the robot.
    for _ in range(5):
        operator.page.keyboard.down('KeyW')
    wait_for(lambda: operator.metrics()['lastCommandSeq'] > seen + 10, what='more commands')
    assert all(command.is_zero for command in probe.commands[stood:])
    # Only a new press counts.
    wait_for(lambda: operator.let_go_and_press(probe.moving), what='motion after a new press')
    operator.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')


def test_estop_stops_and_stays_stopped_until_it_is_released(
    operator: OperatorPage, probe: RosProbe
) -> None:
    operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    operator.page.click('#estop')
    operator.wait_for_state('stopped')
    wait_for(lambda: probe.said('estopped'), what='the latch')
    latched = len(probe.commands)
    operator.page.keyboard.up('KeyW')
    operator.page.keyboard.down('KeyW')
    # Zeros go on at 20 Hz while the latch holds.
    wait_for(lambda: len(probe.commands) > latched + 20, what='zeros')
    assert all(command.is_zero for command in probe.commands[latched:])
    operator.page.keyboard.up('KeyW')
    operator.page.click('#estop-release')
    operator.page.click('#estop-release')
    operator.wait_for_state('drivable')
    operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion after the release')
    operator.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')


def test_the_page_says_why_the_robot_does_not_obey(
    operator: OperatorPage, probe: RosProbe
) -> None:
    enable = probe.node.create_client(SetBool, 'teleop_bridge/enable')
    stop = probe.node.create_client(Trigger, 'teleop_bridge/stop')
    message = operator.page.locator('#message')
    try:
        operator.page.keyboard.down('KeyW')
        wait_for(probe.moving, what='motion on cmd_vel')
        call(enable, SetBool.Request(data=False))
        expect(message).to_have_text('Driving is disabled at the robot.', timeout=60_000)
        assert probe.standing()
        call(enable, SetBool.Request(data=True))
        # Enabled again, with the key still held: neutral first, and the page knows it.
        expect(message).to_have_text('Release all controls to drive.', timeout=60_000)
        wait_for(lambda: operator.let_go_and_press(probe.moving), what='motion after neutral')
        call(stop, Trigger.Request())
        expect(message).to_have_text('Release all controls to drive.', timeout=60_000)
        assert probe.standing()
    finally:
        operator.page.keyboard.up('KeyW')
        for client in (enable, stop):
            probe.node.destroy_client(client)


def call(client: Any, request: Any) -> None:
    """Call a service of the bridge."""
    wait_for(client.service_is_ready, what=client.srv_name)
    future = client.call_async(request)
    wait_for(future.done, what=client.srv_name)
    assert future.result().success


def test_killing_the_webrtc_process_stops_the_robot_until_neutral(
    stack: Stack, operator: OperatorPage, probe: RosProbe
) -> None:
    operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    (child,) = psutil.Process(stack.bridge.pid).children()
    child.kill()
    wait_for(probe.standing, what='zero on cmd_vel')
    operator.page.wait_for_function("() => document.body.dataset.state !== 'driving'")
    operator.wait_for_state('drivable')
    # A new connection with the key still held: the robot stands.
    stopped = len(probe.commands)
    wait_for(lambda: operator.metrics()['commandsSent'] > 0, what='commands')
    before = operator.metrics()['commandsSent']
    wait_for(lambda: operator.metrics()['commandsSent'] > before + 25, what='commands')
    assert all(command.is_zero for command in probe.commands[stopped:])
    wait_for(lambda: operator.let_go_and_press(probe.moving), what='motion after neutral')
    operator.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')


def test_killing_the_browser_stops_the_robot(
    stack: Stack, probe: RosProbe, browser: Browser
) -> None:
    page = OperatorPage(browser.new_page())
    page.connect(stack.broker.page, stack.robot_id)
    page.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    kill(browser_process())
    wait_for(probe.standing, what='zero on cmd_vel')
    moves = [command for command in probe.commands if not command.is_zero]
    zero = next(command for command in probe.commands if command.stamp_s > moves[-1].stamp_s)
    # `benchmark.stop_times` measures the time until it comes.
    assert zero.is_zero
    wait_for(lambda: probe.state == 'connected', what='the operator is lost')
    assert probe.said('reason') == 'the operator left'
    # The bridge is silent afterwards: others may use the topic.
    after = wait_for(lambda: time.monotonic() - probe.commands[-1].arrival_s > 0.5, what='silence')
    assert after


def test_the_robot_can_be_driven_again_after_an_operator_was_lost(
    operator: OperatorPage, probe: RosProbe
) -> None:
    operator.page.keyboard.down('KeyW')
    wait_for(probe.moving, what='motion on cmd_vel')
    operator.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')
