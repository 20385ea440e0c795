"""Reads the API key, from a file or the environment, never from a parameter."""

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

import os
from pathlib import Path
from typing import Final

from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['API_KEY_VARIABLE', 'read_api_key']

API_KEY_VARIABLE: Final = 'TELEOP_API_KEY'


def read_api_key(api_key_file: str) -> str:
    """
    Return the API key from the file or, if there is no file, from the environment.

    :raises ConfigurationError: The key is missing, unreadable or malformed; the error hides it.
    """
    if not api_key_file:
        key = os.environ.get(API_KEY_VARIABLE, '').strip()
        if not key:
            raise ConfigurationError(
                API_KEY_VARIABLE, '', 'the API key in this variable, or in a file: api_key_file'
            )
        return _usable(key, API_KEY_VARIABLE)
    try:
        key = Path(os.path.expanduser(api_key_file)).read_text(encoding='ascii').strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is not text'
        raise ConfigurationError(
            'api_key_file', api_key_file, f'a readable file with the API key ({reason})'
        ) from error
    return _usable(key, 'api_key_file')


def _usable(key: str, name: str) -> str:
    if not 16 <= len(key) <= 256 or not key.isascii() or not key.isprintable() or ' ' in key:
        raise ConfigurationError(name, '(not shown)', 'one API key of 16 to 256 characters')
    return key
