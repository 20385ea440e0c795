"""The endpoints that robots call (docs/protocol.md §2)."""

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

from dataclasses import replace

from aiohttp import web

from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http import schemas
from teleop_webrtc_bridge.broker.http.middleware import caller_address, PARTS, read_json
from teleop_webrtc_bridge.broker.identity import RobotCaller
from teleop_webrtc_bridge.broker.service import RobotDetails

__all__ = ['ROUTES']

ROUTES = web.RouteTableDef()


@ROUTES.post('/api/v1/sessions')
async def create_session(request: web.Request) -> web.Response:
    """Answer a robot that dials in."""
    parts = request.app[PARTS]
    caller = parts.robot(request)
    parts.limit(parts.limits.sessions_of_key, caller.key_id)
    body = await read_json(request)
    robot = _bound_to_key(schemas.robot_details(body), caller)
    # Per robot as well: a fleet under one key comes back at once when the broker restarts.
    name = robot.robot_id or robot.instance_id or ''
    parts.limit(parts.limits.sessions, f'robot {caller.key_id} {name}')
    sdp_offer = parts.sdp(body, 'sdp_offer')
    session_id, media = await parts.broker.create_session(
        caller, robot, sdp_offer, caller_address(request)
    )
    return web.json_response(
        schemas.session_body(session_id, media, parts.ice_servers), status=201
    )


def _bound_to_key(robot: RobotDetails, caller: RobotCaller) -> RobotDetails:
    """Apply the ``robot_id`` that a key may be bound to."""
    if caller.robot_id is None or robot.robot_id == caller.robot_id:
        return robot
    if robot.robot_id == '':
        return replace(robot, robot_id=caller.robot_id)
    raise ApiError(403, f'This API key is for robot_id {caller.robot_id!r} only')


@ROUTES.post('/api/v1/sessions/{session_id}/heartbeat')
async def heartbeat(request: web.Request) -> web.Response:
    """Keep a session alive and tell the robot what it should look like."""
    parts = request.app[PARTS]
    caller = parts.robot(request)
    body = await read_json(request)
    session_id = request.match_info['session_id']
    await parts.broker.wait_for_news(
        caller, session_id, schemas.link_quality(body), schemas.wait_s(body)
    )
    if request.transport is None or request.transport.is_closing():
        # Nobody gets this answer, so it must not count as sent.
        raise ApiError(408, 'The robot hung up')
    answer = parts.broker.answer_heartbeat(caller, session_id)
    return web.json_response(schemas.heartbeat_body(answer))


@ROUTES.post('/api/v1/sessions/{session_id}/renegotiate-robot')
async def renegotiate_robot(request: web.Request) -> web.Response:
    """Take a robot's answer to a ``renegotiate_offer``."""
    parts = request.app[PARTS]
    caller = parts.robot(request)
    sdp_answer = parts.sdp(await read_json(request), 'sdp_answer')
    await parts.broker.take_robot_answer(caller, request.match_info['session_id'], sdp_answer)
    return web.json_response({'ok': True})


# Not the neighbour of that name, which has a GET only.
@ROUTES.delete('/api/v1/sessions/{session_id:(?!turn-credentials$)[^/]+}')
async def delete_session(request: web.Request) -> web.Response:
    """End a session at its robot's wish."""
    parts = request.app[PARTS]
    caller = parts.robot(request)
    await parts.broker.delete_session(caller, request.match_info['session_id'])
    return web.Response(status=204)
