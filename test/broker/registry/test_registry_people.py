"""People in the registry: identities, tenants and bans, on a clock that the test sets."""

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

import pytest

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.operators import ControlState
from teleop_webrtc_bridge.broker.registry.people import (
    BAN_S,
    Bans,
    MAX_BANS_OF_TENANT,
    NamedPerson,
)
from teleop_webrtc_bridge.broker.registry.refusals import (
    AmbiguousName,
    NotOperator,
    NotRequested,
    PutOut,
    SessionUnknown,
    SlotTaken,
    Superseded,
)
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import LinkQuality, NewSession

ALICE = OperatorCaller(sub='alice', role=Role.OPERATOR, token_id='1')
SECOND = OperatorCaller(sub='alice', role=Role.OPERATOR, token_id='2')
NAMESAKES = (
    OperatorCaller(sub='alice', role=Role.VIEWER),
    OperatorCaller(sub='alice', role=Role.ADMIN),
    OperatorCaller(sub='alice', role=Role.ADMIN, tenant_name='yard'),
)
EVE = OperatorCaller(sub='eve', role=Role.VIEWER, tenant_name='alice')


def robot(
    session_id: str = 's1', robot_id: str = 'go2', owner: str = 'alice', instance_id: str = 'i1'
) -> NewSession:
    return NewSession(
        session_id=session_id,
        owner=owner,
        key_id='key',
        robot_id=robot_id,
        robot_name='Go2',
        robot_type=None,
        instance_id=instance_id,
        media_id=f'robot of {session_id}',
        created_at='',
    )


def driven() -> Registry:
    """Return a registry with a robot that alice drives."""
    registry = Registry(Limits())
    registry.robots.create(robot(), 0.0)
    claim = registry.operators.claim('s1', ALICE, 0.0)
    registry.operators.attach('s1', claim, 'op', 0.0)
    return registry


# --- who drives --------------------------------------------------------------------------------


@pytest.mark.parametrize('caller', NAMESAKES, ids=lambda caller: str(caller.identity))
@pytest.mark.parametrize('media_id', [None, 'op'])
def test_a_name_alone_is_nobody(caller: OperatorCaller, media_id: str | None) -> None:
    registry = driven()
    with pytest.raises(NotOperator):
        registry.heartbeat('s1', caller, media_id, 1.0)
    with pytest.raises(NotOperator):
        registry.operators.plan_bridge('s1', caller, media_id, 1.0)
    _, effects = registry.leave('s1', caller, media_id, 1.0)
    assert effects == []
    with pytest.raises(NotOperator):
        registry.join_of('s1', caller, media_id, 1.0)


def test_a_call_that_names_no_join_means_that_of_its_own_token() -> None:
    registry = driven()
    for media_id in (None, 'other'):
        with pytest.raises(NotOperator):
            registry.heartbeat('s1', SECOND, media_id, 1.0)
    assert registry.leave('s1', SECOND, None, 1.0)[1] == []
    registry.heartbeat('s1', SECOND, 'op', 1.0)
    # The same person may still claim the slot from another device.
    claim = registry.operators.claim('s1', SECOND, 1.0)
    registry.operators.attach('s1', claim, 'op2', 1.0)
    registry.heartbeat('s1', SECOND, None, 1.0)
    with pytest.raises(NotOperator):
        registry.heartbeat('s1', ALICE, None, 1.0)


def test_an_issuers_renewed_token_is_the_same_person() -> None:
    old = OperatorCaller(sub='oidc/ann', role=Role.OPERATOR, tenant_name='alice', expires_at_s=1.0)
    new = OperatorCaller(sub='oidc/ann', role=Role.OPERATOR, tenant_name='alice', expires_at_s=9.0)
    assert (old.identity, old.credential) == (new.identity, new.credential)
    registry = Registry(Limits())
    registry.robots.create(robot(), 0.0)
    claim = registry.operators.claim('s1', old, 0.0)
    registry.operators.attach('s1', claim, 'op', 0.0)
    registry.heartbeat('s1', new, None, 1.0)
    assert registry.revoke(lambda caller: caller.expires_at_s == 1.0) == []


def test_the_viewers_of_one_token_are_not_those_of_another() -> None:
    registry = driven()
    first, second = (
        OperatorCaller(sub='eve', role=Role.VIEWER, tenant_name='alice', token_id=token_id)
        for token_id in 'ab'
    )
    registry.viewers.attach('s1', first, 'v1', 0.0)
    registry.viewers.attach('s1', second, 'v2', 0.0)
    found = [
        registry.join_of('s1', caller, media_id, 1.0)
        for caller, media_id in ((first, None), (second, None), (first, 'v2'))
    ]
    assert [join.media_id for join in found] == ['v1', 'v2', 'v2']


def test_a_grant_is_for_one_identity() -> None:
    registry = driven()
    bob, boss = (
        OperatorCaller(sub='bob', role=role, tenant_name='alice')
        for role in (Role.OPERATOR, Role.ADMIN)
    )
    registry.operators.request_control('s1', bob, 1.0)
    assert (
        registry.operators.grant_control('s1', ALICE, NamedPerson(sub='bob'), 1.0) == bob.identity
    )
    with pytest.raises(SlotTaken, match='Session already has operator: alice'):
        registry.operators.claim('s1', boss, 1.0)
    registry.operators.claim('s1', bob, 1.0)


def test_what_a_request_for_control_is_told() -> None:
    registry = Registry(Limits())
    registry.robots.create(robot(), 0.0)
    bob = OperatorCaller(sub='bob', role=Role.OPERATOR, tenant_name='alice')
    request = registry.operators.request_control
    assert request('s1', bob, 0.0) == (ControlState.FREE, None)
    claim = registry.operators.claim('s1', ALICE, 0.0)
    registry.operators.attach('s1', claim, 'op', 0.0)
    assert request('s1', ALICE, 0.0) == (ControlState.HOLDER, ALICE.identity)
    with pytest.raises(NotRequested):
        registry.operators.grant_control('s1', ALICE, NamedPerson(sub='bob'), 0.0)
    assert request('s1', bob, 0.0) == (ControlState.PENDING, ALICE.identity)
    registry.operators.grant_control('s1', ALICE, NamedPerson(sub='bob'), 0.0)
    assert request('s1', bob, 1.0) == (ControlState.GRANTED, ALICE.identity)
    registry.operators.take_control('s1', NAMESAKES[1], 1.0)
    registry.operators.claim('s1', NAMESAKES[1], 1.0)


def test_a_name_that_several_have_needs_more() -> None:
    people = [
        Identity(tenant=tenant, sub='bob', role=role)
        for tenant, role in (('a', Role.OPERATOR), ('a', Role.ADMIN), ('b', Role.ADMIN))
    ]
    with pytest.raises(AmbiguousName, match=r"add 'role', one of \['admin', 'operator'\]"):
        NamedPerson(sub='bob').among(people)
    with pytest.raises(AmbiguousName, match=r"add 'tenant', one of \['a', 'b'\]"):
        NamedPerson(sub='bob', role=Role.ADMIN).among(people)
    assert NamedPerson(sub='bob', role=Role.ADMIN, tenant='b').among(people) == people[2]
    assert NamedPerson(sub='bob', tenant='b').among(people) == people[2]
    assert NamedPerson(sub='bob').among(people[:1] * 2) == people[0]
    assert NamedPerson(sub='ann').among(people) is None


# --- whose robot it is -------------------------------------------------------------------------


def bound(robot_id: str | None, owner: str = 'alice') -> RobotCaller:
    return RobotCaller(key_id='any', owner=owner, robot_id=robot_id)


@pytest.mark.parametrize(
    ('caller', 'knows'),
    [
        (bound(None), True),
        (bound('go2'), True),
        (bound('spot'), False),
        (bound(''), False),
        (bound(None, 'yard'), False),
        (bound('go2', 'yard'), False),
    ],
)
def test_a_bound_key_knows_its_own_robot_only(caller: RobotCaller, knows: bool) -> None:
    registry = driven()
    registry.robots.create(robot('s2', 'go2', instance_id='i2'), 1.0)
    registry.robots.offer_renegotiation('s2', 'offer')
    registry.robots.answer_heartbeat('s2', bound(None))
    calls = (
        lambda: registry.robots.heartbeat('s2', caller, LinkQuality(), 1.0),
        lambda: registry.robots.answer_heartbeat('s2', caller),
        lambda: registry.robots.take_robot_answer('s2', caller),
        lambda: registry.robots.delete('s2', caller),
    )
    for call in calls:
        if knows:
            call()
        else:
            with pytest.raises(SessionUnknown):
                call()
    # Nor does it learn what happened to another session.
    with pytest.raises(Superseded if knows else SessionUnknown):
        registry.robots.heartbeat('s1', caller, LinkQuality(), 1.0)


def test_a_bound_key_does_not_know_a_robot_without_a_name() -> None:
    registry = Registry(Limits())
    registry.robots.create(robot(robot_id=''), 0.0)
    with pytest.raises(SessionUnknown):
        registry.robots.heartbeat('s1', bound('go2'), LinkQuality(), 0.0)


# --- removed viewers ---------------------------------------------------------------------------


def test_a_ban_ends_by_itself() -> None:
    registry = driven()
    registry.viewers.attach('s1', EVE, 'v1', 0.0)
    removed, _ = registry.viewers.put_out('s1', ALICE, NamedPerson(sub='eve'), 1.0)
    assert (removed.who, removed.robot_id, removed.count) == (EVE.identity, 'go2', 1)
    for now_s, left_s in ((1.0, BAN_S), (20.0, BAN_S - 19.0)):
        with pytest.raises(PutOut) as caught:
            registry.viewers.check_room('s1', EVE, now_s)
        assert caught.value.retry_after_s == left_s
    registry.robots.heartbeat('s1', bound(None), LinkQuality(), 1.0 + BAN_S)
    registry.viewers.check_room('s1', EVE, 1.0 + BAN_S)


def who(number: int) -> Identity:
    return Identity(tenant='alice', sub=f'p{number}', role=Role.VIEWER)


def is_banned(bans: Bans, named: NewSession, person: Identity, now_s: float) -> bool:
    try:
        bans.check(named, person, now_s)
    except PutOut:
        return True
    return False


def test_bans_are_bounded_for_each_tenant() -> None:
    bans = Bans()
    bans.add(robot(owner='yard'), who(0), 0.0)
    for number in range(MAX_BANS_OF_TENANT + 1):
        bans.add(robot(), who(number), 0.0)
    banned = [is_banned(bans, robot(), who(n), 1.0) for n in range(MAX_BANS_OF_TENANT + 1)]
    assert banned == [False] + [True] * MAX_BANS_OF_TENANT
    assert is_banned(bans, robot(owner='yard'), who(0), 1.0)
    assert not is_banned(bans, robot('s2', 'spot'), who(1), 1.0)
    assert is_banned(bans, robot('s2', 'go2'), who(1), 1.0)


def test_a_ban_can_be_prolonged_and_is_then_the_newest() -> None:
    bans = Bans()
    bans.add(robot(), who(0), 0.0)
    bans.add(robot(), who(1), 0.0)
    bans.add(robot(), who(0), 10.0)
    for number in range(2, MAX_BANS_OF_TENANT + 1):
        bans.add(robot(), who(number), 10.0)
    assert is_banned(bans, robot(), who(0), BAN_S + 9.0)
    assert not is_banned(bans, robot(), who(1), 11.0)


def test_without_a_name_the_session_is_the_robot() -> None:
    bans = Bans()
    bans.add(robot('s1', ''), who(0), 0.0)
    assert is_banned(bans, robot('s1', ''), who(0), 1.0)
    assert not is_banned(bans, robot('s2', ''), who(0), 1.0)
    # No robot can take the name of a session's ban.
    assert not is_banned(bans, robot('s2', 's1'), who(0), 1.0)
