"""
The operator page: files of the package, read once at start.

What is served is decided then; no path of a request ever reaches the file system.
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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

from teleop_webrtc_bridge.broker.http.constant_answers import constant

__all__ = ['PageFile', 'add_page', 'read_page']

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """One file of the page."""

    path: str
    """Where it is served, starting with a slash."""
    content: bytes
    content_type: str
    charset: str | None


def read_page(folder: Traversable | None = None) -> list[PageFile]:
    """
    Read all files of the page.

    :param folder: Where they are; by default the package's own.
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


def add_page(app: web.Application, page: list[PageFile]) -> None:
    """Serve each file at its path, and ``index.html`` at ``/`` too."""
    for file in page:
        answer = constant(file.content, file.content_type, file.charset)
        app.router.add_get(file.path, answer)
        if file.path == '/index.html':
            app.router.add_get('/', answer)
