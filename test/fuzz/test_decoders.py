"""
A short version of the fuzz campaign (campaign.py), which runs for hours.

Whatever the bytes, each decoder returns a value that satisfies its invariants or raises a
documented exception, and the largest input does not take long.
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

import random

from campaign import largest, mutated
from decoders import DECODERS
from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
from lines_run import lines_run
import pytest

EXAMPLES = 60
MUTATIONS = 1500
LINES = 1000
LINES_A_BYTE = 20
"""Worse than linear work would exceed this. `benchmark.decoders` measures the times."""

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


@EVERY_DECODER
def test_no_input_is_much_work(name: str) -> None:
    for data in largest(DECODERS[name]):
        count = lines_run(lambda data=data: DECODERS[name].check(data))
        assert count <= LINES + LINES_A_BYTE * len(data), data[:80]
