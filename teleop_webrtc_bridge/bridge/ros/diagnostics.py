"""The node's reports: ``/diagnostics``, ``~/state``, and their changes in the log."""

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

from collections.abc import Callable, Iterable, Sequence
import json
import os
import time
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import String

from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera, Cameras
from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.graph import NODE_NAME, TopicReport
from teleop_webrtc_bridge.bridge.ros.local_control import LATCHED_QOS
from teleop_webrtc_bridge.bridge.ros.operator_messages import DROPPED_FRAME
from teleop_webrtc_bridge.bridge.ros.parameters.table import Settings
from teleop_webrtc_bridge.bridge.ros.steady_timer import Every
from teleop_webrtc_bridge.bridge.ros.webrtc_process import WebrtcProcess
from teleop_webrtc_bridge.core.motion.latency_limit import LinkVerdict
from teleop_webrtc_bridge.core.session import BridgeState
from teleop_webrtc_bridge.processes.child_process import memory_bytes

__all__ = ['INSECURE', 'Diagnostics', 'StateReport', 'diagnose', 'estop']

#: Name, level, message and values.
Concern = tuple[str, bytes, str, dict[str, object]]

INSECURE: Final = 'allow_insecure_broker is set: the API key may travel unencrypted'
NARROW_LINK: Final = 0.9
"""Fraction of a camera's own H.264 below which a link is narrow: its bitrate is fixed."""
SLOW_ROUND_TRIP_S: Final = 1.0
"""Above it the gate slows the robot down."""
STEPPED_S: Final = 0.5
STANDS_STILL_S: Final = 1.5
"""Time without a change after which the ROS clock stands still."""

REFUSED_FRAMES_PERIOD_S: Final = 10.0
_TROUBLE: Final = (BridgeState.BACKING_OFF, BridgeState.SUPERSEDED, BridgeState.REFUSED)
_ATTEMPTS: Final = (BridgeState.BACKING_OFF, BridgeState.DIALLING)
_SESSION_LEVELS: Final = {
    BridgeState.CONNECTED: DiagnosticStatus.OK,
    BridgeState.OPERATED: DiagnosticStatus.OK,
    BridgeState.DIALLING: DiagnosticStatus.WARN,
    BridgeState.BACKING_OFF: DiagnosticStatus.ERROR,
    BridgeState.SUPERSEDED: DiagnosticStatus.ERROR,
    BridgeState.REFUSED: DiagnosticStatus.ERROR,
}


class Diagnostics:
    """
    Publishes the statuses; used from the thread that runs the node's callbacks.

    :param besides: Publishes what the operator controls besides the base.
    :param clock_ahead_s: Offset of the wall clock from the steady clock at the start.
    :param persisted: Whether the E-STOP latch is preserved at a normal end.
    """

    def __init__(
        self,
        node: Node,
        *,
        cameras: Cameras,
        cmd_vel: Publisher[Any],
        besides: Sequence[Publisher[Any]],
        webrtc: WebrtcProcess,
        clock_ahead_s: float,
        persisted: bool,
    ) -> None:
        self.publisher: Publisher[Any] = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        self._node = node
        self._cameras = cameras
        self._cmd_vel = cmd_vel
        self._besides = tuple(besides)
        self._webrtc = webrtc
        self._persisted = persisted
        self._clocks = _ClockWatch(clock_ahead_s)
        self._published: list[tuple[str, bytes, str]] = []

    def publish(
        self,
        settings: Settings,
        snapshot: DriveSnapshot,
        topics: TopicReport,
        *,
        only_changes: bool = False,
    ) -> None:
        """
        Publish all statuses.

        :param topics: The last look at the graph.
        :param only_changes: Publish only if a level or a message has changed.
        """
        now = time.monotonic()
        clock = self._clocks.look(
            now=now,
            wall_s=time.time(),
            ros_s=self._node.get_clock().now().nanoseconds * 1e-9,
            simulated=bool(self._node.get_parameter('use_sim_time').value),
        )
        statuses = diagnose(
            settings,
            snapshot,
            self._cameras,
            self._cmd_vel,
            now=now,
            others=[
                _operator(snapshot),
                _latency(snapshot),
                estop(snapshot, persisted=self._persisted, unheard=topics.estop),
                clock,
                _processes(snapshot, child=self._webrtc.pid, restarts=self._webrtc.restarts),
                _graph(topics),
                *map(_besides, self._besides),
            ],
            node_name=self._node.get_fully_qualified_name(),
            topics=topics,
        )
        published = [(status.name, status.level, status.message) for status in statuses]
        if only_changes and published == self._published:
            return
        self._published = published
        array = DiagnosticArray(status=statuses)
        array.header.stamp = self._node.get_clock().now().to_msg()
        self.publisher.publish(array)


def diagnose(
    settings: Settings,
    snapshot: DriveSnapshot,
    cameras: Cameras,
    cmd_vel: Publisher[Any],
    *,
    now: float,
    others: Iterable[Concern] = (),
    node_name: str = NODE_NAME,
    topics: TopicReport = TopicReport(),  # noqa: B008 - immutable
) -> list[DiagnosticStatus]:
    """
    Return the statuses of one robot.

    :param now: Seconds of ``time.monotonic``.
    :param others: More concerns.
    :param node_name: Fully qualified. The statuses' names begin with it, so that they differ
        within a fleet, as with ``use_fqn`` of diagnostic_updater.
    :param topics: The last look at the graph.
    """
    concerns = [
        _broker(settings, snapshot),
        _gate(snapshot, cmd_vel, topics),
        *(_video(camera, now, cameras.is_selected(camera)) for camera in cameras.all),
        *others,
    ]
    if settings.allow_insecure_broker:
        values: dict[str, object] = {'broker_url': settings.broker_url}
        concerns.append(('security', DiagnosticStatus.WARN, INSECURE, values))
    return [
        DiagnosticStatus(
            name=f'{node_name}: {name}',
            level=level,
            message=message,
            hardware_id=settings.robot_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        for name, level, message, values in concerns
    ]


def _broker(settings: Settings, snapshot: DriveSnapshot) -> Concern:
    status = snapshot.status
    level = _SESSION_LEVELS[status.state] if snapshot.link_up else DiagnosticStatus.ERROR
    message = f'{status.state.value}: {status.reason}' if status.reason else status.state.value
    stream_bps = status.counters.get('stream_bps', 0.0)
    link_bps = status.counters.get('link_bps', stream_bps)
    if level == DiagnosticStatus.OK and link_bps < NARROW_LINK * stream_bps:
        level = DiagnosticStatus.WARN
        message += (
            f': the link carries {1e-3 * link_bps:.0f} of the {1e-3 * stream_bps:.0f} kbit/s that '
            'the camera encodes'
        )
    if level == DiagnosticStatus.OK and status.path.startswith('TURN'):
        message += f', over {status.path}'
    values: dict[str, object] = {
        'broker_url': settings.broker_url,
        'control_epoch': status.control_epoch,
        'path': status.path,
        **status.counters,
    }
    return 'broker', level, message, values


def _gate(snapshot: DriveSnapshot, cmd_vel: Publisher[Any], topics: TopicReport) -> Concern:
    subscribers = cmd_vel.get_subscription_count()
    messages = []
    if snapshot.estopped:
        messages.append('E-STOP')
    elif not snapshot.enabled:
        messages.append('disabled')
    elif not subscribers and not topics.cmd_vel:
        messages.append(f'no node subscribes to {cmd_vel.topic_name}')
    messages += [rival.describe(cmd_vel.topic_name) for rival in topics.rivals]
    messages += topics.cmd_vel
    level = DiagnosticStatus.WARN if messages else DiagnosticStatus.OK
    if any(rival.is_bridge for rival in topics.rivals):
        level = DiagnosticStatus.ERROR
    if not messages and snapshot.blind_page:
        # Not a warning: every operator's page starts without a picture.
        messages.append("ready, slow: the operator's page shows no picture")
    values: dict[str, object] = {
        'topic': cmd_vel.topic_name,
        'subscribers': subscribers,
        'other_publishers': ' '.join(rival.name for rival in topics.rivals),
        'blind': snapshot.blind,
        'blind_page': snapshot.blind_page,
        'refused_frame': snapshot.refused_frame,
        **snapshot.counters,
    }
    return 'command gate', level, '; '.join(messages) or 'ready', values


def _besides(publisher: Publisher[Any]) -> Concern:
    name, subscribers = publisher.topic_name, publisher.get_subscription_count()
    values: dict[str, object] = {'topic': name, 'subscribers': subscribers}
    concern = name.rpartition('/')[2]
    if subscribers:
        return concern, DiagnosticStatus.OK, 'ready', values
    return concern, DiagnosticStatus.WARN, f'no node subscribes to {name}', values


def _video(camera: Camera, now: float, selected: bool) -> Concern:
    level, message = DiagnosticStatus.OK, 'receiving'
    remark = camera.remark(now)
    if camera.publisher_count() == 0:
        level, message = DiagnosticStatus.WARN, f'no node publishes {camera.topic}'
    elif not (camera.is_open or remark):
        message = 'nobody watches' if selected else 'not selected'
    elif camera.is_silent(now):
        level = DiagnosticStatus.ERROR
        message = remark or f'no image on {camera.topic}'
    elif remark:
        level, message = DiagnosticStatus.WARN, remark
    if camera.faults:
        level = max(level, DiagnosticStatus.WARN)
        message = '; '.join((message, *camera.faults))
    values: dict[str, object] = {
        'topic': camera.topic,
        'subscribed': camera.is_subscribed,
        'reliability': camera.reliability,
        **camera.counters,
    }
    name = f'video {camera.settings.name}' if camera.settings.is_named else 'video'
    return name, level, message, values


def _operator(snapshot: DriveSnapshot) -> Concern:
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


def _latency(snapshot: DriveSnapshot) -> Concern:
    """
    Return the latencies of the drive.

    They are here, and not in a topic of their own, because no common interface has a type for
    several latencies of which some are unknown, and because tools for diagnostics can plot them.
    """
    report = snapshot.latency
    level, message = DiagnosticStatus.OK, 'nobody drives, or their page measures no latency'
    if report.verdict is not None:
        message = report.verdict.value
        if report.speed_factor < 1.0:
            message += f': at most {report.speed_factor:.0%} of the largest speeds'
        if report.verdict is LinkVerdict.BAD:
            level = DiagnosticStatus.WARN
    values: dict[str, object] = {
        'picture_latency_s': _seconds(report.picture_s),
        'command_latency_s': _seconds(report.command_s),
        'latency_s': _seconds(report.sum_s),
        'speed_factor': round(report.speed_factor, 3),
    }
    return 'latency', level, message, values


def _seconds(value: float | None) -> object:
    return 'unknown' if value is None else round(value, 4)


def estop(snapshot: DriveSnapshot, *, persisted: bool, unheard: Sequence[str] = ()) -> Concern:
    """
    Return who holds the E-STOP latch, and whether it would survive a restart.

    :param unheard: Nodes that cannot press it, or are not notified of it, and the reason.
    """
    cause = snapshot.cause
    level, message = DiagnosticStatus.OK, 'released'
    if snapshot.latch is not None:
        level, message = DiagnosticStatus.WARN, f'latched: {snapshot.latch}'
        if cause is not None:
            message += f', by {cause.by}'
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


def _graph(topics: TopicReport) -> Concern:
    """Return which endpoints do not match on topics that have no other status."""
    if not topics.others:
        return 'graph', DiagnosticStatus.OK, 'all endpoints match', {}
    return 'graph', DiagnosticStatus.WARN, '; '.join(topics.others), {}


def _processes(snapshot: DriveSnapshot, *, child: int | None, restarts: int) -> Concern:
    level, message = DiagnosticStatus.OK, 'both halves run'
    if not snapshot.link_up:
        level, message = DiagnosticStatus.ERROR, 'the WebRTC half does not run'
    elif snapshot.realtime is False:
        message += '; the drive thread has no real-time priority'
    values: dict[str, object] = {
        'scheduling': 'SCHED_FIFO' if snapshot.realtime else 'normal',
        'webrtc_pid': child,
        'webrtc_restarts': restarts,
        'memory_mib': memory_bytes(os.getpid()) // 2**20,
        'webrtc_memory_mib': memory_bytes(child) // 2**20 if child and snapshot.link_up else 0,
    }
    return 'process', level, message, values


class _ClockWatch:
    """
    Compares the robot's clocks with the steady clock, which all deadlines use.

    :param wall_ahead_s: Offset of the wall clock from the steady clock at the start.
    """

    def __init__(self, wall_ahead_s: float) -> None:
        self._wall_ahead_s = wall_ahead_s
        self._ros_s = float('nan')
        self._moved_s = float('nan')

    def look(self, *, now: float, wall_s: float, ros_s: float, simulated: bool) -> Concern:
        """
        Return whether the ROS clock runs and the wall clock has stepped since the start.

        :param now: Seconds of the steady clock.
        :param wall_s: Seconds of the wall clock.
        :param ros_s: Seconds of the node's clock.
        :param simulated: Whether the node's clock is simulated.
        """
        if ros_s != self._ros_s:
            self._ros_s, self._moved_s = ros_s, now
        stepped_s = wall_s - now - self._wall_ahead_s
        level, message = DiagnosticStatus.OK, 'simulated' if simulated else 'steady'
        if now - self._moved_s > STANDS_STILL_S:
            level, message = DiagnosticStatus.WARN, 'the ROS clock stands still'
        elif abs(stepped_s) > STEPPED_S:
            # Whole seconds, so that a slow drift does not change the message each time.
            level = DiagnosticStatus.WARN
            message = f'the wall clock stepped by {stepped_s:.0f} s since the start'
        values: dict[str, object] = {
            'use_sim_time': simulated,
            'wall_clock_stepped_s': round(stepped_s, 3),
        }
        return 'clock', level, message, values


class StateReport:
    """
    Publishes ``~/state`` and logs what the robot's owner should know about the drive.

    Used from the thread of the node's callbacks.

    :param robot_id: Part of the state.
    :param log: Logs a line.
    :param warn: Logs a warning.
    :param complain: Logs an error.
    """

    def __init__(
        self,
        node: Node,
        robot_id: str,
        *,
        log: Callable[[str], object],
        warn: Callable[[str], object],
        complain: Callable[[str], object],
    ) -> None:
        self.publisher: Publisher[Any] = node.create_publisher(String, '~/state', LATCHED_QOS)
        self._robot_id = robot_id
        self._log = log
        self._warn = warn
        self._complain = complain
        self._published = ''
        self._logged: tuple[object, bool] | None = None
        self._is_realtime: bool | None = None
        self._refused_frames = 0
        self._refused_frames_timer = Every(REFUSED_FRAMES_PERIOD_S)

    def report(self, snapshot: DriveSnapshot) -> None:
        """Publish and log the changes since the last snapshot."""
        self._report_state(snapshot)
        if snapshot.realtime is False and self._is_realtime is None:
            self._warn(
                'event=no_realtime_priority hint="a busy computer may delay the zero: allow '
                'SCHED_FIFO, by LimitRTPRIO=10 of systemd or rtprio in limits.conf"'
            )
        self._is_realtime = snapshot.realtime
        self._report_refused_frames(snapshot)

    def _report_state(self, snapshot: DriveSnapshot) -> None:
        status = snapshot.status
        state = {
            'robot_id': self._robot_id,
            'state': status.state.value,
            'reason': status.reason,
            'estopped': snapshot.estopped,
            'estopped_by': None if snapshot.cause is None else snapshot.cause.by.as_fields(),
        }
        text = json.dumps(state)
        if text == self._published:
            return
        self._published = text
        self.publisher.publish(String(data=text))
        # Repeated attempts that fail for the same reason are logged once.
        key = (status.reason if status.state in _ATTEMPTS else status.state, snapshot.estopped)
        if key == self._logged and status.state in _ATTEMPTS:
            return
        self._logged = key
        line = ' '.join(f'{name}={json.dumps(value)}' for name, value in state.items())
        say = self._complain if status.state in _TROUBLE else self._log
        say(f'event=state {line}')

    def _report_refused_frames(self, snapshot: DriveSnapshot) -> None:
        """Log the frame_id of refused commands, at most once per period."""
        count = snapshot.counters.get(DROPPED_FRAME, 0)
        if count == self._refused_frames:
            return
        if not self._refused_frames_timer.is_due(time.monotonic()):
            return
        self._warn(
            f'event=command_refused frame_id={json.dumps(snapshot.refused_frame)} '
            f'count={count - self._refused_frames} '
            'hint="its frame_id is not for the base; see the parameter command_frames_refused"'
        )
        self._refused_frames = count
