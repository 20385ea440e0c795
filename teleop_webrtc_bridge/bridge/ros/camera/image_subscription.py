"""
A subscription to images while somebody watches; its reliability follows the publishers.

DDS copies each image several times, so the topic is not subscribed to while nobody watches.

A best-effort subscription never gets large images from a reliable publisher in another process
with the default transport, and a reliable one never matches a best-effort publisher.
``BEST_AVAILABLE`` does not help: it becomes reliable for good if it is created before the
publisher.

The image thread takes serialized images from rcl (:mod:`.rcl`, with the reasons), or rclpy does if
that is not possible.
"""

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

from collections.abc import Callable, Sequence
import functools
import time
from typing import Any, Final

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.camera.intake import WarnOnce
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl, RclUnusable
from teleop_webrtc_bridge.bridge.ros.camera.transports import TRANSPORTS
from teleop_webrtc_bridge.bridge.ros.graph import (
    full_name,
    mismatches,
    OwnTopic,
    Settled,
    several_publishers,
    type_name,
)
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.serialized_image import read_compressed_image, read_image

__all__ = ['ImageSubscription']

HISTORY: Final = 256
"""Messages that a publisher may have kept for late subscribers."""
TOLD_PERIOD_S: Final = 1.0
"""Limits the cost of a publisher that sends only garbage."""


class _Apart(CallbackGroup):
    """Entities that the executor ignores; otherwise it would wake up for each image."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


class ImageSubscription:
    """
    Subscribes to the images of one camera; used from the thread of the node's callbacks.

    :param node: The node.
    :param topic: Before remapping, without the suffix of the transport.
    :param transport: One of :data:`.transports.TRANSPORTS`.
    :param reliability: ``auto``, ``reliable`` or ``best_effort``.
    :param thread: Takes the images, and calls the functions below.
    :param memory: Returns the memory for the next message.
    :param callback: Called with each image, a :class:`SerializedImage`,
        :class:`SerializedCompressedImage` or ``FFMPEGPacket``, and its stamp, in nanoseconds. The
        image is valid until the next call of ``memory``.
    :param refused: Called with the reason if a message is not an image.
    :param rcl: Takes the messages; ``None``: rclpy takes them.
    """

    def __init__(
        self,
        node: Node,
        *,
        topic: str = 'image',
        transport: str,
        reliability: str,
        thread: ImageThread,
        memory: Callable[[], memoryview],
        callback: Callable[[Any, int], None],
        refused: Callable[[str], None] | None = None,
        rcl: Rcl | None = None,
    ) -> None:
        self._node = node
        self._transport = TRANSPORTS[transport]
        self._type = self._transport.message_type()
        self.topic = _full_name(node, topic, self._transport.suffix)
        """The topic's full name, after remapping."""
        self.faults: tuple[str, ...] = ()
        """Faults on the graph: wrong types or QoS, several publishers."""
        self._own = OwnTopic(
            name=self.topic,
            type=type_name(self._type),
            published=False,
            reliable=reliability == 'reliable',
        )
        self._other_topics = _other_topics(node, topic, transport)
        self._follows = reliability == 'auto'
        self._thread = thread
        self._memory = memory
        self._callback = callback
        self._refused = refused
        self._reliability = (
            ReliabilityPolicy.BEST_EFFORT
            if reliability == 'best_effort'
            else ReliabilityPolicy.RELIABLE
        )
        self._durability = DurabilityPolicy.VOLATILE
        self._wants_history = False
        self.publishers: frozenset[bytes] = frozenset()
        """An identity of each, as of the last :meth:`follow_publishers`."""
        self._subscription: Subscription[Any] | None = None
        self._opened_s = 0.0
        self._told_s = float('-inf')
        self._rcl = rcl
        self._unheard: set[str] = set()
        self._settled: Settled[str] = Settled()
        self._warn_once = WarnOnce(node.get_logger().warning)
        self._take: Callable[[], bool] | None = None
        """The function that the thread calls while the topic is subscribed to."""

    @property
    def is_open(self) -> bool:
        return self._subscription is not None

    @property
    def _is_volatile(self) -> bool:
        return self._durability is DurabilityPolicy.VOLATILE

    @property
    def reliability(self) -> str:
        """The reliability in force."""
        return self._reliability.name.lower()

    def publisher_count(self) -> int:
        return int(self._node.count_publishers(self.topic))

    def open_for(self, now: float) -> float:
        """Return how long the topic has been subscribed to, in seconds; 0 while closed."""
        return now - self._opened_s if self.is_open else 0.0

    def open(self, now: float, *, wants_history: bool = False) -> None:
        """
        Subscribe, unless subscribed already.

        :param now: Seconds of ``time.monotonic``.
        :param wants_history: Whether to get messages that publishers keep for late subscribers.
        """
        is_same = wants_history is self._wants_history
        self._wants_history = wants_history
        if self._subscription is None:
            self._opened_s = now
            self.follow_publishers()
            self._subscription = self._subscribe()
        elif not is_same:
            self._opened_s = now
            self.follow_publishers()

    def close(self) -> None:
        """End the subscription, if there is one."""
        if self._subscription is None:
            return
        if self._take is not None:
            self._thread.remove(self._take)
            self._take = None
        # rclpy waits until the image thread has ended a take that is under way.
        self._node.destroy_subscription(self._subscription)
        self._subscription = None

    def follow_publishers(self) -> None:
        """
        Subscribe again if the publishers need another reliability.

        If the reliability is fixed, warn about publishers that do not match it.
        """
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        self._judge(publishers)
        self.publishers = frozenset(bytes(publisher.endpoint_gid) for publisher in publishers)
        if not self._follows:
            self._tell_unheard(publishers)
        reliability, durability = self._wanted(publishers)
        if (reliability, durability) == (self._reliability, self._durability):
            return
        is_news = reliability is not self._reliability
        self._reliability, self._durability = reliability, durability
        if self.is_open:
            self.close()
            self._subscription = self._subscribe()
        if is_news:
            self._node.get_logger().info(
                f'event=image_reliability topic={self.topic} reliability={self.reliability}'
            )

    def _wanted(
        self, publishers: Sequence[TopicEndpointInfo]
    ) -> tuple[ReliabilityPolicy, DurabilityPolicy]:
        """Return the policies that suit the publishers; the present ones if there are none."""
        reliable, durable = ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL
        profiles = [publisher.qos_profile for publisher in publishers]
        reliability, durability = self._reliability, self._durability
        if profiles and self._follows:
            all_reliable = all(profile.reliability is reliable for profile in profiles)
            reliability = reliable if all_reliable else ReliabilityPolicy.BEST_EFFORT
        if profiles or not self._wants_history:
            keeps = self._wants_history and reliability is reliable
            keeps = keeps and all(profile.durability is durable for profile in profiles)
            durability = durable if keeps else DurabilityPolicy.VOLATILE
        return reliability, durability

    def _judge(self, publishers: Sequence[TopicEndpointInfo]) -> None:
        """Warn once about each reason why the publishers' images cannot be shown."""
        faults = [*mismatches(self._own, publishers), *several_publishers(self._own, publishers)]
        if all(publisher.topic_type != self._own.type for publisher in publishers):
            faults += self._elsewhere()
        faults = [*self._settled.of(faults)]
        for fault in faults:
            self._warn_once(fault, f'event=image_topic reason="{fault}"')
        self.faults = tuple(faults)

    def _elsewhere(self) -> list[str]:
        """Return the other transports whose topics have publishers."""
        return [
            f'{topic} is published: set image_transport to {transport}'
            for transport, topic, kind in self._other_topics
            if any(
                publisher.topic_type == kind
                for publisher in self._node.get_publishers_info_by_topic(topic)
            )
        ]

    def _tell_unheard(self, publishers: Sequence[TopicEndpointInfo]) -> None:
        """Warn once about each best-effort publisher; rclpy's own warning is switched off."""
        if self._reliability is not ReliabilityPolicy.RELIABLE:
            return
        for publisher in publishers:
            name = full_name(publisher)
            if publisher.qos_profile.reliability is ReliabilityPolicy.RELIABLE:
                self._unheard.discard(name)
            elif name not in self._unheard:
                self._unheard.add(name)
                self._node.get_logger().warning(
                    f'event=image_qos_incompatible topic={self.topic} publisher={name} '
                    'reliability=best_effort hint="set image_reliability to auto or best_effort"'
                )

    def _subscribe(self) -> Subscription[Any]:
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self._transport.depth if self._is_volatile else HISTORY,
            reliability=self._reliability,
            durability=self._durability,
        )
        if self._rcl is not None:
            try:
                return self._subscribe_apart(profile, self._rcl)
            except RclUnusable as error:
                self._rcl = None
                self._node.get_logger().info(f'event=images_by_rclpy reason={str(error)!r:.200}')
        return self._create(profile, None)

    def _subscribe_apart(self, profile: QoSProfile, rcl: Rcl) -> Subscription[Any]:
        """
        Subscribe without the executor.

        :raises RclUnusable: That is not possible.
        """
        subscription = self._create(profile, _Apart())
        take = functools.partial(self._take_one, rcl, subscription.handle)
        # Before messages can arrive: the thread takes as many messages as the eventfd counts, and
        # a message that it cannot take yet would delay all later ones.
        self._thread.add(take)
        try:
            with subscription.handle:
                rcl.raise_on_message(
                    subscription.handle, subscription.topic_name, self._thread.wake
                )
        except RclUnusable:
            self._thread.remove(take)
            self._node.destroy_subscription(subscription)
            raise
        self._take = take
        return subscription

    def _create(self, profile: QoSProfile, group: CallbackGroup | None) -> Subscription[Any]:
        return self._node.create_subscription(
            self._type,
            self.topic,
            self._hand_over,
            profile,
            raw=True,
            callback_group=group,
            # Event handlers would wake the executor up for each image.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )

    def _hand_over(self, data: bytes) -> None:
        """Pass a message that rclpy took to the image thread."""
        self._thread.request(lambda: self._deliver(memoryview(data)))

    # --- called by the thread that takes images --------------------------------------------------

    def _take_one(self, rcl: Rcl, handle: Any) -> bool:
        """Take a message, if there is one, and return whether there was."""
        memory = self._memory()
        try:
            with handle:
                size = rcl.take(handle, memory)
        except PictureUndecodable as error:
            self._refuse(str(error))
            return True
        except InvalidHandle:
            return False  # closed meanwhile
        if size is None:
            return False
        self._deliver(memory[:size])
        return True

    def _deliver(self, serialized: memoryview) -> None:
        try:
            image = self._read(serialized)
        except (PictureUndecodable, RuntimeError) as error:
            # rclpy's RMWError, whose name is private, is a RuntimeError.
            self._refuse(f'{len(serialized)} bytes: {error}')
            return
        self._callback(*image)

    def _read(self, serialized: memoryview) -> tuple[Any, int]:
        """Return the image and its stamp."""
        if self._type is Image:
            image = read_image(serialized)
            return image, image.stamp_ns
        if self._type is CompressedImage:
            compressed = read_compressed_image(serialized)
            return compressed, compressed.stamp_ns
        message = deserialize_message(bytes(serialized), self._type)
        return message, message.header.stamp.sec * 10**9 + message.header.stamp.nanosec

    def _refuse(self, reason: str) -> None:
        if self._refused is not None:
            self._refused(reason)
        now = time.monotonic()
        if now - self._told_s >= TOLD_PERIOD_S:
            self._told_s = now
            self._node.get_logger().warning(
                f'event=image_undecodable topic={self.topic} reason={reason!r:.200}'
            )


def _other_topics(node: Node, topic: str, transport: str) -> list[tuple[str, str, str]]:
    """Return name, topic and message type of each transport but this one."""
    return [
        (name, _full_name(node, topic, other.suffix), f'{other.module[:-4]}/msg/{other.message}')
        for name, other in TRANSPORTS.items()
        if name != transport
    ]


def _full_name(node: Node, topic: str, suffix: str) -> str:
    """
    Return the full name of the topic.

    A topic with a suffix may be remapped itself. Otherwise it follows the remapping of the topic
    without the suffix, as image_transport's subscribers do.
    """
    if not suffix:
        return str(node.resolve_topic_name(topic))
    own = str(node.resolve_topic_name(f'{topic}/{suffix}'))
    if own != node.resolve_topic_name(f'{topic}/{suffix}', only_expand=True):
        return own
    return f'{node.resolve_topic_name(topic)}/{suffix}'
