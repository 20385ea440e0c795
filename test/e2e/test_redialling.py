"""The robot redials while an operator's page connects: real processes, real Chromium."""

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

import re
from typing import Any

from browser import OperatorPage
from playwright.sync_api import Browser, Route
import psutil
import pytest
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

REMEMBER_MESSAGES = """() => {
    window.messages = [];
    const message = document.querySelector('#message');
    const remember = () => window.messages.push(message.textContent);
    new MutationObserver(remember).observe(message, {childList: true, subtree: true});
}"""


def test_a_session_that_ends_while_the_page_connects_is_left_at_once(
    stack: Stack, browser: Browser
) -> None:
    operator = OperatorPage(browser.new_page())
    page = operator.page

    def answer_without_a_path(route: Route) -> None:
        # Neither side knows the other's address, so not even the end of the session arrives.
        asked: Any = route.request.post_data_json
        asked['sdp_offer'] = re.sub(r'a=candidate:.*\r\n', '', asked['sdp_offer'])
        answer = route.fetch(post_data=asked)
        joined = answer.json()
        joined['sdp_answer'] = re.sub(r'a=candidate:.*\r\n', '', joined['sdp_answer'])
        route.fulfill(response=answer, json=joined)

    page.route('**/join', answer_without_a_path, times=1)
    page.goto(stack.broker.page)
    page.evaluate(REMEMBER_MESSAGES)
    page.click(f'#robots button[data-robot-id="{stack.robot_id}"]', timeout=60_000)
    with page.expect_response('**/join'):
        page.click('#connect')
    (child,) = psutil.Process(stack.bridge.pid).children()
    child.kill()
    operator.wait_for_state('drivable')
    told = page.evaluate('window.messages')
    assert any('session has ended' in text for text in told), told
    page.click('#disconnect')
    operator.wait_for_state('idle')
    assert operator.errors == []
