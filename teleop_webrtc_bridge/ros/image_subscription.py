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

"""
A subscription to images while somebody watches; its reliability follows the publishers.

Each image is copied several times before it reaches a callback: what nobody watches is not
subscribed at all.

A best-effort subscription never gets large images from a reliable publisher on another process's
default transport, and a reliable one never matches a best-effort publisher. ``BEST_AVAILABLE``
does not help: created before the publisher it becomes reliable for good.

Images are taken undecoded. A node was seen in Fast DDS (3.2), failing to decode an image again and
again, with the interpreter's lock: no thread of the process ran any more, the one that stops the
robot included.
"""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any, Final

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from teleop_webrtc_bridge.exceptions import PictureUndecodable
from teleop_webrtc_bridge.ros.transports import TRANSPORTS
from teleop_webrtc_bridge.serialized_image import read_image

__all__ = ['ImageSubscription']

RENEW_PERIOD_S: Final = 1.0
"""A publisher of nothing but garbage is to cost little."""


class ImageSubscription:
    """
    Subscribes to images on a node; used from the thread that runs the node's callbacks.

    :param node: The node.
    :param topic: Before remapping, without what the transport adds.
    :param transport: One of :data:`.transports.TRANSPORTS`.
    :param reliability: ``auto``, ``reliable`` or ``best_effort``.
    :param callback: Gets each image, a :class:`SerializedImage` or a message of the transport, and
        its stamp, in nanoseconds.
    """

    def __init__(
        self,
        node: Node,
        *,
        topic: str = 'image',
        transport: str,
        reliability: str,
        callback: Callable[[Any, int], None],
    ) -> None:
        self._node = node
        self._transport = TRANSPORTS[transport]
        self._type = self._transport.message_type()
        self.topic = _full_name(node, topic, self._transport.suffix)
        """The topic's full name, after remapping."""
        self._follows = reliability == 'auto'
        self._callback = callback
        self._reliability = (
            ReliabilityPolicy.BEST_EFFORT
            if reliability == 'best_effort'
            else ReliabilityPolicy.RELIABLE
        )
        self._subscription: Subscription[Any] | None = None
        self._opened_s = 0.0
        self._renewed_s = float('-inf')

    @property
    def is_open(self) -> bool:
        return self._subscription is not None

    @property
    def reliability(self) -> str:
        """The reliability in force."""
        return self._reliability.name.lower()

    def publisher_count(self) -> int:
        return int(self._node.count_publishers(self.topic))

    def open_for(self, now: float) -> float:
        """Return for how long images could have come, in seconds; 0 while closed."""
        return now - self._opened_s if self.is_open else 0.0

    def open(self, now: float) -> None:
        """
        Subscribe, unless that is done already.

        :param now: Seconds of ``time.monotonic``.
        """
        if self._subscription is None:
            self.follow_publishers()
            self._opened_s = now
            self._subscription = self._subscribe()

    def close(self) -> None:
        """End the subscription, if there is one."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def follow_publishers(self) -> None:
        """Subscribe anew if the publishers ask for another reliability than the present one."""
        if not self._follows:
            return
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not publishers:
            return
        all_reliable = all(
            publisher.qos_profile.reliability is ReliabilityPolicy.RELIABLE
            for publisher in publishers
        )
        wanted = ReliabilityPolicy.RELIABLE if all_reliable else ReliabilityPolicy.BEST_EFFORT
        if wanted is self._reliability:
            return
        self._reliability = wanted
        if self.is_open:
            self.close()
            self._subscription = self._subscribe()
        self._node.get_logger().info(
            f'event=image_reliability topic={self.topic} reliability={self.reliability}'
        )

    def _subscribe(self) -> Subscription[Any]:
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self._transport.depth,
            reliability=self._reliability,
        )
        return self._node.create_subscription(
            self._type, self.topic, self._take, profile, raw=True
        )

    def _take(self, data: bytes) -> None:
        try:
            if self._type is Image:
                image = read_image(data)
                stamp_ns = image.stamp_ns
            else:
                image = deserialize_message(data, self._type)
                stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
        except (PictureUndecodable, RuntimeError) as error:
            # rclpy's RMWError is a RuntimeError; its own name is private.
            self._renew(f'{len(data)} bytes: {error}')
            return
        self._callback(image, stamp_ns)

    def _renew(self, reason: str) -> None:
        """Subscribe anew: what cannot be decoded may come again and again."""
        now = time.monotonic()
        if self.is_open and now - self._renewed_s >= RENEW_PERIOD_S:
            self._renewed_s = now
            self._node.get_logger().warning(
                f'event=image_undecodable topic={self.topic} reason={reason!r:.200}'
            )
            self.close()
            self._subscription = self._subscribe()


def _full_name(node: Node, topic: str, suffix: str) -> str:
    """
    Return the full name of the topic.

    One with a suffix may be remapped itself; otherwise it follows where the image's is remapped
    to, as image_transport's subscribers do.
    """
    if not suffix:
        return str(node.resolve_topic_name(topic))
    own = str(node.resolve_topic_name(f'{topic}/{suffix}'))
    if own != node.resolve_topic_name(f'{topic}/{suffix}', only_expand=True):
        return own
    return f'{node.resolve_topic_name(topic)}/{suffix}'
