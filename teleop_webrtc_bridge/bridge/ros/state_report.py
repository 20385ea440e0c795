"""Publishes ``~/state`` and logs what the robot's owner should know about the drive."""

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

from collections.abc import Callable
import json
import time
from typing import Any, Final

from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import String

from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.local_control import LATCHED_QOS
from teleop_webrtc_bridge.bridge.ros.operator_messages import DROPPED_FRAME
from teleop_webrtc_bridge.bridge.ros.steady_timer import Every
from teleop_webrtc_bridge.core.session import BridgeState

__all__ = ['StateReport']

REFUSED_FRAMES_PERIOD_S: Final = 10.0
_TROUBLE: Final = (BridgeState.BACKING_OFF, BridgeState.SUPERSEDED, BridgeState.REFUSED)
_ATTEMPTS: Final = (BridgeState.BACKING_OFF, BridgeState.DIALLING)


class StateReport:
    """
    Follows the snapshots of the drive thread; used from the thread of the node's callbacks.

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
            'hint="it does not mean the base; command_frames_refused names what is refused"'
        )
        self._refused_frames = count
