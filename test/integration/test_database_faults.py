"""A robot being driven while the broker's database fails, with real programs."""

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
from contextlib import suppress
import io
from pathlib import Path
import shutil
import subprocess
from typing import Any

import aiohttp
from database_faults import Fault, faults
from driven_half import driven_half, DrivenHalf
from failing_disk import FailingDisk
from programs import Broker, free_port, Program, Programs, programs, wait_for
import pytest

from teleop_webrtc_bridge.core.session import BridgeState

pytestmark = pytest.mark.real_programs

COMMANDS = 25
NEW_KEY = ('POST', 'keys', {'name': 'yard'})
FAILING = {
    'removed': 'broker.sqlite3 is missing',
    'overwritten with garbage': 'file is not a database',
    'disk full': 'database or disk is full',
    'disk read-only': 'disk I/O error',
}
SMALL_DISK = 'mount -t tmpfs -o size=512k,nr_inodes=64 tmpfs "$1" && shift && exec "$@"'


async def goes_on(subject: DrivenHalf, epoch: int) -> None:
    """Check that the robot is still being driven, in the same session."""
    robot = subject.robot
    enough = len(robot.arrivals) + COMMANDS
    await robot.until(lambda: len(robot.arrivals) > enough, 'commands')
    assert robot.status is not None
    assert (robot.state, robot.status.control_epoch) == (BridgeState.OPERATED, epoch)


async def driven(subject: DrivenHalf) -> int:
    """Wait until the robot is being driven, and return its control epoch."""
    robot = subject.robot
    await robot.until(lambda: len(robot.arrivals) > COMMANDS, 'commands')
    await robot.until(lambda: robot.state is BridgeState.OPERATED, 'operated')
    assert robot.status is not None
    return robot.status.control_epoch


async def health(broker: Broker) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f'{broker.url}/api/v1/health') as response,
    ):
        assert response.status == 200
        return dict(await response.json())


def says(program: Program, event: str, count: int) -> None:
    """Wait until an event has been logged this many times; more is a failure."""
    wait_for(lambda: program.output().count(f'event={event} ') >= count, what=event)
    assert program.output().count(f'event={event} ') == count


def assert_is_quiet(program: Program) -> None:
    assert program.process.poll() is None
    assert 'Traceback' not in program.output()


async def failing(
    subject: DrivenHalf, broker: Broker, fault: Fault, reason: str, epoch: int, earlier: int
) -> None:
    """Make the database fail once more, and then work again."""
    async with fault.lasting():
        status, answer = await subject.person.call(*NEW_KEY)
        assert (status, answer['detail']) == (503, f'The database fails: {reason}')
        assert await health(broker) == {'status': 'degraded', 'database': reason}
        await goes_on(subject, epoch)
        await asyncio.to_thread(says, broker.program, 'database_fails', earlier + 1)
    await asyncio.to_thread(says, broker.program, 'database_works_again', earlier + 1)
    assert (await health(broker))['status'] == 'ok'
    await goes_on(subject, epoch)


async def test_a_driven_robot_does_not_notice_what_is_wrong_with_the_database(
    tmp_path: Path,
) -> None:
    disk = FailingDisk(tmp_path, tmp_path / 'broker') if FailingDisk.compiler() else None
    with programs(tmp_path, disk.environment if disk else None) as started:
        broker = await asyncio.to_thread(started.start_broker)
        possible = faults(broker.key_file.parent, disk)
        async with driven_half(broker, tmp_path) as subject:
            epoch = await driven(subject)

            locked = asyncio.Event()
            async with possible['locked'].lasting():
                making = asyncio.create_task(subject.person.call(*NEW_KEY))
                making.add_done_callback(lambda made: locked.set())
                await goes_on(subject, epoch)
                assert not locked.is_set()
                assert await health(broker) == {'status': 'ok'}
            assert (await making)[0] == 201

            async with possible['replaced by one of ours'].lasting():
                await asyncio.to_thread(says, broker.program, 'database_replaced', 1)
                assert (await subject.person.call(*NEW_KEY))[0] == 201
                await goes_on(subject, epoch)

            failed = [name for name in FAILING if name in possible]
            for earlier, name in enumerate(failed):
                await failing(subject, broker, possible[name], FAILING[name], epoch, earlier)

            for name in ('each sync takes 2 s', 'each write takes 2 s'):
                if name in possible:
                    async with possible[name].lasting():
                        making = asyncio.create_task(subject.person.call(*NEW_KEY))
                        await goes_on(subject, epoch)
                    # A slow sync delays the call by seconds; slow writes may make it give up.
                    assert (await making)[0] in (201, 503)
                    await goes_on(subject, epoch)
        assert_is_quiet(broker.program)


def why_no_mount() -> str:
    """Return why the test cannot mount its own disk; empty if it can."""
    if shutil.which('unshare') is None:
        return 'needs unshare'
    tried = subprocess.run(
        ['unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'],
        capture_output=True,
        check=False,
    )
    return '' if tried.returncode == 0 else 'may not mount in a namespace: not root'


def occupy(file: io.FileIO) -> None:
    """Write until the disk is full."""
    with suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.namespace
async def test_a_disk_that_is_really_full_is_told_of_and_reaches_no_robot(tmp_path: Path) -> None:
    if reason := why_no_mount():
        pytest.skip(reason)
    disk = tmp_path / 'disk'
    disk.mkdir()
    # Only the broker sees this disk.
    launcher = ('unshare', '--mount', 'sh', '-c', SMALL_DISK, 'sh', str(disk))
    started, port = Programs(tmp_path, launcher=launcher), free_port()
    try:
        words = ('--port', str(port), '--state-dir', str(disk / 'broker'))
        program = started.start('broker.main', *words)
        root = Path(f'/proc/{program.pid}/root')
        broker = await asyncio.to_thread(Broker, program, port, disk / 'broker', root)
        theirs = broker.key_file.parent
        async with driven_half(broker, tmp_path) as subject:
            epoch = await driven(subject)
            assert (await subject.person.call(*NEW_KEY))[0] == 201

            def fill() -> Any:
                log = theirs / 'broker.sqlite3-wal'
                with (theirs / 'filling').open('wb', buffering=0) as filling:
                    occupy(filling)
                    # A reader can delay the emptying of the log, which makes room again.
                    wait_for(lambda: not log.exists() or log.stat().st_size == 0, what='the log')
                    occupy(filling)
                return (theirs / 'filling').unlink

            await failing(subject, broker, Fault(fill), 'database or disk is full', epoch, 0)
            assert (await subject.person.call(*NEW_KEY))[0] == 201
        assert_is_quiet(broker.program)
    finally:
        await asyncio.to_thread(started.end)
