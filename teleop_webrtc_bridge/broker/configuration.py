"""What the broker is configured with: defaults, then a YAML file, then the command line."""

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
from dataclasses import dataclass, fields
from importlib import metadata
import ipaddress
import os
from pathlib import Path
import re
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]

from teleop_webrtc_bridge.broker.caller_addresses import IpNetwork
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.names import as_name, NAME_ALLOWED
from teleop_webrtc_bridge.broker.network_settings import (
    check_ice_servers,
    check_public_addresses,
    check_udp_ports,
)
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import IceServer

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
"""The oldest that it is tested with."""

_PUBLIC_URL: Final = re.compile(
    r'https?://(?:\[(?P<ipv6>[0-9a-f:.]+)\]|[a-z0-9-]+(?:\.[a-z0-9-]+)*\.?)(?::[0-9]{1,5})?'
    # No segment of dots alone: browsers take those out, and the address is another one then.
    r"(?:/(?!(?:\.|%2e){1,2}(?:/|$))(?:[a-z0-9._~!$&'()*+,;=:@-]|%[0-9a-f]{2})+)*/?",
    re.IGNORECASE | re.ASCII,
)
_HOST_ALLOWED: Final = 'a host name or address of this machine'
_PORT_ALLOWED: Final = 'a whole number from 0 to 65535 (0: the system chooses)'


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """Whose id tokens are accepted, and what they are good for."""

    issuer: str
    client_id: str
    """The audience that tokens for us have."""
    tenant: str | None
    """Everybody's; ``None``: it is in a claim."""
    tenant_claim: str | None
    role_claim: str
    roles: Mapping[str, Role]
    """Value in the claim → what it is good for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that can be set; config/broker.yaml explains each."""

    host: str
    port: int
    state_dir: Path
    log_level: str
    ice_servers: tuple[IceServer, ...]
    include_loopback: bool
    media_processes: int
    """At most; 0: one for each processor."""
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
    """Return the folder that the XDG base directory specification gives us."""
    base = os.environ.get('XDG_STATE_HOME', '')
    # The specification has relative paths ignored.
    root = Path(base) if base.startswith('/') else Path.home() / '.local' / 'state'
    return root / 'teleop_webrtc_bridge'


def read_configuration(arguments: Sequence[str]) -> Configuration:
    """
    Read the command line, and the file that it names.

    :param arguments: Without the program's name; ``--ros-args`` and what follows is ignored.
    :raises ConfigurationError: A setting is unknown or cannot work.
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
        ice_servers=_setting(given, 'ice_servers', [], check_ice_servers),
        public_addresses=_setting(given, 'public_addresses', [], check_public_addresses),
        udp_ports=_setting(given, 'udp_ports', None, check_udp_ports),
        include_loopback=_setting(given, 'include_loopback', is_loopback_host(host), _boolean),
        media_processes=_setting(given, 'media_processes', 0, _media_processes),
        viewers_may_stop=_setting(given, 'viewers_may_stop', True, _boolean),
        public_urls=_setting(given, 'public_urls', [], _public_urls),
        trusted_proxies=_setting(given, 'trusted_proxies', [], _trusted_proxies),
        caps=_setting(given, 'caps', {}, _caps),
        audit_days=_setting(given, 'audit_days', 90, _audit_days),
        oidc=_setting(given, 'oidc', None, _oidc),
        login_link=options.login_link,
    )


def _without_ros_args(arguments: Sequence[str]) -> list[str]:
    """Leave out what ``ros2 launch`` appends to every program that it starts."""
    arguments = list(arguments)
    if '--ros-args' in arguments:
        del arguments[arguments.index('--ros-args') :]
    return arguments


class OneLineParser(argparse.ArgumentParser):
    """Refuses a bad command line as :class:`ConfigurationError`, without a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError('command line', message, f'what {self.prog} --help shows')


def _parser() -> argparse.ArgumentParser:
    # Values are text here and checked with those of the file, so that both are refused alike.
    parser = OneLineParser(
        prog='teleop_broker',
        allow_abbrev=False,
        description='The broker between robots and their operators, with the operator page.',
        epilog='teleop_broker keys --help, teleop_broker operators --help: who may use it;'
        ' teleop_broker audit --help: who did what.',
    )
    parser.add_argument('--host', metavar='ADDRESS', help='listen here (127.0.0.1)')
    parser.add_argument('--port', metavar='NUMBER', help='listen here (8765)')
    parser.add_argument(
        '--state-dir',
        metavar='DIR',
        help='keep keys and tokens here (~/.local/state/teleop_webrtc_bridge)',
    )
    parser.add_argument('--config', metavar='FILE', help='YAML; see config/broker.yaml')
    parser.add_argument('--log-level', metavar='LEVEL', help=f'{", ".join(LOG_LEVELS)} (info)')
    parser.add_argument(
        '--login-link',
        action='store_true',
        help='make a link that logs an operator in, good for 12 h; printed to a terminal only, '
        'else written to the file operator_page_link',
    )
    return parser


_T = TypeVar('_T')

#: Setting → where it was given, and what.
_Given = dict[str, tuple[str, Any]]


def _read_file(name: str) -> _Given:
    try:
        # Not Path.expanduser, which has an error of its own for a user who is not there.
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


def _port(where: str, value: Any) -> int:
    try:
        port = int(value) if isinstance(value, str) and value.isascii() else value
    except ValueError:
        raise ConfigurationError(where, value, _PORT_ALLOWED) from None
    if type(port) is not int or not 0 <= port <= 65535:
        raise ConfigurationError(where, value, _PORT_ALLOWED)
    return port


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


def _media_processes(where: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_MEDIA_PROCESSES:
        allowed = f'a whole number from 0 to {MAX_MEDIA_PROCESSES} (0: one for each processor)'
        raise ConfigurationError(where, value, allowed)
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
        if name == 'connections' and cap is None:
            continue
        if type(cap) is not int or not 1 <= cap <= MAX_CAP:
            raise ConfigurationError(f'{where}.{name}', cap, f'a whole number from 1 to {MAX_CAP}')
    return Limits(**value)


def _audit_days(where: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_AUDIT_DAYS:
        raise ConfigurationError(where, value, f'a whole number from 1 to {MAX_AUDIT_DAYS}')
    return value


def _oidc(where: str, value: Any) -> OidcSettings | None:
    if value is None:
        return None
    known = [field.name for field in fields(OidcSettings)]
    if not isinstance(value, dict) or not value.keys() <= set(known):
        # Keys only: a secret is not needed, but may have been put there.
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
    allowed = 'an https address (http for this machine only), exactly as it stands in the tokens'
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
    allowed = f'a map of texts of the role claim to {", ".join(names)}'
    if not isinstance(value, dict) or not value:
        raise ConfigurationError(where, value, allowed)
    for claimed, role in value.items():
        if not isinstance(claimed, str) or role not in names:
            raise ConfigurationError(where, {claimed: role}, allowed)
    return {claimed: Role(role) for claimed, role in value.items()}


def check_pyjwt() -> None:
    """
    Make sure that a usable PyJWT is installed, without importing it.

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
    """Return whether only this machine can reach us at a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
