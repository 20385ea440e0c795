"""An operator who sends nothing stays for as long as their machine answers."""

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
from pathlib import Path
import time

from counted_broker import CountedBroker
from detour import detour_to, Direction
import pytest
from python_operator import operator, PythonOperator
from webrtc_half import configuration, webrtc_half

from teleop_webrtc_bridge.core.messages import Velocity

pytestmark = pytest.mark.real_programs

HEARTBEAT_PERIOD_S = 5.0
SILENT_S = 10.0
"""Far longer than a link may be silent."""
EVICTED_WITHIN_S = 10.0
"""Well below the 20 s after which missing heartbeats would cause the eviction."""


async def is_operated(person: PythonOperator, session_id: str) -> bool:
    status, robot = await person.call('GET', f'sessions/{session_id}/status')
    assert status == 200
    return bool(robot['state'] == 'active')


async def keep_silent(person: PythonOperator, session_id: str, until_s: float) -> None:
    """Do only what the protocol requires: send a heartbeat every five seconds."""
    while (left_s := until_s - time.monotonic()) > 0.0:
        await asyncio.sleep(min(left_s, HEARTBEAT_PERIOD_S))
        status, answer = await person.call('POST', f'sessions/{session_id}/op-heartbeat')
        assert (status, answer) == (200, {'ack': True})


async def test_a_silent_operator_stays_and_one_who_is_cut_off_goes(
    broker: CountedBroker, tmp_path: Path
) -> None:
    """Without video there is no RTCP, and the stand-in robots send nothing that is answered."""
    key = broker.key_file.read_text()
    async with (
        webrtc_half(configuration(broker.url, key, 'go2-a'), tmp_path) as robot,
        webrtc_half(configuration(broker.url, key, 'go2-b'), tmp_path),
        detour_to(broker.url) as detour,
        operator(broker.url, broker.token, with_video=False) as silent,
        operator(detour.url, broker.token, with_video=False) as cut_off,
    ):
        here = await silent.wait_for_robot('go2-a')
        there = await cut_off.wait_for_robot('go2-b')
        await asyncio.gather(silent.connect(here), cut_off.connect(there))
        begin_s = time.monotonic()
        keeping = asyncio.create_task(keep_silent(silent, here, begin_s + SILENT_S))
        await asyncio.sleep(SILENT_S / 2)
        assert await is_operated(cut_off, there), 'silent, but not cut off'
        detour.cut |= set(Direction)
        cut_s = time.monotonic()
        async with asyncio.timeout(EVICTED_WITHIN_S):
            while await is_operated(cut_off, there):  # noqa: ASYNC110 - polled over HTTP
                await asyncio.sleep(0.05)
        assert time.monotonic() - cut_s > 1.0, 'a single lost packet is no reason'
        detour.cut.clear()
        await keeping
        assert await is_operated(silent, here)
        async with asyncio.timeout(20.0):
            while not robot.commands:
                silent.drive(Velocity(linear_x=0.1))
                await asyncio.sleep(0.02)
