"""The unpublished parts of aioice and aiortc that the checks of arriving packets depend on."""

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

import inspect
import struct
from typing import Any

import aioice.ice
from aiortc import RTCDtlsTransport, RTCPeerConnection
import pytest

from teleop_webrtc_bridge.aiortc_support import ingress
from teleop_webrtc_bridge.aiortc_support.ingress import budget_of
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc

METHODS: dict[tuple[type, str], list[str]] = {
    (aioice.ice.StunProtocol, 'datagram_received'): ['data', 'addr'],
    (RTCDtlsTransport, '_handle_rtcp_data'): ['data'],
    (RTCDtlsTransport, '_handle_rtp_data'): ['data', 'arrival_time_ms'],
}


@pytest.fixture(autouse=True)
def configured() -> None:
    configure_aiortc(loopback=True)


@pytest.mark.parametrize('method', METHODS, ids=lambda method: method[1])
def test_a_method_has_the_signature_that_we_replace(method: tuple[type, str]) -> None:
    parameters = list(inspect.signature(getattr(*method)).parameters)
    assert parameters[1:] == METHODS[method]


async def test_the_attributes_are_there() -> None:
    pc = RTCPeerConnection()
    transport: Any = pc.addTransceiver('video').receiver.transport
    connection = transport.transport._connection
    assert connection._early_checks_done is False
    assert connection._remote_candidates == []
    assert callable(transport._rtp_router.route_rtp)
    assert callable(transport._rtp_router.route_rtcp)
    assert transport._rtp_header_extensions_map is not None
    assert aioice.ice.StunProtocol(connection).transactions == {}
    candidate: Any = aioice.Candidate.from_sdp('1 1 udp 1 192.0.2.1 9 typ host')
    assert candidate._network_host == '192.0.2.1'
    await pc.close()


async def test_what_shares_a_transport_shares_a_budget() -> None:
    pc, other = RTCPeerConnection(), RTCPeerConnection()
    assert budget_of(pc) is None
    for connection in (pc, other):
        connection.addTransceiver('video')
    assert budget_of(pc) is budget_of(pc)
    assert budget_of(pc) is not budget_of(other)
    await pc.close()
    await other.close()


def nack(*items: tuple[int, int]) -> bytes:
    body = b''.join(struct.pack('!HH', *item) for item in items)
    return struct.pack('!BBHLL', 0x81, 205, 2 + len(items), 1, 2) + body


def test_the_packets_that_are_asked_for_again_are_counted() -> None:
    count = getattr(ingress, '_repetitions')  # noqa: B009
    pli = struct.pack('!BBHLL', 0x81, 206, 2, 1, 2)
    assert count(pli) == 0
    assert count(nack((7, 0))) == 1
    assert count(nack((7, 0xFFFF), (40, 5))) == 17 + 3
    assert count(pli + nack((7, 1)) + pli + nack((9, 0))) == 3
    assert count(nack((7, 1))[:-1]) == 0
    assert count(b'') == 0
