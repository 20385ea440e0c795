"""Names that contain markup or script, on the real page in a real browser."""

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

from collections.abc import Iterator
from contextlib import closing
import itertools
import json
from pathlib import Path
import subprocess
import sys
import time
from typing import Any
import urllib.request

from browser import chromium
from playwright.sync_api import Browser, Page, Route
from programs import page_address, ROOT, wait_for
import pytest
from tree import SUPPORT

from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.http.schema import NAME

pytestmark = pytest.mark.browser

OFFER = 'v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n'
SHAPES = (
    '<script>{}</script>',
    '<img src=x onerror={}>',
    '"><svg onload={}>',
    "'><img src=x onerror={}>",
    '<a href="javascript:{}">x</a>',
    'javascript:{}',
    '{{{{constructor.constructor("{}")()}}}}',
    '<style onload={}>',
    '</title><body onload={}>',
    '" autofocus onfocus={} x="',
)
ACTS = tuple(f'__xss={number}' for number in range(10))
NAMES = [f'{shape.format(act)}'[:64] for shape, act in itertools.product(SHAPES, ACTS)]
WATCH = """
    window.__violations = [];
    document.addEventListener('securitypolicyviolation', (event) =>
      window.__violations.push(event.violatedDirective + ' ' + event.blockedURI));
"""


@pytest.fixture(scope='module')
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('state')


@pytest.fixture(scope='module')
def address(state: Path) -> Iterator[str]:
    """Run a broker on fake media, with one robot for each name."""
    program = SUPPORT / 'broker_on_fake_media.py'
    process = subprocess.Popen(
        [sys.executable, str(program), '--port', '0', '--state-dir', str(state)],
        stdout=subprocess.PIPE,
        text=True,
        env={'PYTHONPATH': str(ROOT), 'PATH': ''},
    )
    assert process.stdout is not None
    try:
        yield page_address(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def page(chromium_path: str) -> Iterator[Page]:
    with chromium(chromium_path) as browser:
        yield watched(browser)


def watched(browser: Browser) -> Page:
    page = browser.new_page()
    page.add_init_script(WATCH)
    return page


def nothing_happened(page: Page) -> None:
    assert page.evaluate('window.__xss') is None
    assert page.evaluate('window.__violations') == []
    # The page's own drawing is on the button of the gamepad.
    foreign = 'img, iframe, object, svg:not(#gamepad-toggle > svg), style'
    assert page.evaluate(f"document.querySelectorAll('{foreign}').length") == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 1


def dial(url: str, state: Path) -> None:
    """Dial in as a hundred robots, which need several API keys."""
    with closing(Store.open(state)) as store:
        keys = [
            store.create_robot_key(name='k', robot_id=None, owner='owner', now_s=time.time())[1]
            for _ in range(2)
        ]
    for number, name in enumerate(NAMES):
        body = {'robot_name': 'Go2', 'robot_id': name, 'sdp_offer': OFFER}
        request = urllib.request.Request(
            f'{url}api/v1/sessions',
            json.dumps(body).encode(),
            {'X-Robot-API-Key': keys[number % 2], 'Content-Type': 'application/json'},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 201


def test_there_are_a_hundred_different_names() -> None:
    assert len(set(NAMES)) == 100


def test_the_broker_takes_none_of_them_for_a_robots_or_a_persons_name() -> None:
    for name in NAMES:
        with pytest.raises(Exception, match='are accepted'):
            NAME.read('robot_name', name)


@pytest.mark.real_programs
def test_robot_ids_are_shown_as_they_are(page: Page, address: str, state: Path) -> None:
    url = address.partition('#')[0]
    dial(url, state)
    page.goto(address)
    wait_for(lambda: page.locator('#robots button').count() == 100, what='100 robots')
    assert sorted(page.locator('.robot-detail').all_text_contents()) == sorted(NAMES)
    for number in range(0, 100, 10):
        page.locator('#robots button').nth(number).click()
    nothing_happened(page)


@pytest.mark.real_programs
def test_a_broker_of_another_make_may_send_what_it_likes(page: Page, address: str) -> None:
    """Make every text of the API hostile, even those that our broker would never accept."""

    def row(number: int, name: str) -> dict[str, Any]:
        return {
            'session_id': f's{number}{name}',
            'robot_id': f'{name}{number}',
            'robot_name': name,
            'robot_type': name,
            'state': 'active',
            'operator_id': name,
            'control_request': name,
            'split': {'hint': name},
        }

    def hostile(route: Route) -> None:
        if route.request.url.endswith('/sessions'):
            route.fulfill(json=[row(number, name) for number, name in enumerate(NAMES)])
        else:
            route.fulfill(status=409, json={'detail': NAMES[10]})

    page.route('**/api/v1/**', hostile)
    page.goto(address.partition('#')[0] + '#token=x')
    wait_for(lambda: page.locator('#robots button').count() == 100, what='100 robots')
    assert page.locator('.robot-name').all_text_contents() == NAMES
    assert page.locator('.robot-split').all_text_contents() == NAMES
    for number in range(0, 100, 20):
        page.locator('#robots button').nth(number).click()
        assert page.inner_text('#connect') == f'Connect to {NAMES[number]}'
    page.click('#connect')
    wait_for(lambda: page.inner_text('#message') == NAMES[10], what='the hostile error')
    nothing_happened(page)
