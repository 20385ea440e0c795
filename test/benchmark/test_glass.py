"""Figures from a page's records, and their plot."""

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

from typing import Any
from xml.etree import ElementTree

import pytest

from benchmark.faults.network import Conditions
from benchmark.figures import MeasurementError
from benchmark.glass import figures_of, panels, Phase
from benchmark.page_probe import note_drawings
from benchmark.plot import Line, Panel, svg

COUNTERS = [
    'bytesReceived',
    'freezeCount',
    'totalFreezesDuration',
    'packetsLost',
    'keyFramesDecoded',
    'jitterBufferDelay',
    'jitterBufferEmittedCount',
]


def seen(begin_s: float, seconds: int) -> dict[str, Any]:
    """Return a page's records of 30 frames per second with 20 ms latency, at 1 Mbit/s."""
    frames = []
    for number in range(30 * seconds):
        captured_s = begin_s + number / 30
        frames.append(
            {
                'captured_s': captured_s,
                'received_s': captured_s + 0.015,
                'decoding_ms': 2.0,
                'presented_s': captured_s + 0.02,
                'drawn_s': captured_s + 0.03,
                'shown_s': captured_s + 0.04,
            }
        )
    samples = [
        {'at_s': begin_s + number / 2}
        | dict.fromkeys(COUNTERS, 0.0)
        | {'bytesReceived': 62_500.0 * number, 'freezeCount': float(number >= 10)}
        for number in range(2 * seconds)
    ]
    return {'frames': frames, 'samples': samples}


def test_figures_of_a_phase() -> None:
    figures = figures_of(seen(100.0, 20), 100.0, 120.0)
    assert figures['stamp_to_received_p50_ms'] == pytest.approx(15.0)
    assert figures['stamp_to_composed_p95_ms'] == pytest.approx(20.0)
    assert figures['stamp_to_drawn_p50_ms'] == pytest.approx(30.0)
    assert figures['stamp_to_predicted_p50_ms'] == pytest.approx(40.0)
    assert figures['video_kbit_s'] == pytest.approx(1000.0)
    assert figures['freezes_a_minute'] == pytest.approx(60 / 19.5)
    assert figures['longest_gap_ms'] == pytest.approx(1000 / 30, abs=20.0)


def test_counters_that_begin_anew_are_a_new_connection_and_never_less_than_nothing() -> None:
    result = seen(100.0, 20)
    for number, sample in enumerate(result['samples'][20:]):
        sample |= {'bytesReceived': 62_500.0 * number, 'freezeCount': float(number >= 5)}
    figures = figures_of(result, 100.0, 120.0)
    assert figures['new_connections'] == 1
    assert figures['freezes_a_minute'] == pytest.approx(2 * 60 / 19.5)
    assert figures['video_kbit_s'] == pytest.approx(1000.0 * 38 / 39)
    assert figures_of(seen(100.0, 20), 100.0, 120.0)['new_connections'] == 0


def test_a_gap_at_the_end_counts() -> None:
    assert figures_of(seen(100.0, 20), 100.0, 125.0)['longest_gap_ms'] > 5000.0


def test_a_frame_is_drawn_with_the_next_screen() -> None:
    frames: list[dict[str, float | None]] = [
        {'presented_s': 1.0},
        {'presented_s': 1.01},
        {'presented_s': 5.0},
    ]
    note_drawings(frames, [(0.99, 1.002), (1.006, 1.008), (1.022, 1.025)])
    assert [frame['drawn_s'] for frame in frames] == [1.008, 1.025, None]


def test_no_picture_is_no_figure() -> None:
    with pytest.raises(MeasurementError, match='0 frames'):
        figures_of(seen(100.0, 20), 200.0, 210.0)


def test_the_plot_has_bitrate_link_and_latency() -> None:
    narrow = Phase(name='narrow', conditions=Conditions(rate_bps=3e5))
    past = [(Phase(), 100.0, 110.0), (narrow, 110.0, 120.0)]
    text = svg(panels(seen(100.0, 20), past), x_title='seconds')
    lines = ElementTree.fromstring(text).findall('{http://www.w3.org/2000/svg}polyline')
    assert len(lines) == 3


def test_what_is_too_large_is_drawn_at_the_edge_and_names_are_escaped() -> None:
    line = Line(name='a < b', points=[(0.0, 0.0), (10.0, 500.0)], colour='#000')
    text = svg([Panel(title='t', lines=[line], highest=100.0)], x_title='x')
    root = ElementTree.fromstring(text)
    (drawn,) = root.findall('{http://www.w3.org/2000/svg}polyline')
    heights = [float(point.split(',')[1]) for point in drawn.attrib['points'].split()]
    assert min(heights) >= 0.0
