"""A WebRTC half that is driven through a broker, without ROS."""

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
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from programs import Broker
from python_operator import operator, PythonOperator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.messages import Velocity

DRIVE_PERIOD_S: Final = 0.02
OPERATOR_HEARTBEAT_S: Final = 5.0
ROBOT_ID: Final = 'healthy'


@dataclass(slots=True, kw_only=True)
class DrivenHalf:
    """A robot's WebRTC half, and the operator who drives it."""

    robot: WebrtcHalf
    person: PythonOperator
    session_id: str
    sent: int = 0

    async def drive(self) -> None:
        """Send commands until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.person.drive(Velocity(linear_x=0.1))
            self.sent += 1
            due += DRIVE_PERIOD_S
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def beat(self) -> None:
        """Send the operator's heartbeats to the broker until cancelled."""
        while True:
            await self.person.call('POST', f'sessions/{self.session_id}/op-heartbeat')
            await asyncio.sleep(OPERATOR_HEARTBEAT_S)


@asynccontextmanager
async def driven_half(broker: Broker, folder: Path) -> AsyncIterator[DrivenHalf]:
    """Connect a WebRTC half and its operator, and drive."""
    key = broker.key_file.read_text().strip()
    async with (
        webrtc_half(configuration(broker.url, key, ROBOT_ID), folder) as robot,
        operator(broker.url, broker.token, with_video=False) as person,
    ):
        await robot.connected()
        session_id = await person.wait_for_robot(ROBOT_ID)
        await person.connect(session_id)
        driven = DrivenHalf(robot=robot, person=person, session_id=session_id)
        working = [asyncio.create_task(work) for work in (driven.drive(), driven.beat())]
        try:
            yield driven
        finally:
            for task in working:
                task.cancel()
            for task in working:
                with suppress(asyncio.CancelledError):
                    await task
