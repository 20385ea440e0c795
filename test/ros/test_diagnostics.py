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

"""What ``/diagnostics`` says of a real node, and what becomes of a snapshot there."""

from __future__ import annotations

import json
from pathlib import Path
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from programs import Programs, wait_for
import pytest
from ros_probe import ros_node
from std_srvs.srv import SetBool

from teleop_webrtc_bridge.link.packets import Status
from teleop_webrtc_bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.ros.self_diagnosis import ClockWatch, operator, processes
from teleop_webrtc_bridge.session import SessionState

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

NOBODY = 'http://127.0.0.1:9'
CONCERNS = {'broker', 'operator', 'command gate', 'E-STOP', 'video', 'clock', 'process'}
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
TOGGLES = 20


class Listener:
    """Collects the arrays of the robot ``alone``."""

    def __init__(self, node: Any) -> None:
        self.arrays: list[DiagnosticArray] = []
        node.create_subscription(DiagnosticArray, '/diagnostics', self.arrays.append, 100)

    def newest(self, concern: str) -> DiagnosticStatus:
        array = wait_for(lambda: self.arrays and self.arrays[-1], what='/diagnostics')
        return next(it for it in array.status if it.name == f'teleop_bridge: {concern}')

    def wait_for(self, concern: str, message: str) -> DiagnosticStatus:
        wait_for(lambda: message in self.newest(concern).message, what=f'{concern}: {message}')
        return self.newest(concern)


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def test_seven_concerns_once_a_second_and_at_each_change(tmp_path: Path) -> None:
    key_file = tmp_path / 'key'
    key_file.write_text('the-key-of-nobody')
    started = Programs(tmp_path)
    try:
        with ros_node() as node:
            listener = Listener(node)
            started.start_bridge(NOBODY, key_file, 'alone', '-p', 'estop_persist:=false')
            assert listener.wait_for('broker', 'backing_off').level == ERROR
            array = listener.arrays[-1]
            assert {it.name.partition(': ')[2] for it in array.status} == CONCERNS
            assert {it.hardware_id for it in array.status} == {'alone'}
            assert values(listener.newest('E-STOP')) == {'latch': 'None', 'persisted': 'False'}
            assert listener.newest('clock').level == OK
            assert int(values(listener.newest('process'))['memory_mib']) > 20
            assert_once_a_second(listener)
            assert_at_each_change(listener, node)
    finally:
        started.end()


def assert_once_a_second(listener: Listener) -> None:
    begin = len(listener.arrays)
    wait_for(lambda: len(listener.arrays) > begin + 3, what='a message a second')


def assert_at_each_change(listener: Listener, node: Any) -> None:
    """Change the latch again and again: more is said than once a second."""
    client = node.create_client(SetBool, 'teleop_bridge/set_estop')
    wait_for(client.service_is_ready, what='the service')
    begin, begin_s = len(listener.arrays), time.monotonic()
    for turn in range(TOGGLES):
        latched = turn % 2 == 0
        future = client.call_async(SetBool.Request(data=latched))
        wait_for(future.done, what='an answer')
        status = listener.wait_for('E-STOP', 'latched' if latched else 'released')
        assert status.level == (WARN if latched else OK)
    by_the_clock = time.monotonic() - begin_s + 1.0
    assert len(listener.arrays) - begin > by_the_clock + TOGGLES / 2


def snapshot(**fields: Any) -> DriveSnapshot:
    status = Status(
        state=SessionState.OPERATED, reason='', control_epoch=3, video_fps=30.0, counters={}
    )
    return DriveSnapshot(**{'status': status, 'link_up': True, 'realtime': True} | fields)


def test_an_operator_far_away_is_a_warning() -> None:
    assert operator(snapshot(round_trip_s=0.2))[1:3] == (OK, 'in control')
    assert operator(snapshot(round_trip_s=1.2))[1:3] == (WARN, 'round trip of 1.2 s')
    assert operator(snapshot(link_up=False, round_trip_s=1.2))[1:3] == (OK, 'nobody')
    assert json.loads(json.dumps(operator(snapshot(command_timeout_s=0.25))[3])) == {
        'epoch': 3,
        'page_round_trip_ms': 0.0,
        'command_timeout_s': 0.25,
    }


def test_halves_that_do_not_run_or_have_no_priority_are_told() -> None:
    def said(one: DriveSnapshot) -> tuple[bytes, str]:
        return processes(one, pid=1, child=None, restarts=2)[1:3]

    assert said(snapshot()) == (OK, 'both halves run')
    assert 'no real-time priority' in said(snapshot(realtime=False))[1]
    assert said(snapshot(link_up=False)) == (ERROR, 'the WebRTC half does not run')


class Clocks:
    """Three clocks that go alike until they are moved."""

    def __init__(self) -> None:
        self.now, self.wall_s, self.ros_s = 50.0, 1.7e9, 1.7e9
        self._watch = ClockWatch(self.wall_s - self.now)

    def look(self, *, seconds: float = 1.0, simulated: bool = False, ros: bool = True) -> str:
        self.now += seconds
        self.wall_s += seconds
        self.ros_s += seconds if ros else 0.0
        _, level, message, _ = self._watch.look(
            now=self.now, wall_s=self.wall_s, ros_s=self.ros_s, simulated=simulated
        )
        assert (level == OK) == (message in ('steady', 'simulated'))
        return message


def test_clocks_that_go_are_fine() -> None:
    clocks = Clocks()
    assert {clocks.look() for _ in range(10)} == {'steady'}
    assert clocks.look(simulated=True) == 'simulated'


@pytest.mark.parametrize('step_s', [-3600.0, -0.6, 0.6, 3600.0])
def test_a_wall_clock_that_steps_is_told(step_s: float) -> None:
    clocks = Clocks()
    clocks.look()
    clocks.wall_s += step_s
    assert clocks.look() == f'the wall clock stepped by {step_s:.0f} s since the start'
    clocks.wall_s -= step_s
    assert clocks.look() == 'steady'


def test_a_ros_clock_that_stands_still_is_told() -> None:
    clocks = Clocks()
    clocks.look()
    assert clocks.look(ros=False, simulated=True) == 'simulated'
    assert clocks.look(ros=False, simulated=True) == 'the ROS clock stands still'
    assert clocks.look(simulated=True) == 'simulated'
