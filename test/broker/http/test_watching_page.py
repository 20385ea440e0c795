"""Two people on the page, in a real browser: one drives, the other watches and takes over."""

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
from contextlib import closing, contextmanager
from pathlib import Path
import time

from browser import chromium, OperatorPage
from playwright.sync_api import Browser, expect
from programs import wait_for
import pytest
from stack import running_stack, Stack

from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import Role

pytest.importorskip('rclpy', reason='no ROS')

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]


@contextmanager
def page_of(browser: Browser) -> Iterator[OperatorPage]:
    context = browser.new_context(viewport={'width': 1280, 'height': 800})
    yield OperatorPage(context.new_page())
    context.close()


def address_of(stack: Stack, sub: str, role: Role = Role.OPERATOR) -> str:
    """Return a link that signs in another person of the same tenant while the broker runs."""
    with closing(Store.open(stack.broker.key_file.parent)) as store:
        token = store.create_operator_token(
            sub=sub, role=role, tenant_name='owner', now_s=time.time(), expires_at_s=None
        )
    return f'{stack.broker.url}/#token={token}'


def watch(page: OperatorPage, address: str, robot_id: str) -> None:
    page.page.goto(address)
    page.page.click(f'#robots button[data-robot-id="{robot_id}"]', timeout=20_000)
    page.page.click('#watch')
    page.wait_for_state('watching')
    wait_for(lambda: page.metrics()['framesPresented'] > 5, what='frames on the page')


def stop_and_release(bob: OperatorPage, owner: OperatorPage) -> None:
    """Stop the robot as a viewer: only its operator releases it."""
    bob.page.click('#estop')
    bob.wait_for_state('stopped')
    owner.wait_for_state('stopped')
    expect(owner.page.locator('#estop-note')).to_have_text('by bob')
    expect(owner.page.locator('#message')).to_contain_text('Stopped by bob.')
    expect(bob.page.locator('#estop-note')).to_have_text('by you')
    assert not bob.page.is_visible('#estop-release')
    owner.page.click('#estop-release')
    owner.page.click('#estop-release')
    owner.wait_for_state('drivable')
    bob.wait_for_state('watching')
    owner.page.click('#estop')
    expect(owner.page.locator('#estop-note')).to_have_text('by you')
    expect(bob.page.locator('#estop-note')).to_have_text('by owner')
    owner.page.click('#estop-release')
    owner.page.click('#estop-release')
    owner.wait_for_state('drivable')
    bob.wait_for_state('watching')


def hand_over(bob: OperatorPage, owner: OperatorPage) -> None:
    """Ask for control as a viewer, and get it."""
    bob.page.click('#control-action')
    wait_for(
        lambda: owner.page.inner_text('#control-text') == 'bob asks for control.',
        what='the request',
    )
    owner.page.click('#control-action')
    bob.wait_for_state('drivable')
    assert not bob.page.is_visible('#viewer-badge')
    owner.wait_for_state('error')
    assert owner.page.inner_text('#message') == 'Session already has operator: bob'


def drive_elsewhere(page: OperatorPage, other: OperatorPage, address: str, robot_id: str) -> None:
    """Take over on another page of the same person, then back: neither joins again by itself."""
    joins: list[str] = []
    for each in (page, other):
        each.page.on(
            'request', lambda it: joins.append(it.url) if it.url.endswith('/join') else None
        )
    other.page.goto(address)
    other.page.click(f'#robots button[data-robot-id="{robot_id}"]', timeout=20_000)
    expect(other.page.locator('#connect')).to_have_text('Take over from your other page')
    takes, loses = other, page
    for count in (1, 2):
        takes.page.click('#connect')
        takes.wait_for_state('drivable')
        loses.wait_for_state('idle')
        expect(loses.page.locator('#message')).to_have_text(
            'You drive this robot from another page.'
        )
        expect(loses.page.locator('#connect')).to_have_text('Drive here')
        assert len(joins) == count
        takes, loses = loses, takes
    # The message disappears when the other page stops driving.
    loses.page.click('#disconnect')
    expect(takes.page.locator('#message')).to_have_text('')
    expect(takes.page.locator('#connect')).to_contain_text('Connect to')
    assert len(joins) == 2


def test_watching_stopping_and_taking_over(chromium_path: str, tmp_path: Path) -> None:
    with (
        running_stack(tmp_path) as stack,
        chromium(chromium_path) as browser,
        page_of(browser) as bob,
        page_of(browser) as owner,
        page_of(browser) as phone,
    ):
        # Nobody drives: the robot still sends to its viewer, and can be stopped.
        bobs = address_of(stack, 'bob')
        watch(bob, bobs, stack.robot_id)
        wait_for(lambda: bob.metrics()['telemetry'].get('state'), what='telemetry')
        assert bob.page.inner_text('#control-text') == 'Nobody drives this robot.'
        assert not bob.page.is_visible('#pad')
        assert bob.page.is_visible('#viewer-badge')

        owner.connect(stack.broker.page, stack.robot_id)
        wait_for(
            lambda: bob.page.inner_text('#control-text') == 'Driven by owner.', what='the holder'
        )
        frames = bob.metrics()['framesPresented']
        wait_for(lambda: bob.metrics()['framesPresented'] > frames + 10, what='frames go on')
        bob.page.keyboard.down('KeyW')
        bob.page.keyboard.up('KeyW')
        assert bob.metrics()['commandsSent'] == 0

        stop_and_release(bob, owner)
        hand_over(bob, owner)
        drive_elsewhere(bob, phone, bobs, stack.robot_id)
        assert bob.errors == phone.errors == []
        assert [text for text in owner.errors if 'status of 4' not in text] == []


def test_whoever_drives_reads_who_stopped_the_robot_and_puts_them_out(
    chromium_path: str, tmp_path: Path
) -> None:
    with (
        running_stack(tmp_path) as stack,
        chromium(chromium_path) as browser,
        page_of(browser) as bob,
        page_of(browser) as owner,
    ):
        watch(bob, address_of(stack, 'bob', Role.VIEWER), stack.robot_id)
        owner.connect(stack.broker.page, stack.robot_id)
        bob.page.click('#estop')
        owner.wait_for_state('stopped')
        expect(owner.page.locator('#estop-note')).to_have_text('by bob, viewer')
        stack.bridge.wait_for_line('event=estop latch=1 sub="bob" role="viewer"')
        expect(owner.page.locator('#watchers-toggle')).to_have_text('Watched by bob')
        assert not bob.page.is_visible('#watchers-toggle')
        owner.page.click('#watchers-toggle')
        remove = owner.page.locator('#watchers-list .put-out')
        remove.click()
        expect(remove).to_have_text('Press again')
        remove.click()
        bob.wait_for_state('error')
        expect(bob.page.locator('#message')).to_contain_text('You were removed')
        expect(owner.page.locator('#watchers-toggle')).to_be_hidden()
        # The robot stays stopped: only its operator may release it.
        assert owner.page.inner_text('#estop-note') == 'by bob, viewer'
        owner.page.click('#estop-release')
        owner.page.click('#estop-release')
        owner.wait_for_state('drivable')
        stack.bridge.wait_for_line('event=estop_released latch=1 sub="owner" role="operator"')
        bob.page.click('#watch')
        bob.wait_for_state('error')
        assert bob.errors == []
        assert owner.errors == []
