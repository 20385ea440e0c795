"""Faults of the page in a real Chromium, and what its user experiences."""

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

import os
import signal
from typing import Final

from benchmark import headset_page
from benchmark.faults import actions
from benchmark.faults.fault import Expected, Fault, LINK, WATCHDOG
from benchmark.faults.network import Conditions, Host
from benchmark.faults.rig import Setting

__all__ = ['PAGE_FAULTS']

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
RENDERER: Final = '--type=renderer'
TICK: Final = 'the next tick of the page sends zeros'
LOST_HAND_MS: Final = 100.0


def _no_browser() -> str:
    return '' if os.environ.get('CHROMIUM') else 'the page needs a Chromium'


def _no_headset() -> str:
    return _no_browser() or headset_page.missing()


_PAGE: Final = tuple(
    Fault(
        name=f'page: {name}',
        expected=Expected.STOPS,
        inject=action,
        neutral_first=neutral_first,
        instant=instant,
        setting=Setting(page=True),
        missing=_no_browser,
        why=why,
    )
    for name, action, neutral_first, instant, why in (
        # Nobody presses a key on a reloaded page: it begins with neutral.
        ('its tab is killed', actions.browser_signalled(RENDERER, KILL), False, False, WATCHDOG),
        ('its browser is killed', actions.browser_signalled('', KILL), False, False, WATCHDOG),
        ('it is left', actions.page_does('leave'), False, False, WATCHDOG),
        (
            'its tab is hidden',
            actions.page_does('hide', 'show'),
            True,
            False,
            'it lets go at once',
        ),
        ('its tab is frozen', actions.browser_signalled(RENDERER, STOP), True, False, WATCHDOG),
        ('it hangs for 3 s', actions.page_does('hang', 'show'), True, False, WATCHDOG),
        # What a user sees of a robot's crash, and how soon they can drive again.
        ('WebRTC half kill -9', actions.webrtc_half_signalled(KILL), True, True, LINK),
    )
)

_GAMEPAD: Final = (
    Fault(
        name='page: its gamepad is unplugged',
        expected=Expected.STOPS,
        inject=actions.page_does('unplug', 'plug'),
        setting=Setting(page=True, device='gamepad'),
        missing=_no_browser,
        why=TICK,
    ),
)

_VR: Final = tuple(
    Fault(
        name=f'page: {name}',
        expected=Expected.STOPS,
        inject=actions.page_does(order, and_back),
        goal_ms=LOST_HAND_MS,
        goal_from_fault=True,
        setting=Setting(page=True, device='vr'),
        missing=_no_headset,
        why=why,
    )
    for name, order, and_back, why in (
        ('its VR headset is taken off', 'take_off', 'look_again', TICK),
        ("the headset's menu opens", 'open_menu', 'look_again', TICK),
        ('its VR session ends', 'end_session', 'enter', TICK),
        ('its VR controller is lost', 'lose_controller', 'find_controller', TICK),
        (
            'its VR frames stop',
            'stop_frames',
            'resume_frames',
            'values count for 100 ms after a frame; then ' + TICK,
        ),
    )
)

_PAGE_ON_A_BAD_NETWORK: Final = tuple(
    Fault(
        name=f'page: {100 * loss:.0f} % loss each way, {one.name.lower()} and broker',
        expected=Expected.DRIVES_ON if loss < 0.3 else Expected.EITHER,
        inject=actions.spoilt_both(one, Host.BROKER, Conditions(loss=loss)),
        setting=Setting(page=True),
        missing=_no_browser,
        why=WATCHDOG,
    )
    for one in (Host.OPERATOR, Host.ROBOT)
    for loss in (0.2, 0.5)
)

PAGE_FAULTS: Final = (*_PAGE, *_GAMEPAD, *_VR, *_PAGE_ON_A_BAD_NETWORK)
