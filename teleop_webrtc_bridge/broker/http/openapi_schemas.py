"""The values of the API, as JSON schemas; see :mod:`~teleop_webrtc_bridge.broker.http.openapi`."""

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

from typing import Any, Final

from teleop_webrtc_bridge.core.sdp import MAX_SDP_BYTES

__all__ = [
    'BRIDGED',
    'CONTROL',
    'HEALTH',
    'ICE',
    'JOINED',
    'KEY',
    'LABEL',
    'ME',
    'NAME',
    'NOTHING',
    'NUMBER',
    'OK',
    'PERSON',
    'ROLE',
    'ROW',
    'SDP',
    'SIGN_IN',
    'SNAPSHOT',
    'STREAM',
    'TEXT',
    'TIME',
    'TOKEN',
    'VIEWER_ID',
    'WHOLE',
    'Schema',
    'all_of',
    'object',
    'or_null',
]

Schema = dict[str, Any]


def object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {'type': 'object', 'required': list(required), 'properties': properties}


def all_of(**properties: Schema) -> Schema:
    return object(tuple(properties), **properties)


def or_null(schema: Schema) -> Schema:
    return {'anyOf': [schema, {'type': 'null'}]}


TEXT: Final[Schema] = {'type': 'string'}
NUMBER: Final[Schema] = {'type': 'number'}
WHOLE: Final[Schema] = {'type': 'integer'}
TIME: Final[Schema] = {'type': 'string', 'format': 'date-time'}
OK: Final = all_of(ok={'const': True})
NAME: Final[Schema] = {'type': 'string', 'minLength': 1, 'maxLength': 64}
LABEL: Final[Schema] = or_null({'type': 'string', 'maxLength': 64})
SDP: Final[Schema] = {'type': 'string', 'minLength': 1, 'maxLength': MAX_SDP_BYTES}
STREAM: Final[Schema] = {'type': 'integer', 'minimum': 2, 'maximum': 65534}
ROLE: Final[Schema] = {'enum': ['operator', 'admin', 'viewer']}
PERSON: Final = object(
    ('operator_id',),
    operator_id={'type': 'string', 'minLength': 1},
    role=or_null(ROLE),
    tenant=or_null(TEXT),
)
"""Whom a request means; role and tenant tell people of one name apart."""
VIEWER_ID: Final = or_null(TEXT)
ICE: Final[Schema] = {
    'type': 'array',
    'items': object(
        ('urls',),
        urls={'type': 'array', 'items': TEXT},
        username=TEXT,
        credential=TEXT,
    ),
}
SPLIT: Final = all_of(
    session_id=TEXT, robot_id=TEXT, lacks={'enum': ['video', 'channels']}, hint=TEXT
)
"""Of a session that is most likely a half of a robot: the other half."""
ROW: Final = object(
    (
        'session_id',
        'robot_id',
        'robot_name',
        'robot_type',
        'state',
        'operator_id',
        'rtt_ms',
        'packet_loss_pct',
        'created_at',
        'control_epoch',
        'control_request',
        'viewers',
        'watching',
    ),
    session_id=TEXT,
    robot_id=TEXT,
    robot_name=TEXT,
    robot_type=or_null(TEXT),
    state={'enum': ['idle', 'active']},
    operator_id=or_null(TEXT),
    operator_is_you={'type': 'boolean'},
    rtt_ms=or_null(NUMBER),
    packet_loss_pct=or_null(NUMBER),
    created_at=TIME,
    control_epoch=WHOLE,
    control_request=or_null(TEXT),
    viewers=WHOLE,
    watching={
        'type': 'array',
        'items': object(
            ('operator_id', 'role'), operator_id=TEXT, role=ROLE, removable={'type': 'boolean'}
        ),
    },
    split=SPLIT,
)
JOINED: Final = object(
    (
        'sdp_answer',
        'cf_session_id',
        'robot_cf_session_id',
        'ice_servers',
        'role',
        'operator_id',
        'control_epoch',
    ),
    sdp_answer=TEXT,
    cf_session_id=TEXT,
    robot_cf_session_id=TEXT,
    ice_servers=ICE,
    role={'enum': ['operator', 'viewer']},
    operator_id=TEXT,
    control_epoch=WHOLE,
    may_stop={'type': 'boolean'},
    split=SPLIT,
    video_reason=TEXT,
)
SNAPSHOT: Final = object(
    (
        'ack',
        'cmd_channel_subscriber_id',
        'state_channel_subscriber_id',
        'state_back_channel_publisher_id',
        'map_channel_publisher_id',
        'renegotiate_offer',
        'control_epoch',
    ),
    ack={'const': True},
    cmd_channel_subscriber_id=or_null(STREAM),
    state_channel_subscriber_id=or_null(STREAM),
    state_back_channel_publisher_id=or_null(STREAM),
    map_channel_publisher_id=or_null(STREAM),
    renegotiate_offer=or_null(TEXT),
    control_epoch=WHOLE,
    video_codec={'enum': ['h264', 'vp8']},
)
KEY: Final = {
    'id': TEXT,
    'name': TEXT,
    'key_prefix': TEXT,
    'robot_id': or_null(TEXT),
    'created_at': TIME,
    'last_used_at': or_null(TIME),
}
TOKEN: Final = {
    'id': TEXT,
    'operator_id': TEXT,
    'role': ROLE,
    'tenant': TEXT,
    'created_at': TIME,
    'expires_at': or_null(TIME),
}
CONTROL: Final = all_of(
    state={'enum': ['free', 'holder', 'pending', 'granted']}, operator_id=or_null(TEXT)
)
VIDEO_STATUS: Final[Schema] = {
    'enum': ['ok', 'no_published_track', 'publish_error', 'pull_error', 'no_offer']
}
ME: Final = all_of(sub=TEXT, role=ROLE)
SIGN_IN: Final = object(
    ('sign_in', 'issuer', 'client_id'),
    sign_in={'type': 'array', 'items': {'enum': ['token', 'oidc']}},
    issuer=or_null(TEXT),
    client_id=or_null(TEXT),
    region=TEXT,
    user_pool_id=TEXT,
)
BRIDGED: Final = object(
    (
        'cmd_channel_id',
        'state_channel_id',
        'state_back_channel_id',
        'map_channel_id',
        'video_offer',
        'video_status',
    ),
    cmd_channel_id=STREAM,
    state_channel_id=STREAM,
    state_back_channel_id=STREAM,
    map_channel_id=STREAM,
    video_offer=or_null(TEXT),
    video_status=VIDEO_STATUS,
    video_reason=TEXT,
)
HEALTH: Final = object(('status',), status={'enum': ['ok', 'degraded']}, database=TEXT)
NOTHING: Final = object()
