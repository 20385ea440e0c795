"""The configuration: defaults, file and command line, and the errors for bad settings."""

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

import json
from pathlib import Path

import pytest
from tree import ROOT

from teleop_webrtc_bridge.broker.configuration import OidcSettings, read_configuration
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.media.process_link import NetworkSettings
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import IceServer

DOCUMENTED = ROOT / 'config' / 'broker.yaml'


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', '/home/somebody')
    monkeypatch.delenv('XDG_STATE_HOME', raising=False)


def write(folder: Path, text: str) -> list[str]:
    path = folder / 'a.yaml'
    path.write_text(text)
    return ['--config', str(path)]


def test_defaults() -> None:
    configuration = read_configuration([])
    assert (configuration.host, configuration.port) == ('127.0.0.1', 8765)
    assert configuration.state_dir == Path('/home/somebody/.local/state/teleop_webrtc_bridge')
    assert configuration.log_level == 'info'
    assert configuration.ice_servers == ()
    assert configuration.include_loopback
    assert configuration.viewers_may_stop
    assert not configuration.login_link


def test_the_documented_file_says_the_defaults() -> None:
    assert read_configuration(['--config', str(DOCUMENTED)]) == read_configuration([])


@pytest.mark.parametrize(
    ('value', 'expected'),
    [('/x/y', '/x/y/teleop_webrtc_bridge'), ('relative', None), ('', None)],
)
def test_the_state_folder_follows_xdg(
    value: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_STATE_HOME', value)
    default = '/home/somebody/.local/state/teleop_webrtc_bridge'
    assert str(read_configuration([]).state_dir) == (expected or default)


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'port: 1\nhost: 192.0.2.1\nstate_dir: ~/x\n')
    configuration = read_configuration([*file, '--port', '2'])
    assert (configuration.host, configuration.port) == ('192.0.2.1', 2)
    assert configuration.state_dir == Path('/home/somebody/x')
    assert not configuration.include_loopback


def test_the_file_may_be_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path, 'port: 1')
    (name,) = tmp_path.iterdir()
    monkeypatch.setenv('HOME', str(tmp_path))
    assert read_configuration(['--config', f'~/{name.name}']).port == 1
    with pytest.raises(ConfigurationError, match='~nobody-of-this-name/x'):
        read_configuration(['--config', '~nobody-of-this-name/x'])


def test_ice_servers(tmp_path: Path) -> None:
    text = (
        'ice_servers:\n- urls: stun:a\n- {urls: [turn:b, turns:b], username: u, credential: c}\n'
    )
    assert read_configuration(write(tmp_path, text)).ice_servers == (
        IceServer(urls=('stun:a',)),
        IceServer(urls=('turn:b', 'turns:b'), username='u', credential='c'),
    )


OIDC = {
    'issuer': 'https://login.example.org/a/',
    'client_id': 'teleop',
    'tenant': 'owner',
    'role_claim': 'groups',
    'roles': {'drivers': 'operator', 'all': 'viewer'},
}


def oidc(**changes: object) -> str:
    """Write a file with these settings of an issuer; ``None`` omits one."""
    settings = {name: value for name, value in {**OIDC, **changes}.items() if value is not None}
    return json.dumps({'oidc': settings})


@pytest.mark.parametrize('issuer', ['https://a', 'http://127.0.0.1:1/x', 'http://[::1]'])
def test_an_issuer(tmp_path: Path, issuer: str) -> None:
    text = oidc(issuer=issuer, tenant=None, tenant_claim='org')
    assert read_configuration(write(tmp_path, text)).oidc == OidcSettings(
        issuer=issuer,
        client_id='teleop',
        tenant=None,
        tenant_claim='org',
        role_claim='groups',
        roles={'drivers': Role.OPERATOR, 'all': Role.VIEWER},
    )


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        ({'issuer': None}, 'oidc.issuer'),
        ({'issuer': 7}, 'oidc.issuer'),
        ({'issuer': 'https://'}, 'oidc.issuer'),
        ({'issuer': 'https://['}, 'oidc.issuer'),
        ({'issuer': 'http://login.example.org'}, 'oidc.issuer'),
        ({'issuer': 'https://u:p@login.example.org'}, 'oidc.issuer'),
        ({'issuer': 'https://login.example.org/?a=b'}, 'oidc.issuer'),
        ({'client_id': None}, 'oidc.client_id'),
        ({'client_id': ['a']}, 'oidc.client_id'),
        ({'tenant': None}, 'tenant_claim'),
        ({'tenant_claim': 'org'}, 'tenant_claim'),
        ({'tenant': 'a/b'}, 'oidc.tenant'),
        ({'tenant': None, 'tenant_claim': 7}, 'oidc.tenant_claim'),
        ({'role_claim': None}, 'oidc.role_claim'),
        ({'role_claim': ''}, 'oidc.role_claim'),
        ({'roles': None}, 'oidc.roles'),
        ({'roles': {}}, 'oidc.roles'),
        ({'roles': ['operator']}, 'oidc.roles'),
        ({'roles': {'drivers': 'king'}}, 'oidc.roles'),
        ({'roles': {'drivers': ['operator']}}, 'oidc.roles'),
        ({'client_secret': 's3cret'}, 'client_secret'),
    ],
)
def test_a_bad_issuer_says_what_is_wrong(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(write(tmp_path, oidc(**changes)))
    assert named in str(caught.value)
    assert 's3cret' not in str(caught.value)
    assert '\n' not in str(caught.value)


def test_the_home_of_an_unknown_user_is_named(tmp_path: Path) -> None:
    path = '~no-such-user/state'
    for arguments in (['--state-dir', path], write(tmp_path, f'state_dir: "{path}"')):
        with pytest.raises(ConfigurationError, match=f'{path}.*home') as caught:
            read_configuration(arguments)
        assert '\n' not in str(caught.value)


def test_public_urls_and_trusted_proxies(tmp_path: Path) -> None:
    urls = (
        *('https://a-1.example', 'http://b:8765/', 'http://192.0.2.1', 'https://[2001:db8::1]:1'),
        *(
            'https://a.example/teleop',
            'https://a.example:1/yard/teleop-1/',
            'https://a.example/a%20b',
        ),
    )
    text = f'public_urls: {list(urls)}\ntrusted_proxies: [127.0.0.1, X]\n'
    with pytest.raises(ConfigurationError, match='trusted_proxies'):
        read_configuration(write(tmp_path, text))
    configuration = read_configuration(write(tmp_path, text.replace('X', '10.0.0.0/8')))
    assert configuration.public_urls == urls
    assert list(map(str, configuration.trusted_proxies)) == ['127.0.0.1/32', '10.0.0.0/8']


@pytest.mark.parametrize(
    'text',
    [
        'public_urls: https://a.example',
        'public_urls: [a.example]',
        'public_urls: [7]',
        'public_urls: [ftp://a.example]',
        'public_urls: ["https://"]',
        'public_urls: ["https://["]',
        'public_urls: [https://a.example//path]',
        'public_urls: [https://a.example/a/../b]',
        'public_urls: [https://a.example/%2e%2e/b]',
        'public_urls: [https://a.example/a/.%2E]',
        'public_urls: [https://a.example/%2e/]',
        'public_urls: [https://a.example/a%zz]',
        'public_urls: [https://a.example/./]',
        'public_urls: ["https://a.example/teleop?a=b"]',
        'public_urls: ["https://a.example/teleop#a"]',
        'public_urls: ["https://a.example/a b"]',
        'public_urls: [https://u@a.example]',
        'public_urls: ["https://a.example?a=b"]',
        'public_urls: [https://a.example:x]',
        'public_urls: [https://a.example:0]',
        'public_urls: [https://a.example:65536]',
        'public_urls: ["https://a b"]',
        'public_urls: ["https://a\\tb"]',
        'public_urls: ["https://*.evil.com"]',
        'public_urls: ["https://a..b"]',
        'public_urls: ["https://[::g]"]',
        'public_urls: ["https://[1::2::3]"]',
        'trusted_proxies: 127.0.0.1',
        'trusted_proxies: [proxy.lan]',
        'trusted_proxies: [10.0.0.1/8]',
        'trusted_proxies: [7]',
    ],
)
def test_bad_urls_and_proxies_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(write(tmp_path, text))
    assert text.partition(':')[0] in str(caught.value)
    assert '\n' not in str(caught.value)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert read_configuration(write(tmp_path, '# nothing\n')) == read_configuration([])


def test_what_ros2_launch_appends_is_ignored() -> None:
    arguments = ['--port', '1', '--ros-args', '-r', '__node:=broker', '--port', 'x']
    assert read_configuration(arguments).port == 1


@pytest.mark.parametrize(
    'arguments',
    [
        ['--port', 'x'],
        ['--port', '-1'],
        ['--port', '65536'],
        ['--port', '1.5'],
        ['--port', ''],
        ['--host', ''],
        ['--log-level', 'loud'],
        ['--state-dir', ''],
        ['--config', '/nowhere/at/all.yaml'],
        ['--por', '1'],
        ['--port'],
        ['extra'],
    ],
)
def test_bad_options_name_themselves(arguments: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(arguments)
    text = str(caught.value)
    assert arguments[0] in text
    assert 'allowed: ' in text
    assert '\n' not in text


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('prot: 1', 'prot'),
        ('port: "x"', 'port'),
        ('port: true', 'port'),
        ('port: 1.0', 'port'),
        ('host: 7', 'host'),
        ('state_dir: []', 'state_dir'),
        ('log_level: INFO', 'log_level'),
        ('include_loopback: 1', 'include_loopback'),
        ('viewers_may_stop: sometimes', 'viewers_may_stop'),
        ('ice_servers: stun:a', 'ice_servers'),
        ('ice_servers: [stun:a]', 'ice_servers[0]'),
        ('ice_servers: [{urls: []}]', 'ice_servers[0].urls'),
        ('ice_servers: [{urls: [http://a]}]', 'ice_servers[0].urls'),
        ('ice_servers: [{urls: stun:a, username: 7}]', 'ice_servers[0].username'),
        ('ice_servers: [{urls: stun:a, password: x}]', 'ice_servers[0]'),
        ('ice_servers: [{urls: [stun:a, "stun:a?transport=udp"]}]', 'ice_servers[0].urls[1]'),
        ('ice_servers: [{urls: "turn:"}]', 'ice_servers[0].urls[0]'),
        ('ice_servers: [{urls: "turns:a?transport=udp"}]', 'turns:a?transport=udp'),
        ('ice_servers: [{urls: turn:a}]', 'ice_servers[0].username'),
        ('ice_servers: [{urls: turn:a, username: u}]', 'ice_servers[0].credential'),
        ('ice_servers: [{urls: turn:a, username: u, credential: ""}]', 'for turn: and turns:'),
        ('public_addresses: 192.0.2.1', 'public_addresses'),
        ('public_addresses: [teleop.example.org]', 'names are not resolved'),
        ('public_addresses: [192.0.2.1, 7]', 'public_addresses[1]'),
        ('public_addresses: [192.0.2.0/24]', 'public_addresses[0]'),
        ('public_addresses: [0.0.0.0]', 'public_addresses[0]'),
        ('public_addresses: ["::"]', 'public_addresses[0]'),
        ('public_addresses: [224.0.0.1]', 'public_addresses[0]'),
        ('public_addresses: ["fe80::1%eth0"]', 'public_addresses[0]'),
        ('public_addresses: [127.0.0.1]', 'public_addresses[0]'),
        ('public_addresses: [192.0.2.1, 127.1.2.3]', 'public_addresses[1]'),
        ('public_addresses: ["::1"]', 'public_addresses[0]'),
        ('public_addresses: [169.254.1.2]', 'neither loopback nor link-local'),
        ('public_addresses: ["fe80::1"]', 'public_addresses[0]'),
        ('public_addresses: ["ff02::1"]', 'public_addresses[0]'),
        ('public_addresses: [255.255.255.255]', 'public_addresses[0]'),
        ('public_addresses: ["::ffff:192.0.2.1"]', 'public_addresses[0]'),
        ('public_addresses: ["::ffff:127.0.0.1"]', 'public_addresses[0]'),
        ('public_addresses: [a, b, c, d, e]', 'at most 4'),
        (f'ice_servers: [{{urls: [{", ".join(["stun:a"] * 17)}]}}]', 'a list of 1 to 16'),
        (f'ice_servers: [{", ".join(["{urls: stun:a}"] * 9)}]', 'at most 8'),
        ('ice_servers: [{urls: 7}]', 'ice_servers[0].urls'),
        ('udp_ports: 50000', 'udp_ports'),
        ('udp_ports: 50000-50100', 'udp_ports'),
        ('udp_ports: [50000]', 'udp_ports'),
        ('udp_ports: [50000, "50100"]', 'udp_ports'),
        ('udp_ports: [50000, true]', 'udp_ports'),
        ('udp_ports: [50100, 50000]', 'udp_ports'),
        ('udp_ports: [50000, 50002]', 'at least 4 ports'),
        ('udp_ports: [1023, 2000]', 'from 1024 to 65535'),
        ('udp_ports: [65000, 65536]', 'from 1024 to 65535'),
        ('oidc: https://a', 'oidc'),
        ('caps: 7', 'caps'),
        ('caps: {robots: 7}', 'caps'),
        ('caps: {robots_per_key: 0}', 'caps.robots_per_key'),
        ('caps: {robots_per_key: true}', 'caps.robots_per_key'),
        ('caps: {keys_per_tenant: 0}', 'caps.keys_per_tenant'),
        ('caps: {tokens_per_tenant: x}', 'caps.tokens_per_tenant'),
        ('audit_days: 0', 'audit_days'),
        ('audit_days: 3651', 'audit_days'),
        ('audit_days: true', 'audit_days'),
        ('audit_days: 1.5', 'audit_days'),
        ('- 1', 'a.yaml'),
        ('a: [', 'a.yaml'),
        ('\x00', 'a.yaml'),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(write(tmp_path, text))
    assert named in str(caught.value)
    assert '\n' not in str(caught.value)


def test_addresses_and_ports_of_media(tmp_path: Path) -> None:
    text = 'public_addresses: [192.0.2.1, "2001:DB8::1", 192.0.2.1]\nudp_ports: [50000, 50003]\n'
    configuration = read_configuration(write(tmp_path, text))
    assert configuration.public_addresses == ('192.0.2.1', '2001:db8::1')
    assert configuration.udp_ports == (50000, 50003)
    for none in ('{}', 'public_addresses: null\nudp_ports: null\n'):
        configuration = read_configuration(write(tmp_path, none))
        assert (configuration.public_addresses, configuration.udp_ports) == ((), None)


def test_media_processes_are_told_of_the_network_and_of_no_secret() -> None:
    servers = (
        IceServer(urls=('stun:a', 'turn:b'), username='u', credential='s3cret'),
        IceServer(urls=('stuns:c', 'stun:d:19302')),
    )
    told = NetworkSettings.of((), (50000, 50009), servers)
    assert told.stun_urls == ('stun:a', 'stun:d:19302')
    assert NetworkSettings.from_argument(told.as_argument()) == told
    assert 's3cret' not in told.as_argument()
    fixed = NetworkSettings.of(('192.0.2.1',), None, servers)
    assert fixed == NetworkSettings(public_addresses=('192.0.2.1',))


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    for text in (
        'ice_servers: [{urls: stun:a, credential: [s3cret]}]',
        'ice_servers: [{urls: stun:a, credentials: s3cret}]',
        'ice_servers: {credential: s3cret}',
        'ice_servers: [{urls: turn:u:s3cret@a, username: u, credential: c}]',
        'ice_servers: [{urls: [[s3cret]], username: u, credential: c}]',
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_configuration(write(tmp_path, text))
        assert 's3cret' not in str(caught.value)
    good = write(tmp_path, 'ice_servers: [{urls: stun:a, credential: s3cret}]')
    assert 's3cret' not in repr(read_configuration(good))
