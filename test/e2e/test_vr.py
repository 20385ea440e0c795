"""A person drives a robot from a VR headset, which iwer emulates in Chromium."""

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
import signal
from typing import Any

from headset import HeadsetPage, HOLD, LET_GO, LOSSES, RESUME_FRAMES, STOP_FRAMES
from playwright.sync_api import Browser
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

CAMERA = 'teleop_webrtc_bridge.demo.simulated_robot'


@pytest.fixture
def vr(stack: Stack, browser: Browser) -> Iterator[HeadsetPage]:
    """Yield the page in the headset; disconnect at the end."""
    page = HeadsetPage(browser, stack)
    page.enter()
    yield page
    page.press('#disconnect')
    page.operator.wait_for_state('idle')
    page.wait_for_vr('')
    assert page.operator.errors == []


def link(page: HeadsetPage) -> tuple[Any, ...]:
    """Return what a new connection would change."""
    seen = page.evaluate('[peers.length, peers.at(-1).connectionState]')
    return page.metrics()['sessionId'], *seen


def assert_stands(page: HeadsetPage, probe: RosProbe) -> None:
    """No motion in the next commands of the page."""
    wait_for(probe.standing, what='zero on cmd_vel')
    stood, seen = len(probe.commands), page.metrics()['commandsSent']
    wait_for(lambda: page.metrics()['commandsSent'] > seen + 20, what='more commands')
    assert all(command.is_zero for command in probe.commands[stood:])


def test_held_controllers_drive(vr: HeadsetPage, probe: RosProbe) -> None:
    vr.hold_until(probe.moving)
    command = probe.last()
    assert command is not None
    assert command.linear_x > 0.0
    assert (command.linear_y, command.angular_z) == (0.0, 0.0)
    # A busy machine may have needed neutral in between.
    vr.hold_until(
        lambda: probe.commands[-1].angular_z < 0.0,
        also="headset.controllers.right.updateAxes('thumbstick', 1, 0)",
    )
    vr.evaluate(LET_GO)
    assert_stands(vr, probe)


def test_the_grip_can_be_made_optional(vr: HeadsetPage, probe: RosProbe) -> None:
    stick = "headset.controllers.left.updateAxes('thumbstick', 0, -1)"
    vr.evaluate(stick)
    assert_stands(vr, probe)
    vr.evaluate(LET_GO)
    vr.press('#gamepad-toggle')
    vr.page.locator('#gamepad-actions button', has_text='Hold to drive').dispatch_event('click')
    wait_for(lambda: vr.metrics()['vr'] == 'ready', what='no need for a grip')
    vr.hold_until(probe.moving, hold=stick)
    vr.evaluate(LET_GO)
    assert_stands(vr, probe)


@pytest.mark.parametrize('loss', LOSSES)
def test_a_lost_hand_stops_the_robot_until_neutral(
    vr: HeadsetPage, probe: RosProbe, loss: str
) -> None:
    lose, restore, why = LOSSES[loss]
    vr.hold_until(probe.moving)
    vr.evaluate(lose)
    wait_for(lambda: vr.metrics()['vr'] == why, what=why)
    wait_for(probe.standing, what='zero on cmd_vel')
    vr.evaluate(restore)
    vr.evaluate(HOLD)
    assert_stands(vr, probe)
    vr.hold_until(probe.moving)
    vr.evaluate(LET_GO)
    assert_stands(vr, probe)


@pytest.mark.parametrize('visibility', ['visible', 'visible-blurred', 'hidden'])
def test_the_robot_stops_without_frames(vr: HeadsetPage, probe: RosProbe, visibility: str) -> None:
    vr.hold_until(probe.moving)
    vr.evaluate(STOP_FRAMES)
    vr.evaluate(f"headset.updateVisibilityState('{visibility}')")
    # With its values as they were, and from a timer that no frame drives.
    why = 'no-frames' if visibility == 'visible' else 'not-visible'
    wait_for(lambda: vr.metrics()['vr'] == why, what=why)
    wait_for(probe.standing, what='zero on cmd_vel')
    assert_stands(vr, probe)
    # The page's chain of frames is broken: a new session, still held.
    vr.evaluate(RESUME_FRAMES)
    vr.leave()
    vr.evaluate("headset.updateVisibilityState('visible')")
    vr.enter()
    vr.evaluate(HOLD)
    assert_stands(vr, probe)
    vr.hold_until(probe.moving)
    vr.evaluate(LET_GO)
    assert_stands(vr, probe)


def test_the_end_of_the_session_stops_the_robot_and_keeps_the_connection(
    vr: HeadsetPage, probe: RosProbe
) -> None:
    before = link(vr)
    vr.hold_until(probe.moving)
    vr.leave()
    assert vr.metrics()['vr'] == 'no-session'
    assert_stands(vr, probe)
    vr.enter()
    assert_stands(vr, probe)
    vr.hold_until(probe.moving)
    vr.evaluate(LET_GO)
    assert_stands(vr, probe)
    assert link(vr) == before


def test_after_vr_the_keyboard_drives(vr: HeadsetPage, probe: RosProbe) -> None:
    before = link(vr)
    vr.press('#vr')
    vr.wait_for_vr('')
    wait_for(lambda: vr.operator.let_go_and_press(probe.moving), what='motion of the keyboard')
    vr.page.keyboard.up('KeyW')
    assert_stands(vr, probe)
    assert link(vr) == before


@pytest.mark.parametrize('hand', ['left', 'right'])
def test_the_upper_button_of_either_hand_latches(
    vr: HeadsetPage, probe: RosProbe, hand: str
) -> None:
    vr.hold_until(probe.moving)
    button = 'y-button' if hand == 'left' else 'b-button'
    vr.evaluate(f"headset.controllers.{hand}.updateButtonValue('{button}', 1)")
    wait_for_latch(vr, probe)
    vr.evaluate(f"headset.controllers.{hand}.updateButtonValue('{button}', 0)")
    vr.evaluate(LET_GO)
    vr.evaluate(HOLD)
    assert_stands(vr, probe)
    release_on_the_page(vr)


def test_a_ray_on_the_block_latches(vr: HeadsetPage, probe: RosProbe) -> None:
    vr.hold_until(probe.moving)
    trigger = "headset.controllers.right.updateButtonValue('trigger', {})"
    # Elsewhere, the trigger does nothing.
    vr.evaluate(aim(0.0, 1.5, -1.6))
    vr.evaluate(trigger.format(1))
    vr.page.wait_for_timeout(300)
    vr.evaluate(trigger.format(0))
    assert vr.metrics()['estop'] == 'clear'
    vr.evaluate(aim(0.52, 0.945, -1.6))
    vr.evaluate(trigger.format(1))
    wait_for_latch(vr, probe)
    vr.evaluate(trigger.format(0))
    assert_stands(vr, probe)
    vr.evaluate(LET_GO)
    release_on_the_page(vr)


def aim(x: float, y: float, z: float) -> str:
    """Return a script that holds the right controller straight before a place."""
    return f"""(() => {{
        const {{right}} = headset.controllers;
        right.position.set({x}, {y}, {z} + 1);
        right.quaternion.set(0, 0, 0, 1);
    }})()"""


def wait_for_latch(vr: HeadsetPage, probe: RosProbe) -> None:
    wait_for(lambda: probe.said('estopped'), what='the latch')
    vr.operator.wait_for_state('stopped')


def release_on_the_page(vr: HeadsetPage) -> None:
    """Take the headset off: nothing in it releases the E-STOP."""
    vr.evaluate(LET_GO)
    vr.leave()
    said = 'document.getElementById("estop-note").textContent !== ""'
    wait_for(lambda: vr.evaluate(said), what='who stopped it')
    vr.page.click('#estop-release')
    vr.page.wait_for_timeout(600)
    vr.page.click('#estop-release')
    vr.operator.wait_for_state('drivable')


def test_a_frozen_picture_stops_the_robot_although_the_page_is_not_drawn(
    stack: Stack, vr: HeadsetPage, probe: RosProbe
) -> None:
    (camera,) = (it for it in stack.programs.running if CAMERA in str(it.process.args))
    # What a browser may do while the headset shows something else than the page.
    vr.evaluate('void (HTMLVideoElement.prototype.requestVideoFrameCallback = () => 0)')
    presented = vr.metrics()['framesPresented']
    wait_for(
        lambda: vr.metrics()['framesPresented'] > presented + 40, what='frames of the headset'
    )
    assert vr.metrics()['picture'] is True
    vr.hold_until(probe.moving)
    camera.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: vr.metrics()['lock'] == 'video', what='the lock')
        assert_stands(vr, probe)
    finally:
        camera.process.send_signal(signal.SIGCONT)
    wait_for(lambda: vr.metrics()['lock'] == 'neutral', what='the picture')
    assert_stands(vr, probe)
    vr.hold_until(probe.moving)
    vr.evaluate(LET_GO)
    assert_stands(vr, probe)
