"""What happens to a VR headset in front of the page; iwer stands in for it."""

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
from typing import Final

from headset import EMULATOR, HOLD, LET_GO, WEAR
from playwright.sync_api import Page, ViewportSize

__all__ = ['EVENTS', 'Headset', 'missing']

#: The emulator takes the controllers away, or lets go of them, when the page is not visible or its
#: session ends. A hand does not: what the page sees stays as it was, also in a new session.
_KEEP: Final = """(() => {
    const prototype = Object.getPrototypeOf(xrSession);
    const sources = Object.getOwnPropertyDescriptor(prototype, 'inputSources');
    Object.defineProperty(prototype, 'inputSources', {
        configurable: true,
        get() { return window.kept ?? sources.get.call(this); },
    });
    window.controllers = () => [...sources.get.call(xrSession)].map((source) => {
        const {handedness, hand, targetRaySpace, gamepad: {mapping, axes, buttons}} = source;
        const values = [...buttons].map(({pressed, value}) => ({pressed, value}));
        return {
            handedness, hand, targetRaySpace, gamepad: {mapping, axes: [...axes], buttons: values},
        };
    });
})()"""
WINDOW: Final[ViewportSize] = {'width': 320, 'height': 256}
_HELD: Final = 'window.kept = window.controllers()'
EVENTS: Final = {
    'take_off': f"{_HELD}, headset.updateVisibilityState('hidden')",
    'open_menu': f"{_HELD}, headset.updateVisibilityState('visible-blurred')",
    'look_again': "headset.updateVisibilityState('visible')",
    'end_session': f'{_HELD}, void xrSession.end()',
    'lose_controller': """(() => {
        window.held = window.controllers();
        headset.controllers.left.connected = false;
    })()""",
    'find_controller': """(() => {
        window.kept = window.held;
        headset.controllers.left.connected = true;
    })()""",
    'stop_frames': f"""{_HELD}, void (xrSession.requestAnimationFrame = (callback) => {{
        window.nextFrame = callback;
        return 0;
    }})""",
    'resume_frames': """(() => {
        delete xrSession.requestAnimationFrame;
        if (window.nextFrame) xrSession.requestAnimationFrame(window.nextFrame);
    })()""",
}
"""Order → what it does in the page; ``window.kept`` hides what the emulator does with the hand."""


def missing() -> str:
    """Return what this machine lacks for a headset; empty: nothing."""
    return '' if EMULATOR.exists() else 'there is no iwer; run scripts/setup --tests'


class Headset:
    """
    A headset that shows a page.

    :param page: Not yet loaded.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        page.add_init_script(EMULATOR.read_text(encoding='utf-8'))
        page.add_init_script(f'(() => {{{WEAR}}})()')

    def begin(self) -> None:
        """Enter for the first time."""
        self.enter()
        self._page.evaluate(_KEEP)

    def enter(self) -> None:
        """Press the page's button; return when the headset shows the page's frames."""
        # The emulator draws without a graphics card, in the size of the window.
        self._page.set_viewport_size(WINDOW)
        # Its canvas may cover the button.
        self._page.locator('#vr').dispatch_event('click')
        self._page.wait_for_function(
            "() => document.body.dataset.vr === 'visible'", timeout=60_000
        )

    def suffer(self, event: str) -> float:
        """Make one of ``EVENTS`` happen; return when it did, in seconds of ``time.monotonic``."""
        script = f'(() => {{ const atMs = Date.now(); {EVENTS[event]}; return atMs; }})()'
        # The browser is busy with drawing: it may begin with the script much later.
        ahead_s = time.time() - time.monotonic()
        return 1e-3 * float(self._page.evaluate(script)) - ahead_s

    def hold(self) -> None:
        """Hold the grip and push the stick."""
        self._page.evaluate(HOLD)

    def let_go(self) -> None:
        """Let go of the controllers; from now on, the page sees them as they are."""
        self._page.evaluate(LET_GO)
        self._page.evaluate('void delete window.kept')
