"""Texts from other programs, made safe to log and to pass on; pure."""

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

__all__ = ['MAX_NAME_CHARS', 'MAX_TEXT_CHARS', 'shown']

MAX_TEXT_CHARS: Final = 200
MAX_NAME_CHARS: Final = 64
"""For names of encodings, formats and the like."""


def shown(text: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return the beginning of a text, with ``?`` for each character that cannot be printed."""
    printable = ''.join(c if c.isprintable() else '?' for c in text[:max_chars])
    return printable if len(text) <= max_chars else f'{printable}…'
