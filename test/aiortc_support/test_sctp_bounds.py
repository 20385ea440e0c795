"""What SCTP peers may cost, with aiortc's own parts; it names what moved when aiortc moves."""

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

import inspect
import random
import struct
from types import SimpleNamespace
from typing import Any

from aiortc import rtcsctptransport
from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.aiortc_support.sctp import possible_gaps

TRANSPORT: Any = rtcsctptransport.RTCSctpTransport
METHODS = {
    '_handle_data': ['data'],
    '_mark_received': ['tsn'],
    '_receive_data_chunk': ['chunk'],
    '_receive_forward_tsn_chunk': ['chunk'],
    '_send_chunk': ['chunk'],
}


@pytest.fixture(autouse=True)
def configured() -> None:
    configure_aiortc(loopback=True)


@pytest.mark.parametrize('name', METHODS)
def test_a_private_method_is_there(name: str) -> None:
    parameters = list(inspect.signature(getattr(TRANSPORT, name)).parameters)
    assert parameters[1:] == METHODS[name]


def packet(*chunks: bytes) -> bytes:
    header = struct.pack('!HHL', 5000, 5000, 1)
    body = b''.join(chunk + bytes(-len(chunk) % 4) for chunk in chunks)
    checksum = rtcsctptransport.crc32c(header + bytes(4) + body)
    return header + struct.pack('<L', checksum) + body


def chunk(kind: int, body: bytes = b'') -> bytes:
    return struct.pack('!BBH', kind, 0, 4 + len(body)) + body


def test_a_packet_that_is_right_is_parsed_as_before() -> None:
    parameter = struct.pack('!HH', 1, 12) + bytes(8)
    *_, chunks = rtcsctptransport.parse_packet(packet(chunk(4, parameter), chunk(4, parameter)))
    assert [it.params for it in chunks] == [[(1, bytes(8))]] * 2


@pytest.mark.parametrize(
    'chunks',
    [
        [chunk(4, struct.pack('!HH', 1, 0) + bytes(8))],
        [chunk(4, struct.pack('!HH', 1, 3) + bytes(8))],
        [chunk(1, bytes(16)), chunk(4)],
        [chunk(0, b'1')],
        [chunk(1, b'1')],
        [chunk(3, struct.pack('!LLHH', 1, 1, 9, 0))],
        [chunk(192, b'12345')],
        [chunk(4)] * 65,
    ],
)
def test_a_packet_that_is_not_is_lost(chunks: list[bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what aiortc takes for a packet to be lost
        rtcsctptransport.parse_packet(packet(*chunks))


@given(
    sent=st.integers(0, 500),
    start=st.integers(0, 2**32 - 1),
    gaps=st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=300),
)
def test_an_acknowledgement_counts_no_chunk_twice(
    sent: int, start: int, gaps: list[tuple[int, int]]
) -> None:
    transport = SimpleNamespace(_local_tsn=(start + sent + 1) % 2**32)
    acknowledged = SimpleNamespace(cumulative_tsn=start, gaps=gaps)
    possible = possible_gaps(transport, acknowledged)
    counted = [number for first, last in possible for number in range(first, last + 1)]
    assert counted == sorted(set(counted))
    assert all(0 < number <= sent for number in counted)
    if sorted(gaps) == gaps and len(gaps) == 1 and 0 < gaps[0][0] <= gaps[0][1] <= sent:
        assert possible == gaps


def test_an_acknowledgement_of_what_was_never_sent_counts_nothing() -> None:
    transport = SimpleNamespace(_local_tsn=10)
    assert possible_gaps(transport, SimpleNamespace(cumulative_tsn=900, gaps=[(1, 2)])) == []


def test_numbers_are_marked_as_aiortc_marks_them() -> None:
    source = random.Random(1)
    for _ in range(200):
        first = source.randrange(2**32)
        ours: Any = SimpleNamespace(
            _last_received_tsn=first, _sack_misordered=set(), _sack_duplicates=[]
        )
        seen: set[int] = set()
        for _ in range(60):
            number = (first + source.randrange(-3, 30)) % 2**32
            is_old = (number - first) % 2**32 > 2**31 or number == first
            assert TRANSPORT._mark_received(ours, number) is (is_old or number in seen)
            seen.add(number)
            expected = first
            while (expected + 1) % 2**32 in seen:
                expected = (expected + 1) % 2**32
            assert ours._last_received_tsn == expected
            ahead = {it for it in seen if 0 < (it - expected) % 2**32 < 2**31}
            assert ours._sack_misordered == ahead
        assert len(ours._sack_duplicates) <= 16
