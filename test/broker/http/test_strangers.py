"""A driven robot and a new operator, while strangers hold all connections."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
import os
from pathlib import Path
import sys
import time

from programs import Broker, Programs, ROOT
import pytest
from python_operator import operator, PythonOperator
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.core.messages import Velocity

ATTACKERS = ROOT / 'test' / 'support' / 'http_attackers.py'
CONNECTIONS = 2000
ATTACK_S = 60.0
"""Maximum duration; the attack ends with the test."""
NICE = 10
"""Attackers yield to the programs under test, but make progress on a busy machine."""
OPENED_S = 120.0
PERIOD_S = 0.02
COMES_S = 5.0
MOST_LINES = 100
"""The broker logs at most 60 refusals per minute."""


@asynccontextmanager
async def attackers(broker: Broker, *arguments: str, secret: str = '') -> AsyncIterator[None]:
    """Try to keep thousands of connections to a broker open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ATTACKERS), *arguments[:1], broker.url),
        *('--connections', str(CONNECTIONS), '--seconds', str(ATTACK_S), '--nice', str(NICE)),
        *arguments[1:],
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, 'ATTACKER_SECRET': secret},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(OPENED_S):
            assert await process.stdout.readline() == b'ready\n'
        yield
    finally:
        process.kill()
        await process.wait()


def create_token(broker: Broker, sub: str, role: Role) -> str:
    with closing(Store.open(broker.key_file.parent)) as store:
        return store.create_operator_token(
            sub=sub, role=role, tenant_name='owner', now_s=time.time(), expires_at_s=None
        )


@asynccontextmanager
async def driven(person: PythonOperator) -> AsyncIterator[None]:
    """Hold a key down throughout; the link must stay up."""

    async def drive() -> None:
        while True:
            person.drive(Velocity(linear_x=0.1))
            await asyncio.sleep(PERIOD_S)

    async with asyncio.TaskGroup() as tasks:
        driving = [tasks.create_task(drive()), tasks.create_task(person.stay())]
        yield
        for task in driving:
            assert not task.done()
            task.cancel()


async def still_driven(robot: WebrtcHalf) -> None:
    """Wait for commands that arrive from now on."""
    seen = len(robot.arrivals)
    await robot.until(lambda: len(robot.arrivals) > seen + 10, 'commands')


@pytest.mark.real_programs
@pytest.mark.parametrize('open_files', [256, 1024])
@pytest.mark.parametrize('kind', ['silent', 'swallowed', 'holding'])
async def test_thousands_of_connections_keep_out_nobody_and_stop_no_robot(
    tmp_path: Path, open_files: int, kind: str
) -> None:
    started = Programs(
        tmp_path, launcher=('bash', '-c', f'ulimit -n {open_files}; exec "$@"', 'limited')
    )
    try:
        broker = await asyncio.to_thread(started.start_broker)
        key = broker.key_file.read_text().strip()
        viewer = create_token(broker, 'eve', Role.VIEWER)
        newcomer = create_token(broker, 'ann', Role.OPERATOR)
        async with (
            webrtc_half(configuration(broker.url, key, 'driven'), tmp_path) as robot,
            webrtc_half(configuration(broker.url, key, 'other'), tmp_path) as other,
            operator(broker.url, broker.token, with_video=False) as person,
        ):
            await robot.connected()
            await other.connected()
            session = await person.wait_for_robot('driven')
            await person.connect(session)
            async with driven(person):
                await still_driven(robot)
                assert robot.status is not None
                epoch, lines = robot.status.control_epoch, broker.program.output().count('\n')
                # The token's owner has one address, the strangers have five.
                addresses = '1' if kind == 'holding' else '5'
                # A newcomer queues behind the waiting requests of strangers at the same address;
                # with 'swallowed', the strangers use other addresses.
                skipped = '1' if kind == 'swallowed' else '0'
                arguments = ('--addresses', addresses, '--skip', skipped)
                async with attackers(broker, kind, *arguments, secret=viewer):
                    await still_driven(robot)
                    async with operator(broker.url, newcomer, with_video=False) as ann:
                        async with asyncio.timeout(COMES_S):
                            await ann.connect(await ann.wait_for_robot('other'))
                            ann.drive(Velocity(linear_x=0.1))
                            await other.until(lambda: other.arrivals, 'a command')
                    await person.heartbeat()
                    await still_driven(robot)
                assert robot.status.control_epoch == epoch
        output = broker.program.output()
        assert output.count('\n') - lines < MOST_LINES, output
        assert 'Traceback' not in output
    finally:
        await asyncio.to_thread(started.end)
