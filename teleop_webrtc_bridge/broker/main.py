"""The program ``teleop_broker``: the broker, or one command on its database."""

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
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
import gc
import ipaddress
import logging
import os
from pathlib import Path
import signal
import sys
import time
from types import FrameType
from typing import Any, Final

from teleop_webrtc_bridge.broker.access.database import Database, DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.configuration import (
    Configuration,
    is_loopback_host,
    read_configuration,
)
from teleop_webrtc_bridge.broker.http.app import build_app, serving
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.limits import connections_within, raise_open_files
from teleop_webrtc_bridge.broker.log import start_logging
from teleop_webrtc_bridge.broker.manage import FIRST_TENANT, manage, SUBJECTS
from teleop_webrtc_bridge.broker.media.backend import Media
from teleop_webrtc_bridge.broker.media.process_link import NetworkSettings
from teleop_webrtc_bridge.broker.media.processes import MediaProcesses, Start
from teleop_webrtc_bridge.core.configuration import check_aiortc
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['main']

KEY_FILE_NAME: Final = 'robot_api_key'
LINK_FILE_NAME: Final = 'operator_page_link'
LOGIN_LINK_S: Final = 12 * 3600.0

_log = logging.getLogger('teleop_webrtc_bridge.broker')


def media_processes(configuration: Configuration) -> Media:
    """
    Return the embedded SFU, in separate processes.

    :raises ConfigurationError: aiortc is missing or too old.
    """
    check_aiortc()
    start = Start(
        include_loopback=configuration.include_loopback,
        log_level=configuration.log_level,
        network=NetworkSettings.of(
            configuration.public_addresses, configuration.udp_ports, configuration.ice_servers
        ),
    )
    return MediaProcesses(
        start, most=configuration.media_processes or len(os.sched_getaffinity(0))
    )


def main(
    arguments: Sequence[str] | None = None,
    *,
    make_media: Callable[[Configuration], Media] = media_processes,
) -> int:
    """
    Run the broker until SIGINT or SIGTERM, or carry out one command on its database.

    :param arguments: The command line without the program's name; by default that of the process.
    :returns: The exit status: 0; 1 after an internal error; 2 for an invalid setting.
    """
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        if arguments and arguments[0] in SUBJECTS:
            return manage(arguments)
        configuration = read_configuration(arguments)
        raise_open_files()
        # Before the database is opened, to report an impossible setting at once.
        connections_within(configuration.caps.connections)
        start_logging(configuration.log_level)
        with closing(Database(configuration.state_dir)) as database:
            asyncio.run(_run(configuration, database, make_media))
    except ConfigurationError as error:
        print(f'teleop_broker: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0  # before our signal handlers are installed: nothing runs yet
    except Exception as error:  # noqa: BLE001
        # The outermost boundary.
        if (misconfiguration := _misconfiguration(error)) is not None:
            print(f'teleop_broker: {misconfiguration}', file=sys.stderr)
            return 2
        _log.exception('event=broker_failed')
        return 1
    return 0


def _misconfiguration(error: Exception) -> Exception | None:
    """Return the configuration error in an exception or exception group, if there is one."""
    if not isinstance(error, ExceptionGroup):
        return error if isinstance(error, ConfigurationError) else None
    return next(filter(None, map(_misconfiguration, error.exceptions)), None)


async def _run(
    configuration: Configuration, database: Database, make_media: Callable[[Configuration], Media]
) -> None:
    stop = _stop_on_signals()
    media = make_media(configuration)
    app = build_app(configuration, database, media)
    host, port = configuration.host, configuration.port
    async with serving(app, media, host=host, port=port) as served:
        # All objects so far are permanent. Scanning them takes the garbage collector 30 ms, during
        # which nobody is served; sessions that come and go would trigger that.
        gc.collect()
        gc.freeze()
        # Only now: if the port were in use, the link would be lost.
        address = _page_address(host, served.port, configuration.public_urls)
        page = await _login(configuration, database, address)
        print(f'Operator page: {page}', flush=True)
        _log.info('event=broker_ready host=%s port=%d', host, served.port)
        if not is_loopback_host(host):
            _log.warning(
                'event=plain_http host=%s hint="keys and tokens can be read on the network: '
                'put a TLS proxy in front"',
                host,
            )
        # The background tasks end only if they fail, and a broker without them must not go on.
        ends: set[asyncio.Future[Any]] = {asyncio.create_task(stop.wait()), served.background}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    _log.info('event=broker_stopped')


def _stop_on_signals() -> asyncio.Event:
    """
    Return an event that SIGINT and SIGTERM set.

    Handlers of ``loop.add_signal_handler`` are removed when the loop is closed; a second signal
    would then kill us during shutdown.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return stop


async def _login(configuration: Configuration, database: Database, page: str) -> str:
    """
    Create a sign-in link at the first start, or for ``--login-link``.

    :param page: The address of the page.
    :returns: What to print. The link itself, which is a secret, is printed only to a terminal:
        other output ends up in a journal.
    """
    is_terminal = sys.stdout.isatty()
    try:
        link = await database.write(
            partial(_make_login, configuration=configuration, page=page, is_shown=is_terminal)
        )
    except DatabaseUnavailable as error:
        allowed = f'a folder whose database can be written to ({error})'
        raise ConfigurationError('--state-dir', str(configuration.state_dir), allowed) from error
    if not link or is_terminal:
        return link or page
    return f'{page} (sign-in link: {configuration.state_dir / LINK_FILE_NAME})'


def _make_login(
    store: Store, *, configuration: Configuration, page: str, is_shown: bool
) -> str | None:
    """
    Create a token, and at the first start a robot's key too; runs in a transaction.

    :param is_shown: The link will be printed, so it needs no file.
    :returns: The link; ``None``: none was needed.
    """
    now_s, folder = time.time(), configuration.state_dir
    # Inside the transaction: a secret must not be stored without its file.
    if store.is_empty():
        _, api_key = store.create_robot_key(
            name='first key', robot_id=None, owner=FIRST_TENANT, now_s=now_s
        )
        _write_secret(folder / KEY_FILE_NAME, api_key)
        expires_at_s = None
    elif configuration.login_link:
        expires_at_s = now_s + LOGIN_LINK_S
    else:
        return None
    token = store.create_operator_token(
        sub=FIRST_TENANT, role=Role.OPERATOR, now_s=now_s, expires_at_s=expires_at_s
    )
    # Browsers send the fragment to no server, so none logs it.
    link = f'{page}#token={token}'
    if not is_shown:
        _write_secret(folder / LINK_FILE_NAME, link)
    return link


def _write_secret(path: Path, secret: str) -> None:
    """Write a file with mode 0600 atomically."""
    temporary = path.with_name(f'{path.name}.{os.getpid()}')
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, 'w', encoding='ascii') as file:
            os.fchmod(descriptor, 0o600)
            file.write(f'{secret}\n')
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        allowed = f'a folder that can be written to ({error.strerror})'
        raise ConfigurationError('--state-dir', str(path.parent), allowed) from error


def _page_address(host: str, port: int, public_urls: Sequence[str]) -> str:
    """Return the address of the page: the first of ``public_urls``, or a local one."""
    if public_urls:
        # The trailing slash: the page loads its files relative to its folder.
        return public_urls[0].removesuffix('/') + '/'
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f'http://{host}:{port}/'
    if address.is_unspecified:
        return f'http://127.0.0.1:{port}/' if address.version == 4 else f'http://[::1]:{port}/'
    return f'http://{host}:{port}/' if address.version == 4 else f'http://[{host}]:{port}/'


if __name__ == '__main__':
    sys.exit(main())
