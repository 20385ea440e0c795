"""The broker's configuration: defaults, a YAML file and the command line, checked."""

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

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from importlib import metadata
import ipaddress
import os
from pathlib import Path
import re
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]

from teleop_webrtc_bridge.broker.caller_addresses import IpNetwork
from teleop_webrtc_bridge.broker.identity import as_name, NAME_ALLOWED, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.core.exceptions import ConfigurationError, ProtocolError
from teleop_webrtc_bridge.core.ice import parse_ice_url
from teleop_webrtc_bridge.core.messages import IceServer
from teleop_webrtc_bridge.core.sdp import is_forbidden_address

__all__ = [
    'Configuration',
    'OidcSettings',
    'OneLineParser',
    'check_pyjwt',
    'default_state_dir',
    'is_loopback_host',
    'read_configuration',
]

LOG_LEVELS: Final = ('debug', 'info', 'warning', 'error')
MAX_CAP: Final = 100_000
MAX_MEDIA_PROCESSES: Final = 256
MAX_AUDIT_DAYS: Final = 3650
PYJWT_MINIMUM: Final = (2, 6)
"""The oldest version that is tested."""
MAX_ICE_SERVERS: Final = 8
MAX_ICE_URLS: Final = 16
"""Addresses of one server."""
MAX_URL_CHARS: Final = 256
MAX_PUBLIC_ADDRESSES: Final = 4
LEAST_PORT: Final = 1024
"""Only root may listen on lower ones."""
LEAST_PORTS: Final = 4
"""A robot and its operator need two, and two more while they reconnect."""

_PUBLIC_URL: Final = re.compile(
    r'https?://(?:\[(?P<ipv6>[0-9a-f:.]+)\]|[a-z0-9-]+(?:\.[a-z0-9-]+)*\.?)(?::[0-9]{1,5})?'
    # No segment of dots alone: browsers remove those, which changes the address.
    r"(?:/(?!(?:\.|%2e){1,2}(?:/|$))(?:[a-z0-9._~!$&'()*+,;=:@-]|%[0-9a-f]{2})+)*/?",
    re.IGNORECASE | re.ASCII,
)
_ICE_ALLOWED: Final = (
    'a list of at most 8 maps with urls (stun:, turn: or turns:), and username and credential'
)
_PORTS_ALLOWED: Final = (
    f'[FROM, TO], two whole numbers from {LEAST_PORT} to 65535, with at least {LEAST_PORTS} '
    'ports: each robot, operator and viewer takes one'
)
_ADDRESS_ALLOWED: Final = (
    'an IP address by which others reach this machine, neither loopback nor link-local nor '
    'multicast nor ::ffff:… (names are not resolved)'
)
_HOST_ALLOWED: Final = 'a host name or address of this machine'


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """The issuer whose id tokens are accepted, and what they grant."""

    issuer: str
    client_id: str
    """The audience of tokens for us."""
    tenant: str | None
    """Everybody's tenant; ``None``: a claim names it."""
    tenant_claim: str | None
    role_claim: str
    roles: Mapping[str, Role]
    """Value of the role claim → role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All settings; config/broker.yaml explains each."""

    host: str
    port: int
    state_dir: Path
    log_level: str
    ice_servers: tuple[IceServer, ...]
    include_loopback: bool
    media_processes: int
    """The largest number; 0: one for each processor."""
    viewers_may_stop: bool
    public_urls: tuple[str, ...]
    trusted_proxies: tuple[IpNetwork, ...]
    caps: Limits
    audit_days: int
    oidc: OidcSettings | None
    login_link: bool
    public_addresses: tuple[str, ...] = ()
    udp_ports: tuple[int, int] | None = None

    @property
    def udp_port_count(self) -> int | None:
        """How many UDP ports media may use; ``None``: any."""
        return None if self.udp_ports is None else self.udp_ports[1] - self.udp_ports[0] + 1


def default_state_dir() -> Path:
    """Return our folder according to the XDG base directory specification."""
    base = os.environ.get('XDG_STATE_HOME', '')
    # The specification says to ignore relative paths.
    root = Path(base) if base.startswith('/') else Path.home() / '.local' / 'state'
    return root / 'teleop_webrtc_bridge'


def read_configuration(arguments: Sequence[str]) -> Configuration:
    """
    Read the command line, and the file that it names.

    :param arguments: Without the program's name; ``--ros-args`` and all that follows are ignored.
    :raises ConfigurationError: A setting is unknown or invalid.
    """
    options = _parser().parse_args(_without_ros_args(arguments))
    given = _read_file(options.config) if options.config is not None else {}
    for name in ('host', 'port', 'state_dir', 'log_level'):
        value = getattr(options, name)
        if value is not None:
            given[name] = (f'--{name.replace("_", "-")}', value)
    host = _setting(given, 'host', '127.0.0.1', _host)
    return Configuration(
        host=host,
        port=_setting(given, 'port', 8765, _port),
        state_dir=_setting(given, 'state_dir', None, _state_dir),
        log_level=_setting(given, 'log_level', 'info', _log_level),
        ice_servers=_setting(given, 'ice_servers', [], _ice_servers),
        public_addresses=_setting(given, 'public_addresses', [], _public_addresses),
        udp_ports=_setting(given, 'udp_ports', None, _udp_ports),
        include_loopback=_setting(given, 'include_loopback', is_loopback_host(host), _boolean),
        media_processes=_setting(
            given,
            'media_processes',
            0,
            partial(
                _whole, least=0, most=MAX_MEDIA_PROCESSES, note=' (0: one for each processor)'
            ),
        ),
        viewers_may_stop=_setting(given, 'viewers_may_stop', True, _boolean),
        public_urls=_setting(given, 'public_urls', [], _public_urls),
        trusted_proxies=_setting(given, 'trusted_proxies', [], _trusted_proxies),
        caps=_setting(given, 'caps', {}, _caps),
        audit_days=_setting(
            given, 'audit_days', 90, partial(_whole, least=1, most=MAX_AUDIT_DAYS)
        ),
        oidc=_setting(given, 'oidc', None, _oidc),
        login_link=options.login_link,
    )


def _without_ros_args(arguments: Sequence[str]) -> list[str]:
    """Remove the arguments that ``ros2 launch`` appends to every command line."""
    arguments = list(arguments)
    if '--ros-args' in arguments:
        del arguments[arguments.index('--ros-args') :]
    return arguments


class OneLineParser(argparse.ArgumentParser):
    """A parser that raises :class:`ConfigurationError` instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError('command line', message, f'what {self.prog} --help shows')


def _parser() -> argparse.ArgumentParser:
    # Values stay text here: the same checks apply to them and to those of the file.
    parser = OneLineParser(
        prog='teleop_broker',
        allow_abbrev=False,
        description='The broker between robots and their operators, with the operator page.',
        epilog='See also: teleop_broker keys --help, teleop_broker operators --help (who may use'
        ' it), teleop_broker audit --help (who did what).',
    )
    parser.add_argument('--host', metavar='ADDRESS', help='address to listen on (127.0.0.1)')
    parser.add_argument('--port', metavar='NUMBER', help='port to listen on (8765)')
    parser.add_argument(
        '--state-dir',
        metavar='DIR',
        help='folder for keys and tokens (~/.local/state/teleop_webrtc_bridge)',
    )
    parser.add_argument('--config', metavar='FILE', help='YAML; see config/broker.yaml')
    parser.add_argument('--log-level', metavar='LEVEL', help=f'{", ".join(LOG_LEVELS)} (info)')
    parser.add_argument(
        '--login-link',
        action='store_true',
        help='create a link that signs an operator in, valid for 12 h; it is printed only to a '
        'terminal, else written to the file operator_page_link',
    )
    return parser


_T = TypeVar('_T')

#: Setting → where it was given, and its value.
_Given = dict[str, tuple[str, Any]]


def _read_file(name: str) -> _Given:
    try:
        # Not Path.expanduser, which raises another error for an unknown user.
        document = yaml.safe_load(Path(os.path.expanduser(name)).read_text(encoding='utf-8'))
    except OSError as error:
        allowed = f'a file that can be read ({error.strerror})'
        raise ConfigurationError('--config', name, allowed) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, 'problem_mark', None)
        line = f' (line {mark.line + 1} is not)' if mark is not None else ''
        raise ConfigurationError('--config', name, f'a YAML file{line}') from error
    if document is None:
        return {}
    known = tuple(field.name for field in fields(Configuration) if field.name != 'login_link')
    if not isinstance(document, dict):
        raise ConfigurationError('--config', name, f'a YAML map with the keys {", ".join(known)}')
    for key in document:
        if key not in known:
            raise ConfigurationError(name, key, f'the keys {", ".join(known)}')
    return {key: (f'{name}: {key}', value) for key, value in document.items()}


def _setting(given: _Given, name: str, default: Any, check: Callable[[str, Any], _T]) -> _T:
    where, value = given.get(name, (name, default))
    return check(where, default if value is None else value)


def _host(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value or any(not c.isprintable() for c in value):
        raise ConfigurationError(where, value, _HOST_ALLOWED)
    return value


def _whole(where: str, value: Any, least: int, most: int, note: str = '') -> int:
    if type(value) is not int or not least <= value <= most:
        raise ConfigurationError(where, value, f'a whole number from {least} to {most}{note}')
    return value


def _port(where: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii():
        with suppress(ValueError):
            value = int(value)
    return _whole(where, value, 0, 65535, ' (0: the system chooses)')


def _state_dir(where: str, value: Any) -> Path:
    if value is not None and (not isinstance(value, str) or not value or '\0' in value):
        raise ConfigurationError(where, value, 'the path of a folder')
    try:
        return default_state_dir() if value is None else Path(value).expanduser()
    except RuntimeError as error:
        allowed = 'the path of a folder; ~ needs a user who has a home directory'
        raise ConfigurationError(where, value, allowed) from error


def _log_level(where: str, value: Any) -> str:
    if value not in LOG_LEVELS:
        raise ConfigurationError(where, value, ', '.join(LOG_LEVELS))
    return str(value)


def _boolean(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(where, value, 'true or false')
    return value


def _public_urls(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigurationError(where, value, 'a list of http or https URLs')
    for index, url in enumerate(value):
        allowed = 'an http or https URL without a query, such as https://example.org/teleop/'
        match = _PUBLIC_URL.fullmatch(url) if isinstance(url, str) else None
        try:
            is_url = match is not None and urlsplit(match[0]).port != 0
            if match is not None and match['ipv6'] is not None:
                ipaddress.IPv6Address(match['ipv6'])
        except ValueError:
            is_url = False
        if not is_url:
            raise ConfigurationError(f'{where}[{index}]', url, allowed)
    return tuple(value)


def _trusted_proxies(where: str, value: Any) -> tuple[IpNetwork, ...]:
    if not isinstance(value, list):
        raise ConfigurationError(where, value, 'a list of IP addresses and networks')
    networks = []
    for index, entry in enumerate(value):
        try:
            networks.append(ipaddress.ip_network(entry if isinstance(entry, str) else ''))
        except ValueError as error:
            allowed = 'an IP address or network, such as 127.0.0.1 or 10.0.0.0/24'
            raise ConfigurationError(f'{where}[{index}]', entry, allowed) from error
    return tuple(networks)


def _caps(where: str, value: Any) -> Limits:
    known = [field.name for field in fields(Limits)]
    if not isinstance(value, dict) or not value.keys() <= set(known):
        raise ConfigurationError(where, value, f'a map with the keys {", ".join(known)}')
    for name, cap in value.items():
        if name != 'connections' or cap is not None:
            _whole(f'{where}.{name}', cap, 1, MAX_CAP)
    return Limits(**value)


def _oidc(where: str, value: Any) -> OidcSettings | None:
    if value is None:
        return None
    known = [field.name for field in fields(OidcSettings)]
    if not isinstance(value, dict) or not value.keys() <= set(known):
        # Show keys only: somebody may have put a secret there.
        given = list(value) if isinstance(value, dict) else value
        raise ConfigurationError(where, given, f'a map with the keys {", ".join(known)}')
    tenant, tenant_claim = value.get('tenant'), value.get('tenant_claim')
    if (tenant is None) == (tenant_claim is None):
        raise ConfigurationError(where, list(value), 'one of tenant and tenant_claim')
    if tenant is not None and (not isinstance(tenant, str) or as_name(tenant) != tenant):
        raise ConfigurationError(f'{where}.tenant', tenant, NAME_ALLOWED)
    for name in ('client_id', 'role_claim', *(['tenant_claim'] if tenant is None else [])):
        if not isinstance(value.get(name), str) or not value[name]:
            raise ConfigurationError(f'{where}.{name}', value.get(name), 'a text')
    return OidcSettings(
        issuer=_issuer(f'{where}.issuer', value.get('issuer')),
        client_id=value['client_id'],
        tenant=tenant,
        tenant_claim=tenant_claim,
        role_claim=value['role_claim'],
        roles=_roles(f'{where}.roles', value.get('roles')),
    )


def _issuer(where: str, value: Any) -> str:
    allowed = 'an https address (http for this machine only), exactly as in the tokens'
    try:
        parts = urlsplit(value if isinstance(value, str) else '')
        host = parts.hostname or ''
    except ValueError:
        raise ConfigurationError(where, value, allowed) from None
    is_safe = parts.scheme == 'https' or (parts.scheme == 'http' and is_loopback_host(host))
    if not is_safe or not host or '@' in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(where, value, allowed)
    return str(value)


def _roles(where: str, value: Any) -> dict[str, Role]:
    names = [role.value for role in Role]
    allowed = f'a map from values of the role claim to {", ".join(names)}'
    if not isinstance(value, dict) or not value:
        raise ConfigurationError(where, value, allowed)
    for claimed, role in value.items():
        if not isinstance(claimed, str) or role not in names:
            raise ConfigurationError(where, {claimed: role}, allowed)
    return {claimed: Role(role) for claimed, role in value.items()}


def check_pyjwt() -> None:
    """
    Check that a usable PyJWT is installed, without importing it.

    :raises ConfigurationError: It is missing or too old.
    """
    least = '.'.join(map(str, PYJWT_MINIMUM))
    allowed = f'PyJWT >= {least}, for oidc (python3 -m pip install "PyJWT[crypto]>={least}")'
    try:
        version = metadata.version('PyJWT')
    except metadata.PackageNotFoundError:
        raise ConfigurationError('PyJWT', 'not installed', allowed) from None
    numbers = tuple(int(part) for part in version.split('.')[:2] if part.isdigit())
    if numbers < PYJWT_MINIMUM:
        raise ConfigurationError('PyJWT', version, allowed)


def is_loopback_host(host: str) -> bool:
    """Return whether a host name or address is one of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


# --- the network between media and peers ---------------------------------------------------------


def _public_addresses(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_PUBLIC_ADDRESSES:
        allowed = f'a list of at most {MAX_PUBLIC_ADDRESSES} IP addresses'
        raise ConfigurationError(where, value, allowed)
    addresses = []
    for index, entry in enumerate(value):
        try:
            address = ipaddress.ip_address(entry if isinstance(entry, str) else '')
        except ValueError:
            raise ConfigurationError(f'{where}[{index}]', entry, _ADDRESS_ALLOWED) from None
        is_mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
        if is_mapped or is_forbidden_address(address, allow_local=False):
            raise ConfigurationError(f'{where}[{index}]', entry, _ADDRESS_ALLOWED)
        addresses.append(str(address))
    return tuple(dict.fromkeys(addresses))


def _udp_ports(where: str, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or {type(port) for port in value} != {int}:
        raise ConfigurationError(where, value, _PORTS_ALLOWED)
    first, last = value
    if not LEAST_PORT <= first <= last <= 0xFFFF or last - first + 1 < LEAST_PORTS:
        raise ConfigurationError(where, value, _PORTS_ALLOWED)
    return first, last


def _ice_servers(where: str, value: Any) -> tuple[IceServer, ...]:
    """Check STUN and TURN servers strictly: a browser rejects the whole list for a bad one."""
    if not isinstance(value, list) or len(value) > MAX_ICE_SERVERS:
        raise ConfigurationError(where, _redacted(value), _ICE_ALLOWED)
    return tuple(_ice_server(f'{where}[{index}]', entry) for index, entry in enumerate(value))


def _ice_server(where: str, entry: Any) -> IceServer:
    if not isinstance(entry, dict) or not entry.keys() <= {'urls', 'username', 'credential'}:
        raise ConfigurationError(where, _redacted(entry), _ICE_ALLOWED)
    urls = entry.get('urls')
    listed = [urls] if isinstance(urls, str) else urls
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_ICE_URLS:
        allowed = f'a stun:, turn: or turns: address, or a list of 1 to {MAX_ICE_URLS}'
        raise ConfigurationError(f'{where}.urls', _redacted(urls), allowed)
    for name in ('username', 'credential'):
        if not isinstance(entry.get(name), str | None):
            raise ConfigurationError(f'{where}.{name}', '(not shown)', 'a text')
    turn = [_is_turn(f'{where}.urls[{index}]', url) for index, url in enumerate(listed)]
    for name in ('username', 'credential'):
        if any(turn) and not entry.get(name):
            raise ConfigurationError(f'{where}.{name}', 'missing', 'a text, for turn: and turns:')
    return IceServer(
        urls=tuple(listed), username=entry.get('username'), credential=entry.get('credential')
    )


def _is_turn(where: str, url: Any) -> bool:
    """Check the address of a server, and return whether it is a TURN server."""
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS:
        raise ConfigurationError(where, _redacted(url), 'a stun:, turn: or turns: address')
    try:
        return parse_ice_url(url).is_turn
    except ProtocolError as error:
        # Somebody may have put a password in front of the host.
        shown = '(with a user, not shown)' if '@' in url else url
        raise ConfigurationError(where, shown, str(error).removeprefix('allowed: ')) from None


def _redacted(value: Any) -> str:
    """Return how to show a value that may contain a credential."""
    return f'({type(value).__name__}, not shown)'
