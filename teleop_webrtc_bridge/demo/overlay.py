"""Instruments at the top of the picture: a compass tape, and speed and time below it."""

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

import math
import time

import numpy as np
from numpy.typing import NDArray

from teleop_webrtc_bridge.demo.diff_drive import DriveSpeed, Pose
from teleop_webrtc_bridge.demo.textures import span, text_mask

__all__ = ['Overlay']

Pixels = NDArray[np.uint8]

SCALE = 2
_BACK = (26, 30, 38)
_INK = (222, 228, 236)
_MARK = (255, 176, 32)
_TAPE_PX_PER_DEGREE = 3
_TAPE_DEGREES = 120
_TAPE_TOP = 12
_TAPE_ROWS = 34
# All characters of the read-out below; a picture of each is made once.
_CHARACTERS = '0123456789+-.:/ MSRADUTC'
_READOUT_LENGTH = 38
_POINTS = ('N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW')


def _compass_tape() -> Pixels:
    # One turn plus one view, so that every heading is one plain slice.
    degrees = 360 + _TAPE_DEGREES
    tape = np.full((_TAPE_ROWS, degrees * _TAPE_PX_PER_DEGREE, 3), _BACK, np.uint8)
    for degree in range(0, degrees, 15):
        column = degree * _TAPE_PX_PER_DEGREE
        length = 10 if degree % 45 == 0 else 5
        tape[span(_TAPE_ROWS - length, length), span(column, 2)] = _INK
        if degree % 45 == 0:
            mask = np.kron(text_mask(_POINTS[degree // 45 % 8]), np.ones((SCALE, SCALE), bool))
            left = max(0, column + 1 - mask.shape[1] // 2)
            tape[span(6, mask.shape[0]), span(left, mask.shape[1])][mask] = (
                _MARK if degree % 360 == 0 else _INK
            )
    return tape


def _character(character: str) -> Pixels:
    mask = np.pad(text_mask(character), ((3, 3), (0, 1)))
    mask = np.kron(mask, np.ones((SCALE, SCALE), bool))
    cell: Pixels = np.where(mask[..., None], _INK, _BACK).astype(np.uint8)
    return cell


class Overlay:
    """
    Draws opaque instruments, so it may be drawn again on a picture that has not changed.

    :param width: Of the picture, in pixels.
    :param height: Of the picture, in pixels.
    :param bgr: Whether pixels are blue, green, red.
    """

    def __init__(self, *, width: int, height: int, bgr: bool = False) -> None:
        order = slice(None, None, -1 if bgr else 1)
        self._tape = np.ascontiguousarray(_compass_tape()[..., order])
        self._cells = {c: np.ascontiguousarray(_character(c)[..., order]) for c in _CHARACTERS}
        self._mark = np.array(_MARK, np.uint8)[order]
        self._back = np.array(_BACK, np.uint8)[order]
        self._width, self._height = width, height
        rows, columns, _ = self._cells[' '].shape
        self._tape_columns = _TAPE_DEGREES * _TAPE_PX_PER_DEGREE
        #: Whether the picture is large enough for instruments at all.
        self.fits = width >= _READOUT_LENGTH * columns + 40 and height >= 4 * rows + _TAPE_ROWS

    def draw(self, picture: Pixels, pose: Pose, velocity: DriveSpeed, stamp_s: float) -> None:
        """
        Draw the instruments; nothing if the picture is too small for them.

        :param picture: Is changed, ``(height, width, 3)``.
        :param velocity: The robot's actual speed, in m/s and rad/s.
        :param stamp_s: Time of capture, in s since 1970.
        """
        if not self.fits:
            return
        self._draw_compass(picture, pose)
        clock = time.strftime('%H:%M:%S', time.gmtime(stamp_s))
        text = (
            f' {velocity.linear:+.2f} M/S {velocity.angular:+6.2f} RAD/S  '
            f'{clock}.{int(stamp_s * 10.0) % 10} '
        )
        rows, columns, _ = self._cells[' '].shape
        # Not at the bottom: the operator page has its controls there.
        top, left = _TAPE_TOP + _TAPE_ROWS, (self._width - len(text) * columns) // 2
        for character in text:
            picture[span(top, rows), span(left, columns)] = self._cells[character]
            left += columns

    def _draw_compass(self, picture: Pixels, pose: Pose) -> None:
        # Compass headings run clockwise from north, yaw runs counter-clockwise from east.
        heading = (90.0 - math.degrees(pose.yaw)) % 360.0
        first = int((heading - _TAPE_DEGREES / 2) % 360.0 * _TAPE_PX_PER_DEGREE)
        left = (self._width - self._tape_columns) // 2
        window = picture[span(_TAPE_TOP, _TAPE_ROWS), span(left, self._tape_columns)]
        window[:] = self._tape[:, span(first, self._tape_columns)]
        middle = self._tape_columns // 2
        for row in range(6):
            window[row, span(middle - 6 + row, 14 - 2 * row)] = self._mark
