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

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal, NotRequired, TypedDict

from teleop_webrtc_bridge.broker.access.authenticator import SignIn
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http.routes import Call, RobotCall, Routes
from teleop_webrtc_bridge.broker.http.schema import (
    finite_number,
    ice_server_fields,
    IceServerFields,
    Kind,
    Label,
    NAME,
    Name,
    Ok,
    one_of,
    OPERATOR,
    or_blank,
    or_null,
    ROBOT,
    schema_of,
    Sdp,
    Shape,
    StreamId,
)
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller
from teleop_webrtc_bridge.broker.registry.sessions import LinkQuality
from teleop_webrtc_bridge.broker.service import RobotDetails
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['MAX_WAIT_S', 'ROUTES', 'ROUTES_WITH_OPERATORS', 'DialIn', 'Heartbeat']

MAX_WAIT_S: Final = 5.0

ROUTES: Final = Routes(SignIn.robot, (ROBOT,))
ROUTES_WITH_OPERATORS: Final = Routes(SignIn.anyone, (ROBOT, OPERATOR))


def _known_codecs(value: object) -> tuple[VideoCodec, ...] | None:
    if not isinstance(value, list) or not all(isinstance(codec, str) for codec in value):
        return None
    # Unknown names may be those of later versions.
    return tuple(codec for codec in VideoCodec if codec.value in value)


CODECS: Final = or_null(Kind(schema_of(list[str]), _known_codecs, 'a list of names is accepted'))


@dataclass(frozen=True, slots=True, kw_only=True)
class DialIn:
    """A robot's description of itself, sent when it dials in."""

    robot_name: Name
    robot_id: Label = None
    robot_type: Annotated[str | None, or_blank(NAME)] = None
    instance_id: Label = None
    video_codecs: Annotated[tuple[VideoCodec, ...] | None, CODECS] = None
    sdp_offer: Sdp

    def details(self, caller: RobotCaller) -> RobotDetails:
        """
        Return the robot's details, with the ``robot_id`` to which its key may be bound.

        :raises ApiError: 403 if the key is bound to another robot.
        """
        robot = RobotDetails(
            robot_id=self.robot_id or '',
            robot_name=self.robot_name,
            robot_type=self.robot_type,
            instance_id=self.instance_id,
            video_codecs=self.video_codecs or (),
        )
        if caller.robot_id is None or robot.robot_id == caller.robot_id:
            return robot
        if robot.robot_id == '':
            return replace(robot, robot_id=caller.robot_id)
        raise ApiError(403, f'This API key is for robot_id {caller.robot_id!r} only')


class NewSession(TypedDict):
    session_id: str
    sdp_answer: str
    cf_session_id: str
    ice_servers: list[IceServerFields]


@ROUTES.add('post', '/api/v1/sessions', body=DialIn, status=201, errors=(400, 403, 502))
async def create_session(call: RobotCall) -> NewSession:
    """Dial in."""
    parts, caller = call.parts, call.caller
    parts.limit(parts.limits.sessions_of_key, caller.key_id)
    body = await call.read(DialIn)
    robot = body.details(caller)
    # Per robot as well: all robots of a key dial in at once when the broker restarts.
    name = robot.robot_id or robot.instance_id or ''
    parts.limit(parts.limits.sessions, f'robot {caller.key_id} {name}')
    session_id, media = await parts.broker.create_session(
        caller, robot, call.usable('sdp_offer', body.sdp_offer), call.address
    )
    return {
        'session_id': session_id,
        'sdp_answer': media.sdp_answer,
        'cf_session_id': media.media_id,
        'ice_servers': ice_server_fields(parts.ice_servers),
    }


def _bounded_wait_s(value: object) -> float | None:
    number = finite_number(value)
    return None if number is None or number < 0.0 else min(MAX_WAIT_S, number)


WAIT_S: Final = or_null(
    Kind(
        {'type': 'number', 'minimum': 0},
        _bounded_wait_s,
        f'a number of seconds from 0 to {MAX_WAIT_S:g} is accepted',
    )
)
#: A heartbeat keeps the session alive, so a malformed statistic is no reason to refuse it.
STATISTIC: Final = Kind(
    {'description': 'Counts as unknown, unless it is a number'}, finite_number, allowed=None
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    wait_s: Annotated[float | None, WAIT_S] = None
    rtt_ms: Annotated[float | None, STATISTIC] = None
    packet_loss_pct: Annotated[float | None, STATISTIC] = None


class Snapshot(TypedDict):
    ack: Literal[True]
    cmd_channel_subscriber_id: StreamId | None
    state_channel_subscriber_id: StreamId | None
    state_back_channel_publisher_id: StreamId | None
    map_channel_publisher_id: StreamId | None
    renegotiate_offer: str | None
    control_epoch: Annotated[int | None, Shape({'type': 'integer'})]
    video_codec: NotRequired[Annotated[str, one_of(*(codec.value for codec in VideoCodec))]]


@ROUTES.add('post', '/api/v1/sessions/{session_id}/heartbeat', body=Heartbeat, errors=(404, 409))
async def heartbeat(call: RobotCall) -> Snapshot:
    """Keep the session alive, and learn the desired state."""
    body = await call.read(Heartbeat)
    broker = call.parts.broker
    link = LinkQuality(rtt_ms=body.rtt_ms, packet_loss_pct=body.packet_loss_pct)
    await broker.wait_for_news(call.caller, call.session_id, link, body.wait_s or 0.0)
    if call.request.transport is None or call.request.transport.is_closing():
        # The robot does not get this answer, so it must not count as sent.
        raise ApiError(408, 'The robot hung up')
    answer = broker.answer_heartbeat(call.caller, call.session_id)
    snapshot: Snapshot = {
        'ack': True,
        'cmd_channel_subscriber_id': answer.channels.cmd,
        'state_channel_subscriber_id': answer.channels.state,
        'state_back_channel_publisher_id': answer.channels.state_back,
        'map_channel_publisher_id': answer.channels.map,
        'renegotiate_offer': answer.renegotiate_offer,
        'control_epoch': answer.control_epoch,
    }
    if answer.video_codec is not None:
        snapshot['video_codec'] = answer.video_codec.value
    return snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotAnswer:
    sdp_answer: Sdp


@ROUTES.add(
    'post',
    '/api/v1/sessions/{session_id}/renegotiate-robot',
    body=RobotAnswer,
    errors=(400, 404, 409, 502),
)
async def renegotiate_robot(call: RobotCall) -> Ok:
    """Answer a renegotiate_offer."""
    body = await call.read(RobotAnswer)
    sdp_answer = call.usable('sdp_answer', body.sdp_answer)
    await call.parts.broker.take_robot_answer(call.caller, call.session_id, sdp_answer)
    return {'ok': True}


@ROUTES.add(
    'delete', '/api/v1/sessions/{session_id:(?!turn-credentials$)[^/]+}', errors=(404, 409)
)
async def delete_session(call: RobotCall) -> None:
    """Hang up."""
    await call.parts.broker.delete_session(call.caller, call.session_id)


class IceServers(TypedDict):
    ice_servers: list[IceServerFields]


@ROUTES_WITH_OPERATORS.add('get', '/api/v1/sessions/turn-credentials')
async def turn_credentials(call: Call[RobotCaller | OperatorCaller]) -> IceServers:
    """Get the ICE servers."""
    parts, caller = call.parts, call.caller
    if isinstance(caller, RobotCaller):
        parts.limit(parts.limits.turn_credentials_of_key, caller.key_id)
    else:
        parts.limit(parts.limits.turn_credentials, caller.identity)
    return {'ice_servers': ice_server_fields(parts.ice_servers)}
