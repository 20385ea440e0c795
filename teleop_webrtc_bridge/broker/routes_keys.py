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

"""The endpoints that manage robot API keys and operator tokens (docs/protocol.md §2)."""

from __future__ import annotations

from aiohttp import web

from teleop_webrtc_bridge.broker import schemas
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http import PARTS, Parts, read_json
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role

__all__ = ['ROUTES']

ROUTES = web.RouteTableDef()


def _manager(parts: Parts, request: web.Request) -> OperatorCaller:
    caller = parts.operator(request)
    if not caller.may_control:
        raise ApiError(403, 'Your role does not allow this')
    return caller


def _check_may_mint(caller: OperatorCaller) -> None:
    if not caller.may_mint:
        raise ApiError(403, "Keys and tokens are made with the broker's own operator tokens only")


@ROUTES.post('/api/v1/keys')
async def create_key(request: web.Request) -> web.Response:
    """Make a robot API key, shown this once."""
    parts = request.app[PARTS]
    caller = _manager(parts, request)
    _check_may_mint(caller)
    parts.limit(parts.limits.key_writes, caller.identity)
    body = await read_json(request)
    record, api_key = parts.store.create_robot_key(
        name=schemas.required_name(body, 'name'),
        robot_id=schemas.optional_robot_id(body),
        owner=caller.tenant,
        now_s=parts.wall_clock(),
    )
    return web.json_response({**schemas.key_body(record), 'api_key': api_key}, status=201)


@ROUTES.get('/api/v1/keys')
async def list_keys(request: web.Request) -> web.Response:
    """List the API keys that work, without the keys."""
    parts = request.app[PARTS]
    caller = _manager(parts, request)
    return web.json_response([schemas.key_body(key) for key in parts.store.robot_keys(caller)])


@ROUTES.delete('/api/v1/keys/{key_id}')
async def revoke_key(request: web.Request) -> web.Response:
    """Make an API key useless and end the sessions that it is used for."""
    parts = request.app[PARTS]
    caller = _manager(parts, request)
    parts.limit(parts.limits.key_writes, caller.identity)
    key_id = request.match_info['key_id']
    if not parts.store.revoke_robot_key(key_id, caller, parts.wall_clock()):
        raise ApiError(404, 'Key not found')
    await parts.broker.let_revoked_go()
    return web.Response(status=204)


# --- operator tokens: for administrators -------------------------------------------------------


def _administrator(parts: Parts, request: web.Request) -> OperatorCaller:
    caller = parts.operator(request)
    if caller.role is not Role.ADMIN:
        raise ApiError(403, 'Your role does not allow this')
    return caller


@ROUTES.post('/api/v1/operators')
async def create_operator(request: web.Request) -> web.Response:
    """Make an operator token, shown this once."""
    parts = request.app[PARTS]
    caller = _administrator(parts, request)
    _check_may_mint(caller)
    parts.limit(parts.limits.key_writes, caller.identity)
    body = await read_json(request)
    sub = schemas.required_name(body, 'operator_id')
    tenant = schemas.required_name(body, 'tenant') if body.get('tenant') is not None else None
    role, life_s, now_s = schemas.token_role(body), schemas.token_life_s(body), parts.wall_clock()
    token = parts.store.create_operator_token(
        sub=sub,
        role=role,
        tenant_name=tenant,
        now_s=now_s,
        expires_at_s=None if life_s is None else now_s + life_s,
    )
    record = parts.store.token_record(token)
    return web.json_response({**schemas.token_body(record), 'token': token}, status=201)


@ROUTES.get('/api/v1/operators')
async def list_operators(request: web.Request) -> web.Response:
    """List the operator tokens that work, without the tokens."""
    parts = request.app[PARTS]
    caller = _administrator(parts, request)
    tokens = parts.store.operator_tokens(caller, parts.wall_clock())
    return web.json_response([schemas.token_body(token) for token in tokens])


@ROUTES.delete('/api/v1/operators/{token_id}')
async def revoke_operator(request: web.Request) -> web.Response:
    """Make an operator token useless and let go whoever came with it."""
    parts = request.app[PARTS]
    caller = _administrator(parts, request)
    parts.limit(parts.limits.key_writes, caller.identity)
    token_id = request.match_info['token_id']
    if not parts.store.revoke_operator_token(token_id, caller, parts.wall_clock()):
        raise ApiError(404, 'Token not found')
    await parts.broker.let_revoked_go()
    return web.Response(status=204)
