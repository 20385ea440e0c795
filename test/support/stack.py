"""Broker, bridge and simulated robot as processes, as in the demo."""

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

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from programs import Broker, Program, Programs, programs

ROBOT_ID = 'go2-a'


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One robot that is ready to be driven."""

    programs: Programs
    broker: Broker
    bridge: Program
    robot_id: str


@contextmanager
def running_stack(folder: Path, *options: str, robot: tuple[str, ...] = ()) -> Iterator[Stack]:
    """
    Start everything, and continue when the robot can be driven.

    :param options: Options of the bridge, instead of one camera.
    :param robot: Options of the simulated robot.
    """
    with programs(folder) as started:
        broker = started.start_broker()
        started.start_simulation(*robot)
        options = options or ('-r', 'image:=camera/image_raw')
        bridge = started.start_bridge(broker.url, broker.key_file, ROBOT_ID, *options)
        bridge.wait_for_line('state="connected"')
        yield Stack(programs=started, broker=broker, bridge=bridge, robot_id=ROBOT_ID)
