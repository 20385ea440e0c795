"""What holds in the registry whatever robots and operators do, and in which order."""

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

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    initialize,
    invariant,
    multiple,
    rule,
    RuleBasedStateMachine,
)

from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.operators import BridgePlan
from teleop_webrtc_bridge.broker.registry.refusals import RegistryRefusal, SessionUnknown
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import (
    Claim,
    CloseMedia,
    Effect,
    LinkQuality,
    MediaLiveness,
    NewSession,
    Session,
    SessionState,
)
from teleop_webrtc_bridge.core.messages import ChannelIds

OWNERS = ('alice', 'bob')
ADMIN = OperatorCaller(sub='root', role=Role.ADMIN)
CALLERS = (*(OperatorCaller(sub=sub, role=Role.OPERATOR) for sub in OWNERS), ADMIN)
ROBOTS = tuple(
    RobotCaller(key_id=f'key of {owner}', owner=owner, robot_id=robot_id)
    for owner in OWNERS
    for robot_id in (None, 'go2')
)
NO_IDS = ChannelIds()


class RegistryMachine(RuleBasedStateMachine):
    """Robots and operators of two tenants, one admin, and time."""

    dialled = Bundle('dialled')
    claims = Bundle('claims')
    plans = Bundle('plans')

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(Limits())
        self.now_s = 0.0
        self.serial = 0
        self.open_media: set[str] = set()
        self.epochs: dict[str, int] = {}

    def fresh(self, kind: str) -> str:
        self.serial += 1
        return f'{kind}{self.serial}'

    def new_media(self, kind: str) -> str:
        media_id = self.fresh(kind)
        self.open_media.add(media_id)
        return media_id

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, CloseMedia):
                assert effect.media_id in self.open_media, 'closed twice'
                self.open_media.discard(effect.media_id)

    def live(self) -> list[Session]:
        return self.registry.visible(ADMIN, self.now_s)

    @initialize(target=dialled)
    def start(self) -> Any:
        return self.dial('alice', 'go2', 'i1')

    @rule(
        target=dialled,
        owner=st.sampled_from(OWNERS),
        robot_id=st.sampled_from(['', 'go2', 'spot']),
        instance_id=st.sampled_from([None, 'i1', 'i2']),
    )
    def dial(self, owner: str, robot_id: str, instance_id: str | None) -> str:
        session_id = self.fresh('session')
        identity = NewSession(
            session_id=session_id,
            owner=owner,
            key_id=f'key of {owner}',
            robot_id=robot_id,
            robot_name='Go2',
            robot_type=None,
            instance_id=instance_id,
            media_id=self.new_media('robot'),
            created_at='',
        )
        self.carry_out(self.registry.robots.create(identity, self.now_s))
        return session_id

    @rule(session_id=dialled, robot=st.sampled_from(ROBOTS))
    def heartbeat(self, session_id: str, robot: RobotCaller) -> None:
        try:
            self.registry.robots.heartbeat(session_id, robot, LinkQuality(), self.now_s)
            answer = self.registry.robots.answer_heartbeat(session_id, robot)
        except RegistryRefusal:
            return
        epoch = answer.control_epoch or 0
        assert epoch >= self.epochs.get(session_id, 0)
        self.epochs[session_id] = epoch
        session = self.registry.get(session_id, ADMIN, self.now_s)
        assert robot.sees(session.identity.owner, session.identity.robot_id)
        if session.operator is None:
            assert answer.channels == NO_IDS
        assert not self.registry.robots.has_news(session_id)

    @rule(session_id=dialled, robot=st.sampled_from(ROBOTS))
    def delete(self, session_id: str, robot: RobotCaller) -> None:
        robots = {item.session_id: item.identity for item in self.live()}
        try:
            self.carry_out(self.registry.robots.delete(session_id, robot))
        except RegistryRefusal:
            return
        if session_id in robots:
            assert robot.sees(robots[session_id].owner, robots[session_id].robot_id)

    @rule(target=claims, session_id=dialled, caller=st.sampled_from(CALLERS))
    def claim(self, session_id: str, caller: OperatorCaller) -> Any:
        before = {session.session_id: session.holder for session in self.live()}
        try:
            claim = self.registry.operators.claim(session_id, caller, self.now_s)
        except RegistryRefusal:
            return multiple()
        assert before[session_id] in (None, caller.identity)
        return session_id, claim

    @rule(claim=claims)
    def attach(self, claim: tuple[str, Claim]) -> None:
        media_id = self.new_media('operator')
        try:
            _, effects = self.registry.operators.attach(*claim, media_id, self.now_s)
        except RegistryRefusal:
            self.open_media.discard(media_id)
            return
        self.carry_out(effects)

    @rule(claim=claims)
    def abandon(self, claim: tuple[str, Claim]) -> None:
        self.carry_out(self.registry.operators.abandon(*claim))

    @rule(session_id=dialled, caller=st.sampled_from(CALLERS))
    def operator_heartbeat(self, session_id: str, caller: OperatorCaller) -> None:
        try:
            self.registry.heartbeat(session_id, caller, None, self.now_s)
        except RegistryRefusal:
            return
        session = self.registry.get(session_id, caller, self.now_s)
        assert session.holder == caller.identity

    @rule(session_id=dialled, caller=st.sampled_from(CALLERS))
    def leave(self, session_id: str, caller: OperatorCaller) -> None:
        try:
            _, effects = self.registry.leave(session_id, caller, None, self.now_s)
        except SessionUnknown:
            return
        self.carry_out(effects)
        session = self.registry.get(session_id, caller, self.now_s)
        assert session.operator is None or session.operator.identity != caller.identity

    @rule(target=plans, session_id=dialled, caller=st.sampled_from(CALLERS))
    def plan_bridge(self, session_id: str, caller: OperatorCaller) -> Any:
        try:
            return self.registry.operators.plan_bridge(session_id, caller, None, self.now_s)
        except RegistryRefusal:
            return multiple()

    @rule(plan=plans)
    def commit_bridge(self, plan: BridgePlan) -> None:
        self.serial += 10
        ids = ChannelIds(
            cmd=self.serial, state=self.serial + 1, state_back=self.serial + 2, map=self.serial + 3
        )
        try:
            effects = self.registry.operators.commit_bridge(
                plan, robot_ids=ids, operator_ids=ids, now_s=self.now_s
            )
        except RegistryRefusal:
            return
        self.carry_out(effects)

    @rule(plan=plans)
    def abort_bridge(self, plan: BridgePlan) -> None:
        self.carry_out(self.registry.operators.abort_bridge(plan))

    @rule(seconds=st.sampled_from([0.5, 5.0, 19.0, 31.0]), heard=st.booleans(), data=st.data())
    def pass_time(self, seconds: float, heard: bool, data: st.DataObject) -> None:
        self.now_s += seconds
        media = self.registry.media_ids()
        lost = data.draw(st.sets(st.sampled_from(media), max_size=1)) if media else set()
        heard_s = self.now_s if heard else self.now_s - seconds
        liveness = {
            media_id: MediaLiveness(last_heard_s=None if media_id in lost else heard_s)
            for media_id in media
        }
        self.carry_out(self.registry.reap(self.now_s, liveness))
        assert not lost & set(self.registry.media_ids())

    @invariant()
    def a_named_robot_has_one_session(self) -> None:
        named = [(s.identity.owner, s.identity.robot_id) for s in self.live()]
        named = [robot for robot in named if robot[1]]
        assert len(named) == len(set(named))

    @invariant()
    def no_media_is_used_twice_or_leaked(self) -> None:
        media = self.registry.media_ids()
        assert len(media) == len(set(media))
        assert set(media) == self.open_media

    @invariant()
    def the_state_and_the_ids_follow_the_operator(self) -> None:
        for session in self.live():
            is_held = session.holder is not None
            assert (session.state is SessionState.ACTIVE) == is_held
            if session.operator is None:
                assert session.bridge is None
            elif session.claim is not None:
                assert session.claim.identity == session.operator.identity

    @invariant()
    def tenants_never_see_each_other(self) -> None:
        for caller in CALLERS[:2]:
            seen = self.registry.visible(caller, self.now_s)
            assert {session.identity.owner for session in seen} <= {caller.sub}
        for session in self.live():
            owner = session.identity.owner
            assert session.holder is None or session.holder.sub in (owner, ADMIN.sub)


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
