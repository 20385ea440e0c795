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

import json
import math
import struct

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.bridge.link.packets import (
    Configure,
    decode,
    encode,
    MAX_PACKET_BYTES,
    Packet,
    Received,
    Send,
    Show,
    Shutdown,
    Status,
)
from teleop_webrtc_bridge.core.configuration import (
    BridgeConfiguration,
    CameraConfiguration,
    CameraKind,
    VideoConfiguration,
)
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import CHANNELS, CMD_UNRELIABLE, STATE_RELIABLE_BACK
from teleop_webrtc_bridge.core.session import BridgeState

#: Examples are slow on a busy machine.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LABELS = st.sampled_from([spec.label for spec in CHANNELS])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
STATUSES = st.builds(
    Status,
    state=st.sampled_from(BridgeState),
    reason=st.text(),
    control_epoch=st.integers(0, 2**53),
    counters=st.dictionaries(st.text(), FINITE, max_size=4),
)
PACKETS = st.one_of(
    st.builds(Send, label=LABELS, payload=st.binary(), text=st.booleans(), urgent=st.booleans()),
    st.builds(Received, label=LABELS, payload=st.binary(), arrival_s=FINITE),
    STATUSES,
    st.builds(Show, cameras=st.lists(st.text()).map(tuple)),
    st.just(Shutdown()),
    st.builds(
        Configure,
        configuration=st.builds(
            BridgeConfiguration,
            robot_id=st.text(),
            robot_name=st.text(),
            robot_type=st.text(),
            broker_url=st.text(),
            instance_id=st.text(),
            api_key=st.text(),
            clock_ahead_s=FINITE,
            video=st.builds(
                VideoConfiguration,
                codec=st.text(),
                bitrate_bps=st.integers(),
                fps=FINITE,
                max_width_px=st.integers(),
            ),
            cameras=st.lists(
                st.builds(
                    CameraConfiguration,
                    name=st.text(),
                    kind=st.sampled_from(CameraKind),
                    max_width_px=st.none() | st.integers(),
                )
            ).map(tuple),
        ),
    ),
)


def status(**fields: object) -> bytes:
    """Return a valid status with some fields replaced."""
    good = {'state': 'connected', 'reason': '', 'control_epoch': 1, 'counters': {}}
    return b'\x05' + json.dumps(good | fields).encode()


def configured(**fields: object) -> bytes:
    """Return a valid configuration with some fields replaced."""
    video = {'codec': 'h264', 'bitrate_bps': 1, 'fps': 1.0, 'max_width_px': 2}
    names = ('robot_id', 'robot_name', 'robot_type', 'broker_url', 'instance_id', 'api_key')
    good = dict.fromkeys(names, '') | {'clock_ahead_s': 0.0, 'video': video, 'cameras': []}
    return b'\x01' + json.dumps(good | fields).encode()


@given(PACKETS)
@settings(RELAXED, max_examples=300)
def test_what_was_encoded_is_decoded(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@given(
    st.binary(max_size=200)
    | st.tuples(st.integers(1, 5), st.binary()).map(lambda parts: bytes([parts[0]]) + parts[1])
)
@settings(RELAXED, max_examples=500)
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    try:
        packet = decode(data)
    except ProtocolError:
        return
    assert isinstance(packet, Configure | Received | Send | Show | Shutdown | Status)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\0',
        b'\x06',
        b'\x06{}',
        b'\x06{"cameras":7}',
        b'\x07',
        b'\x02',
        b'\x02\x09\x01payload',
        b'\x04\x00\x01\x00',
        b'\x05',
        b'\x05{',
        b'\x05[]',
        b'\x05{}',
        b'\x05{"state":"asleep"}',
        status(control_epoch=1.5),
        status(reason=7),
        status(counters=[]),
        status(counters={'a': '1'}),
        status(counters={'a': math.nan}),
        status(counters={'a': math.inf}),
        status(counters={'a': 10**400}),
        b'\x04\x00' + struct.pack('<d', math.nan),
        b'\x05' + b'[' * 5000,
        b'\x01{"video":{}}',
        b'\x01{"video":7}',
        configured(cameras=7),
        configured(cameras=[{'name': 'front'}]),
        configured(cameras=[{'name': 'front', 'kind': 'smells'}]),
    ],
    ids=repr,
)
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data[:5001])


def test_the_largest_message_of_a_channel_fits_into_a_packet() -> None:
    payload = bytes(64 * 1024)
    packet = encode(Received(label=CMD_UNRELIABLE, payload=payload, arrival_s=1.0))
    assert len(packet) <= MAX_PACKET_BYTES


def test_text_and_bytes_stay_what_they_are() -> None:
    for text in (False, True):
        packet = Send(label=STATE_RELIABLE_BACK, payload=b'{}', text=text, urgent=not text)
        decoded = decode(encode(packet))
        assert isinstance(decoded, Send)
        assert decoded.text is text
        assert decoded.urgent is not text
