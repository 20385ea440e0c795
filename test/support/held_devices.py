"""Input devices of a page under test, held and let go."""

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

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import fake_gamepad
import headset
from playwright.sync_api import Page

FORWARD, TURN = 'KeyW', 'KeyA'


class Device:
    """The keyboard, and the interface of the others."""

    def prepare(self, page: Page) -> None:
        """Call this before the page is opened."""

    def begin(self, page: Page) -> None:
        """Call this when the robot can be driven."""

    def hold(self, page: Page, *, turning: bool = False) -> None:
        """Drive forward, or forward and to the left."""
        for key in (FORWARD, TURN)[: 1 + turning]:
            page.keyboard.down(key)

    def let_go(self, page: Page) -> None:
        """Return to neutral."""
        for key in (FORWARD, TURN):
            page.keyboard.up(key)


@dataclass(frozen=True, kw_only=True)
class Scripted(Device):
    """A device for which scripts in the page stand in."""

    scripts: Callable[[], tuple[str, ...]]
    holding: str
    holding_turned: str
    neutral: str

    def prepare(self, page: Page) -> None:
        for script in self.scripts():
            page.add_init_script(script)

    def hold(self, page: Page, *, turning: bool = False) -> None:
        page.evaluate(self.holding_turned if turning else self.holding)

    def let_go(self, page: Page) -> None:
        page.evaluate(self.neutral)


class Headset(Scripted):
    """A headset with two controllers, worn."""

    def begin(self, page: Page) -> None:
        headset.wear(page)
        # Neutral must be seen before anything is held.
        page.wait_for_function("() => window.teleop.metrics().vr === 'hold'", timeout=60_000)


DEVICES: Mapping[str, Device] = {
    'keyboard': Device(),
    'gamepad': Scripted(
        scripts=lambda: (f'({fake_gamepad.FAKE_PAD})()',),
        holding=fake_gamepad.HOLD,
        holding_turned=fake_gamepad.HOLD_TURNING,
        neutral=fake_gamepad.LET_GO,
    ),
    'vr': Headset(
        scripts=headset.scripts,
        holding=headset.HOLD,
        holding_turned=headset.HOLD_TURNING,
        neutral=headset.LET_GO,
    ),
}
