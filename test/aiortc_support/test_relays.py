"""Which of several TURN servers a robot uses, and how it reports the others."""

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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, AsyncExitStack, contextmanager
import datetime
import ipaddress
from pathlib import Path
import socket
import ssl
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from programs import free_port, free_udp_ports
import pytest
from turn_server import RELAYED, turn_server, TurnServer

from teleop_webrtc_bridge.aiortc_support.gathering import gather_with, Gathering, selected_path
from teleop_webrtc_bridge.aiortc_support.ice_servers import RelaySearch, Resolver
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.bridge.webrtc.network import RobotNetwork
from teleop_webrtc_bridge.core.exceptions import PeerConnectionLost
from teleop_webrtc_bridge.core.ice import relays_of
from teleop_webrtc_bridge.core.messages import IceServer

BROKER = 'http://127.0.0.1:1'
ANNA = ('anna', 'hunter2')
RELAY = f'{RELAYED[0]} {RELAYED[1]} typ relay'


def server(*urls: str) -> IceServer:
    return IceServer(urls=urls, username=ANNA[0], credential=ANNA[1])


async def gathered(gathering: Gathering, *, only_relays: bool = False) -> RTCPeerConnection:
    """Return a peer connection that has made its offer."""
    configure_aiortc(loopback=True)
    pc = RTCPeerConnection(
        RTCConfiguration(
            iceServers=[],
            bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
            iceTransportPolicy=(
                RTCIceTransportPolicy.RELAY if only_relays else RTCIceTransportPolicy.ALL
            ),
        )
    )
    pc.createDataChannel('x')
    gather_with(pc, gathering)
    await pc.setLocalDescription(await pc.createOffer())
    return pc


async def offer(network: RobotNetwork, *servers: IceServer) -> tuple[Gathering, str]:
    """Return the result of gathering, and the offer."""
    gathering = await network.plan(servers)
    pc = await gathered(gathering)
    network.gathered(gathering)
    sdp = str(pc.localDescription.sdp)
    await pc.close()
    return gathering, sdp


@contextmanager
def nobody(kind: socket.SocketKind) -> Iterator[int]:
    """Return a port at which nobody listens, and nobody else will."""
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(('127.0.0.1', 0))
        yield taken.getsockname()[1]


class Unnamed(Resolver):
    """A name server that knows no name, or that does not answer."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self._hangs = hangs

    async def addresses(self, host: str) -> list[str]:
        if not host.startswith('turn.'):
            return await super().addresses(host)
        if self._hangs:
            await asyncio.get_running_loop().create_future()
        raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')


@asynccontextmanager
async def unusable(kind: str) -> AsyncIterator[str]:
    """Return the URL of a server that gives no relay."""
    async with AsyncExitStack() as ends:
        if kind in ('closed udp', 'closed tcp'):
            transport = kind.partition(' ')[2]
            number = socket.SOCK_DGRAM if transport == 'udp' else socket.SOCK_STREAM
            # Closed again: the answer is an ICMP error, or a reset.
            with nobody(number) as port:
                pass
            yield f'turn:127.0.0.1:{port}?transport={transport}'
        elif kind == 'not anna':
            other = await ends.enter_async_context(turn_server('anna', 'other'))
            yield other.url
        elif kind == 'no tls':
            other = await ends.enter_async_context(turn_server(*ANNA, transport='tcp'))
            yield other.url.replace('turn:', 'turns:')
        elif kind == 'hangs up':
            hanging = await asyncio.start_server(lambda _, writer: writer.close(), '127.0.0.1', 0)
            ends.callback(hanging.close)
            yield f'turn:127.0.0.1:{hanging.sockets[0].getsockname()[1]}?transport=tcp'
        elif kind.startswith('turn.'):
            yield f'turn:{kind}:3478'
        else:
            refusal = (int(kind), 'no') if kind.isdigit() else None
            other = await ends.enter_async_context(
                turn_server(*ANNA, refusal=refusal, is_silent=kind == 'silent')
            )
            yield other.url


FAULTS = {
    # These two take all the time that there is.
    'silent': '',
    'no tls': '',
    'closed udp': 'Connection refused',
    'closed tcp': 'Connect call failed',
    'not anna': 'wrong username or credential (401 Unauthorized)',
    '403': 'forbidden (403 no)',
    '486': 'its quota is reached (486 no)',
    '508': 'it has no capacity left (508 no)',
    'hangs up': 'the server hung up',
    'turn.unknown.example': 'host name not found: Name or service not known',
}


@pytest.mark.parametrize('kind', FAULTS)
async def test_when_one_server_gives_no_relay_the_next_one_is_used(kind: str) -> None:
    async with unusable(kind) as bad, turn_server(*ANNA, transport='tcp') as good:
        relays = relays_of([server(bad), server(good.url)])
        search = RelaySearch(relays, Unnamed(hangs=False))
        pc = await gathered(Gathering(relays=search))
        assert RELAY in pc.localDescription.sdp
        assert search.found == relays[1]
        assert good.allocations == 1
        await pc.close()


@pytest.mark.parametrize('kind', [kind for kind, reason in FAULTS.items() if reason])
async def test_why_a_server_gives_no_relay_is_told(kind: str) -> None:
    async with unusable(kind) as bad:
        search = RelaySearch(relays_of([server(bad)]), Unnamed(hangs=False))
        pc = await gathered(Gathering(relays=search))
        assert search.found is None
        assert FAULTS[kind] in str(search)
        await pc.close()


@pytest.mark.parametrize('hangs', [True, False])
async def test_a_name_without_an_address_holds_up_no_other_server(hangs: bool) -> None:
    async with turn_server(*ANNA) as good:
        relays = relays_of([server('turn:turn.nowhere.example', good.url)])
        search = RelaySearch(relays, Unnamed(hangs=hangs))
        pc = await gathered(Gathering(relays=search))
        assert search.found == relays[1]
        await pc.close()


async def test_all_urls_of_one_entry_are_tried() -> None:
    async with unusable('closed udp') as bad, turn_server(*ANNA, transport='tcp') as good:
        _, sdp = await offer(RobotNetwork(BROKER), server(bad, good.url))
    assert RELAY in sdp


async def test_when_all_fail_one_line_says_how_and_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = RobotNetwork(BROKER)
    async with (
        unusable('closed udp') as closed,
        unusable('486') as full,
        unusable('silent') as silent,
        unusable('closed tcp') as reset,
    ):
        tried = [server(closed, full), server(silent, reset)]
        gathering, sdp = await offer(network, *tried)
        network.gathered(gathering)  # the next dial ends in the same way
        lost = str(network.failed(gathering, PeerConnectionLost('not connected within 15 s')))
        assert 'typ relay' not in sdp
        assert 'typ host' in sdp
    lines = [record.getMessage() for record in caplog.records if 'no_relay' in record.msg]
    assert len(lines) == 1, 'said once, not with each dial'
    assert lost == f'not connected within 15 s; no relay: {gathering.relays}'
    for url, reason in (
        (closed, 'Connection refused'),
        (full, 'its quota is reached'),
        (silent, 'no answer'),
        (reset, 'Connect call failed'),
    ):
        port = url.partition('?')[0].rpartition(':')[2]
        assert f'127.0.0.1:{port}: ' in lines[0]
        assert reason in lines[0]
    assert 'hunter2' not in caplog.text


async def test_the_next_dial_begins_with_the_relay_that_worked() -> None:
    network = RobotNetwork(BROKER)
    async with (
        turn_server(*ANNA, is_silent=True) as silent,
        turn_server(*ANNA, transport='tcp') as good,
    ):
        servers = server(silent.url, good.url)
        gathering, _ = await offer(network, servers)
        network.connected(gathering)
        asked = silent.asked
        assert asked > 0
        gathering, sdp = await offer(network, servers)
        assert RELAY in sdp
        assert silent.asked == asked
        # No connection came about over it: the others first.
        lost = network.failed(gathering, PeerConnectionLost('not connected within 15 s'))
        port = good.url.partition('?')[0].rpartition(':')[2]
        assert str(lost) == (
            f'not connected within 15 s, directly or over TURN/TCP 127.0.0.1:{port}'
        )
        await offer(network, servers)
        assert silent.asked > asked


async def test_a_relay_without_credentials_is_named(caplog: pytest.LogCaptureFixture) -> None:
    await offer(RobotNetwork(BROKER), IceServer(urls=('turn:127.0.0.1:9',)))
    assert 'TURN/UDP 127.0.0.1:9: the broker gave no username' in caplog.text


async def test_an_address_that_cannot_be_used_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = RobotNetwork(BROKER)
    bad = server('turns:a.example?transport=udp', 'turn:anna:hunter2@a.example')
    for _ in range(2):
        await offer(network, bad)
    lines = [record.getMessage() for record in caplog.records if 'ignored' in record.msg]
    assert len(lines) == 2
    assert "'turns:a.example?transport=udp'" in lines[0]
    assert 'hunter2' not in caplog.text


# --- a name with several addresses --------------------------------------------------------------


class Named(Resolver):
    """A name server that knows one name."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self._found = list(addresses)

    async def addresses(self, host: str) -> list[str]:
        assert host == 'turn.example'
        return self._found


@asynccontextmanager
async def two_addresses(
    transport: str, **faults: Any
) -> AsyncIterator[tuple[TurnServer, TurnServer, str]]:
    """Return a server with faults, one without at another address, and the URL of both."""
    # Free at all addresses; one that the system chooses is free at the first one only.
    port = free_port() if transport == 'tcp' else free_udp_ports(1)[0]
    async with (
        turn_server(*ANNA, transport=transport, address=('127.0.0.1', port), **faults) as bad,
        turn_server(*ANNA, transport=transport, address=('127.0.0.2', port)) as good,
    ):
        yield bad, good, bad.url.replace('127.0.0.1', 'turn.example')


@pytest.mark.parametrize(
    ('transport', 'faults'),
    [
        ('udp', {'is_silent': True}),
        ('tcp', {'is_silent': True}),
        # Of this machine, not of all that have the name.
        ('udp', {'refusal': (508, 'no')}),
    ],
)
async def test_a_server_that_fails_at_one_address_is_tried_at_the_next(
    transport: str, faults: dict[str, Any]
) -> None:
    async with two_addresses(transport, **faults) as (bad, good, url):
        search = RelaySearch(relays_of([server(url)]), Named('127.0.0.1', '127.0.0.2'))
        pc = await gathered(Gathering(relays=search))
        assert RELAY in pc.localDescription.sdp
        assert bad.asked > 0
        assert good.allocations == 1
        await pc.close()


@pytest.mark.parametrize('addresses', [['127.0.0.1', '127.0.0.2'], ['127.0.0.2', '127.0.0.1']])
async def test_what_gives_no_relay_at_any_address_is_told_once(addresses: list[str]) -> None:
    async with unusable('closed tcp') as bad:
        url = bad.replace('127.0.0.1', 'turn.example')
        search = RelaySearch(relays_of([server(url)]), Named(*addresses))
        pc = await gathered(Gathering(relays=search))
        assert str(search).count('TURN/TCP turn.example') == 1
        assert f"Connect call failed ('{addresses[1]}'" in str(search)
        await pc.close()


@pytest.mark.parametrize('code', [403, 486])
async def test_whom_a_server_refuses_is_not_asked_for_at_its_other_addresses(code: int) -> None:
    async with two_addresses('udp', refusal=(code, 'no')) as (bad, good, url):
        search = RelaySearch(relays_of([server(url)]), Named('127.0.0.1', '127.0.0.2'))
        pc = await gathered(Gathering(relays=search))
        assert search.found is None
        assert f'({code} no)' in str(search)
        assert bad.asked > 0
        assert good.asked == 0
        await pc.close()


async def test_a_refusal_ends_the_wait_for_a_silent_address() -> None:
    async with two_addresses('udp', refusal=(403, 'no')) as (_, __, url):
        port = int(url.partition('?')[0].rpartition(':')[2])
        async with turn_server(*ANNA, address=('127.0.0.3', port), is_silent=True) as silent:
            relays = relays_of([server(url)])
            search = RelaySearch(relays, Named('127.0.0.3', '127.0.0.1', '127.0.0.2'))
            pc = await gathered(Gathering(relays=search))
            assert 'forbidden (403 no)' in str(search), 'not: no answer'
            assert silent.asked > 0
            await pc.close()


async def test_many_ipv6_addresses_that_lead_nowhere_do_not_hide_ipv4() -> None:
    async with turn_server(*ANNA) as good:
        url = good.url.replace('127.0.0.1', 'turn.example')
        nowhere = [f'2001:db8::{number}' for number in range(9)]
        search = RelaySearch(relays_of([server(url)]), Named(*nowhere, '127.0.0.1'))
        pc = await gathered(Gathering(relays=search))
        assert RELAY in pc.localDescription.sdp
        await pc.close()


async def test_at_most_four_addresses_of_a_name_are_asked() -> None:
    async with turn_server(*ANNA) as good:
        url = good.url.replace('127.0.0.1', 'turn.example')
        nowhere = [f'127.0.0.{number}' for number in range(2, 6)]
        search = RelaySearch(relays_of([server(url)]), Named(*nowhere, '127.0.0.1'))
        pc = await gathered(Gathering(relays=search))
        assert search.found is None
        assert good.asked == 0
        await pc.close()


# --- TLS --------------------------------------------------------------------------------------


def tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context and the certificate that a client has to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'turn')])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / 'turn.pem', folder / 'turn.key'
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context, path


async def test_turn_over_tls_is_used_if_its_certificate_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = tls(tmp_path)
    async with turn_server(*ANNA, transport='tcp', context=context) as secure:
        search = RelaySearch(relays_of([server(secure.url)]), Resolver())
        pc = await gathered(Gathering(relays=search))
        assert 'typ relay' not in pc.localDescription.sdp
        assert 'certificate refused: ' in str(search)
        await pc.close()

        monkeypatch.setenv('SSL_CERT_FILE', str(certificate))
        search = RelaySearch(relays_of([server(secure.url)]), Resolver())
        pc = await gathered(Gathering(relays=search))
        assert RELAY in pc.localDescription.sdp
        await pc.close()


# --- what is relayed ---------------------------------------------------------------------------


async def connected(relayed: RTCPeerConnection) -> RTCPeerConnection:
    """Return the other side of an established connection."""
    other = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    await other.setRemoteDescription(relayed.localDescription)
    await other.setLocalDescription(await other.createAnswer())
    description: RTCSessionDescription = other.localDescription
    await relayed.setRemoteDescription(description)
    done = asyncio.Event()
    relayed.on('connectionstatechange', lambda: done.set())
    while relayed.connectionState != 'connected':
        assert relayed.connectionState != 'failed'
        done.clear()
        await done.wait()
    return other


@pytest.mark.parametrize('transport', ['udp', 'tcp'])
async def test_the_relay_in_use_is_told(transport: str) -> None:
    async with turn_server(*ANNA, transport=transport, relays=True) as relay:
        search = RelaySearch(relays_of([server(relay.url)]), Resolver())
        pc = await gathered(Gathering(relays=search), only_relays=True)
        assert selected_path(pc, search) == ''
        async with asyncio.timeout(30.0):
            other = await connected(pc)
        port = relay.url.partition('?')[0].rpartition(':')[2]
        assert selected_path(pc, search) == f'TURN/{transport.upper()} 127.0.0.1:{port}'
        await other.close()
        await pc.close()


async def test_a_connection_without_a_relay_is_direct() -> None:
    pc = await gathered(Gathering())
    async with asyncio.timeout(30.0):
        other = await connected(pc)
    assert selected_path(pc, None) == 'direct'
    await other.close()
    await pc.close()
