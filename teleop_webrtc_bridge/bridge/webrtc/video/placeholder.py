"""What is shown in the place of a picture that is not of now."""

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

from typing import Final

from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader
from teleop_webrtc_bridge.bridge.link.packet_ring import Unit

__all__ = ['grey_frame']

GREY: Final = 128


def grey_frame(unit: Unit) -> Frame:
    """Return the picture that a unit without data asks for."""
    header = FrameHeader(
        capture_s=unit.capture_s,
        width=unit.width,
        height=unit.height,
        step=unit.width,
        encoding='mono8',
        is_filler=True,
    )
    data = memoryview(bytes([GREY]) * (unit.width * unit.height))
    return Frame(sequence=unit.sequence, header=header, data=data, is_intact=lambda: True)
