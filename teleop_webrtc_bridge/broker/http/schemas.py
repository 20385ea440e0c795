"""Request bodies, checked, and answers, rendered (docs/protocol.md §2)."""

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

from collections.abc import Sequence
from datetime import datetime, UTC
import math
import re
from typing import Any, Final

from teleop_webrtc_bridge.broker.access.records import KeyRecord, TokenRecord
from teleop_webrtc_bridge.broker.channel_setup import BridgeAnswer
from teleop_webrtc_bridge.broker.configuration import OidcSettings
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, Role
from teleop_webrtc_bridge.broker.media.backend import MediaSession
from teleop_webrtc_bridge.broker.names import as_label, as_name, LABEL_ALLOWED, NAME_ALLOWED
from teleop_webrtc_bridge.broker.registry.operators import open_requests
from teleop_webrtc_bridge.broker.registry.people import NamedPerson
from teleop_webrtc_bridge.broker.registry.sessions import LinkQuality, Session
from teleop_webrtc_bridge.broker.service import JoinAnswer, RobotDetails
from teleop_webrtc_bridge.broker.split_sessions import Split
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import HeartbeatAnswer, IceServer, VideoCodec
from teleop_webrtc_bridge.core.sdp import check_sdp, strip_forbidden_candidates

__all__ = [
    'bridge_body',
    'heartbeat_body',
    'ice_servers_body',
    'join_body',
    'join_role',
    'key_body',
    'link_quality',
    'name_of',
    'named_person',
    'operator_media_id',
    'optional_robot_id',
    'required_name',
    'robot_details',
    'session_body',
    'session_row',
    'sign_in_body',
    'token_body',
    'token_life_s',
    'token_role',
    'usable_sdp',
    'wait_s',
]

MAX_WAIT_S: Final = 5.0
MAX_TOKEN_S: Final = 100.0 * 365 * 86400
_COGNITO: Final = re.compile(
    r'https://cognito-idp\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<pool>[\w-]+)', re.ASCII
)

# --- requests ----------------------------------------------------------------------------------


def robot_details(body: dict[str, Any]) -> RobotDetails:
    """
    Read who a robot is.

    :raises ApiError: 422.
    """
    return RobotDetails(
        robot_id=_label(body, 'robot_id') or '',
        robot_name=required_name(body, 'robot_name'),
        robot_type=required_name(body, 'robot_type') if body.get('robot_type') else None,
        instance_id=_label(body, 'instance_id'),
        video_codecs=_video_codecs(body),
    )


def _video_codecs(body: dict[str, Any]) -> tuple[VideoCodec, ...]:
    names = body.get('video_codecs')
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ApiError(422, 'video_codecs: a list of names is accepted')
    # Others than these may be names of later versions.
    return tuple(codec for codec in VideoCodec if codec.value in names)


def required_name(body: dict[str, Any], field: str) -> str:
    """
    Read a name that people will see: letters of any script, digits, space and ``_ . : -``.

    :raises ApiError: 422.
    """
    name = as_name(body.get(field))
    if name is None:
        raise ApiError(422, f'{field}: {NAME_ALLOWED} are accepted')
    return name


def optional_robot_id(body: dict[str, Any]) -> str | None:
    """
    Read the robot that a key is to be bound to.

    :raises ApiError: 422.
    """
    return _label(body, 'robot_id')


def _label(body: dict[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is None or value == '':
        return None
    label = as_label(value)
    if label is None:
        raise ApiError(422, f'{field}: {LABEL_ALLOWED} are accepted')
    return label


def usable_sdp(body: dict[str, Any], field: str, *, allow_local: bool) -> str:
    """
    Read a session description, without the candidates that nobody may have us send to.

    :param allow_local: Keep loopback and link-local candidates.
    :raises ApiError: 422 without one, 400 for one that is not usable.
    """
    sdp = body.get(field)
    if not isinstance(sdp, str) or not sdp:
        raise ApiError(422, f'{field}: a session description is needed')
    try:
        check_sdp(sdp)
    except ProtocolError as error:
        raise ApiError(400, f'{field}: {error}') from error
    return strip_forbidden_candidates(sdp, allow_local=allow_local)


def join_role(body: dict[str, Any]) -> str:
    """
    Read what a caller wants to be: ``operator`` or ``viewer``.

    :raises ApiError: 422.
    """
    role = body.get('role', 'operator')
    if role not in ('operator', 'viewer'):
        raise ApiError(422, "role: 'operator' or 'viewer' is accepted")
    return str(role)


def named_person(body: dict[str, Any]) -> NamedPerson:
    """
    Read who is meant: ``operator_id``, and what tells people of that name apart.

    :raises ApiError: 422.
    """
    sub, role, tenant = (body.get(field) for field in ('operator_id', 'role', 'tenant'))
    if not isinstance(sub, str) or not sub:
        raise ApiError(422, 'operator_id: a name is needed')
    if not isinstance(tenant, str | None):
        raise ApiError(422, 'tenant: a name is accepted')
    return NamedPerson(
        sub=sub, role=None if role is None else token_role(body), tenant=tenant or None
    )


def operator_media_id(body: dict[str, Any]) -> str | None:
    """
    Read the ``cf_session_id`` with which a page says which of an operator's joins it is.

    :raises ApiError: 422.
    """
    value = body.get('cf_session_id')
    if value is not None and not isinstance(value, str):
        raise ApiError(422, 'cf_session_id: a text is accepted')
    return value or None


def token_role(body: dict[str, Any]) -> Role:
    """
    Read what a new operator token is to be good for.

    :raises ApiError: 422.
    """
    try:
        return Role(body.get('role', Role.OPERATOR.value))
    except ValueError:
        allowed = ', '.join(role.value for role in Role)
        raise ApiError(422, f'role: {allowed} are accepted') from None


def token_life_s(body: dict[str, Any]) -> float | None:
    """
    Read for how many seconds a new operator token is to be good; ``None``: for ever.

    :raises ApiError: 422.
    """
    value = body.get('expires_in_s')
    number = _number(value)
    if value is not None and (number is None or not 0.0 < number <= MAX_TOKEN_S):
        raise ApiError(422, 'expires_in_s: a number of seconds above 0 is accepted')
    return number


def link_quality(body: dict[str, Any]) -> LinkQuality:
    """
    Read what a robot says about its link; what is no number is left out.

    A robot's heartbeat is never refused for a statistic: it keeps the session alive.
    """
    return LinkQuality(
        rtt_ms=_number(body.get('rtt_ms')), packet_loss_pct=_number(body.get('packet_loss_pct'))
    )


def wait_s(body: dict[str, Any]) -> float:
    """
    Read for how long a heartbeat may be held, in seconds; at most 5.

    :raises ApiError: 422.
    """
    value = body.get('wait_s')
    number = _number(value)
    if value is not None and (number is None or number < 0.0):
        raise ApiError(422, 'wait_s: a number of seconds from 0 to 5 is accepted')
    return min(MAX_WAIT_S, number or 0.0)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


# --- answers -----------------------------------------------------------------------------------


def ice_servers_body(servers: Sequence[IceServer]) -> list[dict[str, Any]]:
    """Render ICE servers as ``RTCPeerConnection`` takes them."""
    rendered = []
    for server in servers:
        entry: dict[str, Any] = {'urls': list(server.urls)}
        if server.username is not None:
            entry['username'] = server.username
        if server.credential is not None:
            entry['credential'] = server.credential
        rendered.append(entry)
    return rendered


def session_body(
    session_id: str, media: MediaSession, servers: Sequence[IceServer]
) -> dict[str, Any]:
    """Render the answer to ``POST /sessions``."""
    return {
        'session_id': session_id,
        'sdp_answer': media.sdp_answer,
        'cf_session_id': media.media_id,
        'ice_servers': ice_servers_body(servers),
    }


def heartbeat_body(answer: HeartbeatAnswer) -> dict[str, Any]:
    """Render the desired-state snapshot."""
    codec = {} if answer.video_codec is None else {'video_codec': answer.video_codec.value}
    return {
        'ack': True,
        'cmd_channel_subscriber_id': answer.channels.cmd,
        'state_channel_subscriber_id': answer.channels.state,
        'state_back_channel_publisher_id': answer.channels.state_back,
        'map_channel_publisher_id': answer.channels.map,
        'renegotiate_offer': answer.renegotiate_offer,
        'control_epoch': answer.control_epoch,
        **codec,
    }


def video_reason(reason: str | None) -> dict[str, str]:
    """Render why there is no picture; nothing, if there should be one."""
    return {} if reason is None else {'video_reason': reason}


def join_body(join: JoinAnswer, sub: str, servers: Sequence[IceServer]) -> dict[str, Any]:
    """Render the answer to a join of an operator or a viewer."""
    more: dict[str, Any] = {} if join.may_stop is None else {'may_stop': join.may_stop}
    if join.split is not None:
        more['split'] = join.split.as_fields(join.session.session_id)
    return {
        'sdp_answer': join.media.sdp_answer,
        'cf_session_id': join.media.media_id,
        'robot_cf_session_id': join.session.identity.media_id,
        'ice_servers': ice_servers_body(servers),
        'role': join.role,
        'operator_id': sub,
        'control_epoch': join.session.control_epoch,
        **more,
        **video_reason(join.video_reason),
    }


def bridge_body(bridge: BridgeAnswer) -> dict[str, Any]:
    """Render what the operator has to open."""
    return {
        'cmd_channel_id': bridge.channels.cmd,
        'state_channel_id': bridge.channels.state,
        'state_back_channel_id': bridge.channels.state_back,
        'map_channel_id': bridge.channels.map,
        'video_offer': bridge.video_offer,
        'video_status': bridge.video_status,
        **video_reason(bridge.video_reason),
    }


def session_row(
    session: Session, caller: OperatorCaller, now_s: float, split: Split | None = None
) -> dict[str, Any]:
    """
    Render a session as one row of the list.

    :param caller: Who asks.
    :param now_s: Monotonic seconds.
    :param split: What it is a half of.
    """
    request = next(iter(open_requests(session, now_s)), None)
    may_put_out = caller.role is Role.ADMIN or session.is_driven_by(caller.identity)
    return {
        'session_id': session.session_id,
        'robot_id': session.identity.robot_id,
        'robot_name': session.identity.robot_name,
        'robot_type': session.identity.robot_type,
        'state': session.state.value,
        'operator_id': name_of(session.holder),
        **({'operator_is_you': True} if session.holder == caller.identity else {}),
        'rtt_ms': session.link.rtt_ms,
        'packet_loss_pct': session.link.packet_loss_pct,
        'created_at': session.identity.created_at,
        'control_epoch': session.control_epoch,
        'control_request': None if request is None else request.who.sub,
        'viewers': len(session.viewers),
        'watching': _watching(session) if may_put_out else [],
        **({} if split is None else {'split': split.as_fields(session.session_id)}),
    }


def _watching(session: Session) -> list[dict[str, Any]]:
    """Render who watches: each person once, in the order in which they came."""
    people = dict.fromkeys(viewer.identity for viewer in session.viewers)
    return [
        {
            'operator_id': who.sub,
            'role': who.role.value,
            **({} if session.may_be_removed(who) else {'removable': False}),
        }
        for who in people
    ]


def name_of(who: Identity | None) -> str | None:
    """Return the name by which people know somebody."""
    return None if who is None else who.sub


def key_body(record: KeyRecord, used_at_s: float | None = None) -> dict[str, Any]:
    """
    Render what is known of an API key.

    :param used_at_s: When it was last used, if that is not in the record yet.
    """
    created_at = datetime.fromtimestamp(record.created_at_s, UTC)
    used_at_s = record.last_used_at_s if used_at_s is None else used_at_s
    return {
        'id': record.key_id,
        'name': record.name,
        'key_prefix': record.prefix,
        'robot_id': record.robot_id,
        'created_at': created_at.isoformat(),
        'last_used_at': None
        if used_at_s is None
        else datetime.fromtimestamp(used_at_s, UTC).isoformat(),
    }


def sign_in_body(oidc: OidcSettings | None) -> dict[str, Any]:
    """Render how people sign in: with a token of ours, or with one of an issuer."""
    if oidc is None:
        return {'sign_in': ['token'], 'issuer': None, 'client_id': None}
    return {
        'sign_in': ['token', 'oidc'],
        'issuer': oidc.issuer,
        'client_id': oidc.client_id,
        **_user_pool(oidc.issuer),
    }


def _user_pool(issuer: str) -> dict[str, str]:
    """Return what old consoles, which know Amazon Cognito only, have to know of it."""
    pool = _COGNITO.fullmatch(issuer)
    return {} if pool is None else {'region': pool['region'], 'user_pool_id': pool['pool']}


def token_body(record: TokenRecord) -> dict[str, Any]:
    """Render what is known of an operator's token."""
    expires_at_s = record.expires_at_s
    return {
        'id': record.token_id,
        'operator_id': record.sub,
        'role': record.role.value,
        'tenant': record.tenant,
        'created_at': datetime.fromtimestamp(record.created_at_s, UTC).isoformat(),
        'expires_at': None
        if expires_at_s is None
        else datetime.fromtimestamp(expires_at_s, UTC).isoformat(),
    }
