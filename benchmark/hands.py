"""
The hand on each device: it drives in a circle, and it pushes the stick again and again.

All of it happens in the page, so that the moment of a push is known by the page's clock.
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

from dataclasses import dataclass
from typing import Final

import fake_gamepad
import headset

__all__ = ['HANDS', 'Hand', 'pushes']

_KEYS: Final = """(() => {{
    for (const code of {codes}) {{
        window.dispatchEvent(new KeyboardEvent('{event}', {{code, bubbles: true}}));
    }}
}})()"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """Scripts for one device."""

    circle: str
    """Drive forward and turn: each frame is different, and no wall ends the drive."""
    let_go: str
    ready: str = 'void 0'
    """Hold what must be held to drive, with the stick in its centre."""
    push: str
    """Push the stick forward."""


HANDS: Final = {
    'keyboard': Hand(
        circle=_KEYS.format(event='keydown', codes="['KeyW', 'KeyA']"),
        let_go=_KEYS.format(event='keyup', codes="['KeyW', 'KeyA']"),
        push=_KEYS.format(event='keydown', codes="['KeyW']"),
    ),
    'gamepad': Hand(
        circle=fake_gamepad.HOLD_TURNING,
        let_go=fake_gamepad.LET_GO,
        ready='void (fakePads.pads[0].buttons[4] = {pressed: true, touched: true, value: 1})',
        push='void (fakePads.pads[0].axes[1] = -1)',
    ),
    'vr': Hand(
        circle=f"{headset.HOLD}, headset.controllers.right.updateAxes('thumbstick', -1, 0)",
        let_go=headset.LET_GO,
        ready="headset.controllers.right.updateButtonValue('squeeze', 1)",
        push="headset.controllers.left.updateAxes('thumbstick', 0, -1)",
    ),
}


def pushes(hand: Hand, count: int) -> str:
    """
    Return a script that pushes the stick and lets go of the device, again and again.

    It returns the moment of each push, in milliseconds of the page's Unix time. The pauses are
    random: a push may fall anywhere between two ticks of the page or two frames of the headset.
    """
    return f"""async () => {{
        const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        const about = (ms) => pause(ms + 100 * Math.random());
        const moments = [];
        for (let i = 0; i < {count}; i += 1) {{
            await about(300);
            {hand.ready};
            await about(100);
            moments.push(benchmark.nowUnixMs());
            {hand.push};
            await about(200);
            {hand.let_go};
        }}
        return moments;
    }}"""
