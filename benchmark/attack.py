"""
A robot being driven while others attack the broker: ``python3 -m benchmark.attack [ATTACK ...]``.

The robot is a real WebRTC half that a real operator drives at 50 Hz through a broker process. The
three phases are equally long: quiet; control, in which the attackers attack another broker on this
machine, to separate the load on the machine from faults of the broker; and attack. Prints a table
for each attack and, with ``--json FILE``, writes the figures.

Attacks: ``anonymous`` (every public path, and a bad token), ``viewer`` (a viewer's token that
requests the list of robots, 16 requests at once), ``robot`` (a robot key that sends heartbeats),
``silent`` (connections with no request or an incomplete one), each with every number of
``--connections``; ``peers`` (slow clients, session creates, peer connections that send garbage).
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

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, AsyncExitStack, closing
import json
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, Final

from programs import Broker, programs
from tree import ROOT

from benchmark.attack_subject import descriptors, Healthy, healthy, phase, probe
from benchmark.attackers import ATTACKS
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.manage import FIRST_TENANT

PEERS: Final = 'peers'
KINDS: Final = ('anonymous', 'viewer', 'robot', 'silent', PEERS)
REQUESTS: Final = ROOT / 'test' / 'support' / 'http_attackers.py'
PHASE_S: Final = 20.0
BASELINE_TIMEOUT_S: Final = 90.0
MARGIN_DESCRIPTORS: Final = 4
"""Allowance for requests in flight."""


async def attacked(broker: Broker, subject: Healthy, seconds: float) -> dict[str, Any]:
    """Measure the subject while a broker is attacked: its own or another one."""
    with closing(Store.open(broker.key_file.parent)) as store:
        _, key = store.create_robot_key(
            name='k', robot_id=None, owner='mallory', now_s=time.time()
        )
    attackers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, '-m', 'benchmark.attackers'),
            *(kind, broker.url, str(seconds)),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {'ATTACKER_KEY': key},
        )
        for kind in ATTACKS
    ]
    try:
        for attacker in attackers:
            assert attacker.stdout is not None
            await attacker.stdout.readline()  # its imports are done, the attack begins
        figures = await phase(subject, seconds)
        for kind, attacker in zip(ATTACKS, attackers, strict=True):
            said, _ = await attacker.communicate()
            figures[f'{kind}_answers'] = json.loads(said)
    finally:
        for attacker in attackers:
            if attacker.returncode is None:
                attacker.kill()
                await attacker.wait()
    return figures


async def back_at(broker_pid: int, most: float) -> float:
    """Return how many seconds it takes until a broker has no more descriptors than before."""
    began_s = time.monotonic()
    async with asyncio.timeout(BASELINE_TIMEOUT_S):
        while descriptors(broker_pid) > most + MARGIN_DESCRIPTORS:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return time.monotonic() - began_s


async def measure_peers(folder: Path, seconds: float) -> dict[str, dict[str, Any]]:
    """Return the figures of each phase of the attack by peers, and of a quiet phase after it."""
    async with two_brokers(folder) as (broker, other), healthy(broker, folder) as subject:
        phases = {'quiet': await phase(subject, seconds)}
        phases['control'] = await attacked(other, subject, seconds)
        phases['attack'] = await attacked(broker, subject, seconds)
        phases['attack']['descriptors_back_s'] = await back_at(
            subject.broker_pid, phases['quiet']['descriptors_broker']
        )
        phases['after'] = await phase(subject, seconds)
    return phases


async def measure_requests(
    kind: str, connections: int, folder: Path, seconds: float
) -> dict[str, dict[str, Any]]:
    """Return the figures of each phase of an attack by requests."""
    async with two_brokers(folder) as (broker, other), healthy(broker, folder) as subject:
        phases = {'quiet': await phase(subject, seconds)}
        for name, target in (('control', other), ('attack', broker)):
            async with requests(kind, connections, target, seconds) as attacker:
                phases[name] = await phase(subject, seconds)
                said, _ = await attacker.communicate()
            phases[name]['answers'] = json.loads(said)
            ratio = phases[name]['command_p99_ms'] / phases['quiet']['command_p99_ms']
            phases[name]['command_p99_ratio'] = ratio
    return phases


@asynccontextmanager
async def requests(
    kind: str, connections: int, broker: Broker, seconds: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start an attacker with its own token or key and its own session."""
    async with AsyncExitStack() as stack:
        with closing(Store.open(broker.key_file.parent)) as store:
            _, key = store.create_robot_key(
                name='k', robot_id=None, owner='mallory', now_s=time.time()
            )
            token = store.create_operator_token(
                sub='eve',
                role=Role.VIEWER,
                tenant_name=FIRST_TENANT,
                now_s=time.time(),
                expires_at_s=None,
            )
        path = []
        if kind == 'robot':
            _, heartbeat = await stack.enter_async_context(probe(broker.url, key))
            path = ['--path', heartbeat]
        attacker = await asyncio.create_subprocess_exec(
            *(sys.executable, str(REQUESTS), kind, broker.url),
            *('--connections', str(connections), '--seconds', str(seconds), *path),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {'ATTACKER_SECRET': key if kind == 'robot' else token},
        )
        try:
            assert attacker.stdout is not None
            await attacker.stdout.readline()
            yield attacker
        finally:
            if attacker.returncode is None:
                attacker.kill()
                await attacker.wait()


@asynccontextmanager
async def two_brokers(folder: Path) -> AsyncIterator[tuple[Broker, Broker]]:
    """Start the broker under test and a second one that is attacked for comparison."""
    (folder / 'control').mkdir(parents=True)
    with programs(folder) as started, programs(folder / 'control') as others:
        broker = await asyncio.to_thread(started.start_broker)
        yield broker, await asyncio.to_thread(others.start_broker)


def table(phases: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a readable table, one column per phase."""
    names = dict.fromkeys(name for figures in phases.values() for name in figures)
    lines = [f'| | {" | ".join(phases)} |', f'|---|{"---|" * len(phases)}']
    for name in names:
        values = [figures.get(name, '–') for figures in phases.values()]
        shown = [f'{it:.4g}' if isinstance(it, float) else _counts(it) for it in values]
        lines.append(f'| {name} | {" | ".join(shown)} |')
    return '\n'.join(lines)


def _counts(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ', '.join(f'{status}: {count}' for status, count in sorted(value.items()))


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return attack → phase → figures, and print each as soon as it is available."""
    results = {}
    for kind in options.attacks or KINDS:
        for connections in options.connections if kind != PEERS else [0]:
            name = kind if kind == PEERS else f'{kind} {connections}'
            own = folder / name.replace(' ', '_')
            results[name] = (
                await measure_peers(own, options.seconds)
                if kind == PEERS
                else await measure_requests(kind, connections, own, options.seconds)
            )
            print(f'\n{name}\n\n{table(results[name])}', flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('attacks', nargs='*', choices=[*KINDS, []], metavar='ATTACK')
    parser.add_argument('--seconds', type=float, default=PHASE_S, help='per phase')
    parser.add_argument('--connections', type=int, nargs='+', default=[40, 400])
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(options, Path(folder)))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
