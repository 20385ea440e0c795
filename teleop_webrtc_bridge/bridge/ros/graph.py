"""
A watch on the graph for other nodes on the bridge's topics, and for endpoints that do not match.

DDS does not match endpoints with different types or incompatible QoS, and neither side gets a
helpful message. This module compares both sides as the graph shows them.
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

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
import re
import time
from typing import Any, Final, Generic, TypeVar

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo

from teleop_webrtc_bridge.core.texts import shown

_T = TypeVar('_T')

__all__ = [
    'NODE_NAME',
    'OwnTopic',
    'Rival',
    'Settled',
    'TopicReport',
    'TopicWatch',
    'full_name',
    'mismatches',
    'published',
    'rivals',
    'several_publishers',
    'type_name',
]

NODE_NAME: Final = 'teleop_bridge'
"""The default name of the node."""
MAX_SHOWN: Final = 4
"""Limit of listed endpoints of one topic; a graph may have hundreds."""
MAX_NAME_CHARS: Final = 128
TOLD_AGAIN_S: Final = 60.0
"""A fault that comes and goes is logged at most once in this time."""
MAX_TOLD: Final = 64

_FULL_NAME: Final = re.compile(r'(/[A-Za-z_]\w*)+', re.ASCII)
#: rmw/types.h and rmw_fastrtps
_NAMELESS: Final = {
    '_NODE_NAME_UNKNOWN_': 'a node of unknown name',
    '_CREATED_BY_BARE_DDS_APP_': 'a DDS program that is no ROS node',
}
#: rclpy shows an infinite duration as a very long one.
_INFINITE_NS: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTopic:
    """A topic that this node publishes or subscribes."""

    name: str
    type: str
    """For example ``geometry_msgs/msg/Twist``."""
    published: bool
    reliable: bool = True
    durable: bool = False
    """QoS durability ``transient_local``."""
    hints: tuple[tuple[str, str], ...] = ()
    """Pairs of another type, and what to do about it."""


def published(
    publisher: Publisher[Any], *, durable: bool = False, hints: tuple[tuple[str, str], ...] = ()
) -> OwnTopic:
    """Return the description of a topic that this node publishes, reliably."""
    return OwnTopic(
        name=publisher.topic_name,
        type=type_name(publisher.msg_type),
        published=True,
        durable=durable,
        hints=hints,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A node that publishes on our ``cmd_vel`` as well."""

    name: str
    """Fully qualified."""
    type: str
    count: int
    """Number of its publishers there."""
    is_bridge: bool

    def describe(self, topic: str) -> str:
        """Return a description for ``/diagnostics``."""
        if self.is_bridge:
            return (
                f'{self.name} is a second teleop bridge on {topic}: end one or remap its cmd_vel'
            )
        count = f'{self.count} publishers of ' if self.count > 1 else ''
        return f'{self.name} publishes {topic} as well ({count}{self.type})'


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicReport:
    """The result of the last look at the graph."""

    rivals: tuple[Rival, ...] = ()
    cmd_vel: tuple[str, ...] = ()
    """Nodes that cannot receive ``cmd_vel``, and why."""
    estop: tuple[str, ...] = ()
    """The same for the topics of the E-STOP."""
    others: tuple[str, ...] = ()


class Settled(Generic[_T]):
    """Passes only what two looks in a row have found, because discovery is gradual."""

    def __init__(self) -> None:
        self._before: frozenset[_T] = frozenset()

    def of(self, found: Sequence[_T]) -> tuple[_T, ...]:
        """Return the items that the previous look found, too."""
        before, self._before = self._before, frozenset(found)
        return tuple(it for it in found if it in before)


def full_name(endpoint: TopicEndpointInfo) -> str:
    """Return the fully qualified name of an endpoint's node, printable and short."""
    if endpoint.node_name in _NAMELESS:
        return _NAMELESS[endpoint.node_name]
    return shown(f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}', MAX_NAME_CHARS)


def type_name(message_type: Any) -> str:
    """Return the name of a message type, as the graph shows it."""
    package = message_type.__module__.partition('.')[0]
    return f'{package}/msg/{message_type.__name__}'


def rivals(
    publishers: Iterable[TopicEndpointInfo],
    *,
    own_name: str,
    own_type: str,
    is_bridge: Callable[[str], bool],
) -> tuple[Rival, ...]:
    """
    Return the other nodes that publish on a topic.

    One publisher with our name is ours. A second one, which has another GID, belongs to a node
    with the same fully qualified name.

    :param publishers: All publishers of the topic.
    :param own_name: Fully qualified.
    :param is_bridge: Returns whether the node of that name is a teleop bridge.
    """
    by_gid = {bytes(endpoint.endpoint_gid): endpoint for endpoint in publishers}
    counts = Counter(
        (full_name(it), shown(it.topic_type, MAX_NAME_CHARS)) for it in by_gid.values()
    )
    counts[own_name, own_type] -= 1
    return tuple(
        Rival(name=name, type=kind, count=count, is_bridge=name == own_name or is_bridge(name))
        for (name, kind), count in sorted(counts.items())
        if count > 0
    )


def mismatches(own: OwnTopic, endpoints: Iterable[TopicEndpointInfo]) -> tuple[str, ...]:
    """
    Return which endpoints of a topic do not match ours, and why.

    :param endpoints: The topic's subscriptions if we publish it, otherwise its publishers.
    """
    verb = 'subscribes' if own.published else 'publishes'
    texts: dict[str, None] = {}
    for endpoint in endpoints:
        begin = f'{full_name(endpoint)} {verb} {own.name}'
        if endpoint.topic_type != own.type:
            hint = dict(own.hints).get(endpoint.topic_type, '')
            text = f'{begin} as {shown(endpoint.topic_type, MAX_NAME_CHARS)}, not as {own.type}'
            texts[f'{text}: {hint}' if hint else text] = None
            continue
        policies = _incompatible(own, endpoint.qos_profile)
        if policies:
            deaf = 'is not heard' if not own.published else 'hears nothing'
            texts[f'{begin} with incompatible QoS and {deaf}: {", ".join(policies)}'] = None
    found = sorted(texts)
    more = len(found) - MAX_SHOWN
    return (*found[:MAX_SHOWN], f'{more} more on {own.name}') if more > 0 else tuple(found)


def several_publishers(own: OwnTopic, publishers: Iterable[TopicEndpointInfo]) -> list[str]:
    """Return a fault if a topic has more than one publisher."""
    by_gid = {
        bytes(endpoint.endpoint_gid): full_name(endpoint)
        for endpoint in publishers
        if endpoint.topic_type == own.type
    }
    if len(by_gid) < 2:
        return []
    names = sorted(by_gid.values())
    shown = ', '.join(names[:MAX_SHOWN]) + (', …' if len(names) > MAX_SHOWN else '')
    return [f'{len(names)} publishers on {own.name}, whose images alternate: {shown}']


def _incompatible(own: OwnTopic, other: QoSProfile) -> list[str]:
    """Return the policies that offer less than is requested."""
    is_reliable = other.reliability is not ReliabilityPolicy.BEST_EFFORT
    is_durable = other.durability is DurabilityPolicy.TRANSIENT_LOCAL
    policies = []
    if own.published:
        if is_reliable and not own.reliable:
            policies.append('reliability reliable is requested, best_effort is offered')
        if is_durable and not own.durable:
            policies.append('durability transient_local is requested, volatile is offered')
        # Our publishers offer neither a deadline nor liveliness.
        if other.deadline.nanoseconds < _INFINITE_NS and other.deadline.nanoseconds > 0:
            policies.append('a deadline is requested, none is offered')
        lease_ns = other.liveliness_lease_duration.nanoseconds
        if other.liveliness is LivelinessPolicy.MANUAL_BY_TOPIC or 0 < lease_ns < _INFINITE_NS:
            policies.append('liveliness is requested, none is offered')
        return policies
    if own.reliable and not is_reliable:
        policies.append('reliability best_effort is offered, reliable is requested')
    if own.durable and not is_durable:
        policies.append('durability volatile is offered, transient_local is requested')
    return policies


class TopicWatch:
    """
    Follows the graph around the node's topics, except those of its cameras.

    Owned by the thread that runs the node's callbacks.

    :param node: The node.
    :param cmd_vel: The topic of the velocities.
    :param estop: The topics of the E-STOP.
    :param others: Its other topics.
    :param warn: Logs a warning.
    :param complain: Logs an error.
    """

    def __init__(
        self,
        node: Node,
        *,
        cmd_vel: OwnTopic,
        estop: Sequence[OwnTopic],
        others: Sequence[OwnTopic],
        warn: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        self.report = TopicReport()
        self._node = node
        self._cmd_vel = cmd_vel
        self._estop = tuple(estop)
        self._others = tuple(others)
        self._warn = warn
        self._complain = complain
        self._settled_rivals: Settled[Rival] = Settled()
        self._settled: Settled[str] = Settled()
        self._told: dict[str, float] = {}
        self._present: frozenset[str] = frozenset()

    def look(self) -> None:
        """Look at the graph, and log what is new."""
        groups = [
            self._mismatches(topics) for topics in ([self._cmd_vel], self._estop, self._others)
        ]
        settled = self._settled.of([text for group in groups for text in group])
        cmd_vel, estop, others = (
            tuple(text for text in group if text in settled) for group in groups
        )
        self.report = TopicReport(
            rivals=self._rivals(), cmd_vel=cmd_vel, estop=estop, others=others
        )
        self._log()

    def _rivals(self) -> tuple[Rival, ...]:
        found = rivals(
            self._node.get_publishers_info_by_topic(self._cmd_vel.name),
            own_name=self._node.get_fully_qualified_name(),
            own_type=self._cmd_vel.type,
            is_bridge=self._is_bridge,
        )
        # The topics that identify a bridge may be discovered later than its cmd_vel.
        return self._settled_rivals.of(found)

    def _is_bridge(self, name: str) -> bool:
        """Return whether a node is a teleop bridge, by its name or by the topics it publishes."""
        if name.rpartition('/')[2] == NODE_NAME:
            return True
        if not _FULL_NAME.fullmatch(name):
            return False
        return all(self._node.count_publishers(f'{name}/{own}') > 0 for own in ('estop', 'state'))

    def _mismatches(self, topics: Iterable[OwnTopic]) -> tuple[str, ...]:
        found: list[str] = []
        for own in topics:
            ask = (
                self._node.get_subscriptions_info_by_topic
                if own.published
                else self._node.get_publishers_info_by_topic
            )
            found += mismatches(own, ask(own.name))
        return tuple(found)

    def _log(self) -> None:
        report, topic = self.report, self._cmd_vel.name
        lines: dict[str, Callable[[str], None]] = {}
        for rival in report.rivals:
            fields = f'topic={topic} node={rival.name} type={rival.type} count={rival.count}'
            if rival.is_bridge:
                hint = 'two bridges drive one robot: end one or remap its cmd_vel'
                lines[f'event=second_bridge {fields} hint="{hint}"'] = self._complain
            else:
                hint = 'both move the base: let a twist_mux choose, or remap one of them'
                lines[f'event=other_publisher {fields} hint="{hint}"'] = self._warn
        for text in (*report.cmd_vel, *report.others):
            lines[f'event=topic_mismatch reason="{text}"'] = self._warn
        for text in report.estop:
            lines[f'event=topic_mismatch reason="{text}"'] = self._complain
        now = time.monotonic()
        for line, tell in lines.items():
            if line not in self._present and self._may_tell(line, now):
                tell(line)
        self._present = frozenset(lines)

    def _may_tell(self, line: str, now: float) -> bool:
        told_s = self._told.get(line)
        if told_s is not None and now - told_s < TOLD_AGAIN_S:
            return False
        recent = sum(now - at_s < TOLD_AGAIN_S for at_s in self._told.values())
        if recent >= MAX_TOLD:
            return False
        self._told = {it: at_s for it, at_s in self._told.items() if now - at_s < TOLD_AGAIN_S}
        self._told[line] = now
        return True
