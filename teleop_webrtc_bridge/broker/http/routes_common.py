"""The endpoints that are for everybody (docs/protocol.md §2)."""

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

import ipaddress
import json
import math
from typing import Final

from aiohttp import web

from teleop_webrtc_bridge.broker.access.database import RETRY_AFTER_S
from teleop_webrtc_bridge.broker.http import schemas
from teleop_webrtc_bridge.broker.http.constant_answers import constant
from teleop_webrtc_bridge.broker.http.host_names import is_ip_literal, name_of_host
from teleop_webrtc_bridge.broker.http.middleware import PARTS
from teleop_webrtc_bridge.broker.http.openapi import document
from teleop_webrtc_bridge.broker.identity import RobotCaller
from teleop_webrtc_bridge.broker.registry.sessions import SessionState

__all__ = ['ROUTES']

FORWARDING: Final = ('Forwarded', 'X-Forwarded-For', 'X-Real-IP', 'Via')
"""What proxies add, which on this machine would make everybody local."""

ROUTES = web.RouteTableDef()


@ROUTES.get('/api/v1/health')
async def health(request: web.Request) -> web.Response:
    """
    Say that the broker runs, and whether its database does.

    While the last known keys and tokens hold, it serves everybody who is there, so this is no
    failure: what watches over the broker must not restart it under a driven robot.
    """
    database = request.app[PARTS].database.health
    if database.reason is None:
        note = {} if database.note is None else {'database': database.note}
        return web.json_response({'status': 'ok', **note})
    status = 503 if database.is_given_up() else 200
    headers = {'Retry-After': str(math.ceil(RETRY_AFTER_S))} if database.is_given_up() else {}
    body = {'status': 'degraded', 'database': database.reason}
    return web.json_response(body, status=status, headers=headers)


ROUTES.get('/api/v1/openapi.json')(constant(json.dumps(document()).encode(), 'application/json'))


@ROUTES.get('/api/v1/auth/config')
async def sign_in_config(request: web.Request) -> web.Response:
    """Tell people's programs how to sign in."""
    return web.json_response(schemas.sign_in_body(request.app[PARTS].oidc))


@ROUTES.get('/api/v1/auth/me')
async def who_am_i(request: web.Request) -> web.Response:
    """Tell operators as whom they are known here."""
    caller = request.app[PARTS].operator(request)
    return web.json_response({'sub': caller.sub, 'role': caller.role.value})


@ROUTES.get('/metrics')
async def metrics(request: web.Request) -> web.Response:
    """Tell a monitoring system how things are; for other machines there is no such path."""
    if not _is_local(request):
        raise web.HTTPNotFound
    parts = request.app[PARTS]
    figures = parts.broker.figures()
    gauges = [
        ('sessions_idle', 'Robots without an operator', figures[SessionState.IDLE]),
        ('sessions_active', 'Robots with an operator', figures[SessionState.ACTIVE]),
        ('viewers', 'Viewers of all robots', parts.broker.viewers),
        ('connections', 'Open HTTP connections', len(parts.front)),
        ('database_fails', 'Whether the database fails', parts.database.health.reason is not None),
    ]
    return web.Response(
        text=parts.metrics.render(gauges),
        headers={'Content-Type': 'text/plain; version=0.0.4; charset=utf-8'},
    )


def _is_local(request: web.Request) -> bool:
    """Return whether a program of this machine asks for itself, not for somebody else."""
    if any(name in request.headers for name in FORWARDING):
        return False
    # A name of public_urls is for browsers; nobody monitors under it.
    host = name_of_host(request.host) or ''
    if host != 'localhost' and not is_ip_literal(host):
        return False
    try:
        return ipaddress.ip_address(request.remote or '').is_loopback
    except ValueError:
        return False


@ROUTES.get('/api/v1/sessions/turn-credentials')
async def turn_credentials(request: web.Request) -> web.Response:
    """Tell the ICE servers, before a peer connection is built with them."""
    parts = request.app[PARTS]
    caller = parts.anyone(request)
    if isinstance(caller, RobotCaller):
        parts.limit(parts.limits.turn_credentials_of_key, caller.key_id)
    else:
        parts.limit(parts.limits.turn_credentials, caller.identity)
    return web.json_response({'ice_servers': schemas.ice_servers_body(parts.ice_servers)})
