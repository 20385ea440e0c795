"""What holds for the people at one robot: who drives, who asks, who watches, who was put out."""

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

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, RuleBasedStateMachine
import pytest

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.people import BAN_S, NamedPerson
from teleop_webrtc_bridge.broker.registry.refusals import (
    NotAllowed,
    NotOperator,
    PutOut,
    RegistryRefusal,
)
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import (
    Claim,
    CloseMedia,
    Effect,
    Join,
    LinkQuality,
    NewSession,
    Session,
    Viewer,
)

ROBOT = RobotCaller(key_id='key', owner='alice', robot_id='go2')
CALLERS = (
    OperatorCaller(sub='alice', role=Role.OPERATOR, token_id='1'),
    OperatorCaller(sub='alice', role=Role.OPERATOR, token_id='2'),
    OperatorCaller(sub='alice', role=Role.VIEWER, token_id='3'),
    OperatorCaller(sub='alice', role=Role.ADMIN, token_id='4'),
    OperatorCaller(sub='bob', role=Role.OPERATOR, tenant_name='alice', token_id='5'),
    OperatorCaller(sub='bob', role=Role.ADMIN, token_id='6'),
    OperatorCaller(sub='bob', role=Role.VIEWER, tenant_name='alice', token_id='7'),
)
"""Two names, seven tokens, six people; all of them see the robot."""
STRANGER = OperatorCaller(sub='alice', role=Role.OPERATOR, tenant_name='yard', token_id='8')
NAMES = tuple(
    NamedPerson(sub=sub, role=role)
    for sub in ('alice', 'bob')
    for role in (None, Role.OPERATOR, Role.VIEWER, Role.ADMIN)
)

MAX_VIEWERS = 4
MAX_OF_PERSON = 2

callers = st.sampled_from(CALLERS)
names = st.sampled_from(NAMES)


class People(RuleBasedStateMachine):
    """One robot, which dials again now and then, and the people around it."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(
            Limits(viewers_per_robot=MAX_VIEWERS, viewers_per_person=MAX_OF_PERSON)
        )
        self.now_s = 0.0
        self.serial = 0
        self.open_media: set[str] = set()
        self.claims: list[tuple[str, Claim]] = []
        self.banned_until_s: dict[Identity, float] = {}
        self.granted_until_s: dict[Identity, float] = {}
        self.dial()

    @rule()
    def dial(self) -> None:
        self.serial += 1
        self.session_id = f's{self.serial}'
        identity = NewSession(
            session_id=self.session_id,
            owner='alice',
            key_id='key',
            robot_id='go2',
            robot_name='Go2',
            robot_type=None,
            instance_id='i1',
            media_id=self.new_media(),
            created_at='',
        )
        self.carry_out(self.registry.robots.create(identity, self.now_s))
        self.granted_until_s.clear()

    @property
    def session(self) -> Session:
        return self.registry.get(self.session_id, CALLERS[0], self.now_s)

    def new_media(self) -> str:
        self.serial += 1
        self.open_media.add(f'media{self.serial}')
        return f'media{self.serial}'

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, CloseMedia):
                self.open_media.remove(effect.media_id)

    def is_banned(self, caller: OperatorCaller) -> bool:
        return self.banned_until_s.get(caller.identity, 0.0) > self.now_s

    # --- driving ---

    @rule(caller=callers)
    def claim(self, caller: OperatorCaller) -> None:
        if self.may_claim(caller):
            claim = self.registry.operators.claim(self.session_id, caller, self.now_s)
            self.claims.append((self.session_id, claim))

    def may_claim(self, caller: OperatorCaller) -> bool:
        session = self.session
        if not caller.may_control or self.is_banned(caller):
            return False
        is_granted = self.granted_until_s.get(caller.identity, 0.0) > self.now_s
        is_free = session.holder in (None, caller.identity)
        return is_free or (is_granted and session.claim is None)

    @rule(number=st.integers(0, 3))
    def attach(self, number: int) -> None:
        if not self.claims:
            return
        session_id, claim = self.claims.pop(-1 - number % len(self.claims))
        media_id = self.new_media()
        try:
            _, effects = self.registry.operators.attach(session_id, claim, media_id, self.now_s)
        except RegistryRefusal:
            self.open_media.remove(media_id)
            return
        self.carry_out(effects)
        self.granted_until_s.pop(claim.identity, None)

    @rule()
    def abandon(self) -> None:
        if self.claims:
            self.carry_out(self.registry.operators.abandon(*self.claims.pop()))

    @rule(caller=callers)
    def leave(self, caller: OperatorCaller) -> None:
        """Leave as the operator; without that join, as the newest viewer of this token."""
        theirs = [join for join in self.session.joins if is_of(join, caller, None)]
        is_operator = bool(theirs) and theirs[0] is self.session.operator
        _, effects = self.registry.leave(self.session_id, caller, None, self.now_s)
        closed = [it.media_id for it in effects if isinstance(it, CloseMedia)]
        expected = [theirs[0 if is_operator else -1].media_id] if theirs else []
        assert closed == expected
        self.carry_out(effects)

    # --- watching ---

    @rule(caller=callers)
    def watch(self, caller: OperatorCaller) -> None:
        theirs = [it for it in self.session.viewers if it.identity == caller.identity]
        has_room = len(self.session.viewers) < MAX_VIEWERS and len(theirs) < MAX_OF_PERSON
        if has_room and not self.is_banned(caller):
            media_id = self.new_media()
            self.registry.viewers.attach(self.session_id, caller, media_id, self.now_s)

    @rule(caller=callers)
    def stop_watching(self, caller: OperatorCaller) -> None:
        try:
            join = self.registry.join_of(self.session_id, caller, None, self.now_s)
        except NotOperator:
            return
        assert join.caller.token_id == caller.token_id
        if isinstance(join, Viewer):
            self.carry_out(self.registry.viewers.drop(self.session_id, join.media_id))

    @rule(caller=callers, number=st.integers(0, MAX_VIEWERS - 1), says_role=st.booleans())
    def put_out(self, caller: OperatorCaller, number: int, says_role: bool) -> None:
        before = self.session
        if not before.viewers:
            return
        who = before.viewers[number % len(before.viewers)].identity
        named = NamedPerson(sub=who.sub, role=who.role if says_role else None)
        may = caller.role is Role.ADMIN or (
            before.operator is not None and is_of(before.operator, caller, None)
        )
        meant = {
            viewer.identity
            for viewer in before.viewers
            if named.means(viewer.identity)
            and viewer.identity.role is not Role.ADMIN
            and not before.is_driven_by(viewer.identity)
        }
        try:
            removed, effects = self.registry.viewers.put_out(
                self.session_id, caller, named, self.now_s
            )
        except RegistryRefusal:
            assert not may or len(meant) != 1
            return
        assert may
        assert meant == {removed.who}
        assert removed.count == sum(isinstance(effect, CloseMedia) for effect in effects)
        self.carry_out(effects)
        self.banned_until_s[removed.who] = self.now_s + BAN_S
        self.granted_until_s.pop(removed.who, None)

    # --- asking ---

    @rule(caller=callers)
    def ask(self, caller: OperatorCaller) -> None:
        if caller.may_control and not self.is_banned(caller):
            self.registry.operators.request_control(self.session_id, caller, self.now_s)

    @rule(caller=callers, named=names)
    def grant(self, caller: OperatorCaller, named: NamedPerson) -> None:
        operator = self.session.operator
        try:
            who = self.registry.operators.grant_control(self.session_id, caller, named, self.now_s)
        except RegistryRefusal:
            return
        assert operator is not None
        assert is_of(operator, caller, None)
        assert named.means(who)
        self.granted_until_s[who] = self.now_s + 15.0

    @rule(caller=callers)
    def take(self, caller: OperatorCaller) -> None:
        try:
            self.registry.operators.take_control(self.session_id, caller, self.now_s)
        except RegistryRefusal:
            assert caller.role is not Role.ADMIN
            return
        assert caller.role is Role.ADMIN
        self.granted_until_s[caller.identity] = self.now_s + 15.0

    # --- time, and what always holds ---

    @rule(seconds=st.sampled_from([1.0, 9.0, 300.0]))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.registry.robots.heartbeat(self.session_id, ROBOT, LinkQuality(), self.now_s)
        self.carry_out(self.registry.reap(self.now_s, {}))

    @invariant()
    def nobody_else_passes_as_the_operator(self) -> None:
        operator = self.session.operator
        for caller in (*CALLERS, STRANGER):
            for media_id in (None, operator.media_id if operator is not None else 'none'):
                expected = operator is not None and is_of(operator, caller, media_id)
                assert self.passes(caller, media_id) == expected

    def passes(self, caller: OperatorCaller, media_id: str | None) -> bool:
        plan: Callable[..., object] = self.registry.operators.plan_bridge
        try:
            plan(self.session_id, caller, media_id, self.now_s)
        except NotOperator:
            return False
        except RegistryRefusal:
            assert caller is STRANGER
            return False
        return True

    @invariant()
    def nobody_is_where_they_were_put_out(self) -> None:
        session = self.session
        here = {
            join.identity
            for join in (session.claim, session.operator, *session.viewers)
            if join is not None
        }
        asking = {request.who for request in session.requests}
        for who, until_s in self.banned_until_s.items():
            assert who.role is not Role.ADMIN
            assert until_s <= self.now_s or who not in here | asking

    @invariant()
    def nobody_gets_where_they_may_not_be(self) -> None:
        for caller in CALLERS:
            if not self.may_claim(caller):
                with pytest.raises(RegistryRefusal):
                    self.registry.operators.claim(self.session_id, caller, self.now_s)
            if self.is_banned(caller):
                with pytest.raises(PutOut):
                    self.registry.viewers.check_room(self.session_id, caller, self.now_s)
                with pytest.raises(PutOut if caller.may_control else NotAllowed):
                    self.registry.operators.request_control(self.session_id, caller, self.now_s)

    @invariant()
    def who_only_watches_never_drives(self) -> None:
        holder = self.session.holder
        assert holder is None or holder.role is not Role.VIEWER

    @invariant()
    def no_connection_is_leaked(self) -> None:
        media = self.registry.media_ids()
        assert len(media) == len(set(media))
        assert set(media) == self.open_media


def is_of(join: Join, caller: OperatorCaller, media_id: str | None) -> bool:
    """Return whether a call is about a join: made by the same person, and the same join."""
    person = (join.identity.tenant, join.identity.sub, join.identity.role)
    if person != (caller.tenant, caller.sub, caller.role):
        return False
    return (
        join.caller.token_id == caller.token_id if media_id is None else join.media_id == media_id
    )


TestPeople = People.TestCase
TestPeople.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
