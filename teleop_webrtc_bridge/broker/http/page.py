"""
The operator page: files of the package, read once at start.

The paths that are served are fixed then: no path of a request ever reaches the file system.
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

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

__all__ = ['PageFile', 'add_page', 'constant', 'read_page']

#: Not ``mimetypes``: its answers depend on the machine.
CONTENT_TYPES: Final[Mapping[str, str]] = {
    '.css': 'text/css',
    '.html': 'text/html',
    '.ico': 'image/vnd.microsoft.icon',
    '.jpg': 'image/jpeg',
    '.js': 'text/javascript',
    '.json': 'application/json',
    '.mjs': 'text/javascript',
    '.png': 'image/png',
    '.svg': 'image/svg+xml',
    '.txt': 'text/plain',
    '.webmanifest': 'application/manifest+json',
    '.woff2': 'font/woff2',
}
TEXT: Final = frozenset({'.css', '.html', '.js', '.json', '.mjs', '.svg', '.txt', '.webmanifest'})

NO_CACHE: Final = 'no-cache'
"""Browsers keep the answer, but ask each time whether it is still current."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """One file of the page."""

    path: str
    """The path at which it is served, with a leading slash."""
    content: bytes
    content_type: str
    charset: str | None


def read_page(folder: Traversable | None = None) -> list[PageFile]:
    """
    Read all files of the page.

    :param folder: The folder of the page; by default the package's own.
    """
    folder = files('teleop_webrtc_bridge') / 'operator_page' if folder is None else folder
    return list(_read(folder, '/')) if folder.is_dir() else []


def _read(folder: Traversable, path: str) -> Iterator[PageFile]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(('.', '_')):
            continue
        if entry.is_dir():
            yield from _read(entry, f'{path}{entry.name}/')
            continue
        suffix = '.' + entry.name.rpartition('.')[2]
        if suffix in CONTENT_TYPES:
            yield PageFile(
                path=path + entry.name,
                content=entry.read_bytes(),
                content_type=CONTENT_TYPES[suffix],
                charset='utf-8' if suffix in TEXT else None,
            )


def constant(
    content: bytes, content_type: str, charset: str | None = None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """
    Return a handler whose answer, with its ETag, never changes.

    :param charset: For text only.
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


def add_page(app: web.Application, page: list[PageFile]) -> None:
    """Serve each file at its path, and ``index.html`` at ``/`` too."""
    for file in page:
        answer = constant(file.content, file.content_type, file.charset)
        app.router.add_get(file.path, answer)
        if file.path == '/index.html':
            app.router.add_get('/', answer)
