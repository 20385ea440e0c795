"""The rules of sessions as a model, against a broker on a real socket."""

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

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
import tempfile

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
from rig import Answer, IDS, no_limits, Rig, running

TENANTS = ('alice', 'bob')
PEOPLE = {'ann': 'alice', 'al': 'alice', 'bea': 'bob'}
NAMES = ('', 'go2', 'arm')

tenants = st.sampled_from(TENANTS)
people = st.sampled_from(sorted(PEOPLE))
numbers = st.integers(0, 5)


@dataclass
class Known:
    """A session as it should be."""

    session_id: str
    tenant: str
    robot_id: str
    operator: str | None = None
    asking: list[str] = field(default_factory=list)
    granted: set[str] = field(default_factory=set)
    epoch: int = 0
    bridged: bool = False


class Server(RuleBasedStateMachine):
    """Random calls of two tenants' robots and three people; time stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.live: dict[str, Known] = {}
        self.gone: list[Known] = []

    @initialize()
    def start(self) -> None:
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        entering = self.stack.enter_async_context(
            running(Path(folder) / 'state', limits=no_limits())
        )
        self.rig: Rig = self.runner.run(entering)
        self.robots = {tenant: self.rig.robot(tenant) for tenant in TENANTS}
        self.people = {
            name: self.rig.operator(name, tenant=tenant) for name, tenant in PEOPLE.items()
        }

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def post(self, headers: dict[str, str], path: str, **fields: object) -> Answer:
        return self.runner.run(self.rig.post(path, headers, fields))

    def pick(self, number: int) -> Known | None:
        """Return a session, most of the time one that lives."""
        sessions = [*self.live.values(), *self.gone[-1:]]
        return sessions[number % len(sessions)] if sessions else None

    def seen_by(self, known: Known, name: str) -> bool:
        return known.session_id in self.live and known.tenant == PEOPLE[name]

    # --- robots ---

    @rule(tenant=tenants, robot_id=st.sampled_from(NAMES))
    def dial(self, tenant: str, robot_id: str) -> None:
        headers = self.robots[tenant]
        dialling = self.rig.dial(headers, robot_id=robot_id, instance_id='one')
        session_id = self.runner.run(dialling)
        for old in list(self.live.values()):
            if robot_id and (old.tenant, old.robot_id) == (tenant, robot_id):
                self.gone.append(self.live.pop(old.session_id))
        self.live[session_id] = Known(session_id, tenant, robot_id)

    @rule(number=numbers, tenant=tenants)
    def hang_up(self, number: int, tenant: str) -> None:
        known = self.pick(number)
        if known is None:
            return
        path = f'/sessions/{known.session_id}'
        status = self.runner.run(self.rig.call('DELETE', path, self.robots[tenant])).status
        own = known.session_id in self.live and known.tenant == tenant
        assert status == (204 if own else 404)
        if own:
            self.gone.append(self.live.pop(known.session_id))

    @rule(number=numbers, tenant=tenants)
    def heartbeat(self, number: int, tenant: str) -> None:
        known = self.pick(number)
        if known is None:
            return
        answer = self.post(self.robots[tenant], f'/sessions/{known.session_id}/heartbeat')
        if known.session_id not in self.live or known.tenant != tenant:
            assert answer.status == 404
            return
        assert answer.status == 200
        assert answer.body['control_epoch'] == known.epoch
        assert all((answer.body[name] is not None) == known.bridged for name in IDS)

    # --- people ---

    @rule(number=numbers, name=people)
    def join(self, number: int, name: str) -> None:
        known = self.pick(number)
        if known is None:
            return
        answer = self.runner.run(self.rig.join(known.session_id, self.people[name]))
        if not self.seen_by(known, name):
            assert answer.status == 404
        elif known.operator in (None, name) or name in known.granted:
            assert answer.status == 200
            known.operator, known.bridged = name, False
            known.epoch += 1
            known.granted.discard(name)
            known.asking = [other for other in known.asking if other != name]
            assert answer.body['control_epoch'] == known.epoch
        else:
            assert answer.detail == f'Session already has operator: {known.operator}'

    @rule(number=numbers, name=people)
    def bridge(self, number: int, name: str) -> None:
        known = self.pick(number)
        if known is None:
            return
        answer = self.runner.run(self.rig.bridge(known.session_id, self.people[name]))
        assert answer.status == self.expected(known, name)
        known.bridged |= answer.status == 200

    @rule(number=numbers, name=people)
    def leave(self, number: int, name: str) -> None:
        known = self.pick(number)
        if known is None:
            return
        answer = self.post(self.people[name], f'/sessions/{known.session_id}/leave')
        if not self.seen_by(known, name):
            assert answer.status == 404
            return
        assert answer.status == 200
        if known.operator == name:
            known.operator, known.bridged = None, False

    @rule(number=numbers, name=people)
    def request_control(self, number: int, name: str) -> None:
        known = self.pick(number)
        if known is None:
            return
        path = f'/sessions/{known.session_id}/request-control'
        answer = self.post(self.people[name], path)
        if not self.seen_by(known, name):
            assert answer.status == 404
        elif known.operator is None:
            assert answer.body['state'] == 'free'
        elif known.operator == name:
            assert answer.body['state'] == 'holder'
        else:
            if name not in known.asking:
                known.asking.append(name)
            expected = 'granted' if name in known.granted else 'pending'
            assert answer.body == {'state': expected, 'operator_id': known.operator}

    @rule(number=numbers, name=people, to=people)
    def grant_control(self, number: int, name: str, to: str) -> None:
        known = self.pick(number)
        if known is None:
            return
        path = f'/sessions/{known.session_id}/grant-control'
        answer = self.post(self.people[name], path, operator_id=to)
        expected = self.expected(known, name)
        if expected == 200 and to not in known.asking:
            expected = 409
        assert answer.status == expected
        if expected == 200:
            known.granted.add(to)

    def expected(self, known: Known, name: str) -> int:
        if not self.seen_by(known, name):
            return 404
        return 200 if known.operator == name else 403

    @invariant()
    def everybody_sees_their_own(self) -> None:
        if not hasattr(self, 'rig'):
            return
        for name, tenant in PEOPLE.items():
            rows = self.runner.run(self.rig.get('/sessions', self.people[name])).body
            seen = {row['session_id']: row['operator_id'] for row in rows}
            own = [known for known in self.live.values() if known.tenant == tenant]
            assert seen == {known.session_id: known.operator for known in own}

    @invariant()
    def no_connection_is_left_behind(self) -> None:
        if not hasattr(self, 'rig'):
            return
        operators = sum(known.operator is not None for known in self.live.values())
        assert len(self.rig.media.sessions) == len(self.live) + operators


Server.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestServer = Server.TestCase
