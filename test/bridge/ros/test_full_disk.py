"""The real node with a full disk, or when nobody reads its output."""

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
from collections.abc import Iterator
from contextlib import suppress
import fcntl
import os
from pathlib import Path
import shutil
import signal
import subprocess

from driven_robot import driven_robot, DrivenRobot, FORWARD
from programs import wait_for
import psutil
import pytest
from rcl_interfaces.msg import Log

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

ON_SMALL_DISK = """
mount -t tmpfs -o size=512k,nr_inodes=64 tmpfs "$1" || exit 3
cd "$1" && shift && exec "$@" >>output 2>&1
"""
INTO_FIFO = 'fifo=$1 && shift && exec "$@" >"$fifo" 2>&1'
SMALLEST_PIPE_BYTES = 4096


def why_no_mount() -> str:
    """Return why the test cannot mount a disk; empty: it can."""
    if shutil.which('unshare') is None:
        return 'needs unshare'
    tried = subprocess.run(
        ['unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], capture_output=True
    )
    return '' if tried.returncode == 0 else 'may not mount in a namespace: not root'


def fill(disk: Path) -> None:
    """Use up all bytes and all inodes of the disk."""
    with suppress(OSError), (disk / 'filling').open('wb', buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with suppress(OSError):
        for number in range(1000):
            (disk / f'file_{number}').touch()
    with pytest.raises(OSError, match='No space left'):
        (disk / 'one_more').write_bytes(b'x')


@pytest.mark.namespace
async def test_on_a_full_disk_the_robot_drives_and_stops_and_the_latch_holds(
    tmp_path: Path,
) -> None:
    if reason := why_no_mount():
        pytest.skip(reason)
    disk = tmp_path / 'disk'
    disk.mkdir()
    launcher = ('unshare', '--mount', 'sh', '-c', ON_SMALL_DISK, 'sh', str(disk))
    environment = {'ROS_HOME': str(disk / 'home'), 'ROS_LOG_DIR': str(disk / 'log')}
    async with driven_robot(
        tmp_path, '-p', 'estop_persist:=true', environment=environment, launcher=launcher
    ) as robot:
        said: list[str] = []
        robot.node.create_subscription(Log, '/rosout', lambda log: said.append(log.msg), 10)
        await robot.set_off()
        # The disk that the bridge sees, which is mounted for it alone.
        theirs = Path(f'/proc/{robot.bridge.pid}/root') / disk.relative_to('/')
        assert (theirs / 'output').read_text(), 'it prints onto that disk'
        begin = len(robot.probe.commands)
        await asyncio.to_thread(fill, theirs)
        await robot.hold_for(FORWARD, 0.5)
        heard = robot.probe.commands[begin:]
        assert heard
        assert not any(command.is_zero for command in heard)
        await robot.falls_silent()
        assert (await robot.person.request('estop', 1))['ok'] is True
        await asyncio.to_thread(
            wait_for, lambda: any('event=estop_not_saved' in text for text in said)
        )
        # It is in force all the same.
        begin = len(robot.probe.commands)
        await robot.hold_for(FORWARD, 0.5)
        await robot.hold_for(FORWARD, 0.0)
        assert not robot.probe.moving()
        assert (await robot.person.request('estop_clear', 2))['ok'] is True
        await robot.assert_drives_and_stops()
        assert robot.bridge.process.poll() is None


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Path]:
    """Return a named pipe that is full and has no reader."""
    path = tmp_path / 'unread'
    os.mkfifo(path)
    ends = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(ends, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)
    with suppress(BlockingIOError):
        while True:
            os.write(ends, b'x')
    yield path
    os.close(ends)


async def test_when_nobody_reads_what_it_prints_the_robot_drives_stops_and_ends(
    tmp_path: Path, unread: Path
) -> None:
    launcher = ('sh', '-c', INTO_FIFO, 'sh', str(unread))
    async with driven_robot(tmp_path, launcher=launcher) as robot:
        await robot.assert_drives_and_stops()
        await robot.set_off()
        await robot_is_stopped_by_a_dead_half(robot)
        assert await asyncio.to_thread(robot.bridge.end, signal.SIGTERM) == 0


async def robot_is_stopped_by_a_dead_half(robot: DrivenRobot) -> None:
    """Kill the WebRTC half, which makes the bridge log a line."""
    begin = len(robot.probe.commands)
    (child,) = psutil.Process(robot.bridge.pid).children()
    child.kill()
    await asyncio.to_thread(
        wait_for,
        lambda: any(command.is_zero for command in robot.probe.commands[begin:]),
        what='the zero',
    )
