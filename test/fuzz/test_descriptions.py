"""
A short version of the campaign (sdp_campaign.py), which runs 100,000 mutants.

Whatever a peer's description contains, it is answered or refused with a reason. A refused
description leaves nothing behind: no traceback, no task, no descriptor.
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

import pytest
from sdp_campaign import check, kinds
from sdp_live import live_path, Outcome
from sdp_mutants import mutated, text_of

MUTANTS = 40
"""Number of mutants of each description."""


@pytest.mark.parametrize('kind', kinds())
async def test_a_mutant_is_answered_or_refused(kind: str) -> None:
    source = random.Random(kind)
    others = [text_of(other) for other in kinds()]
    outcomes = set()
    async with live_path() as path:
        assert await check(path, kind, text_of(kind)) is Outcome.ANSWERED
        for _ in range(MUTANTS):
            sdp = mutated(text_of(kind), others, source)
            outcomes.add(await check(path, kind, sdp))
            assert path.problems == [], sdp
        assert await path.leftovers() == []
    assert outcomes == set(Outcome)
