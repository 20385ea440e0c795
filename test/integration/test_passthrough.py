"""A camera's own H.264 reaches the operator unchanged: real bridge, broker and DDS."""

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
from collections.abc import Callable
from contextlib import suppress
from functools import partial
import json
from typing import Any

from coded_camera import coded_camera
from counted_broker import CountedBroker
from h264_camera import pictures, published
from programs import Programs
import pytest
from python_operator import operator
from ros_probe import ros_node
from sensor_msgs.msg import Image
from small_camera import SmallCamera, VideoDiagnostics
from waiting import until

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

WIDTH, HEIGHT = 320, 180
STAYS_S = 6.0
"""Duration of a visit: the broker allows 12 joins per person and minute."""
camera = partial(coded_camera, 'High', WIDTH, HEIGHT)


def shown_as(frame: Any) -> bytes:
    return bytes(frame.to_ndarray(format='yuv420p').tobytes())


async def test_the_operator_sees_to_the_bit_what_the_camera_encoded(
    broker: CountedBroker, started: Programs
) -> None:
    """The parameter sets came only once, before anybody watched."""
    right = set(pictures(published(WIDTH, HEIGHT, 15)))
    assert len(right) == 60
    seen: list[bytes] = []
    options = ('-p', 'image_transport:=h264')
    bridge = started.start_bridge(broker.url, broker.key_file, 'go2-a', *options)
    with coded_camera('High:once', WIDTH, HEIGHT, 15), ros_node() as node:
        said = VideoDiagnostics(node)
        await until(lambda: said.message == 'nobody watches', 'the camera is known')
        await until(lambda: said.values['subscribed'] == 'False', 'all was heard of it')
        await until(lambda: said.count('grey') >= 2, 'keep-alive')
        async with operator(broker.url, broker.token) as person:
            person.on_picture = lambda frame: seen.append(shown_as(frame))
            await person.connect(await person.wait_for_robot('go2-a'))
            await until(lambda: len(set(seen) & right) > 30, 'the pictures of the camera')
            await until(lambda: said.message == 'receiving', 'diagnostics')
        assert said.values['topic'] == '/image/h264'
        assert said.count('encoded') == said.count('encoder_failures') == 0
    assert 'image dropped' not in bridge.output()


async def test_after_a_loss_on_the_way_from_the_camera_nobody_sees_garbage(
    broker: CountedBroker, started: Programs
) -> None:
    units = published(WIDTH, HEIGHT, 15)
    lost = (5, 35)
    right = set(pictures(units))
    # Output of a decoder that ignores losses: pictures that refer to a lost one.
    garbage = set(pictures([unit for n, unit in enumerate(units) if n not in lost])) - right
    assert len(garbage) > 15
    seen: set[bytes] = set()
    with camera(15, *lost), ros_node() as node:
        said = VideoDiagnostics(node)
        options = ('-p', 'image_transport:=h264')
        started.start_bridge(broker.url, broker.key_file, 'go2-a', *options)
        await until(lambda: said.message == 'nobody watches', 'the camera is known')
        async with operator(broker.url, broker.token) as person:
            person.on_picture = lambda frame: seen.add(shown_as(frame))
            await person.connect(await person.wait_for_robot('go2-a'))
            await until(lambda: said.count('lost') >= 4, 'losses')
            await until(lambda: len(seen & right) > 30, 'the pictures between them')
            await until(lambda: said.count('no_keyframe') >= 4 * 9, 'what refers to the lost')
    assert not seen & garbage


async def test_a_camera_that_encodes_and_one_that_does_not_take_turns_on_one_connection(
    broker: CountedBroker, started: Programs
) -> None:
    right = set(pictures(published(WIDTH, HEIGHT, 15)))
    options = (
        *('-p', 'cameras:=[front, rear]'),
        *('-p', 'front.image_transport:=h264', '-p', 'front.topic:=image'),
    )
    seen: list[tuple[int, bool]] = []
    with camera(15), ros_node() as node:
        grey = Image(width=192, height=108, step=192, encoding='mono8', data=bytes(192 * 108))
        SmallCamera(node, 'rear/image', [grey])
        started.start_bridge(broker.url, broker.key_file, 'go2-a', *options)
        async with operator(broker.url, broker.token) as person:
            person.on_picture = lambda frame: seen.append((frame.width, shown_as(frame) in right))
            await person.connect(await person.wait_for_robot('go2-a'))

            async def shows(what: Callable[[], bool], *names: str) -> None:
                if names:
                    message = json.dumps({'type': 'camera_select', 'cams': names})
                    person.send('state_reliable', message)
                await until(what, f'{names} in {seen[-3:]}')

            await shows(lambda: seen[-1:] == [(WIDTH, True)])
            await shows(lambda: seen[-1:] == [(192, False)], 'rear')
            await shows(lambda: seen[-1:] == [(WIDTH, True)], 'front')
            # Next to another camera, the video must be decoded and re-encoded.
            await shows(lambda: seen[-1][0] > WIDTH + 192, 'front', 'rear')
            await shows(lambda: seen[-1:] == [(WIDTH, True)], 'front')


async def test_a_camera_whose_keyframes_are_rare_is_told_of(
    broker: CountedBroker, started: Programs
) -> None:
    with camera(60), ros_node() as node:
        said = VideoDiagnostics(node)
        options = ('-p', 'image_transport:=h264')
        bridge = started.start_bridge(broker.url, broker.key_file, 'go2-a', *options)
        await until(lambda: said.message == 'nobody watches', 'the camera is known')
        async with operator(broker.url, broker.token) as person:
            session = await person.wait_for_robot('go2-a')
            await person.connect(session)
            await until(lambda: said.message.startswith('a keyframe every'), 'diagnostics')

            def is_late() -> bool:
                return 'event=keyframe_late' in bridge.output()

            async with asyncio.timeout(120.0):
                # A viewer who joins between keyframes causes a request; being late is chance.
                while not is_late():
                    async with operator(broker.url, broker.token) as viewer:
                        await viewer.connect(session, role='viewer')
                        with suppress(TimeoutError):
                            async with asyncio.timeout(STAYS_S):
                                while not is_late():  # noqa: ASYNC110 - a log has no event
                                    await asyncio.sleep(0.05)
                        await viewer.leave()
    line = bridge.wait_for_line('event=keyframe_late')
    assert 'camera=image' in line
    assert 'GOP' in line
    assert bridge.output().count('event=keyframe_late') == 1
