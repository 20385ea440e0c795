"""Local control of the robot: the real bridge process, and a ROS client in the test."""

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

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, ExitStack, suppress
from datetime import datetime
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from counted_broker import counted_broker
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from programs import Program, Programs, programs, wait_for
import pytest
from python_operator import operator, PythonOperator
from rclpy.qos import qos_profile_system_default
from ros_domain import next_domain
from ros_probe import Acquaintance, ros_node, RosProbe
from sensor_msgs.msg import Image
from small_camera import SmallCamera
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger
from tree import ROOT

from teleop_webrtc_bridge.bridge.ros.local_control import LATCHED_QOS
from teleop_webrtc_bridge.core.messages import Velocity

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

NOBODY = 'http://127.0.0.1:9'
"""A broker URL without a broker, on which local control must not depend."""
CAMERA = ROOT / 'test' / 'support' / 'image_publisher.py'
BLIND_FACTOR = 0.3


class Client:
    """A ROS program on the robot that subscribes to ``~/estop`` and calls the services."""

    def __init__(self, node: Any, namespace: str) -> None:
        self.probe = RosProbe(node, f'{namespace}/')
        self.latched: list[bool] = []
        """The messages on ``~/estop``, with their times."""
        self._acquaintance = Acquaintance(node)
        self._prefix = f'{namespace}/teleop_bridge'
        node.create_subscription(Bool, f'{self._prefix}/estop', self._on_estop, LATCHED_QOS)
        self._button = node.create_publisher(Bool, f'{self._prefix}/estop_in', 10)
        self._clients: dict[str, Any] = {
            'set_estop': node.create_client(SetBool, f'{self._prefix}/set_estop'),
            'enable': node.create_client(SetBool, f'{self._prefix}/enable'),
            'stop': node.create_client(Trigger, f'{self._prefix}/stop'),
            'reconnect': node.create_client(Trigger, f'{self._prefix}/reconnect'),
        }

    def _on_estop(self, message: Bool) -> None:
        self.latched.append(message.data)

    @property
    def estopped(self) -> bool | None:
        return self.latched[-1] if self.latched else None

    def meet(self) -> None:
        """Wait until the bridge answers service calls."""
        wait_for(lambda: self.latched, what='~/estop')
        for client in self._clients.values():
            wait_for(client.service_is_ready, what=client.srv_name)
        wait_for(lambda: self._button.get_subscription_count() == 1, what='~/estop_in')
        topic = f'{self._prefix.rpartition("/")[0]}/cmd_vel'
        wait_for(lambda: self._acquaintance.made(topic), what='cmd_vel')

    def call(self, name: str, data: bool | None = None) -> str:
        """Call a service and return its response."""
        request = Trigger.Request() if data is None else SetBool.Request(data=data)
        future: Any = None

        def answered() -> bool:
            # The server drops its answer while its side has not met the client's reader.
            nonlocal future
            future = self._clients[name].call_async(request)
            with suppress(AssertionError):
                return wait_for(future.done, timeout_s=3.0)
            return False

        heard = len(self.latched)
        try:
            wait_for(answered, what=name)
        except AssertionError as error:
            error.add_note(f'~/estop was heard {len(self.latched) - heard} times meanwhile')
            raise
        assert future.result().success, future.result().message
        return str(future.result().message)

    def press(self, pressed: bool) -> None:
        """Publish the state of a button on ``~/estop_in``."""
        self._button.publish(Bool(data=pressed))

    def wait_until_estopped(self, estopped: bool) -> None:
        wait_for(lambda: self.estopped is estopped, timeout_s=5.0, what=f'estop {estopped}')


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / 'key'
    path.write_text('not-a-key-of-any-broker')
    return path


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Programs]:
    with programs(tmp_path, {'ROS_HOME': str(tmp_path / 'ros')}) as running:
        yield running


@pytest.fixture
def new_node() -> Iterator[Callable[..., Any]]:
    """Return a function that creates nodes, each with its own DDS participant."""
    with ExitStack() as nodes:
        yield lambda domain_id=None: nodes.enter_context(ros_node('robot_side', domain_id))


@pytest.fixture
def node(new_node: Callable[..., Any]) -> Any:
    return new_node()


def start(started: Programs, key_file: Path, robot_id: str, *options: str) -> Program:
    """Start a bridge without a broker, in its own namespace."""
    return started.start_bridge(NOBODY, key_file, robot_id, '-r', f'__ns:=/{robot_id}', *options)


@pytest.fixture
def bridge(started: Programs, key_file: Path) -> Program:
    return start(started, key_file, 'local')


@pytest.fixture
def client(bridge: Program, node: Any) -> Client:
    client = Client(node, '/local')
    client.meet()
    return client


# --- ~/estop ---------------------------------------------------------------------------------


def test_the_latch_is_told_again_and_again(client: Client) -> None:
    begin = len(client.latched)
    wait_for(lambda: len(client.latched) >= begin + 20)
    assert not any(client.latched[begin:])
    for latched in (True, False):
        client.call('set_estop', latched)
        client.wait_until_estopped(latched)
        begin = len(client.latched)
        wait_for(lambda: len(client.latched) >= begin + 5)  # noqa: B023 - called at once
        assert set(client.latched[begin:]) == {latched}


def test_while_the_latch_holds_it_is_told_for_every_second_zero(client: Client) -> None:
    """Zeros come at 20 Hz, the latch at 10 Hz; a busy machine delays both, so both are counted."""
    client.call('set_estop', True)
    wait_for(client.probe.standing)
    told, zeros = len(client.latched), len(client.probe.commands)
    wait_for(lambda: len(client.probe.commands) >= zeros + 60)
    assert len(client.latched) - told == pytest.approx(30, abs=10)


def test_who_comes_late_is_told_at_once(client: Client, node: Any) -> None:
    client.call('set_estop', True)
    client.wait_until_estopped(True)
    late = Client(node, '/local')
    wait_for(lambda: late.latched, timeout_s=5.0)
    assert late.latched[0] is True


def test_the_topic_suits_a_lock_of_twist_mux(client: Client, node: Any) -> None:
    """twist_mux subscribes to its locks with the default QoS of the middleware."""
    heard: list[bool] = []
    qos = qos_profile_system_default
    topic = '/local/teleop_bridge/estop'
    node.create_subscription(Bool, topic, lambda message: heard.append(message.data), qos)
    wait_for(lambda: len(heard) >= 3, timeout_s=5.0)
    client.call('set_estop', True)
    wait_for(lambda: heard[-1], timeout_s=5.0)


# --- stop and latch --------------------------------------------------------------------------


def test_a_true_on_estop_in_latches_and_a_false_releases_nothing(client: Client) -> None:
    client.press(False)
    client.press(True)
    client.wait_until_estopped(True)
    wait_for(client.probe.standing, timeout_s=5.0)
    client.press(False)
    # Three rounds of the topic: whatever a false would do has been done by then.
    begin = len(client.latched)
    wait_for(lambda: len(client.latched) >= begin + 3)
    assert client.estopped
    client.call('set_estop', False)
    client.wait_until_estopped(False)


def test_zeros_go_on_while_the_latch_holds_and_end_with_it(client: Client) -> None:
    commands = client.probe.commands
    client.call('set_estop', True)
    wait_for(lambda: len(commands) >= 45, what='zeros')
    assert all(command.is_zero for command in commands)
    client.call('set_estop', False)
    wait_for(lambda: time.monotonic() > commands[-1].arrival_s + 0.5, what='silence')


def test_set_estop_says_what_it_did_and_the_state_tells_it(client: Client) -> None:
    assert client.call('set_estop', True) == 'E-STOP latched'
    wait_for(lambda: client.probe.said('estopped') is True)
    wait_for(client.probe.standing)
    assert client.call('set_estop', True) == 'E-STOP latched'
    assert client.call('set_estop', False) == 'E-STOP released'
    wait_for(lambda: client.probe.said('estopped') is False)


def test_who_pressed_and_who_released_is_told_in_state_diagnostics_and_log(
    client: Client, bridge: Program, node: Any
) -> None:
    diagnosed: list[DiagnosticStatus] = []

    def note(message: DiagnosticArray) -> None:
        diagnosed.extend(status for status in message.status if 'E-STOP' in status.name)

    node.create_subscription(DiagnosticArray, '/diagnostics', note, 10)
    button, service = '/local/teleop_bridge/estop_in', '/local/teleop_bridge/set_estop'
    assert client.probe.said('estopped_by') is None
    client.press(True)
    by = {'sub': button, 'role': 'robot'}
    wait_for(lambda: client.probe.said('estopped_by') == by, what='~/state')
    client.call('set_estop', True)
    message = f'latched: 1, by {button} (robot)'
    wait_for(lambda: diagnosed and diagnosed[-1].message == message, what='/diagnostics')
    values = {pair.key: pair.value for pair in diagnosed[-1].values}
    assert (values['by'], values['role']) == (button, 'robot')
    assert datetime.fromisoformat(values['since']).tzinfo is not None
    client.call('set_estop', False)
    wait_for(lambda: client.probe.said('estopped_by') is None, what='the release')
    for line in (
        f'event=estop latch=1 sub="{button}" role="robot"',
        f'event=estop_again latch=1 sub="{service}" role="robot"',
        f'event=estop_released latch=1 sub="{service}" role="robot"',
    ):
        assert ('WARN' if 'estop ' in line else 'INFO') in bridge.wait_for_line(line)


def test_stop_is_a_burst_of_zeros_and_no_latch(client: Client) -> None:
    assert client.call('stop') == 'stopped; motion needs neutral first'
    wait_for(client.probe.standing)
    assert client.estopped is False


def test_enable_and_disable_say_what_holds(client: Client) -> None:
    assert client.call('enable', False) == 'commands are not obeyed'
    wait_for(client.probe.standing, what='a zero')
    assert client.call('enable', True) == 'commands of operators are obeyed'
    assert client.estopped is False


# --- over restarts ---------------------------------------------------------------------------


def kill(program: Program) -> None:
    program.process.kill()
    program.process.wait()


def restarted(
    started: Programs, key_file: Path, new_node: Callable[..., Any], *options: str
) -> Client:
    """
    Kill the bridge, start it again, and return a client of the new one.

    In a ROS domain of its own: the topics of what was killed are there for a while, and whoever
    wrote to its shared memory may go on writing there (eProsima/Fast-DDS pull request 4737),
    unheard by the successor that was given a port of the same number.
    """
    kill(started.running[-1])
    domain_id = next_domain(int(started.environment['ROS_DOMAIN_ID']))
    started.environment['ROS_DOMAIN_ID'] = str(domain_id)
    start(started, key_file, 'local', *options)
    client = Client(new_node(domain_id), '/local')
    client.meet()
    return client


def test_a_latch_that_is_kept_survives_kill_9(
    started: Programs, key_file: Path, new_node: Callable[..., Any], tmp_path: Path
) -> None:
    options = ('-p', 'estop_persist:=true')
    file = tmp_path / 'ros' / 'teleop_webrtc_bridge' / 'local.estop'
    start(started, key_file, 'local', *options)
    client = Client(new_node(), '/local')
    client.meet()
    assert client.estopped is False
    assert not file.exists()
    client.press(True)
    wait_for(file.exists, timeout_s=5.0)
    wait_for(lambda: 'estop_in' in file.read_text(), what='who pressed')
    client = restarted(started, key_file, new_node, *options)
    assert all(client.latched)
    wait_for(client.probe.standing, what='zeros from the start')
    assert file.exists()
    by = {'sub': '/local/teleop_bridge/estop_in', 'role': 'robot'}
    wait_for(lambda: client.probe.said('estopped_by') == by, what='who pressed')
    started.running[-1].wait_for_line('event=estop_restored latch=1 sub="/local/')
    client.call('set_estop', False)
    wait_for(lambda: not file.exists())
    client = restarted(started, key_file, new_node, *options)
    assert client.estopped is False


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_the_start_does_not_release_a_latch_that_is_kept(
    started: Programs, key_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / 'ros' / 'teleop_webrtc_bridge' / 'local.estop'
    file.parent.mkdir(parents=True)
    file.touch()  # as older bridges left it: without a name
    bridge = start(started, key_file, 'local', '-p', 'estop_persist:=true')
    bridge.wait_for_line('event=state')
    bridge.wait_for_line('event=estop_restored latch=1 sub="estop_persist" role="robot"')
    assert bridge.end(number) == 0
    assert file.exists()


def test_without_estop_persist_a_crash_keeps_the_latch_and_an_end_in_good_order_does_not(
    client: Client,
    started: Programs,
    key_file: Path,
    new_node: Callable[..., Any],
    tmp_path: Path,
) -> None:
    client.call('set_estop', True)
    client.wait_until_estopped(True)
    file = tmp_path / 'ros' / 'teleop_webrtc_bridge' / 'local.estop'
    wait_for(file.exists, timeout_s=5.0)
    client = restarted(started, key_file, new_node)
    assert all(client.latched)
    assert started.running[-1].end(signal.SIGTERM) == 0
    assert not file.exists()
    client = restarted(started, key_file, new_node)
    assert client.estopped is False


def test_a_latch_that_cannot_be_saved_is_said_at_error_and_holds(
    started: Programs, key_file: Path, node: Any, tmp_path: Path
) -> None:
    bridge = start(started, key_file, 'local', '-p', 'estop_persist:=true')
    client = Client(node, '/local')
    client.meet()
    (tmp_path / 'ros').mkdir(exist_ok=True)
    (tmp_path / 'ros' / 'teleop_webrtc_bridge').write_text('in the way of the folder')
    client.call('set_estop', True)
    assert 'ERROR' in bridge.wait_for_line('event=estop_not_saved')
    client.wait_until_estopped(True)
    assert bridge.process.poll() is None


# --- two bridges -----------------------------------------------------------------------------


def test_a_second_bridge_on_the_same_cmd_vel_is_said_at_error_by_both(
    started: Programs, key_file: Path
) -> None:
    first = start(started, key_file, 'local')
    first.wait_for_line('event=state')
    second = started.start_bridge(
        NOBODY, key_file, 'other', '-r', '__ns:=/other', '-r', 'cmd_vel:=/local/cmd_vel'
    )
    for bridge in (first, second):
        line = bridge.wait_for_line('event=second_bridge')
        assert 'ERROR' in line
        assert 'topic=/local/cmd_vel' in line
    assert first.process.poll() is None


def test_bridges_with_topics_of_their_own_are_no_rivals(
    started: Programs, key_file: Path, node: Any
) -> None:
    names = ('left', 'right')
    bridges = [start(started, key_file, name) for name in names]
    clients = [Client(node, f'/{name}') for name in names]
    for client in clients:
        client.meet()
    wait_for(lambda: all(len(client.latched) > 20 for client in clients))
    assert not any('event=second_bridge' in bridge.output() for bridge in bridges)


# --- with an operator ------------------------------------------------------------------------


@asynccontextmanager
async def operated(
    folder: Path, *options: str
) -> AsyncIterator[tuple[PythonOperator, Client, Program]]:
    """Start a broker, a bridge, a client on the robot and a connected operator."""
    async with counted_broker(folder) as broker:
        running = Programs(folder, {'ROS_HOME': str(folder / 'ros')})
        try:
            bridge = running.start_bridge(broker.url, broker.key_file, 'go2-a', *options)
            with ros_node('robot_side') as node:
                client = Client(node, '')
                async with operator(broker.url, broker.token) as person:
                    await person.connect(await person.wait_for_robot('go2-a'))
                    await asyncio.to_thread(client.meet)
                    yield person, client, bridge
        finally:
            await asyncio.to_thread(running.end)


async def drive_until(
    person: PythonOperator,
    condition: Any,
    velocity: Velocity,
    *,
    timeout_s: float = 60.0,
    still: bool = False,
) -> None:
    """
    Hold a key until a condition is true.

    :param still: Whether the key has been held since the command before.
    """
    async with asyncio.timeout(timeout_s):
        while not condition():
            person.drive(velocity, held_s=0.02 if still else None)
            still = True
            await asyncio.sleep(0.02)


async def begin_to_drive(person: PythonOperator, client: Client) -> None:
    # Telemetry comes once the gate knows of them; commands before that do not count.
    await drive_until(person, lambda: newest_telemetry(person), Velocity())
    for _ in range(10):
        person.drive(Velocity())
        await asyncio.sleep(0.02)
    await drive_until(person, client.probe.moving, Velocity(linear_x=0.5))


def newest_telemetry(person: PythonOperator) -> dict[str, Any]:
    for _, message in reversed(person.received):
        decoded = json.loads(message)
        if decoded['type'] == 'robot_telemetry':
            return dict(decoded['state'])
    return {}


async def test_what_the_robots_side_does_stops_an_operator_and_they_are_told(
    tmp_path: Path,
) -> None:
    forward = Velocity(linear_x=0.5)
    async with operated(tmp_path) as (person, client, _):
        probe = client.probe
        await begin_to_drive(person, client)
        for name, undo, fields in (
            ('set_estop', False, {'estopped': True, 'latch': 1}),
            ('enable', True, {'enabled': False}),
            ('stop', None, {'moving': False}),
        ):
            data = None if undo is None else not undo
            called = asyncio.create_task(asyncio.to_thread(client.call, name, data))
            await drive_until(person, called.done, forward, still=True)
            await called
            await drive_until(person, probe.standing, forward, still=True)
            stopped = len(probe.commands)

            def is_told(fields: dict[str, Any] = fields) -> bool:
                return newest_telemetry(person).items() >= fields.items()

            await drive_until(person, is_told, forward, still=True)
            if undo is not None:
                called = asyncio.create_task(asyncio.to_thread(client.call, name, undo))
                await drive_until(person, called.done, forward, still=True)
                await called
            # The key is still held: half a second of it moves nothing.
            held_s = time.monotonic()
            await drive_until(
                person, lambda s=held_s: time.monotonic() > s + 0.5, forward, still=True
            )
            assert all(command.is_zero for command in probe.commands[stopped:]), name
            await drive_until(person, lambda: not newest_telemetry(person)['estopped'], Velocity())
            probe.commands.clear()
            await begin_to_drive(person, client)


async def test_reconnect_begins_a_new_session(tmp_path: Path) -> None:
    async with operated(tmp_path) as (person, client, bridge):
        await begin_to_drive(person, client)
        before = {robot['session_id'] for robot in await person.robots()}
        assert await asyncio.to_thread(client.call, 'reconnect') == 'a new session begins'
        await drive_until(person, lambda: not client.probe.moving(), Velocity(linear_x=0.5))
        async with asyncio.timeout(20.0):
            after: set[str] = set()
            while not after:
                after = {str(r['session_id']) for r in await person.robots()} - before
        assert len(after) == 1
        assert bridge.process.poll() is None
        assert client.estopped is False
        assert 'webrtc_process_ended' not in bridge.output()
        assert 'reason="a new session was requested"' in bridge.output()
        assert 'the WebRTC process ended' not in bridge.output()


@contextmanager
def camera(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / 'camera.log').open('wb') as output:
        process = subprocess.Popen(
            [sys.executable, str(CAMERA), 'reliable'],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(os.environ),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_camera_that_stalls_slows_the_operator_down_and_they_are_told(
    tmp_path: Path,
) -> None:
    fast = Velocity(linear_x=0.9)
    with camera(tmp_path) as process:
        async with operated(tmp_path) as (person, client, bridge):
            probe = client.probe
            await begin_to_drive(person, client)
            await drive_until(person, lambda: person.frames, fast)

            def shows(speed: float) -> bool:
                command = probe.last()
                return command is not None and command.linear_x == pytest.approx(speed)

            await drive_until(person, lambda: shows(0.9), fast)
            await drive_until(person, lambda: not newest_telemetry(person)['blind'], fast)
            process.send_signal(signal.SIGSTOP)
            await drive_until(person, lambda: shows(BLIND_FACTOR), fast)
            await drive_until(person, lambda: newest_telemetry(person)['blind'], fast)
            assert newest_telemetry(person)['limiting'] is True
            # Without a pause: after a second of silence, motion would need neutral.
            await drive_until(person, lambda: 'event=camera_stalled' in bridge.output(), fast)
            assert 'WARN' in bridge.wait_for_line('event=camera_stalled')
            process.send_signal(signal.SIGCONT)
            await drive_until(person, lambda: shows(0.9), fast)
            await drive_until(person, lambda: not newest_telemetry(person)['blind'], fast)


def test_until_discovery_has_ended_a_robot_counts_as_one_with_a_camera(
    started: Programs, key_file: Path, node: Any
) -> None:
    told: list[str] = []

    def note(message: DiagnosticArray) -> None:
        for status in message.status:
            told.extend(pair.value for pair in status.values if pair.key == 'blind')

    node.create_subscription(DiagnosticArray, '/diagnostics', note, 10)
    start(started, key_file, 'local')
    wait_for(lambda: told and told[-1] == 'False', what='a robot without a camera')
    assert told[0] == 'True'


async def test_nobody_drives_at_full_speed_before_the_first_image_of_a_camera(
    tmp_path: Path,
) -> None:
    fast = Velocity(linear_x=0.9)
    image = Image(width=32, height=24, step=32, encoding='mono8', data=bytes(32 * 24))
    with ros_node('camera') as node:
        camera = SmallCamera(node, 'image', [image])
        camera.is_on = False  # it is there, and says nothing
        async with operated(tmp_path) as (person, client, bridge):
            probe = client.probe
            await begin_to_drive(person, client)

            await drive_until(person, lambda: newest_telemetry(person)['limiting'], fast)
            await drive_until(person, lambda: probe.commands[-1].linear_x > 0.29, fast)
            # Telemetry comes three times a second: the newest may be older than that speed.
            await drive_until(person, lambda: newest_telemetry(person)['blind'], fast)
            assert max(command.linear_x for command in probe.commands) <= BLIND_FACTOR + 1e-6
            await drive_until(person, lambda: 'event=camera_stalled' in bridge.output(), fast)
            assert 'WARN' in bridge.wait_for_line('event=camera_stalled')
            camera.is_on = True
            await drive_until(person, lambda: probe.commands[-1].linear_x > 0.8, fast)
            await drive_until(person, lambda: not newest_telemetry(person)['blind'], fast)
