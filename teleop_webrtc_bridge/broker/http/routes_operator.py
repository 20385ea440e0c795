"""The endpoints that operators call (docs/protocol.md §2)."""

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

from typing import Any

from aiohttp import web

from teleop_webrtc_bridge.broker.access.audit import AuditAction
from teleop_webrtc_bridge.broker.http import schemas
from teleop_webrtc_bridge.broker.http.middleware import caller_address, PARTS, Parts, read_json
from teleop_webrtc_bridge.broker.identity import OperatorCaller
from teleop_webrtc_bridge.broker.registry.sessions import Session

__all__ = ['ROUTES']

ROUTES = web.RouteTableDef()


@ROUTES.get('/api/v1/sessions')
async def list_sessions(request: web.Request) -> web.Response:
    """List the robots that an operator may drive."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    return web.json_response([_row(parts, caller, it) for it in parts.broker.sessions(caller)])


@ROUTES.get('/api/v1/sessions/{session_id}/status')
async def session_status(request: web.Request) -> web.Response:
    """Show one row of the list."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    session = parts.broker.session(caller, request.match_info['session_id'])
    return web.json_response(_row(parts, caller, session))


def _row(parts: Parts, caller: OperatorCaller, session: Session) -> dict[str, Any]:
    split = parts.broker.split_of(session.session_id)
    return schemas.session_row(session, caller, parts.clock(), split)


@ROUTES.post('/api/v1/sessions/{session_id}/join')
async def join(request: web.Request) -> web.Response:
    """Take the operator slot, or a viewer's place, and connect."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    parts.limit(parts.limits.sessions, caller.identity)
    body = await read_json(request)
    session_id = request.match_info['session_id']
    parts.broker.session(caller, session_id)  # unknown before malformed
    take_part = parts.broker.watch if schemas.join_role(body) == 'viewer' else parts.broker.join
    sdp_offer = parts.sdp(body, 'sdp_offer')
    answer = await take_part(caller, session_id, sdp_offer, caller_address(request))
    return web.json_response(schemas.join_body(answer, caller.sub, parts.ice_servers))


@ROUTES.post('/api/v1/sessions/{session_id}/bridge-datachannel')
async def bridge_data_channels(request: web.Request) -> web.Response:
    """Open the data channels between the robot and its operator."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    media_id = schemas.operator_media_id(await read_json(request))
    answer = await parts.broker.bridge(caller, request.match_info['session_id'], media_id)
    return web.json_response(schemas.bridge_body(answer))


@ROUTES.post('/api/v1/sessions/{session_id}/renegotiate-answer')
async def renegotiate_answer(request: web.Request) -> web.Response:
    """Take an operator's answer to a ``video_offer``."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    body = await read_json(request)
    session_id = request.match_info['session_id']
    parts.broker.session(caller, session_id)
    await parts.broker.take_operator_answer(
        caller,
        session_id,
        schemas.operator_media_id(body),
        parts.sdp(body, 'sdp_answer'),
    )
    return web.json_response({'ok': True})


@ROUTES.post('/api/v1/sessions/{session_id}/op-heartbeat')
async def operator_heartbeat(request: web.Request) -> web.Response:
    """Note that the operator is there."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    media_id = schemas.operator_media_id(await read_json(request))
    reason = parts.broker.operator_heartbeat(caller, request.match_info['session_id'], media_id)
    return web.json_response({'ack': True, **schemas.video_reason(reason)})


@ROUTES.post('/api/v1/sessions/{session_id}/leave')
async def leave(request: web.Request) -> web.Response:
    """Free the operator slot."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    media_id = schemas.operator_media_id(await read_json(request))
    session_id = request.match_info['session_id']
    state = await parts.broker.leave(caller, session_id, media_id)
    return web.json_response({'session_id': session_id, 'state': state.value})


# --- who has control ---------------------------------------------------------------------------


@ROUTES.post('/api/v1/sessions/{session_id}/request-control')
async def request_control(request: web.Request) -> web.Response:
    """Ask for control; to be repeated until it is granted."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    await read_json(request)
    state, holder = parts.broker.request_control(caller, request.match_info['session_id'])
    return web.json_response({'state': state.value, 'operator_id': schemas.name_of(holder)})


@ROUTES.post('/api/v1/sessions/{session_id}/grant-control')
async def grant_control(request: web.Request) -> web.Response:
    """Let somebody who asks take over with the next join."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    body = await read_json(request)
    session_id = request.match_info['session_id']
    parts.broker.session(caller, session_id)
    granted = parts.broker.grant_control(caller, session_id, schemas.named_person(body))
    _record(parts, request, AuditAction.GRANT, caller, f'to {granted}')
    return web.json_response({'ok': True})


@ROUTES.post('/api/v1/sessions/{session_id}/take-control')
async def take_control(request: web.Request) -> web.Response:
    """Let an administrator take over with the next join, whoever drives."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    await read_json(request)
    parts.broker.take_control(caller, request.match_info['session_id'])
    _record(parts, request, AuditAction.TAKE_OVER, caller, 'with the next join')
    return web.json_response({'state': 'granted', 'operator_id': caller.sub})


@ROUTES.post('/api/v1/sessions/{session_id}/remove-viewer')
async def remove_viewer(request: web.Request) -> web.Response:
    """Put somebody who watches out, for ten minutes."""
    parts = request.app[PARTS]
    caller = parts.operator(request)
    body = await read_json(request)
    session_id = request.match_info['session_id']
    parts.broker.session(caller, session_id)
    removed = await parts.broker.remove_viewer(caller, session_id, schemas.named_person(body))
    _record(parts, request, AuditAction.VIEWER_REMOVED, caller, str(removed.who))
    return web.json_response({'removed': removed.count})


def _record(
    parts: Parts, request: web.Request, action: AuditAction, caller: OperatorCaller, detail: str
) -> None:
    """Add a line about a session to the audit trail."""
    session = parts.broker.session(caller, request.match_info['session_id'])
    parts.audit.record(
        action,
        caller.identity,
        robot_id=session.identity.robot_id,
        session_id=session.session_id,
        address=caller_address(request),
        detail=detail,
    )
