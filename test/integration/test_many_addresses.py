"""A robot and a broker on two hosts with many addresses, each in its own network namespace."""

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
from contextlib import ExitStack
import itertools
import os
from pathlib import Path
import subprocess

from namespaces import why_no_namespaces
from programs import free_port, Programs
import pytest

pytestmark = [pytest.mark.real_programs, pytest.mark.namespace]

ROBOT, BROKER = '10.98.0.1', '10.98.0.2'
NETWORKS = 40
"""Number of container networks, each with an IPv4 and an IPv6 address."""

_numbers = itertools.count()


def ip(*words: str) -> None:
    subprocess.run(['ip', *words], check=True)


def add_networks(host: str, device: str) -> None:
    """Give a host an address in each of its container networks, which the other cannot reach."""
    side = 16 if host.endswith('r') else 96
    lines = [
        line
        for number in range(NETWORKS)
        for line in (
            f'addr add 172.{side + number}.0.1/16 dev {device}',
            f'addr add fd00:{side + number:x}::1/64 dev {device} nodad',
        )
    ]
    subprocess.run(
        ['ip', '-n', host, '-batch', '-'], input='\n'.join(lines), text=True, check=True
    )


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Return the namespaces of a robot and a broker, with a link between them."""
    if reason := why_no_namespaces():
        pytest.skip(reason)
    name = f'teleop-{os.getpid()}-many{next(_numbers)}'
    robot, broker = f'{name}-r', f'{name}-b'
    with ExitStack() as ends:
        for host in (robot, broker):
            ip('netns', 'add', host)
            ends.callback(ip, 'netns', 'delete', host)
        ip(
            'link',
            'add',
            'uplink',
            'netns',
            robot,
            'type',
            'veth',
            'peer',
            'uplink',
            'netns',
            broker,
        )
        for host, address in ((robot, ROBOT), (broker, BROKER)):
            # The containers' interfaces first: a lower interface number comes first in every list.
            add_networks(host, 'lo')
            ip('-n', host, 'link', 'set', 'lo', 'up')
            ip('-n', host, 'addr', 'add', f'{address}/24', 'dev', 'uplink')
            ip('-n', host, 'link', 'set', 'uplink', 'up')
        yield robot, broker


def test_they_connect_over_the_one_network_that_they_share(
    hosts: tuple[str, str], tmp_path: Path
) -> None:
    robot, broker = (Programs(tmp_path, launcher=('ip', 'netns', 'exec', host)) for host in hosts)
    with ExitStack() as ends:
        ends.callback(broker.end)
        ends.callback(robot.end)
        port, state_dir = free_port(), tmp_path / 'state'
        words = ('--host', BROKER, '--port', str(port), '--state-dir', str(state_dir))
        serving = broker.start('broker.main', *words)
        serving.wait_for_line('event=broker_ready')
        bridge = robot.start_bridge(
            *(f'http://{BROKER}:{port}', state_dir / 'robot_api_key', 'go2-a'),
            *('-p', 'allow_insecure_broker:=true'),
        )
        bridge.wait_for_line('state="connected"')
        assert 'candidates' not in serving.output()
