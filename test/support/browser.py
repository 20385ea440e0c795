"""The operator page in a real Chromium."""

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

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
import os
import signal
from typing import Any

from playwright.sync_api import Browser, expect, Page, sync_playwright, ViewportSize
from programs import wait_for
import psutil

# Long enough for a busy machine; the default is five seconds.
expect.set_options(timeout=30_000)

ARGUMENTS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    # Allows connections on machines that only have a loopback address.
    '--allow-loopback-in-peer-connection',
)
DESKTOP: ViewportSize = {'width': 1280, 'height': 800}
GREY_VALUES = """() => {
    const canvas = new OffscreenCanvas(32, 18);
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.drawImage(document.querySelector('#video'), 0, 0, 32, 18);
    const pixels = context.getImageData(0, 0, 32, 18).data;
    return Array.from({length: 32 * 18}, (_, i) => pixels[4 * i + 1]);
}"""


class OperatorPage:
    """The page, operated as a user would."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on('pageerror', lambda error: self.errors.append(str(error)))
        page.on('console', self._on_console)

    def _on_console(self, message: Any) -> None:
        # Chromium reports every error status; the tests check how the page handles it.
        if message.type == 'error' and not message.text.startswith('Failed to load resource'):
            self.errors.append(message.text)

    def connect(self, address: str, robot_id: str) -> None:
        """Open the page, pick a robot and press connect; return when the robot can be driven."""
        self.page.goto(address)
        self.page.click(f'#robots button[data-robot-id="{robot_id}"]', timeout=60_000)
        self.page.click('#connect')
        self.wait_for_state('drivable')

    def wait_for_state(self, state: str) -> None:
        self.page.wait_for_function(
            'state => document.body.dataset.state === state', arg=state, timeout=60_000
        )

    def choose_speed(self, percent: int) -> None:
        """Move the slider of the operator's speed, which begins low at each join."""
        self.page.locator('#speed').fill(str(percent))

    def let_go_and_press(self, moving: Callable[[], object]) -> bool:
        """Return whether the robot moves; a busy machine may have missed the key's release."""
        self.page.keyboard.up('KeyW')
        wait_for(lambda: not self.metrics()['lock'], what='no lock on the page')
        self.page.keyboard.down('KeyW')
        with suppress(AssertionError):
            return bool(wait_for(moving, timeout_s=3.0))
        return False

    def metrics(self) -> dict[str, Any]:
        """Return the page's metrics."""
        return dict(self.page.evaluate('window.teleop.metrics()'))

    def picture(self) -> list[int]:
        """Return the displayed frame, reduced to 32 x 18 grey values."""
        return list(self.page.evaluate(GREY_VALUES))


def difference(one: list[int], other: list[int]) -> float:
    """Return the mean difference of two pictures in grey values, 0 to 255."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def kill(browser_root: psutil.Process) -> None:
    """Kill all processes of a browser at once, so that it cannot close its connections."""
    for process in [browser_root, *browser_root.children(recursive=True)]:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    """Start a separate Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=list(ARGUMENTS)
        )
        try:
            yield browser
        finally:
            if browser.is_connected():
                browser.close()


def browser_process() -> psutil.Process:
    """Return the newest Chromium that this process's Playwright has started."""
    roots = [
        process
        for process in psutil.Process().children(recursive=True)
        if 'chrom' in process.name() and not any('--type=' in word for word in process.cmdline())
    ]
    return max(roots, key=lambda process: process.create_time())
