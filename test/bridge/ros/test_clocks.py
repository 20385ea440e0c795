"""The real node while the ROS clock or the wall clock misbehaves."""

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

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import threading
import time

from driven_robot import driven_robot, FORWARD
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from wall_clock import environment, step, why_not

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

CLOCK_PERIOD_S = 0.02
HOUR_S = 3600.0
TEN_YEARS_S = 10 * 365.25 * 24 * HOUR_S


class SimulatedTime:
    """
    A ``/clock``, published from a thread of its own.

    :param publish: Publishes it.
    """

    def __init__(self, publish: Callable[[Clock], None]) -> None:
        self.rate = 0.0
        """Simulated seconds per real second."""
        self.now_s = 100.0
        self._publish = publish
        self._moving_on = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(CLOCK_PERIOD_S):
            with self._moving_on:
                self.now_s += CLOCK_PERIOD_S * self.rate
            message = Clock()
            message.clock.sec = int(self.now_s)
            message.clock.nanosec = int(1e9 * (self.now_s % 1.0))
            self._publish(message)

    def jump(self, to_s: float) -> None:
        with self._moving_on:
            self.now_s = to_s

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def simulated_time(publish: Callable[[Clock], None]) -> Iterator[SimulatedTime]:
    clock = SimulatedTime(publish)
    clock.start()
    try:
        yield clock
    finally:
        clock.end()


async def test_whatever_the_simulated_time_does_the_robot_drives_and_stops(
    tmp_path: Path,
) -> None:
    async with driven_robot(tmp_path, '-p', 'use_sim_time:=true') as robot:
        probe = robot.probe
        # Without a /clock.
        moving = await robot.assert_drives_and_stops()
        assert {command.stamp_s for command in moving} == {0.0}

        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        publisher = robot.node.create_publisher(Clock, '/clock', qos)
        with simulated_time(publisher.publish) as clock:

            def has_stamp(low_s: float, high_s: float) -> bool:
                last = probe.last()
                return last is not None and low_s <= last.stamp_s <= high_s

            # Paused.
            await robot.set_off()
            await robot.hold(FORWARD, lambda: has_stamp(100.0, 100.0))
            moving = await robot.assert_drives_and_stops()
            assert {command.stamp_s for command in moving} == {100.0}

            # At a tenth of real time: a time-out by this clock would take ten times as long.
            clock.rate = 0.1
            await robot.set_off()
            await robot.hold(FORWARD, lambda: has_stamp(100.05, 200.0))
            moving = await robot.assert_drives_and_stops()
            stamps = [command.stamp_s for command in moving]
            assert stamps == sorted(stamps)
            assert stamps[-1] <= clock.now_s

            # It jumps back while the robot drives.
            clock.rate = 1.0
            await robot.set_off()
            begin = len(probe.commands)
            clock.jump(50.0)
            await robot.hold(FORWARD, lambda: has_stamp(50.0, 60.0))
            assert not any(command.is_zero for command in probe.commands[begin:])
            zero = await robot.falls_silent()
            assert 50.0 <= zero.stamp_s <= clock.now_s


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_a_step_of_the_wall_clock_neither_stops_the_robot_nor_puts_off_its_stop(
    tmp_path: Path,
) -> None:
    async with driven_robot(tmp_path, environment=environment(tmp_path)) as robot:
        probe = robot.probe
        for offset_s in (HOUR_S, -HOUR_S, TEN_YEARS_S, -TEN_YEARS_S):
            if not probe.moving():
                await robot.set_off()
            begin = len(probe.commands)
            step(tmp_path, offset_s)

            def stamped(offset_s: float = offset_s) -> bool:
                """Whether the published stamps show that the robot's clock has stepped."""
                last = probe.last()
                return last is not None and abs(last.stamp_s - time.time() - offset_s) < HOUR_S / 2

            await robot.hold(FORWARD, stamped)
            await robot.hold_for(FORWARD, 0.5)
            assert not any(command.is_zero for command in probe.commands[begin:])
            if offset_s < 0.0:
                await robot.falls_silent()
        await robot.assert_drives_and_stops()
