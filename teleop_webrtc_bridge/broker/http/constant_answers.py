"""Answers that never change: made once, with an ETag."""

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

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

from aiohttp import web

__all__ = ['constant']

NO_CACHE: Final = 'no-cache'
"""A browser keeps it, but asks each time whether it still holds."""


def constant(
    content: bytes, content_type: str, charset: str | None = None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """
    Return a handler that always answers the same.

    :param charset: Of a text.
    """
    value = sha256(content).hexdigest()[:32]
    kind = content_type if charset is None else f'{content_type}; charset={charset}'
    headers = {'Cache-Control': NO_CACHE, 'ETag': f'"{value}"'}

    async def answer(request: web.Request) -> web.Response:
        known = request.if_none_match or ()
        if any(tag.value in (value, '*') for tag in known):
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, headers={'Content-Type': kind, **headers})

    return answer
