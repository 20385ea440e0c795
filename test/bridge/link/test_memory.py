"""Memory that the two halves share must not become smaller under the one that drives."""

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

from collections.abc import Callable
import os

import pytest

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot
from teleop_webrtc_bridge.bridge.link.packet_ring import create_ring


@pytest.mark.parametrize('create', [create_slot, create_ring])
def test_the_other_half_cannot_change_its_size(create: Callable[[], int]) -> None:
    memory = create()
    try:
        size = os.fstat(memory).st_size
        for other in (0, size - 1, size + 1):
            with pytest.raises(PermissionError):
                os.ftruncate(memory, other)
        assert os.fstat(memory).st_size == size
    finally:
        os.close(memory)
