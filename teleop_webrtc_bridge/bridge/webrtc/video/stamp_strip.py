"""
The strip that tells when a picture was taken, to whoever sees nothing but pixels.

A band below the picture (docs/protocol.md §6): cells as wide as it is high, white is 1; four to
find it by, then the milliseconds, most significant bit first.
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

from typing import Final

import av
import numpy as np

from teleop_webrtc_bridge.bridge.webrtc.video.conversion import plane_rows

__all__ = ['append_strip']

CELL_PX: Final = 16
SYNC: Final = (1, 0, 1, 0)
BITS: Final = 22
SMALLEST_WIDTH_PX: Final = CELL_PX * (len(SYNC) + BITS)
#: Limited range, and no colour.
WHITE, BLACK, GREY = 235, 16, 128


def append_strip(picture: av.VideoFrame, unix_s: float) -> av.VideoFrame:
    """
    Return the picture with a strip below it; one that is too narrow stays as it is.

    :param picture: ``yuv420p``, of an even size.
    :param unix_s: When it was taken.
    """
    width, height = picture.width, picture.height
    if width < SMALLEST_WIDTH_PX:
        return picture
    longer = av.VideoFrame(width, height + CELL_PX, 'yuv420p')
    for number in range(3):
        plane = picture.planes[number]
        rows = plane_rows(longer, number)
        rows[: plane.height, : plane.width] = plane_rows(picture, number)[
            : plane.height, : plane.width
        ]
        rows[plane.height :] = GREY if number else BLACK
    stamp = round(1e3 * unix_s) % (1 << BITS)
    bits = (*SYNC, *(stamp >> place & 1 for place in reversed(range(BITS))))
    cells = np.repeat(np.where(bits, WHITE, BLACK), CELL_PX).astype(np.uint8)
    plane_rows(longer, 0)[height : height + CELL_PX, : len(cells)] = cells
    return longer
