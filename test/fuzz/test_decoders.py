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

"""
A short run of what the campaign (campaign.py) does for hours.

Whatever the bytes, each decoder returns what holds its invariants or raises what it documents, and
none takes long over the largest input.
"""

from __future__ import annotations

import random
import time

from campaign import mutated
from decoders import DECODERS
from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

EXAMPLES = 60
MUTATIONS = 1500
LONGEST_S = 1.0
"""Nothing takes a tenth of it here. An input that is worse than linear would."""

EVERY_DECODER = pytest.mark.parametrize('name', sorted(DECODERS))


@EVERY_DECODER
def test_any_bytes_are_a_value_or_the_documented_exception(name: str) -> None:
    decoder = DECODERS[name]
    parts = st.binary(max_size=40) | st.sampled_from((*decoder.seeds, *decoder.words, b'{'))

    @given(st.lists(parts, max_size=12).map(b''.join))
    @settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
    def check(data: bytes) -> None:
        decoder.check(data[: decoder.max_bytes])

    check()


@EVERY_DECODER
def test_valid_messages_with_a_few_changes(name: str) -> None:
    decoder = DECODERS[name]
    source = random.Random(name)
    for _ in range(MUTATIONS):
        decoder.check(mutated(decoder, source))


def largest(name: str) -> list[bytes]:
    """Return inputs of the largest size that are all of one kind."""
    decoder = DECODERS[name]
    size = decoder.max_bytes
    units = [*decoder.seeds, *decoder.words]
    units += [b'[', b'{"a":', b'"a":1,', b'1', b'\\ud800', b'a\n', b'm=a\n', b'\xff', b'\0']
    heads = [b'', b'{"a":', b'{"type":"estop","nonce":"', b'v=0\nm=a\n', *decoder.seeds]
    return [(head + unit * (size // len(unit) + 1))[:size] for head in heads for unit in units]


@EVERY_DECODER
def test_no_input_takes_long(name: str) -> None:
    for data in largest(name):
        # Time of this process: other load does not count.
        start_s = time.process_time()
        DECODERS[name].check(data)
        assert time.process_time() - start_s < LONGEST_S, data[:80]
