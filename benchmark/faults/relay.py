"""
The network program: ``python3 -m benchmark.faults.relay NAME=NAMESPACE=ADDRESS ...``.

Each host is a network namespace whose only interface is a TUN device that this program holds. It
forwards IP packets by their destination and impairs them according to its standard input, one
JSON object per line: ``{"source": …, "target": …}`` and the fields of :class:`Conditions`. The
answer to each line is the time (``time.monotonic``) from which it holds. It runs in user space
because not every kernel has netem.
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

from collections import deque
import ctypes
from dataclasses import dataclass, field
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from typing import Any, Final

from benchmark.faults.instruments import become_instrument

DEVICE: Final = 'teleop0'
PREFIX_BITS: Final = 24
MAX_PACKET_BYTES: Final = 65536
PACKETS_A_TURN: Final = 64
QUEUE_BYTES: Final = 128 * 1024
"""Queue of a rate-limited link, after which it drops packets: a modem with a large buffer."""

#: linux/if_tun.h
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Impairments of a link, one way."""

    cut: bool = False
    loss: float = 0.0
    duplicate: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """The delay is uniform within ``delay_s`` ± this, so packets overtake each other."""
    rate_bps: float = 0.0
    """Bits per second; 0.0: no limit."""


@dataclass(slots=True)
class _Link:
    conditions: Conditions = Conditions()
    free_at_s: float = 0.0
    """When a rate-limited link will have sent its queue."""


@dataclass(order=True, slots=True)
class _Packet:
    due_s: float
    number: int
    device: int = field(compare=False)
    data: bytes = field(compare=False)


def open_device(namespace: str, name: str, address: str) -> int:
    """Return a TUN device that is the only network of a namespace, ready to use."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open('/proc/self/ns/net', os.O_RDONLY)
    there = os.open(f'/run/netns/{namespace}', os.O_RDONLY)
    try:
        # os.setns exists only since Python 3.12.
        if libc.setns(there, 0) != 0:
            raise OSError(ctypes.get_errno(), f'cannot enter {namespace}')
        device = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        request = struct.pack('16sH', name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(device, _TUNSETIFF, request)
    finally:
        libc.setns(home, 0)
        os.close(home)
        os.close(there)
    for words in (
        ['address', 'add', f'{address}/{PREFIX_BITS}', 'dev', name],
        ['link', 'set', 'dev', name, 'up', 'txqueuelen', '1000'],
        ['link', 'set', 'dev', 'lo', 'up'],
    ):
        subprocess.run(['ip', '-n', namespace, *words], check=True)
    return device


class Relay:
    """
    Forwards until its standard input ends.

    :param devices: Address of each host, as bytes → its device.
    """

    def __init__(self, devices: dict[bytes, int]) -> None:
        self._devices = devices
        self._links: dict[tuple[bytes, bytes], _Link] = {
            pair: _Link() for pair in itertools.permutations(devices, 2)
        }
        self._waiting: list[_Packet] = []
        self._numbers = itertools.count()
        self._random = random.Random(1)

    def serve(self, orders: int, hosts: dict[str, bytes]) -> None:
        """
        Forward packets and follow orders.

        :param orders: Descriptor from which orders are read.
        :param hosts: Name and address of each host.
        """
        lines: deque[bytes] = deque([b''])
        while True:
            wait_s = max(0.0, self._waiting[0].due_s - time.monotonic()) if self._waiting else None
            ready, _, _ = select.select([orders, *self._devices.values()], [], [], wait_s)
            if orders in ready:
                data = os.read(orders, 4096)
                if not data:
                    return
                first, *rest = data.split(b'\n')
                lines[-1] += first
                lines.extend(rest)
                while len(lines) > 1:
                    self._follow(json.loads(lines.popleft()), hosts)
            for source, device in self._devices.items():
                if device in ready:
                    self._receive(source, device)
            self._deliver()

    def _follow(self, order: dict[str, Any], hosts: dict[str, bytes]) -> None:
        link = self._links[hosts[order.pop('source')], hosts[order.pop('target')]]
        link.conditions = Conditions(**order)
        link.free_at_s = time.monotonic()
        print(time.monotonic(), flush=True)

    def _receive(self, source: bytes, device: int) -> None:
        for _ in range(PACKETS_A_TURN):
            try:
                data = os.read(device, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            link = self._links.get((source, data[16:20]))
            if data[0] >> 4 == 4 and link is not None:
                self._accept(link, self._devices[data[16:20]], data)

    def _accept(self, link: _Link, device: int, data: bytes) -> None:
        conditions, draw = link.conditions, self._random.random
        if conditions.cut or draw() < conditions.loss:
            return
        now = time.monotonic()
        sent_s = now
        if conditions.rate_bps:
            if (link.free_at_s - now) * conditions.rate_bps > 8 * QUEUE_BYTES:
                return
            link.free_at_s = max(now, link.free_at_s) + 8 * len(data) / conditions.rate_bps
            sent_s = link.free_at_s
        for _ in range(2 if draw() < conditions.duplicate else 1):
            delay_s = conditions.delay_s + conditions.jitter_s * (2 * draw() - 1)
            due_s = sent_s + max(0.0, delay_s)
            heapq.heappush(self._waiting, _Packet(due_s, next(self._numbers), device, data))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0].due_s <= now:
            packet = heapq.heappop(self._waiting)
            try:
                os.write(packet.device, packet.data)
            except OSError:
                continue  # its queue is full: the network loses the packet


def main() -> None:
    hosts, devices = {}, {}
    for word in sys.argv[1:]:
        name, namespace, text = word.split('=')
        address = socket.inet_aton(text)
        hosts[name] = address
        devices[address] = open_device(namespace, DEVICE, text)
    become_instrument()
    print(time.monotonic(), flush=True)
    Relay(devices).serve(sys.stdin.fileno(), hosts)


if __name__ == '__main__':
    main()
