"""ROS node in the test's own process that observes the bridge as a base or a tool would."""

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
import json
import math
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from std_msgs.msg import String


@dataclass(frozen=True, kw_only=True)
class Command:
    """One message on ``cmd_vel``."""

    arrival_s: float
    """In seconds of ``time.monotonic``."""
    stamp_s: float
    """In seconds of the robot's ROS clock."""
    frame_id: str
    linear_x: float
    linear_y: float
    angular_z: float

    @property
    def is_zero(self) -> bool:
        return not (self.linear_x or self.linear_y or self.angular_z)


class RosProbe:
    """
    Records everything that it receives; lists only grow, so any thread may read them.

    :param node: A node for this probe only.
    :param prefix: Namespace of the robot, with a trailing slash.
    """

    def __init__(self, node: Any, prefix: str = '') -> None:
        self.node = node
        self.commands: list[Command] = []
        self.states: list[dict[str, Any]] = []
        self.poses: list[tuple[float, float]] = []
        self.headings: list[float] = []
        """In radians, to the left."""
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(TwistStamped, f'{prefix}cmd_vel', self._on_command, 50)
        node.create_subscription(String, f'{prefix}teleop_bridge/state', self._on_state, latched)
        node.create_subscription(Odometry, f'{prefix}odom', self._on_odometry, 10)

    def _on_command(self, message: TwistStamped) -> None:
        stamp = Time.from_msg(message.header.stamp)
        self.commands.append(
            Command(
                arrival_s=time.monotonic(),
                stamp_s=stamp.nanoseconds * 1e-9,
                frame_id=message.header.frame_id,
                linear_x=message.twist.linear.x,
                linear_y=message.twist.linear.y,
                angular_z=message.twist.angular.z,
            )
        )

    def _on_state(self, message: String) -> None:
        self.states.append(json.loads(message.data))

    def _on_odometry(self, message: Odometry) -> None:
        position = message.pose.pose.position
        self.poses.append((position.x, position.y))
        turned = message.pose.pose.orientation
        # Quaternion of a base on the ground: x and y are zero.
        self.headings.append(2.0 * math.atan2(turned.z, turned.w))

    def said(self, name: str) -> Any:
        """Return a field of the bridge's newest state; ``None``: nothing was received yet."""
        return self.states[-1][name] if self.states else None

    @property
    def state(self) -> str:
        """The bridge's newest state."""
        return self.said('state') or ''

    def last(self) -> Command | None:
        return self.commands[-1] if self.commands else None

    def moving(self) -> bool:
        """Whether the newest command is a motion."""
        command = self.last()
        return command is not None and not command.is_zero

    def standing(self) -> bool:
        """Whether the newest command is a zero."""
        command = self.last()
        return command is not None and command.is_zero


class Acquaintance:
    """
    Checks whether a bridge has discovered the subscribers of its ``cmd_vel``.

    Either side of a topic may discover the other one first. Messages that the publisher sends
    before its own discovery are lost; it reports its subscribers on ``/diagnostics``.

    :param node: The node that subscribes.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._subscribers: dict[str, int] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if 'subscribers' in values:
                self._subscribers[values['topic']] = int(values['subscribers'])

    def made(self, topic: str) -> bool:
        """Whether the publisher of ``topic`` and the node have discovered each other."""
        return self._subscribers.get(topic, 0) > 0 and self._node.count_publishers(topic) > 0


@contextmanager
def ros_node(name: str = 'probe', domain_id: int | None = None) -> Iterator[Any]:
    """
    Create a node with its own context and spin it on a thread.

    :param domain_id: Its ROS domain; ``None``: that of the environment.
    """
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    with spinning(rclpy.create_node(name, context=context), context) as node:
        yield node


@contextmanager
def spinning(node: Any, context: Any) -> Iterator[Any]:
    """Spin a node on a thread; at the end, destroy the node and its context."""
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            return

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(5.0)
        node.destroy_node()
        rclpy.shutdown(context=context)
