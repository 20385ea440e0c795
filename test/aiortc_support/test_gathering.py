"""Hosts with many addresses: what they offer, and that they connect."""

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
import errno
import socket
from typing import Any, cast

import aioice
import aioice.ice
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
import pytest
import pytest_asyncio
from robot_peer import robot_peer

from teleop_webrtc_bridge.aiortc_support.gathering import gather_with, Gathering, MOST_BINDS
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.bridge.webrtc.peer import RobotPeer
from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.core.ice import MAX_CANDIDATES, MAX_HOST_ADDRESSES
from teleop_webrtc_bridge.core.sdp import check_sdp, split_sections, strip_forbidden_candidates

MANY = [f'127.0.1.{number}' for number in range(1, 41)]
"""All of them are this machine's, without any setting."""
PATIENCE_S = 30.0


def host_with(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    """Let this machine have other addresses."""
    configure_aiortc(loopback=True)
    monkeypatch.setattr(aioice.ice, 'get_host_addresses', lambda use_ipv4, use_ipv6: addresses)


@pytest.fixture(autouse=True)
def host_with_many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    host_with(monkeypatch, MANY)


@pytest_asyncio.fixture
async def robot() -> AsyncIterator[RobotPeer]:
    async with robot_peer() as peer:
        yield peer


def candidate_lines(sdp: str) -> list[str]:
    return [line for line in sdp.splitlines() if line.startswith('a=candidate:')]


async def test_a_robot_offers_so_few_addresses_that_old_brokers_take_them(
    robot: RobotPeer,
) -> None:
    offer = await robot.offer()
    sections = split_sections(offer)[1:]
    assert [len(candidate_lines('\n'.join(lines))) for lines in sections] == [
        MAX_HOST_ADDRESSES
    ] * 3
    # With two reflexive ones and a relayed one as well.
    assert 3 * (MAX_HOST_ADDRESSES + 3) <= MAX_CANDIDATES


async def test_each_address_has_a_priority_of_its_own(robot: RobotPeer) -> None:
    lines = set(candidate_lines(await robot.offer()))
    assert len({line.split()[3] for line in lines}) == MAX_HOST_ADDRESSES


async def test_a_peer_that_offers_all_its_addresses_connects_and_the_answer_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    media = EmbeddedMedia(include_loopback=True)
    host_with(monkeypatch, MANY)
    # An old robot or a browser: no limit of ours.
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver('video')
    pc.addTransceiver('audio')
    pc.createDataChannel('x')
    await pc.setLocalDescription(await pc.createOffer())
    offer = str(pc.localDescription.sdp)
    assert len(candidate_lines(offer)) == 3 * len(MANY)
    check_sdp(offer)
    session = await media.new_session(strip_forbidden_candidates(offer, allow_local=True))
    assert len(set(candidate_lines(session.sdp_answer))) == MAX_HOST_ADDRESSES
    await pc.setRemoteDescription(RTCSessionDescription(sdp=session.sdp_answer, type='answer'))
    async with asyncio.timeout(PATIENCE_S):
        await media.connected(session.media_id)
    await media.close()
    await pc.close()


async def test_addresses_that_come_and_go_are_those_of_the_dial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for present in (['127.0.1.1'], ['127.0.1.2', '127.0.1.3'], ['10.255.255.1', '127.0.1.4']):
        host_with(monkeypatch, present)
        pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        pc.createDataChannel('x')
        gather_with(pc, Gathering())
        await pc.setLocalDescription(await pc.createOffer())
        named = {line.split()[4] for line in candidate_lines(pc.localDescription.sdp)}
        # One that has just gone costs nothing but itself.
        assert named == {address for address in present if address.startswith('127.')}
        await pc.close()


async def test_sockets_of_a_gathering_that_was_given_up_are_the_connections_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gathering, connection = Gathering(), aioice.Connection(ice_controlling=True)
    is_opening = asyncio.Event()
    open_one = Gathering._open

    async def open_one_and_wait(self: Gathering, *arguments: Any, rank: int) -> Any:
        if rank == 1:
            is_opening.set()
            await asyncio.Event().wait()
        return await open_one(self, *arguments, rank=rank)

    monkeypatch.setattr(Gathering, '_open', open_one_and_wait)
    task = asyncio.create_task(gathering.gather(connection, 1, MANY))
    await is_opening.wait()
    task.cancel()
    await asyncio.wait([task])
    (first,) = connection._protocols
    await connection.close()
    assert first.transport.is_closing()


class TakenPorts:
    """A socket of a machine that has hardly any port left."""

    def __init__(self, free: int | None = None) -> None:
        self.tried: list[int] = []
        self._free = free

    def bind(self, address: tuple[str, int]) -> None:
        self.tried.append(address[1])
        if address[1] != self._free:
            raise OSError(errno.EADDRINUSE, 'taken')


def test_a_large_range_that_is_taken_costs_a_bounded_number_of_attempts() -> None:
    taken, gathering = TakenPorts(), Gathering(udp_ports=(1024, 65535))
    with pytest.raises(OSError, match='no port'):
        gathering._bind(cast(socket.socket, taken), '127.0.0.1')
    assert gathering.is_out_of_ports
    assert len(set(taken.tried)) == MOST_BINDS


def test_the_last_port_of_a_range_is_found() -> None:
    taken, gathering = TakenPorts(free=50077), Gathering(udp_ports=(50000, 50199))
    gathering._bind(cast(socket.socket, taken), '127.0.0.1')
    assert taken.tried[-1] == 50077
    assert not gathering.is_out_of_ports
