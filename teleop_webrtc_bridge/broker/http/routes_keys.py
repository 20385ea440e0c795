"""The endpoints that manage robot API keys and operator tokens (docs/protocol.md §2)."""

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

from collections.abc import Iterable, Iterator
import json
from typing import Any

from aiohttp import web

from teleop_webrtc_bridge.broker.access.audit import about_key, about_token, AuditAction
from teleop_webrtc_bridge.broker.access.store import KeyRecord, Store, TokenRecord
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http import schemas
from teleop_webrtc_bridge.broker.http.middleware import caller_address, PARTS, Parts, read_json
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


def _as_json(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return a list as JSON: row by row, because one call for all would stop every thread."""
    return f'[{", ".join(json.dumps(row) for row in rows)}]'.encode()


def _record_key(
    parts: Parts,
    request: web.Request,
    action: AuditAction,
    caller: OperatorCaller,
    record: KeyRecord,
) -> None:
    parts.audit.record(
        action,
        caller.identity,
        robot_id=record.robot_id or '',
        address=caller_address(request),
        detail=about_key(record),
    )


def _record_token(
    parts: Parts,
    request: web.Request,
    action: AuditAction,
    caller: OperatorCaller,
    record: TokenRecord,
) -> None:
    parts.audit.record(
        action, caller.identity, address=caller_address(request), detail=about_token(record)
    )


@ROUTES.post('/api/v1/keys')
async def create_key(request: web.Request) -> web.Response:
    """Make a robot API key, shown this once."""
    parts = request.app[PARTS]
    caller = _manager(parts, request)
    _check_may_mint(caller)
    parts.limit(parts.limits.key_writes, caller.identity)
    body = await read_json(request)
    name, robot_id = schemas.required_name(body, 'name'), schemas.optional_robot_id(body)
    now_s = parts.wall_clock()
    record, api_key = await parts.database.write(
        lambda store: store.create_robot_key(
            name=name,
            robot_id=robot_id,
            owner=caller.tenant,
            now_s=now_s,
            most=parts.caps.keys_per_tenant,
        )
    )
    _record_key(parts, request, AuditAction.KEY_CREATED, caller, record)
    return web.json_response({**schemas.key_body(record), 'api_key': api_key}, status=201)


@ROUTES.get('/api/v1/keys')
async def list_keys(request: web.Request) -> web.Response:
    """List the API keys that work, without the keys."""
    parts = request.app[PARTS]
    caller = _manager(parts, request)
    used = parts.key_usage.waiting()

    def rows(store: Store) -> Iterator[dict[str, Any]]:
        return (schemas.key_body(key, used.get(key.key_id)) for key in store.robot_keys(caller))

    keys = await parts.database.read(lambda store: _as_json(rows(store)))
    # An object, which old consoles expect: a list of its own they take for none.
    return web.Response(body=b'{"keys": %s}' % keys, content_type='application/json')


@ROUTES.delete('/api/v1/keys/{key_id}')
async def revoke_key(request: web.Request) -> web.Response:
    """Make an API key useless and end the sessions that it is used for."""
    parts = request.app[PARTS]
    caller = _manager(parts, request)
    parts.limit(parts.limits.key_writes, caller.identity)
    key_id, now_s = request.match_info['key_id'], parts.wall_clock()
    record = await parts.database.write(
        lambda store: store.revoke_robot_key(key_id, caller, now_s)
    )
    if record is None:
        raise ApiError(404, 'Key not found')
    _record_key(parts, request, AuditAction.KEY_REVOKED, caller, record)
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

    def create(store: Store) -> tuple[TokenRecord, str]:
        token = store.create_operator_token(
            sub=sub,
            role=role,
            tenant_name=tenant,
            now_s=now_s,
            expires_at_s=None if life_s is None else now_s + life_s,
            most=parts.caps.tokens_per_tenant,
        )
        return store.token_record(token), token

    record, token = await parts.database.write(create)
    _record_token(parts, request, AuditAction.TOKEN_CREATED, caller, record)
    return web.json_response({**schemas.token_body(record), 'token': token}, status=201)


@ROUTES.get('/api/v1/operators')
async def list_operators(request: web.Request) -> web.Response:
    """List the operator tokens that work, without the tokens."""
    parts = request.app[PARTS]
    caller = _administrator(parts, request)
    now_s = parts.wall_clock()
    return web.Response(
        body=await parts.database.read(
            lambda store: _as_json(map(schemas.token_body, store.operator_tokens(caller, now_s)))
        ),
        content_type='application/json',
    )


@ROUTES.delete('/api/v1/operators/{token_id}')
async def revoke_operator(request: web.Request) -> web.Response:
    """Make an operator token useless and let go whoever came with it."""
    parts = request.app[PARTS]
    caller = _administrator(parts, request)
    parts.limit(parts.limits.key_writes, caller.identity)
    token_id, now_s = request.match_info['token_id'], parts.wall_clock()
    record = await parts.database.write(
        lambda store: store.revoke_operator_token(token_id, caller, now_s)
    )
    if record is None:
        raise ApiError(404, 'Token not found')
    _record_token(parts, request, AuditAction.TOKEN_REVOKED, caller, record)
    await parts.broker.let_revoked_go()
    return web.Response(status=204)
