"""The broker's web application: assembles its parts and serves them."""

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
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
import errno
import json
import logging
import os
import socket
import time
from typing import Any, Final

from aiohttp import web

from teleop_webrtc_bridge.broker.access.audit import Audit
from teleop_webrtc_bridge.broker.access.authenticator import (
    Authenticator,
    Credentials,
    IssuedTokens,
)
from teleop_webrtc_bridge.broker.access.database import Database
from teleop_webrtc_bridge.broker.caller_addresses import TrustedProxies
from teleop_webrtc_bridge.broker.configuration import check_pyjwt, Configuration
from teleop_webrtc_bridge.broker.http import (
    metrics,
    routes_admin,
    routes_operator,
    routes_robot,
)
from teleop_webrtc_bridge.broker.http.admission import ConnectionTable, RequestClass, Share, SHARES
from teleop_webrtc_bridge.broker.http.connections import ClientConnection, HttpFront
from teleop_webrtc_bridge.broker.http.host_names import HostNames
from teleop_webrtc_bridge.broker.http.middleware import (
    access_log,
    add_security_headers,
    MIDDLEWARES,
    server_log,
)
from teleop_webrtc_bridge.broker.http.page import add_page, constant, PageFile, read_page
from teleop_webrtc_bridge.broker.http.routes import PARTS, Parts, RequestLimits, Routes
from teleop_webrtc_bridge.broker.http.schema import Endpoint, openapi_document
from teleop_webrtc_bridge.broker.limits import connections_within, Limits
from teleop_webrtc_bridge.broker.media.backend import Media
from teleop_webrtc_bridge.broker.service import Broker
from teleop_webrtc_bridge.core.codec import MAX_HTTP_BODY_BYTES
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = ['Serving', 'build_app', 'describe_api', 'serving']

#: Together less than 2 s, the time that a stop may take.
HANDLERS_STOP_S: Final = 0.5
MEDIA_STOP_S: Final = 1.0
LINGERING_S: Final = 1.0
"""How long the rest of a refused body is read, so that the client sees the answer."""

DESCRIPTION: Final = Endpoint(
    method='get', path='/api/v1/openapi.json', summary='Get this document', answer=dict
)
ROUTES: Final[tuple[Routes, ...]] = (
    metrics.ROUTES,
    routes_robot.ROUTES,
    routes_robot.ROUTES_WITH_OPERATORS,
    routes_operator.ROUTES,
    routes_operator.ROUTES_TO_SIGN_IN,
    routes_admin.ROUTES,
)

_log = logging.getLogger(__name__)


def build_app(
    configuration: Configuration,
    database: Database,
    media: Media,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    page: list[PageFile] | None = None,
    limits: RequestLimits | None = None,
    shares: Mapping[RequestClass, Share] = SHARES,
) -> web.Application:
    """
    Build the broker's web application; its background tasks start and end with it.

    :param clock: Monotonic seconds, the same as ``Media.last_heard_s``.
    :param wall_clock: Seconds since 1970, for tokens that expire.
    :param page: The files of the page; by default the package's operator page.
    :param limits: Rate limits of requests; by default those of the protocol.
    :param shares: Budgets of processor time.
    :raises ConfigurationError: The settings need something that is not installed or allowed.
    """
    caps, answers = configuration.caps, Counter[int]()
    credentials = Credentials(database, wall_clock)
    audit = Audit(database, wall_clock, keep_days=configuration.audit_days)
    broker = Broker(
        media,
        clock=clock,
        wall_clock=wall_clock,
        caps=caps,
        credentials=credentials,
        viewers_may_stop=configuration.viewers_may_stop,
        audit=audit,
        udp_ports=configuration.udp_port_count,
    )
    seldom = RateLimit(per_minute=6, burst=1)
    proxies = TrustedProxies(configuration.trusted_proxies)
    front = HttpFront(
        _connection_table(caps), proxies, seldom, lambda: answers.update([429]), shares
    )
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=MAX_HTTP_BODY_BYTES)
    app[PARTS] = Parts(
        broker=broker,
        database=database,
        authenticator=Authenticator(credentials, _issued_tokens(configuration, clock, wall_clock)),
        key_usage=credentials.key_usage,
        oidc=configuration.oidc,
        audit=audit,
        caps=caps,
        limits=RequestLimits.of_protocol(caps) if limits is None else limits,
        ice_servers=configuration.ice_servers,
        front=front,
        answers=answers,
        allow_local=configuration.include_loopback,
        clock=clock,
        wall_clock=wall_clock,
        hosts=HostNames(configuration.host, configuration.public_urls),
        proxies=proxies,
        seldom=seldom,
    )
    _add_routes(app, read_page() if page is None else page)
    app.on_response_prepare.append(add_security_headers)
    app.on_shutdown.append(_release_polls)
    app.on_cleanup.append(_flush)
    return app


def _connection_table(caps: Limits) -> ConnectionTable[ClientConnection]:
    total = connections_within(caps.connections)
    return ConnectionTable(
        total=total,
        # Neither one address nor a few tokens with held requests may take all connections.
        per_address=min(caps.connections_per_address, max(1, total // 2)),
        per_token=min(caps.connections_per_token, max(1, total // 4)),
    )


def _issued_tokens(
    configuration: Configuration, clock: Callable[[], float], wall_clock: Callable[[], float]
) -> IssuedTokens | None:
    if configuration.oidc is None:
        return None
    check_pyjwt()
    # Imported lazily: PyJWT is needed only with OIDC.
    from teleop_webrtc_bridge.broker.access.oidc import IdTokens, IssuerKeys

    return IdTokens(configuration.oidc, IssuerKeys(configuration.oidc.issuer, clock), wall_clock)


def _add_routes(app: web.Application, page: list[PageFile]) -> None:
    for routes in ROUTES:
        app.add_routes(routes.table)
    openapi = json.dumps(describe_api()).encode()
    app.router.add_get(DESCRIPTION.path, constant(openapi, 'application/json'))
    app.router.add_get('/metrics', metrics.metrics)
    add_page(app, page)


def describe_api() -> dict[str, Any]:
    """Return the OpenAPI document: docs/protocol.md §2 for programs."""
    endpoints = (endpoint for routes in ROUTES for endpoint in routes.endpoints)
    return openapi_document([DESCRIPTION, *endpoints])


async def _release_polls(app: web.Application) -> None:
    app[PARTS].broker.release_polls()


async def _flush(app: web.Application) -> None:
    await asyncio.gather(app[PARTS].audit.flush(), app[PARTS].key_usage.flush())


@dataclass(frozen=True, slots=True)
class Serving:
    """A broker that accepts connections."""

    port: int
    """The port in use, even if the system was asked to choose one."""
    background: asyncio.Future[None]
    """Ends only if the broker itself fails."""


@asynccontextmanager
async def serving(
    app: web.Application, media: Media, *, host: str, port: int
) -> AsyncIterator[Serving]:
    """
    Serve an application until the context is left, then close its media.

    :raises ConfigurationError: The address cannot be used.
    """
    runner = web.AppRunner(
        app,
        access_log_class=access_log(),
        logger=server_log(),
        # A join that is cancelled half-way would leave media sessions behind.
        handler_cancellation=False,
        shutdown_timeout=HANDLERS_STOP_S,
        lingering_time=LINGERING_S,
        # Decompression could turn a small body into a large one.
        auto_decompress=False,
    )
    await runner.setup()
    carrying = asyncio.create_task(app[PARTS].broker.run_media())
    try:
        port_in_use = await _listen(app[PARTS].front, host, port)
        _log.info('event=listening connections=%d', app[PARTS].front.capacity)
        background = asyncio.create_task(_background(app, runner, carrying))
        try:
            yield Serving(port_in_use, background)
        finally:
            await _cancel(background)
    finally:
        await runner.cleanup()
        with suppress(TimeoutError):
            async with asyncio.timeout(MEDIA_STOP_S):
                await media.close()
        await _cancel(carrying)


async def _cancel(task: asyncio.Future[None]) -> None:
    """
    Cancel a task.

    :raises Exception: The task had failed before.
    """
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _listen(front: HttpFront, host: str, port: int) -> int:
    """Start listening, and return the port."""
    try:
        # create_server resolves names and binds; the front accepts.
        server = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, host, port, reuse_address=True, start_serving=False
        )
        try:
            front.listen([socket.socket(fileno=os.dup(it.fileno())) for it in server.sockets])
            return int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError('--port', port, 'a port that no program uses') from error
        allowed = f'an address of this machine ({error.strerror})'
        raise ConfigurationError('--host', host, allowed) from error


async def _background(
    app: web.Application, runner: web.AppRunner, carrying: asyncio.Future[None]
) -> None:
    assert runner.server is not None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app[PARTS].broker.sweep_for_ever())
        tasks.create_task(app[PARTS].broker.watch_credentials_for_ever())
        tasks.create_task(app[PARTS].audit.write_for_ever())
        tasks.create_task(app[PARTS].key_usage.write_for_ever())
        tasks.create_task(app[PARTS].front.serve(runner.server))
        # Shielded: media must go on while the last sessions are closed.
        await asyncio.shield(carrying)
