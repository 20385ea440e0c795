"""The API as an OpenAPI 3.1 document: what docs/protocol.md says, for programs."""

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

from dataclasses import dataclass, field
from typing import Any, Final

from teleop_webrtc_bridge.broker.http.openapi_schemas import (
    all_of,
    BRIDGED,
    CONTROL,
    HEALTH,
    ICE,
    JOINED,
    KEY,
    LABEL,
    ME,
    NAME,
    NOTHING,
    object,
    OK,
    or_null,
    PERSON,
    ROLE,
    ROW,
    Schema,
    SDP,
    SIGN_IN,
    SNAPSHOT,
    TEXT,
    TOKEN,
    VIEWER_ID,
)
from teleop_webrtc_bridge.core.codec import MAX_HTTP_BODY_BYTES

__all__ = ['document']

API: Final = '/api/v1'
ROBOT: Final = 'robotApiKey'
OPERATOR: Final = 'operatorToken'
RETRY_AFTER: Final = {'Retry-After': {'required': True, 'schema': {'type': 'integer'}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One method of one path."""

    method: str
    path: str
    summary: str
    callers: tuple[str, ...] = ()
    """Any of these; none: anybody."""
    request: Schema | None = None
    answer: int = 200
    schema: Schema | None = None
    errors: tuple[int, ...] = field(default=())
    """Beside those that all calls with these callers and a body have."""
    others: dict[str, Any] = field(default_factory=dict)
    """Answers that look like no others."""


_SESSION: Final = f'{API}/sessions/{{session_id}}'

_ROBOT_CALLS: Final = (
    _Call(
        method='post',
        path=f'{API}/sessions',
        summary='Dial in',
        callers=(ROBOT,),
        request=object(
            ('robot_name', 'sdp_offer'),
            robot_name=NAME,
            robot_id=LABEL,
            robot_type=or_null({'type': 'string', 'maxLength': 64}),
            instance_id=LABEL,
            video_codecs=or_null({'type': 'array', 'items': TEXT}),
            sdp_offer=SDP,
        ),
        answer=201,
        schema=all_of(session_id=TEXT, sdp_answer=TEXT, cf_session_id=TEXT, ice_servers=ICE),
        errors=(400, 403, 502),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/heartbeat',
        summary='Stay, and hear what to open',
        callers=(ROBOT,),
        request=object(wait_s=or_null({'type': 'number', 'minimum': 0})),
        schema=SNAPSHOT,
        errors=(404, 409),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/renegotiate-robot',
        summary='Answer a renegotiate_offer',
        callers=(ROBOT,),
        request=object(('sdp_answer',), sdp_answer=SDP),
        schema=OK,
        errors=(400, 404, 409, 502),
    ),
    _Call(
        method='delete',
        path=_SESSION,
        summary='Hang up',
        callers=(ROBOT,),
        answer=204,
        errors=(404, 409),
    ),
)
_SESSION_CALLS: Final = (
    _Call(
        method='get',
        path=f'{API}/sessions',
        summary='List robots',
        callers=(OPERATOR,),
        schema={'type': 'array', 'items': ROW},
    ),
    _Call(
        method='get',
        path=f'{_SESSION}/status',
        summary='Show one robot',
        callers=(OPERATOR,),
        schema=ROW,
        errors=(404,),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/join',
        summary='Take the operator slot, or watch',
        callers=(OPERATOR,),
        request=object(('sdp_offer',), role={'enum': ['operator', 'viewer']}, sdp_offer=SDP),
        schema=JOINED,
        errors=(400, 403, 404, 409, 502),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/bridge-datachannel',
        summary='Open the data channels',
        callers=(OPERATOR,),
        request=object(cf_session_id=VIEWER_ID),
        schema=BRIDGED,
        errors=(403, 404, 409, 502),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/renegotiate-answer',
        summary='Answer a video_offer',
        callers=(OPERATOR,),
        request=object(('sdp_answer',), sdp_answer=SDP, cf_session_id=VIEWER_ID),
        schema=OK,
        errors=(400, 403, 404, 409, 502),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/op-heartbeat',
        summary='Stay',
        callers=(OPERATOR,),
        request=object(cf_session_id=VIEWER_ID),
        schema=object(('ack',), ack={'const': True}, video_reason=TEXT),
        errors=(403, 404),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/leave',
        summary='Free the slot',
        callers=(OPERATOR,),
        request=object(cf_session_id=VIEWER_ID),
        schema=all_of(session_id=TEXT, state={'enum': ['idle', 'active']}),
        errors=(404,),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/request-control',
        summary='Ask for control; repeat it',
        callers=(OPERATOR,),
        request=NOTHING,
        schema=CONTROL,
        errors=(403, 404),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/grant-control',
        summary='Let who asks take over',
        callers=(OPERATOR,),
        request=PERSON,
        schema=OK,
        errors=(403, 404, 409),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/take-control',
        summary='Take control as an administrator',
        callers=(OPERATOR,),
        request=NOTHING,
        schema=CONTROL,
        errors=(403, 404),
    ),
    _Call(
        method='post',
        path=f'{_SESSION}/remove-viewer',
        summary='Put somebody who watches out for ten minutes',
        callers=(OPERATOR,),
        request=PERSON,
        schema=all_of(removed={'type': 'integer', 'minimum': 1}),
        errors=(403, 404, 409),
    ),
)
_MANAGING_CALLS: Final = (
    _Call(
        method='post',
        path=f'{API}/keys',
        summary='Make a robot API key',
        callers=(OPERATOR,),
        request=object(('name',), name=NAME, robot_id=LABEL),
        answer=201,
        schema=all_of(**KEY, api_key=TEXT),
        errors=(403, 409),
    ),
    _Call(
        method='get',
        path=f'{API}/keys',
        summary='List robot API keys',
        callers=(OPERATOR,),
        schema=all_of(keys={'type': 'array', 'items': all_of(**KEY)}),
        errors=(403,),
    ),
    _Call(
        method='delete',
        path=f'{API}/keys/{{key_id}}',
        summary='Revoke a robot API key',
        callers=(OPERATOR,),
        answer=204,
        errors=(403, 404),
    ),
    _Call(
        method='post',
        path=f'{API}/operators',
        summary='Make an operator token',
        callers=(OPERATOR,),
        request=object(
            ('operator_id',),
            operator_id=NAME,
            role=ROLE,
            tenant=or_null(NAME),
            expires_in_s=or_null({'type': 'number', 'exclusiveMinimum': 0}),
        ),
        answer=201,
        schema=all_of(**TOKEN, token=TEXT),
        errors=(403, 409),
    ),
    _Call(
        method='get',
        path=f'{API}/operators',
        summary='List operator tokens',
        callers=(OPERATOR,),
        schema={'type': 'array', 'items': all_of(**TOKEN)},
        errors=(403,),
    ),
    _Call(
        method='delete',
        path=f'{API}/operators/{{token_id}}',
        summary='Revoke an operator token',
        callers=(OPERATOR,),
        answer=204,
        errors=(403, 404),
    ),
)
_COMMON_CALLS: Final = (
    _Call(
        method='get',
        path=f'{API}/sessions/turn-credentials',
        summary='Tell the ICE servers',
        callers=(ROBOT, OPERATOR),
        schema=all_of(ice_servers=ICE),
    ),
    _Call(
        method='get',
        path=f'{API}/auth/config',
        summary='Tell how people sign in',
        schema=SIGN_IN,
    ),
    _Call(
        method='get',
        path=f'{API}/auth/me',
        summary='Tell as whom the caller is known',
        callers=(OPERATOR,),
        schema=ME,
    ),
    _Call(
        method='get',
        path=f'{API}/health',
        summary='Say that the broker runs, and whether its database does',
        schema=HEALTH,
        others={
            '503': {
                'description': 'The database fails, and nobody is let in any more',
                'headers': RETRY_AFTER,
                'content': {'application/json': {'schema': HEALTH}},
            }
        },
    ),
    _Call(method='get', path=f'{API}/openapi.json', summary='This', schema={'type': 'object'}),
)
CALLS: Final = _COMMON_CALLS + _ROBOT_CALLS + _SESSION_CALLS + _MANAGING_CALLS

ERRORS: Final = {
    400: 'The session description cannot be used',
    401: 'The key or token is unknown, missing, expired or revoked',
    403: 'The caller may not do this, or another site has asked',
    404: "There is none, or it is another tenant's",
    408: 'The request came too slowly',
    409: 'Not in this state, or there are too many',
    413: f'The body is larger than {MAX_HTTP_BODY_BYTES} bytes',
    421: 'The broker does not know the Host by its setting public_urls',
    422: 'The body is not as described',
    429: 'Too many; see Retry-After',
    502: 'The media backend has failed',
    503: 'The database fails',
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    return {
        'openapi': '3.1.0',
        'info': {'title': 'Teleop broker', 'version': '1', 'license': {'name': 'Apache-2.0'}},
        # From where this document is: a proxy may have put all of it below a path.
        'servers': [{'url': '../..'}],
        'paths': paths,
        'components': {
            'schemas': {'Error': all_of(detail=TEXT)},
            'securitySchemes': {
                ROBOT: {'type': 'apiKey', 'in': 'header', 'name': 'X-Robot-API-Key'},
                OPERATOR: {'type': 'http', 'scheme': 'bearer'},
            },
        },
    }


def _operation(call: _Call) -> dict[str, Any]:
    errors = {*call.errors, 421, 429} | ({401, 503} if call.callers else set())
    if OPERATOR in call.callers:
        errors.add(403)
    if call.method != 'get':
        errors |= {403, 408, 413}
    if call.request is not None:
        errors.add(422)
    answer: dict[str, Any] = {'description': 'Done'}
    if call.schema is not None:
        answer['content'] = {'application/json': {'schema': call.schema}}
    operation: dict[str, Any] = {
        'operationId': f'{call.method} {call.path}',
        'summary': call.summary,
        'security': [{caller: []} for caller in call.callers],
        'responses': {
            str(call.answer): answer,
            **{str(status): _error(status) for status in sorted(errors)},
            **call.others,
        },
    }
    names = [part[1:-1] for part in call.path.split('/') if part.startswith('{')]
    if names:
        operation['parameters'] = [
            {'name': name, 'in': 'path', 'required': True, 'schema': TEXT} for name in names
        ]
    if call.request is not None:
        operation['requestBody'] = {
            'required': bool(call.request['required']),
            'content': {'application/json': {'schema': call.request}},
        }
    return operation


def _error(status: int) -> dict[str, Any]:
    error: dict[str, Any] = {
        'description': ERRORS[status],
        'content': {'application/json': {'schema': {'$ref': '#/components/schemas/Error'}}},
    }
    if status in (429, 503):
        error['headers'] = RETRY_AFTER
    elif status == 403:
        # For whoever was put out of a robot's viewers.
        error['headers'] = {'Retry-After': {'required': False, 'schema': {'type': 'integer'}}}
    return error
