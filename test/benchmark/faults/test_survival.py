"""A selection of the survival matrix, one trial each: real processes on three hosts."""

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
import math

from namespaces import why_no_namespaces
import pytest

from benchmark.faults.rig import Rig, rig, Setting
from benchmark.faults.table import named
from benchmark.faults.trial import run

pytestmark = [pytest.mark.real_programs, pytest.mark.namespace]

SELECTION = (
    'network: robot and broker apart',
    'network: nothing to the operator',
    'WebRTC half: SIGSTOP',
    'latched, then WebRTC half kill -9',
)
"""All of them need only the programs that the first one started."""
PHASE_S = 0.2


@pytest.fixture(scope='module')
def running() -> Iterator[Rig]:
    if why := why_no_namespaces():
        pytest.skip(why)
    with rig(Setting()) as started:
        yield started


@pytest.mark.parametrize('name', SELECTION)
def test_a_fault_leaves_the_robot_safe_and_drivable(running: Rig, name: str) -> None:
    (fault,) = named([name])
    trial = run(running, fault, PHASE_S)
    assert trial.violations == []
    # The time is a figure of the matrix, not a condition: a busy machine is slow.
    assert math.isfinite(trial.reconnect_s)
    assert math.isfinite(trial.video_s)
    # The next trial, or this call, shows that the robot can be driven again.
    running.make_drivable()
    running.drive()
    running.tell('silence')
