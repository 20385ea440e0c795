"""The endpoints that operators and viewers call (docs/protocol.md §2)."""

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

from dataclasses import dataclass
import re
from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict, TypeVar

from teleop_webrtc_bridge.broker.access.audit import AuditAction
from teleop_webrtc_bridge.broker.access.authenticator import SignIn
from teleop_webrtc_bridge.broker.configuration import OidcSettings
from teleop_webrtc_bridge.broker.http.routes import Call, OperatorCall, Routes
from teleop_webrtc_bridge.broker.http.schema import (
    choice,
    ice_server_fields,
    IceServerFields,
    MediaId,
    Nothing,
    Ok,
    one_of,
    OPERATOR,
    or_blank,
    or_null,
    read,
    RoleName,
    ROLES,
    Sdp,
    Shape,
    StreamId,
    TEXT,
    Time,
)
from teleop_webrtc_bridge.broker.identity import Role
from teleop_webrtc_bridge.broker.registry.operators import ControlState, open_requests
from teleop_webrtc_bridge.broker.registry.people import NamedPerson
from teleop_webrtc_bridge.broker.registry.sessions import Session

__all__ = [
    'ROUTES',
    'ROUTES_TO_SIGN_IN',
    'Join',
    'JoinName',
    'PeerAnswer',
    'Person',
    'sign_in_fields',
]

COGNITO: Final = re.compile(
    r'https://cognito-idp\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<pool>[\w-]+)', re.ASCII
)
ROUTES: Final = Routes(SignIn.operator, (OPERATOR,))
ROUTES_TO_SIGN_IN: Final = Routes()
SESSION: Final = '/api/v1/sessions/{session_id}'

_Body = TypeVar('_Body')

# --- signing in --------------------------------------------------------------------------------


class SignInConfig(TypedDict):
    """How people sign in: with a token of the broker or of an issuer."""

    sign_in: list[Annotated[str, one_of('token', 'oidc')]]
    issuer: str | None
    client_id: str | None
    region: NotRequired[str]
    """For old consoles, which know only Amazon Cognito."""
    user_pool_id: NotRequired[str]


@ROUTES_TO_SIGN_IN.add('get', '/api/v1/auth/config')
async def sign_in_config(call: Call[None]) -> SignInConfig:
    """Get how people sign in."""
    return sign_in_fields(call.parts.oidc)


def sign_in_fields(oidc: OidcSettings | None) -> SignInConfig:
    """Render how people sign in."""
    if oidc is None:
        return {'sign_in': ['token'], 'issuer': None, 'client_id': None}
    config: SignInConfig = {
        'sign_in': ['token', 'oidc'],
        'issuer': oidc.issuer,
        'client_id': oidc.client_id,
    }
    pool = COGNITO.fullmatch(oidc.issuer)
    if pool is not None:
        config['region'], config['user_pool_id'] = pool['region'], pool['pool']
    return config


class Me(TypedDict):
    sub: str
    role: RoleName


@ROUTES.add('get', '/api/v1/auth/me')
async def who_am_i(call: OperatorCall) -> Me:
    """Get the caller's identity."""
    return {'sub': call.caller.sub, 'role': call.caller.role.value}


# --- the list of robots ------------------------------------------------------------------------


class SplitFields(TypedDict):
    """The other half of a robot whose session is most likely only one half."""

    session_id: str
    robot_id: str
    lacks: Annotated[str, one_of('video', 'channels')]
    hint: str


class Watching(TypedDict):
    operator_id: str
    role: RoleName
    removable: NotRequired[bool]


class Row(TypedDict):
    session_id: str
    robot_id: str
    robot_name: str
    robot_type: str | None
    state: Annotated[str, one_of('idle', 'active')]
    operator_id: str | None
    operator_is_you: NotRequired[bool]
    rtt_ms: float | None
    packet_loss_pct: float | None
    created_at: Time
    control_epoch: int
    control_request: str | None
    viewers: int
    watching: list[Watching]
    split: NotRequired[Annotated[dict[str, Any], SplitFields]]


@ROUTES.add('get', '/api/v1/sessions')
async def list_sessions(call: OperatorCall) -> list[Row]:
    """List robots."""
    return [_row(call, session) for session in call.parts.broker.sessions(call.caller)]


@ROUTES.add('get', f'{SESSION}/status', errors=(404,))
async def session_status(call: OperatorCall) -> Row:
    """Show one robot."""
    return _row(call, _session(call))


def _session(call: OperatorCall) -> Session:
    """Return the session of a request, or raise ``SessionUnknown``."""
    return call.parts.broker.session(call.caller, call.session_id)


def _row(call: OperatorCall, session: Session) -> Row:
    robot, caller = session.identity, call.caller
    request = next(iter(open_requests(session, call.parts.clock())), None)
    may_remove_viewers = caller.role is Role.ADMIN or session.is_driven_by(caller.identity)
    row: Row = {
        'session_id': session.session_id,
        'robot_id': robot.robot_id,
        'robot_name': robot.robot_name,
        'robot_type': robot.robot_type,
        'state': session.state.value,
        'operator_id': None if session.holder is None else session.holder.sub,
        'rtt_ms': session.link.rtt_ms,
        'packet_loss_pct': session.link.packet_loss_pct,
        'created_at': robot.created_at,
        'control_epoch': session.control_epoch,
        'control_request': None if request is None else request.who.sub,
        'viewers': len(session.viewers),
        'watching': _watching(session) if may_remove_viewers else [],
    }
    if session.holder == caller.identity:
        row['operator_is_you'] = True
    split = call.parts.broker.split_of(session.session_id)
    if split is not None:
        row['split'] = split.as_fields(session.session_id)
    return row


def _watching(session: Session) -> list[Watching]:
    """Render each person who watches once, in the order in which they came."""
    people: list[Watching] = []
    for who in dict.fromkeys(viewer.identity for viewer in session.viewers):
        person: Watching = {'operator_id': who.sub, 'role': who.role.value}
        if not session.may_be_removed(who):
            person['removable'] = False
        people.append(person)
    return people


# --- connecting --------------------------------------------------------------------------------


async def _read(call: OperatorCall, body: type[_Body]) -> _Body:
    """Read a body about a session: 404 for an unknown session comes before 422."""
    data = await call.json()
    _session(call)
    return read(body, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    role: Annotated[str, choice('operator', 'viewer')] = 'operator'
    sdp_offer: Sdp


class Joined(TypedDict):
    sdp_answer: str
    cf_session_id: str
    robot_cf_session_id: str
    ice_servers: list[IceServerFields]
    role: Annotated[str, one_of('operator', 'viewer')]
    operator_id: str
    control_epoch: int
    may_stop: NotRequired[bool]
    split: NotRequired[Annotated[dict[str, Any], SplitFields]]
    video_reason: NotRequired[str]


@ROUTES.add('post', f'{SESSION}/join', body=Join, errors=(400, 403, 404, 409, 502))
async def join(call: OperatorCall) -> Joined:
    """Take the operator slot, or watch."""
    parts, caller = call.parts, call.caller
    parts.limit(parts.limits.sessions, caller.identity)
    body = await _read(call, Join)
    take_part = parts.broker.watch if body.role == 'viewer' else parts.broker.join
    sdp_offer = call.usable('sdp_offer', body.sdp_offer)
    answer = await take_part(caller, call.session_id, sdp_offer, call.address)
    session = answer.session
    joined: Joined = {
        'sdp_answer': answer.media.sdp_answer,
        'cf_session_id': answer.media.media_id,
        'robot_cf_session_id': session.identity.media_id,
        'ice_servers': ice_server_fields(parts.ice_servers),
        'role': answer.role,
        'operator_id': caller.sub,
        'control_epoch': session.control_epoch,
    }
    if answer.may_stop is not None:
        joined['may_stop'] = answer.may_stop
    if answer.split is not None:
        joined['split'] = answer.split.as_fields(session.session_id)
    if answer.video_reason is not None:
        joined['video_reason'] = answer.video_reason
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinName:
    """Which join of the caller a request is about; by default that of the same token."""

    cf_session_id: MediaId = None


class Bridged(TypedDict):
    cmd_channel_id: StreamId
    state_channel_id: StreamId
    state_back_channel_id: StreamId
    map_channel_id: StreamId
    video_offer: str | None
    video_status: Annotated[
        str, one_of('ok', 'no_published_track', 'publish_error', 'pull_error', 'no_offer')
    ]
    video_reason: NotRequired[str]


@ROUTES.add('post', f'{SESSION}/bridge-datachannel', body=JoinName, errors=(403, 404, 409, 502))
async def bridge_data_channels(call: OperatorCall) -> Bridged:
    """Open the data channels."""
    body = await _read(call, JoinName)
    answer = await call.parts.broker.bridge(call.caller, call.session_id, body.cf_session_id)
    bridged: Bridged = {
        'cmd_channel_id': answer.channels.cmd,
        'state_channel_id': answer.channels.state,
        'state_back_channel_id': answer.channels.state_back,
        'map_channel_id': answer.channels.map,
        'video_offer': answer.video_offer,
        'video_status': answer.video_status,
    }
    if answer.video_reason is not None:
        bridged['video_reason'] = answer.video_reason
    return bridged


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAnswer(JoinName):
    sdp_answer: Sdp


@ROUTES.add(
    'post', f'{SESSION}/renegotiate-answer', body=PeerAnswer, errors=(400, 403, 404, 409, 502)
)
async def renegotiate_answer(call: OperatorCall) -> Ok:
    """Answer a video_offer."""
    body = await _read(call, PeerAnswer)
    sdp_answer = call.usable('sdp_answer', body.sdp_answer)
    await call.parts.broker.take_operator_answer(
        call.caller, call.session_id, body.cf_session_id, sdp_answer
    )
    return {'ok': True}


class Beat(TypedDict):
    ack: Literal[True]
    video_reason: NotRequired[str]


@ROUTES.add('post', f'{SESSION}/op-heartbeat', body=JoinName, errors=(403, 404))
async def operator_heartbeat(call: OperatorCall) -> Beat:
    """Stay."""
    body = await _read(call, JoinName)
    reason = call.parts.broker.operator_heartbeat(call.caller, call.session_id, body.cf_session_id)
    return {'ack': True} if reason is None else {'ack': True, 'video_reason': reason}


class Left(TypedDict):
    session_id: str
    state: Annotated[str, one_of('idle', 'active')]


@ROUTES.add('post', f'{SESSION}/leave', body=JoinName, errors=(404,))
async def leave(call: OperatorCall) -> Left:
    """Free the slot."""
    body = await _read(call, JoinName)
    state = await call.parts.broker.leave(call.caller, call.session_id, body.cf_session_id)
    return {'session_id': call.session_id, 'state': state.value}


# --- control of a robot ------------------------------------------------------------------------


class Control(TypedDict):
    state: Annotated[str, one_of(*(state.value for state in ControlState))]
    operator_id: str | None


@ROUTES.add('post', f'{SESSION}/request-control', body=Nothing, errors=(403, 404))
async def request_control(call: OperatorCall) -> Control:
    """Ask for control; repeat the call to keep the request alive."""
    await call.read(Nothing)
    state, holder = call.parts.broker.request_control(call.caller, call.session_id)
    return {'state': state.value, 'operator_id': None if holder is None else holder.sub}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person's name; role and tenant distinguish people of the same name."""

    operator_id: Annotated[str, TEXT]
    role: Annotated[str | None, or_null(choice(*ROLES))] = None
    tenant: Annotated[str | None, or_blank(TEXT)] = None

    def named(self) -> NamedPerson:
        role = None if self.role is None else Role(self.role)
        return NamedPerson(sub=self.operator_id, role=role, tenant=self.tenant)


@ROUTES.add('post', f'{SESSION}/grant-control', body=Person, errors=(403, 404, 409))
async def grant_control(call: OperatorCall) -> Ok:
    """Let the person who asks take over."""
    person = (await _read(call, Person)).named()
    granted = call.parts.broker.grant_control(call.caller, call.session_id, person)
    _record(call, AuditAction.GRANT, f'to {granted}')
    return {'ok': True}


@ROUTES.add('post', f'{SESSION}/take-control', body=Nothing, errors=(403, 404))
async def take_control(call: OperatorCall) -> Control:
    """Take control as an administrator."""
    await call.read(Nothing)
    call.parts.broker.take_control(call.caller, call.session_id)
    _record(call, AuditAction.TAKE_OVER, 'with the next join')
    return {'state': 'granted', 'operator_id': call.caller.sub}


class Removed(TypedDict):
    removed: Annotated[int, Shape({'type': 'integer', 'minimum': 1})]


@ROUTES.add('post', f'{SESSION}/remove-viewer', body=Person, errors=(403, 404, 409))
async def remove_viewer(call: OperatorCall) -> Removed:
    """Remove a viewer for ten minutes."""
    person = (await _read(call, Person)).named()
    removed = await call.parts.broker.remove_viewer(call.caller, call.session_id, person)
    _record(call, AuditAction.VIEWER_REMOVED, str(removed.who))
    return {'removed': removed.count}


def _record(call: OperatorCall, action: AuditAction, detail: str) -> None:
    """Add a line about a session to the audit trail."""
    session = _session(call)
    call.parts.audit.record(
        action,
        call.caller.identity,
        robot_id=session.identity.robot_id,
        session_id=session.session_id,
        address=call.address,
        detail=detail,
    )
