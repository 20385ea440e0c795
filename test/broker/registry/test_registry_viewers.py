"""Viewers in the registry: limits, channels, video offers, revocation and silence."""

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
from test_registry import ALICE, beat, bridge, dial, driven, operate, OPERATOR_IDS, ROBOT

from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.people import NamedPerson
from teleop_webrtc_bridge.broker.registry.refusals import (
    NoPendingOffer,
    NotAllowed,
    NotOperator,
    NotRemovable,
    NotWatching,
    SessionUnknown,
    TooManyViewers,
)
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import (
    CloseChannels,
    CloseMedia,
    MediaLiveness,
    Reason,
    SessionState,
    SnapshotChanged,
    StateChanged,
)
from teleop_webrtc_bridge.core.messages import ChannelIds

EVE = OperatorCaller(sub='eve', role=Role.VIEWER, tenant_name='alice', token_id='e')
BOB = OperatorCaller(sub='bob', role=Role.OPERATOR, tenant_name='alice', token_id='b')
ROOT = OperatorCaller(sub='root', role=Role.ADMIN, token_id='r')
WATCHED_IDS = ChannelIds(state=13, state_back=14, map=15)


def watched(limits: Limits | None = None) -> Registry:
    """Return a registry with one robot that eve watches and that has no operator."""
    registry = Registry(limits or Limits())
    dial(registry)
    watch(registry, EVE, 'v1')
    return registry


def watch(registry: Registry, caller: OperatorCaller, media_id: str) -> None:
    registry.viewers.attach('s1', caller, media_id, 0.0)


def open_channels(registry: Registry, media_id: str = 'v1') -> None:
    registry.viewers.commit(registry.viewers.plan('s1', media_id), OPERATOR_IDS, 0.0)


def served() -> Registry:
    """Return a registry with one robot whose channels are open for eve alone."""
    registry = watched()
    registry.robots.answer_heartbeat('s1', ROBOT)
    open_channels(registry)
    assert registry.viewers.serve('s1', WATCHED_IDS, 0.0) == [SnapshotChanged(session_id='s1')]
    return registry


# --- limits ------------------------------------------------------------------------------------


def test_a_robot_has_a_limited_number_of_viewers() -> None:
    registry = watched(Limits(viewers_per_robot=1))
    with pytest.raises(TooManyViewers, match='1 viewers already watch this robot'):
        registry.viewers.check_room('s1', BOB, 0.0)


def test_a_person_has_a_limited_number_of_views_of_a_robot() -> None:
    registry = watched(Limits(viewers_per_person=1))
    with pytest.raises(TooManyViewers, match='you already watch this robot 1 times'):
        registry.viewers.check_room('s1', EVE, 0.0)
    registry.viewers.check_room('s1', BOB, 0.0)


def test_viewers_leave_a_quarter_of_the_udp_ports_free() -> None:
    registry = Registry(Limits(), udp_ports=4)
    dial(registry)
    watch(registry, EVE, 'v1')
    watch(registry, EVE, 'v2')
    with pytest.raises(TooManyViewers, match='the last UDP ports'):
        watch(registry, EVE, 'v3')
    assert registry.viewers.count == 2


# --- channels ----------------------------------------------------------------------------------


def test_a_viewers_older_channels_are_closed_when_new_ones_are_opened() -> None:
    registry = watched()
    assert registry.viewers.plan('s1', 'v1').close == CloseChannels(media_id='v1', stream_ids=())
    open_channels(registry)
    assert registry.viewers.plan('s1', 'v1').close.stream_ids == (8, 9, 7, 6)


def test_channels_of_a_viewer_or_session_that_is_gone_are_refused() -> None:
    registry = watched()
    plan = registry.viewers.plan('s1', 'v1')
    registry.viewers.drop('s1', 'v1')
    with pytest.raises(NotOperator):
        registry.viewers.commit(plan, OPERATOR_IDS, 0.0)
    with pytest.raises(NotOperator):
        registry.viewers.plan('s1', 'v1')
    registry.robots.delete('s1', ROBOT)
    with pytest.raises(NotOperator):
        registry.viewers.commit(plan, OPERATOR_IDS, 0.0)
    with pytest.raises(SessionUnknown):
        registry.viewers.plan('s1', 'v1')


def test_a_robots_channels_are_opened_for_viewers_once_it_knows_that_nobody_drives() -> None:
    registry = watched()
    open_channels(registry)
    assert registry.viewers.unserved() == []
    assert registry.viewers.serve('s1', WATCHED_IDS, 0.0) is None
    registry.robots.answer_heartbeat('s1', ROBOT)
    assert [session.session_id for session in registry.viewers.unserved()] == ['s1']
    assert registry.viewers.serve('gone', WATCHED_IDS, 0.0) is None
    registry.viewers.serve('s1', WATCHED_IDS, 0.0)
    assert registry.viewers.unserved() == []
    assert registry.robots.answer_heartbeat('s1', ROBOT).channels == WATCHED_IDS
    assert beat(registry) == 'robot of s1'


def test_the_last_viewer_takes_the_robots_channels_along() -> None:
    registry = served()
    watch(registry, BOB, 'v2')
    assert registry.viewers.drop('s1', 'v2') == [CloseMedia(media_id='v2')]
    assert registry.viewers.drop('s1', 'v1') == [
        CloseMedia(media_id='v1'),
        CloseChannels(media_id='robot of s1', stream_ids=(14, 15, 13)),
        SnapshotChanged(session_id='s1'),
    ]
    assert registry.viewers.drop('s1', 'v1') == []
    assert registry.viewers.drop('gone', 'v1') == []


def test_an_operator_who_joins_replaces_the_channels_for_viewers() -> None:
    registry = served()
    assert operate(registry)[:2] == [
        CloseChannels(media_id='robot of s1', stream_ids=(14, 15, 13)),
        SnapshotChanged(session_id='s1'),
    ]
    assert registry.robots.answer_heartbeat('s1', ROBOT).channels == ChannelIds()


def test_an_aborted_bridge_is_news_for_the_robot_once() -> None:
    registry = driven()
    plan = registry.operators.plan_bridge('s1', ALICE, None, 0.0)
    assert registry.operators.abort_bridge(plan) == [SnapshotChanged(session_id='s1')]
    assert registry.operators.abort_bridge(plan) == []
    assert registry.operators.plan_bridge('s1', ALICE, None, 0.0).close == ()
    registry.robots.delete('s1', ROBOT)
    with pytest.raises(SessionUnknown):
        registry.operators.commit_bridge(
            plan, robot_ids=WATCHED_IDS, operator_ids=WATCHED_IDS, now_s=0.0
        )


# --- video offers, of operators and viewers alike ----------------------------------------------


@pytest.mark.parametrize(('caller', 'media_id'), [(ALICE, 'op'), (EVE, 'v1')])
def test_a_video_offer_is_answered_once(caller: OperatorCaller, media_id: str) -> None:
    registry = driven()
    watch(registry, EVE, 'v1')
    with pytest.raises(NoPendingOffer):
        registry.take_video_answer('s1', caller, media_id, 0.0)
    registry.expect_video_answer('s1', media_id)
    assert registry.take_video_answer('s1', caller, None, 0.0) == media_id
    with pytest.raises(NoPendingOffer):
        registry.take_video_answer('s1', caller, media_id, 0.0)
    registry.expect_video_answer('s1', media_id)  # the answer was unusable
    assert registry.take_video_answer('s1', caller, media_id, 0.0) == media_id


def test_a_new_bridge_forgets_the_older_video_offer() -> None:
    registry = driven()
    registry.expect_video_answer('s1', 'op')
    bridge(registry)
    with pytest.raises(NoPendingOffer):
        registry.take_video_answer('s1', ALICE, 'op', 0.0)


def test_no_reason_is_given_for_a_session_that_is_gone() -> None:
    registry = watched()
    assert registry.video_reason('gone', 'v1') is None
    registry.expect_video_answer('gone', 'v1')
    assert registry.video_reason('s1', 'v1') is None


# --- leaving -----------------------------------------------------------------------------------


def test_a_viewer_leaves_and_the_session_stays_as_it_is() -> None:
    registry = driven()
    watch(registry, EVE, 'v1')
    left = (SessionState.ACTIVE, [CloseMedia(media_id='v1')])
    assert registry.leave('s1', EVE, None, 0.0) == left
    assert registry.leave('s1', EVE, None, 0.0) == (SessionState.ACTIVE, [])


def test_a_viewers_heartbeat_keeps_them() -> None:
    registry = watched()
    registry.robots.heartbeat('s1', ROBOT, registry.sessions()[0].link, 19.0)
    assert registry.heartbeat('s1', EVE, None, 19.0).media_id == 'v1'
    assert registry.reap(25.0, {}) == []
    assert registry.reap(39.0, {}) == [CloseMedia(media_id='v1')]


@pytest.mark.parametrize(
    ('heard_s', 'now_s', 'is_lost'),
    [(None, 1.0, True), (0.0, 15.0, False), (-6.0, 15.0, False), (-6.0, 20.0, True)],
)
def test_a_viewer_whose_connection_is_gone_or_silent_is_disconnected(
    heard_s: float | None, now_s: float, is_lost: bool
) -> None:
    registry = watched()
    open_channels(registry)
    effects = registry.reap(now_s, {'v1': MediaLiveness(last_heard_s=heard_s)})
    assert (CloseMedia(media_id='v1') in effects) == is_lost


def test_a_connection_that_was_never_heard_ends_before_the_heartbeats_do() -> None:
    registry = watched()
    registry.robots.heartbeat('s1', ROBOT, registry.sessions()[0].link, 10.0)
    registry.heartbeat('s1', EVE, None, 10.0)
    assert registry.reap(20.0, {'v1': MediaLiveness(last_heard_s=0.0)}) == []
    assert registry.reap(20.1, {'v1': MediaLiveness(last_heard_s=0.0)}) != []


def test_revoked_tokens_end_what_they_were_used_for() -> None:
    registry = driven()
    operate(registry, 'op')
    watch(registry, EVE, 'v1')
    watch(registry, BOB, 'v2')
    assert registry.token_ids() == {'e', 'b'}
    assert registry.key_ids() == {'key'}
    assert registry.revoke(lambda caller: caller.token_id == 'e') == [CloseMedia(media_id='v1')]
    effects = registry.revoke(lambda caller: caller == ALICE)
    reasons = [effect.reason for effect in effects if isinstance(effect, StateChanged)]
    assert reasons == [Reason.OPERATOR_REVOKED]
    assert registry.figures() == {SessionState.IDLE: 1, SessionState.ACTIVE: 0}
    assert [viewer.media_id for viewer in registry.sessions()[0].viewers] == ['v2']


def test_a_media_session_leads_to_its_session() -> None:
    registry = driven()
    watch(registry, EVE, 'v1')
    found = [registry.session_of_media(media_id) for media_id in ('op', 'v1', 'robot of s1')]
    assert [session and session.session_id for session in found] == ['s1', 's1', None]
    assert registry.media_ids() == ['robot of s1', 'op', 'v1']


# --- being removed -----------------------------------------------------------------------------


def test_who_can_be_removed_and_by_whom() -> None:
    registry = driven()
    watch(registry, ALICE, 'v0')
    watch(registry, EVE, 'v1')
    watch(registry, ROOT, 'v2')
    remove = registry.viewers.put_out
    with pytest.raises(NotOperator):
        remove('s1', EVE, NamedPerson(sub='eve'), 0.0)
    with pytest.raises(NotWatching, match='Nobody of that name'):
        remove('s1', ALICE, NamedPerson(sub='bob'), 0.0)
    with pytest.raises(NotRemovable, match='root: an administrator cannot'):
        remove('s1', ALICE, NamedPerson(sub='root'), 0.0)
    with pytest.raises(NotRemovable, match='alice: the operator cannot be removed'):
        remove('s1', ROOT, NamedPerson(sub='alice'), 0.0)
    removed, effects = remove('s1', ROOT, NamedPerson(sub='eve'), 0.0)
    assert (removed.who, removed.count) == (EVE.identity, 1)
    assert effects == [CloseMedia(media_id='v1')]


def test_a_person_who_may_only_watch_neither_claims_nor_asks() -> None:
    registry = watched()
    with pytest.raises(NotAllowed):
        registry.operators.claim('s1', EVE, 0.0)
    with pytest.raises(NotAllowed):
        registry.operators.request_control('s1', EVE, 0.0)
    with pytest.raises(NotAllowed):
        registry.operators.take_control('s1', BOB, 0.0)
