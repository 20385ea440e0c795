"""What ``/diagnostics`` says of operator, E-STOP, clocks and the two processes."""

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

from collections.abc import Sequence
import os
import time
from typing import Final

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.graph import TopicReport
from teleop_webrtc_bridge.bridge.ros.webrtc_process import WebrtcProcess
from teleop_webrtc_bridge.core.session import BridgeState
from teleop_webrtc_bridge.processes.child_process import memory_bytes

__all__ = ['ClockWatch', 'Concern', 'SelfDiagnosis', 'estop', 'operator', 'processes']

#: Name, level, message and values.
Concern = tuple[str, bytes, str, dict[str, object]]

SLOW_ROUND_TRIP_S: Final = 1.0
"""From here on the gate slows him down."""
STEPPED_S: Final = 0.5
STANDS_STILL_S: Final = 1.5
"""A ROS clock that did not move within this time."""


def operator(snapshot: DriveSnapshot) -> Concern:
    """Tell whether somebody drives, and how well he and the robot hear each other."""
    status = snapshot.status
    operated = snapshot.link_up and status.state is BridgeState.OPERATED
    level, message = DiagnosticStatus.OK, 'somebody drives or watches' if operated else 'nobody'
    if operated and snapshot.round_trip_s > SLOW_ROUND_TRIP_S:
        level, message = DiagnosticStatus.WARN, f'round trip of {snapshot.round_trip_s:.1f} s'
    values: dict[str, object] = {
        'epoch': status.control_epoch,
        'page_round_trip_ms': round(1e3 * snapshot.round_trip_s, 1),
        'command_timeout_s': round(snapshot.command_timeout_s, 3),
    }
    return 'operator', level, message, values


def estop(snapshot: DriveSnapshot, *, persisted: bool, unheard: Sequence[str] = ()) -> Concern:
    """
    Tell who holds the E-STOP latch, if it holds, and whether it would survive a restart.

    :param unheard: Who cannot press it, or does not hear of it, and why.
    """
    cause = snapshot.cause
    if snapshot.latch is None:
        level, message = DiagnosticStatus.OK, 'released'
    elif cause is None:
        level, message = DiagnosticStatus.WARN, f'latched: {snapshot.latch}'
    else:
        level, message = DiagnosticStatus.WARN, f'latched: {snapshot.latch}, by {cause.by}'
    if unheard:
        level, message = DiagnosticStatus.ERROR, '; '.join((message, *unheard))
    values: dict[str, object] = {
        'latch': snapshot.latch,
        'by': '' if cause is None else cause.by.sub,
        'role': '' if cause is None else cause.by.role.value,
        'since': '' if cause is None else cause.since,
        'persisted': persisted,
    }
    return 'E-STOP', level, message, values


def graph(topics: TopicReport) -> Concern:
    """Tell who cannot hear us on the topics that no other status is about."""
    if not topics.others:
        return 'graph', DiagnosticStatus.OK, 'all endpoints match', {}
    return 'graph', DiagnosticStatus.WARN, '; '.join(topics.others), {}


def processes(snapshot: DriveSnapshot, *, pid: int, child: int | None, restarts: int) -> Concern:
    """
    Tell how the two halves are.

    :param pid: Of the ROS half.
    :param child: Of the WebRTC half; ``None`` before its first start.
    :param restarts: How often it ended by itself.
    """
    level, message = DiagnosticStatus.OK, 'both halves run'
    if not snapshot.link_up:
        level, message = DiagnosticStatus.ERROR, 'the WebRTC half does not run'
    elif snapshot.realtime is False:
        message += '; the drive thread has no real-time priority'
    values: dict[str, object] = {
        'scheduling': 'SCHED_FIFO' if snapshot.realtime else 'normal',
        'webrtc_pid': child,
        'webrtc_restarts': restarts,
        'memory_mib': memory_bytes(pid) // 2**20,
        'webrtc_memory_mib': memory_bytes(child) // 2**20 if child and snapshot.link_up else 0,
    }
    return 'process', level, message, values


class ClockWatch:
    """
    Compares the robot's clocks with the steady one, by which everything that stops runs.

    :param wall_ahead_s: What the wall clock was ahead of the steady one at the start.
    """

    def __init__(self, wall_ahead_s: float) -> None:
        self._wall_ahead_s = wall_ahead_s
        self._ros_s = float('nan')
        self._moved_s = float('nan')

    def look(self, *, now: float, wall_s: float, ros_s: float, simulated: bool) -> Concern:
        """
        Tell whether the ROS clock moves and whether the wall clock has stepped since the start.

        :param now: Seconds of the steady clock.
        :param wall_s: Seconds of the wall clock.
        :param ros_s: Seconds of the node's clock.
        :param simulated: Whether that is the clock of a simulation.
        """
        if ros_s != self._ros_s:
            self._ros_s, self._moved_s = ros_s, now
        stepped_s = wall_s - now - self._wall_ahead_s
        level, message = DiagnosticStatus.OK, 'simulated' if simulated else 'steady'
        if now - self._moved_s > STANDS_STILL_S:
            level, message = DiagnosticStatus.WARN, 'the ROS clock stands still'
        elif abs(stepped_s) > STEPPED_S:
            # In whole seconds: a slow drift is not to be news each time.
            level = DiagnosticStatus.WARN
            message = f'the wall clock stepped by {stepped_s:.0f} s since the start'
        values: dict[str, object] = {
            'use_sim_time': simulated,
            'wall_clock_stepped_s': round(stepped_s, 3),
        }
        return 'clock', level, message, values


class SelfDiagnosis:
    """
    All of these of one robot; used from the thread that runs the node's callbacks.

    :param node: The node.
    :param webrtc: Its WebRTC half.
    :param clock_ahead_s: What the wall clock is ahead of the steady one.
    :param persisted: Whether the E-STOP latch is kept over restarts.
    """

    def __init__(
        self, node: Node, webrtc: WebrtcProcess, *, clock_ahead_s: float, persisted: bool
    ) -> None:
        self._node = node
        self._webrtc = webrtc
        self._persisted = persisted
        self._clocks = ClockWatch(clock_ahead_s)

    def concerns(self, snapshot: DriveSnapshot, now: float, topics: TopicReport) -> list[Concern]:
        """
        Tell how all of it is.

        :param topics: What the graph says.
        :param now: Seconds of ``time.monotonic``.
        """
        clock = self._clocks.look(
            now=now,
            wall_s=time.time(),
            ros_s=self._node.get_clock().now().nanoseconds * 1e-9,
            simulated=bool(self._node.get_parameter('use_sim_time').value),
        )
        halves = processes(
            snapshot, pid=os.getpid(), child=self._webrtc.pid, restarts=self._webrtc.restarts
        )
        latch = estop(snapshot, persisted=self._persisted, unheard=topics.estop)
        return [operator(snapshot), latch, clock, halves, graph(topics)]
