"""Names of servers are asked for beside everything else."""

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
import socket
import threading
from typing import Any

import pytest

from teleop_webrtc_bridge.aiortc_support import ice_servers
from teleop_webrtc_bridge.aiortc_support.ice_servers import Resolver

FOUND = [(socket.AF_INET, socket.SOCK_DGRAM, 17, '', ('192.0.2.1', 0))]


class NameServer:
    """Does not answer for one name before it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if host == 'slow.example':
            self.may_answer.wait()
        if host == 'unknown.example':
            raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
        return FOUND * 2


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, 'getaddrinfo', server.getaddrinfo)
    yield server
    server.may_answer.set()


async def test_an_address_is_not_asked_for(names: NameServer) -> None:
    assert await Resolver().addresses('192.0.2.7') == ['192.0.2.7']
    assert await Resolver().addresses('2001:DB8::1') == ['2001:db8::1']
    assert names.asked == []


async def test_a_name_is_asked_for_once(names: NameServer) -> None:
    resolver = Resolver()
    for _ in range(2):
        assert await resolver.addresses('turn.example') == ['192.0.2.1']
    assert names.asked == ['turn.example']


async def test_a_name_without_an_address_is_asked_for_again(names: NameServer) -> None:
    resolver = Resolver()
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.addresses('unknown.example')
    assert names.asked == ['unknown.example'] * 2


async def test_a_name_server_that_hangs_holds_up_one_thread_and_no_other_name(
    names: NameServer,
) -> None:
    resolver = Resolver()
    waiting = [asyncio.create_task(resolver.addresses('slow.example')) for _ in range(20)]
    assert await resolver.addresses('turn.example') == ['192.0.2.1']
    assert sorted(names.asked) == ['slow.example', 'turn.example']
    waiting[0].cancel()
    names.may_answer.set()
    for task in waiting[1:]:
        assert await task == ['192.0.2.1']


async def test_of_many_names_the_newest_are_remembered(names: NameServer) -> None:
    resolver = Resolver()
    waiting = asyncio.create_task(resolver.addresses('slow.example'))
    await asyncio.sleep(0)  # it asks
    hosts = [f'turn{number}.example' for number in range(65)]
    for host in hosts:
        assert await resolver.addresses(host) == ['192.0.2.1']
    for host in hosts[1:]:
        await resolver.addresses(host)
    assert sorted(names.asked) == sorted(['slow.example', *hosts])
    await resolver.addresses(hosts[0])
    assert names.asked[-1] == hosts[0], 'forgotten, and asked for again'
    # Forgotten, too; whoever waits does so no longer than before.
    names.may_answer.set()
    assert await waiting == ['192.0.2.1']


async def test_a_name_that_is_asked_for_again_is_among_the_newest(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ice_servers, 'KEEP_S', -1.0)
    resolver = Resolver()
    for host in ('old.example', *(f'turn{number}.example' for number in range(63))):
        await resolver.addresses(host)
    await resolver.addresses('old.example')
    monkeypatch.setattr(ice_servers, 'KEEP_S', 60.0)
    await resolver.addresses('new.example')
    asked = len(names.asked)
    await resolver.addresses('old.example')
    assert len(names.asked) == asked
