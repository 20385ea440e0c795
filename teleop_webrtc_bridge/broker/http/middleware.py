"""What all routes share: the app's parts, JSON bodies, errors as JSON, headers, the access log."""

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
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
import logging
import math
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from teleop_webrtc_bridge.broker.access.audit import Audit
from teleop_webrtc_bridge.broker.access.authenticator import Authenticator, SignIn
from teleop_webrtc_bridge.broker.access.database import Database, DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.key_usage import KeyUsage
from teleop_webrtc_bridge.broker.access.records import TooManyCredentials
from teleop_webrtc_bridge.broker.caller_addresses import network_of, TrustedProxies
from teleop_webrtc_bridge.broker.configuration import OidcSettings
from teleop_webrtc_bridge.broker.errors import ApiError, NoGuess
from teleop_webrtc_bridge.broker.http import schemas
from teleop_webrtc_bridge.broker.http.client_connection import CONNECTION
from teleop_webrtc_bridge.broker.http.front import HttpFront
from teleop_webrtc_bridge.broker.http.host_names import HostNames
from teleop_webrtc_bridge.broker.http.metered import Metered
from teleop_webrtc_bridge.broker.http.metrics import Metrics
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller
from teleop_webrtc_bridge.broker.limits import Limits
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
from teleop_webrtc_bridge.broker.service import Broker
from teleop_webrtc_bridge.core.codec import MAX_HTTP_BODY_BYTES, parse_json_object
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import IceServer
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = [
    'MIDDLEWARES',
    'PARTS',
    'Parts',
    'RequestLimits',
    'access_log',
    'caller_address',
    'read_json',
    'server_log',
]

BODY_DEADLINE_S: Final = 5.0
OPEN_PATHS: Final = frozenset({'/api/v1/health', '/api/v1/openapi.json', '/api/v1/auth/config'})
MAX_SHOWN_CHARS: Final = 80
NO_PORT: Final = 'the broker has no UDP port left'
"""Which ones it has is in the log: callers need not know them."""
SAFE_METHODS: Final = frozenset({'GET', 'HEAD', 'OPTIONS'})
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
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
"""A silent robot's session is reaped by then."""

_log = logging.getLogger(__name__)
_access_log = logging.getLogger('teleop_webrtc_bridge.broker.access')

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Caller = TypeVar('_Caller', bound=RobotCaller | OperatorCaller)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """How often one caller may do what costs most."""

    key_writes: RateLimit
    sessions: RateLimit
    """Per robot, and per operator."""
    sessions_of_key: RateLimit
    """Of all robots that share an API key."""
    sign_ins: RateLimit
    """Failed ones, per address."""
    turn_credentials: RateLimit
    turn_credentials_of_key: RateLimit
    """Of all robots that share an API key: who asks does not say which of them he is."""

    @classmethod
    def of_protocol(cls, caps: Limits) -> RequestLimits:
        """Return the limits of docs/protocol.md §1."""
        # All robots of a key dial at once when the broker has been away.
        of_key = {'per_minute': 120, 'burst': max(12, caps.robots_per_key)}
        return cls(
            key_writes=RateLimit(per_minute=10, burst=10),
            sessions=RateLimit(per_minute=12, burst=12),
            sessions_of_key=RateLimit(**of_key),
            sign_ins=RateLimit(per_minute=10, burst=10),
            turn_credentials=RateLimit(per_minute=6, burst=6),
            turn_credentials_of_key=RateLimit(**of_key),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What routes work with."""

    broker: Broker
    database: Database
    authenticator: Authenticator
    key_usage: KeyUsage
    oidc: OidcSettings | None
    audit: Audit
    caps: Limits
    limits: RequestLimits
    ice_servers: tuple[IceServer, ...]
    front: HttpFront
    metrics: Metrics
    allow_local: bool
    """Peers may be at loopback and link-local addresses."""
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    hosts: HostNames
    proxies: TrustedProxies
    seldom: RateLimit
    """Of log lines that others can cause as often as they like, by what they say."""

    def robot(self, request: web.Request) -> RobotCaller:
        """
        Return the robot that calls.

        :raises ApiError: 401; 429 after too many of these.
        """
        return self._known(request, SignIn.robot)

    def operator(self, request: web.Request) -> OperatorCaller:
        """
        Return the operator that calls.

        :raises ApiError: 401, 403; 429 after too many of these.
        """
        caller = self._known(request, SignIn.operator)
        self.audit.used(caller, caller_address(request))
        return caller

    def anyone(self, request: web.Request) -> RobotCaller | OperatorCaller:
        """
        Return the robot or the operator that calls.

        :raises ApiError: 401, 403; 429 after too many of these.
        """
        caller = self._known(request, SignIn.anyone)
        if isinstance(caller, OperatorCaller):
            self.audit.used(caller, caller_address(request))
        return caller

    def _known(self, request: web.Request, ask: Callable[[SignIn], _Caller]) -> _Caller:
        """Who has a valid secret is let in, whatever others at the same address have tried."""
        try:
            caller = ask(request.get(SIGN_IN) or SignIn())
        except NoGuess:
            self.front.unverified()
            raise
        except ApiError:
            self.front.unverified()
            self.limit(self.limits.sign_ins, network_of(caller_address(request)))
            raise
        self.front.verified(caller)
        return caller

    def sdp(self, body: dict[str, Any], field: str) -> str:
        """
        Read a session description, checked, without candidates that are not to be tried.

        :raises ApiError: 422 without one, 400 for one that is not usable.
        """
        return schemas.usable_sdp(body, field, allow_local=self.allow_local)

    def limit(self, limit: RateLimit, caller: Hashable) -> None:
        """
        Count one request of a caller.

        :raises ApiError: 429.
        """
        retry_after_s = limit.take(caller, self.clock())
        if retry_after_s is not None:
            raise ApiError(429, 'Too many requests', retry_after_s=retry_after_s)


#: Of a request: what :func:`prepare_sign_in` has found. Before aiohttp 3.14, any key will do.
SIGN_IN: Final[Any] = getattr(web, 'RequestKey', web.AppKey)('sign_in', SignIn)


PARTS: Final = web.AppKey('parts', Parts)


async def read_json(request: web.Request) -> dict[str, Any]:
    """
    Read a JSON object; no body at all is an empty one.

    :raises ApiError: 408 for a slow client, 413 above 64 KiB, 422 for what is no JSON object.
    """
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            data = await request.read()
    except TimeoutError:
        raise ApiError(408, f'The request took longer than {BODY_DEADLINE_S:g} s') from None
    if not data:
        return {}
    try:
        return parse_json_object(data, max_bytes=MAX_HTTP_BODY_BYTES)
    except ProtocolError as error:
        raise ApiError(422, f'body: {error}') from error


def _error_response(
    status: int, detail: str, *, retry_after_s: float | None = None
) -> web.Response:
    response = web.json_response({'detail': detail}, status=status)
    if retry_after_s is not None:
        response.headers['Retry-After'] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:
        response.headers['WWW-Authenticate'] = 'Bearer'
    if status in (408, 413):
        # The rest of the body is not waited for.
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
    """Refuse requests for a name that is not ours: the DNS of an attacker says it is."""
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
    """Refuse what another site's page asks a browser to change here."""
    origin = request.headers.get('Origin')
    if origin is None or request.method in SAFE_METHODS:
        return await handler(request)
    # The host only: behind a TLS proxy the schemes differ, and some pass on no Host.
    is_own = origin.partition('://')[2].lower() == request.host.lower()
    if not is_own and not request.app[PARTS].hosts.is_own_origin(origin):
        raise ApiError(403, 'Requests from other sites are refused')
    return await handler(request)


@web.middleware
async def track_connection(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Measure what a request takes, and tell its connection when it is answered."""
    connection = CONNECTION.get()
    connection.request_begun()
    answering = Metered(handler(request))
    try:
        response = await answering
    finally:
        may_go_on = connection.request_finished(answering.cpu_s)
    request.app[PARTS].metrics.answered(response.status)
    if not may_go_on:
        response.force_close()
    return response


@web.middleware
async def prepare_sign_in(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Fetch what is needed to tell who calls; telling it is up to the handler."""
    # What is for everybody answers while the database hangs, whatever secret comes with it.
    if request.path.startswith('/api/') and request.path not in OPEN_PATHS:
        request[SIGN_IN] = await request.app[PARTS].authenticator.prepare(request.headers)
    return await handler(request)


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the same headers on every answer; API answers are kept by nobody."""
    response.headers.update(SECURITY_HEADERS)
    if 'Cache-Control' not in response.headers:
        response.headers['Cache-Control'] = 'no-store'


#: The first one is the outermost.
MIDDLEWARES: Final = (
    track_connection,
    errors_as_json,
    own_host_only,
    same_origin_only,
    prepare_sign_in,
)


def caller_address(request: web.BaseRequest) -> str:
    """Return who calls: the address of the peer, or of whom a trusted proxy calls for."""
    try:
        app = request.app if isinstance(request, web.Request) else None
    except (AssertionError, AttributeError):
        # No application gets what aiohttp cannot parse, and its headers are unknown.
        return TrustedProxies().caller(request.remote, [])
    proxies = TrustedProxies() if app is None else app[PARTS].proxies
    return proxies.caller(request.remote, request.headers.getall('X-Forwarded-For', []))


class _AccessLog(AbstractAccessLogger):
    """One line a request, without query strings and headers: those may carry secrets."""

    of_address: RateLimit
    of_all: RateLimit
    left_out = 0

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log refusals and failures as INFO, as far as they are few, all the rest as DEBUG."""
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
    """Leaves out tracebacks that strangers can cause: of what is no HTTP, and of hanging up."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionError)


def server_log() -> logging.Logger:
    """Return where aiohttp's server may tell what goes wrong."""
    log = logging.getLogger(f'{__name__}.server')
    if not log.filters:
        log.addFilter(_NoFaultsOfClients())
    return log


def access_log() -> type[AbstractAccessLogger]:
    """Return an access log whose connections, each of which gets an instance, share limits."""

    class AccessLog(_AccessLog):
        of_address = RateLimit(per_minute=10, burst=10)
        of_all = RateLimit(per_minute=60, burst=60)

    return AccessLog
