"""A supervisor notices that the bridge hangs, and restarts it."""

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
from contextlib import suppress
import os
from pathlib import Path
import signal
import socket
import sys
import time

from programs import Programs, wait_for
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from supervised_robot import comes_back, supervised_robot, SUPPORT

from teleop_webrtc_bridge.bridge.ros.service_manager import ServiceManager

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

NOBODY = 'https://127.0.0.1:9'
PATIENCE_S = 60.0
SILENCE_S = 1.0
"""Several times the period of the tests."""
PERIOD_USEC = 400_000
NO_OTHER_SYSTEMD = {'WATCHDOG_PID': '', 'SYSTEMD_EXEC_PID': ''}
"""The tests themselves may run below one."""


@pytest.mark.real_programs
@pytest.mark.parametrize(
    ('fault', 'watchdog_s', 'said'),
    [
        # The hang guard bites.
        ('spins', 60.0, 'in hang'),
        # It cannot know; and a busy machine may be late.
        ('executor_hangs', 5.0, 'systemd: not fed for 5.0 s'),
    ],
)
async def test_a_robot_whose_bridge_hangs_is_started_again_and_can_be_driven(
    tmp_path: Path, fault: str, watchdog_s: float, said: str
) -> None:
    hang = tmp_path / 'hang'
    async with supervised_robot(tmp_path, fault, hang, watchdog_s=watchdog_s) as robot:
        await robot.set_off()
        print(f'moves again {await comes_back(robot, hang):.1f} s after its death')
        output = robot.bridge.output()
    assert said in output
    assert f'systemd: ended with status {-signal.SIGPROF}, again in' in output
    assert output.count('systemd: READY=1') == 2


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / 'notify'))
        end.settimeout(PATIENCE_S)
        yield end


@pytest.mark.real_programs
def test_the_program_says_that_it_is_up_that_it_turns_and_that_it_ends(
    tmp_path: Path, systemd: socket.socket
) -> None:
    key_file = tmp_path / 'key'
    key_file.write_text('the-key-of-nobody')
    hang = tmp_path / 'hang'
    environment = {
        'NOTIFY_SOCKET': systemd.getsockname(),
        'WATCHDOG_USEC': str(PERIOD_USEC),
        **NO_OTHER_SYSTEMD,
    }
    launcher = (sys.executable, str(SUPPORT / 'hanging_bridge.py'), 'executor_hangs', str(hang))
    for number in (signal.SIGTERM, signal.SIGKILL):
        started = Programs(tmp_path, environment, launcher)
        bridge = started.start_bridge(NOBODY, key_file, 'alone')
        assert systemd.recv(99) == b'READY=1'
        assert [systemd.recv(99) for _ in range(5)] == 5 * [b'WATCHDOG=1']
        if number == signal.SIGTERM:
            bridge.process.send_signal(number)
            while (said := systemd.recv(99)) == b'WATCHDOG=1':
                pass
            assert said == b'STOPPING=1'
            assert bridge.process.wait(PATIENCE_S) == 0
            continue
        # The executor hangs, and nothing else: the drive thread and the other half live on.
        hang.touch()
        wait_for(lambda: not hang.exists())
        received(systemd)
        systemd.settimeout(SILENCE_S)
        with pytest.raises(TimeoutError):
            systemd.recv(99)
        assert bridge.process.poll() is None
        bridge.process.kill()
        bridge.process.wait()


def received(end: socket.socket) -> list[bytes]:
    """Return the messages that wait to be read."""
    found = []
    end.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            found.append(end.recv(99))
    return found


@pytest.fixture
def turns() -> Iterator[Callable[..., Node]]:
    """Return a function that creates a spinning node with a service manager."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('followed', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def turn(environment: dict[str, str], condition: Callable[[], object]) -> Node:
        manager = ServiceManager(environment)
        manager.follow(node)
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            executor.spin_once(0.05)
            assert time.monotonic() < deadline_s
        manager.leave()
        return node

    yield turn
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


def timers(node: Node) -> int:
    return len(list(node.timers))


def test_a_socket_of_linux_own_names_is_found(turns: Callable[..., Node]) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        # Linux chooses the name.
        end.bind('')
        end.setblocking(False)
        name = end.getsockname()[1:].decode('ascii')

        def is_fed() -> bool:
            with suppress(BlockingIOError):
                heard.append(end.recv(99))
            return b'WATCHDOG=1' in heard

        turns({'NOTIFY_SOCKET': f'@{name}', 'WATCHDOG_USEC': '200000'}, is_fed)
        assert heard[0] == b'READY=1'


@pytest.mark.parametrize('name', ['', '@', '/', 'notify', 'vsock:2:1'])
def test_without_a_socket_nothing_is_done(turns: Callable[..., Node], name: str) -> None:
    environment = {'NOTIFY_SOCKET': name} if name else {}
    before = timers(turns({}, lambda: True))
    assert timers(turns({**environment, 'WATCHDOG_USEC': '200000'}, lambda: True)) == before


def test_that_systemd_is_up_is_said_until_it_is_heard(
    turns: Callable[..., Node], tmp_path: Path
) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:

        def is_up() -> bool:
            if not end.getsockname():
                end.bind(str(tmp_path / 'late'))
                end.setblocking(False)
                return False
            with suppress(BlockingIOError):
                heard.append(end.recv(99))
            return len(heard) > 1

        address = str(tmp_path / 'late')
        turns({'NOTIFY_SOCKET': address, 'WATCHDOG_USEC': 'soon'}, is_up)
    assert heard == [b'READY=1', b'WATCHDOG=1']


@pytest.mark.parametrize('name', ['WATCHDOG_PID', 'SYSTEMD_EXEC_PID'])
@pytest.mark.parametrize('is_own', [True, False])
def test_only_the_process_that_systemd_started_speaks_for_the_whole_unit(
    turns: Callable[..., Node], systemd: socket.socket, name: str, is_own: bool
) -> None:
    begin_s = time.monotonic()
    pid = os.getpid() if is_own else os.getppid()
    heard: list[bytes] = []

    def has_turned() -> bool:
        heard.extend(received(systemd))
        return b'WATCHDOG=1' in heard if is_own else time.monotonic() > begin_s + 0.5

    environment = {'NOTIFY_SOCKET': systemd.getsockname(), 'WATCHDOG_USEC': '100000'}
    turns({**environment, **NO_OTHER_SYSTEMD, name: str(pid)}, has_turned)
    heard += received(systemd)
    assert heard[0] == b'READY=1'
    # Others below it, as with ros2 launch, say no more than that they are up.
    assert set(heard[1:]) == ({b'WATCHDOG=1', b'STOPPING=1'} if is_own else set())


def test_a_systemd_that_does_not_listen_is_not_waited_for(
    turns: Callable[..., Node], systemd: socket.socket
) -> None:
    begin_s = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with suppress(BlockingIOError):
            while filler.sendto(b'x', systemd.getsockname()):
                pass
    environment = {'NOTIFY_SOCKET': systemd.getsockname(), 'WATCHDOG_USEC': '100000'}
    turns(environment, lambda: time.monotonic() > begin_s + 0.5)
