"""
Glass-to-glass latency through the broker to the page in Chromium, on good and bad networks.

``python3 -m benchmark.glass [--cases …] [--json FILE] [--plot FILE.svg]``; all cases except
``loopback`` need root, for network namespaces. ``delay`` adds 40±10 ms and 1 % loss, each way,
between robot and broker; ``narrow`` limits the rate to 1 Mbit/s, then to 300 kbit/s, then not.

Times of each frame: the camera's stamp; *received*, when its last packet is in the browser;
*composed*, when the decoded frame goes to the compositor; *drawn*, when the next screen at 60 Hz
is drawn and swapped, from the browser's trace. ``expectedDisplayTime``, the only display time that
a page gets, is called *predicted* here: without a display it is the compositor's tick, which may
even precede the reception of the frame.
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

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
import itertools
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, Final

from namespaces import why_no_namespaces
from programs import page_address

from benchmark.comparison import gaps
from benchmark.faults.network import Conditions, Host, Network, network
from benchmark.faults.processes import Process
from benchmark.figures import Figures, MeasurementError, percentile
from benchmark.plot import Line, Panel, svg
from benchmark.running import (
    bounded,
    find_chromium,
    machine,
    options,
    output_file,
    prepare_environment,
    report,
    run,
)

__all__ = ['CASES', 'Phase', 'figures_of', 'panels']

ROBOT_ID: Final = 'glass'
PORT: Final = 8765
SETTLE_S: Final = 5.0
"""How long the video takes to start and to adapt to a different network."""
WIDE_S: Final = 10.0
OVERHEAD_S: Final = 180.0
HIGHEST_BPS: Final = 2_500_000
SLICE_S: Final = 1.0
"""Time slice of the plotted latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A period with constant network conditions; it is measured if it has a name."""

    name: str = ''
    conditions: Conditions = field(default_factory=Conditions)
    seconds: float | None = None
    """``None``: duration from the command line."""


CASES: Final[dict[str, tuple[Phase, ...]]] = {
    'loopback': (Phase(name='loopback'),),
    'delay': (
        Phase(
            name='40±10 ms, 1 % loss',
            conditions=Conditions(delay_s=0.04, jitter_s=0.01, loss=0.01),
        ),
    ),
    'narrow': (
        Phase(seconds=WIDE_S),
        Phase(name='1 Mbit/s', conditions=Conditions(rate_bps=1e6)),
        Phase(name='300 kbit/s', conditions=Conditions(rate_bps=3e5)),
        Phase(name='wide again'),
    ),
}

#: A phase, and its start and end in seconds of ``time.monotonic``
Past = tuple[Phase, float, float]


class Stage:
    """
    Broker, robot and browser, on one host or on three.

    :param folder: For logs and state.
    :param hosts: ``None``: everything runs on this host.
    """

    def __init__(self, folder: Path, hosts: Network | None, ends: ExitStack) -> None:
        self._folder = folder
        self._hosts = hosts
        self._ends = ends
        address = '127.0.0.1' if hosts is None else Host.BROKER.value
        self._url = f'http://{address}:{PORT}'
        state_dir = folder / 'broker'
        broker = self._start(
            Host.BROKER,
            'teleop_webrtc_bridge.broker.main',
            *('--host', address, '--port', str(PORT), '--state-dir', str(state_dir)),
        )
        page = page_address(broker.wait_for_line('Operator page: '))
        token = page.partition('token=')[2]
        self._start(Host.ROBOT, 'benchmark.camera', 'raw', '1280', '720').wait_for_line('ready')
        parameters = {
            'robot_id': ROBOT_ID,
            'broker_url': self._url,
            'allow_insecure_broker': 'true',
            'api_key_file': str(state_dir / 'robot_api_key'),
            'video_bitrate': str(HIGHEST_BPS),
        }
        words = [word for item in parameters.items() for word in ('-p', ':='.join(item))]
        self._start(Host.ROBOT, 'teleop_webrtc_bridge.bridge.ros.main', '--ros-args', *words)
        self._page = self._start(Host.OPERATOR, 'benchmark.glass_page', self._url, token, ROBOT_ID)
        self._page.wait_for_event('connected', timeout_s=90.0)

    def _start(self, host: Host, module: str, *arguments: str) -> Process:
        prefix = [] if self._hosts is None else self._hosts.command(host)
        log = self._folder / f'{module.rpartition(".")[2]}.log'
        environment = os.environ | {'HOME': str(self._folder)}
        process = Process(prefix, module, *arguments, log=log, environment=environment)
        self._ends.callback(process.end)
        return process

    def live(self, phases: Sequence[Phase], seconds: float) -> list[Past]:
        """Run through the phases; return when each began and ended."""
        past = []
        time.sleep(SETTLE_S)
        for phase in phases:
            begin_s = time.monotonic()
            if self._hosts is not None:
                begin_s = self._hosts.spoil_both(Host.ROBOT, Host.BROKER, phase.conditions)
            time.sleep(seconds if phase.seconds is None else phase.seconds)
            past.append((phase, begin_s, time.monotonic()))
        return past

    def result(self) -> dict[str, Any]:
        """End the page and return what it recorded."""
        self._page.close_input()
        return self._page.wait_for_event('result', timeout_s=30.0)


def begins_anew(one: Mapping[str, float], later: Mapping[str, float]) -> bool:
    """Return whether the page established a new connection between two samples."""
    return later['bytesReceived'] < one['bytesReceived']


def grown(samples: Sequence[Mapping[str, float]], name: str) -> float:
    """Return the growth of a counter; the counters of a new connection start at zero."""
    return sum(
        later[name] - (0.0 if begins_anew(one, later) else one[name])
        for one, later in itertools.pairwise(samples)
    )


def figures_of(result: Mapping[str, Any], begin_s: float, end_s: float) -> Figures:
    """
    Return the figures of a phase.

    :raises MeasurementError: No frame arrived, or too few frames have a stamp.
    """
    frames = [f for f in result['frames'] if begin_s <= f['presented_s'] < end_s]
    stamped = [f for f in frames if f['captured_s'] is not None and f['received_s'] is not None]
    if len(stamped) < 2:
        raise MeasurementError(f'{len(frames)} frames, {len(stamped)} of them with a stamp')
    samples = [s for s in result['samples'] if begin_s <= s['at_s'] < end_s]
    first, last = samples[0], samples[-1]
    minutes = (last['at_s'] - first['at_s']) / 60
    names = {
        'received': 'received',
        'presented': 'composed',
        'drawn': 'drawn',
        'shown': 'predicted',
    }
    took = {
        moment: [
            1e3 * (f[f'{moment}_s'] - f['captured_s'])
            for f in stamped
            if f[f'{moment}_s'] is not None
        ]
        for moment in names
    }
    held_s = grown(samples, 'jitterBufferDelay')
    held = grown(samples, 'jitterBufferEmittedCount')
    return {
        **{
            f'stamp_to_{names[moment]}_p{percent}_ms': percentile(values, percent)
            for moment, values in took.items()
            for percent in (50, 95)
        },
        'decoding_p50_ms': percentile([f['decoding_ms'] for f in stamped], 50),
        'jitter_buffer_mean_ms': 1e3 * held_s / max(1.0, held),
        'frames_a_second': len(frames) / (end_s - begin_s),
        'frames_with_a_stamp_percent': 100.0 * len(stamped) / len(frames),
        'longest_gap_ms': 1e3 * max(gaps([f['presented_s'] for f in frames], begin_s, end_s)),
        'freezes_a_minute': grown(samples, 'freezeCount') / minutes,
        'frozen_ms_a_minute': 1e3 * grown(samples, 'totalFreezesDuration') / minutes,
        'video_kbit_s': 8e-3 * grown(samples, 'bytesReceived') / (60 * minutes),
        'packets_lost': grown(samples, 'packetsLost'),
        'keyframes': grown(samples, 'keyFramesDecoded'),
        'new_connections': sum(begins_anew(*pair) for pair in itertools.pairwise(samples)),
    }


def panels(result: Mapping[str, Any], past: Sequence[Past]) -> list[Panel]:
    """Return bitrate and latency over time, as plots."""
    begin_s, end_s = past[0][1], past[-1][2]
    samples = [s for s in result['samples'] if begin_s <= s['at_s'] < end_s]
    bitrate = [
        (
            later['at_s'] - begin_s,
            8e-3 * grown([one, later], 'bytesReceived') / (later['at_s'] - one['at_s']),
        )
        for one, later in itertools.pairwise(samples)
    ]
    highest = HIGHEST_BPS * 1e-3
    link = [
        (at_s - begin_s, min(highest, 1e-3 * (phase.conditions.rate_bps or HIGHEST_BPS)))
        for phase, *span in past
        for at_s in span
    ]
    latency = []
    for number in range(int((end_s - begin_s) / SLICE_S)):
        from_s = begin_s + number * SLICE_S
        took_ms = [
            1e3 * (f['presented_s'] - f['captured_s'])
            for f in result['frames']
            if f['captured_s'] is not None and from_s <= f['presented_s'] < from_s + SLICE_S
        ]
        if took_ms:
            latency.append((from_s - begin_s + SLICE_S / 2, percentile(took_ms, 50)))
    slowest = max(value for _, value in latency)
    scale = next(top for top in (50, 100, 250, 500, 1000, 2500, 5000, 1e5) if top >= slowest)
    return [
        Panel(
            title='kbit/s',
            highest=highest * 1.2,
            lines=[
                Line(name='link', points=link, colour='#999', steps=True),
                Line(name='video', points=bitrate, colour='#06c'),
            ],
        ),
        Panel(
            title='ms',
            highest=scale,
            lines=[Line(name='stamp to composed, p50', points=latency, colour='#c40')],
        ),
    ]


def measure(case: str, seconds: float) -> tuple[dict[str, Figures], list[Panel]]:
    """Run a case once; return the figures of its phases, and the panels to plot."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix='teleop-glass-')))
        hosts = None if case == 'loopback' else ends.enter_context(network())
        stage = Stage(folder, hosts, ends)
        past = stage.live(CASES[case], seconds)
        result = stage.result()
    print(f'glass: negotiated: {", ".join(result["extensions"])}', file=sys.stderr)
    found = {}
    for phase, begin_s, end_s in past:
        if phase.name:
            found[phase.name] = figures_of(result, begin_s + SETTLE_S, end_s) | {
                'longest_gap_adapting_ms': figures_of(result, begin_s, begin_s + SETTLE_S)[
                    'longest_gap_ms'
                ],
            }
    return found, panels(result, past)


def main() -> None:
    """Measure, print, plot and write."""
    parser = options('glass', __doc__ or '', seconds=25.0)
    parser.add_argument('--cases', nargs='+', choices=list(CASES), default=list(CASES))
    parser.add_argument(
        '--plot', type=output_file, help='plot the last case over time to this SVG file'
    )
    arguments = parser.parse_args()
    prepare_environment()
    chromium = os.environ['CHROMIUM'] = find_chromium()
    missing = why_no_namespaces() if set(arguments.cases) - {'loopback'} else ''
    if missing:
        raise MeasurementError(f'{missing}; --cases loopback needs none')
    results: dict[str, list[Figures]] = {}
    drawn: list[Panel] = []
    for _ in range(arguments.repeats):
        for case in arguments.cases:
            print(f'glass: {case} …', file=sys.stderr, flush=True)
            with bounded(len(CASES[case]) * arguments.seconds + OVERHEAD_S):
                found, drawn = measure(case, arguments.seconds)
            for name, figures in found.items():
                results.setdefault(name, []).append(figures)
    report(results, machine(chromium), arguments.json)
    if arguments.plot is not None:
        arguments.plot.write_text(svg(drawn, x_title='seconds'), encoding='utf-8')


if __name__ == '__main__':
    run('glass', main)
