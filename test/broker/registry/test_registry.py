"""The registry's rules, one by one, in time that the test makes."""

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

from dataclasses import replace

import pytest
from transition_table import drawn_transitions

from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry import sessions as sessions_module
from teleop_webrtc_bridge.broker.registry.operators import BridgePlan
from teleop_webrtc_bridge.broker.registry.refusals import (
    ClaimLost,
    JoinReplaced,
    NoPendingOffer,
    NotOperator,
    SessionUnknown,
    SlotTaken,
    Superseded,
    TooManySessions,
)
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import (
    CloseChannels,
    CloseMedia,
    Effect,
    LinkQuality,
    MAX_TOMBSTONES,
    MediaLiveness,
    NewSession,
    Reason,
    SessionState,
    SessionTable,
    SlotEvent,
    SlotState,
    SnapshotChanged,
    StateChanged,
    TOMBSTONE_AGE_S,
    TRANSITIONS,
)
from teleop_webrtc_bridge.core.messages import ChannelIds

ALICE = OperatorCaller(sub='alice', role=Role.OPERATOR)
ROOT = OperatorCaller(sub='root', role=Role.ADMIN)
ROBOT = RobotCaller(key_id='key', owner='alice', robot_id=None)
OTHERS = RobotCaller(key_id='other', owner='bob', robot_id=None)
ROBOT_IDS = ChannelIds(cmd=2, state=3, state_back=4, map=5)
OPERATOR_IDS = ChannelIds(cmd=6, state=7, state_back=8, map=9)


def dial(
    registry: Registry,
    session_id: str = 's1',
    *,
    now_s: float = 0.0,
    robot_id: str = '',
    instance_id: str | None = None,
) -> list[Effect]:
    identity = NewSession(
        session_id=session_id,
        owner='alice',
        key_id='key',
        robot_id=robot_id,
        robot_name='Go2',
        robot_type=None,
        instance_id=instance_id,
        media_id=f'robot of {session_id}',
        created_at='',
    )
    return registry.robots.create(identity, now_s)


def beat(registry: Registry, session_id: str = 's1', now_s: float = 0.0) -> str | None:
    return registry.robots.heartbeat(session_id, ROBOT, LinkQuality(), now_s)


def operate(registry: Registry, media_id: str = 'op', now_s: float = 0.0) -> list[Effect]:
    claim = registry.operators.claim('s1', ALICE, now_s)
    return registry.operators.attach('s1', claim, media_id, now_s)[1]


def bridge(registry: Registry, now_s: float = 0.0) -> BridgePlan:
    plan = registry.operators.plan_bridge('s1', ALICE, None, now_s)
    registry.operators.commit_bridge(
        plan, robot_ids=ROBOT_IDS, operator_ids=OPERATOR_IDS, now_s=now_s
    )
    return plan


def driven() -> Registry:
    """Return a registry with one robot that is being driven."""
    registry = Registry(Limits())
    dial(registry)
    operate(registry)
    bridge(registry)
    return registry


def changed(
    state: SessionState, reason: Reason, operator: OperatorCaller | None = None
) -> StateChanged:
    return StateChanged(
        session_id='s1',
        robot_id='',
        operator=operator.identity if operator is not None else None,
        state=state,
        reason=reason,
    )


def test_the_docstring_draws_the_transitions() -> None:
    found = {(s.value, e.value): new.value for (s, e), new in TRANSITIONS.items()}
    assert drawn_transitions(sessions_module, {state.value for state in SlotState}) == found


def test_a_change_that_is_not_in_the_table_is_refused() -> None:
    registry = driven()
    session, table = registry.get('s1', ALICE, 0.0), SessionTable()
    for event in (SlotEvent.ATTACH, SlotEvent.ABANDON, SlotEvent.CLAIM):
        with pytest.raises(RuntimeError, match=f"no '{event.value}' event while held"):
            table.change(session, event, operator=None)
    with pytest.raises(RuntimeError, match='while free'):
        table.change(replace(session, operator=None), SlotEvent.DROP, bridge=None)
    assert table.find('s1') is None


def test_a_new_session_is_idle() -> None:
    assert dial(Registry(Limits())) == [changed(SessionState.IDLE, Reason.CREATED)]


def test_joining_makes_it_active_and_is_news() -> None:
    registry = Registry(Limits())
    dial(registry)
    assert operate(registry) == [
        SnapshotChanged(session_id='s1'),
        changed(SessionState.ACTIVE, Reason.JOINED, ALICE),
    ]


def test_leaving_closes_what_the_operator_had_and_tells_the_robot() -> None:
    assert driven().leave('s1', ALICE, None, 1.0) == (
        SessionState.IDLE,
        [
            CloseMedia(media_id='op'),
            CloseChannels(media_id='robot of s1', stream_ids=(4, 5, 3, 2)),
            SnapshotChanged(session_id='s1'),
            changed(SessionState.IDLE, Reason.LEFT, ALICE),
        ],
    )


def test_an_operator_that_was_never_bridged_leaves_without_news_for_the_robot() -> None:
    registry = Registry(Limits())
    dial(registry)
    operate(registry)
    registry.robots.answer_heartbeat('s1', ROBOT)
    registry.leave('s1', ALICE, None, 1.0)
    assert not registry.robots.has_news('s1')


def test_the_end_of_a_session_closes_the_operator_first() -> None:
    assert driven().robots.delete('s1', ROBOT) == [
        CloseMedia(media_id='op'),
        CloseMedia(media_id='robot of s1'),
        changed(SessionState.DISCONNECTED, Reason.DELETED, ALICE),
    ]


def test_a_claim_takes_the_slot_at_once() -> None:
    registry = Registry(Limits())
    dial(registry)
    claim = registry.operators.claim('s1', ALICE, 0.0)
    with pytest.raises(SlotTaken, match='alice'):
        registry.operators.claim('s1', ROOT, 0.0)
    assert registry.operators.abandon('s1', claim) == [
        changed(SessionState.IDLE, Reason.JOIN_FAILED, ALICE)
    ]
    registry.operators.claim('s1', ROOT, 0.0)


def test_a_join_that_took_too_long_is_refused() -> None:
    registry = Registry(Limits())
    dial(registry)
    older, newer = (registry.operators.claim('s1', ALICE, 0.0) for _ in range(2))
    with pytest.raises(ClaimLost):
        registry.operators.attach('s1', older, 'op', 0.0)
    assert registry.operators.abandon('s1', older) == []
    registry.robots.delete('s1', ROBOT)
    with pytest.raises(SessionUnknown):
        registry.operators.attach('s1', newer, 'op', 0.0)


def test_an_older_join_of_the_operator_is_told_that_a_newer_one_took_over() -> None:
    registry = driven()
    operate(registry, 'op2')
    with pytest.raises(JoinReplaced):
        registry.heartbeat('s1', ALICE, 'op', 0.0)


def test_a_session_is_unknown_to_strangers_and_while_its_robot_is_silent() -> None:
    registry = driven()
    mallory = OperatorCaller(sub='mallory', role=Role.OPERATOR)
    for caller, now_s in ((mallory, 0.0), (ALICE, 30.0)):
        with pytest.raises(SessionUnknown):
            registry.get('s1', caller, now_s)
        assert registry.visible(caller, now_s) == []


def test_a_tenant_and_a_key_have_a_limited_number_of_sessions() -> None:
    registry = Registry(Limits(robots_per_key=1, robots_per_tenant=2))
    dial(registry, 's1', robot_id='go2')
    with pytest.raises(TooManySessions, match='1 live sessions of this API key'):
        dial(registry, 's2', robot_id='spot')
    dial(registry, 's2', robot_id='go2')  # replaces its own
    registry.robots.check_room('alice', 'another key', 'spot')
    full = Registry(Limits(robots_per_tenant=1))
    dial(full)
    with pytest.raises(TooManySessions, match='1 live sessions; no more'):
        full.robots.check_room('alice', 'another key', 'spot')


def test_an_operator_evicted_while_it_joins_again_keeps_its_claim() -> None:
    registry = driven()
    claim = registry.operators.claim('s1', ALICE, 1.0)
    registry.reap(2.0, {'op': MediaLiveness(last_heard_s=None)})
    assert registry.get('s1', ALICE, 2.0).state is SessionState.ACTIVE
    registry.operators.attach('s1', claim, 'op2', 3.0)
    assert registry.get('s1', ALICE, 3.0).control_epoch == 2


def test_the_snapshot_is_news_until_it_was_sent() -> None:
    registry = driven()
    assert registry.robots.has_news('s1')
    answer = registry.robots.answer_heartbeat('s1', ROBOT)
    assert (answer.channels, answer.control_epoch) == (ROBOT_IDS, 1)
    assert not registry.robots.has_news('s1')
    assert registry.robots.answer_heartbeat('s1', ROBOT) == answer


def test_a_rebridge_never_shows_the_robot_an_operator_that_left() -> None:
    registry = driven()
    plan = registry.operators.plan_bridge('s1', ALICE, None, 1.0)
    assert {close.media_id for close in plan.close} == {'op', 'robot of s1'}
    assert registry.robots.answer_heartbeat('s1', ROBOT).channels == ROBOT_IDS


def test_a_bridge_of_an_operator_that_was_replaced_is_refused() -> None:
    registry = driven()
    plan = registry.operators.plan_bridge('s1', ALICE, None, 1.0)
    operate(registry, 'op2', 2.0)
    with pytest.raises(NotOperator):
        registry.operators.commit_bridge(
            plan, robot_ids=ROBOT_IDS, operator_ids=OPERATOR_IDS, now_s=2.0
        )
    assert registry.operators.abort_bridge(plan) == []
    assert registry.robots.answer_heartbeat('s1', ROBOT).channels == ChannelIds()


def test_a_renegotiation_offer_is_handed_out_once_and_answered_once() -> None:
    registry = Registry(Limits())
    dial(registry)
    assert registry.robots.offer_renegotiation('s1', 'offer') == [SnapshotChanged(session_id='s1')]
    with pytest.raises(NoPendingOffer):
        registry.robots.take_robot_answer('s1', ROBOT)
    assert registry.robots.answer_heartbeat('s1', ROBOT).renegotiate_offer == 'offer'
    assert registry.robots.answer_heartbeat('s1', ROBOT).renegotiate_offer is None
    assert registry.robots.take_robot_answer('s1', ROBOT) == 'robot of s1'
    with pytest.raises(NoPendingOffer):
        registry.robots.take_robot_answer('s1', ROBOT)
    registry.robots.refuse_robot_answer('s1')
    assert registry.robots.take_robot_answer('s1', ROBOT) == 'robot of s1'
    registry.robots.refuse_robot_answer('gone')
    with pytest.raises(SessionUnknown):
        registry.robots.offer_renegotiation('gone', 'offer')


def test_a_robot_is_ready_with_the_first_heartbeat_after_the_answer() -> None:
    registry = driven()
    assert beat(registry) is None
    registry.robots.answer_heartbeat('s1', ROBOT)
    assert beat(registry) == 'robot of s1'
    assert beat(registry) is None


@pytest.mark.parametrize(
    ('first', 'second', 'told'),
    [
        ('i1', 'i1', SessionUnknown),
        ('i1', 'i2', Superseded),
        (None, 'i2', Superseded),
        ('i1', None, Superseded),
        (None, None, Superseded),
    ],
)
def test_who_is_told_that_it_was_superseded(
    first: str | None, second: str | None, told: type[Exception]
) -> None:
    registry = Registry(Limits())
    dial(registry, 's1', robot_id='go2', instance_id=first)
    dial(registry, 's2', robot_id='go2', instance_id=second)
    with pytest.raises(told):
        beat(registry, 's1')
    with pytest.raises(SessionUnknown):
        registry.robots.heartbeat('s1', OTHERS, LinkQuality(), 0.0)


def test_superseded_sessions_are_remembered_for_an_hour_and_in_bounded_number() -> None:
    registry = Registry(Limits())
    for number in range(MAX_TOMBSTONES + 2):
        dial(registry, f's{number}', robot_id='go2', now_s=0.0)
    with pytest.raises(SessionUnknown):
        beat(registry, 's0')
    with pytest.raises(Superseded):
        beat(registry, 's1')
    registry.reap(TOMBSTONE_AGE_S, {})
    with pytest.raises(SessionUnknown):
        beat(registry, 's1')


def test_revoking_a_key_ends_its_sessions() -> None:
    registry = driven()
    assert registry.robots.revoke_key('other') == []
    assert changed(
        SessionState.DISCONNECTED, Reason.KEY_REVOKED, ALICE
    ) in registry.robots.revoke_key('key')
    assert registry.media_ids() == []


@pytest.mark.parametrize(
    ('now_s', 'heard_s', 'evicted'),
    [
        (3.0, 0.0, None),
        (3.1, 0.0, Reason.OPERATOR_MEDIA_LOST),
        (3.1, 0.2, None),
        (1.0, None, Reason.OPERATOR_MEDIA_LOST),
        (19.9, 19.0, None),
        (20.0, 19.9, Reason.OPERATOR_SILENT),
    ],
)
def test_when_an_operator_is_evicted(
    now_s: float, heard_s: float | None, evicted: Reason | None
) -> None:
    registry = driven()
    effects = registry.reap(now_s, {'op': MediaLiveness(last_heard_s=heard_s)})
    reasons = [effect.reason for effect in effects if isinstance(effect, StateChanged)]
    assert reasons == ([] if evicted is None else [evicted])


def test_an_operator_that_waited_for_its_bridge_is_not_evicted_for_that() -> None:
    registry = Registry(Limits())
    dial(registry)
    operate(registry)
    bridge(registry, now_s=4.0)
    assert registry.reap(4.5, {'op': MediaLiveness(last_heard_s=0.0)}) == []
    assert registry.reap(7.1, {'op': MediaLiveness(last_heard_s=0.0)}) != []


def test_media_that_nobody_asked_about_is_not_judged() -> None:
    assert driven().reap(10.0, {}) == []


@pytest.mark.parametrize(
    ('now_s', 'heard_s', 'ended'),
    [
        (29.9, 0.0, None),
        (30.0, 30.0, Reason.ROBOT_SILENT),
        (1.0, None, Reason.ROBOT_MEDIA_LOST),
    ],
)
def test_when_a_robot_is_reaped(now_s: float, heard_s: float | None, ended: Reason | None) -> None:
    registry = Registry(Limits())
    dial(registry)
    effects = registry.reap(now_s, {'robot of s1': MediaLiveness(last_heard_s=heard_s)})
    assert [e.reason for e in effects if isinstance(e, StateChanged)] == (
        [] if ended is None else [ended]
    )
