"""Reports about other nodes on the bridge's topics: real nodes, each with its DDS participant."""

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
from contextlib import contextmanager, ExitStack
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from programs import wait_for
import pytest
import rclpy
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from ros_probe import ros_node, spinning
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, String

from teleop_webrtc_bridge.bridge.ros.graph import NODE_NAME
from teleop_webrtc_bridge.bridge.ros.node import TeleopBridge
from teleop_webrtc_bridge.bridge.ros.parameters.table import API_KEY_VARIABLE

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
    # rclpy's own, when it logs incompatible QoS.
    pytest.mark.filterwarnings('ignore:Deprecated in favor of:DeprecationWarning'),
]

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
TWIST, STAMPED = 'geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped'
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@contextmanager
def spun_bridge(
    namespace: str, values: dict[str, Any], remappings: tuple[str, ...]
) -> Iterator[TeleopBridge]:
    """Spin a bridge that neither drives nor connects, in its own context."""
    context = rclpy.Context()
    options = [part for rule in remappings for part in ('-r', rule)]
    rclpy.init(context=context, args=['--ros-args', *options])
    bridge = TeleopBridge(
        context=context,
        namespace=namespace,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    with spinning(bridge, context):
        yield bridge


def logged(capfd: pytest.CaptureFixture[str], event: str, name: str) -> list[str]:
    """
    Return the log's lines with an event of a node.

    On a busy machine a node may be met before its name is known.
    """
    printed = capfd.readouterr().err.splitlines()
    return [line for line in printed if f'event={event}' in line and name in line]


class Graph:
    """Bridges, other nodes, and the statuses on ``/diagnostics``."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends
        self.said: list[DiagnosticStatus] = []
        self.node('listener').create_subscription(
            DiagnosticArray, '/diagnostics', lambda array: self.said.extend(array.status), 100
        )

    def node(self, name: str) -> Any:
        return self._ends.enter_context(ros_node(name))

    def bridge(self, namespace: str, *remappings: str, **values: Any) -> None:
        values = {'robot_id': namespace.strip('/')} | values
        self._ends.enter_context(spun_bridge(namespace, values, remappings))

    def newest(self, concern: str, robot_id: str = 'go2_a') -> DiagnosticStatus | None:
        """Return the last status of a robot's concern."""
        for status in reversed(self.said):
            if status.hardware_id == robot_id and status.name.endswith(f': {concern}'):
                return status
        return None

    def until(
        self, concern: str, level: bytes, *words: str, robot_id: str = 'go2_a'
    ) -> DiagnosticStatus:
        """Wait until a concern has this level, and its message contains all these words."""

        def found() -> DiagnosticStatus | None:
            status = self.newest(concern, robot_id)
            hit = status is not None and status.level == level
            return status if hit and all(word in status.message for word in words) else None

        try:
            return wait_for(found, what=f'{concern} {level!r} {words}')
        except AssertionError as error:
            error.add_note(f'it was {self.newest(concern, robot_id)}')
            raise


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    monkeypatch.setenv(API_KEY_VARIABLE, 'not-a-key-of-any-broker')
    with ExitStack() as ends:
        yield Graph(ends)


# --- names -------------------------------------------------------------------------------------


def test_the_statuses_of_a_fleet_have_different_names(graph: Graph) -> None:
    for namespace in ('go2_a', '/fleet/go2_b'):
        graph.bridge(namespace)
    graph.until('command gate', WARN)
    graph.until('command gate', WARN, robot_id='fleet/go2_b')
    names: dict[str, set[str]] = {}
    for status in graph.said:
        names.setdefault(status.hardware_id, set()).add(status.name)
    assert all(name.startswith('/go2_a/teleop_bridge: ') for name in names['go2_a'])
    assert all(name.startswith('/fleet/go2_b/teleop_bridge: ') for name in names['fleet/go2_b'])


# --- who else drives ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('namespace', 'name'),
    [('other', NODE_NAME), ('other', 'drive_link'), ('go2_a', NODE_NAME)],
    ids=['another-namespace', 'renamed', 'the-same-name'],
)
def test_a_second_bridge_is_an_error_whatever_its_name(
    graph: Graph, namespace: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    graph.bridge('go2_a')
    graph.bridge(namespace, f'__node:={name}', 'cmd_vel:=/go2_a/cmd_vel', robot_id='second')
    told = graph.until('command gate', ERROR, f'/{namespace}/{name} is a second teleop bridge')
    assert '/go2_a/cmd_vel' in told.message
    graph.until('command gate', ERROR, '/go2_a/teleop_bridge', robot_id='second')
    lines = logged(capfd, 'second_bridge', '')
    assert any(f'node=/{namespace}/{name} type={STAMPED} count=1' in line for line in lines)
    assert all('ERROR' in line for line in lines)


def test_whoever_publishes_on_our_cmd_vel_is_named_until_they_are_gone(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    graph.bridge('go2_a')
    base = graph.node('base')
    base.create_subscription(TwistStamped, '/go2_a/cmd_vel', lambda message: None, 10)
    graph.until('command gate', OK, 'ready')
    planner = graph.node('planner')
    publishers = [planner.create_publisher(Twist, '/go2_a/cmd_vel', 10) for _ in range(2)]
    told = graph.until('command gate', WARN, '/planner publishes /go2_a/cmd_vel as well')
    assert f'2 publishers of {TWIST}' in told.message
    values = {pair.key: pair.value for pair in told.values}
    assert values['other_publishers'] == '/planner'
    for publisher in publishers:
        planner.destroy_publisher(publisher)
    graph.until('command gate', OK, 'ready')
    lines = logged(capfd, 'other_publisher', '/planner')
    assert len(lines) <= 2, 'its publishers may be met one by one'
    assert f'topic=/go2_a/cmd_vel node=/planner type={TWIST} count=2' in lines[-1]
    assert 'WARN' in lines[-1]


def test_a_mux_behind_our_topic_is_nobody_else(graph: Graph) -> None:
    graph.bridge('go2_a', 'cmd_vel:=cmd_vel_teleop')
    mux = graph.node('twist_mux')
    mux.create_subscription(TwistStamped, '/go2_a/cmd_vel_teleop', lambda message: None, 10)
    mux.create_publisher(TwistStamped, '/go2_a/cmd_vel', 10)
    graph.node('planner').create_publisher(TwistStamped, '/go2_a/cmd_vel', 10)
    for _ in range(2):
        graph.said.clear()
        graph.until('command gate', OK, 'ready')


# --- who does not hear whom --------------------------------------------------------------------


@pytest.mark.parametrize(
    ('stamped', 'kind', 'words'),
    [
        (True, Twist, (TWIST, STAMPED, 'set publish_stamped to false')),
        (False, TwistStamped, (TWIST, STAMPED, 'set publish_stamped to true')),
        (True, PoseStamped, ('geometry_msgs/msg/PoseStamped', STAMPED)),
    ],
    ids=['twist', 'stamped', 'neither'],
)
def test_a_base_that_takes_another_type_is_named(
    graph: Graph,
    stamped: bool,
    kind: Any,
    words: tuple[str, ...],
    capfd: pytest.CaptureFixture[str],
) -> None:
    graph.node('base').create_subscription(kind, '/go2_a/cmd_vel', lambda message: None, 10)
    graph.bridge('go2_a', publish_stamped=stamped)
    told = graph.until('command gate', WARN, '/base subscribes /go2_a/cmd_vel', *words)
    assert 'no node subscribes' not in told.message
    lines = logged(capfd, 'topic_mismatch', '/base')
    assert len(lines) == 1
    assert all(word in lines[0] for word in ('/base', *words))


@pytest.mark.parametrize(
    ('profile', 'word'),
    [
        (QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL), 'durability'),
        (QoSProfile(depth=1, deadline=Duration(seconds=1)), 'deadline'),
        (QoSProfile(depth=1, liveliness=LivelinessPolicy.MANUAL_BY_TOPIC), 'liveliness'),
        (QoSProfile(depth=1, liveliness_lease_duration=Duration(seconds=1)), 'liveliness'),
    ],
    ids=['durability', 'deadline', 'liveliness', 'lease'],
)
def test_a_base_that_asks_for_more_than_is_offered_is_named(
    graph: Graph, profile: QoSProfile, word: str
) -> None:
    base = graph.node('base')
    base.create_subscription(TwistStamped, '/go2_a/cmd_vel', lambda message: None, profile)
    graph.bridge('go2_a')
    graph.until('command gate', WARN, '/base subscribes', 'incompatible QoS', word)


def test_one_who_hears_and_one_who_does_not_are_told_apart(graph: Graph) -> None:
    graph.bridge('go2_a')
    base = graph.node('base')
    base.create_subscription(TwistStamped, '/go2_a/cmd_vel', lambda message: None, BEST_EFFORT)
    graph.until('command gate', OK, 'ready')
    graph.node('old').create_subscription(Twist, '/go2_a/cmd_vel', lambda message: None, 1)
    told = graph.until('command gate', WARN, '/old subscribes')
    assert '/base' not in told.message


@pytest.mark.parametrize(
    ('kind', 'profile', 'word'),
    [(Bool, BEST_EFFORT, 'best_effort'), (String, 1, 'std_msgs/msg/String')],
    ids=['best-effort', 'string'],
)
def test_an_estop_button_that_is_not_heard_is_an_error(
    graph: Graph, kind: Any, profile: Any, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    graph.node('button').create_publisher(kind, '/go2_a/teleop_bridge/estop_in', profile)
    graph.bridge('go2_a')
    graph.until('E-STOP', ERROR, '/button publishes /go2_a/teleop_bridge/estop_in', word)
    lines = logged(capfd, 'topic_mismatch', '/button')
    assert len(lines) == 1
    assert 'ERROR' in lines[0]


def test_a_lock_that_cannot_hear_the_estop_is_an_error(graph: Graph) -> None:
    lock = graph.node('lock')
    lock.create_subscription(String, '/go2_a/teleop_bridge/estop', lambda message: None, 1)
    graph.bridge('go2_a')
    graph.until('E-STOP', ERROR, 'released', '/lock subscribes /go2_a/teleop_bridge/estop as')


def test_who_cannot_hear_the_state_is_named(graph: Graph) -> None:
    graph.bridge('go2_a')
    graph.until('graph', OK)
    display = graph.node('display')
    display.create_subscription(Bool, '/go2_a/teleop_bridge/state', lambda message: None, 1)
    graph.until('graph', WARN, '/display subscribes /go2_a/teleop_bridge/state as')


# --- cameras -----------------------------------------------------------------------------------


def test_a_camera_of_another_type_is_named(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    graph.node('camera').create_publisher(CompressedImage, '/go2_a/image', 1)
    graph.bridge('go2_a')
    words = ('/camera publishes /go2_a/image as sensor_msgs/msg/CompressedImage', 'msg/Image')
    told = graph.until('video', WARN, *words)
    assert 'no node publishes' not in told.message
    lines = logged(capfd, 'image_topic', '/camera')
    assert len(lines) == 1
    assert words[0] in lines[0]


@pytest.mark.parametrize(
    ('transport', 'kind', 'topic', 'hint'),
    [
        ('raw', CompressedImage, 'image/compressed', 'set image_transport to compressed'),
        ('raw', CompressedImage, 'image/h264', 'set image_transport to h264'),
        ('compressed', Image, 'image', 'set image_transport to raw'),
    ],
)
def test_images_of_another_transport_are_named(
    graph: Graph, transport: str, kind: Any, topic: str, hint: str
) -> None:
    graph.node('camera').create_publisher(kind, f'/go2_a/{topic}', 1)
    graph.bridge('go2_a', image_transport=transport)
    graph.until('video', WARN, 'no node publishes', f'/go2_a/{topic} is published', hint)


def test_two_publishers_of_one_camera_are_named_until_one_is_gone(graph: Graph) -> None:
    graph.bridge('go2_a')
    graph.node('camera').create_publisher(Image, '/go2_a/image', 1)
    graph.until('video', OK, 'nobody watches')
    player = graph.node('bag_player')
    publisher = player.create_publisher(Image, '/go2_a/image', 1)
    graph.until('video', WARN, '2 publishers on /go2_a/image', '/bag_player', '/camera')
    player.destroy_publisher(publisher)
    graph.until('video', OK, 'nobody watches')


def test_a_camera_that_a_fixed_reliability_cannot_hear_is_named(graph: Graph) -> None:
    graph.node('camera').create_publisher(Image, '/go2_a/image', BEST_EFFORT)
    graph.bridge('go2_a', image_reliability='reliable')
    graph.until('video', WARN, '/camera publishes /go2_a/image', 'best_effort')
