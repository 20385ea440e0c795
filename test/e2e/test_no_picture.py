"""Browsers without H.264, and pages that show no picture."""

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

from browser import OperatorPage
from playwright.sync_api import Browser, expect, Route
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

WITHOUT_H264 = """
const addTransceiver = RTCPeerConnection.prototype.addTransceiver;
RTCPeerConnection.prototype.addTransceiver = function (kind, options) {
    const transceiver = addTransceiver.call(this, kind, options);
    const { codecs } = RTCRtpReceiver.getCapabilities('video');
    transceiver.setCodecPreferences(codecs.filter((it) => it.mimeType !== 'video/H264'));
    return transceiver;
};
"""
WITH_AV1_ONLY = WITHOUT_H264.replace("!== 'video/H264'", "=== 'video/AV1'")
SLOW = 0.3
"""``blind_speed_factor`` of the maximum, in m/s; the page requests half of the maximum."""


def page_with(browser: Browser, script: str) -> OperatorPage:
    context = browser.new_context(viewport={'width': 1280, 'height': 800})
    context.add_init_script(script)
    return OperatorPage(context.new_page())


def leave(page: OperatorPage) -> None:
    page.page.click('#disconnect')
    page.wait_for_state('idle')
    assert page.errors == []
    page.page.context.close()


def codec(page: OperatorPage) -> str | None:
    stats = page.metrics()['videoStats']
    return None if stats is None else str(stats['codec'])


def watch(page: OperatorPage, stack: Stack) -> None:
    page.page.goto(stack.broker.page)
    page.page.click(f'#robots button[data-robot-id="{stack.robot_id}"]', timeout=60_000)
    page.page.click('#watch')
    page.wait_for_state('watching')


def sees(page: OperatorPage, name: str) -> None:
    """Wait until the page shows pictures of a codec."""
    wait_for(lambda: codec(page) == name, what=f'{name} on the page')
    frames = page.metrics()['framesPresented']
    wait_for(lambda: page.metrics()['framesPresented'] > frames + 10, what='pictures')
    assert page.metrics()['width'] > 0


def drives_at_more_than(probe: RosProbe, speed: float) -> bool:
    command = probe.last()
    return command is not None and command.linear_x > speed


def test_a_browser_without_h264_gets_vp8_and_others_with_it(
    stack: Stack, browser: Browser, probe: RosProbe
) -> None:
    viewer = page_with(browser, '')
    watch(viewer, stack)
    sees(viewer, 'H264')
    operator = page_with(browser, WITHOUT_H264)
    operator.connect(stack.broker.page, stack.robot_id)
    operator.choose_speed(100)
    sees(operator, 'VP8')
    sees(viewer, 'VP8')
    # On a busy machine the page may lock again for lack of pictures, and require neutral.
    wait_for(
        lambda: operator.let_go_and_press(lambda: drives_at_more_than(probe, SLOW + 0.1)),
        what='full speed',
    )
    operator.page.keyboard.up('KeyW')
    leave(operator)
    sees(viewer, 'H264')
    leave(viewer)


def test_a_viewer_whose_browser_cannot_take_what_is_sent_is_told_so(
    stack: Stack, browser: Browser, operator: OperatorPage
) -> None:
    sees(operator, 'H264')
    viewer = page_with(browser, WITHOUT_H264)
    watch(viewer, stack)
    expect(viewer.page.locator('#message')).to_have_text(
        'No picture: this robot sends H.264 for its operator, and this browser takes VP8 only.',
        timeout=60_000,
    )
    leave(viewer)


def without_video(route: Route) -> None:
    """Open the channels but offer no picture, as when a browser supports no codec that is sent."""
    answer = route.fetch()
    nothing = {'video_offer': None, 'video_status': 'pull_error', 'video_reason': 'No picture.'}
    route.fulfill(response=answer, json=answer.json() | nothing)


def test_a_page_that_shows_no_picture_drives_slowly_and_says_why(
    stack: Stack, browser: Browser, probe: RosProbe
) -> None:
    page = page_with(browser, '')
    page.page.route('**/bridge-datachannel', without_video)
    page.connect(stack.broker.page, stack.robot_id)
    page.choose_speed(100)
    page.page.keyboard.down('KeyW')
    wait_for(lambda: drives_at_more_than(probe, SLOW - 0.05), what='motion')

    def tells(name: str) -> bool:
        return bool(page.metrics()['telemetry'].get('state', {}).get(name))

    wait_for(lambda: all(map(tells, ('moving', 'blind', 'blind_page'))), what='blindness')
    assert (page.metrics()['lock'], page.metrics()['picture']) == (None, False)
    expect(page.page.locator('#message')).to_have_text(
        'This robot sends no picture. The robot is slowed or stopped.', timeout=60_000
    )
    page.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')
    assert max(command.linear_x for command in probe.commands[-50:]) <= SLOW + 1e-6
    leave(page)


def test_a_browser_that_takes_neither_drives_slowly_and_stops(
    stack: Stack, browser: Browser, probe: RosProbe
) -> None:
    page = page_with(browser, WITH_AV1_ONLY)
    page.connect(stack.broker.page, stack.robot_id)
    page.choose_speed(100)
    expect(page.page.locator('#message')).to_contain_text(
        'No picture: this robot sends H.264 and VP8 only, and this browser takes neither.',
        timeout=60_000,
    )
    page.page.keyboard.down('KeyW')
    wait_for(lambda: drives_at_more_than(probe, SLOW - 0.05), what='motion')
    page.page.keyboard.press('Space')
    page.wait_for_state('stopped')
    page.page.keyboard.up('KeyW')
    wait_for(probe.standing, what='zero on cmd_vel')
    page.page.click('#estop-release')
    page.page.click('#estop-release')
    page.wait_for_state('drivable')
    leave(page)
