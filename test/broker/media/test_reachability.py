"""The addresses and ports at which media are reached: NAT, containers, firewalls."""

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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, AsyncExitStack
from typing import Any, NamedTuple

from aioice import stun
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from programs import free_udp_ports
import pytest

from teleop_webrtc_bridge.broker.media.backend import MediaFull
from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.broker.media.process_link import NetworkSettings
from teleop_webrtc_bridge.core.ice import MAX_HOST_ADDRESSES

PATIENCE_S = 30.0


class Candidate(NamedTuple):
    """The relevant parts of a candidate line."""

    line: str
    address: str
    port: int
    kind: str
    base: tuple[str, int] | None


def candidates(sdp: str) -> list[Candidate]:
    found = []
    for line in sdp.splitlines():
        if line.startswith('a=candidate:'):
            words = line.split()
            base = None
            if 'raddr' in words:
                base = words[words.index('raddr') + 1], int(words[words.index('rport') + 1])
            found.append(Candidate(line, words[4], int(words[5]), words[7], base))
    return found


@asynccontextmanager
async def broker(network: NetworkSettings) -> AsyncIterator[EmbeddedMedia]:
    media = EmbeddedMedia(include_loopback=True, network=network)
    try:
        yield media
    finally:
        await media.close()


@asynccontextmanager
async def robot() -> AsyncIterator[RTCPeerConnection]:
    pc = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    pc.addTransceiver('video')
    pc.createDataChannel('x')
    await pc.setLocalDescription(await pc.createOffer())
    try:
        yield pc
    finally:
        await pc.close()


async def answer(network: NetworkSettings) -> list[Candidate]:
    async with broker(network) as media, robot() as pc:
        return candidates((await media.new_session(pc.localDescription.sdp)).sdp_answer)


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize('address', ['198.51.100.7', '2001:db8::7'])
async def test_a_public_address_is_named_beside_our_own_with_a_port_of_ours(address: str) -> None:
    named = await answer(NetworkSettings(public_addresses=(address,)))
    public = [candidate for candidate in named if candidate.address == address]
    own = {(it.address, it.port) for it in named if it.kind == 'host'}
    assert {candidate.kind for candidate in public} == {'srflx'}
    assert all(candidate.base in own for candidate in public)
    assert all(candidate.base and candidate.base[1] == candidate.port for candidate in public)


async def test_without_settings_our_own_addresses_are_named_a_bounded_number() -> None:
    named = await answer(NetworkSettings())
    assert {candidate.kind for candidate in named} == {'host'}
    assert 0 < len({(it.address, it.port) for it in named}) <= MAX_HOST_ADDRESSES


class Side(asyncio.DatagramProtocol):
    """One socket of a proxy: what it receives leaves through another one."""

    def __init__(self, proxy: Proxy, client: Any) -> None:
        self._proxy = proxy
        self._client = client
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        if self._client is None:
            self._proxy.inward(data, address)
        else:
            self._proxy.outside.sendto(data, self._client)


class Proxy:
    """Forwards packets to an address, as Docker does for a published port."""

    def __init__(self, inside: tuple[str, int]) -> None:
        self.outside: Any = None
        self.clients: dict[Any, asyncio.Future[Side]] = {}
        self._inside = inside
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, address: tuple[str, int]) -> None:
        self.outside, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Side(self, None), local_addr=address
        )

    def inward(self, data: bytes, client: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._pass_on(data, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, data: bytes, client: Any) -> None:
        if client not in self.clients:
            loop = asyncio.get_running_loop()
            self.clients[client] = loop.create_future()
            _, side = await loop.create_datagram_endpoint(
                lambda: Side(self, client), remote_addr=self._inside
            )
            self.clients[client].set_result(side)
        (await self.clients[client]).transport.sendto(data)

    def close(self) -> None:
        self.outside.close()
        for side in self.clients.values():
            side.result().transport.close()


def only(sdp: str, kept: Sequence[Candidate]) -> str:
    """Return a description with these candidates only."""
    lines = [it.line for it in kept]
    return ''.join(
        f'{line}\r\n'
        for line in sdp.splitlines()
        if not line.startswith('a=candidate:') or line in lines
    )


async def test_a_robot_connects_by_the_public_address_alone() -> None:
    outside = '127.0.0.2'
    ports = free_udp_ports(2)
    network = NetworkSettings(public_addresses=(outside,), udp_ports=ports)
    async with broker(network) as media, robot() as pc, AsyncExitStack() as ends:
        # The robot's own addresses are unreachable for us, as ours are for it.
        session = await media.new_session(only(pc.localDescription.sdp, []))
        public = [it for it in candidates(session.sdp_answer) if it.address == outside]
        assert {ports[0] <= it.port <= ports[1] for it in public} == {True}
        assert public[0].base is not None
        proxy = Proxy(public[0].base)
        await proxy.open((outside, public[0].port))
        ends.callback(proxy.close)
        sdp = only(session.sdp_answer, public)
        await pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type='answer'))
        async with asyncio.timeout(PATIENCE_S):
            await media.connected(session.media_id)
        assert proxy.clients


# --- ports ------------------------------------------------------------------------------------


async def test_media_use_the_ports_that_are_configured_and_no_other() -> None:
    first, last = ports = free_udp_ports(10)
    named = await answer(NetworkSettings(udp_ports=ports))
    assert named
    assert all(first <= candidate.port <= last for candidate in named)


async def test_when_no_port_is_left_that_is_said_and_a_free_one_is_used_again() -> None:
    first, last = ports = free_udp_ports(3)
    async with broker(NetworkSettings(udp_ports=ports)) as media, robot() as pc:
        offer = str(pc.localDescription.sdp)
        sessions = [await media.new_session(offer) for _ in range(3)]
        with pytest.raises(MediaFull, match=f'all of udp_ports {first}-{last} are taken'):
            await media.new_session(offer)
        assert len(media.media_ids) == 3
        await media.close_session(sessions[0].media_id)
        await media.new_session(offer)


# --- STUN -------------------------------------------------------------------------------------


class StunServer(asyncio.DatagramProtocol):
    """A STUN server that reports the address of a NAT to everybody, or never responds."""

    def __init__(self, *, is_silent: bool = False) -> None:
        self.asked = 0
        self.url = ''
        self._is_silent = is_silent
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.url = f'stun:127.0.0.1:{transport.get_extra_info("sockname")[1]}'

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.asked += 1
        request = stun.parse_message(data)
        said = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        said.attributes['XOR-MAPPED-ADDRESS'] = ('198.51.100.7', address[1] ^ 1)
        if not self._is_silent:
            self._transport.sendto(bytes(said), address)


@asynccontextmanager
async def stun_server(*, is_silent: bool = False) -> AsyncIterator[StunServer]:
    server = StunServer(is_silent=is_silent)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=('127.0.0.1', 0)
    )
    try:
        yield server
    finally:
        transport.close()


async def test_without_public_addresses_a_stun_server_is_asked() -> None:
    async with stun_server() as server:
        named = await answer(NetworkSettings(stun_urls=(server.url,)))
    outside = [it for it in named if it.kind == 'srflx']
    assert server.asked
    assert {it.address for it in outside} == {'198.51.100.7'}
    # The port that the NAT has assigned to this very socket.
    assert all(it.base is not None and it.port == it.base[1] ^ 1 for it in outside)


async def test_the_first_stun_server_that_answers_is_enough() -> None:
    async with stun_server(is_silent=True) as silent, stun_server() as server:
        urls = (silent.url, 'stun:stun.nowhere.invalid', server.url)
        named = await answer(NetworkSettings(stun_urls=urls))
    assert '198.51.100.7' in {candidate.address for candidate in named}


async def test_a_silent_stun_server_is_told_of_and_not_waited_for_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        stun_server(is_silent=True) as server,
        broker(NetworkSettings(stun_urls=(server.url,))) as media,
        robot() as pc,
    ):
        first = await media.new_session(pc.localDescription.sdp)
        assert {it.kind for it in candidates(first.sdp_answer)} == {'host'}
        asked = server.asked
        await media.new_session(pc.localDescription.sdp)
        assert server.asked == asked
    assert len([line for line in caplog.messages if 'event=stun_silent' in line]) == 1
