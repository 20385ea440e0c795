"""
The operator page in a Chromium: ``… benchmark.faults.page_driver URL TOKEN ROBOT_ID``.

Orders and events are those of :mod:`benchmark.faults.driver`, as far as they apply to a page; the
send times of single commands are unknown. The variable CHROMIUM names the browser.
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

from collections.abc import Callable
import json
import os
import queue
import sys
import threading
import time
from typing import Any, Final

from browser import ARGUMENTS, OperatorPage
from fake_gamepad import FAKE_PAD, HOLD, LET_GO, PLUG, UNPLUG
from playwright.sync_api import Page, sync_playwright

from benchmark.faults.driver import say
from benchmark.headset_page import EVENTS, Headset

KEY: Final = 'KeyW'
POLL_S: Final = 0.02
UP: Final = ('drivable', 'driving', 'stopped')
"""States that the page shows while the robot answers."""
HANG: Final = """() => setTimeout(() => {
    const end = performance.now() + 3000;
    while (performance.now() < end) ;
})"""
#: A headless browser has no window to minimise, so this simulates the events that would follow.
VISIBILITY: Final = """hidden => {
    const state = hidden ? 'hidden' : 'visible';
    Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
    Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


class PageDriver:
    """
    Acts on the page as its user and its browser do, and reports what it shows.

    :param device: What the user drives with: ``keyboard`` or ``gamepad``.
    :param headset: What they wear, and drive with instead; ``None``: nothing.
    """

    def __init__(self, page: Page, device: str, headset: Headset | None) -> None:
        self._page = page
        self._device = device
        self._headset = headset
        self._seen: dict[str, Any] = {}
        self._told_seq = 0

    def obey(self, order: dict[str, Any]) -> None:
        wish = order['do']
        act: dict[str, Callable[[], object]] = {
            'drive': self._hold,
            'neutral': self._let_go,
            'silence': self._let_go,
            'unplug': lambda: self._page.evaluate(UNPLUG),
            'plug': lambda: self._page.evaluate(PLUG),
            'hide': lambda: self._page.evaluate(VISIBILITY, True),
            'show': lambda: self._page.evaluate(VISIBILITY, False),
            'hang': lambda: self._page.evaluate(HANG),
            'leave': lambda: self._page.goto('about:blank'),
        }
        if self._headset is not None:
            act['enter'] = self._headset.enter
        # The browser may answer late: effects of the order may be reported before its answer.
        begun_s = time.monotonic()
        if self._headset is not None and wish in EVENTS:
            begun_s = self._headset.suffer(wish)
        else:
            act[wish]()
        say('wants', wish=wish, at_s=begun_s)

    def _hold(self) -> None:
        if self._headset is not None:
            self._headset.hold()
        elif self._device == 'gamepad':
            self._page.evaluate(HOLD)
        else:
            self._page.keyboard.down(KEY)

    def _let_go(self) -> None:
        if self._headset is not None:
            self._headset.let_go()
        elif self._device == 'gamepad':
            self._page.evaluate(LET_GO)
        else:
            self._page.keyboard.up(KEY)

    def look(self) -> None:
        """Report what has changed since the last check."""
        told = self._page.evaluate(
            """() => window.teleop && {
                text: document.querySelector('#state').textContent,
                metrics: window.teleop.metrics(),
            }"""
        )
        if told is None:
            return
        metrics = told['metrics']
        telemetry = metrics.get('telemetry')
        if self._changed('text', told['text']):
            say('page', text=told['text'])
        self._tell_what_was_sent(metrics)
        if self._changed('up', metrics['state'] in UP) and metrics['state'] in UP:
            say('connected')
        if telemetry and self._changed('telemetry', telemetry.get('robot_ts')):
            say('telemetry', state=telemetry['state'])
        if self._changed('frames', metrics.get('framesPresented')):
            say('frames', count=metrics['framesPresented'])

    def _tell_what_was_sent(self, metrics: dict[str, Any]) -> None:
        """Report when commands were sent, how many were held back, and what locks the keys."""
        ahead_s = time.time() - time.monotonic()
        new = [sent for sent in metrics.get('sent', ()) if sent['seq'] > self._told_seq]
        if new:
            self._told_seq = new[-1]['seq']
            say('sent', times_s=[1e-3 * sent['atMs'] - ahead_s for sent in new])
        if self._changed('skipped', metrics.get('commandsSkipped')):
            say('skipped', count=metrics['commandsSkipped'])
        if self._changed('lock', metrics.get('lock')) and metrics.get('lock'):
            say('lock', why=metrics['lock'])

    def _changed(self, name: str, value: Any) -> bool:
        before, self._seen[name] = self._seen.get(name), value
        return bool(before != value)


def read(orders: queue.SimpleQueue[str | None]) -> None:
    """Put the lines of standard input into the queue, then ``None``."""
    for line in sys.stdin:
        orders.put(line)
    orders.put(None)


def main() -> None:
    url, token, robot_id = sys.argv[1:4]
    device = sys.argv[5] if len(sys.argv) > 5 else 'keyboard'
    orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=read, args=[orders], daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ['CHROMIUM'],
            headless=True,
            # A real broker serves the page over https, which makes it a secure context.
            args=[*ARGUMENTS, f'--unsafely-treat-insecure-origin-as-secure={url}'],
        )
        page = browser.new_page()
        if device == 'gamepad':
            page.add_init_script(f'({FAKE_PAD})()')
        headset = Headset(page) if device == 'vr' else None
        operator = OperatorPage(page)
        say('ready')
        operator.connect(f'{url}/#token={token}', robot_id)
        if headset is not None:
            headset.begin()
        driver = PageDriver(page, device, headset)
        while True:
            try:
                line = orders.get(timeout=POLL_S)
            except queue.Empty:
                driver.look()
                continue
            if line is None:
                browser.close()
                return
            driver.obey(json.loads(line))


if __name__ == '__main__':
    main()
