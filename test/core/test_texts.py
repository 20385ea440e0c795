"""Texts of others, as they may be logged and sent on."""

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

import pytest

from teleop_webrtc_bridge.core.texts import shown


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', ''),
        ('bgr8', 'bgr8'),
        ('x' * 8, 'x' * 8),
        ('x' * 9, 'x' * 8 + '…'),
        ('a\nb\0c\x1b', 'a?b?c?'),
        ('\ud800\u202e', '??'),
        ('gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n', 'grün'),
    ],
)
def test_a_text_is_printable_and_short(text: str, expected: str) -> None:
    assert shown(text, 8) == expected
