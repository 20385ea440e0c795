"""
Malicious packets, correctly encrypted and sent bypassing aiortc.

Each attack is a function of the peer connection and a random generator, and sends once.
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

from collections.abc import Awaitable, Callable
from contextlib import suppress
import itertools
import random
import struct
from typing import Any, Final

from aiortc import RTCPeerConnection, rtcsctptransport
from aiortc.rtp import RtcpPsfbPacket, RtpPacket
import pylibsrtp

__all__ = ['ATTACKS', 'Attack', 'send_sctp', 'send_srtp', 'sender_ssrc']

Attack = Callable[[RTCPeerConnection, random.Random], Awaitable[None]]

MOST_BYTES: Final = 1200
PLI: Final = 1
_REPORT_COUNT: Final = 31
_jumps = itertools.cycle(range(0, 65_536, 32_000))


def _transport(pc: RTCPeerConnection) -> Any:
    assert pc.sctp is not None
    return pc.sctp.transport


def sender_ssrc(pc: RTCPeerConnection) -> int:
    """Return the SSRC of the offered video; 1 if none was offered."""
    for line in reversed(pc.remoteDescription.sdp.splitlines()):
        if line.startswith('a=ssrc:'):
            return int(line[7:].split()[0])
    return 1


async def send_srtp(pc: RTCPeerConnection, data: bytes) -> None:
    """Send raw RTP or RTCP; libsrtp refuses sequence numbers that are too old."""
    with suppress(pylibsrtp.Error):
        await _transport(pc)._send_rtp(data)


async def send_sctp(pc: RTCPeerConnection, kind: int, body: bytes, flags: int = 0) -> None:
    """Send one raw chunk."""
    await send_chunks(pc, chunk(kind, body, flags))


def chunk(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack('!BBH', kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


async def send_chunks(pc: RTCPeerConnection, chunks: bytes) -> None:
    sctp: Any = pc.sctp
    private: Any = rtcsctptransport
    header = struct.pack(
        '!HHL', sctp._local_port, sctp._remote_port, sctp._remote_verification_tag
    )
    checksum = private.crc32c(header + bytes(4) + chunks)
    await _transport(pc)._send_data(header + struct.pack('<L', checksum) + chunks)


def _payload_type(pc: RTCPeerConnection) -> int:
    """Return the payload type of the remote video section's first codec."""
    for line in pc.remoteDescription.sdp.splitlines():
        if line.startswith('m=video'):
            return int(line.split()[3])
    return 96


async def nack_storm(pc: RTCPeerConnection, source: random.Random) -> None:
    """Request the retransmission of 5,000 packets in one report."""
    items = (MOST_BYTES - 12) // 4
    body = b''.join(struct.pack('!HH', source.randrange(65536), 0xFFFF) for _ in range(items))
    header = struct.pack('!BBHLL', 0x81, 205, 2 + items, 7, sender_ssrc(pc))
    await send_srtp(pc, header + body)


async def pli_storm(pc: RTCPeerConnection, source: random.Random) -> None:
    """Request a keyframe a hundred times in one report."""
    one = bytes(RtcpPsfbPacket(fmt=PLI, ssrc=7, media_ssrc=sender_ssrc(pc)))
    await send_srtp(pc, one * (MOST_BYTES // len(one)))


async def one_pli(pc: RTCPeerConnection, source: random.Random) -> None:
    """Request a keyframe."""
    await send_srtp(pc, bytes(RtcpPsfbPacket(fmt=PLI, ssrc=7, media_ssrc=sender_ssrc(pc))))


async def random_rtp(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send packets with random stream, sequence number, time stamp and extension."""
    packet = RtpPacket(
        payload_type=source.choice((_payload_type(pc), source.randrange(64))),
        sequence_number=source.randrange(65536),
        timestamp=source.randrange(2**32),
        ssrc=source.choice((1, 2, source.randrange(2**32))),
        payload=source.randbytes(source.randint(0, 1000)),
    )
    data = bytearray(packet.serialize())
    if source.random() < 0.5:
        data[0] |= 0x10  # the receiver takes what follows for header extensions
        data[12:12] = struct.pack('!HH', source.choice((0xBEDE, 0x1000)), source.randrange(20))
    await send_srtp(pc, bytes(data))


async def jumping_rtp(pc: RTCPeerConnection, source: random.Random) -> None:
    """Skip 32,000 sequence numbers with each packet."""
    number = next(_jumps)
    packet = RtpPacket(
        payload_type=_payload_type(pc), sequence_number=number, ssrc=5, payload=b'\x65' * 100
    )
    await send_srtp(pc, packet.serialize())


async def random_rtcp(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send malformed reports."""
    data = b''
    while len(data) < 600:
        words = source.randrange(20)
        data += struct.pack('!BBH', 0x80 | source.randrange(64), source.randint(200, 206), words)
        data += source.randbytes(4 * words - source.choice((0, 0, 0, 3)) if words else 0)
    await send_srtp(pc, data)


async def report_storm(pc: RTCPeerConnection, source: random.Random) -> None:
    """Report on the stream as often as one packet allows."""
    one = struct.pack('!LLLLLL', sender_ssrc(pc), source.randrange(2**32), 1, 2, 3, 4)
    report = struct.pack('!BBHL', 0x80 | _REPORT_COUNT, 201, 1 + 6 * _REPORT_COUNT, 7)
    await send_srtp(pc, report + one * _REPORT_COUNT)


async def lying_remb(pc: RTCPeerConnection, source: random.Random) -> None:
    """Report a bandwidth of nothing or of everything, for more streams than are listed."""
    count = source.choice((1, 1, 255))
    exponent = source.choice((0, 0, 63))
    fci = struct.pack('!4sBBHL', b'REMB', count, exponent << 2, 1, sender_ssrc(pc))
    await send_srtp(pc, bytes(RtcpPsfbPacket(fmt=15, ssrc=7, media_ssrc=0, fci=fci)))


async def false_sack(pc: RTCPeerConnection, source: random.Random) -> None:
    """Acknowledge everything that could ever be sent, 290 times."""
    gaps = struct.pack('!HH', 1, 65535) * 290
    acknowledged = (pc.sctp._last_received_tsn or 0) if pc.sctp else 0
    await send_sctp(pc, 3, struct.pack('!LLHH', acknowledged, 100_000, 290, 0) + gaps)


async def endless_parameter(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send a heartbeat whose parameter has length zero."""
    await send_sctp(pc, 4, struct.pack('!HH', 1, 0) + bytes(8))


async def scattered_data(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send chunks far ahead in the sequence, on ever new streams."""
    sctp: Any = pc.sctp
    data = b''
    while len(data) < 1000:
        tsn = (sctp._local_tsn + source.randrange(100_000)) % 2**32
        data += chunk(0, struct.pack('!LHHL', tsn, source.randrange(65536), 0, 53) + b'x', 3)
    await send_chunks(pc, data)


async def skipped_data(pc: RTCPeerConnection, source: random.Random) -> None:
    """Request the skipping of chunks, on ever new streams."""
    sctp: Any = pc.sctp
    data = b''
    while len(data) < 1000:
        tsn = (sctp._local_tsn + source.randrange(1000)) % 2**32
        streams = struct.pack('!HH', source.randrange(65536), 1) * 10
        data += chunk(192, struct.pack('!L', tsn) + streams)
    await send_chunks(pc, data)


async def reset_storm(pc: RTCPeerConnection, source: random.Random) -> None:
    """Request the reset of streams that do not exist, with a list of odd length."""
    streams = source.randbytes(source.choice((200, 201)))
    body = struct.pack('!LLL', source.randrange(2**32), 0, source.randrange(2**32)) + streams
    await send_sctp(pc, 130, struct.pack('!HH', 13, 4 + len(body)) + body)


async def random_chunks(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send chunks of random kind and content."""
    kinds = (1, 2, 3, 4, 5, 7, 9, 10, 11, 14, 130, 192)
    await send_sctp(pc, source.choice(kinds), source.randbytes(source.randrange(60)))


async def broken_text(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send invalid text on an open channel."""
    sctp: Any = pc.sctp
    streams = list(sctp._data_channels) or [1]
    body = struct.pack('!LHHL', sctp._local_tsn, source.choice(streams), 0, 51) + b'\xff\xfe'
    sctp._local_tsn = (sctp._local_tsn + 1) % 2**32
    await send_sctp(pc, 0, body, 7)


async def handshake_garbage(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send invalid DTLS, and truncated packets of any kind."""
    ice = _transport(pc).transport
    first = source.choice((20, 21, 22, 23, 24, 40, 63, 128, 129, 191, 0, 1, 64, 255))
    await ice._send(bytes([first]) + source.randbytes(source.randrange(1200)))


async def check_storm(pc: RTCPeerConnection, source: random.Random) -> None:
    """Send connectivity checks with the correct password."""
    ice = _transport(pc).transport._connection
    for pair in list(ice._nominated.values()):
        request = ice.build_request(pair, nominate=False)
        if source.random() < 0.3:
            request.attributes.pop('PRIORITY')
        request.add_message_integrity(ice.remote_password.encode())
        pair.protocol.send_stun(request, pair.remote_addr)


ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        *(nack_storm, pli_storm, random_rtp, jumping_rtp, random_rtcp, report_storm, lying_remb),
        *(false_sack, endless_parameter, scattered_data, skipped_data, reset_storm),
        *(random_chunks, broken_text, handshake_garbage, check_storm),
    )
}
