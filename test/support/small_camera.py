"""Camera in the test's own process, and the bridge's diagnostics of its images."""

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

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy

__all__ = ['SmallCamera', 'VideoDiagnostics']

RATE_HZ = 30.0


class SmallCamera:
    """
    Publishes images that are small enough for any transport, while it is switched on.

    :param node: A node that is being spun.
    :param topic: Topic of the images.
    :param images: Published in turn.
    :param ahead_s: Offset of their stamps from the node's clock; ``None``: stamps are kept.
    """

    def __init__(
        self, node: Any, topic: str, images: list[Any], *, ahead_s: float | None = 0.0
    ) -> None:
        self.is_on = True
        self.ahead_s = ahead_s
        self._node = node
        self.images = images
        self._number = 0
        profile = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = node.create_publisher(type(images[0]), topic, profile)
        node.create_timer(1.0 / RATE_HZ, self._publish)

    def _publish(self) -> None:
        if self.is_on:
            image = self.images[self._number % len(self.images)]
            if self.ahead_s is not None and not isinstance(image, bytes):
                stamp = self._node.get_clock().now() + Duration(seconds=self.ahead_s)
                image.header.stamp = stamp.to_msg()
            self._publisher.publish(image)
            self._number += 1

    def subscribers(self) -> int:
        return int(self._publisher.get_subscription_count())


class VideoDiagnostics:
    """
    The newest ``/teleop_bridge: video``, and the counters of ``/teleop_bridge: broker``.

    :param node: A node that is being spun.
    """

    def __init__(self, node: Any) -> None:
        self.message = ''
        self.values: dict[str, str] = {}
        self.session: dict[str, str] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def _take(self, array: DiagnosticArray) -> None:
        for status in array.status:
            values = {value.key: value.value for value in status.values}
            if status.name == '/teleop_bridge: video':
                self.message, self.values = status.message, values
            elif status.name == '/teleop_bridge: broker':
                self.session = values

    def count(self, name: str) -> float:
        """Return a counter of the video or, if it has none of this name, of the session."""
        return float(self.values.get(name, self.session.get(name, 0.0)))
