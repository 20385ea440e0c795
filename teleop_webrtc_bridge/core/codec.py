"""
The codec of all wire messages: strict and bounded (docs/protocol.md §2, §6, §7).

Decoding functions are total: for any bytes they return a message, return ``None`` for a message to
ignore, or raise :class:`~teleop_webrtc_bridge.core.exceptions.ProtocolError`.
"""

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
import json
import math
import struct
from typing import Any, Final

from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import (
    CameraSelect,
    ChannelIds,
    DriveCommand,
    Estop,
    EstopClear,
    HANDS,
    HeartbeatAnswer,
    IceServer,
    JoyState,
    Latency,
    Lease,
    Nonce,
    OperatorMessage,
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

__all__ = [
    'MAX_COMMAND_BYTES',
    'MAX_HTTP_BODY_BYTES',
    'MAX_JSON_BRACKETS',
    'MAX_MESSAGE_BYTES',
    'begins_json',
    'decode_command',
    'decode_heartbeat_answer',
    'decode_ice_servers',
    'decode_origin',
    'decode_session_answer',
    'decode_state',
    'encode_cmd_ack',
    'encode_drive_command',
    'encode_joy',
    'encode_lease',
    'encode_pong',
    'encode_pose',
    'encode_telemetry',
    'is_framed',
    'parse_json_object',
]

MAX_MESSAGE_BYTES: Final = 32 * 1024
"""Some media backends silently drop larger messages."""
MAX_JSON_BRACKETS: Final = 512
"""Limit of opening brackets in a message: far fewer than Python can nest."""
MAX_COMMAND_BYTES: Final = 4 * 1024
MAX_HTTP_BODY_BYTES: Final = 64 * 1024
MAX_NONCE_CHARS: Final = 128
MAX_PERSON_CHARS: Final = 64
"""Limit of a person's name, as at the broker."""
MAX_STREAM_ID: Final = 65534
MAX_FRAMED_HEADER: Final = 65536
"""Limit in bytes; a first word of this size or more is not a length."""
MAX_ICE_SERVERS: Final = 8
MAX_STEP_M: Final = 0.5
MAX_STEP_RAD: Final = math.pi / 4
MAX_LATENCY_S: Final = 60.0
VIDEO_FIGURES: Final = ('loss_pct', 'jitter_ms', 'fps')
MAX_FIGURE: Final = 1e6
MAX_SELECTED: Final = 32
"""Camera names in one request; more than a robot can have."""

TWIST_STAMPED_FINGERPRINT: Final = bytes.fromhex('9cd2bcbe6cb2a7c0')
_LCM_HEAD: Final = struct.Struct('>8siiiI')
_LCM_TWIST: Final = struct.Struct('>6d')
JOY_FINGERPRINT: Final = bytes.fromhex('a0f07abc86c1684c')
POSE_STAMPED_FINGERPRINT: Final = bytes.fromhex('6a82696458c279a0')
MAX_JOY: Final = 64
"""Limit of axes, and of buttons."""
MAX_REACH_M: Final = 100.0
_LCM_LENGTHS: Final = struct.Struct('>ii')
_LCM_HEADER: Final = struct.Struct('>iiiI')
_LCM_POSE: Final = struct.Struct('>7d')
_FRAMED_HEAD: Final = struct.Struct('<II')
_CDR_ORDERS: Final = {b'\x00\x00': '>', b'\x00\x01': '<'}

_ORIGIN_ROLES: Final = {role.value: role for role in OriginRole}
_REQUESTS: Final = frozenset({'nav_goal', 'nav_cancel', 'set_mode', 'obstacle_avoidance', 'light'})


def parse_json_object(data: bytes | str, *, max_bytes: int = MAX_MESSAGE_BYTES) -> dict[str, Any]:
    """
    Parse one JSON object of bounded size.

    :raises ProtocolError: It is too large, too deep, not a JSON object, or has NaN or Infinity.
    """
    if len(data) > max_bytes:
        raise ProtocolError(f'JSON of {len(data)} bytes; at most {max_bytes} are accepted')
    try:
        # Decoded here, because the parser accepts UTF-16 and UTF-32 too: text and bytes of a
        # message must mean the same to every reader.
        text = data if isinstance(data, str) else data.decode()
        # The depth that a parser accepts depends on its stack, so two parsers could disagree.
        if text.count('{') + text.count('[') > MAX_JSON_BRACKETS:
            raise ValueError(f'more than {MAX_JSON_BRACKETS} brackets')
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ProtocolError(f'not JSON: {type(error).__name__}') from error
    if not isinstance(value, dict):
        raise ProtocolError(f'JSON {type(value).__name__} where an object is expected')
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is not JSON')


# --- operator → robot ------------------------------------------------------------------------


def is_framed(data: bytes | str) -> bool:
    """
    Return whether a message has the framing of newer peers, which may begin like JSON.

    JSON is never framed: the third and fourth byte of a framed message are 0, which JSON excludes.
    """
    if isinstance(data, str):
        data = data.encode('utf-8', 'replace')
    if len(data) < _FRAMED_HEAD.size:
        return False
    header_length, payload_length = map(int, _FRAMED_HEAD.unpack_from(data))
    size = _FRAMED_HEAD.size + header_length + payload_length
    return header_length < MAX_FRAMED_HEADER and len(data) == size


def begins_json(data: bytes | str) -> bool:
    """Return whether a message begins like a JSON object."""
    return data[:1] in (b'{', '{') and not is_framed(data)


def decode_command(data: bytes | str) -> OperatorMessage | None:
    """
    Decode one message of ``cmd_unreliable``.

    :returns: The message, or ``None`` for a type that this robot ignores.
    :raises ProtocolError: It is malformed or oversized, or its velocity or stamp is not finite.
    """
    if len(data) > MAX_COMMAND_BYTES:
        raise ProtocolError(f'command of {len(data)} bytes; at most {MAX_COMMAND_BYTES}')
    if isinstance(data, str):
        data = data.encode('utf-8', 'replace')
    if is_framed(data):
        return _decode_framed(data)
    if begins_json(data):
        return _decode_json_message(parse_json_object(data, max_bytes=MAX_COMMAND_BYTES))
    if data[:8] == TWIST_STAMPED_FINGERPRINT:
        return _decode_lcm_twist_stamped(data)
    if data[:8] == JOY_FINGERPRINT:
        return _decode_joy(data)
    if data[:8] == POSE_STAMPED_FINGERPRINT:
        return _decode_pose(data)
    if len(data) >= _FRAMED_HEAD.size and _FRAMED_HEAD.unpack_from(data)[0] < MAX_FRAMED_HEADER:
        raise ProtocolError(f'framed command of {len(data)} bytes does not match its lengths')
    if len(data) < 8:
        raise ProtocolError(f'command of {len(data)} bytes is too short')
    return None


def _decode_lcm_twist_stamped(data: bytes) -> DriveCommand:
    if len(data) < _LCM_HEAD.size:
        raise ProtocolError(f'TwistStamped of {len(data)} bytes is too short')
    _, seq, sec, nsec, length = _LCM_HEAD.unpack_from(data)
    if length < 1 or len(data) != _LCM_HEAD.size + length + _LCM_TWIST.size:
        raise ProtocolError(f'TwistStamped of {len(data)} bytes with a frame_id of {length}')
    frame_id = data[_LCM_HEAD.size : _LCM_HEAD.size + length]
    if frame_id[-1:] != b'\0':
        raise ProtocolError('TwistStamped frame_id is not terminated')
    axes = _LCM_TWIST.unpack_from(data, _LCM_HEAD.size + length)
    return _drive_command(seq, sec, nsec, frame_id[:-1], axes)


def _decode_header(data: bytes, start: int, kind: str) -> tuple[int, float, str, int]:
    """Decode an LCM ``std_msgs.Header``: seq, stamp in seconds, frame_id, and where it ends."""
    if len(data) < start + _LCM_HEADER.size:
        raise ProtocolError(f'{kind} of {len(data)} bytes is too short')
    seq, sec, nsec, length = _LCM_HEADER.unpack_from(data, start)
    end = start + _LCM_HEADER.size + length
    frame_id = data[start + _LCM_HEADER.size : end]
    if length < 1 or len(data) < end or frame_id[-1:] != b'\0':
        raise ProtocolError(f'{kind} of {len(data)} bytes with a frame_id of {length}')
    if not 0 <= nsec < 1_000_000_000:
        raise ProtocolError(f'{kind} with {nsec} nanoseconds')
    return seq, sec + nsec * 1e-9, frame_id[:-1].decode('utf-8', 'replace'), end


def _decode_joy(data: bytes) -> JoyState:
    if len(data) < 8 + _LCM_LENGTHS.size:
        raise ProtocolError(f'Joy of {len(data)} bytes is too short')
    axis_count, button_count = _LCM_LENGTHS.unpack_from(data, 8)
    if not (0 <= axis_count <= MAX_JOY and 0 <= button_count <= MAX_JOY):
        raise ProtocolError(
            f'Joy with {axis_count} axes and {button_count} buttons; {MAX_JOY} max'
        )
    seq, stamp_s, frame_id, end = _decode_header(data, 8 + _LCM_LENGTHS.size, 'Joy')
    layout = f'>{axis_count}f{button_count}i'
    if len(data) != end + struct.calcsize(layout):
        raise ProtocolError(f'Joy of {len(data)} bytes does not match its lengths')
    values = struct.unpack_from(layout, data, end)
    axes, buttons = values[:axis_count], values[axis_count:]
    # Receivers multiply them with speeds: a larger axis would be a larger speed.
    if not all(-1.0 <= axis <= 1.0 for axis in axes) or not set(buttons) <= {0, 1}:
        raise ProtocolError('Joy with an axis beyond -1 to 1 or a button that is neither 0 nor 1')
    return JoyState(seq=seq, stamp_s=stamp_s, frame_id=frame_id, axes=axes, buttons=buttons)


def _decode_pose(data: bytes) -> PoseCommand | None:
    seq, stamp_s, hand, end = _decode_header(data, 8, 'PoseStamped')
    if len(data) != end + _LCM_POSE.size:
        raise ProtocolError(f'PoseStamped of {len(data)} bytes does not match its lengths')
    if hand not in HANDS:
        return None
    x, y, z, *turn = _LCM_POSE.unpack_from(data, end)
    norm = math.hypot(*turn)
    if not all(abs(metres) <= MAX_REACH_M for metres in (x, y, z)) or not 0.5 < norm < 2.0:
        raise ProtocolError('PoseStamped that is no pose within 100 m')
    qx, qy, qz, qw = (part / norm for part in turn)
    pose = Pose(position=(x, y, z), orientation=(qx, qy, qz, qw))
    return PoseCommand(seq=seq, stamp_s=stamp_s, hand=hand, pose=pose)


def _encode_header(seq: int, stamp_s: float, frame_id: str) -> bytes:
    name = frame_id.encode() + b'\0'
    sec = math.floor(stamp_s)
    nsec = min(999_999_999, round((stamp_s - sec) * 1e9))
    return _LCM_HEADER.pack(seq, sec, nsec, len(name)) + name


def encode_joy(joy: JoyState) -> bytes:
    """Encode a state as LCM ``sensor_msgs.Joy``, as an operator does."""
    lengths = _LCM_LENGTHS.pack(len(joy.axes), len(joy.buttons))
    values = struct.pack(f'>{len(joy.axes)}f{len(joy.buttons)}i', *joy.axes, *joy.buttons)
    header = _encode_header(joy.seq, joy.stamp_s, joy.frame_id)
    return JOY_FINGERPRINT + lengths + header + values


def encode_pose(command: PoseCommand) -> bytes:
    """Encode a pose as LCM ``geometry_msgs.PoseStamped``, as an operator does."""
    pose = _LCM_POSE.pack(*command.pose.position, *command.pose.orientation)
    header = _encode_header(command.seq, command.stamp_s, command.hand)
    return POSE_STAMPED_FINGERPRINT + header + pose


def _decode_framed(data: bytes) -> DriveCommand | None:
    """Decode the framing of newer peers: a JSON header, then CDR (docs/protocol.md §7)."""
    header_length, _ = _FRAMED_HEAD.unpack_from(data)
    header = parse_json_object(data[_FRAMED_HEAD.size : _FRAMED_HEAD.size + header_length])
    meta = header.get('meta')
    if not isinstance(meta, dict) or meta.get('encoding') != 'cdr':
        return None
    if str(meta.get('type')).replace('/msg/', '/').replace('.', '/') != (
        'geometry_msgs/TwistStamped'
    ):
        return None
    seq = header.get('seq', 0)
    if type(seq) is not int or not -(2**31) <= seq < 2**31:
        raise ProtocolError('framed command with a seq that is not an int32')
    channel = header.get('ch')
    return _decode_cdr_twist_stamped(
        seq,
        data[_FRAMED_HEAD.size + header_length :],
        channel=channel if isinstance(channel, str) else '',
    )


def _decode_cdr_twist_stamped(seq: int, payload: bytes, *, channel: str) -> DriveCommand:
    """Decode plain CDR (OMG DDSI-RTPS §10): 4 bytes of encapsulation, then aligned fields."""
    if len(payload) < 16:
        raise ProtocolError(f'CDR TwistStamped of {len(payload)} bytes is too short')
    order = _CDR_ORDERS.get(payload[:2])
    if order is None:
        raise ProtocolError(f'CDR encapsulation {payload[:2].hex()} is not plain CDR')
    body = payload[4:]
    sec, nsec, length = struct.unpack_from(f'{order}iII', body)
    start = 12 + length
    start += -start % 8
    if length < 1 or len(body) < start + _LCM_TWIST.size:
        raise ProtocolError(f'CDR TwistStamped of {len(payload)} bytes is too short')
    axes = struct.unpack_from(f'{order}6d', body, start)
    frame_id = body[12 : 12 + length].rstrip(b'\0')
    return _drive_command(seq, sec, nsec, frame_id, axes, channel=channel)


def _drive_command(
    seq: int,
    sec: int,
    nsec: int,
    frame_id: bytes,
    axes: tuple[float, ...],
    *,
    channel: str = '',
) -> DriveCommand:
    if not 0 <= nsec < 1_000_000_000:
        raise ProtocolError(f'TwistStamped with {nsec} nanoseconds')
    if not all(math.isfinite(axis) for axis in axes):
        raise ProtocolError('TwistStamped with a velocity that is not finite')
    return DriveCommand(
        seq=seq,
        stamp_s=sec + nsec * 1e-9,
        frame_id=frame_id.decode('utf-8', 'replace'),
        velocity=Velocity.from_axes(axes),
        channel=channel,
    )


def encode_drive_command(command: DriveCommand) -> bytes:
    """Encode a command as LCM ``geometry_msgs.TwistStamped``, as an operator does."""
    frame_id = command.frame_id.encode() + b'\0'
    sec = math.floor(command.stamp_s)
    nsec = min(999_999_999, round((command.stamp_s - sec) * 1e9))
    head = _LCM_HEAD.pack(TWIST_STAMPED_FINGERPRINT, command.seq, sec, nsec, len(frame_id))
    return head + frame_id + _LCM_TWIST.pack(*command.velocity.axes())


def decode_state(data: bytes | str) -> OperatorMessage | None:
    """
    Decode one message of ``state_reliable``.

    :returns: The message; ``None``: it is to be ignored (an unknown type, or not JSON).
    :raises ProtocolError: It begins like JSON, but is malformed or oversized.
    """
    if not begins_json(data):
        return None
    return _decode_json_message(parse_json_object(data))


def _decode_json_message(message: dict[str, Any]) -> OperatorMessage | None:
    kind = message.get('type')
    if kind == 'ping':
        return Ping(client_ts_s=_finite(message, 'client_ts'))
    if kind == 'estop':
        # A stop is never refused for a missing nonce or a malformed name: only the acknowledgement
        # and the explanation need them.
        return Estop(nonce=_nonce(message), by=_by(message))
    if kind == 'estop_clear':
        latch = message.get('latch')
        if latch is not None and type(latch) is not int:
            raise ProtocolError('estop_clear: latch is not a whole number')
        return EstopClear(nonce=_nonce(message), latch=latch, by=_by(message))
    if kind == 'lease':
        token = message.get('token')
        if type(token) is not int or not 0 <= token < 2**53:
            raise ProtocolError('lease: token is not a positive integer')
        picture = message.get('picture')
        if not isinstance(picture, bool | None):
            raise ProtocolError('lease: picture is neither true nor false')
        return Lease(token=token, picture=picture, latency=_latency(message))
    if kind == 'step':
        return _step(message)
    if kind == 'camera_select':
        return _camera_select(message)
    if kind == 'video_stats':
        return VideoStats(figures=_figures(message))
    if kind == 'sport_cmd':
        name = message.get('name')
        return SportCommand(name=name if isinstance(name, str) else '', nonce=_nonce(message))
    if isinstance(kind, str) and kind in _REQUESTS:
        return Unsupported(type=kind, nonce=_nonce(message))
    return None


def _step(message: dict[str, Any]) -> DriveCommand:
    """Decode a command that moves the robot by a distance or an angle."""
    wanted = message.get('velocity')
    if not isinstance(wanted, list) or len(wanted) != 3:
        raise ProtocolError('step: velocity is not a list of x, y and yaw')
    x, y, yaw = (_finite({'type': 'step', 'velocity': axis}, 'velocity') for axis in wanted)
    amounts = {
        name: _bounded(message, name, largest)
        for name, largest in (('distance', MAX_STEP_M), ('angle', MAX_STEP_RAD))
        if message.get(name) is not None
    }
    moves, turns = bool(x or y), bool(yaw)
    if len(amounts) != 1 or not all(amounts.values()) or moves is turns:
        raise ProtocolError('step: a distance or an angle above 0 is needed, and its velocity')
    if turns is not ('angle' in amounts):
        raise ProtocolError('step: a distance needs a linear velocity, an angle an angular one')
    frame_id = message.get('frame_id', '')
    if not isinstance(frame_id, str):
        raise ProtocolError('step: frame_id is not text')
    return DriveCommand(
        seq=_whole(message, 'seq', -(2**31), 2**31 - 1),
        stamp_s=_finite(message, 'stamp'),
        frame_id=frame_id,
        velocity=Velocity(linear_x=x, linear_y=y, angular_z=yaw),
        step=Step(
            id=_whole(message, 'id', 0, 2**53 - 1),
            distance_m=amounts.get('distance'),
            angle_rad=amounts.get('angle'),
        ),
    )


def _whole(message: dict[str, Any], name: str, least: int, largest: int) -> int:
    value = message.get(name)
    if type(value) is not int or not least <= value <= largest:
        raise ProtocolError(f'{message["type"]}: {name} is not a whole number in its range')
    return value


def _camera_select(message: dict[str, Any]) -> CameraSelect:
    names = message.get('cams')
    if not isinstance(names, list) or len(names) > MAX_SELECTED:
        raise ProtocolError(f'camera_select: cams is not a list of {MAX_SELECTED} names at most')
    if not all(isinstance(name, str) for name in names):
        raise ProtocolError('camera_select: a name in cams is not text')
    return CameraSelect(cameras=tuple(names))


def _finite(message: dict[str, Any], name: str) -> float:
    value = message.get(name)
    # JSON's true is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e12:
        raise ProtocolError(f'{message["type"]}: {name} is not a finite number')
    return float(value)


def _bounded(message: dict[str, Any], name: str, largest: float) -> float:
    value = _finite(message, name)
    if not 0.0 <= value <= largest:
        raise ProtocolError(f'{message["type"]}: {name} is {value:g}; 0 to {largest:g} is allowed')
    return value


def _figures(message: dict[str, Any]) -> dict[str, float]:
    """Return the figures of a ``video_stats`` that are numbers; the others are ignored."""
    figures = {}
    for name in VIDEO_FIGURES:
        with suppress(ProtocolError):
            figures[name] = _bounded(message, name, MAX_FIGURE)
    return figures


def _latency(message: dict[str, Any]) -> Latency | None:
    """Return the latencies of an echo; a page that names neither does not measure them."""
    if 'picture_latency' not in message and 'command_latency' not in message:
        return None
    picture_s, command_s = (
        None if message.get(name) is None else _bounded(message, name, MAX_LATENCY_S)
        for name in ('picture_latency', 'command_latency')
    )
    return Latency(picture_s=picture_s, command_s=command_s)


def _nonce(message: dict[str, Any]) -> Nonce | None:
    nonce = message.get('nonce')
    if type(nonce) is int and abs(nonce) < 2**53:
        return nonce
    if isinstance(nonce, str) and len(nonce) <= MAX_NONCE_CHARS:
        return nonce
    return None


def _by(message: dict[str, Any]) -> Origin:
    origin = decode_origin(message.get('by'))
    # A message from the network does not come from the robot itself, whatever it says.
    if origin is None or origin.role is OriginRole.ROBOT:
        return UNNAMED_OPERATOR
    return origin


def decode_origin(fields: object, *, max_chars: int = MAX_PERSON_CHARS) -> Origin | None:
    """
    Read who pressed or released the E-STOP.

    Never raises: no E-STOP may fail because of the name that comes with it.

    :param fields: The value in the JSON.
    :param max_chars: Maximum length of the name.
    :returns: ``None`` if the name is unprintable or too long, or the role unknown.
    """
    if not isinstance(fields, dict):
        return None
    sub, role = fields.get('sub'), fields.get('role')
    if not isinstance(sub, str) or len(sub) > max_chars or not sub.isprintable():
        return None
    known = _ORIGIN_ROLES.get(role) if isinstance(role, str) else None
    return None if known is None else Origin(sub=sub, role=known)


# --- robot → operator ------------------------------------------------------------------------


def encode_pong(client_ts_s: float, robot_ts_s: float) -> str:
    return json.dumps({'type': 'pong', 'client_ts': client_ts_s, 'robot_ts': robot_ts_s})


def encode_cmd_ack(nonce: Nonce, *, ok: bool, reason: str | None = None) -> str:
    message: dict[str, Any] = {'type': 'cmd_ack', 'nonce': nonce, 'ok': ok}
    if reason is not None:
        message['reason'] = reason
    return json.dumps(message)


def encode_lease(token: int) -> bytes:
    return json.dumps({'type': 'lease', 'token': token}).encode()


def encode_telemetry(
    *, cmd: dict[str, float] | None, state: dict[str, Any], robot_ts_s: float
) -> str:
    """
    Encode ``robot_telemetry``.

    :param cmd: ``latency_ms``, ``jitter_ms``, ``rate_hz``, ``throughput_bps``; ``None`` while no
        commands arrive.
    :param state: At least ``estopped``.
    """
    return json.dumps(
        {
            'type': 'robot_telemetry',
            'cmd': cmd,
            'soc': None,
            'state': state,
            'robot_ts': robot_ts_s,
        }
    )


# --- broker → robot --------------------------------------------------------------------------


def decode_session_answer(body: dict[str, Any]) -> SessionAnswer:
    """
    Check the answer to ``POST /sessions``.

    :raises ProtocolError: A field is missing or invalid.
    """
    session_id = body.get('session_id')
    if not isinstance(session_id, str) or not 1 <= len(session_id) <= 128:
        raise ProtocolError('session answer without a session_id')
    if not session_id.replace('-', '').replace('_', '').isalnum() or not session_id.isascii():
        raise ProtocolError('session answer with a session_id that cannot be part of a URL')
    sdp_answer = body.get('sdp_answer')
    if not isinstance(sdp_answer, str) or not sdp_answer:
        raise ProtocolError('session answer without an sdp_answer')
    return SessionAnswer(session_id=session_id, sdp_answer=sdp_answer)


def decode_heartbeat_answer(body: dict[str, Any]) -> HeartbeatAnswer:
    """
    Check a heartbeat answer before anything acts on it.

    :raises ProtocolError: An id is not a whole number from 1 to 65534, or is used twice.
    """
    ids = ChannelIds(
        cmd=_stream_id(body, 'cmd_channel_subscriber_id'),
        state=_stream_id(body, 'state_channel_subscriber_id'),
        state_back=_stream_id(body, 'state_back_channel_publisher_id'),
        map=_stream_id(body, 'map_channel_publisher_id'),
    )
    used = [stream for stream in ids.by_label().values() if stream is not None]
    if len(set(used)) != len(used):
        raise ProtocolError(f'heartbeat answer uses a stream id twice: {used}')
    offer = body.get('renegotiate_offer')
    if offer is not None and not isinstance(offer, str):
        raise ProtocolError('heartbeat answer with a renegotiate_offer that is not text')
    epoch = body.get('control_epoch')
    if epoch is not None and (type(epoch) is not int or not 0 <= epoch < 2**53):
        raise ProtocolError('heartbeat answer with a control_epoch that is not a whole number')
    # An unknown codec cannot have been negotiated.
    codec = next((it for it in VideoCodec if it.value == body.get('video_codec')), None)
    return HeartbeatAnswer(
        channels=ids, renegotiate_offer=offer, control_epoch=epoch, video_codec=codec
    )


def _stream_id(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    # aiortc accepts True as 1 and 3.0 as 3, so the type is checked exactly.
    if value is None or (type(value) is int and 1 <= value <= MAX_STREAM_ID):
        return value
    raise ProtocolError(f'heartbeat answer: {name} is {value!r:.40}')


def decode_ice_servers(body: dict[str, Any]) -> tuple[IceServer, ...]:
    """
    Return ``ice_servers`` without the entries that a peer connection must not get.

    :returns: At most eight servers, each with ``stun``, ``turn`` or ``turns`` URLs only.
    :raises ProtocolError: ``ice_servers`` is not a list.
    """
    servers = body.get('ice_servers')
    if not isinstance(servers, list):
        raise ProtocolError('ice_servers is not a list')
    usable = (_ice_server(server) for server in servers if isinstance(server, dict))
    return tuple(server for server in usable if server is not None)[:MAX_ICE_SERVERS]


def _ice_server(server: dict[str, Any]) -> IceServer | None:
    urls = server.get('urls')
    listed = [urls] if isinstance(urls, str) else urls if isinstance(urls, list) else []
    usable = tuple(
        url
        for url in listed
        if isinstance(url, str)
        and len(url) <= 256
        and url.startswith(('stun:', 'turn:', 'turns:'))
    )
    if not usable:
        return None
    username, credential = server.get('username'), server.get('credential')
    return IceServer(
        urls=usable,
        username=username if isinstance(username, str) else None,
        credential=credential if isinstance(credential, str) else None,
    )
