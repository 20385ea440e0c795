"""Minimal TURN server for ICE (RFC 8656), over UDP, TCP and TLS, with optional faults."""

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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
import ssl
import struct
from typing import Any

from aioice import stun, turn

REALM = 'test'
NONCE = b'nonce'
RELAYED = ('192.0.2.7', 40000)
"""Address reserved for documentation: nothing is relayed unless requested."""

Send = Callable[[bytes], None]


class Relayed(asyncio.DatagramProtocol):
    """The socket of one allocation."""

    def __init__(self, send: Send) -> None:
        self.address = RELAYED
        self.peers: dict[int, Any] = {}
        """Channel number → the peer's address."""
        self._send = send
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info('sockname')

    def datagram_received(self, data: bytes, address: Any) -> None:
        channel = next((number for number, peer in self.peers.items() if peer == address), None)
        if channel is not None:
            padding = bytes(-len(data) % 4)
            self._send(struct.pack('!HH', channel, len(data)) + data + padding)


class TurnServer:
    """
    Answers the allocation requests of one user on loopback.

    :param username: The only user.
    :param password: The user's password.
    :param relays: Relay data; otherwise only allocations work.
    :param is_silent: Receive everything and answer nothing.
    :param refusal: Refuse each allocation, with this code and text.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        relays: bool = False,
        is_silent: bool = False,
        refusal: tuple[int, str] | None = None,
    ) -> None:
        self.asked = 0
        self.allocations = 0
        self.url = ''
        self._username = username
        self._key = turn.make_integrity_key(username, REALM, password)
        self._relays = relays
        self._is_silent = is_silent
        self._refusal = refusal
        self._allocated: dict[Any, Relayed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, data: bytes, client: Any, send: Send) -> None:
        """
        Handle one message of a client.

        :param client: Identifies the client: its address or its connection.
        :param send: Sends to the client.
        """
        self.asked += 1
        if self._is_silent:
            return
        if turn.is_channel_data(data):
            number, length = struct.unpack('!HH', data[:4])
            relayed = self._allocated[client]
            relayed.transport.sendto(data[4 : 4 + length], relayed.peers[number])
            return
        try:
            request = stun.parse_message(data)
        except ValueError:
            return
        task = asyncio.get_running_loop().create_task(self._answer(request, client, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: stun.Message, client: Any, send: Send) -> None:
        answer = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        if request.message_method is stun.Method.BINDING:
            answer.attributes['XOR-MAPPED-ADDRESS'] = client
            send(bytes(answer))
            return
        if not self._is_allowed(request):
            answer.message_class = stun.Class.ERROR
            answer.attributes['ERROR-CODE'] = (401, 'Unauthorized')
            answer.attributes['REALM'] = REALM
            answer.attributes['NONCE'] = NONCE
        elif self._refusal is not None:
            answer.message_class = stun.Class.ERROR
            answer.attributes['ERROR-CODE'] = self._refusal
        elif request.message_method is stun.Method.ALLOCATE:
            self.allocations += 1
            relayed = self._allocated[client] = Relayed(send)
            if self._relays:
                await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: relayed, local_addr=('127.0.0.1', 0)
                )
            answer.attributes['XOR-RELAYED-ADDRESS'] = relayed.address
            answer.attributes['XOR-MAPPED-ADDRESS'] = ('127.0.0.1', 9)
        elif request.message_method is stun.Method.CHANNEL_BIND:
            number = request.attributes['CHANNEL-NUMBER']
            self._allocated[client].peers[number] = request.attributes['XOR-PEER-ADDRESS']
        if answer.message_class is stun.Class.RESPONSE:
            answer.attributes['LIFETIME'] = 600
            answer.add_message_integrity(self._key)
        elif request.attributes.get('USERNAME') == self._username:
            answer.add_message_integrity(self._key)
        send(bytes(answer))

    def _is_allowed(self, request: stun.Message) -> bool:
        if request.attributes.get('USERNAME') != self._username:
            return False
        return bool(request.check_message_integrity(self._key))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for relayed in self._allocated.values():
            if relayed.transport is not None:
                relayed.transport.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._server.take(data, address, lambda answer: self._transport.sendto(answer, address))


class _Stream(turn.TurnStreamMixin, asyncio.Protocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        transport: Any = self.transport
        self._server.take(data, id(self), transport.write)


@asynccontextmanager
async def turn_server(
    username: str,
    password: str,
    *,
    transport: str = 'udp',
    context: ssl.SSLContext | None = None,
    address: tuple[str, int] = ('127.0.0.1', 0),
    **faults: Any,
) -> AsyncIterator[TurnServer]:
    """
    Serve one user.

    :param transport: ``udp`` or ``tcp``.
    :param context: TLS context, for TLS over TCP.
    :param address: Loopback address on which it listens.
    :param faults: Arguments for :class:`TurnServer`.
    """
    server = TurnServer(username, password, **faults)
    loop = asyncio.get_running_loop()
    listening: Any
    if transport == 'udp':
        listening, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(server), local_addr=address
        )
        port = listening.get_extra_info('sockname')[1]
    else:
        listening = await loop.create_server(lambda: _Stream(server), *address, ssl=context)
        port = listening.sockets[0].getsockname()[1]
    scheme = 'turn' if context is None else 'turns'
    server.url = f'{scheme}:{address[0]}:{port}?transport={transport}'
    try:
        yield server
    finally:
        listening.close()
        server.close()
