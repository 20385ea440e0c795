"""One robot that is ready to be driven, and an operator at the page."""

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

from browser import chromium, OperatorPage
from playwright.sync_api import Browser
import pytest
from ros_probe import ros_node, RosProbe
from stack import running_stack, Stack


@pytest.fixture(scope='module')
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp('stack')) as running:
        yield running


@pytest.fixture(scope='module')
def probe(stack: Stack) -> Iterator[RosProbe]:
    """Listen to the bridge's commands to the robot."""
    with ros_node() as node:
        yield RosProbe(node)


@pytest.fixture
def browser(chromium_path: str) -> Iterator[Browser]:
    with chromium(chromium_path) as started:
        yield started


@pytest.fixture
def operator(stack: Stack, browser: Browser) -> Iterator[OperatorPage]:
    """Yield the page, connected to the robot; disconnect at the end."""
    page = OperatorPage(browser.new_page(viewport={'width': 1280, 'height': 800}))
    page.connect(stack.broker.page, stack.robot_id)
    yield page
    if browser.is_connected():
        page.page.click('#disconnect')
        page.wait_for_state('idle')
        assert page.errors == []
