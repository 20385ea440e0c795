"""
A first look at a request's head: whom to charge for it, how urgent it is, what is wrong.

It is used to choose a budget only: aiohttp and the routes decide what to believe. Faults are heads
that no route would ever receive, and heads that aiohttp may read differently.
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

from dataclasses import dataclass
import enum
from hashlib import blake2b
import os
import re
from typing import Final

__all__ = ['END_OF_HEAD', 'HeadFault', 'RequestHead', 'fault_of', 'read_head']

END_OF_HEAD: Final = b'\r\n\r\n'
_FIELDS: Final = re.compile(
    rb'\r\n(x-robot-api-key|authorization|content-length|transfer-encoding|upgrade|'
    rb'x-forwarded-for):[ \t]*([^\r\n]*)',
    re.IGNORECASE,
)
#: All calls of robots and operators about one session; asking for the list is not urgent.
_URGENT: Final = re.compile(
    rb'(?:(?:POST|DELETE) /api/v1/sessions[/ ]|GET /api/v1/sessions/turn-credentials )'
)
_DIGEST_KEY: Final = os.urandom(16)
_REQUEST_LINE: Final = re.compile(rb'[A-Z]+ [!-~]+ HTTP/(\d\.\d)\r\n')
_VERSIONS: Final = (b'1.0', b'1.1')
_EXPECT: Final = re.compile(rb'\r\nexpect[ \t]*:[ \t]*([^\r\n]*)', re.IGNORECASE)
_LENGTH: Final = re.compile(rb'\r\ncontent-length:[ \t]*([^\r\n]*)', re.IGNORECASE)
_LENGTH_ALLOWED: Final = re.compile(rb'\d{1,15}[ \t]*')
#: A line end that is not CR LF, or a line that continues in the next one.
_ODD_LINES: Final = re.compile(rb'\r(?!\n)|(?<!\r)\n|\n[ \t]')


class HeadFault(enum.Enum):
    """Why a request is refused before aiohttp sees it."""

    NO_REQUEST = 'no_request'
    VERSION = 'version'
    EXPECTATION = 'expectation'


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """The fields of a head that matter for accounting."""

    robot_secret: bytes | None = None
    """Digest of its API key."""
    operator_secret: bytes | None = None
    """Digest of its token."""
    is_urgent: bool = False
    body_bytes: int = 0
    is_last: bool = False
    """Its body has no known end: it is chunked, or another protocol than HTTP follows."""
    forwarded: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[bytes, ...]:
        return tuple(it for it in (self.robot_secret, self.operator_secret) if it is not None)


def read_head(head: bytes) -> RequestHead:
    """
    Read a head; malformed fields count as missing.

    :param head: With the empty line at its end.
    """
    robot_secret = operator_secret = None
    body_bytes, is_last, forwarded = 0, head.startswith(b'CONNECT '), []
    for name, value in _FIELDS.findall(head):
        match name.lower():
            case b'x-robot-api-key':
                robot_secret = robot_secret or _digest(value)
            case b'authorization':
                operator_secret = operator_secret or _digest(value)
            case b'content-length':
                body_bytes = int(value) if _LENGTH_ALLOWED.fullmatch(value) else 0
            case b'transfer-encoding' | b'upgrade':
                is_last = True
            case _:
                forwarded.append(value.decode('latin-1'))
    return RequestHead(
        robot_secret=robot_secret,
        operator_secret=operator_secret,
        is_urgent=_URGENT.match(head) is not None,
        body_bytes=body_bytes,
        is_last=is_last,
        forwarded=tuple(forwarded),
    )


def fault_of(head: bytes) -> HeadFault | None:
    """
    Return the fault of a head that no route would receive, or whose line ends are ambiguous.

    :param head: With the empty line at its end.
    """
    line = _REQUEST_LINE.match(head)
    if line is None or _ODD_LINES.search(head):
        return HeadFault.NO_REQUEST
    if line[1] not in _VERSIONS:
        return HeadFault.VERSION
    if not all(map(_LENGTH_ALLOWED.fullmatch, _LENGTH.findall(head))):
        return HeadFault.NO_REQUEST
    if any(it.strip().lower() != b'100-continue' for it in _EXPECT.findall(head)):
        return HeadFault.EXPECTATION
    return None


def _digest(value: bytes) -> bytes:
    """Return a keyed digest, so that no secret is kept in memory."""
    return blake2b(value.strip(), digest_size=16, key=_DIGEST_KEY).digest()
