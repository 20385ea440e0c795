"""The offer of an old console, microphone included, in a real Chromium: it gets its video."""

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

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from browser import ARGUMENTS
from old_console import ANSWER_JS, OFFER_JS, SHOWS_VIDEO_JS, VIDEO_ANSWER_JS
from playwright.async_api import async_playwright, Page
import pytest

from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.core.sdp import strip_forbidden_candidates

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

#: The order in which an old console adds its sections, and how it adds its microphone.
CONSOLES = [
    ('dva', 'track'),
    ('adv', 'addTrack'),
    ('dva', 'sendrecv'),
    ('da', 'sendonly'),
]


@asynccontextmanager
async def dialled_robot(media: EmbeddedMedia) -> AsyncIterator[str]:
    """Publish video and return the media session."""
    pc = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    pc.addTrack(VideoStreamTrack())
    pc.addTransceiver('audio', direction='recvonly')
    pc.createDataChannel('_sctp_init', negotiated=True, id=0)
    await pc.setLocalDescription(await pc.createOffer())
    session = await media.new_session(pc.localDescription.sdp)
    answer = RTCSessionDescription(sdp=session.sdp_answer, type='answer')
    await pc.setRemoteDescription(answer)
    try:
        yield session.media_id
    finally:
        await pc.close()


async def blank(request: web.Request) -> web.Response:
    return web.Response(text='<!doctype html><body>', content_type='text/html')


async def watch(page: Page, media: EmbeddedMedia, robot: str, order: str, how: str) -> None:
    offer = await page.evaluate(OFFER_JS, {'order': order, 'microphone': how})
    usable = strip_forbidden_candidates(offer, allow_local=True)
    joined = await media.new_session(usable, beside=robot)
    await page.evaluate(ANSWER_JS, joined.sdp_answer)
    await media.connected(joined.media_id)
    # Twice: a page may bridge again.
    for _ in range(2):
        video_offer = await media.pull_video(joined.media_id, publisher=robot)
        await media.renegotiate(joined.media_id, await page.evaluate(VIDEO_ANSWER_JS, video_offer))
    await page.wait_for_function(SHOWS_VIDEO_JS)


async def test_an_old_console_with_a_microphone_gets_its_video(chromium_path: str) -> None:
    media = EmbeddedMedia(include_loopback=True)
    app = web.Application()
    app.router.add_get('/', blank)
    shown, crashed = [], []
    async with (
        TestServer(app) as server,
        dialled_robot(media) as robot,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(
            executable_path=chromium_path, args=list(ARGUMENTS)
        )
        try:
            for console in CONSOLES:
                page = await browser.new_page()
                page.on('crash', lambda page, it=console: crashed.append(it))
                await page.goto(str(server.make_url('/')))
                async with asyncio.timeout(60.0):
                    await watch(page, media, robot, *console)
                shown.append(console)
                await page.close()
        finally:
            await browser.close()
            await media.close()
    assert (shown, crashed) == (CONSOLES, [])
