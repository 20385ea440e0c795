"""
The measured page as a program: ``python3 -m benchmark.glass_page URL TOKEN ROBOT_ID``.

Opens the operator page in a headless Chromium, connects, holds W, and records until its standard
input ends. It prints ``connected`` and finally ``result``, each as a line of JSON: every frame
shown, the connection's counters over time, and the negotiated extensions. All times are in seconds
of ``time.monotonic``. The variable CHROMIUM names the browser.
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

import os
import select
import sys
import time
from typing import Any, Final

from browser import chromium
from playwright.sync_api import Browser

import benchmark  # noqa: F401 - finds test/support
from benchmark.faults.driver import say
from benchmark.page_probe import frame_times, MeasuredPage, note_drawings

SAMPLE_S: Final = 0.5
SWAP: Final = 'Display::DrawAndSwap'
TRACE_END_S: Final = 20.0
KEPT: Final = (
    'bytesReceived',
    'framesReceived',
    'framesDecoded',
    'framesDropped',
    'freezeCount',
    'totalFreezesDuration',
    'packetsLost',
    'jitterBufferDelay',
    'jitterBufferEmittedCount',
    'keyFramesDecoded',
    'pliCount',
    'nackCount',
)
"""Sampling period of the connection's counters."""


class Drawings:
    """
    The times at which the compositor drew and swapped, from its own trace.

    :param browser: The browser, all of which is traced from now on.
    """

    def __init__(self, browser: Browser) -> None:
        self._events: list[dict[str, Any]] = []
        self._ended = False
        self._session = browser.new_browser_cdp_session()
        self._session.on('Tracing.dataCollected', self._on_data)
        self._session.on('Tracing.tracingComplete', self._on_end)
        self._session.send(
            'Tracing.start',
            {
                'transferMode': 'ReportEvents',
                'traceConfig': {'includedCategories': ['viz', 'benchmark']},
            },
        )

    def _on_data(self, data: dict[str, Any]) -> None:
        self._events += [event for event in data['value'] if event['name'] == SWAP]

    def _on_end(self, told: object) -> None:
        self._ended = True

    def end(self, page: MeasuredPage) -> list[tuple[float, float]]:
        """Return the start and end of each drawing, in seconds of ``time.monotonic``."""
        self._session.send('Tracing.end')
        give_up_s = time.monotonic() + TRACE_END_S
        while not self._ended and time.monotonic() < give_up_s:
            page.page.wait_for_timeout(50)
        return sorted(
            (1e-6 * event['ts'], 1e-6 * (event['ts'] + event.get('dur', 0)))
            for event in self._events
        )


def look_on(page: MeasuredPage, drawings: Drawings) -> dict[str, Any]:
    """Sample until standard input ends."""
    frames: list[dict[str, float | None]] = []
    samples = []
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], SAMPLE_S)
        if ready and not sys.stdin.readline():
            break
        counters = page.inbound_video()
        kept = {name: counters.get(name, 0.0) for name in KEPT}
        samples.append({'at_s': time.monotonic(), **kept})
        frames += frame_times(page.frames(), page)
    frames += frame_times(page.frames(), page)
    metrics = page.metrics()
    note_drawings(frames, drawings.end(page))
    return {
        'frames': frames,
        'samples': samples,
        'extensions': page.extensions(),
        'clock_error_ms': page.clock_error_ms(),
        'page_glass_ms': metrics['glassToGlassMs'],
    }


def main() -> None:
    url, token, robot_id = sys.argv[1:4]
    with chromium(os.environ['CHROMIUM']) as browser:
        page = MeasuredPage(browser)
        say('ready')
        page.connect(f'{url}/#token={token}', robot_id)
        page.synchronize()
        page.watch()
        page.page.keyboard.down('KeyW')
        say('connected')
        say('result', **look_on(page, Drawings(browser)))


if __name__ == '__main__':
    main()
