"""A longer way makes the robot slower: a real page, and a relay that delays packets."""

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
import itertools
import time
from typing import Any

from browser import OperatorPage
from detour import detour_on_a_thread
from playwright.sync_api import Browser, expect
from programs import Programs, programs, wait_for
import pytest
from ros_probe import Command, ros_node, RosProbe

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

BUDGET_S = 0.2
FLOOR = 0.1
FALL_PER_S = 2.0
#: Of the limit: one command's share, and what a busy machine adds between two commands.
STEP = FALL_PER_S * 0.02 + 0.06


@pytest.fixture
def started(tmp_path: Any) -> Iterator[Programs]:
    with programs(tmp_path) as running:
        yield running


def state(page: OperatorPage) -> dict[str, Any]:
    return dict(page.metrics()['telemetry'].get('state', {}))


def known_sum_s(page: OperatorPage) -> float:
    return float(state(page).get('latency', {}).get('sum') or 0.0)


def test_the_limit_follows_the_latency_down_and_up(started: Programs, browser: Browser) -> None:
    broker = started.start_broker()
    started.start_simulation()
    page = OperatorPage(browser.new_page(viewport={'width': 1280, 'height': 800}))
    with detour_on_a_thread(broker.url) as detour, ros_node() as node:
        probe = RosProbe(node)
        bridge = started.start_bridge(
            *(detour.url, broker.key_file, 'go2-a', '-r', 'image:=camera/image_raw'),
            *('-p', f'latency_budget:={BUDGET_S}', '-p', f'latency_speed_floor:={FLOOR}'),
        )
        bridge.wait_for_line('state="connected"')
        page.connect(broker.page, 'go2-a')
        page.choose_speed(100)
        wait_for(lambda: known_sum_s(page) > 0.0, what='the latencies')
        held(page, probe)
        near_s = known_sum_s(page)
        for each_way_s in (0.05, 0.15):
            detour.delays_s = (each_way_s, each_way_s)
            has_slowed(page, probe, near_s + 1.4 * each_way_s)
        assert no_jerk(probe)
        expect(page.page.locator('#speed-note')).to_contain_text('Slowed to', timeout=30_000)
        expect(page.page.locator('body')).to_have_attribute('data-link', 'slow', timeout=30_000)
        detour.delays_s = (0.0, 0.0)
        wait_for(lambda: state(page)['speed_factor'] > 0.9, what='the full speed again')
        page.page.keyboard.up('KeyW')
        wait_for(probe.standing, what='zero on cmd_vel')
        assert page.errors == []


def has_slowed(page: OperatorPage, probe: RosProbe, least_s: float) -> None:
    """Wait until the page tells at least this sum, and the robot obeys it."""
    begun_s = time.monotonic()
    wait_for(lambda: known_sum_s(page) > least_s, what='a longer latency')
    held(page, probe)

    def allowed() -> float:
        # The sum varies between the report that the robot used and the one read here.
        return max(FLOOR, 1.25 * BUDGET_S / known_sum_s(page))

    wait_for(lambda: slowest(probe, begun_s) <= allowed(), what='a lower speed')
    assert probe.moving(), 'it is slowed, not stopped'
    wait_for(lambda: state(page)['speed_factor'] <= allowed(), what='the factor')


def held(page: OperatorPage, probe: RosProbe) -> None:
    """Drive; a busy machine may have stopped the robot in the meantime."""
    if not probe.moving() or page.metrics()['lock']:
        wait_for(lambda: page.let_go_and_press(probe.moving), what='motion')


def slowest(probe: RosProbe, since_s: float) -> float:
    """Return the least speed other than zero."""
    moves = [c.linear_x for c in probe.commands if c.arrival_s > since_s and not c.is_zero]
    return min(moves, default=1.0)


def no_jerk(probe: RosProbe) -> bool:
    """Return whether the speed fell in small steps, except to zero."""
    return all(
        now.is_zero or before.is_zero or before.linear_x - now.linear_x <= step(before, now)
        for before, now in itertools.pairwise(probe.commands)
    )


def step(before: Command, now: Command) -> float:
    return max(STEP, FALL_PER_S * (now.stamp_s - before.stamp_s) + 0.02)
