"""A VR headset for pages under test: iwer stands in for the browser's own WebXR."""

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
from typing import Any

from browser import OperatorPage
from playwright.sync_api import Browser, Page
from programs import wait_for
import pytest
from stack import Stack
from tree import ROOT

EMULATOR = ROOT / 'node_modules' / 'iwer' / 'build' / 'iwer.min.js'
#: Chromium has a WebXR of its own, which iwer leaves in place unless it is told otherwise.
WEAR = """
window.headset = new IWER.XRDevice(IWER.metaQuest3);
headset.stereoEnabled = true;
headset.installRuntime({forceInstall: true});
const request = navigator.xr.requestSession.bind(navigator.xr);
navigator.xr.requestSession = async (...options) => (window.xrSession = await request(...options));
const getContext = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
    const context = getContext.call(this, kind, options);
    if (kind === 'webgl2' && options?.xrCompatible) window.xrContext = context;
    return context;
};
const peers = window.peers = [];
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
    constructor(...options) {
        super(...options);
        peers.push(this);
    }
};
"""
HOLD = """(() => {
    headset.controllers.right.updateButtonValue('squeeze', 1);
    headset.controllers.left.updateAxes('thumbstick', 0, -1);
})()"""
LET_GO = """(() => {
    for (const controller of Object.values(headset.controllers)) {
        controller.updateButtonValue('squeeze', 0);
        controller.updateAxes('thumbstick', 0, 0);
    }
})()"""
#: The emulator goes on with frames where a headset stops them; this stops them for good.
STOP_FRAMES = 'void (xrSession.requestAnimationFrame = () => 0)'
RESUME_FRAMES = 'void delete xrSession.requestAnimationFrame'
#: The emulator also takes the controllers away, and lets go of their buttons, when the session is
#: not visible. With this they stay as they were.
KEEP_CONTROLLERS = """void Object.defineProperty(xrSession, 'inputSources', {
    configurable: true,
    value: [...xrSession.inputSources].map(({handedness, hand, gamepad, targetRaySpace}) => {
        const buttons = gamepad.buttons.map(({pressed, value}) => ({pressed, value}));
        const {mapping, axes} = gamepad;
        return {handedness, hand, targetRaySpace, gamepad: {mapping, axes: [...axes], buttons}};
    }),
})"""
#: How the hand is lost, how what was lost comes back, still held, and why the controllers do not
#: drive in between: a busy machine may also miss frames, which stops the robot for another reason.
LOSSES = {
    'grip released': (
        "headset.controllers.right.updateButtonValue('squeeze', 0)",
        "headset.controllers.right.updateButtonValue('squeeze', 1)",
        'neutral',
    ),
    'menu': (
        "headset.updateVisibilityState('visible-blurred')",
        "headset.updateVisibilityState('visible')",
        'not-visible',
    ),
    'taken off': (
        "headset.updateVisibilityState('hidden')",
        "headset.updateVisibilityState('visible')",
        'not-visible',
    ),
    'menu, controllers stay': (
        f"{KEEP_CONTROLLERS}, headset.updateVisibilityState('visible-blurred')",
        "void delete xrSession.inputSources, headset.updateVisibilityState('visible')",
        'not-visible',
    ),
    'taken off, controllers stay': (
        f"{KEEP_CONTROLLERS}, headset.updateVisibilityState('hidden')",
        "void delete xrSession.inputSources, headset.updateVisibilityState('visible')",
        'not-visible',
    ),
    'left controller gone': (
        'void (headset.controllers.left.connected = false)',
        'void (headset.controllers.left.connected = true)',
        'neutral',
    ),
    'right controller gone': (
        'void (headset.controllers.right.connected = false)',
        'void (headset.controllers.right.connected = true)',
        'neutral',
    ),
    'hands': (
        "void (headset.primaryInputMode = 'hand')",
        "void (headset.primaryInputMode = 'controller')",
        'no-controller',
    ),
    'session ends': (
        'void xrSession.end()',
        "document.getElementById('vr').click()",
        'no-session',
    ),
    # The page's chain of frames is broken: a new session.
    'frames stop': (
        STOP_FRAMES,
        "void xrSession.end().then(() => document.getElementById('vr').click())",
        'no-frames',
    ),
}
#: Pixels of an eye after the page has drawn a frame; places are in shares of the eye's width and
#: height, from the lower left.
PIXELS = """({places, eye}) => new Promise((resolve) => xrSession.requestAnimationFrame(() => {
    const {drawingBufferWidth: width, drawingBufferHeight: height} = xrContext;
    const all = new Uint8Array(4 * width * height);
    xrContext.readPixels(0, 0, width, height, xrContext.RGBA, xrContext.UNSIGNED_BYTE, all);
    resolve(places.map(([x, y]) => {
        const column = Math.floor((x + (eye === 'right')) * width / 2);
        const at = 4 * (Math.floor(y * height) * width + column);
        return [...all.slice(at, at + 3)];
    }));
}))"""
#: The sides of the picture in each eye: it is 1.6 m ahead, and the eyes are 1.6 m high.
SIDES = {'left': (153 / 640, 503 / 640), 'right': (137 / 640, 487 / 640)}
TOP, BOTTOM = 1 - 327 / 800, 1 - 522.5 / 800


def scripts() -> tuple[str, ...]:
    """Return what is run in a page before its own scripts."""
    return EMULATOR.read_text(encoding='utf-8'), f'(() => {{{WEAR}}})()'


def wear(page: Page) -> None:
    """Press the page's button; return when the headset shows the page's frames."""
    page.click('#vr')
    page.wait_for_selector('body[data-vr=visible]', timeout=60_000)


class HeadsetPage:
    """The operator page in the browser of a headset, connected to a robot."""

    def __init__(
        self, browser: Browser, stack: Stack, *, script: str = '', query: str = ''
    ) -> None:
        if not EMULATOR.exists():
            pytest.skip(f'no {EMULATOR.relative_to(ROOT)}; run scripts/setup --tests')
        page = browser.new_page(viewport={'width': 1280, 'height': 800})
        for each in filter(None, (*scripts(), script)):
            page.add_init_script(each)
        self.page = page
        self.operator = OperatorPage(page)
        address, _, fragment = stack.broker.page.partition('#')
        self.operator.connect(f'{address}{query}#{fragment}', stack.robot_id)

    def evaluate(self, expression: str) -> Any:
        """Return what an expression is worth in the page."""
        return self.page.evaluate(expression)

    def metrics(self) -> dict[str, Any]:
        """Return the page's metrics."""
        return self.operator.metrics()

    def enter(self) -> None:
        """Press the page's button; return when the headset shows the page's frames."""
        wear(self.page)

    def press(self, selector: str) -> None:
        """Click what the emulator's canvas covers."""
        self.page.locator(selector).dispatch_event('click')

    def leave(self) -> None:
        """End the session from outside of the page, as the headset's menu does."""
        self.evaluate('void xrSession.end()')
        self.wait_for_vr('')

    def wait_for_vr(self, visibility: str) -> None:
        """Wait until the page knows of the session's visibility; empty: there is none."""
        self.page.wait_for_function(
            'state => document.body.dataset.vr === state', arg=visibility, timeout=60_000
        )

    def pixels(
        self, places: list[tuple[float, float]], eye: str = 'left'
    ) -> list[tuple[int, int, int]]:
        """Return what an eye sees at places: 0 to 1 from the left and from below."""
        seen = self.page.evaluate(PIXELS, {'places': places, 'eye': eye})
        return [(red, green, blue) for red, green, blue in seen]

    def picture(self, eye: str = 'left', *, columns: int = 32) -> list[int]:
        """Return what an eye sees of a picture in 16 to 9, as 18 rows of grey values."""
        left, right = SIDES[eye]
        places = [
            (left + (right - left) * (x + 0.5) / columns, TOP + (BOTTOM - TOP) * (y + 0.5) / 18)
            for y in range(18)
            for x in range(columns)
        ]
        return [green for _, green, _ in self.pixels(places, eye)]

    def hold_until(
        self, moving: Callable[[], object], *, hold: str = HOLD, also: str = 'void 0'
    ) -> None:
        """
        Drive from neutral; a busy machine may have missed that everything was let go.

        :param hold: The script that holds them.
        :param also: A script that is run after the controllers are held.
        """

        def attempt() -> bool:
            self.evaluate(LET_GO)
            wait_for(lambda: not self.metrics()['lock'], what='no lock on the page')
            # The page must see it let go, at a tick with fresh frames.
            self.page.wait_for_timeout(300)
            self.evaluate(hold)
            self.evaluate(also)
            try:
                return bool(wait_for(moving, timeout_s=3.0, what='motion'))
            except AssertionError:
                return False

        wait_for(attempt, what='motion of the controllers on cmd_vel')
