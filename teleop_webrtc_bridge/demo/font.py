"""A 5 by 7 bitmap font, so that the demo needs no font file and no imaging library."""

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

import numpy as np
from numpy.typing import NDArray

__all__ = ['span', 'text_mask']

# One hexadecimal pair per row, top first; the highest of the five bits is the left column.
_GLYPHS = {
    ' ': '00000000000000',
    '+': '0004041F040400',
    '-': '0000001F000000',
    '.': '00000000000C0C',
    '/': '00010204081000',
    ':': '000C0C000C0C00',
    '°': '0C12120C000000',
    '0': '0E11131519110E',
    '1': '040C040404040E',
    '2': '0E11010204081F',
    '3': '1F02040201110E',
    '4': '02060A121F0202',
    '5': '1F101E0101110E',
    '6': '0608101E11110E',
    '7': '1F010204080808',
    '8': '0E11110E11110E',
    '9': '0E11110F01020C',
    'A': '0E11111F111111',
    'B': '1E11111E11111E',
    'C': '0E11101010110E',
    'D': '1E11111111111E',
    'E': '1F10101E10101F',
    'F': '1F10101E101010',
    'G': '0E11101711110F',
    'H': '1111111F111111',
    'I': '0E04040404040E',
    'L': '1010101010101F',
    'M': '111B1515111111',
    'N': '11111915131111',
    'O': '0E11111111110E',
    'P': '1E11111E101010',
    'R': '1E11111E141211',
    'S': '0F10100E01011E',
    'T': '1F040404040404',
    'U': '1111111111110E',
    'V': '11111111110A04',
    'W': '1111111515150A',
    'Y': '11110A04040404',
}


def _glyph(character: str) -> NDArray[np.bool_]:
    rows = np.frombuffer(bytes.fromhex(_GLYPHS[character]), np.uint8)
    return np.unpackbits(rows[:, None], axis=1)[:, 3:].astype(bool)


_MASKS = {character: _glyph(character) for character in _GLYPHS}
_GAP = np.zeros((7, 1), bool)


def span(first: int, length: int) -> slice:
    """Return the slice that begins at an index and has a length."""
    return slice(first, first + length)


def text_mask(text: str) -> NDArray[np.bool_]:
    """
    Return the mask of a line of text, 7 rows high: true where there is ink.

    :param text: Capital letters, digits and a few symbols.
    :raises KeyError: If a character is not in the font.
    """
    return np.hstack([part for c in text for part in (_MASKS[c], _GAP)])[:, :-1]
