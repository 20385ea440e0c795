"""Large images from another process arrive, whatever reliability their publisher offers."""

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

import subprocess
import sys

from counted_broker import CountedBroker
from programs import Programs
import pytest
from python_operator import operator
from ros_probe import ros_node
from small_camera import VideoDiagnostics
from tree import SUPPORT
from waiting import until

pytestmark = pytest.mark.real_programs

PUBLISHER = SUPPORT / 'image_publisher.py'


def camera(reliability: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PUBLISHER), reliability])


async def test_frames_of_cameras_in_another_process_arrive(
    broker: CountedBroker, started: Programs
) -> None:
    process = camera('best_effort')
    try:
        started.start_bridge(broker.url, broker.key_file, 'go2-a')
        with ros_node() as node:
            said = VideoDiagnostics(node)
            await until(lambda: said.message == 'nobody watches', 'the camera is known')
            async with operator(broker.url, broker.token) as person:
                await person.connect(await person.wait_for_robot('go2-a'))
                await until(lambda: said.count('received') > 45, 'images, best effort')
                assert said.values['reliability'] == 'best_effort'
                process.terminate()
                process.wait(10.0)
                before = said.count('received')
                process = camera('reliable')
                await until(lambda: said.count('received') > before + 45, 'images, reliable')
                assert said.values['reliability'] == 'reliable'
    finally:
        process.terminate()
        process.wait(10.0)
