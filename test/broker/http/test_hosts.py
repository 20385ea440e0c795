"""The host names that the broker accepts, and the addresses that it attributes to callers."""

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
import ipaddress
import json
import logging
from pathlib import Path

import pytest
from rig import Rig, running

from teleop_webrtc_bridge.broker.caller_addresses import network_of, TrustedProxies
from teleop_webrtc_bridge.broker.http.host_names import HostNames
from teleop_webrtc_bridge.broker.http.page import read_page

PUBLIC = 'https://teleop.example.org'
PROXIES = (ipaddress.ip_network('127.0.0.1'), ipaddress.ip_network('10.0.0.0/8'))


async def ask(rig: Rig, path: str, *headers: str) -> tuple[int, str]:
    """Send a request with exactly these headers; return the status and the body."""
    reader, writer = await asyncio.open_connection('127.0.0.1', rig.port)
    lines = ''.join(f'{header}\r\n' for header in (*headers, 'Connection: close'))
    writer.write(f'GET {path} HTTP/1.1\r\n{lines}\r\n'.encode())
    async with asyncio.timeout(10.0):
        head, _, body = (await reader.read()).decode().partition('\r\n\r\n')
    writer.close()
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ('host', 'is_ours'),
    [
        ('127.0.0.1', True),
        ('127.0.0.1:8765', True),
        ('192.0.2.7:80', True),
        ('[::1]', True),
        ('[2001:DB8::1]:8765', True),
        ('localhost', True),
        ('LOCALHOST.:1', True),
        ('a.localhost:8765', True),
        ('teleop.example.org', True),
        ('Teleop.Example.org:443', True),
        ('broker.lan:1', True),
        ('evil.example.org', False),
        ('teleop.example.org.evil.org', False),
        ('localhost.evil.org', False),
        ('2130706433', False),
        ('0x7f.1', False),
        ('127.0.0.1@evil.org', False),
        ('127.0.0.1:8765:1', False),
        ('127.0.0.1:x', False),
        ('[127.0.0.1]', False),
        ('::1', False),
        ('', False),
        (' ', False),
        ('127.0.0.1, evil.org', False),
    ],
)
def test_names_that_are_ours(host: str, is_ours: bool) -> None:
    names = HostNames('broker.lan', [PUBLIC])
    assert names.serves([host]) == is_ours


def test_a_missing_or_doubled_host_is_not_ours() -> None:
    names = HostNames('127.0.0.1', [])
    assert not names.serves([])
    assert not names.serves(['127.0.0.1', '127.0.0.1'])


@pytest.mark.parametrize(
    ('origin', 'is_ours'),
    [
        (PUBLIC, True),
        ('https://teleop.example.org:443', True),
        ('http://teleop.example.org', False),
        ('https://teleop.example.org:444', False),
        ('https://evil.org', False),
        ('null', False),
        ('', False),
        ('https://[', False),
        ('https://teleop.example.org:x', False),
        ('https://a@teleop.example.org', False),
        ('https://teleop.example.org/path', False),
    ],
)
def test_pages_that_are_ours(origin: str, is_ours: bool) -> None:
    assert HostNames('127.0.0.1', [PUBLIC]).is_own_origin(origin) == is_ours


def test_a_path_of_ours_changes_neither_name_nor_origin() -> None:
    names = HostNames('127.0.0.1', [f'{PUBLIC}/teleop/'])
    assert names.serves(['teleop.example.org'])
    # An origin never has a path, even if the page is below one.
    assert names.is_own_origin(PUBLIC)
    assert not names.is_own_origin(f'{PUBLIC}/teleop/')


async def test_another_name_is_refused_with_the_setting_that_would_allow_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running(tmp_path, public_urls=(PUBLIC,)) as rig:
        assert (await ask(rig, '/api/v1/health', 'Host: teleop.example.org'))[0] == 200
        for host in ('evil.org:8765', 'evil.org'):
            status, body = await ask(rig, '/api/v1/health', f'Host: {host}')
            assert status == 421
            detail = json.loads(body)['detail']
            assert repr(host) in detail
            assert 'public_urls' in detail
            assert '\n' not in detail
        for headers in ((), ('Host: 127.0.0.1', 'Host: 127.0.0.1')):
            status, body = await ask(rig, '/api/v1/health', *headers)
            assert status in (400, 421)
    lines = [it for it in caplog.messages if 'event=host_refused' in it]
    assert len(lines) == 1  # for many requests
    assert 'public_urls' in lines[0]
    assert "'evil.org:8765'" in lines[0]


async def test_every_path_checks_the_host(rig: Rig) -> None:
    for path in ('/', '/index.html', '/metrics', '/api/v1/openapi.json', '/nowhere'):
        assert (await ask(rig, path, 'Host: evil.org'))[0] == 421


@pytest.mark.parametrize(
    ('headers', 'status'),
    [
        (('Host: 127.0.0.1',), 200),
        (('Host: [::1]:8765',), 200),
        (('Host: localhost:8765',), 200),
        (('Host: teleop.example.org',), 404),
        (('Host: 127.0.0.1', 'X-Forwarded-For: 127.0.0.1'), 404),
    ],
)
async def test_metrics_need_a_local_host(
    tmp_path: Path, headers: tuple[str, ...], status: int
) -> None:
    async with running(tmp_path, public_urls=(PUBLIC,)) as rig:
        assert (await ask(rig, '/metrics', *headers))[0] == status


@pytest.mark.parametrize('host', ['teleop.example.org', '127.0.0.1:8765'])
async def test_the_page_behind_a_tls_proxy_may_change_things(tmp_path: Path, host: str) -> None:
    async with running(tmp_path, public_urls=(PUBLIC,)) as rig:
        headers = {'Host': host, 'Origin': PUBLIC, **rig.operator()}
        assert (await rig.post('/keys', headers, {'name': 'a'})).status == 201
        headers['Origin'] = 'https://evil.org'
        assert (await rig.post('/keys', headers, {'name': 'a'})).status == 403


# --- who calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('peer', 'forwarded', 'caller'),
    [
        ('127.0.0.1', ['192.0.2.1'], '192.0.2.1'),
        ('127.0.0.1', [], '127.0.0.1'),
        ('127.0.0.1', ['198.51.100.9, 192.0.2.1'], '192.0.2.1'),
        ('127.0.0.1', ['198.51.100.9, 192.0.2.1, 10.1.2.3'], '192.0.2.1'),
        ('127.0.0.1', ['192.0.2.1', '10.1.2.3'], '192.0.2.1'),
        ('127.0.0.1', ['192.0.2.1:4711'], '192.0.2.1'),
        ('127.0.0.1', ['[2001:db8::1]:4711'], '2001:db8::1'),
        ('127.0.0.1', ['2001:db8::1'], '2001:db8::1'),
        ('::ffff:127.0.0.1', ['192.0.2.1'], '192.0.2.1'),
        ('127.0.0.1', ['10.1.2.3'], '127.0.0.1'),
        ('127.0.0.1', ['192.0.2.1, unknown'], '127.0.0.1'),
        ('127.0.0.1', ['192.0.2.1, '], '127.0.0.1'),
        ('127.0.0.1', [''], '127.0.0.1'),
        ('192.0.2.5', ['192.0.2.1'], '192.0.2.5'),
        (None, ['192.0.2.1'], ''),
    ],
)
def test_whom_a_proxy_calls_for(peer: str | None, forwarded: list[str], caller: str) -> None:
    assert TrustedProxies(PROXIES).caller(peer, forwarded) == caller


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert TrustedProxies().caller('127.0.0.1', ['192.0.2.1']) == '127.0.0.1'


@pytest.mark.parametrize(
    ('address', 'network'),
    [
        ('192.0.2.1', '192.0.2.1'),
        ('::ffff:192.0.2.1', '192.0.2.1'),
        ('2001:db8::1:2:3:4', '2001:db8::/64'),
        ('fe80::1%eth0', 'fe80::/64'),
        (None, ''),
        ('', ''),
        ('a path', 'a path'),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str | None, network: str) -> None:
    assert network_of(address) == network


async def test_sign_ins_are_limited_per_caller_behind_a_proxy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bad = {'Authorization': 'Bearer x'}
    async with running(tmp_path, trusted_proxies=PROXIES) as rig:
        first, other = ({**bad, 'X-Forwarded-For': f'192.0.2.{it}'} for it in (1, 2))
        statuses = [(await rig.get('/sessions', first)).status for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        assert (await rig.get('/sessions', other)).status == 401
    assert any('remote=192.0.2.1' in line for line in caplog.messages)


async def test_strangers_name_nobody_else(tmp_path: Path) -> None:
    bad = {'Authorization': 'Bearer x'}
    async with running(tmp_path) as rig:
        statuses = [
            (await rig.get('/sessions', {**bad, 'X-Forwarded-For': f'192.0.2.{it}'})).status
            for it in range(11)
        ]
    assert statuses == [401] * 10 + [429]


# --- what never changes ------------------------------------------------------------------------


@pytest.mark.parametrize('path', ['/api/v1/openapi.json', '/index.html', '/main.js', '/'])
async def test_what_never_changes_is_sent_once(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, page=read_page()) as rig:
        async with rig.http.get(path) as first:
            assert first.status == 200
            assert await first.read()
            tag = first.headers['ETag']
        async with rig.http.get(path, headers={'If-None-Match': f'"other", {tag}'}) as again:
            assert again.status == 304
            assert await again.read() == b''
            assert again.headers['ETag'] == tag
            assert again.headers['Cache-Control'] == 'no-cache'
        async with rig.http.get(path, headers={'If-None-Match': '"other"'}) as changed:
            assert changed.status == 200
