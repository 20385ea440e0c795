"""Budgets of processor time, in time that the test makes."""

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

from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.broker.http.admission import FairQueue, Share

PLENTY = Share(total=100.0, total_burst_s=100.0, each=100.0, each_burst_s=100.0)
REQUEST_S = 0.01


def queue(**changes: float) -> FairQueue[str]:
    values = {
        'total': 1.0,
        'total_burst_s': 100.0,
        'each': 0.5,
        'each_burst_s': 100.0,
        **changes,
    }
    return FairQueue(Share(**values), REQUEST_S)


def taken(requests: FairQueue[str], now_s: float) -> list[str]:
    """Return all that go on now."""
    found = []
    while (request := requests.take(now_s)) is not None:
        found.append(request)
    return found


def test_with_budget_all_go_on_in_turn_by_party() -> None:
    requests: FairQueue[str] = FairQueue(PLENTY, REQUEST_S)
    for party, request in [('a', 'a1'), ('a', 'a2'), ('a', 'a3'), ('b', 'b1'), ('c', 'c1')]:
        requests.enter(party, request)
    assert taken(requests, 0.0) == ['a1', 'b1', 'c1', 'a2', 'a3']
    assert requests.ready_in_s(0.0) is None
    assert len(requests) == 0


def test_a_party_without_budget_waits_and_holds_up_nobody() -> None:
    requests = queue(each_burst_s=0.01)
    for number in range(5):
        requests.enter('greedy', f'g{number}')
    requests.enter('modest', 'm')
    assert taken(requests, 0.0) == ['g0', 'm', 'g1']
    assert requests.ready_in_s(0.0) == pytest.approx(0.02)
    assert taken(requests, 0.01) == []
    assert taken(requests, 0.021) == ['g2']


def test_all_parties_together_have_a_budget() -> None:
    requests = queue(total_burst_s=0.02)
    for number in range(6):
        requests.enter(f'party{number}', f'r{number}')
    assert taken(requests, 0.0) == ['r0', 'r1', 'r2']
    assert requests.ready_in_s(0.0) == pytest.approx(0.01)
    assert taken(requests, 0.0111) == ['r3']


def test_measured_time_is_charged_afterwards() -> None:
    requests = queue(each_burst_s=0.1)
    requests.spend('a', 0.15, 0.0)
    assert requests.debt_s('a', 0.0) == pytest.approx(0.1)
    assert requests.debt_s('b', 0.0) == 0.0
    requests.enter('a', 'a1')
    requests.enter('b', 'b1')
    assert taken(requests, 0.0) == ['b1']
    assert taken(requests, 0.101) == ['a1']


def test_who_leaves_is_forgotten() -> None:
    requests = queue(each_burst_s=0.01)
    requests.spend('a', 0.02, 0.0)
    requests.enter('a', 'a1')
    requests.enter('a', 'a2')
    assert taken(requests, 0.0) == []
    requests.leave('a', 'a1')
    requests.leave('b', 'unknown')
    assert taken(requests, 1.0) == ['a2']
    requests.enter('a', 'a3')
    requests.leave('a', 'a3')
    assert taken(requests, 2.0) == []
    requests.enter('a', 'a4')
    assert taken(requests, 3.0) == ['a4']


@given(
    st.lists(st.tuples(st.sampled_from('abcd'), st.booleans(), st.floats(0.0, 0.1)), max_size=200)
)
def test_nothing_is_lost_and_nothing_exceeds_the_budgets(
    steps: list[tuple[str, bool, float]],
) -> None:
    requests, now_s = queue(total_burst_s=0.05, each_burst_s=0.03), 0.0
    waiting: dict[str, str] = {}
    went_on: list[str] = []
    for number, (party, leaves, pause_s) in enumerate(steps):
        now_s += pause_s
        if leaves and waiting:
            name, of = waiting.popitem()
            requests.leave(of, name)
        else:
            requests.enter(party, f'{party}{number}')
            waiting[f'{party}{number}'] = party
        for name in taken(requests, now_s):
            del waiting[name]
            went_on.append(name)
    assert len(requests) == len(waiting)
    assert len(went_on) * REQUEST_S <= 0.05 + now_s + REQUEST_S + 1e-6
    for party in 'abcd':
        mine = [name for name in went_on if name.startswith(party)]
        assert len(mine) * REQUEST_S <= 0.03 + 0.5 * now_s + REQUEST_S + 1e-6
    # In the end, everybody has their turn.
    for _ in range(1000):
        now_s += 0.1
        for name in taken(requests, now_s):
            del waiting[name]
    assert waiting == {}
