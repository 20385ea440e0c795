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

from contextlib import suppress
import dataclasses
import json
import math
import struct
from typing import Any

from hypothesis import assume, example, given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.codec import (
    begins_json,
    decode_command,
    decode_heartbeat_answer,
    decode_ice_servers,
    decode_origin,
    decode_session_answer,
    decode_state,
    encode_cmd_ack,
    encode_drive_command,
    encode_joy,
    encode_lease,
    encode_pong,
    encode_pose,
    encode_telemetry,
    is_framed,
    MAX_COMMAND_BYTES,
    MAX_JSON_BRACKETS,
    MAX_MESSAGE_BYTES,
    parse_json_object,
)
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import (
    CameraSelect,
    ChannelIds,
    DriveCommand,
    Estop,
    EstopClear,
    HeartbeatAnswer,
    IceServer,
    JoyState,
    Latency,
    Lease,
    Origin,
    OriginRole,
    Ping,
    Pose,
    PoseCommand,
    SessionAnswer,
    SportCommand,
    Step,
    UNNAMED_OPERATOR,
    Unsupported,
    Velocity,
    VideoCodec,
    VideoStats,
)

#: A busy machine makes slow examples, not wrong ones.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: docs/protocol.md §7
GOLDEN = bytes.fromhex(
    '9cd2bcbe6cb2a7c0000000076553f100075bcd15000000096b6579626f61726400'
    '3fe0000000000000bfd00000000000000000000000000000'
    '000000000000000000000000000000003ff0000000000000'
)
GOLDEN_COMMAND = DriveCommand(
    seq=7,
    stamp_s=1700000000 + 123456789e-9,
    frame_id='keyboard',
    velocity=Velocity(linear_x=0.5, linear_y=-0.25, angular_z=1.0),
)
DEEP = '{"a":' + '[' * 12_000
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANN = '{"sub":"ann","role":"viewer","tenant":"acme"}'
VIEWER_ANN = Origin(sub='ann', role=OriginRole.VIEWER)
INT32 = st.integers(-(2**31), 2**31 - 1)
VELOCITIES = st.builds(
    Velocity,
    linear_x=FINITE,
    linear_y=FINITE,
    linear_z=FINITE,
    angular_x=FINITE,
    angular_y=FINITE,
    angular_z=FINITE,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)


# --- LCM -------------------------------------------------------------------------------------


def test_the_golden_vector_is_decoded() -> None:
    assert len(GOLDEN) == 72 + len('keyboard\0')
    assert decode_command(GOLDEN) == GOLDEN_COMMAND


def test_the_golden_vector_is_what_we_encode() -> None:
    encoded = encode_drive_command(GOLDEN_COMMAND)
    # A float of seconds since 1970 tells a quarter of a microsecond.
    nanoseconds = int.from_bytes(encoded[16:20], 'big')
    assert nanoseconds == pytest.approx(123456789, abs=250)
    assert encoded[:16] + GOLDEN[16:20] + encoded[20:] == GOLDEN


@given(
    seq=INT32,
    stamp_s=st.floats(-(2**31), 2**31 - 1),
    frame_id=st.text(max_size=100),
    velocity=VELOCITIES,
)
@settings(RELAXED)
def test_what_was_encoded_is_decoded(
    seq: int, stamp_s: float, frame_id: str, velocity: Velocity
) -> None:
    command = DriveCommand(seq=seq, stamp_s=stamp_s, frame_id=frame_id, velocity=velocity)
    decoded = decode_command(encode_drive_command(command))
    assert isinstance(decoded, DriveCommand)
    assert decoded.stamp_s == pytest.approx(stamp_s, abs=1e-6)
    assert (decoded.seq, decoded.frame_id, decoded.velocity) == (seq, frame_id, velocity)


@pytest.mark.parametrize('axis', range(6))
@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_velocity_that_is_not_finite_is_refused(axis: int, bad: float) -> None:
    start = len(GOLDEN) - 48 + 8 * axis
    data = GOLDEN[:start] + struct.pack('>d', bad) + GOLDEN[start + 8 :]
    with pytest.raises(ProtocolError, match='not finite'):
        decode_command(data)


@pytest.mark.parametrize(
    'data',
    [
        GOLDEN[:-1],
        GOLDEN + b'\0',
        GOLDEN[:8],
        GOLDEN[:23],
        GOLDEN[:20] + struct.pack('>I', 0) + GOLDEN[24:],
        GOLDEN[:20] + struct.pack('>I', 0xFFFFFFFF) + GOLDEN[24:],
        GOLDEN[:16] + struct.pack('>i', 1_000_000_000) + GOLDEN[20:],
        GOLDEN[:16] + struct.pack('>i', -1) + GOLDEN[20:],
        GOLDEN.replace(b'keyboard\0', b'keyboardx'),
        b'',
        b'\xff' * 7,
        GOLDEN[:24] + b'k' * MAX_COMMAND_BYTES,
    ],
)
def test_a_broken_twist_stamped_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_command(data)


def test_a_command_of_more_than_four_kilobytes_is_refused() -> None:
    long = DriveCommand(seq=0, stamp_s=0.0, frame_id='k' * 4000, velocity=Velocity())
    assert isinstance(decode_command(encode_drive_command(long)), DriveCommand)
    with pytest.raises(ProtocolError, match='at most 4096'):
        decode_command(encode_drive_command(dataclasses.replace(long, frame_id='k' * 4100)))


def test_other_lcm_types_are_ignored() -> None:
    for fingerprint in ('6a82696458c279a1', 'a0f07abc86c1684d'):
        assert decode_command(bytes.fromhex(fingerprint) + bytes(64)) is None


def test_a_frame_id_that_is_not_text_is_replaced_not_refused() -> None:
    decoded = decode_command(GOLDEN.replace(b'keyboard', b'key\xff\xfe\x80rd'))
    assert isinstance(decoded, DriveCommand)
    assert decoded.frame_id.startswith('key\N{REPLACEMENT CHARACTER}')


# --- framed CDR ------------------------------------------------------------------------------


def framed(
    payload: bytes, *, seq: Any = 7, kind: Any = 'geometry_msgs/TwistStamped', **meta: Any
) -> bytes:
    header = json.dumps(
        {'ch': 'cmd', 'seq': seq, 'ts': 1.0, 'meta': {'type': kind, 'encoding': 'cdr', **meta}}
    ).encode()
    return struct.pack('<II', len(header), len(payload)) + header + payload


def cdr(frame_id: bytes = b'keyboard\0', *, order: str = '<', encapsulation: int = 1) -> bytes:
    """Return TwistStamped as OMG CDR writes it: each field at a multiple of its size."""
    body = struct.pack(f'{order}iII', 1700000000, 123456789, len(frame_id)) + frame_id
    body += bytes(-len(body) % 8)
    body += struct.pack(f'{order}6d', 0.5, -0.25, 0.0, 0.0, 0.0, 1.0)
    return struct.pack('>HH', encapsulation, 0) + body


@pytest.mark.parametrize(
    'kind',
    ['geometry_msgs/TwistStamped', 'geometry_msgs.TwistStamped', 'geometry_msgs/msg/TwistStamped'],
)
def test_a_framed_command_is_decoded_in_either_byte_order(kind: str) -> None:
    assert decode_command(framed(cdr(), kind=kind)) == GOLDEN_COMMAND
    big_endian = cdr(order='>', encapsulation=0)
    assert decode_command(framed(big_endian, kind=kind)) == GOLDEN_COMMAND


@pytest.mark.parametrize('length', range(1, 18))
def test_the_velocity_is_aligned_whatever_the_length_of_the_frame_id(length: int) -> None:
    decoded = decode_command(framed(cdr(b'k' * (length - 1) + b'\0')))
    assert isinstance(decoded, DriveCommand)
    assert decoded.velocity == GOLDEN_COMMAND.velocity
    assert decoded.frame_id == 'k' * (length - 1)


def test_the_channel_of_the_framing_is_told() -> None:
    decoded = decode_command(framed(cdr()))
    assert isinstance(decoded, DriveCommand)
    assert decoded.channel == 'cmd'


def test_a_frame_id_without_a_terminator_keeps_its_last_letter() -> None:
    decoded = decode_command(framed(cdr(b'left')))
    assert isinstance(decoded, DriveCommand)
    assert decoded.frame_id == 'left'


def padded(length: int, header: dict[str, Any], payload: bytes) -> bytes:
    """Return a framed message whose header has that many bytes."""
    text = json.dumps(header).encode().ljust(length)
    assert len(text) == length
    return struct.pack('<II', length, len(payload)) + text + payload


@pytest.mark.parametrize('length', [0x7B, 0x17B, 0x27B, 0xD7B])
def test_a_framed_command_may_begin_like_json(length: int) -> None:
    meta = {'type': 'geometry_msgs/TwistStamped', 'encoding': 'cdr'}
    message = padded(length, {'ch': 'cmd', 'seq': 7, 'ts': 1.0, 'meta': meta}, cdr())
    assert message[:1] == b'{'
    assert is_framed(message)
    assert not begins_json(message)
    assert decode_command(message) == GOLDEN_COMMAND


@pytest.mark.parametrize('length', [0x7B, 0x100, 0x17B])
@pytest.mark.parametrize('payload', [b'', b'{"type":"estop"}', b'}'])
def test_what_is_framed_is_never_read_as_json(length: int, payload: bytes) -> None:
    message = padded(length, {'type': 'estop', 'nonce': 1}, payload)
    assert is_framed(message)
    assert decode_command(message) is None
    assert decode_state(message) is None
    with pytest.raises(ProtocolError):
        parse_json_object(message)


@pytest.mark.parametrize(
    'data', [b'{', b'{}', b'{"type":"estop"}', b'{\r\n\t "a":1}', b'{"\\u0000":0}']
)
def test_json_is_never_taken_for_framed(data: bytes) -> None:
    assert not is_framed(data)
    assert begins_json(data)
    assert begins_json(data.decode())


@given(st.binary(max_size=40))
@settings(RELAXED)
def test_what_begins_like_json_and_has_another_length_is_refused(tail: bytes) -> None:
    data = b'{\0\0\0' + tail
    if not is_framed(data):
        refuses_or_answers(decode_command, data)
        with pytest.raises(ProtocolError):
            parse_json_object(data)


@pytest.mark.parametrize('encapsulation', [2, 3, 6, 7, 0x0101])
def test_an_encapsulation_other_than_plain_cdr_is_refused(encapsulation: int) -> None:
    order = '<' if encapsulation % 2 else '>'
    with pytest.raises(ProtocolError):
        decode_command(framed(cdr(order=order, encapsulation=encapsulation)))


@pytest.mark.parametrize(
    'data',
    [
        framed(cdr())[:-1],
        framed(cdr()) + b'\0',
        framed(cdr()[:-1]),
        framed(cdr()[:15]),
        framed(b''),
        framed(cdr(b'')),
        framed(cdr(), seq='7'),
        framed(cdr(), seq=True),
        framed(cdr(), seq=7.0),
        framed(cdr(), seq=2**31),
        framed(cdr()[:12] + struct.pack('<I', 0xFFFFFFF0) + cdr()[16:]),
        framed(cdr()[:-8] + struct.pack('<d', math.nan)),
        struct.pack('<II', 0, 0),
        struct.pack('<II', 0x7B, 0) + b'{}',
        struct.pack('<II', 2, 0) + b'[]',
    ],
)
def test_a_broken_framed_command_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_command(data)


@pytest.mark.parametrize(
    'data',
    [
        framed(cdr(), kind='geometry_msgs/Twist'),
        framed(cdr(), kind=['geometry_msgs/TwistStamped']),
        framed(cdr(), encoding='json'),
        struct.pack('<II', 2, 0) + b'{}',
        struct.pack('<II', 10, 0) + b'{"meta":1}',
    ],
)
def test_other_framed_messages_are_ignored(data: bytes) -> None:
    assert decode_command(data) is None


# --- JSON ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'text',
    [
        DEEP,
        '{"a":' * 6000,
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":1',
        '[]',
        'null',
        '"{}"',
        '',
        '{"a":' + '9' * 5000 + '}',
        '{"a":"' + 'x' * MAX_MESSAGE_BYTES + '"}',
    ],
    ids=lambda text: f'{text[:16]}({len(text)})',
)
@pytest.mark.parametrize('as_bytes', [False, True], ids=['text', 'bytes'])
def test_what_is_no_small_shallow_json_object_is_refused(text: str, as_bytes: bool) -> None:
    with pytest.raises(ProtocolError):
        parse_json_object(text.encode() if as_bytes else text)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(ProtocolError):
        parse_json_object(b'{"a":"\xff\xfe"}')


def test_a_json_object_is_parsed_from_text_and_from_bytes() -> None:
    for data in ('{"a": [1, "\u00e4"]}', '{"a": [1, "\u00e4"]}'.encode()):
        assert parse_json_object(data) == {'a': [1, 'ä']}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"type":"ping","client_ts":12.5}', Ping(client_ts_s=12.5)),
        ('{"type":"ping","client_ts":12}', Ping(client_ts_s=12.0)),
        ('{"type":"estop","nonce":"a"}', Estop(nonce='a')),
        ('{"type":"estop"}', Estop(nonce=None)),
        ('{"type":"estop_clear","nonce":3}', EstopClear(nonce=3)),
        (f'{{"type":"estop","nonce":"a","by":{ANN}}}', Estop(nonce='a', by=VIEWER_ANN)),
        (
            f'{{"type":"estop_clear","nonce":3,"latch":1,"by":{ANN}}}',
            EstopClear(nonce=3, latch=1, by=VIEWER_ANN),
        ),
        ('{"type":"lease","token":9}', Lease(token=9)),
        ('{"type":"lease","token":9,"picture":true}', Lease(token=9, picture=True)),
        ('{"type":"lease","token":9,"picture":false}', Lease(token=9, picture=False)),
        ('{"type":"lease","token":9,"picture":null}', Lease(token=9)),
        ('{"type":"camera_select","cams":["rear"]}', CameraSelect(cameras=('rear',))),
        ('{"type":"camera_select","cams":[]}', CameraSelect(cameras=())),
        (
            '{"type":"sport_cmd","name":"StandReady","nonce":2}',
            SportCommand(name='StandReady', nonce=2),
        ),
        ('{"type":"sport_cmd","name":7}', SportCommand(name='', nonce=None)),
        ('{"type":"nav_goal","nonce":1,"x":2}', Unsupported(type='nav_goal', nonce=1)),
        ('{"type":"video_stats","fps":30}', VideoStats(figures={'fps': 30.0})),
        ('{"type":7}', None),
        ('{"type":["estop"]}', None),
        ('{}', None),
    ],
)
def test_each_message_is_told_by_its_type(text: str, message: object) -> None:
    assert decode_state(text) == message
    assert decode_state(text.encode()) == message
    assert decode_command(text) == message
    assert decode_command(text.encode()) == message


@pytest.mark.parametrize('role', ['operator', 'admin', 'viewer'])
@pytest.mark.parametrize('sub', ['', 'ann', 'oidc/00u1', 'Ann Ärmel', '安', 'x' * 64])
def test_who_pressed_is_taken_from_the_broker(sub: str, role: str) -> None:
    by = {'sub': sub, 'role': role, 'tenant': 'acme', 'more': [1]}
    for kind in ('estop', 'estop_clear'):
        message = decode_state(json.dumps({'type': kind, 'nonce': 1, 'by': by}))
        assert isinstance(message, Estop | EstopClear)
        assert message.by == Origin(sub=sub, role=OriginRole(role))


@pytest.mark.parametrize(
    'by',
    [
        *(None, 7, 1.5, True, 'ann', [], {}, [ANN], {'sub': 'ann'}, {'role': 'viewer'}),
        *({'sub': sub, 'role': 'viewer'} for sub in (None, 7, True, ['ann'], {}, 'x' * 65)),
        *({'sub': sub, 'role': 'viewer'} for sub in ('a\nb', '\0', '\x1b[2J', '\ud800', '\u202e')),
        *({'sub': 'ann', 'role': role} for role in (None, 7, True, ['viewer'], {}, 'x', 'robot')),
    ],
)
def test_a_malformed_name_is_none_and_never_refuses_a_stop(by: Any) -> None:
    text = json.dumps({'type': 'estop', 'nonce': 1, 'by': by})
    assert decode_state(text) == decode_command(text) == Estop(nonce=1, by=UNNAMED_OPERATOR)
    text = json.dumps({'type': 'estop_clear', 'nonce': 1, 'by': by})
    assert decode_state(text) == EstopClear(nonce=1)


@pytest.mark.parametrize('data', [b'', '', 'hello', b'\0\1', ' {"type":"estop"}', '[1]'])
def test_what_does_not_look_like_json_is_ignored_on_the_state_channel(data: bytes | str) -> None:
    assert decode_state(data) is None


@pytest.mark.parametrize(
    'text',
    [
        '{"type":"ping"}',
        '{"type":"ping","client_ts":"1"}',
        '{"type":"ping","client_ts":1e999}',
        '{"type":"ping","client_ts":1e13}',
        '{"type":"ping","client_ts":true}',
        '{"type":"lease"}',
        '{"type":"camera_select"}',
        '{"type":"camera_select","cams":"front"}',
        '{"type":"camera_select","cams":[1]}',
        '{"type":"camera_select","cams":[' + '"a",' * 32 + '"a"]}',
        '{"type":"lease","token":1.0}',
        '{"type":"lease","token":true}',
        '{"type":"lease","token":1,"picture":0}',
        '{"type":"lease","token":1,"picture":"no"}',
        '{"type":"lease","token":-1}',
        '{"type":"lease","token":' + str(2**53) + '}',
        '{"type":"estop_clear","nonce":1,"latch":"1"}',
        '{"type":"estop_clear","nonce":1,"latch":1.0}',
        '{"type":"estop_clear","nonce":1,"latch":true}',
        '{"type":"estop"',
        DEEP,
    ],
    ids=lambda text: text[:48],
)
def test_a_malformed_message_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        decode_state(text)


@pytest.mark.parametrize(
    ('nonce', 'kept'),
    [
        (7, 7),
        ('7', '7'),
        (-1, -1),
        ('', ''),
        (7.0, None),
        (True, None),
        (None, None),
        ([7], None),
        (2**53, None),
        ('x' * 129, None),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_nonce_keeps_its_type_and_a_bad_one_never_refuses_the_stop(
    nonce: object, kept: object
) -> None:
    message = decode_state(json.dumps({'type': 'estop', 'nonce': nonce}))
    assert isinstance(message, Estop)
    assert message.nonce == kept
    assert type(message.nonce) is type(kept)


def test_what_the_robot_says_is_what_the_protocol_says() -> None:
    assert json.loads(encode_pong(1.5, 2.5)) == {
        'type': 'pong',
        'client_ts': 1.5,
        'robot_ts': 2.5,
    }
    assert json.loads(encode_cmd_ack('7', ok=True)) == {
        'type': 'cmd_ack',
        'nonce': '7',
        'ok': True,
    }
    assert json.loads(encode_cmd_ack(7, ok=False, reason='no')) == {
        'type': 'cmd_ack',
        'nonce': 7,
        'ok': False,
        'reason': 'no',
    }
    assert decode_command(encode_lease(12)) == Lease(token=12)
    assert json.loads(encode_telemetry(cmd=None, state={'estopped': True}, robot_ts_s=3.0)) == {
        'type': 'robot_telemetry',
        'cmd': None,
        'soc': None,
        'state': {'estopped': True},
        'robot_ts': 3.0,
    }


# --- broker → robot --------------------------------------------------------------------------


STREAM_IDS = (
    'cmd_channel_subscriber_id',
    'state_channel_subscriber_id',
    'state_back_channel_publisher_id',
    'map_channel_publisher_id',
)


def test_a_heartbeat_answer_is_read() -> None:
    body = dict(zip(STREAM_IDS, (2, 3, 4, 65534), strict=True))
    answer = decode_heartbeat_answer(
        body | {'ack': True, 'renegotiate_offer': 'v=0', 'control_epoch': 5, 'other': {}}
    )
    assert answer == HeartbeatAnswer(
        channels=ChannelIds(cmd=2, state=3, state_back=4, map=65534),
        renegotiate_offer='v=0',
        control_epoch=5,
    )


@pytest.mark.parametrize(
    ('said', 'codec'),
    [
        ('h264', VideoCodec.H264),
        ('vp8', VideoCodec.VP8),
        ('av2', None),
        ('H264', None),
        (['vp8'], None),
        (None, None),
    ],
)
def test_a_codec_that_is_not_known_changes_nothing(said: object, codec: VideoCodec | None) -> None:
    assert decode_heartbeat_answer({'ack': True, 'video_codec': said}).video_codec is codec


def test_a_heartbeat_answer_without_an_operator_has_no_channels() -> None:
    nothing = HeartbeatAnswer(channels=ChannelIds(), renegotiate_offer=None, control_epoch=None)
    assert decode_heartbeat_answer({'ack': True}) == nothing
    assert decode_heartbeat_answer(dict.fromkeys(STREAM_IDS)) == nothing


@pytest.mark.parametrize('name', STREAM_IDS)
@pytest.mark.parametrize(
    'bad',
    [True, False, 3.0, '3', 0, -1, 65535, 10**4000, [3], {}],
    ids=lambda value: f'{type(value).__name__}-{str(value)[:6]}',
)
def test_a_stream_id_that_is_no_usable_whole_number_is_refused(name: str, bad: object) -> None:
    with pytest.raises(ProtocolError, match=name) as refused:
        decode_heartbeat_answer({name: bad})
    assert len(str(refused.value)) < 120


def test_a_stream_id_that_is_used_twice_is_refused() -> None:
    with pytest.raises(ProtocolError, match='twice'):
        decode_heartbeat_answer({STREAM_IDS[0]: 4, STREAM_IDS[3]: 4})


@pytest.mark.parametrize(
    'bad',
    [
        {'renegotiate_offer': 1},
        {'control_epoch': 1.0},
        {'control_epoch': True},
        {'control_epoch': -1},
        {'control_epoch': 2**53},
    ],
)
def test_a_heartbeat_answer_with_a_bad_field_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        decode_heartbeat_answer(bad)


def test_a_session_answer_is_read() -> None:
    body = {'session_id': 'a-B_9', 'sdp_answer': 'v=0', 'cf_session_id': None}
    assert decode_session_answer(body) == SessionAnswer(session_id='a-B_9', sdp_answer='v=0')


@pytest.mark.parametrize(
    'bad',
    [
        {'session_id': None},
        {'session_id': 7},
        {'session_id': ''},
        {'session_id': 'x' * 129},
        {'session_id': '../keys'},
        {'session_id': 'a b'},
        {'session_id': 'a?b'},
        {'session_id': '--'},
        {'session_id': 'ä'},
        {'sdp_answer': None},
        {'sdp_answer': ''},
        {'sdp_answer': 7},
    ],
)
def test_a_session_answer_that_cannot_be_used_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        decode_session_answer({'session_id': 'a', 'sdp_answer': 'v=0'} | bad)


def test_ice_servers_are_read_and_what_is_no_stun_or_turn_is_left_out() -> None:
    body = {
        'ice_servers': [
            {'urls': 'stun:a:1'},
            {'urls': ['turn:b', 'http://c', 7], 'username': 'u', 'credential': 'p'},
            {'urls': ['file:///etc/passwd']},
            {'urls': 'stun'},
            {'urls': 'turns:' + 'x' * 300},
            {'urls': 'turns:d', 'username': 7, 'credential': {}},
            {},
            'stun:e',
        ]
    }
    assert decode_ice_servers(body) == (
        IceServer(urls=('stun:a:1',)),
        IceServer(urls=('turn:b',), username='u', credential='p'),
        IceServer(urls=('turns:d',)),
    )


def test_at_most_eight_ice_servers_are_taken() -> None:
    body = {'ice_servers': [{'urls': f'stun:s{number}'} for number in range(100)]}
    assert len(decode_ice_servers(body)) == 8


@pytest.mark.parametrize('bad', [None, {}, 'stun:a', 7])
def test_ice_servers_that_are_no_list_are_refused(bad: object) -> None:
    with pytest.raises(ProtocolError):
        decode_ice_servers({'ice_servers': bad})


def test_a_credential_is_not_shown() -> None:
    assert 'hunter2' not in repr(IceServer(urls=('turn:a',), credential='hunter2'))


# --- whatever the bytes ----------------------------------------------------------------------


def refuses_or_answers(decode: Any, value: Any) -> None:
    """Call a decoder: anything but an answer or a ProtocolError leaves this function."""
    with suppress(ProtocolError):
        decode(value)


BYTES = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=120).map(lambda tail: GOLDEN[:8] + tail),
    st.binary(max_size=80).map(lambda tail: b'{"type":' + tail),
    OBJECTS.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda payload, kind, seq: framed(payload, kind=kind, seq=seq),
        st.one_of(
            st.binary(max_size=120), st.binary(max_size=90).map(lambda tail: cdr()[:6] + tail)
        ),
        st.just('geometry_msgs/TwistStamped') | JSON,
        st.integers() | JSON,
    ),
    st.tuples(st.integers(0, 2**17), st.integers(0, 2**17), st.binary(max_size=60)).map(
        lambda parts: struct.pack('<II', *parts[:2]) + parts[2]
    ),
)
MESSAGES = st.sampled_from(
    ['ping', 'estop', 'estop_clear', 'lease', 'nav_goal', 'sport_cmd', 'light', 'unknown']
).flatmap(
    lambda kind: st.dictionaries(
        st.sampled_from(['client_ts', 'nonce', 'token', 'x']), JSON, max_size=4
    ).map(lambda fields: json.dumps({'type': kind, **fields}))
)


@given(BYTES | st.text(max_size=200) | MESSAGES)
@example(DEEP)
@example(DEEP.encode())
@example('{"type":"estop","nonce":"\\ud800"}')
@example('\ud800')
@settings(RELAXED, max_examples=600)
def test_any_message_is_decoded_ignored_or_refused(data: bytes | str) -> None:
    refuses_or_answers(decode_command, data)
    refuses_or_answers(decode_state, data)
    refuses_or_answers(parse_json_object, data)


@given(JSON | st.dictionaries(st.sampled_from(['sub', 'role', 'tenant']), JSON))
@settings(RELAXED)
def test_any_name_is_read_or_none(by: Any) -> None:
    origin = decode_origin(by)
    assert origin is None or origin == decode_origin(origin.as_fields())
    text = json.dumps({'type': 'estop', 'by': by})
    assume('NaN' not in text and 'Infinity' not in text)  # which is not JSON
    message = decode_state(text)
    assert isinstance(message, Estop)
    assert message.by in (origin, UNNAMED_OPERATOR)


@given(BYTES)
@settings(RELAXED)
def test_a_decoded_command_is_always_finite(data: bytes) -> None:
    try:
        message = decode_command(data)
    except ProtocolError:
        return
    if isinstance(message, DriveCommand):
        assert all(map(math.isfinite, message.velocity.axes()))
        assert math.isfinite(message.stamp_s)


@given(
    st.dictionaries(
        st.sampled_from([*STREAM_IDS, 'renegotiate_offer', 'control_epoch']),
        JSON | st.integers(0, 70000),
    )
)
@settings(RELAXED)
def test_any_heartbeat_answer_is_read_or_refused(body: dict[str, Any]) -> None:
    refuses_or_answers(decode_heartbeat_answer, body)


@given(st.dictionaries(st.sampled_from(['session_id', 'sdp_answer']), JSON | st.text(min_size=1)))
@settings(RELAXED)
def test_any_session_answer_is_read_or_refused(body: dict[str, Any]) -> None:
    refuses_or_answers(decode_session_answer, body)


@given(
    JSON
    | st.lists(
        JSON
        | st.dictionaries(
            st.sampled_from(['urls', 'username', 'credential']),
            JSON | st.lists(st.sampled_from(['stun:a', 'turn:b', 'http:c', 7])),
        ),
        max_size=12,
    )
)
@settings(RELAXED)
def test_any_ice_servers_are_read_or_refused(servers: Any) -> None:
    refuses_or_answers(decode_ice_servers, {'ice_servers': servers})


@pytest.mark.parametrize('encoding', ['utf-16-le', 'utf-16-be', 'utf-32-le'])
def test_json_is_utf_8_whether_it_comes_as_text_or_as_bytes(encoding: str) -> None:
    data = '{"type":"estop"}'.encode(encoding)
    for message in (data, data.decode()):
        with pytest.raises(ProtocolError):
            parse_json_object(message)


def test_how_deep_json_may_be_does_not_depend_on_the_stack() -> None:
    half = MAX_JSON_BRACKETS - 1
    assert parse_json_object('{"a":' + '[' * half + ']' * half + '}')
    with pytest.raises(ProtocolError, match='ValueError'):
        parse_json_object('{"a":' + '[' * (half + 1) + ']' * (half + 1) + '}')


def test_a_value_nested_as_deep_as_json_allows_is_refused_like_any_other() -> None:
    # A value that parses at this stack depth may be too deep to print later.
    for depth in range(900, 1000):
        nested = '[' * depth + ']' * depth
        for text in (f'{{"{STREAM_IDS[0]}":{nested}}}', f'{{"control_epoch":{nested}}}'):
            with pytest.raises(ProtocolError):
                decode_heartbeat_answer(parse_json_object(text))
        command = framed(b'', kind='X').replace(b'"X"', nested.encode())
        header = command[8:]
        refuses_or_answers(decode_command, struct.pack('<II', len(header), 0) + header)


# --- hand controllers and poses --------------------------------------------------------------

#: As the PyPI package dimos-lcm encodes them.
JOY_VECTOR = (
    'a0f07abc86c1684c0000000200000003000000076553f1001dcd6500000000056c656674003f000000bf800000'
    '000000010000000000000001'
)
POSE_VECTOR = (
    '6a82696458c279a0000000076553f1001dcd6500000000056c656674003fd00000000000003ff8000000000000'
    'bfe800000000000000000000000000003fe333333333333300000000000000003fe999999999999a'
)
JOY = JoyState(seq=7, stamp_s=1700000000.5, frame_id='left', axes=(0.5, -1.0), buttons=(1, 0, 1))
POSE = PoseCommand(
    seq=7,
    stamp_s=1700000000.5,
    hand='left',
    pose=Pose(position=(0.25, 1.5, -0.75), orientation=(0.0, 0.6, 0.0, 0.8)),
)


def test_joy_and_poses_are_those_of_old_peers() -> None:
    joy, pose = (
        decode_command(bytes.fromhex(JOY_VECTOR)),
        decode_command(bytes.fromhex(POSE_VECTOR)),
    )
    assert isinstance(joy, JoyState)
    assert dataclasses.replace(joy, stamp_s=JOY.stamp_s) == JOY
    assert isinstance(pose, PoseCommand)
    assert pose.pose.position == POSE.pose.position
    assert pose.pose.orientation == pytest.approx(POSE.pose.orientation)
    assert encode_joy(JOY).hex() == JOY_VECTOR
    assert encode_pose(POSE).hex() == POSE_VECTOR


@pytest.mark.parametrize(
    ('at', 'value'),
    [
        (8, struct.pack('>i', -1)),
        (8, struct.pack('>i', 65)),
        (12, struct.pack('>i', 2)),
        (24, struct.pack('>i', 1_000_000_000)),
        (28, struct.pack('>I', 2**31)),
        (36, b'x'),
        (37, struct.pack('>f', 1.5)),
        (37, struct.pack('>f', math.nan)),
        (45, struct.pack('>i', 2)),
    ],
)
def test_a_malformed_joy_is_refused(at: int, value: bytes) -> None:
    data = bytearray(bytes.fromhex(JOY_VECTOR))
    data[at : at + len(value)] = value
    with pytest.raises(ProtocolError):
        decode_command(bytes(data))


@pytest.mark.parametrize('axis', [math.nan, math.inf, 101.0])
def test_a_malformed_pose_is_refused(axis: float) -> None:
    data = bytearray(encode_pose(POSE))
    for at in range(len(data) - 56, len(data), 8):
        spoilt = data[:at] + struct.pack('>d', axis) + data[at + 8 :]
        with pytest.raises(ProtocolError):
            decode_command(bytes(spoilt))
    with pytest.raises(ProtocolError):
        decode_command(bytes(data[:-32]) + struct.pack('>4d', 0.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize('vector', [JOY_VECTOR, POSE_VECTOR])
def test_a_cut_or_longer_one_is_refused(vector: str) -> None:
    data = bytes.fromhex(vector)
    for length in range(8, len(data)):
        with pytest.raises(ProtocolError):
            decode_command(data[:length])
    with pytest.raises(ProtocolError):
        decode_command(data + b'\0')


def test_a_pose_of_something_else_is_ignored() -> None:
    assert decode_command(encode_pose(dataclasses.replace(POSE, hand='head'))) is None


@pytest.mark.parametrize(
    ('fields', 'latency'),
    [
        ('', None),
        ('"picture_latency":0.08,"command_latency":null', Latency(picture_s=0.08, command_s=None)),
        ('"command_latency":60', Latency(picture_s=None, command_s=60.0)),
    ],
)
def test_an_echo_may_tell_latencies(fields: str, latency: Latency | None) -> None:
    text = '{"type":"lease","token":1' + (f',{fields}' if fields else '') + '}'
    assert decode_command(text) == Lease(token=1, latency=latency)


@pytest.mark.parametrize('value', ['-0.1', '61', '"1"', 'true', '[]', '1e400'])
def test_a_malformed_latency_is_refused(value: str) -> None:
    with pytest.raises(ProtocolError):
        decode_command('{"type":"lease","token":1,"picture_latency":' + value + '}')


def test_figures_of_the_video_that_are_no_numbers_are_ignored() -> None:
    text = '{"type":"video_stats","fps":25.5,"loss_pct":null,"jitter_ms":"3","kbps":900}'
    assert decode_state(text) == VideoStats(figures={'fps': 25.5})


STEP_FIELDS = {
    'type': 'step',
    'id': 3,
    'seq': 7,
    'stamp': 12.5,
    'frame_id': 'keyboard',
    'velocity': [0.3, 0, 0],
    'distance': 0.2,
}


def test_a_step_is_a_command_with_a_bound() -> None:
    assert decode_command(json.dumps(STEP_FIELDS)) == DriveCommand(
        seq=7,
        stamp_s=12.5,
        frame_id='keyboard',
        velocity=Velocity(linear_x=0.3),
        step=Step(id=3, distance_m=0.2),
    )
    turn = STEP_FIELDS | {'velocity': [0, 0, -1], 'distance': None, 'angle': 0.26}
    command = decode_command(json.dumps(turn))
    assert isinstance(command, DriveCommand)
    assert command.step == Step(id=3, angle_rad=0.26)


@pytest.mark.parametrize(
    'wrong',
    [
        {'id': -1},
        {'id': 1.5},
        {'id': True},
        {'seq': 2**31},
        {'stamp': 'now'},
        {'frame_id': 5},
        {'velocity': [0.3, 0]},
        {'velocity': [0.3, 0, 'x']},
        {'velocity': [0, 0, 0]},
        {'velocity': [0.3, 0, 0.1]},
        {'velocity': [0, 0, 1]},
        {'velocity': None},
        {'distance': 0},
        {'distance': -0.1},
        {'distance': 0.51},
        {'distance': None},
        {'angle': 0.2},
        {'distance': None, 'angle': 0.2},
        {'distance': None, 'velocity': [0, 0, 1], 'angle': 0.8},
    ],
)
def test_a_malformed_step_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match='step: '):
        decode_command(json.dumps(STEP_FIELDS | wrong))
