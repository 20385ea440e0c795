"""The table of endpoints: their callers, request bodies and answers."""

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
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
import re
from typing import Any, Final, Generic, get_type_hints, TypeVar

from aiohttp import web

from teleop_webrtc_bridge.broker.access.audit import Audit
from teleop_webrtc_bridge.broker.access.authenticator import Authenticator, KeyUsage, SignIn
from teleop_webrtc_bridge.broker.access.database import Database
from teleop_webrtc_bridge.broker.caller_addresses import network_of, TrustedProxies
from teleop_webrtc_bridge.broker.configuration import OidcSettings
from teleop_webrtc_bridge.broker.errors import ApiError, NoGuess
from teleop_webrtc_bridge.broker.http.connections import HttpFront
from teleop_webrtc_bridge.broker.http.host_names import HostNames
from teleop_webrtc_bridge.broker.http.schema import Endpoint, ForeignSdp, read
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.service import Broker
from teleop_webrtc_bridge.core.codec import MAX_HTTP_BODY_BYTES, parse_json_object
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import IceServer
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = [
    'PARTS',
    'Call',
    'OperatorCall',
    'Parts',
    'RequestLimits',
    'RobotCall',
    'Routes',
    'caller_address',
]

BODY_DEADLINE_S: Final = 5.0

_Caller = TypeVar('_Caller')
_Known = RobotCaller | OperatorCaller
_Handler = Callable[[Any], Awaitable[Any]]
_Body = TypeVar('_Body')


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """How often one caller may make the most expensive requests."""

    key_writes: RateLimit
    sessions: RateLimit
    """Per robot, and per operator."""
    sessions_of_key: RateLimit
    """Of all robots that share an API key."""
    sign_ins: RateLimit
    """Failed ones, per address."""
    turn_credentials: RateLimit
    turn_credentials_of_key: RateLimit
    """Of all robots that share an API key: a request does not say which of them sent it."""

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
    """The parts of the broker that routes use."""

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
    answers: Counter[int]
    """Number of answers by HTTP status."""
    allow_local: bool
    """Peers may be at loopback and link-local addresses."""
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    hosts: HostNames
    proxies: TrustedProxies
    seldom: RateLimit
    """Bounds log lines that clients can cause at will, by event."""

    async def identify(self, request: web.Request, ask: Callable[[SignIn], _Known]) -> _Known:
        """
        Return the caller; a valid secret is accepted, whatever else its address has sent.

        :param ask: For example :meth:`SignIn.operator`.
        :raises ApiError: 401, 403; 429 after too many failed attempts.
        """
        sign_in = await self.authenticator.prepare(request.headers)
        try:
            caller = ask(sign_in)
        except NoGuess:
            self.front.unverified()
            raise
        except ApiError:
            self.front.unverified()
            self.limit(self.limits.sign_ins, network_of(caller_address(request)))
            raise
        self.front.verified(caller)
        if isinstance(caller, OperatorCaller):
            self.audit.used(caller, caller_address(request))
        return caller

    def limit(self, limit: RateLimit, caller: Hashable) -> None:
        """
        Count one request of a caller.

        :raises ApiError: 429.
        """
        retry_after_s = limit.take(caller, self.clock())
        if retry_after_s is not None:
            raise ApiError(429, 'Too many requests', retry_after_s=retry_after_s)


PARTS: Final = web.AppKey('parts', Parts)


def caller_address(request: web.BaseRequest) -> str:
    """Return the peer's address, or the address for which a trusted proxy calls."""
    try:
        app = request.app if isinstance(request, web.Request) else None
    except (AssertionError, AttributeError):
        # aiohttp could not parse the request: it has no application, and its headers are unknown.
        return TrustedProxies().caller(request.remote, [])
    proxies = TrustedProxies() if app is None else app[PARTS].proxies
    return proxies.caller(request.remote, request.headers.getall('X-Forwarded-For', []))


@dataclass(frozen=True, slots=True)
class Call(Generic[_Caller]):
    """One request and its caller."""

    request: web.Request
    parts: Parts
    caller: _Caller

    @property
    def session_id(self) -> str:
        return self.request.match_info['session_id']

    @property
    def address(self) -> str:
        return caller_address(self.request)

    async def json(self) -> dict[str, Any]:
        """
        Read a JSON object; a missing body counts as an empty object.

        :raises ApiError: 408 for a slow client, 413 above 64 KiB, 422 if it is not a JSON object.
        """
        try:
            async with asyncio.timeout(BODY_DEADLINE_S):
                data = await self.request.read()
        except TimeoutError:
            raise ApiError(408, f'The request took longer than {BODY_DEADLINE_S:g} s') from None
        if not data:
            return {}
        try:
            return parse_json_object(data, max_bytes=MAX_HTTP_BODY_BYTES)
        except ProtocolError as error:
            raise ApiError(422, f'body: {error}') from error

    async def read(self, body: type[_Body]) -> _Body:
        """
        Read the body.

        :raises ApiError: See :meth:`json`; 422 if it does not match its description.
        """
        return read(body, await self.json())

    def usable(self, name: str, sdp: ForeignSdp) -> str:
        """
        Return a session description that this broker may use.

        :param name: The field that has it.
        :raises ApiError: 400.
        """
        return sdp.usable(name, allow_local=self.parts.allow_local)


RobotCall = Call[RobotCaller]
OperatorCall = Call[OperatorCaller]


class Routes:
    """
    Endpoints that the same callers may use.

    :param ask: Finds the caller, for example :meth:`SignIn.operator`; ``None``: anybody may call.
    :param callers: The same for the OpenAPI document.
    """

    def __init__(
        self, ask: Callable[[SignIn], _Known] | None = None, callers: tuple[str, ...] = ()
    ) -> None:
        self.table = web.RouteTableDef()
        self.endpoints: list[Endpoint] = []
        self._ask = ask
        self._callers = callers

    def add(
        self, method: str, path: str, *, status: int = 200, **description: Any
    ) -> Callable[[_Handler], _Handler]:
        """
        Serve and describe an endpoint; the first line of its handler's docstring is the summary.

        The handler's return type is the type of the answer. Handlers that return JSON as bytes or
        a whole response are annotated with the type of the content; ``None`` is a 204.

        :param description: Further fields of :class:`Endpoint`.
        """

        def decorate(handler: _Handler) -> _Handler:
            answer = get_type_hints(handler, include_extras=True)['return']
            is_empty = answer is type(None)
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=re.sub(r':.+}', '}', path),
                    summary=(handler.__doc__ or '').strip().partition('\n')[0].rstrip('.'),
                    answer=None if is_empty else answer,
                    status=204 if is_empty else status,
                    callers=self._callers,
                    **description,
                )
            )
            self.table.route(method.upper(), path)(partial(self._serve, handler, status))
            return handler

        return decorate

    async def _serve(self, handler: _Handler, status: int, request: web.Request) -> web.Response:
        parts = request.app[PARTS]
        caller = None if self._ask is None else await parts.identify(request, self._ask)
        answer = await handler(Call(request, parts, caller))
        if isinstance(answer, web.Response):
            return answer
        if answer is None:
            return web.Response(status=204)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type='application/json')
        return web.json_response(answer, status=status)
