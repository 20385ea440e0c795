"""
A person drives a robot from Firefox with its default settings.

Firefox hides its addresses behind mDNS names, signals the end of its candidates in the offer, and
keeps the numbers that it once assigned to codecs and header extensions. Debian's Firefox has no
H.264, so the robot switches to VP8.
"""

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
import math
from pathlib import Path

from browser import GREY_VALUES
from firefox import DOUBLE_CLICK_S, firefox, FirefoxPage
from programs import wait_for
import pytest
from ros_probe import RosProbe
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

READINGS = ('rtt', 'fps', 'resolution', 'bitrate', 'commands')


@pytest.fixture(scope='module')
def page(
    firefox_path: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FirefoxPage]:
    """Sign in with the broker's link."""
    with firefox(firefox_path, tmp_path_factory.mktemp('firefox') / 'firefox.log') as started:
        started.open(stack.broker.page)
        yield started


@pytest.fixture
def operator(stack: Stack, page: FirefoxPage) -> Iterator[FirefoxPage]:
    """Yield the page, connected to the robot; disconnect at the end."""
    choose(page, stack.robot_id)
    page.wait_for_state('drivable')
    yield page
    page.click('#disconnect')
    page.wait_for_state('idle')
    assert page.errors() == []


def choose(page: FirefoxPage, robot_id: str) -> None:
    page.wait_for_state('idle')
    page.click(f'#robots button[data-robot-id="{robot_id}"]')
    page.click('#connect')


def choose_mode(page: FirefoxPage, mode: str) -> None:
    page.evaluate(
        f'document.getElementById("mode").value = "{mode}",'
        'document.getElementById("mode").dispatchEvent(new Event("change"))'
    )


def shown(name: str) -> str:
    """Return the JavaScript expression for the text of an element."""
    return f'document.getElementById("{name}").textContent'


def test_the_picture_is_shown_and_goes_on(operator: FirefoxPage) -> None:
    operator.wait_until('teleop.metrics().framesPresented > 5')
    frames = operator.metrics()['framesPresented']
    operator.wait_until(f'teleop.metrics().framesPresented > {frames} + 10')
    grey = operator.evaluate(f'({GREY_VALUES})()')
    assert max(grey) - min(grey) > 50
    # The robot sends a smaller picture while its machine is busy.
    assert operator.metrics()['width'] * 720 == operator.metrics()['height'] * 1280 > 0


def test_the_readings_are_figures_or_a_dash(operator: FirefoxPage) -> None:
    operator.wait_until('teleop.metrics().videoStats?.kbps > 0 && teleop.metrics().rttMs !== null')
    for name in READINGS:
        operator.wait_until(f'/^[0-9]/.test({shown(name)})')
    operator.wait_until(f'{shown("path")} === "direct"')
    # Firefox does not expose the capture time of a frame.
    assert operator.evaluate(shown('latency')) == '–'
    stats = operator.metrics()['videoStats']
    assert stats['codec'] == 'VP8'
    assert stats['decoder'] is None
    counted = {'fps', 'kbps', 'loss_pct', 'jitter_ms', 'jitter_buffer_ms', 'decode_ms'}
    assert all(isinstance(stats[name], int | float) for name in counted), stats
    text = operator.evaluate('document.body.innerText')
    assert not [word for word in ('NaN', 'undefined', 'null', 'Infinity') if word in text]


def test_holding_w_drives_and_releasing_stops(operator: FirefoxPage, probe: RosProbe) -> None:
    operator.key_down('w')
    wait_for(probe.moving, what='motion on cmd_vel')
    command = probe.last()
    assert command is not None
    assert command.linear_x > 0.0
    assert command.angular_z == 0.0
    operator.key_up('w')
    wait_for(probe.standing, what='zero on cmd_vel')


def test_one_press_is_one_step(operator: FirefoxPage, probe: RosProbe) -> None:
    operator.wait_until('!document.querySelector("#mode [value=step]").disabled')
    choose_mode(operator, 'step')
    operator.wait_until('!teleop.metrics().lock')
    wait_for(lambda: len(probe.poses) > 5, what='odometry')
    start = probe.poses[-1]
    # Down for longer than the step lasts.
    operator.key_down('w')
    wait_for(probe.moving, what='motion on cmd_vel')
    wait_for(probe.standing, what='the end of the step')
    operator.wait_until('teleop.metrics().sent.at(-1).zero')
    operator.key_up('w')
    wait_for(lambda: math.dist(probe.poses[-1], probe.poses[-5]) < 1e-4, what='rest')
    assert math.dist(start, probe.poses[-1]) == pytest.approx(0.2, abs=0.05)
    choose_mode(operator, 'hold')


@pytest.mark.parametrize('stop', ['button', 'space'])
def test_estop_is_acknowledged_and_stays(
    operator: FirefoxPage, probe: RosProbe, stop: str
) -> None:
    operator.key_down('w')
    wait_for(probe.moving, what='motion on cmd_vel')
    if stop == 'button':
        operator.click('#estop')
    else:
        operator.press(' ')
    operator.wait_for_state('stopped')
    wait_for(lambda: probe.said('estopped'), what='the latch')
    latched = len(probe.commands)
    operator.key_up('w')
    operator.key_down('w')
    # Zeros go on at 20 Hz while the latch holds.
    wait_for(lambda: len(probe.commands) > latched + 10, what='zeros')
    assert all(command.is_zero for command in probe.commands[latched:])
    operator.key_up('w')
    # Once the robot reports who stopped it, the page says so, which moves the button.
    operator.wait_until(f'{shown("estop-note")} !== ""')
    operator.click('#estop-release')
    operator.wait_until('teleop.metrics().estop === "confirm-release"')
    # Soon after the first click it would be a double click, which counts as one press.
    operator.click('#estop-release', after_s=DOUBLE_CLICK_S)
    operator.wait_for_state('drivable')
    wait_for(lambda: probe.said('estopped') is False, what='no latch')


def test_leaving_gives_the_robot_back(
    stack: Stack, operator: FirefoxPage, probe: RosProbe
) -> None:
    wait_for(lambda: probe.state == 'operated', what='an operator')
    # Leave without the button: another page is opened in the same tab.
    operator.open('about:blank')
    wait_for(lambda: probe.state == 'connected', what='no operator')
    assert probe.said('reason') == 'the operator left'
    operator.open(stack.broker.page)
    choose(operator, stack.robot_id)
    operator.wait_for_state('drivable')


def test_a_browser_that_gives_no_address_says_so(
    firefox_path: str, stack: Stack, tmp_path: Path
) -> None:
    # Like a machine with only a loopback address, or with some privacy settings.
    nothing_but_relays = {'media.peerconnection.ice.relay_only': True}
    with firefox(firefox_path, tmp_path / 'firefox.log', preferences=nothing_but_relays) as page:
        page.open(stack.broker.page)
        choose(page, stack.robot_id)
        page.wait_until(f'{shown("message")}.includes("no network address")')
