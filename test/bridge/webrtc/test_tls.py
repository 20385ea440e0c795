"""Tests that DNS, TLS and proxy failures are reported with host and cause."""

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

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta, UTC
import ipaddress
from pathlib import Path
import ssl
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
import pytest
import pytest_asyncio

from teleop_webrtc_bridge.bridge.webrtc.broker_client import BrokerClient
from teleop_webrtc_bridge.core.configuration import BridgeConfiguration, VideoConfiguration
from teleop_webrtc_bridge.core.exceptions import BrokerError, BrokerUnreachable

KEY = 'dtk_live_0123456789abcdef'
DAY = timedelta(days=1)
Serve = Callable[..., Any]


def client(url: str) -> BrokerClient:
    video = VideoConfiguration(codec='h264', bitrate_bps=1, fps=1.0, max_width_px=2)
    return BrokerClient(
        BridgeConfiguration(
            robot_id='go2-a',
            robot_name='Go2 A',
            robot_type='go2',
            broker_url=url,
            instance_id='i1',
            api_key=KEY,
            clock_ahead_s=0.0,
            video=video,
        )
    )


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage_of_authorities() -> x509.KeyUsage:
    """Return the extension of a key that may only sign certificates."""
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """A certificate authority in a folder, named by the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.sign('our CA', self.key, name('our CA'), DAY, is_ca=True)
        self.file = folder / 'ca.pem'
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def sign(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: x509.Name,
        ends_in: timedelta,
        *,
        signed_by: ec.EllipticCurvePrivateKey | None = None,
        is_ca: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        try:
            host: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(subject))
        except ValueError:
            host = x509.DNSName(subject.replace(' ', '-'))
        public = (signed_by or self.key).public_key()
        builder = x509.CertificateBuilder()
        if is_ca:
            # Python 3.13 and newer require it.
            builder = builder.add_extension(usage_of_authorities(), critical=True)
        return (
            builder.subject_name(name(subject))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + ends_in)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([host]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(signed_by or self.key, hashes.SHA256())
        )

    def context(
        self, subject: str, *, ends_in: timedelta = DAY, self_signed: bool = False
    ) -> ssl.SSLContext:
        """Return the context of a server with such a certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = name(subject) if self_signed else self.certificate.subject
        certificate = self.sign(
            subject, key, issuer, ends_in, signed_by=key if self_signed else None
        )
        file = self.folder / 'server.pem'
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    ours = Authority(tmp_path)
    monkeypatch.setenv('SSL_CERT_FILE', str(ours.file))
    for variable in ('HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY', 'NO_PROXY'):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    return ours


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that answer every call with a session and count the calls."""
    async with AsyncExitStack() as stack:

        async def start(context: ssl.SSLContext | None) -> tuple[str, list[web.Request]]:
            reached: list[web.Request] = []

            async def answer(request: web.Request) -> web.StreamResponse:
                reached.append(request)
                return web.json_response({'session_id': 's', 'sdp_answer': 'v=0'})

            app = web.Application()
            app.router.add_route('*', '/{path:.*}', answer)
            server = TestServer(app, scheme='https' if context else 'http')
            await server.start_server(ssl=context)
            stack.push_async_callback(server.close)
            return f'{server.scheme}://127.0.0.1:{server.port}', reached

        yield start


async def refusal(url: str) -> str:
    async with client(url) as robot:
        with pytest.raises(BrokerError) as raised:
            await robot.create_session('v=0')
    assert KEY not in str(raised.value)
    return str(raised.value)


async def test_a_certificate_of_our_own_authority_is_accepted(
    authority: Authority, serve: Serve
) -> None:
    url, reached = await serve(authority.context('127.0.0.1'))
    async with client(url) as robot:
        assert (await robot.create_session('v=0')).session_id == 's'
    assert len(reached) == 1


@pytest.mark.parametrize(
    ('subject', 'options', 'cause'),
    [
        ('other.example', {}, "IP address mismatch|doesn't match"),
        ('127.0.0.1', {'ends_in': -DAY}, 'expired'),
        ('127.0.0.1', {'self_signed': True}, 'self-signed|self signed'),
    ],
    ids=['wrong-name', 'expired', 'self-signed'],
)
async def test_a_certificate_that_proves_nothing_is_refused_with_host_and_cause(
    authority: Authority, serve: Serve, subject: str, options: dict[str, Any], cause: str
) -> None:
    url, reached = await serve(authority.context(subject, **options))
    said = await refusal(url)
    assert said.startswith(url.removeprefix('https://'))
    assert 'certificate refused' in said
    assert any(part in said for part in cause.split('|'))
    assert reached == []


async def test_an_authority_that_we_do_not_know_is_refused(
    authority: Authority, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, reached = await serve(authority.context('127.0.0.1'))
    monkeypatch.delenv('SSL_CERT_FILE')
    assert 'certificate refused' in await refusal(url)
    assert reached == []


async def test_a_server_that_speaks_no_tls_is_named(authority: Authority, serve: Serve) -> None:
    url, reached = await serve(None)
    host = url.removeprefix('http://')
    said = await refusal(f'https://{host}')
    assert said.startswith(host)
    assert 'SSL' in said or 'TLS' in said
    assert reached == []


async def test_a_host_name_that_does_not_exist_is_named(authority: Authority) -> None:
    said = await refusal('https://broker.invalid')
    assert said.startswith('broker.invalid: host name not found')


async def test_a_proxy_that_cannot_be_reached_is_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = unused_port()
    monkeypatch.setenv('HTTPS_PROXY', f'http://127.0.0.1:{port}')
    said = await refusal('https://broker.example')
    assert said.startswith('broker.example: ')
    assert f'proxy 127.0.0.1:{port} cannot be reached' in said


async def test_a_proxy_that_refuses_is_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=407, reason='Proxy Authentication Required')

    server = web.ServerRunner(web.Server(refuse))
    await server.setup()
    try:
        site = web.TCPSite(server, '127.0.0.1', 0)
        await site.start()
        port = server.addresses[0][1]
        monkeypatch.setenv('HTTPS_PROXY', f'http://127.0.0.1:{port}')
        assert 'the proxy refuses: HTTP 407' in await refusal('https://broker.example')
    finally:
        await server.cleanup()


async def test_a_proxy_never_sees_what_goes_to_this_machine(
    authority: Authority, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, seen = await serve(None)
    url, reached = await serve(None)
    monkeypatch.setenv('HTTP_PROXY', proxy)
    async with client(url) as robot:
        await robot.create_session('v=0')
    assert (len(reached), len(seen)) == (1, 0)


async def test_nobody_who_listens_is_said(authority: Authority) -> None:
    port = unused_port()
    async with client(f'https://127.0.0.1:{port}') as robot:
        with pytest.raises(BrokerUnreachable, match=f'127.0.0.1:{port}: .*(refused|failed)'):
            await robot.create_session('v=0')
