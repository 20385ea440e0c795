"""The operator page under measurement: its clock, its frames, its speed slider."""

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

import bisect
from pathlib import Path
import time
from typing import Any, Final

from browser import OperatorPage
from fake_gamepad import FAKE_PAD
from playwright.sync_api import Browser

from benchmark.commands import PERIOD_S
from benchmark.figures import Figures, MeasurementError, percentile
from benchmark.headset_page import Headset

__all__ = ['MeasuredPage', 'frame_times', 'note_drawings', 'video_path']

SCRIPT: Final = Path(__file__).with_name('page_probe.js')
NTP_EPOCH_MS: Final = 2_208_988_800_000
"""Time from 1900, the epoch of capture time stamps, to 1970."""
CLOCK_TOLERANCE_S: Final = 1e-3


class MeasuredPage(OperatorPage):
    """
    An operator page whose times can be compared with ``time.monotonic`` of this process.

    :param browser: The browser in which a new page is opened.
    :param device: What its user drives with: ``keyboard``, ``gamepad`` or ``vr``.
    """

    def __init__(self, browser: Browser, *, device: str = 'keyboard') -> None:
        context = browser.new_context(viewport={'width': 1280, 'height': 800})
        super().__init__(context.new_page())
        self.page.add_init_script(path=SCRIPT)
        self.device = device
        self._headset = Headset(self.page) if device == 'vr' else None
        if device == 'gamepad':
            self.page.add_init_script(f'({FAKE_PAD})()')
        self._ahead_s = 0.0

    def connect(self, address: str, robot_id: str) -> None:
        """Connect, and put the headset on if there is one."""
        super().connect(address, robot_id)
        if self._headset is not None:
            self._headset.enter()

    def close(self) -> None:
        self.page.context.close()

    def synchronize(self) -> None:
        """
        Determine the offset between the page's Unix time and ``time.monotonic``.

        On Linux the browser's own clock is the machine's monotonic clock, and the developer tools
        tell when the document's time began on it. This is exact; requesting the page's time and
        halving the round trip would be off by a millisecond.

        :raises MeasurementError: The two clocks have no fixed offset.
        """
        session = self.page.context.new_cdp_session(self.page)
        session.send('Performance.enable')
        metrics = session.send('Performance.getMetrics')['metrics']
        session.detach()
        begin_s = next(entry['value'] for entry in metrics if entry['name'] == 'NavigationStart')
        self._ahead_s = self.page.evaluate('performance.timeOrigin') * 1e-3 - begin_s
        before_s = time.monotonic()
        page_s = self.monotonic_s(self.page.evaluate('benchmark.nowUnixMs()'))
        after_s = time.monotonic()
        if not before_s - CLOCK_TOLERANCE_S <= page_s <= after_s + CLOCK_TOLERANCE_S:
            raise MeasurementError(f'page time {page_s} is not in {before_s}..{after_s}')

    def monotonic_s(self, unix_ms: float) -> float:
        """Return the page's time as ``time.monotonic`` of this process."""
        return unix_ms * 1e-3 - self._ahead_s

    def watch(self) -> None:
        """Record the frames from now on."""
        self.page.evaluate('benchmark.watch()')

    def turn_slider(self, positions: tuple[int, ...]) -> None:
        """Give each command a distinct speed from now on."""
        tick_ms = self.metrics()['sent'][-1]['atMs']
        arguments = [list(positions), 1e3 * PERIOD_S, tick_ms]
        self.page.evaluate('given => benchmark.turnSlider(...given)', arguments)

    def stop_slider(self) -> list[tuple[float, int]]:
        """Return the slider's positions: (seconds of ``time.monotonic``, per cent)."""
        self.page.evaluate('benchmark.stopSlider()')
        moves = self.page.evaluate('benchmark.slider()')
        return [(self.monotonic_s(at_ms), int(percent)) for at_ms, percent in moves]

    def reading(self) -> dict[str, Any]:
        """Return the page's metrics, with the time of reading as ``readMs``."""
        script = '({...window.teleop.metrics(), readMs: benchmark.nowUnixMs()})'
        return dict(self.page.evaluate(script))

    def frames(self) -> list[dict[str, Any]]:
        """Return the frames shown since the last call."""
        return list(self.page.evaluate('benchmark.frames()'))

    def inbound_video(self) -> dict[str, float]:
        """Return the connection's own counters of the video."""
        return dict(self.page.evaluate('benchmark.inboundVideo()'))

    def extensions(self) -> list[str]:
        """Return the header extensions that were negotiated for the video."""
        return list(self.page.evaluate('benchmark.extensions()'))

    def clock_error_ms(self) -> float:
        """
        Return the error of the page's estimate of the robot's clock.

        The robot's clock is this machine's, so the true offset is known.
        """
        true_s = time.time() - time.monotonic() - self._ahead_s
        return float(self.metrics()['offsetMs']) - 1e3 * true_s


def frame_times(frames: list[dict[str, Any]], page: MeasuredPage) -> list[dict[str, float | None]]:
    """Return each frame's times along its path, in seconds of ``time.monotonic``."""
    unix_ahead_s = time.time() - time.monotonic()
    times = []
    for frame in frames:
        captured_ms, received_ms = frame['captureNtpMs'], frame['receivedMs']
        captured_s = None
        if captured_ms is not None:
            captured_s = (captured_ms - NTP_EPOCH_MS) * 1e-3 - unix_ahead_s
        times.append(
            {
                'captured_s': captured_s,
                'received_s': None if received_ms is None else page.monotonic_s(received_ms),
                'decoding_ms': frame['decodingMs'],
                'called_s': page.monotonic_s(frame['calledMs']),
                'presented_s': page.monotonic_s(frame['presentedMs']),
                'shown_s': page.monotonic_s(frame['shownMs']),
            }
        )
    return times


def note_drawings(
    frames: list[dict[str, float | None]], drawings: list[tuple[float, float]]
) -> None:
    """
    Add to each frame the time at which the first screen begun after its arrival was drawn.

    :param drawings: Start and end of each drawing, in order.
    """
    begun_s = [begin_s for begin_s, _ in drawings]
    for frame in frames:
        place = bisect.bisect_left(begun_s, frame['presented_s'] or 0.0)
        frame['drawn_s'] = drawings[place][1] if place < len(drawings) else None


def video_path(frames: list[dict[str, Any]], page: MeasuredPage) -> Figures:
    """
    Return how long a frame spends on each leg of its path, as medians in milliseconds.

    The capture time stamp is in the robot's clock, which is this machine's clock.
    """
    unix_ahead_s = time.time() - time.monotonic()
    legs: dict[str, list[float]] = {'to_browser': [], 'decode': [], 'compose': [], 'display': []}
    for frame in frames:
        if frame['captureNtpMs'] is None or frame['receivedMs'] is None:
            continue
        captured_s = (frame['captureNtpMs'] - NTP_EPOCH_MS) * 1e-3 - unix_ahead_s
        received_s = page.monotonic_s(frame['receivedMs'])
        legs['to_browser'].append(1e3 * (received_s - captured_s))
        legs['decode'].append(frame['decodingMs'])
        legs['compose'].append(frame['presentedMs'] - frame['receivedMs'])
        legs['display'].append(frame['shownMs'] - frame['presentedMs'])
    return {f'video_{name}_p50_ms': percentile(values, 50) for name, values in legs.items()}
