"""
Checks of every decoder that foreign bytes can reach, each as a function of bytes.

Shared by the short run of the tests and by the campaign (campaign.py). A check raises unless the
decoder returns a value that satisfies its invariants or raises an exception that it documents.
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

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
import ipaddress
import json
import math
import struct
from typing import Any, Final, get_type_hints

from aiortc.codecs.h264 import h264_depayload, H264Encoder
from aiortc.rtcicetransport import parse_stun_turn_uri
from aiortc.sdp import SessionDescription
import av

from teleop_webrtc_bridge.bridge.link.frame_slot import MAX_FRAME_BYTES
from teleop_webrtc_bridge.bridge.link.packets import (
    Configure,
    decode,
    encode,
    MAX_PACKET_BYTES,
    Packet,
    Received,
    Show,
    Shutdown,
    Status,
)
from teleop_webrtc_bridge.bridge.ros.camera.image_intake import check_image, ImageUnusable
from teleop_webrtc_bridge.bridge.ros.estop import EstopRecord
from teleop_webrtc_bridge.bridge.ros.operator_messages import OperatorMessages
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http.routes_admin import MAX_TOKEN_S, NewKey, NewToken
from teleop_webrtc_bridge.broker.http.routes_operator import Join, JoinName, PeerAnswer, Person
from teleop_webrtc_bridge.broker.http.routes_robot import DialIn, Heartbeat, MAX_WAIT_S
from teleop_webrtc_bridge.broker.http.schema import ForeignSdp, read
from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.media.channels import EstopSigner, EstopTap, FloodGuard
from teleop_webrtc_bridge.core.codec import (
    decode_command,
    decode_heartbeat_answer,
    decode_ice_servers,
    decode_session_answer,
    decode_state,
    encode_drive_command,
    encode_lease,
    encode_pong,
    MAX_COMMAND_BYTES,
    MAX_HTTP_BODY_BYTES,
    MAX_MESSAGE_BYTES,
    parse_json_object,
)
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable, ProtocolError
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    Estop,
    EstopClear,
    Lease,
    OperatorMessage,
    Origin,
    OriginRole,
    Ping,
    STATE_RELIABLE,
    Unsupported,
    Velocity,
    VideoStats,
)
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, GateLimits
from teleop_webrtc_bridge.core.sdp import (
    check_sdp,
    is_forbidden_address,
    MAX_CANDIDATES,
    spread_candidates,
    strip_forbidden_candidates,
)
from teleop_webrtc_bridge.core.session import BridgeState
from teleop_webrtc_bridge.core.video.compressed_header import read_header
from teleop_webrtc_bridge.core.video.h264 import AccessUnit, Stream
from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS
from teleop_webrtc_bridge.core.video.serialized_image import read_compressed_image, read_image

__all__ = ['DECODERS', 'Decoder']

LARGEST_STAMP_S: Final = 2.0**31
LARGEST_NUMBER: Final = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """One decoder, with the starting material for a fuzzer."""

    check: Callable[[bytes], None]
    """Decodes and checks; raises for behaviour that the decoder does not document."""
    max_bytes: int
    """Size of the largest input that can reach the decoder."""
    seeds: tuple[bytes, ...]
    """Valid messages."""
    words: tuple[bytes, ...] = ()
    """Building blocks of valid messages."""


# --- operator → robot ------------------------------------------------------------------------


def check_command(data: bytes) -> None:
    try:
        message = decode_command(data)
    except ProtocolError:
        return
    check_message(message)
    if isinstance(message, DriveCommand):
        check_round_trip(message)


def check_round_trip(command: DriveCommand) -> None:
    encoded = encode_drive_command(command)
    if len(encoded) > MAX_COMMAND_BYTES:
        return  # a byte that is not UTF-8 becomes three
    again = decode_command(encoded)
    assert isinstance(again, DriveCommand)
    assert (again.seq, again.frame_id) == (command.seq, command.frame_id)
    assert again.velocity == command.velocity
    assert abs(again.stamp_s - command.stamp_s) < 1e-6


def check_state(data: bytes) -> None:
    for form in (data, data.decode('utf-8', 'replace')):
        try:
            message = decode_state(form)
        except ProtocolError:
            continue
        check_message(message)
        if isinstance(message, Ping):
            json.loads(encode_pong(message.client_ts_s, 1.0))


def check_message(message: OperatorMessage | None) -> None:
    if isinstance(message, DriveCommand):
        assert all(map(math.isfinite, message.velocity.axes()))
        assert abs(message.stamp_s) <= LARGEST_STAMP_S
        assert -(2**31) <= message.seq < 2**31
    elif isinstance(message, Lease):
        assert type(message.token) is int
        assert 0 <= message.token < LARGEST_NUMBER
        if message.latency is not None:
            told = (message.latency.picture_s, message.latency.command_s)
            assert all(seconds is None or 0.0 <= seconds <= 60.0 for seconds in told)
    elif isinstance(message, VideoStats):
        assert set(message.figures) <= {'loss_pct', 'jitter_ms', 'fps'}
        assert all(0.0 <= figure <= 1e6 for figure in message.figures.values())
    elif isinstance(message, Ping):
        assert type(message.client_ts_s) is float
        assert abs(message.client_ts_s) <= 1e12
    elif isinstance(message, Estop | EstopClear | Unsupported):
        assert message.nonce is None or type(message.nonce) in (int, str)
        assert len(str(message.nonce)) <= 128
        if isinstance(message, Estop | EstopClear):
            check_origin(message.by)
    else:
        assert message is None


def check_origin(by: Origin) -> None:
    assert len(by.sub) <= 64
    assert by.sub.isprintable()
    # The name is used in DDS messages, logs and JSON.
    by.sub.encode()
    assert by.role is not OriginRole.ROBOT


def check_operator_messages(data: bytes) -> None:
    """Let the gate judge the bytes on both channels while an operator drives."""
    now = 1000.0
    limits = GateLimits(command_timeout_s=0.25, max_axes=(1.0, 0.5, 0.0, 0.0, 0.0, 1.5))
    gate = CommandGate(limits)
    said: list[bytes] = []

    def publish() -> None:
        velocity = gate.output(now)
        if velocity is not None:
            assert all(
                abs(axis) <= limit
                for axis, limit in zip(velocity.axes(), limits.max_axes, strict=True)
            )

    estops = EstopRecord(clock_ahead_s=0.0)
    messages = OperatorMessages(
        gate,
        estops=estops,
        publish=publish,
        send=lambda _label, payload, *_: said.append(payload),
        cameras=('front', 'rear'),
        clock_ahead_s=0.0,
    )
    messages.set_operated(now, True)
    for label in (CMD_UNRELIABLE, STATE_RELIABLE):
        messages.handle(Received(label=label, payload=data, arrival_s=now), now)
        publish()
        now += 1.0
        messages.report(now)
    for payload in said:
        json.loads(payload, parse_constant=refuse)
    now += 1.0
    publish()
    assert not gate.moving
    # Whatever origin the bytes claim, a latch has a name, and the name is usable.
    cause = estops.cause(gate.latch)
    assert gate.estopped is (cause is not None)
    if cause is not None:
        check_origin(cause.by)
    for event in estops.take_events():
        check_origin(event.by)


def refuse(name: str) -> None:
    raise AssertionError(f'{name} was sent')


VIEWER = Identity(tenant='yard', sub='a viewer', role=Role.VIEWER)


class _Channel:
    """The part of a data channel that an :class:`EstopTap` needs."""

    label = STATE_RELIABLE

    def on(self, _event: str, handler: Callable[[bytes | str], None]) -> None:
        self.receive = handler


def check_viewer(data: bytes) -> None:
    """Check that only a viewer's E-STOPs are forwarded, and that these are rewritten."""
    forwarded: list[str] = []
    channel: Any = _Channel()
    voice = EstopSigner('m', VIEWER, lambda _stop: None)
    EstopTap(channel, FloodGuard(0.0), voice, lambda _label, text: forwarded.append(text))
    channel.receive(data)
    channel.receive(data.decode('utf-8', 'replace'))
    for text in forwarded:
        stop = decode_state(text)
        assert isinstance(stop, Estop)
        assert stop.by is not None
        assert stop.by.sub == VIEWER.sub


def check_operator(data: bytes) -> None:
    """Check that an operator's messages name nobody else as the origin of a stop or release."""
    signed = EstopSigner('m', VIEWER, lambda _stop: None).sign(data)
    if signed is None:
        with suppress(ProtocolError):
            decode_state(data)
            raise AssertionError('the robot would have accepted it')
        return
    if isinstance(signed, bytes):
        assert signed == data
    try:
        message = decode_state(signed)
    except ProtocolError:
        return
    if isinstance(message, Estop | EstopClear):
        assert message.by is not None
        assert message.by.sub == VIEWER.sub


# --- broker → robot --------------------------------------------------------------------------


def parse(data: bytes) -> dict[str, Any] | None:
    try:
        return parse_json_object(data, max_bytes=MAX_HTTP_BODY_BYTES)
    except ProtocolError:
        return None


def check_heartbeat(data: bytes) -> None:
    body = parse(data)
    if body is None:
        return
    try:
        answer = decode_heartbeat_answer(body)
    except ProtocolError:
        return
    ids = [stream for stream in answer.channels.by_label().values() if stream is not None]
    assert all(type(stream) is int and 1 <= stream <= 65534 for stream in ids)
    assert len(set(ids)) == len(ids)
    epoch = answer.control_epoch
    assert epoch is None or (type(epoch) is int and 0 <= epoch < LARGEST_NUMBER)
    offer = answer.renegotiate_offer
    assert offer is None or type(offer) is str
    if offer is not None:
        check_description(offer)


def check_session_answer(data: bytes) -> None:
    body = parse(data)
    if body is None:
        return
    try:
        answer = decode_session_answer(body)
    except ProtocolError:
        return
    # It becomes part of a URL's path.
    assert all(c.isalnum() or c in '-_' for c in answer.session_id)
    assert answer.session_id.isascii()
    assert 1 <= len(answer.session_id) <= 128
    check_description(answer.sdp_answer)


def check_ice_servers(data: bytes) -> None:
    body = parse(data)
    if body is None:
        return
    try:
        servers = decode_ice_servers(body)
    except ProtocolError:
        return
    assert len(servers) <= 8
    for server in servers:
        assert server.urls
        assert type(server.username) in (str, type(None))
        assert type(server.credential) in (str, type(None))
        for url in server.urls:
            assert url.startswith(('stun:', 'turn:', 'turns:'))
            with suppress(ValueError):
                parse_stun_turn_uri(url)


# --- session descriptions --------------------------------------------------------------------


def check_sdp_text(data: bytes) -> None:
    check_description(data.decode('utf-8', 'replace'))


def check_description(sdp: str) -> str | None:
    """Return the description as the broker would use it; ``None`` if it is refused."""
    try:
        check_sdp(sdp)
    except ProtocolError:
        return None
    spread = spread_candidates(sdp)
    assert spread_candidates(spread) == spread
    kept = strip_forbidden_candidates(sdp, allow_local=False)
    assert strip_forbidden_candidates(kept, allow_local=False) == kept
    assert kept.count('a=candidate:') <= sdp.count('a=candidate:')
    return spread_candidates(kept)


def check_sdp_parsed(data: bytes) -> None:
    """Check that aiortc's parser finds no forbidden address in an accepted description."""
    text = check_description(data.decode('utf-8', 'replace'))
    if text is None:
        return
    try:
        description = SessionDescription.parse(text)
    except Exception:  # noqa: BLE001 - for this reason its callers answer any exception with a 400
        return
    for media in description.media:
        assert len(media.ice_candidates) <= MAX_CANDIDATES
        for candidate in media.ice_candidates:
            assert not is_forbidden_text(candidate.ip), candidate.ip


def is_forbidden_text(address: str) -> bool:
    # Without the zone, which only names the interface.
    return is_forbidden_address(ipaddress.ip_address(address.partition('%')[0]), allow_local=False)


# --- operator or robot → broker --------------------------------------------------------------


def check_requests(data: bytes) -> None:
    body = parse(data)
    if body is None:
        return
    for request in (DialIn, Heartbeat, Join, JoinName, PeerAnswer, Person, NewKey, NewToken):
        for name, hint in get_type_hints(request, include_extras=True).items():
            with suppress(ApiError):
                check_field(name, hint.__metadata__[0].read(name, body.get(name)))
        with suppress(ApiError):
            whole = read(request, body)
            assert not isinstance(whole, Person) or whole.named()


def check_field(name: str, value: Any) -> None:
    """Check a parsed field of a request; ``None`` if it is missing or null."""
    if isinstance(value, ForeignSdp):
        value.usable(name, allow_local=name == 'sdp_answer')
    elif isinstance(value, float):
        assert math.isfinite(value)
        bounds = {'wait_s': (0.0, MAX_WAIT_S), 'expires_in_s': (0.0, MAX_TOKEN_S)}
        lowest, highest = bounds.get(name, (-math.inf, math.inf))
        assert lowest <= value <= highest


# --- within the robot ------------------------------------------------------------------------

#: x264's access units for a picture of 16 by 16 pixels and the three after it.
H264: Final = tuple(
    b'\0\0\0\1'.join(map(bytes.fromhex, ('', *units.split())))
    for units in (
        '6764000aacb4f420000003002000000791e244d4 68ef0fcb '
        '6588840affc8ff287e0021386c7397294fd3c0e1',
        '419a26237f64472f69ccffffeab5a08b88decb',
        '419a46211f7361052201ef7ff1b59544248c03ca611b',
        '419a6622ff748abffff22b5a56843f37c5',
    )
)

H264_SEEDS: Final = (*H264, b'\0\0\1\x09\x10' + H264[0])
H264_WORDS: Final = (
    *(b'\0\0\1', b'\0\0\0\1', b'\0\0\3', b'\x67', b'\x68', b'\x65', b'\x41', b'\x06\x06'),
    *(b'\x67\x64\0\x1f', b'\x67\x42\xc0\x1e', b'\x67\x4d\x40\x28', b'\xff', b'\x80'),
)


def check_h264(data: bytes) -> None:
    """Read one message, and check that the result can be sent."""
    check_h264_messages([data])


def check_h264_stream(data: bytes) -> None:
    """Read a message between valid ones as well."""
    check_h264_messages([data, *H264[:2], data, data[len(data) // 2 :], H264[2], *H264])


def check_h264_messages(messages: Iterable[bytes]) -> None:
    stream = Stream()
    for message in messages:
        try:
            found = stream.read(message)
        except PictureUndecodable:
            continue
        if isinstance(found, AccessUnit):
            check_access_unit(found)


def check_access_unit(found: AccessUnit) -> None:
    units = found.data.split(b'\0\0\0\1')[1:]
    kinds = [unit[0] & 0x1F for unit in units]
    assert set(kinds) <= {1, 5, 6, 7, 8}
    assert not found.keyframe or {7, 8} <= set(kinds)
    assert 0 < found.width <= 8192
    assert 0 < found.height <= 8192
    packet: Any = av.Packet(found.data)
    packet.pts, packet.time_base = 0, Fraction(1, 90_000)
    payloads, _ = H264Encoder().pack(packet)
    # A fragmented NAL unit gets its start code with the first fragment.
    assert b''.join(map(h264_depayload, payloads)) == found.data


IMAGE_HEAD: Final = struct.Struct('<IIIQ')


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The fields of ``sensor_msgs/Image`` that are read."""

    width: int
    height: int
    step: int
    encoding: str
    data: range
    """Stand-in that only has the length of the data."""


#: Two pixels, written by a little-endian and by a big-endian computer.
IMAGE_MESSAGES: Final = tuple(
    identifier
    + struct.pack(f'{order}iII4sIII6s', 5, 6, 4, b'cam\0', 1, 2, 6, b'mono8\0')
    + struct.pack(f'{order}BxII2s', 0, 2, 2, b'ab')
    for identifier, order in ((b'\0\1\0\0', '<'), (b'\0\0\0\0', '>'))
)


def check_image_header(data: bytes) -> None:
    if len(data) < IMAGE_HEAD.size:
        return
    width, height, step, size = IMAGE_HEAD.unpack_from(data)
    encoding = data[IMAGE_HEAD.size :].decode('utf-8', 'replace')
    image: Any = Image(
        width=width, height=height, step=step, encoding=encoding, data=range(size % 2**40)
    )
    try:
        check_image(image)
    except ImageUnusable:
        return
    assert 0 < width <= 8192
    assert 0 < height <= 8192
    assert step * height <= min(len(image.data), MAX_FRAME_BYTES)
    pixel = PIXEL_FORMATS.get(encoding)
    assert width * (pixel.bytes_per_pixel if pixel else 1) <= step


def check_serialized_image(data: bytes) -> None:
    with suppress(PictureUndecodable):
        compressed = read_compressed_image(data)
        assert compressed.data.obj is data
        assert data[compressed.place :][: len(compressed.data)] == compressed.data
    try:
        image = read_image(data)
    except PictureUndecodable:
        return
    assert all(0 <= number < 2**32 for number in (image.width, image.height, image.step))
    assert 0 <= image.is_bigendian < 256
    assert image.data.obj is data
    assert data[image.place :][: len(image.data)] == image.data


def check_compressed(data: bytes) -> None:
    try:
        header = read_header(memoryview(data))
    except PictureUndecodable:
        return
    assert header.encoding in ('jpeg', 'png')
    assert 0 <= header.width < 2**32
    assert 0 <= header.height < 2**32


def check_link(data: bytes) -> None:
    try:
        packet = decode(data)
    except ProtocolError:
        return
    if isinstance(packet, Received):
        assert math.isfinite(packet.arrival_s)
    if isinstance(packet, Status):
        assert isinstance(packet.reason, str)
        assert type(packet.control_epoch) is int
        assert all(map(math.isfinite, packet.counters.values()))
    if not isinstance(packet, Configure):
        assert decode(encode(packet)) == packet
        return
    # The sender is the ROS half, which checks the numbers when it reads its parameters.
    decode(encode(packet))


# --- all of them -----------------------------------------------------------------------------

COMMAND: Final = encode_drive_command(
    DriveCommand(seq=7, stamp_s=1.7e9, frame_id='keyboard', velocity=Velocity(linear_x=0.5))
)
FRAMED_HEADER: Final = json.dumps(
    {'ch': 'c', 'seq': 1, 'meta': {'type': 'geometry_msgs/TwistStamped', 'encoding': 'cdr'}}
).encode()
CDR: Final = b'\0\1\0\0' + struct.pack('<iII', 17, 3, 5) + b'base\0' + bytes(7) + bytes(48)
FRAMED: Final = struct.pack('<II', len(FRAMED_HEADER), len(CDR)) + FRAMED_HEADER + CDR
REQUESTS: Final = (
    b'{"type":"ping","client_ts":12.5}',
    b'{"type":"estop","nonce":"a"}',
    b'{"type":"estop_clear","nonce":3,"latch":1}',
    b'{"type":"estop","nonce":"a","by":{"sub":"ann","role":"viewer","tenant":"acme"}}',
    b'{"type":"estop_clear","nonce":3,"by":{"sub":"ben","role":"operator","tenant":"acme"}}',
    b'{"type":"nav_goal","nonce":1,"x":2,"y":3}',
    b'{"type":"video_stats","fps":30}',
    encode_lease(12),
)
JSON_WORDS: Final = (
    *(b'{', b'}', b'[', b']', b':', b',', b'"', b'null', b'true', b'false', b'NaN', b'Infinity'),
    *(b'1e999', b'-1e-999', b'9007199254740992', b'\\ud800', b'\\u0000', b'\xff', b'-0', b'1.0'),
)
MESSAGE_WORDS: Final = (
    *(b'"type"', b'"nonce"', b'"token"', b'"latch"', b'"client_ts"', b'"lease"', b'"ping"'),
    *(b'"by"', b'"sub"', b'"role"', b'"ann"', b'"viewer"', b'"admin"', b'"robot"', b'"tenant"'),
    *(b'"estop"', b'"estop_clear"', b'"nav_goal"', b'"sport_cmd"', b'"meta"', b'"encoding"'),
    *(b'"cdr"', b'"geometry_msgs/TwistStamped"', b'"geometry_msgs/msg/TwistStamped"', b'"seq"'),
    *(COMMAND[:8], struct.pack('>d', math.nan), struct.pack('>d', math.inf), b'\0\1\0\0'),
)
SDP: Final = '\r\n'.join(
    [
        'v=0',
        'o=- 1 1 IN IP4 0.0.0.0',
        's=-',
        't=0 0',
        'a=group:BUNDLE 0 1',
        'm=video 9 UDP/TLS/RTP/SAVPF 96 97',
        'c=IN IP4 0.0.0.0',
        'a=recvonly',
        'a=mid:0',
        'a=rtcp-mux',
        'a=rtpmap:96 H264/90000',
        'a=fmtp:96 profile-level-id=42e01f;packetization-mode=1',
        'a=rtcp-fb:* nack pli',
        'a=rtpmap:97 rtx/90000',
        'a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid',
        'a=ssrc:1 cname:x',
        'a=candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host',
        'a=candidate:2 1 udp 1 2001:db8::7 50001 typ srflx raddr 10.0.0.1 rport 9',
        'a=candidate:3 1 udp 1 169.254.169.254 80 typ host',
        'a=candidate:4 1 udp 1 d1a3.local 80 typ host',
        'a=end-of-candidates',
        'a=ice-ufrag:abcd',
        'a=ice-pwd:0123456789abcdef01234567',
        'a=fingerprint:sha-256 00:11',
        'a=setup:actpass',
        'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
        'c=IN IP4 0.0.0.0',
        'a=mid:1',
        'a=sctp-port:5000',
        'a=max-message-size:65536',
        'a=setup:actpass',
        '',
    ]
).encode()
SDP_WORDS: Final = (
    *(b'v=0', b'm=', b'a=', b'a=candidate:', b'a=end-of-candidates', b'\r\n', b'\n', b'\x0b'),
    *(b'\xc2\x85', b'\xe2\x80\xa8', b' typ host', b'a=rtpmap:', b'a=rtcp-fb:*', b'a=fmtp:'),
    *(b'127.0.0.1', b'::1', b'::ffff:127.0.0.1', b'64:ff9b::7f00:1', b'fe80::1%1', b'%0'),
    *(b'169.254.169.254', b'fd00:ec2::254', b'100.100.100.200', b'0.0.0.0', b'224.0.0.1'),
    *(b'192.0.2.7', b'2001:db8::7', b'a=candidate:1 1 udp 1 192.0.2.7 9 typ host\r\n', b'.local'),
)
PNG: Final = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sII', 13, b'IHDR', 640, 480) + bytes(9)
JPEG: Final = (
    b'\xff\xd8\xff\xe0'
    + struct.pack('>H', 16)
    + bytes(14)
    + struct.pack('>BBHBHH', 0xFF, 0xC0, 17, 8, 480, 640)
    + bytes(10)
)
STREAM_IDS: Final = (
    b'"cmd_channel_subscriber_id"',
    b'"state_channel_subscriber_id"',
    b'"state_back_channel_publisher_id"',
    b'"map_channel_publisher_id"',
)
ANSWER: Final = b'{"ack":true,' + b','.join(
    name + b':%d' % number for number, name in enumerate(STREAM_IDS, 2)
)
OFFER: Final = json.dumps(SDP.decode()).encode()
PACKETS: Final[tuple[Packet, ...]] = (
    Received(label=CMD_UNRELIABLE, payload=COMMAND, arrival_s=1.0),
    Show(cameras=('front', 'rear')),
    Shutdown(),
    Status(state=BridgeState.OPERATED, reason='', control_epoch=3, counters={'a': 1.0}),
)

#: Name for the campaign → decoder.
DECODERS: Final = {
    'command': Decoder(
        check=check_command,
        max_bytes=MAX_COMMAND_BYTES,
        seeds=(COMMAND, FRAMED, *REQUESTS),
        words=(*JSON_WORDS, *MESSAGE_WORDS),
    ),
    'state': Decoder(
        check=check_state,
        max_bytes=MAX_MESSAGE_BYTES,
        seeds=REQUESTS,
        words=(*JSON_WORDS, *MESSAGE_WORDS),
    ),
    'operator_messages': Decoder(
        check=check_operator_messages,
        max_bytes=MAX_COMMAND_BYTES,
        seeds=(COMMAND, FRAMED, *REQUESTS),
        words=(*JSON_WORDS, *MESSAGE_WORDS),
    ),
    'viewer': Decoder(
        check=check_viewer,
        max_bytes=MAX_COMMAND_BYTES,
        seeds=REQUESTS,
        words=(*JSON_WORDS, *MESSAGE_WORDS),
    ),
    'operator': Decoder(
        check=check_operator,
        max_bytes=MAX_COMMAND_BYTES,
        seeds=REQUESTS,
        words=(*JSON_WORDS, *MESSAGE_WORDS),
    ),
    'heartbeat': Decoder(
        check=check_heartbeat,
        max_bytes=MAX_HTTP_BODY_BYTES,
        seeds=(
            ANSWER + b',"renegotiate_offer":null,"control_epoch":4}',
            ANSWER + b',"renegotiate_offer":' + OFFER + b'}',
        ),
        words=(*JSON_WORDS, *STREAM_IDS, b'"renegotiate_offer"', b'"control_epoch"'),
    ),
    'session_answer': Decoder(
        check=check_session_answer,
        max_bytes=MAX_HTTP_BODY_BYTES,
        seeds=(b'{"session_id":"a-B_9","sdp_answer":' + OFFER + b'}',),
        words=(*JSON_WORDS, b'"session_id"', b'"sdp_answer"'),
    ),
    'ice_servers': Decoder(
        check=check_ice_servers,
        max_bytes=MAX_HTTP_BODY_BYTES,
        seeds=(
            b'{"ice_servers":[{"urls":["turn:a.example:3478?transport=udp","turns:[::1]:1"],'
            b'"username":"u","credential":"c"},{"urls":"stun:b.example"}]}',
        ),
        words=(
            *JSON_WORDS,
            *(b'"ice_servers"', b'"urls"', b'"username"', b'"credential"', b'stun:', b'turn:'),
            *(b'turns:', b'?transport=', b'tcp', b':99999999999'),
        ),
    ),
    'sdp': Decoder(check=check_sdp_text, max_bytes=40_000, seeds=(SDP,), words=SDP_WORDS),
    'sdp_parsed': Decoder(check=check_sdp_parsed, max_bytes=40_000, seeds=(SDP,), words=SDP_WORDS),
    'requests': Decoder(
        check=check_requests,
        max_bytes=MAX_HTTP_BODY_BYTES,
        seeds=(
            b'{"robot_id":"go2","robot_name":"Go2 A","robot_type":"dog","instance_id":"ab"}',
            b'{"role":"viewer","operator_id":"o","cf_session_id":"m","name":"key 1"}',
            b'{"wait_s":1.5,"expires_in_s":60,"rtt_ms":3.5,"packet_loss_pct":0}',
            b'{"sdp_offer":' + OFFER + b'}',
        ),
        words=(
            *JSON_WORDS,
            *(b'"robot_id"', b'"robot_name"', b'"robot_type"', b'"instance_id"', b'"role"'),
            *(b'"operator_id"', b'"cf_session_id"', b'"name"', b'"wait_s"', b'"expires_in_s"'),
            *(b'"rtt_ms"', b'"packet_loss_pct"', b'"sdp_offer"', b'"sdp_answer"'),
        ),
    ),
    'h264': Decoder(check=check_h264, max_bytes=20_000, seeds=H264_SEEDS, words=H264_WORDS),
    'h264_stream': Decoder(
        check=check_h264_stream, max_bytes=20_000, seeds=H264_SEEDS, words=H264_WORDS
    ),
    'image': Decoder(
        check=check_image_header,
        max_bytes=80,
        seeds=tuple(
            IMAGE_HEAD.pack(4, 2, 4 * pixel.bytes_per_pixel, 8 * pixel.bytes_per_pixel)
            + name.encode()
            for name, pixel in PIXEL_FORMATS.items()
        ),
        words=tuple(name.encode() for name in PIXEL_FORMATS),
    ),
    'serialized_image': Decoder(
        check=check_serialized_image,
        max_bytes=256,
        seeds=IMAGE_MESSAGES,
        words=(*(name.encode() for name in PIXEL_FORMATS), b'\0\1\0\0', b'\0\0\0\0'),
    ),
    'compressed': Decoder(
        check=check_compressed,
        max_bytes=2048,
        seeds=(PNG, JPEG),
        words=(*(b'\xff\xd8', b'\xff\xc0', b'\xff\xe0\0\x10', b'\xff\xff', b'IHDR'), PNG[:8]),
    ),
    'link': Decoder(
        check=check_link,
        max_bytes=MAX_PACKET_BYTES,
        seeds=tuple(map(encode, PACKETS)),
        words=(
            *JSON_WORDS,
            *(b'"state"', b'"reason"', b'"control_epoch"', b'"counters"'),
            *(b'"configuration"', b'"video"', b'"operated"', b'"dialling"'),
        ),
    ),
}
