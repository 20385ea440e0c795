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

"""
What the head of a request tells before it is parsed: whose it is, and how urgent.

Only to account for it: what is believed of a request is up to aiohttp and the routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
import os
import re
from typing import Final

__all__ = ['END_OF_HEAD', 'RequestHead', 'read_head']

END_OF_HEAD: Final = b'\r\n\r\n'
_FIELDS: Final = re.compile(
    rb'\r\n(x-robot-api-key|authorization|content-length|transfer-encoding|x-forwarded-for)'
    rb':[ \t]*([^\r\n]*)',
    re.IGNORECASE,
)
#: All that robots and operators do about sessions; asking for the list is none of it.
_URGENT: Final = re.compile(
    rb'(?:(?:POST|DELETE) /api/v1/sessions[/ ]|GET /api/v1/sessions/turn-credentials )'
)
_DIGEST_KEY: Final = os.urandom(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """One request's head."""

    robot_secret: bytes | None = None
    """Digest of the API key that it brings."""
    operator_secret: bytes | None = None
    """Digest of the token that it brings."""
    is_urgent: bool = False
    body_bytes: int = 0
    is_chunked: bool = False
    """Where its body ends is not known."""
    forwarded: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[bytes, ...]:
        return tuple(it for it in (self.robot_secret, self.operator_secret) if it is not None)


def read_head(head: bytes) -> RequestHead:
    """
    Read what counts; whatever is malformed counts as missing.

    :param head: With the empty line at its end.
    """
    robot_secret = operator_secret = None
    body_bytes, is_chunked, forwarded = 0, False, []
    for name, value in _FIELDS.findall(head):
        match name.lower():
            case b'x-robot-api-key':
                robot_secret = robot_secret or _digest(value)
            case b'authorization':
                operator_secret = operator_secret or _digest(value)
            case b'content-length':
                body_bytes = int(value) if value.strip().isdigit() and len(value) < 16 else 0
            case b'transfer-encoding':
                is_chunked = True
            case _:
                forwarded.append(value.decode('latin-1'))
    return RequestHead(
        robot_secret=robot_secret,
        operator_secret=operator_secret,
        is_urgent=_URGENT.match(head) is not None,
        body_bytes=body_bytes,
        is_chunked=is_chunked,
        forwarded=tuple(forwarded),
    )


def _digest(value: bytes) -> bytes:
    """Return what stands for a secret in memory."""
    return blake2b(value.strip(), digest_size=16, key=_DIGEST_KEY).digest()
