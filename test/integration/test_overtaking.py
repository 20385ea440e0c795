"""Packets that overtake each other, including those of the connection set-up: real processes."""

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

from counted_broker import CountedBroker
from detour import detour_to
from programs import Programs
import pytest
from python_operator import operator

pytestmark = pytest.mark.real_programs

ROBOT_ID = 'go2-a'
WITHIN_S = (0.0, 0.2)


async def test_what_is_said_before_the_link_is_all_up_is_answered(
    broker: CountedBroker, started: Programs
) -> None:
    async with detour_to(broker.url) as detour:
        detour.delays_s = WITHIN_S
        started.start_bridge(detour.url, broker.key_file, ROBOT_ID)
        async with operator(broker.url, broker.token, with_video=False) as person:
            # The operator connects before the robot: the broker keeps the first messages.
            session_id = await person.wait_for_robot(ROBOT_ID)
            await person.connect(session_id)
            assert (await person.request('estop', 'red'))['ok'] is True
