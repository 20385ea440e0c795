"""The operator page below a path of a reverse proxy, in a real browser."""

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
from pathlib import Path

from browser import ARGUMENTS
from path_proxy import path_proxy, PathProxy
from playwright.async_api import async_playwright, expect, Page
import pytest
import pytest_asyncio
from rig import Rig, running
from yarl import URL

from teleop_webrtc_bridge.broker.http.page import read_page

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path, page=read_page()) as rig:
        yield rig


@pytest_asyncio.fixture
async def proxy(rig: Rig) -> AsyncIterator[PathProxy]:
    async with path_proxy(f'http://127.0.0.1:{rig.port}') as proxy:
        yield proxy


@pytest_asyncio.fixture
async def page(chromium_path: str) -> AsyncIterator[Page]:
    async with new_page(chromium_path) as page:
        yield page


@asynccontextmanager
async def new_page(chromium_path: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path, headless=True, args=list(ARGUMENTS)
        )
        try:
            yield await browser.new_page()
        finally:
            await browser.close()


def token_of(rig: Rig) -> str:
    return rig.operator()['Authorization'].removeprefix('Bearer ')


async def test_the_page_works_below_a_path(rig: Rig, proxy: PathProxy, page: Page) -> None:
    robot = rig.robot()
    await rig.dial(robot, robot_id='go2-a')
    asked: list[str] = []
    page.on('response', lambda response: asked.append(URL(response.url).path))
    # Without the trailing slash, the proxy redirects to the right address; the token is kept.
    await page.goto(f'{proxy.url.rstrip("/")}#token={token_of(rig)}')
    row = page.locator('#robots button[data-robot-id="go2-a"]')
    await expect(row).to_be_visible(timeout=20_000)
    await expect(page.locator('body')).to_have_attribute('data-state', 'idle')
    await expect(page.locator('#message')).to_have_text('')
    # The answer of the fake media is unusable, but the join has come through.
    async with page.expect_response('**/join') as joined:
        await page.click('#connect')
    assert URL((await joined.value).url).path.startswith('/teleop/api/v1/sessions/')
    manifest = page.locator('link[rel=manifest]')
    address = URL(await manifest.evaluate('link => link.href'))
    answer = await page.request.get(str(address))
    assert answer.headers['content-type'].startswith('application/manifest+json')
    described = await answer.json()
    for icon in described['icons']:
        icon_answer = await page.request.get(str(address.join(URL(icon['src']))))
        assert icon_answer.headers['content-type'].startswith(icon['type']), icon
    assert address.join(URL(described['start_url'])).path == '/teleop/'
    assert proxy.missed == []
    assert [path for path in asked if not path.startswith('/teleop')] == []
    answer = await page.request.get(f'{proxy.url}stop.html')
    assert answer.status == 200
    # Another broker on the same host, below another path, does not get the token.
    keys = await page.evaluate('Object.keys(sessionStorage)')
    assert keys == ['teleop.token /teleop/']


async def test_what_a_proxy_says_is_not_told_as_the_brokers_word(
    rig: Rig, proxy: PathProxy, page: Page
) -> None:
    not_there = f'The broker’s API is not at {proxy.url}api/v1: a proxy answered HTTP'
    is_down = 'A proxy answered HTTP {}: it does not reach the broker.'
    message = page.locator('#message')
    await page.goto(f'{proxy.url}#token={token_of(rig)}')
    for status in (404, 401, 403, 200, 502, 504):
        proxy.answers['/api/'] = status
        said = is_down.format(status) if status >= 500 else f'{not_there} {status}.'
        await expect(message).to_have_text(said, timeout=20_000)
        # No status of the proxy signs anybody out.
        await expect(page.locator('#list')).to_be_visible()
    proxy.answers.clear()
    await expect(message).to_have_text('', timeout=20_000)


async def test_a_page_without_its_files_says_what_is_wrong(rig: Rig, page: Page) -> None:
    async with path_proxy(f'http://127.0.0.1:{rig.port}') as proxy:
        proxy.answers |= {'/style.css': 404, '/main.js': 404}
        await page.goto(proxy.url)
        await expect(page.locator('.unloaded')).to_be_visible()
        proxy.answers.clear()
        await page.reload()
        await expect(page.locator('.unloaded')).to_be_hidden()
