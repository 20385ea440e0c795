"""Three isolated hosts: network namespaces and the relay that connects them."""

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
from dataclasses import asdict
import enum
import itertools
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Final

from namespaces import PREFIX

from benchmark.faults.relay import Conditions

__all__ = ['Conditions', 'Host', 'Network', 'network']

ROOT: Final = Path(__file__).resolve().parents[2]
END_S: Final = 5.0


class Host(enum.Enum):
    """A host; the value is its address."""

    ROBOT = '10.71.0.1'
    BROKER = '10.71.0.2'
    OPERATOR = '10.71.0.3'


class Network:
    """
    The network while it exists.

    :param relay: The process that forwards packets.
    :param names: The hosts' namespaces.
    """

    def __init__(self, relay: subprocess.Popen[str], names: dict[Host, str]) -> None:
        self._relay = relay
        self._names = names
        self._spoilt: set[tuple[Host, Host]] = set()
        self._normal: dict[tuple[Host, Host], Conditions] = {}

    def command(self, host: Host) -> list[str]:
        """Return the prefix that runs a command on a host; the pid stays the command's."""
        return ['ip', 'netns', 'exec', self._names[host]]

    def always(self, one: Host, other: Host, conditions: Conditions) -> None:
        """Set the default conditions of a link, both ways."""
        for pair in ((one, other), (other, one)):
            self._normal[pair] = conditions
            self.spoil(*pair, conditions)

    def spoil(self, source: Host, target: Host, conditions: Conditions) -> float:
        """
        Set the conditions of a link, one way.

        :returns: When they take effect, in seconds of ``time.monotonic``.
        """
        assert self._relay.stdin is not None
        assert self._relay.stdout is not None
        order = {'source': source.name, 'target': target.name, **asdict(conditions)}
        self._relay.stdin.write(json.dumps(order) + '\n')
        self._relay.stdin.flush()
        self._spoilt.add((source, target))
        return float(self._relay.stdout.readline())

    def spoil_both(self, one: Host, other: Host, conditions: Conditions) -> float:
        """Set the conditions of a link, both ways."""
        self.spoil(one, other, conditions)
        return self.spoil(other, one, conditions)

    def heal(self) -> None:
        for source, target in list(self._spoilt):
            self.spoil(source, target, self._normal.get((source, target), Conditions()))
        self._spoilt.clear()


_numbers = itertools.count()


def _sweep() -> None:
    """Remove the namespaces that killed runs left behind."""
    listed = subprocess.run(['ip', 'netns', 'list'], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        name = line.split()[0]
        prefix, _, rest = name.partition('-')
        pid = rest.partition('-')[0]
        if prefix == PREFIX and pid.isdecimal() and not Path(f'/proc/{pid}').exists():
            # Another run may sweep at the same time.
            subprocess.run(['ip', 'netns', 'delete', name], check=False)


@contextmanager
def network() -> Iterator[Network]:
    """Create the three hosts, and remove them afterwards."""
    _sweep()
    number = next(_numbers)
    names = {host: f'{PREFIX}-{os.getpid()}-{number}-{host.name.lower()}' for host in Host}
    with ExitStack() as ends:
        for name in names.values():
            subprocess.run(['ip', 'netns', 'add', name], check=True)
            ends.callback(subprocess.run, ['ip', 'netns', 'delete', name], check=True)
        words = [f'{host.name}={names[host]}={host.value}' for host in Host]
        relay = subprocess.Popen(
            [sys.executable, '-m', 'benchmark.faults.relay', *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        ends.callback(_end, relay)
        assert relay.stdout is not None
        if not relay.stdout.readline():
            raise RuntimeError('the relay did not start')
        yield Network(relay, names)


def _end(relay: subprocess.Popen[str]) -> None:
    for pipe in (relay.stdin, relay.stdout):
        if pipe is not None:
            pipe.close()
    try:
        relay.wait(END_S)
    except subprocess.TimeoutExpired:
        relay.kill()
        relay.wait()
