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

"""The values of the API, as JSON schemas; see :mod:`~teleop_webrtc_bridge.broker.openapi`."""

from __future__ import annotations

from typing import Any, Final

from teleop_webrtc_bridge.sdp import MAX_SDP_BYTES

__all__ = [
    'BRIDGED',
    'CONTROL',
    'HEALTH',
    'ICE',
    'JOINED',
    'KEY',
    'LABEL',
    'NAME',
    'NOTHING',
    'NUMBER',
    'OK',
    'PERSON',
    'ROLE',
    'ROW',
    'SDP',
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
ROW: Final = all_of(
    session_id=TEXT,
    robot_id=TEXT,
    robot_name=TEXT,
    robot_type=or_null(TEXT),
    state={'enum': ['idle', 'active']},
    operator_id=or_null(TEXT),
    rtt_ms=or_null(NUMBER),
    packet_loss_pct=or_null(NUMBER),
    created_at=TIME,
    control_epoch=WHOLE,
    control_request=or_null(TEXT),
    viewers=WHOLE,
    watching={'type': 'array', 'items': all_of(operator_id=TEXT, role=ROLE)},
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
    video_status={'enum': ['ok', 'no_published_track', 'publish_error', 'pull_error', 'no_offer']},
    video_reason=TEXT,
)
HEALTH: Final = object(('status',), status={'enum': ['ok', 'degraded']}, database=TEXT)
NOTHING: Final = object()
