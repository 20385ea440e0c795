"""Middlewares for all requests: errors as JSON, headers, host and origin checks, access log."""

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
from collections.abc import Awaitable, Callable, Generator
import logging
import math
import time
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from teleop_webrtc_bridge.broker.access.database import DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.store import TooManyCredentials
from teleop_webrtc_bridge.broker.caller_addresses import network_of
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http.connections import CONNECTION
from teleop_webrtc_bridge.broker.http.routes import caller_address, PARTS
from teleop_webrtc_bridge.broker.media.backend import (
    MediaBug,
    MediaError,
    MediaFull,
    MediaSessionGone,
    UnusableSdp,
)
from teleop_webrtc_bridge.broker.registry.refusals import (
    AmbiguousName,
    ClaimLost,
    JoinReplaced,
    NoPendingOffer,
    NotAllowed,
    NotOperator,
    NotRemovable,
    NotRequested,
    NotWatching,
    PutOut,
    RegistryRefusal,
    SessionUnknown,
    SlotTaken,
    Superseded,
    TooManySessions,
    TooManyViewers,
)
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = ['MIDDLEWARES', 'Metered', 'access_log', 'add_security_headers', 'server_log']

MAX_SHOWN_CHARS: Final = 80
NO_PORT: Final = 'the broker has no UDP port left'
"""Clients need not know the range of ports; the log has it."""
SAFE_METHODS: Final = frozenset({'GET', 'HEAD', 'OPTIONS'})
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; manifest-src 'self'; media-src 'self' blob:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    'Content-Security-Policy': CONTENT_SECURITY_POLICY,
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
}
REFUSAL_STATUS: Final[dict[type[RegistryRefusal], int]] = {
    SessionUnknown: 404,
    Superseded: 409,
    TooManySessions: 429,
    SlotTaken: 409,
    ClaimLost: 409,
    NotOperator: 403,
    JoinReplaced: 403,
    NotAllowed: 403,
    NotRequested: 409,
    NotWatching: 404,
    NotRemovable: 409,
    AmbiguousName: 409,
    PutOut: 403,
    TooManyViewers: 429,
    NoPendingOffer: 409,
}
RETRYABLE: Final = (TooManySessions, TooManyViewers)
FULL_RETRY_S: Final = 30.0
"""The sessions of silent robots are reaped within this time."""

_log = logging.getLogger(__name__)
_access_log = logging.getLogger('teleop_webrtc_bridge.broker.access')

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_T = TypeVar('_T')


def _error_response(
    status: int, detail: str, *, retry_after_s: float | None = None
) -> web.Response:
    response = web.json_response({'detail': detail}, status=status)
    if retry_after_s is not None:
        response.headers['Retry-After'] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:
        response.headers['WWW-Authenticate'] = 'Bearer'
    if status in (408, 413):
        # Do not wait for the rest of the body.
        response.force_close()
    return response


def _retry_after_s(refusal: RegistryRefusal) -> float | None:
    if isinstance(refusal, PutOut):
        return refusal.retry_after_s
    return FULL_RETRY_S if isinstance(refusal, RETRYABLE) else None


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with ``{"detail": ...}``."""
    try:
        return await handler(request)
    except ApiError as error:
        return _error_response(error.status, error.detail, retry_after_s=error.retry_after_s)
    except RegistryRefusal as refusal:
        return _error_response(
            REFUSAL_STATUS[type(refusal)], str(refusal), retry_after_s=_retry_after_s(refusal)
        )
    except DatabaseUnavailable as error:
        return _error_response(503, str(error), retry_after_s=error.retry_after_s)
    except TooManyCredentials as error:
        return _error_response(409, str(error))
    except UnusableSdp as error:
        return _error_response(400, f'The session description cannot be used: {error}')
    except MediaSessionGone:
        return _error_response(409, 'media session gone')
    except MediaBug:
        _log.exception('event=internal_error path=%s', request.rel_url.raw_path)
        return _error_response(500, 'internal error')
    except MediaFull as error:
        _log.warning('event=media_full path=%s reason="%s"', request.rel_url.raw_path, error)
        return _error_response(502, NO_PORT)
    except MediaError as error:
        _log.warning('event=media_failed path=%s error=%r', request.rel_url.raw_path, error)
        return _error_response(502, 'media backend failed')
    except web.HTTPException as error:
        response = _error_response(error.status, error.reason)
        if 'Allow' in error.headers:
            response.headers['Allow'] = error.headers['Allow']
        return response
    except Exception:  # noqa: BLE001
        # The outermost boundary: one request fails, the broker goes on.
        _log.exception('event=internal_error path=%s', request.rel_url.raw_path)
        return _error_response(500, 'internal error')


@web.middleware
async def own_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests for a foreign host name, which an attacker's DNS may point at us."""
    parts = request.app[PARTS]
    hosts = request.headers.getall('Host', [])
    if parts.hosts.serves(hosts):
        return await handler(request)
    shown = ' and '.join(repr(host[:MAX_SHOWN_CHARS]) for host in hosts[:2]) or 'none'
    if parts.seldom.take('host', parts.clock()) is None:
        _log.warning(
            'event=host_refused host=%s address=%s hint="if this broker is reached under that '
            'name, add its URL to the setting public_urls"',
            shown,
            caller_address(request),
        )
    raise ApiError(421, f'Host {shown}: not known here; add its URL to the setting public_urls')


@web.middleware
async def same_origin_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse changes that a page of another site makes a browser request."""
    origin = request.headers.get('Origin')
    if origin is None or request.method in SAFE_METHODS:
        return await handler(request)
    # Compare the host only: behind a TLS proxy the schemes differ; some do not forward Host.
    is_own = origin.partition('://')[2].lower() == request.host.lower()
    if not is_own and not request.app[PARTS].hosts.is_own_origin(origin):
        raise ApiError(403, 'Requests from other sites are refused')
    return await handler(request)


class Metered(Generic[_T]):
    """
    Awaits something once, and adds up the processor time of its steps.

    The tasks and threads that it starts do not count.
    """

    def __init__(self, awaitable: Awaitable[_T]) -> None:
        self.cpu_s = 0.0
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, _T]:
        steps = self._awaitable.__await__()
        resume: Callable[[Any], Any] = steps.send
        brought: Any = None
        while True:
            began_s = time.thread_time()
            try:
                awaited = resume(brought)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]
            finally:
                self.cpu_s += time.thread_time() - began_s
            try:
                resume, brought = steps.send, (yield awaited)
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001
                # For example a cancellation: the awaited object decides what to do with it.
                resume, brought = steps.throw, error


@web.middleware
async def track_connection(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Measure the processor time of a request, and tell its connection when it is answered."""
    connection = CONNECTION.get()
    connection.request_begun()
    answering = Metered(handler(request))
    try:
        response = await answering
    finally:
        may_go_on = connection.request_finished(answering.cpu_s)
    request.app[PARTS].answers[response.status] += 1
    if not may_go_on:
        response.force_close()
    return response


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the same headers to every answer; answers of the API must not be cached."""
    response.headers.update(SECURITY_HEADERS)
    if 'Cache-Control' not in response.headers:
        response.headers['Cache-Control'] = 'no-store'


#: The first one is the outermost.
MIDDLEWARES: Final = (
    track_connection,
    errors_as_json,
    own_host_only,
    same_origin_only,
)


class _AccessLog(AbstractAccessLogger):
    """One line per request, without query strings and headers, which may contain secrets."""

    of_address: RateLimit
    of_all: RateLimit
    left_out = 0

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log refusals and failures as INFO within the limits, and everything else as DEBUG."""
        level = logging.DEBUG if response.status < 400 else logging.INFO
        if not _access_log.isEnabledFor(level):
            return
        address, kind = caller_address(request), type(self)
        if level is logging.INFO:
            now_s = asyncio.get_running_loop().time()
            takes = (kind.of_address.take(network_of(address), now_s), kind.of_all.take('', now_s))
            if takes != (None, None):
                kind.left_out += 1
                return
        _access_log.log(
            level,
            'event=request method=%s path=%s status=%d ms=%.1f remote=%s left_out=%d',
            request.method,
            request.rel_url.raw_path,
            response.status,
            time * 1e3,
            address,
            kind.left_out,
        )
        kind.left_out = 0


class _NoFaultsOfClients(logging.Filter):
    """Drops tracebacks that strangers can cause: by malformed HTTP and by hanging up."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionError)


def server_log() -> logging.Logger:
    """Return the logger for errors of aiohttp's server."""
    log = logging.getLogger(f'{__name__}.server')
    if not log.filters:
        log.addFilter(_NoFaultsOfClients())
    return log


def access_log() -> type[AbstractAccessLogger]:
    """Return an access log class whose instances, one per connection, share their limits."""

    class AccessLog(_AccessLog):
        of_address = RateLimit(per_minute=10, burst=10)
        of_all = RateLimit(per_minute=60, burst=60)

    return AccessLog
