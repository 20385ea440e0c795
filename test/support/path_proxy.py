"""Reverse proxy that serves another server below a path, as nginx and Caddy do."""

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

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

__all__ = ['PathProxy', 'path_proxy']

PATH = '/teleop/'
HTML = '<html><head><title>{status}</title></head><body>nginx</body></html>'
#: Headers of a single connection, or set again by the builder of the answer.
NOT_PASSED_ON = frozenset({'transfer-encoding', 'connection', 'content-length'})


class PathProxy:
    """
    Forwards requests below ``/teleop/``, without that prefix.

    :param target: The URL of the server behind it, without a trailing slash.
    """

    def __init__(self, target: str, http: aiohttp.ClientSession) -> None:
        self._target = target
        self._http = http
        self.url = ''
        self.missed: list[str] = []
        """Requested paths outside ``/teleop/``."""
        self.answers: dict[str, int] = {}
        """Prefix of a path behind the proxy → the status that the proxy itself returns there."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        path = request.rel_url.raw_path
        if path == PATH.rstrip('/'):
            return web.Response(status=308, headers={'Location': PATH})
        if not path.startswith(PATH):
            self.missed.append(path)
            return page_of_its_own(404)
        rest = path.removeprefix(PATH.rstrip('/'))
        for start, status in self.answers.items():
            if rest.startswith(start):
                return page_of_its_own(status)
        async with self._http.request(
            request.method,
            self._target + rest,
            params=request.query,
            headers=request.headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in NOT_PASSED_ON}
            return web.Response(body=await answer.read(), status=answer.status, headers=headers)


def page_of_its_own(status: int) -> web.Response:
    """Return an answer of the proxy itself."""
    return web.Response(text=HTML.format(status=status), status=status, content_type='text/html')


@asynccontextmanager
async def path_proxy(target: str) -> AsyncIterator[PathProxy]:
    """Run a proxy on its own port."""
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        proxy = PathProxy(target, http)
        app = web.Application()
        app.router.add_route('*', '/{path:.*}', proxy.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, '127.0.0.1', 0)
            await site.start()
            port = runner.addresses[0][1]
            proxy.url = f'http://127.0.0.1:{port}{PATH}'
            yield proxy
        finally:
            await runner.cleanup()
