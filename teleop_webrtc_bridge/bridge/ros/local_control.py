"""Topics and services with which people and programs on the robot stop and enable it."""

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
import threading
from typing import Any, Final

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from teleop_webrtc_bridge.bridge.ros.drive import DriveThread
from teleop_webrtc_bridge.bridge.ros.graph import OwnTopic, published, type_name
from teleop_webrtc_bridge.core.messages import Origin, OriginRole
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate

__all__ = ['LATCHED_QOS', 'LocalControl']

APPLIED_S: Final = 0.5
"""Time for the drive thread to apply a request before the service reports a failure."""

LATCHED_QOS: Final = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class LocalControl:
    """
    Topics ``~/estop`` and ``~/estop_in``, services ``~/set_estop``, ``~/enable``, ``~/stop``.

    Used from the thread that runs the node's callbacks.

    :param drive: Applies the requests.
    :param reconnect: Begins a new session with the broker.
    """

    def __init__(self, node: Node, drive: DriveThread, reconnect: Callable[[], None]) -> None:
        self._drive = drive
        self._reconnect = reconnect
        self._told: bool | None = None
        self._estop = node.create_publisher(Bool, '~/estop', LATCHED_QOS)
        button = node.create_subscription(Bool, '~/estop_in', self._on_estop_in, 10)
        self.topics = (
            published(self._estop, durable=True),
            OwnTopic(name=button.topic_name, type=type_name(Bool), published=False),
        )
        """Both topics, as the graph shows them."""
        self._button = _on_the_robot(node.resolve_topic_name('~/estop_in'))
        node.create_service(SetBool, '~/set_estop', self._set_estop)
        self._service = _on_the_robot(node.resolve_service_name('~/set_estop'))
        node.create_service(SetBool, '~/enable', self._enable)
        node.create_service(Trigger, '~/stop', self._stop)
        node.create_service(Trigger, '~/reconnect', self._on_reconnect)

    @property
    def is_heard(self) -> bool:
        """Whether ``~/estop`` has a subscriber."""
        return bool(self._estop.get_subscription_count() > 0)

    def publish(self) -> None:
        """Publish the latch: ten times a second while it has a subscriber, for interlocks."""
        self._told = self._drive.snapshot.estopped
        self._estop.publish(Bool(data=self._told))

    def publish_change(self) -> None:
        """Publish the latch if it has changed since the last message."""
        if self._drive.snapshot.estopped is not self._told:
            self.publish()

    def _on_estop_in(self, message: Bool) -> None:
        """Latch on true; ignore false, because a released button must not release the latch."""
        if message.data:
            self._drive.press_estop(self._button)

    def _set_estop(self, request: Any, response: Any) -> Any:
        applied = threading.Event()
        if request.data:
            self._drive.press_estop(self._service, applied.set)
            return self._answer(applied, 'E-STOP latched', response)
        self._drive.release_estop(self._service, applied.set)
        return self._answer(applied, 'E-STOP released', response)

    def _enable(self, request: Any, response: Any) -> Any:
        enabled = bool(request.data)
        text = 'commands of operators are obeyed' if enabled else 'commands are not obeyed'
        return self._apply(lambda gate, now: gate.set_enabled(now, enabled), text, response)

    def _stop(self, request: Any, response: Any) -> Any:
        return self._apply(CommandGate.stop, 'stopped; motion needs neutral first', response)

    def _on_reconnect(self, request: Any, response: Any) -> Any:
        self._reconnect()
        response.success, response.message = True, 'a new session begins'
        return response

    def _apply(
        self, action: Callable[[CommandGate, float], object], text: str, response: Any
    ) -> Any:
        """Answer a service call after the drive thread has applied it."""
        applied = threading.Event()

        def apply(gate: CommandGate, now: float) -> None:
            action(gate, now)
            applied.set()

        self._drive.request(apply)
        return self._answer(applied, text, response)

    def _answer(self, applied: threading.Event, text: str, response: Any) -> Any:
        response.success = applied.wait(APPLIED_S)
        response.message = text if response.success else 'the drive thread did not answer'
        return response


def _on_the_robot(name: str) -> Origin:
    return Origin(sub=name, role=OriginRole.ROBOT)
