"""Health and metrics of the broker, for monitoring systems."""

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
import math
from typing import Annotated, Final, NotRequired, TypedDict

from aiohttp import web

from teleop_webrtc_bridge.broker.access.database import RETRY_AFTER_S
from teleop_webrtc_bridge.broker.http.host_names import is_ip_literal, name_of_host
from teleop_webrtc_bridge.broker.http.routes import Call, PARTS, Routes
from teleop_webrtc_bridge.broker.http.schema import json_content, one_of, retry_after, schema_of
from teleop_webrtc_bridge.broker.registry.sessions import SessionState

__all__ = ['ROUTES', 'metrics']

FORWARDING: Final = ('Forwarded', 'X-Forwarded-For', 'X-Real-IP', 'Via')
"""Headers of proxies: a proxy on this machine would make all clients local."""

ROUTES: Final = Routes()


class Health(TypedDict):
    """Whether the broker and its database work."""

    status: Annotated[str, one_of('ok', 'degraded')]
    database: NotRequired[str]


NOT_HEALTHY: Final = {
    'description': 'The database fails, and nobody is let in any more',
    'headers': retry_after(is_required=True),
    'content': json_content(schema_of(Health)),
}


@ROUTES.add('get', '/api/v1/health', others={'503': NOT_HEALTHY})
async def health(call: Call[None]) -> Annotated[web.Response, Health]:
    """
    Get whether the broker and its database work.

    While the last known keys and tokens hold, the broker serves everybody who is connected, so
    the answer is still 200: a supervisor must not restart the broker under a driven robot.
    """
    database = call.parts.database.health
    if database.reason is None:
        note = {} if database.note is None else {'database': database.note}
        return web.json_response({'status': 'ok', **note})
    status = 503 if database.is_given_up() else 200
    headers = {'Retry-After': str(math.ceil(RETRY_AFTER_S))} if database.is_given_up() else {}
    body = {'status': 'degraded', 'database': database.reason}
    return web.json_response(body, status=status, headers=headers)


async def metrics(request: web.Request) -> web.Response:
    """Answer in Prometheus' text format 0.0.4; clients on other machines get a 404."""
    if not _is_local(request):
        raise web.HTTPNotFound
    parts = request.app[PARTS]
    figures = parts.broker.figures()
    lines = []
    for name, text, value in (
        ('sessions_idle', 'Robots without an operator', figures[SessionState.IDLE]),
        ('sessions_active', 'Robots with an operator', figures[SessionState.ACTIVE]),
        ('viewers', 'Viewers of all robots', parts.broker.viewers),
        ('connections', 'Open HTTP connections', len(parts.front)),
        ('database_fails', 'Whether the database fails', parts.database.health.reason is not None),
    ):
        lines += [
            f'# HELP teleop_broker_{name} {text}',
            f'# TYPE teleop_broker_{name} gauge',
            f'teleop_broker_{name} {value:g}',
        ]
    lines += [
        '# HELP teleop_broker_responses_total Answers to HTTP requests',
        '# TYPE teleop_broker_responses_total counter',
    ]
    lines += [
        f'teleop_broker_responses_total{{status="{status}"}} {count}'
        for status, count in sorted(parts.answers.items())
    ]
    return web.Response(
        text='\n'.join(lines) + '\n',
        headers={'Content-Type': 'text/plain; version=0.0.4; charset=utf-8'},
    )


def _is_local(request: web.Request) -> bool:
    """Return whether a program on this machine asks for itself, not for another client."""
    if any(name in request.headers for name in FORWARDING):
        return False
    # The names of public_urls are for browsers; monitoring does not use them.
    host = name_of_host(request.host) or ''
    if host != 'localhost' and not is_ip_literal(host):
        return False
    try:
        return ipaddress.ip_address(request.remote or '').is_loopback
    except ValueError:
        return False
