"""Foreign text that people will see: names and labels, checked."""

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

import re
from typing import Final
import unicodedata

from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = [
    'LABEL_ALLOWED',
    'MAX_CHARS',
    'NAME_ALLOWED',
    'as_label',
    'as_name',
    'check_label',
    'check_name',
]

MAX_CHARS: Final = 64
NAME_ALLOWED: Final = '1 to 64 letters, digits, spaces or _ . : -'
LABEL_ALLOWED: Final = 'up to 64 printable characters'

_NAME: Final = re.compile(r'[\w .:-]{1,64}')


def as_name(value: object) -> str | None:
    """Return a name of letters, digits, space and ``_ . : -``, or ``None`` if it is none."""
    name = unicodedata.normalize('NFC', value).strip(' ') if isinstance(value, str) else ''
    return name if _NAME.fullmatch(name) else None


def as_label(value: object) -> str | None:
    """Return a label: printable, may be empty; ``None``: it is none."""
    if not isinstance(value, str) or len(value) > MAX_CHARS or not value.isprintable():
        return None
    return unicodedata.normalize('NFC', value)


def check_name(option: str, value: str) -> str:
    """
    Return a name that was given on the command line.

    :raises ConfigurationError: It is none.
    """
    name = as_name(value)
    if name is None:
        raise ConfigurationError(option, value, NAME_ALLOWED)
    return name


def check_label(option: str, value: str | None) -> str | None:
    """
    Return a label that was given on the command line; ``None`` for none or an empty one.

    :raises ConfigurationError: It is not printable or too long.
    """
    if not value:
        return None
    label = as_label(value)
    if label is None:
        raise ConfigurationError(option, value, LABEL_ALLOWED)
    return label
