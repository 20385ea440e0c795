"""Who gives way when there are too many connections."""

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

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, RuleBasedStateMachine

from teleop_webrtc_bridge.broker.http.admission import Activity, ConnectionTable


def table(total: int = 100, per_address: int = 100, per_token: int = 100) -> ConnectionTable[str]:
    return ConnectionTable(total=total, per_address=per_address, per_token=per_token)


def test_one_address_has_so_many_unknown_connections_and_the_newest_stays() -> None:
    connections = table(per_address=2)
    assert connections.opened('first', 'a') is None
    assert connections.opened('second', 'a') is None
    assert connections.opened('other', 'b') is None
    assert connections.opened('third', 'a') == 'first'
    assert connections.opened('fourth', 'a') == 'second'
    assert set(connections) == {'other', 'third', 'fourth'}


def test_a_connection_whose_request_waits_goes_after_the_idle_ones() -> None:
    connections = table(per_address=2)
    connections.opened('waits', 'a')
    connections.now('waits', Activity.WAITING)
    connections.opened('idle', 'a')
    assert connections.opened('third', 'a') == 'idle'
    connections.now('third', Activity.WAITING)
    assert connections.opened('fourth', 'a') == 'waits'


def test_a_connection_that_is_being_served_is_not_dropped_for_another() -> None:
    connections = table(per_address=2)
    for name in ('first', 'second'):
        connections.opened(name, 'a')
        connections.now(name, Activity.BUSY)
    assert connections.opened('third', 'a') == 'third'
    assert set(connections) == {'first', 'second'}
    connections.now('second', Activity.IDLE)
    assert connections.opened('fourth', 'a') == 'second'


def test_connections_with_a_valid_secret_are_not_counted_for_their_address() -> None:
    connections = table(per_address=2)
    for number in range(9):
        assert connections.opened(f'c{number}', 'a') is None
        assert connections.identified(f'c{number}', 'key') is None


def test_when_all_are_taken_the_address_that_holds_most_gives_its_oldest() -> None:
    connections = table(total=5)
    for name, address in [('a1', 'a'), ('b1', 'b'), ('b2', 'b'), ('b3', 'b'), ('c1', 'c')]:
        connections.opened(name, address)
    assert connections.opened('d1', 'd') == 'b1'
    assert connections.opened('d2', 'd') == 'b2'
    connections.now('d1', Activity.BUSY)
    # Now all hold one that is idle; 'd' a second one that is not.
    assert connections.opened('e1', 'e') in {'a1', 'b3', 'c1', 'd2'}


def test_of_equal_counts_idle_strangers_then_waiting_ones_then_known_ones_give_way() -> None:
    connections = table(total=4)
    connections.opened('known', 'a')
    connections.identified('known', 'token')
    connections.opened('busy', 'a')
    connections.now('busy', Activity.BUSY)
    connections.opened('waits', 'a')
    connections.now('waits', Activity.WAITING)
    connections.opened('idle', 'a')
    for victim in ('idle', 'waits', 'known'):
        assert connections.opened(f'for {victim}', 'b') == victim
        connections.now(f'for {victim}', Activity.BUSY)
    assert connections.opened('too many', 'b') == 'too many'


def test_who_has_just_come_outlasts_an_address_whose_requests_hold_all_places() -> None:
    connections = table(total=4)
    for name, address in [('a1', 'a'), ('a2', 'a'), ('b1', 'b'), ('b2', 'b')]:
        connections.opened(name, address)
        connections.now(name, Activity.WAITING)
    victims = [connections.opened('newcomer', 'c')]
    for name, address in [('a3', 'a'), ('b3', 'b'), ('a4', 'a'), ('b4', 'b'), ('a5', 'a')]:
        victims.append(connections.opened(name, address))
        connections.now(name, Activity.WAITING)
    assert 'newcomer' not in victims
    assert None not in victims


def test_one_token_has_so_many_and_its_oldest_idle_one_gives_way() -> None:
    connections = table(per_token=2)
    for number in range(3):
        connections.opened(f'c{number}', 'a')
    assert connections.identified('c0', 'token') is None
    assert connections.identified('c1', 'token') is None
    assert connections.identified('c1', 'token') is None
    assert connections.identified('c2', 'token') == 'c0'
    connections.now('c1', Activity.BUSY)
    connections.now('c2', Activity.BUSY)
    connections.opened('c3', 'a')
    # Nothing but itself, which is told so.
    assert connections.identified('c3', 'token') == 'c3'
    assert connections.identified('c3', 'another token') is None


def test_a_trusted_proxy_has_no_limit_of_its_own() -> None:
    connections = table(total=50, per_address=2, per_token=2)
    for number in range(50):
        assert connections.opened(f'c{number}', 'proxy', is_proxy=True) is None
        assert connections.identified(f'c{number}', 'token') is None
    connections.now('c7', Activity.IDLE)
    assert connections.opened('stranger', 'a') == 'c0'
    # Strangers give way before what is the proxy's.
    assert connections.opened('another', 'proxy', is_proxy=True) == 'stranger'


def test_what_nobody_knows_is_ignored() -> None:
    connections = table()
    connections.closed('nobody')
    connections.now('nobody', Activity.IDLE)
    assert connections.identified('nobody', 'token') is None
    assert len(connections) == 0
    assert connections.expendable() is None


class Connections(RuleBasedStateMachine):
    """Anything in any order, against a model that looks at everything each time."""

    def __init__(self) -> None:
        super().__init__()
        self.table = table(total=8, per_address=4, per_token=3)
        self.model: dict[int, list[object]] = {}
        """Connection → holder, whether it is known, activity."""
        self.number = 0

    @rule(address=st.sampled_from('abc'))
    def opened(self, address: str) -> None:
        self.number += 1
        victim = self.table.opened(self.number, address)
        if victim is not None:
            self.model.pop(victim, None)
        if victim != self.number:
            self.model[self.number] = [address, False, Activity.IDLE]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), party=st.sampled_from('xy'))
    def identified(self, data: st.DataObject, party: str) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.model)))
        victim = self.table.identified(chosen, party)
        if victim != chosen:
            self.model.pop(victim, None)
            self.model[chosen][:2] = [party, True]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), activity=st.sampled_from(Activity))
    def now(self, data: st.DataObject, activity: Activity) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.model)))
        self.table.now(chosen, activity)
        self.model[chosen][2] = activity

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def closed(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.model)))
        self.table.closed(chosen)
        del self.model[chosen]

    @invariant()
    def is_bounded(self) -> None:
        assert set(self.table) == set(self.model)
        assert len(self.model) <= 8
        for party in 'xy':
            assert sum(it[:2] == [party, True] for it in self.model.values()) <= 3
        for address in 'abc':
            assert sum(it[:2] == [address, False] for it in self.model.values()) <= 4

    @invariant()
    def the_address_that_holds_most_gives_way_and_then_what_is_known(self) -> None:
        counts = Counter(
            (is_known, activity is Activity.WAITING and not is_known, holder)
            for holder, is_known, activity in self.model.values()
            if activity is not Activity.BUSY
        )
        expendable = self.table.expendable()
        if expendable is None:
            assert not counts
            return
        holder, is_known, activity = self.model[expendable]
        waits = activity is Activity.WAITING and not is_known
        strangers = {key: count for key, count in counts.items() if not key[0]}
        chosen = counts[is_known, waits, holder]
        assert chosen == max((strangers or counts).values())
        assert bool(strangers) is not is_known
        # Where as many wait as don't, one that does not.
        assert not waits or chosen > max(
            (count for (_, waits, _), count in strangers.items() if not waits), default=0
        )


TestConnections = Connections.TestCase
TestConnections.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
