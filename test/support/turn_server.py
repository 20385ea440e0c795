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

"""As much of a TURN server as it takes to hand out a relayed address (RFC 8656)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aioice import stun, turn

REALM = 'test'
NONCE = b'nonce'
RELAYED = ('192.0.2.7', 40000)
"""An address for documentation: nothing is ever relayed."""


class TurnServer(asyncio.DatagramProtocol):
    """Answers allocations of one user on loopback."""

    def __init__(self, username: str, password: str) -> None:
        self.allocations = 0
        self.url = ''
        self._key = turn.make_integrity_key(username, REALM, password)
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.url = f'turn:127.0.0.1:{transport.get_extra_info("sockname")[1]}?transport=udp'

    def datagram_received(self, data: bytes, address: Any) -> None:
        try:
            request = stun.parse_message(data)
        except ValueError:
            return
        answer = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        if 'USERNAME' not in request.attributes:
            answer.message_class = stun.Class.ERROR
            answer.attributes['ERROR-CODE'] = (401, 'Unauthorized')
            answer.attributes['REALM'] = REALM
            answer.attributes['NONCE'] = NONCE
        else:
            if request.message_method is stun.Method.ALLOCATE:
                self.allocations += 1
                answer.attributes['XOR-RELAYED-ADDRESS'] = RELAYED
                answer.attributes['XOR-MAPPED-ADDRESS'] = address
            answer.attributes['LIFETIME'] = 600
            answer.add_message_integrity(self._key)
        self._transport.sendto(bytes(answer), address)

    def close(self) -> None:
        self._transport.close()


@asynccontextmanager
async def turn_server(username: str, password: str) -> AsyncIterator[TurnServer]:
    """Serve one user."""
    server = TurnServer(username, password)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: server, local_addr=('127.0.0.1', 0))
    try:
        yield server
    finally:
        server.close()
