"""The real node with its real WebRTC process, and a real broker beside it."""

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

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any
import urllib.request

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist, TwistStamped
from programs import page_address
import psutil
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_probe import Acquaintance
from std_msgs.msg import String

from teleop_webrtc_bridge.bridge.ros.node import TeleopBridge
from teleop_webrtc_bridge.bridge.ros.parameters.table import API_KEY_VARIABLE

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

PATIENCE_S = 60.0
"""Time limit on a busy machine."""
FRAME = 'body'


def until(condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Poll until the answer is true, and return it."""
    deadline_s = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline_s, 'the condition was not met in time'
        time.sleep(0.02)
    return answer


class Broker:
    """The real broker in its own process."""

    def __init__(self, state_dir: Path) -> None:
        self._log = (state_dir / 'broker.log').open('w', encoding='utf-8')
        program = [sys.executable, '-m', 'teleop_webrtc_bridge.broker.main', '--port', '0']
        self.process = subprocess.Popen(
            [*program, '--state-dir', str(state_dir)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout is not None
        page = page_address(self.process.stdout.readline())
        self.url, _, self._token = page.partition('/#token=')
        self.key = (state_dir / 'robot_api_key').read_text('ascii').strip()

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return the robots that an operator sees, by robot id."""
        request = urllib.request.Request(
            f'{self.url}/api/v1/sessions', headers={'Authorization': f'Bearer {self._token}'}
        )
        with urllib.request.urlopen(request, timeout=5.0) as response:
            rows = json.load(response)
        assert len({row['robot_id'] for row in rows}) == len(rows), 'one robot, one session'
        return {row['robot_id']: row for row in rows}

    def session(self, robot_id: str) -> dict[str, Any] | None:
        return self.sessions().get(robot_id)

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE_S)
        self._log.close()


@pytest.fixture(scope='module')
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with closing(Broker(tmp_path_factory.mktemp('broker'))) as broker:
        yield broker


class Bridge:
    """The program teleop_bridge."""

    def __init__(self, folder: Path, key: str, robot_id: str, url: str, *options: str) -> None:
        self.namespace = f'/{robot_id}'
        self._output = folder / f'{robot_id}.log'
        program = [sys.executable, '-m', 'teleop_webrtc_bridge.bridge.ros.main', '--ros-args']
        program += ['-r', f'__ns:={self.namespace}', '-p', f'robot_id:={robot_id}']
        program += ['-p', f'broker_url:={url}', '-p', f'base_frame:={FRAME}']
        with self._output.open('w', encoding='utf-8') as output:
            self.process = subprocess.Popen(
                [*program, *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {API_KEY_VARIABLE: key},
            )

    def printed(self) -> str:
        return self._output.read_text('utf-8')

    def webrtc(self) -> psutil.Process | None:
        """Return the WebRTC process."""
        children = psutil.Process(self.process.pid).children()
        return children[0] if children else None

    def close(self) -> None:
        # Gently, because of the shared memory: see conftest.py.
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            # The child dies with its parent.
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start(broker: Broker, tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    bridges: list[Bridge] = []

    def start_one(robot_id: str, *options: str, url: str = broker.url) -> Bridge:
        bridges.append(Bridge(tmp_path, broker.key, robot_id, url, *options))
        return bridges[-1]

    yield start_one
    for bridge in bridges:
        bridge.close()


class Watcher:
    """A ROS node of the test that records ``cmd_vel``, in its own thread."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('watcher', context=self._context)
        self._acquaintance = Acquaintance(self.node)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ending = False
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ending:
            self._executor.spin_once(timeout_sec=0.05)

    def watch(self, bridge: Bridge, kind: type = TwistStamped) -> list[Any]:
        """Return a list to which the messages of the bridge are appended, once they match."""
        topic = f'{bridge.namespace}/cmd_vel'
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, 50)
        until(lambda: self._acquaintance.made(topic))
        return received

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with closing(Watcher()) as watcher:
        yield watcher


def assert_is_a_zero_of_now(message: TwistStamped, watcher: Watcher) -> None:
    assert message.twist == Twist()
    assert message.header.frame_id == FRAME
    stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
    now_s = watcher.node.get_clock().now().nanoseconds * 1e-9
    assert 0.0 <= now_s - stamp_s < PATIENCE_S


# --- two robots ------------------------------------------------------------------------------


def test_two_nodes_in_one_process_are_two_robots(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, broker.key)
    context = Context()
    rclpy.init(context=context)
    bridges = [
        TeleopBridge(
            context=context,
            namespace=robot_id,
            parameter_overrides=[
                Parameter('robot_id', value=robot_id),
                Parameter('robot_name', value=f'Robot {robot_id}'),
                Parameter('broker_url', value=broker.url),
            ],
        )
        for robot_id in ('left', 'right')
    ]
    for bridge in bridges:
        bridge.start()
    try:
        until(lambda: {'left', 'right'} <= broker.sessions().keys())
        sessions = broker.sessions()
        assert sessions['left']['robot_name'] == 'Robot left'
        assert sessions['right']['robot_name'] == 'Robot right'
        assert sessions['left']['session_id'] != sessions['right']['session_id']
        processes = {bridge.webrtc_pid for bridge in bridges}
        assert len(processes) == 2
        for pid in processes:
            secrets = Path(f'/proc/{pid}/environ').read_bytes()
            secrets += Path(f'/proc/{pid}/cmdline').read_bytes()
            assert broker.key.encode() not in secrets
    finally:
        for bridge in bridges:
            bridge.leave(in_good_order=True)
            bridge.free()
        context.try_shutdown()
    assert not any(psutil.pid_exists(pid) for pid in processes if pid is not None)
    assert {'left', 'right'}.isdisjoint(broker.sessions())


def test_no_dds_participant_is_destroyed_at_the_start(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fast DDS may hang when the last node of a context destroys its participant."""
    monkeypatch.setenv(API_KEY_VARIABLE, broker.key)
    destroy = Node.destroy_node
    there: list[int] = []

    def destroy_and_count(node: Node) -> None:
        names = node.get_node_names_and_namespaces()
        there.append(names.count((node.get_name(), node.get_namespace())))
        destroy(node)

    context = Context()
    rclpy.init(context=context)
    monkeypatch.setattr(Node, 'destroy_node', destroy_and_count)
    bridge = TeleopBridge(
        context=context,
        namespace='once',
        parameter_overrides=[Parameter('broker_url', value=broker.url)],
    )
    monkeypatch.undo()
    bridge.destroy_node()
    context.try_shutdown()
    assert there == [2]


# --- a broker that is not there --------------------------------------------------------------


class HangsUp:
    """A server in place of the broker that closes every connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self._listener.getsockname()[1]}'
        self.attempts = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    # aiohttp repeats a GET by itself, a POST never.
                    self.attempts += connection.recv(65536).startswith(b'POST')

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_an_unreachable_broker_is_said_once_and_tried_again(
    start: Callable[..., Bridge], watcher: Watcher
) -> None:
    states: list[str] = []
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    watcher.node.create_subscription(
        String, '/lost/teleop_bridge/state', lambda message: states.append(message.data), latched
    )
    with closing(HangsUp()) as nobody:
        bridge = start('lost', url=nobody.url)
        until(lambda: nobody.attempts >= 4)
        assert bridge.process.poll() is None
        printed = bridge.printed()
        errors = [line for line in printed.splitlines() if 'ERROR' in line]
        assert len(errors) == 1, printed
        assert '127.0.0.1' in errors[0]
        assert 'Traceback' not in printed
        until(lambda: any('"backing_off"' in state for state in states))
        bridge.process.send_signal(signal.SIGINT)
        assert bridge.process.wait(PATIENCE_S) == 0


# --- diagnostics -----------------------------------------------------------------------------


def test_a_cmd_vel_that_nobody_hears_is_a_warning(
    start: Callable[..., Bridge], watcher: Watcher
) -> None:
    statuses: list[DiagnosticStatus] = []
    watcher.node.create_subscription(
        DiagnosticArray, '/diagnostics', lambda array: statuses.extend(array.status), 10
    )

    def said() -> set[tuple[bytes, str]]:
        return {(status.level, status.message) for status in statuses if 'gate' in status.name}

    bridge = start('unheard')
    until(lambda: (DiagnosticStatus.WARN, 'no node subscribes to /unheard/cmd_vel') in said())
    assert (DiagnosticStatus.OK, 'ready') not in said()
    watcher.watch(bridge)
    until(lambda: (DiagnosticStatus.OK, 'ready') in said())


# --- signals ---------------------------------------------------------------------------------


def test_each_signal_once_or_twice_ends_it_with_a_zero_and_status_0(
    start: Callable[..., Bridge], watcher: Watcher, broker: Broker
) -> None:
    cases = {
        'int': [signal.SIGINT],
        'term': [signal.SIGTERM],
        'hup': [signal.SIGHUP],
        'int_int': [signal.SIGINT, signal.SIGINT],
        'term_hup': [signal.SIGTERM, signal.SIGHUP],
    }
    # Together: most of the time is waiting.
    bridges = {name: start(name) for name in cases}
    received = {name: watcher.watch(bridge) for name, bridge in bridges.items()}
    until(lambda: cases.keys() <= broker.sessions().keys())
    for turn in range(2):
        for name, numbers in cases.items():
            if turn < len(numbers):
                bridges[name].process.send_signal(numbers[turn])
    for name, bridge in bridges.items():
        assert bridge.process.wait(PATIENCE_S) == 0, name
        assert 'Traceback' not in bridge.printed(), name
        until(lambda name=name: received[name])  # type: ignore[misc]
        assert_is_a_zero_of_now(received[name][-1], watcher)
    assert cases.keys().isdisjoint(broker.sessions()), 'they said goodbye'


def test_without_stamps_the_last_message_is_a_zero_twist(
    start: Callable[..., Bridge], watcher: Watcher, broker: Broker
) -> None:
    bridge = start('plain', '-p', 'publish_stamped:=false')
    received = watcher.watch(bridge, Twist)
    until(lambda: broker.session('plain'))
    bridge.process.send_signal(signal.SIGTERM)
    assert bridge.process.wait(PATIENCE_S) == 0
    until(lambda: received)
    assert received[-1] == Twist()


# --- crashes ---------------------------------------------------------------------------------


def test_after_a_killed_webrtc_process_the_session_comes_back(
    start: Callable[..., Bridge], broker: Broker
) -> None:
    bridge = start('crashing')
    before = until(lambda: broker.session('crashing'))
    child = until(bridge.webrtc)
    child.kill()

    def came_back() -> bool:
        session = broker.session('crashing')
        return session is not None and session['session_id'] != before['session_id']

    until(came_back)
    assert bridge.process.poll() is None
    assert until(bridge.webrtc).pid != child.pid
    assert bridge.printed().count('event=webrtc_process_ended') == 1
    bridge.process.send_signal(signal.SIGINT)
    assert bridge.process.wait(PATIENCE_S) == 0


def test_a_killed_node_takes_its_webrtc_process_along(
    start: Callable[..., Bridge], broker: Broker
) -> None:
    bridge = start('killed')
    until(lambda: broker.session('killed'))
    child = until(bridge.webrtc)
    bridge.process.kill()
    bridge.process.wait()
    child.wait(timeout=PATIENCE_S)
    assert not child.is_running()
