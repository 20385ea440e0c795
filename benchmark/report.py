"""The floors, the table and the JSON; pure."""

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
from dataclasses import asdict, dataclass
import math
from typing import Final

from benchmark.figures import Figures, medians

__all__ = ['FLOORS', 'Floor', 'Verdict', 'judge', 'table']


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A limit that a figure must meet."""

    figure: str
    text: str
    limit: float
    worst: bool = False
    """Whether the worst repeat counts instead of the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A floor and the value reached."""

    text: str
    limit: float
    value: float
    passed: bool

    def as_json(self) -> dict[str, object]:
        return asdict(self)


FLOORS: Final = (
    Floor(figure='command_p50_ms', text='command latency p50 [ms]', limit=10.0),
    Floor(figure='glass_p50_ms', text='glass to glass p50 [ms]', limit=80.0),
    Floor(
        figure='connect_drivable_max_ms',
        text='connect to drivable, slowest [ms]',
        limit=2000.0,
        worst=True,
    ),
    Floor(
        figure='dropped',
        text='frames dropped between DDS and encoder, worst repeat',
        limit=0.0,
        worst=True,
    ),
)

#: Heading or (figure, label, decimals).
_Row = str | tuple[str, str, int]
_ROWS: Final[tuple[_Row, ...]] = (
    'Command: page sends -> subscriber in another process',
    ('command_p50_ms', 'p50 [ms]', 2),
    ('command_p99_ms', 'p99 [ms]', 2),
    ('command_max_ms', 'max [ms]', 2),
    ('raw_channel_p50_ms', 'one bare aiortc channel, half round trip p50 [ms]', 2),
    ('raw_channel_p99_ms', 'one bare aiortc channel, half round trip p99 [ms]', 2),
    ('command_to_raw_ratio', 'p50 to bare p50', 2),
    ('commands_sent', 'commands sent while driving', 0),
    ('commands_matched', 'commands found on cmd_vel', 0),
    'Glass to glass: header stamp -> expected display of the frame',
    ('glass_p50_ms', 'p50 [ms]', 1),
    ('glass_p95_ms', 'p95 [ms]', 1),
    ('glass_max_ms', 'max [ms]', 1),
    ('video_to_browser_p50_ms', 'stamp -> received by the browser, p50 [ms]', 1),
    ('video_compose_p50_ms', 'received -> handed to the compositor, p50 [ms]', 1),
    ('video_decode_p50_ms', 'of it decoding, p50 [ms]', 1),
    ('video_display_p50_ms', 'compositor -> expected display, p50 [ms]', 1),
    ('page_clock_error_ms', "error of the page's clock offset [ms]", 2),
    'Press of connect, fresh page loads',
    ('connect_first_frame_p50_ms', 'to first frame, p50 [ms]', 0),
    ('connect_first_frame_max_ms', 'to first frame, slowest [ms]', 0),
    ('connect_drivable_p50_ms', 'to drivable, p50 [ms]', 0),
    ('connect_drivable_max_ms', 'to drivable, slowest [ms]', 0),
    'Frames',
    ('published_hz', 'published by the robot [Hz]', 2),
    ('received_hz', 'received by the bridge [Hz]', 2),
    ('slot_hz', 'put into the slot [Hz]', 2),
    ('encoded_hz', 'encoded [Hz]', 2),
    ('browser_received_hz', 'received by the browser [Hz]', 2),
    ('browser_decoded_hz', 'decoded [Hz]', 2),
    ('presented_hz', 'presented [Hz]', 2),
    ('dropped_dds', 'lost in DDS while driving', 0),
    ('dropped_intake', 'received, but not put into the slot', 0),
    ('dropped_skipped', 'in the slot, but overtaken by a newer one', 0),
    ('dropped_torn', 'overwritten while read, or not encoded', 0),
    ('browser_dropped', 'dropped by the browser', 0),
    ('browser_freezes', 'freezes', 0),
    ('browser_packets_lost', 'packets lost', 0),
    ('video_kbps', 'bitrate [kbit/s]', 0),
    'CPU in per cent of one core',
    ('cpu_bridge_ros_percent', 'bridge, ROS half', 1),
    ('cpu_bridge_webrtc_percent', 'bridge, WebRTC half', 1),
    ('cpu_broker_percent', 'broker', 1),
    ('cpu_simulated_robot_percent', 'simulated robot', 1),
    ('cpu_chromium_percent', 'Chromium, all processes', 1),
    ('cpu_benchmark_percent', 'benchmark itself', 1),
    ('cpu_others_percent', 'everything else on the machine', 1),
    ('load_before', 'load average before', 2),
    ('load_after', 'load average after', 2),
    'Memory in MiB: RSS (PSS shares out what several processes map)',
    ('rss_bridge_ros_mib', 'bridge, ROS half, RSS', 0),
    ('rss_bridge_webrtc_mib', 'bridge, WebRTC half, RSS', 0),
    ('rss_broker_mib', 'broker, RSS', 0),
    ('rss_simulated_robot_mib', 'simulated robot, RSS', 0),
    ('pss_bridge_ros_mib', 'bridge, ROS half, PSS', 0),
    ('pss_bridge_webrtc_mib', 'bridge, WebRTC half, PSS', 0),
    ('pss_broker_mib', 'broker, PSS', 0),
    ('pss_simulated_robot_mib', 'simulated robot, PSS', 0),
    ('pss_chromium_mib', 'Chromium, all processes, PSS', 0),
)


def judge(repeats: Sequence[Mapping[str, float]]) -> list[Verdict]:
    """Compare all repeats with the floors; a figure that was not measured misses its floor."""
    middle = medians(repeats)
    verdicts = []
    for floor in FLOORS:
        values = [repeat[floor.figure] for repeat in repeats]
        value = max(values) if floor.worst else middle[floor.figure]
        # NaN, of a repeat without a measurement, compares as neither larger nor smaller.
        value = math.nan if any(map(math.isnan, values)) else value
        verdicts.append(
            Verdict(
                text=floor.text, limit=floor.limit, value=value, passed=bool(value <= floor.limit)
            )
        )
    return verdicts


def table(repeats: Sequence[Figures], verdicts: Sequence[Verdict]) -> str:
    """Return everything as readable text: medians first, then each repeat."""
    middle = medians(repeats)
    columns = ''.join(f'{f"run {number}":>10}' for number in range(1, len(repeats) + 1))
    lines = [f'{"":52}{"median":>10}{columns}']
    for row in _ROWS:
        if isinstance(row, str):
            lines += ['', row]
            continue
        figure, label, decimals = row
        values = [column.get(figure, math.nan) for column in (middle, *repeats)]
        lines.append(f'  {label:50}' + ''.join(f'{value:10.{decimals}f}' for value in values))
    lines += ['', 'Floors']
    for verdict in verdicts:
        said = 'pass' if verdict.passed else 'FAIL'
        lines.append(f'  {said}  {verdict.text}: {verdict.value:.2f}, at most {verdict.limit:g}')
    return '\n'.join(lines)
