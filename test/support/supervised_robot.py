"""A robot whose bridge hangs and is restarted by its supervisor."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import dataclasses
from pathlib import Path
import sys
import time

from driven_robot import driven_robot, DrivenRobot, PATIENCE_S, ROBOT_ID
from python_operator import operator, PythonOperator

SUPPORT = Path(__file__).resolve().parent


@asynccontextmanager
async def supervised_robot(
    folder: Path, fault: str, begin: Path, *, watchdog_s: float
) -> AsyncIterator[DrivenRobot]:
    """
    Start a robot with a supervisor.

    :param fault: A fault of hanging_bridge.
    :param begin: The file whose existence triggers it.
    """
    launcher = (
        *(sys.executable, str(SUPPORT / 'play_systemd.py'), str(watchdog_s)),
        *(sys.executable, str(SUPPORT / 'hanging_bridge.py'), fault, str(begin)),
    )
    async with driven_robot(folder, launcher=launcher) as robot:
        yield robot


async def comes_back(robot: DrivenRobot, begin: Path) -> float:
    """
    Make the bridge of a moving robot hang, and drive the bridge that replaces it.

    :returns: Seconds from the death of the first bridge until the robot moves again.
    """
    before = {it['session_id'] for it in await robot.person.robots()}
    await asyncio.to_thread(begin.touch)
    await asyncio.to_thread(robot.bridge.wait_for_line, 'systemd: ended with status')
    died_s = time.monotonic()
    async with operator(robot.broker.url, robot.broker.token, with_video=False) as person:
        async with asyncio.timeout(PATIENCE_S):
            while not (new := await _sessions(person, before)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await person.connect(new[0])
        await dataclasses.replace(robot, person=person).set_off()
        return time.monotonic() - died_s


async def _sessions(person: PythonOperator, before: set[str]) -> list[str]:
    """Return the robot's sessions except the earlier ones."""
    return [
        str(it['session_id'])
        for it in await person.robots()
        if it['robot_id'] == ROBOT_ID and it['session_id'] not in before
    ]
