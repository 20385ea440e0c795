"""A robot with two cameras: the real bridge, a real broker, an operator who watches."""

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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
import json
from typing import Any

from counted_broker import CountedBroker
import numpy as np
from programs import Programs
import pytest
from python_operator import operator, PythonOperator
from ros_probe import ros_node
from sensor_msgs.msg import Image
from small_camera import SmallCamera

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

PATIENCE_S = 30.0
FRONT, REAR = (160, 120), (192, 108)
BOTH = (160 + 212, 120)
"""Size of both pictures side by side, with the same height."""
COLOURS = {'red': (230, 20, 20), 'blue': (20, 20, 230), 'grey': (128, 128, 128)}
NEAR = 40
"""Tolerance for coding, of 255."""
OPTIONS = (
    *('-p', 'cameras:=[front, rear]'),
    *('-p', 'rear.topic:=camera_rear/image_raw'),
    *('-r', 'front/image:=camera/image_raw'),
)


def image(colour: str, size: tuple[int, int]) -> Image:
    width, height = size
    data = np.full((height, width, 3), COLOURS[colour], np.uint8).tobytes()
    return Image(width=width, height=height, step=3 * width, encoding='rgb8', data=data)


def colour_at(pixels: Any, part: float) -> str:
    """Return the colour in the middle row, at this fraction of the width."""
    height, width, _ = pixels.shape
    found = pixels[height // 2, int(part * width)].astype(int)
    for name, colour in COLOURS.items():
        if np.abs(found - colour).max() <= NEAR:
            return name
    return str(found)


class Bridged:
    """A robot with two cameras, and the operator who sees their pictures."""

    def __init__(self, person: PythonOperator, front: SmallCamera, rear: SmallCamera) -> None:
        self.person = person
        self.front = front
        self.rear = rear
        self.seen: list[str] = []
        """Colours in each frame, from the left."""
        person.on_picture = self._see

    def _see(self, picture: Any) -> None:
        pixels = picture.to_ndarray(format='rgb24')
        size = (picture.width, picture.height)
        parts = [0.2, 0.8] if size == BOTH else [0.5]
        self.seen.append('|'.join(colour_at(pixels, part) for part in parts))

    def select(self, *names: str) -> None:
        message = json.dumps({'type': 'camera_select', 'cams': names})
        self.person.send('state_reliable', message)

    def state(self) -> dict[str, Any]:
        """Return the newest state that the robot reported."""
        told = [json.loads(message) for label, message in self.person.received if label[0] == 's']
        states = [message['state'] for message in told if message['type'] == 'robot_telemetry']
        return dict(states[-1]) if states else {}

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():  # noqa: ASYNC110 - of several sources
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f'no {what}; {self.seen[-5:]} {self.state()}') from None

    async def shows(self, what: str) -> None:
        """Wait until the newest frame shows these colours."""
        await self.until(lambda: self.seen and self.seen[-1] == what, what)


@asynccontextmanager
async def robot(broker: CountedBroker, started: Programs) -> AsyncIterator[Bridged]:
    with ros_node() as node:
        front = SmallCamera(node, 'camera/image_raw', [image('red', FRONT)])
        rear = SmallCamera(node, 'camera_rear/image_raw', [image('blue', REAR)])
        started.start_bridge(broker.url, broker.key_file, 'go2-a', *OPTIONS)
        async with joined(broker) as person:
            yield Bridged(person, front, rear)


@asynccontextmanager
async def joined(broker: CountedBroker, role: str = 'operator') -> AsyncIterator[PythonOperator]:
    async with operator(broker.url, broker.token) as person:
        await person.connect(await person.wait_for_robot('go2-a'), role=role)
        staying = asyncio.create_task(person.stay())
        try:
            yield person
        finally:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
            await person.leave()


async def test_cameras_are_switched_on_one_connection_and_only_those_seen_are_subscribed(
    broker: CountedBroker, started: Programs
) -> None:
    async with robot(broker, started) as bridged:
        await bridged.shows('red')
        assert bridged.rear.subscribers() == 0
        connections = set(broker.media.offers)
        bridged.seen.clear()
        bridged.select('rear')
        await bridged.shows('blue')
        await bridged.until(lambda: bridged.front.subscribers() == 0, 'end of the subscription')
        assert bridged.rear.subscribers() == 1
        assert bridged.person.picture.width == REAR[0]
        bridged.select('front', 'rear')
        await bridged.shows('red|blue')
        bridged.select('front')
        await bridged.shows('red')
        await bridged.until(lambda: bridged.rear.subscribers() == 0, 'end of the subscription')
        # Nothing else in between: no gap, no grey or black picture, no partial picture.
        assert set(bridged.seen) == {'red', 'blue', 'red|blue'}
        assert set(broker.media.offers) == connections


async def test_the_operator_hears_which_cameras_there_are_and_which_they_see(
    broker: CountedBroker, started: Programs
) -> None:
    async with robot(broker, started) as bridged:
        await bridged.until(bridged.state, 'telemetry')
        assert bridged.state()['cameras'] == ['front', 'rear']
        assert bridged.state()['selected'] == ['front']
        bridged.select('ceiling', 'rear')
        await bridged.until(lambda: bridged.state()['selected'] == ['rear'], 'selection')


async def test_the_next_operator_begins_with_the_first_camera_and_viewers_select_none(
    broker: CountedBroker, started: Programs
) -> None:
    async with robot(broker, started) as bridged:
        bridged.select('rear')
        await bridged.shows('blue')
        await bridged.person.leave()
        async with joined(broker) as successor, joined(broker, 'viewer') as viewer:
            second = Bridged(successor, bridged.front, bridged.rear)
            await second.shows('red')
            viewer.send('state_reliable', json.dumps({'type': 'camera_select', 'cams': ['rear']}))
            # A viewer's other messages take no longer than their E-STOP.
            viewer.send('state_reliable', json.dumps({'type': 'estop', 'nonce': 'v'}))
            await second.until(lambda: second.state().get('estopped'), 'E-STOP')
            assert second.state()['selected'] == ['front']
            assert 'blue' not in second.seen


async def test_a_camera_that_does_not_come_is_grey_and_makes_blind(
    broker: CountedBroker, started: Programs
) -> None:
    async with robot(broker, started) as bridged:
        await bridged.shows('red')
        await bridged.until(lambda: not bridged.state()['blind'], 'sight')
        bridged.rear.is_on = False
        bridged.seen.clear()
        bridged.select('rear')
        await bridged.until(lambda: bridged.state()['blind'], 'blindness')
        await bridged.shows('grey')
        assert set(bridged.seen) == {'red', 'grey'}
        bridged.rear.is_on = True
        await bridged.shows('blue')
        await bridged.until(lambda: not bridged.state()['blind'], 'sight')


async def test_one_of_two_that_stalls_is_grey_and_makes_blind(
    broker: CountedBroker, started: Programs
) -> None:
    async with robot(broker, started) as bridged:
        bridged.select('front', 'rear')
        await bridged.shows('red|blue')
        await bridged.until(lambda: not bridged.state()['blind'], 'sight')
        bridged.front.is_on = False
        await bridged.until(lambda: bridged.state()['blind'], 'blindness')
        await bridged.shows('grey|blue')
        bridged.rear.is_on = False
        await bridged.shows('grey|grey')
        bridged.front.is_on = bridged.rear.is_on = True
        await bridged.shows('red|blue')
        await bridged.until(lambda: not bridged.state()['blind'], 'sight')
