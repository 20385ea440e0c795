"""Probe that counts frames by the topics of camera and bridge, with a node in this process."""

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

from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo

from benchmark import frames
from benchmark.figures import Figures

__all__ = ['FrameProbe']

SNAPSHOTS_AFTER: Final = 4
"""Number of snapshots among which one very likely has no frame in flight."""


class FrameProbe:
    """
    Records stamps of images and the bridge's counters; lists only grow.

    :param node: A node for this probe only.
    :param robot_id: Id of the bridge to observe; other bridges are ignored.
    """

    def __init__(self, node: Any, robot_id: str) -> None:
        self._robot_id = robot_id
        self.published_s: list[float] = []
        self.snapshots: list[frames.Snapshot] = []
        qos = QoSProfile(depth=10)
        node.create_subscription(CameraInfo, 'camera/camera_info', self._on_camera_info, qos)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, qos)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self.published_s.append(Time.from_msg(message.header.stamp).nanoseconds * 1e-9)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        counters: dict[str, float] = {}
        for status in message.status:
            if status.hardware_id == self._robot_id and status.name in (
                '/teleop_bridge: video',
                '/teleop_bridge: broker',
            ):
                counters |= {pair.key: _number(pair.value) for pair in status.values}
        if counters:
            at_s = Time.from_msg(message.header.stamp).nanoseconds * 1e-9
            self.snapshots.append(frames.Snapshot(at_s=at_s, counters=counters))

    def account(self, begin_s: float, end_s: float) -> Figures:
        """Return rates and losses between two times of the robot's clock."""
        within = [shot for shot in self.snapshots if begin_s <= shot.at_s <= end_s]
        return frames.account(sorted(self.published_s), within)

    def lost_in_dds(self, begin_s: float, end_s: float) -> float:
        """Return how many frames were lost between two times; the error is at most one."""
        published_s = sorted(self.published_s)
        before = [shot for shot in self.snapshots if shot.at_s < begin_s][-2:]
        after = [shot for shot in self.snapshots if shot.at_s > end_s][:SNAPSHOTS_AFTER]
        lost = frames.balance(published_s, before) - frames.balance(published_s, after)
        return max(0.0, lost)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
