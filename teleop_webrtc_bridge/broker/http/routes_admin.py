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

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, UTC
import json
from typing import Annotated, Final, TypedDict

from teleop_webrtc_bridge.broker.access.audit import about_key, about_token, AuditAction
from teleop_webrtc_bridge.broker.access.authenticator import SignIn
from teleop_webrtc_bridge.broker.access.store import KeyRecord, Store, TokenRecord
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http.routes import OperatorCall, Routes
from teleop_webrtc_bridge.broker.http.schema import (
    choice,
    finite_number,
    Kind,
    Label,
    NAME,
    Name,
    OPERATOR,
    or_null,
    RoleName,
    ROLES,
    Time,
)
from teleop_webrtc_bridge.broker.identity import Role

__all__ = ['MAX_TOKEN_S', 'ROUTES', 'NewKey', 'NewToken']

MAX_TOKEN_S: Final = 100.0 * 365 * 86400

ROUTES: Final = Routes(SignIn.operator, (OPERATOR,))


def _check_may_manage(call: OperatorCall, *, tokens: bool = False, mint: bool = False) -> None:
    """
    Check whether the caller may manage keys or tokens.

    :param tokens: Tokens instead of keys.
    :param mint: Whether they must also be allowed to make new ones.
    :raises ApiError: 403.
    """
    caller = call.caller
    if not (caller.role is Role.ADMIN if tokens else caller.may_control):
        raise ApiError(403, 'Your role does not allow this')
    if mint and not caller.may_mint:
        raise ApiError(403, "Only the broker's own operator tokens may make keys and tokens")


def _record(call: OperatorCall, action: AuditAction, detail: str, robot_id: str = '') -> None:
    """Add a line to the audit trail."""
    call.parts.audit.record(
        action, call.caller.identity, robot_id=robot_id, address=call.address, detail=detail
    )


def _render_list(rows: Iterable[object]) -> bytes:
    """Return a list as JSON: row by row, because one call for all would block every thread."""
    return f'[{", ".join(json.dumps(row) for row in rows)}]'.encode()


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


# --- robot API keys ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    name: Name
    robot_id: Label = None


class Key(TypedDict):
    id: str
    name: str
    key_prefix: str
    robot_id: str | None
    created_at: Time
    last_used_at: Time | None


class CreatedKey(Key):
    api_key: str


class Keys(TypedDict):
    keys: list[Key]
    """Within an object, because old consoles do not accept a bare list."""


def _key(record: KeyRecord, used_at_s: float | None = None) -> Key:
    """
    Render a key.

    :param used_at_s: When it was last used, if the record does not have this yet.
    """
    used_at_s = record.last_used_at_s if used_at_s is None else used_at_s
    return {
        'id': record.key_id,
        'name': record.name,
        'key_prefix': record.prefix,
        'robot_id': record.robot_id,
        'created_at': _iso_time(record.created_at_s),
        'last_used_at': None if used_at_s is None else _iso_time(used_at_s),
    }


@ROUTES.add('post', '/api/v1/keys', body=NewKey, status=201, errors=(403, 409))
async def create_key(call: OperatorCall) -> CreatedKey:
    """Make a robot API key."""
    parts, caller = call.parts, call.caller
    _check_may_manage(call, mint=True)
    parts.limit(parts.limits.key_writes, caller.identity)
    body = await call.read(NewKey)
    now_s = parts.wall_clock()
    record, api_key = await parts.database.write(
        lambda store: store.create_robot_key(
            name=body.name,
            robot_id=body.robot_id,
            owner=caller.tenant,
            now_s=now_s,
            most=parts.caps.keys_per_tenant,
        )
    )
    _record(call, AuditAction.KEY_CREATED, about_key(record), record.robot_id or '')
    return {**_key(record), 'api_key': api_key}


@ROUTES.add('get', '/api/v1/keys', errors=(403,))
async def list_keys(call: OperatorCall) -> Annotated[bytes, Keys]:
    """List robot API keys."""
    _check_may_manage(call)
    used = call.parts.key_usage.waiting()

    def render(store: Store) -> bytes:
        keys = store.robot_keys(call.caller)
        return _render_list(_key(key, used.get(key.key_id)) for key in keys)

    return b'{"keys": %s}' % await call.parts.database.read(render)


@ROUTES.add('delete', '/api/v1/keys/{key_id}', errors=(403, 404))
async def revoke_key(call: OperatorCall) -> None:
    """Revoke a robot API key."""
    parts, caller = call.parts, call.caller
    _check_may_manage(call)
    parts.limit(parts.limits.key_writes, caller.identity)
    key_id, now_s = call.request.match_info['key_id'], parts.wall_clock()
    record = await parts.database.write(
        lambda store: store.revoke_robot_key(key_id, caller, now_s)
    )
    if record is None:
        raise ApiError(404, 'Key not found')
    _record(call, AuditAction.KEY_REVOKED, about_key(record), record.robot_id or '')
    await parts.broker.let_revoked_go()


# --- operator tokens: for administrators -------------------------------------------------------


def _bounded_life_s(value: object) -> float | None:
    number = finite_number(value)
    return number if number is not None and 0.0 < number <= MAX_TOKEN_S else None


LIFE_S: Final = or_null(
    Kind(
        {'type': 'number', 'exclusiveMinimum': 0},
        _bounded_life_s,
        'a number of seconds above 0 is accepted',
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token to make; without ``expires_in_s``, it does not expire."""

    operator_id: Name
    role: Annotated[str, choice(*ROLES)] = Role.OPERATOR.value
    tenant: Annotated[str | None, or_null(NAME)] = None
    expires_in_s: Annotated[float | None, LIFE_S] = None


class Token(TypedDict):
    id: str
    operator_id: str
    role: RoleName
    tenant: str
    created_at: Time
    expires_at: Time | None


class CreatedToken(Token):
    token: str


def _token(record: TokenRecord) -> Token:
    expires_at_s = record.expires_at_s
    return {
        'id': record.token_id,
        'operator_id': record.sub,
        'role': record.role.value,
        'tenant': record.tenant,
        'created_at': _iso_time(record.created_at_s),
        'expires_at': None if expires_at_s is None else _iso_time(expires_at_s),
    }


@ROUTES.add('post', '/api/v1/operators', body=NewToken, status=201, errors=(403, 409))
async def create_operator(call: OperatorCall) -> CreatedToken:
    """Make an operator token."""
    parts = call.parts
    _check_may_manage(call, tokens=True, mint=True)
    parts.limit(parts.limits.key_writes, call.caller.identity)
    body, now_s = await call.read(NewToken), parts.wall_clock()
    life_s = body.expires_in_s

    def create(store: Store) -> tuple[TokenRecord, str]:
        token = store.create_operator_token(
            sub=body.operator_id,
            role=Role(body.role),
            tenant_name=body.tenant,
            now_s=now_s,
            expires_at_s=None if life_s is None else now_s + life_s,
            most=parts.caps.tokens_per_tenant,
        )
        return store.token_record(token), token

    record, token = await parts.database.write(create)
    _record(call, AuditAction.TOKEN_CREATED, about_token(record))
    return {**_token(record), 'token': token}


@ROUTES.add('get', '/api/v1/operators', errors=(403,))
async def list_operators(call: OperatorCall) -> Annotated[bytes, list[Token]]:
    """List operator tokens."""
    _check_may_manage(call, tokens=True)
    now_s = call.parts.wall_clock()
    return await call.parts.database.read(
        lambda store: _render_list(map(_token, store.operator_tokens(call.caller, now_s)))
    )


@ROUTES.add('delete', '/api/v1/operators/{token_id}', errors=(403, 404))
async def revoke_operator(call: OperatorCall) -> None:
    """Revoke an operator token."""
    parts, caller = call.parts, call.caller
    _check_may_manage(call, tokens=True)
    parts.limit(parts.limits.key_writes, caller.identity)
    token_id, now_s = call.request.match_info['token_id'], parts.wall_clock()
    record = await parts.database.write(
        lambda store: store.revoke_operator_token(token_id, caller, now_s)
    )
    if record is None:
        raise ApiError(404, 'Token not found')
    _record(call, AuditAction.TOKEN_REVOKED, about_token(record))
    await parts.broker.let_revoked_go()
