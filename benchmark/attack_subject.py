"""The robot that is driven while the broker is attacked, and its measurements."""

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

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
import itertools
from pathlib import Path
import time
from typing import Any, Final

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from driven_half import driven_half, DrivenHalf
from process_tree import process_tree
from programs import Broker
import psutil

from benchmark.attackers import peer
from benchmark.figures import Figures, percentile
from benchmark.processes import Usage

__all__ = ['WATCHDOG_S', 'Healthy', 'descriptors', 'healthy', 'phase', 'probe']

WATCHDOG_S: Final = 0.25
"""The default ``command_timeout``."""
HEARTBEAT_PERIOD_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """The robot under test, its operator, and the broker between them."""

    driven: DrivenHalf
    probe: aiohttp.ClientSession
    probe_path: str
    """Path to which a second robot with the same key sends its timed heartbeats."""
    broker_pid: int


@asynccontextmanager
async def probe(url: str, key: str) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """
    Connect a robot whose heartbeats are sent explicitly.

    The heartbeats of the robot under test last for seconds (long poll), so their duration says
    nothing.
    """
    async with (
        peer() as pc,
        aiohttp.ClientSession(url, headers={'X-Robot-API-Key': key}) as http,
    ):
        session_id = await _dial(http, pc)
        yield http, f'/api/v1/sessions/{session_id}/heartbeat'


async def _dial(http: aiohttp.ClientSession, pc: RTCPeerConnection) -> str:
    body = {'robot_name': 'a', 'robot_id': 'probe', 'sdp_offer': pc.localDescription.sdp}
    async with http.post('/api/v1/sessions', json=body) as response:
        response.raise_for_status()
        answer = await response.json()
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer['sdp_answer'], type='answer'))
    return str(answer['session_id'])


@asynccontextmanager
async def healthy(broker: Broker, folder: Path) -> AsyncIterator[Healthy]:
    """Connect the robot under test and its operator."""
    async with (
        driven_half(broker, folder) as driven,
        probe(broker.url, broker.key_file.read_text().strip()) as (http, path),
    ):
        yield Healthy(driven=driven, probe=http, probe_path=path, broker_pid=broker.program.pid)


async def phase(subject: Healthy, seconds: float) -> dict[str, Any]:
    """Send heartbeats for some time; return the durations of heartbeats and commands."""
    wall_ahead_s = time.time() - time.monotonic()
    first, sent = len(subject.driven.robot.arrivals), subject.driven.sent
    assert subject.driven.robot.status is not None
    epoch = subject.driven.robot.status.control_epoch
    front = psutil.Process(subject.broker_pid)
    usage = Usage(
        {
            'front': lambda: [front],
            'media': lambda: front.children(recursive=True),
        }
    )
    began_s = time.monotonic()
    heartbeats, refused = await _heartbeats(subject, began_s + seconds)
    took_s = time.monotonic() - began_s
    used = usage.figures()
    arrivals = subject.driven.robot.arrivals[first:]
    latencies = [
        1e3 * (arrival_s - (command.stamp_s - wall_ahead_s)) for arrival_s, command in arrivals
    ]
    return {
        **_spread('heartbeat', heartbeats),
        'heartbeats': float(len(heartbeats)),
        'heartbeats_refused': float(refused),
        **_spread('command', latencies),
        **_gaps([arrival_s for arrival_s, _ in arrivals], began_s, began_s + took_s),
        'commands_sent': float(subject.driven.sent - sent),
        'commands_arrived': float(len(latencies)),
        'reconnects': float(subject.driven.robot.status.control_epoch - epoch),
        **used,
        'descriptors_broker': float(descriptors(subject.broker_pid)),
    }


async def _heartbeats(subject: Healthy, until_s: float) -> tuple[list[float], int]:
    """Return how long each heartbeat took, in ms, and how many were refused."""
    taken, refused = [], 0
    while time.monotonic() < until_s:
        began_s = time.perf_counter()
        async with subject.probe.post(subject.probe_path, json={}) as response:
            await response.read()
        taken.append(1e3 * (time.perf_counter() - began_s))
        refused += response.status != 200
        await asyncio.sleep(HEARTBEAT_PERIOD_S)
    return taken, refused


def _spread(name: str, values: Sequence[float]) -> Figures:
    return {
        f'{name}_p50_ms': percentile(values, 50.0),
        f'{name}_p99_ms': percentile(values, 99.0),
        f'{name}_max_ms': percentile(values, 100.0),
    }


def _gaps(arrivals_s: Sequence[float], begin_s: float, end_s: float) -> Figures:
    """Return how often the robot would have stopped: its watchdog waits 0.25 s."""
    times_s = [begin_s, *arrivals_s, end_s]
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    return {
        'false_stops': float(sum(gap_s > WATCHDOG_S for gap_s in gaps_s)),
        'longest_gap_ms': 1e3 * max(gaps_s),
    }


def descriptors(broker_pid: int) -> int:
    """Return the number of open descriptors of a broker and its media processes."""
    return sum(process.num_fds() for process in process_tree(broker_pid))
