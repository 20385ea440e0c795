"""
Who may call what while a robot is being driven, and that nobody else disturbs the driver.

Each cell of the tables below is asked for with a robot that alice drives, eve watches and bob asks
for. Whatever the answer is, alice still drives it afterwards, unless the cell says otherwise.
"""

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

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rig import Answer, IDS, no_limits, OFFER, Rig, running

from teleop_webrtc_bridge.broker.http.app import describe_api
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role

PEOPLE = """
                                   driver second colleague viewer2 viewer admin2 admin foreign gone
GET /sessions                      200    200    200       200     200    200    200   200     401
GET /sessions/{session}/status     200    200    200       200     200    200    200   404     401
POST /sessions/{session}/join      200!   200!   409       403     403    409    409   404     401
  as_viewer                        200    200    200       200     200    200    200   404     401
POST /sessions/{session}/bridge-datachannel
                                   200!   403    403       403     200    403    403   404     401
  naming_the_driver                200!   200!   403       403     403    403    403   404     401
POST /sessions/{session}/renegotiate-answer
                                   200    403    403       403     200    403    403   404     401
  naming_the_driver                200    200    403       403     403    403    403   404     401
POST /sessions/{session}/op-heartbeat
                                   200    403    403       403     200    403    403   404     401
  naming_the_driver                200    200    403       403     403    403    403   404     401
POST /sessions/{session}/leave     200!   200    200       200     200    200    200   404     401
  naming_the_driver                200!   200!   200       200     200    200    200   404     401
POST /sessions/{session}/request-control
                                   200    200    200       403     403    200    200   404     401
POST /sessions/{session}/grant-control
                                   200!   403    403       403     403    403    403   404     401
POST /sessions/{session}/take-control
                                   403    403    403       403     403    200!   200!  404     401
POST /sessions/{session}/remove-viewer
                                   200    403    403       403     403    200    200   404     401
GET /auth/me                       200    200    200       200     200    200    200   200     401
GET /keys                          200    200    200       403     403    200    200   200     401
POST /keys                         201    201    201       403     403    201    201   201     401
DELETE /keys/{key}                 204!   204!   204!      403     403    204!   204!  404     401
GET /operators                     403    403    403       403     403    200    200   403     401
POST /operators                    403    403    403       403     403    201    201   403     401
DELETE /operators/{token}          403    403    403       403     403    204!   204!  403     401
"""
"""
What people are told. ``!``: the driver may lose the robot by it. driver: alice, with the token of
her join; second: alice's other token; colleague: bob; viewer2 and admin2: other roles that are
called alice too; viewer: eve; admin: of another tenant; foreign: an operator called alice of
another tenant; gone: alice's token that has expired.
"""
ROBOTS = """
                                     own    sibling bound elsewhere foreign gone
POST /sessions                       201!   201!    201!  403       201     401
  as_another                         201    201     403   201       201     401
POST /sessions/{session}/heartbeat   200    200     200   404       404     401
POST /sessions/{session}/renegotiate-robot
                                     409    409     409   404       404     401
DELETE /sessions/{session}           204!   204!    204!  404       404     401
"""
"""
What robots' keys are good for. own: the one that the robot dialled with; sibling: the tenant's
other key; bound: to this robot; elsewhere: to another; foreign: another tenant's; gone: revoked.
"""
ANYBODY = ('GET /health', 'GET /openapi.json', 'GET /auth/config')
EITHER = 'GET /sessions/turn-credentials'
BODY = {'name': 'key', 'robot_name': 'Go2', 'sdp_offer': OFFER, 'sdp_answer': OFFER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One call and what it answers to whom."""

    call: str
    variant: str
    answers: dict[str, str]

    @property
    def endpoint(self) -> str:
        return self.call.replace('{session}', '{session_id}')


def rows(table: str) -> Iterator[Row]:
    """Read a table: a line without a call is about the one above."""
    head, *lines = table.strip('\n').split('\n')
    columns = head.split()
    call = ''
    for line in lines:
        words = line.split()
        if not line.startswith(' '):
            call, words = ' '.join(words[:2]), words[2:]
        variant = words.pop(0) if len(words) > len(columns) else ''
        if words:
            assert len(words) == len(columns), line
            yield Row(call=call, variant=variant, answers=dict(zip(columns, words, strict=True)))


PEOPLES_ROWS, ROBOTS_ROWS = list(rows(PEOPLE)), list(rows(ROBOTS))


def name_of(value: object) -> str:
    return f'{value.call} {value.variant}'.strip() if isinstance(value, Row) else str(value)


def test_every_call_of_the_api_is_in_the_matrix() -> None:
    described = {
        f'{method.upper()} {path.removeprefix("/api/v1")}'
        for path, methods in describe_api()['paths'].items()
        for method in methods
    }
    names = {'{key}': '{key_id}', '{token}': '{token_id}', '{session}': '{session_id}'}
    asked = {*ANYBODY, EITHER}
    for row in PEOPLES_ROWS + ROBOTS_ROWS:
        call = row.call
        for short, full in names.items():
            call = call.replace(short, full)
        asked.add(call)
    assert asked == described


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path / 'state', limits=no_limits()) as rig:
        yield rig


class Callers:
    """The headers of everybody in the tables."""

    def __init__(self, rig: Rig) -> None:
        expired = rig.store.create_operator_token(
            sub='alice', role=Role.OPERATOR, now_s=rig.wall(), expires_at_s=rig.wall()
        )
        self.bob = rig.operator('bob', tenant='alice')
        self.eve = rig.operator('eve', Role.VIEWER, 'alice')
        self.people = {
            'second': rig.operator(),
            'colleague': self.bob,
            'viewer2': rig.operator('alice', Role.VIEWER, 'alice'),
            'viewer': self.eve,
            'admin2': rig.operator('alice', Role.ADMIN),
            'admin': rig.operator('root', Role.ADMIN),
            'foreign': rig.operator('alice', tenant='yard'),
            'gone': {'Authorization': f'Bearer {expired}'},
        }
        self.robots = {
            'sibling': rig.robot(),
            'elsewhere': rig.robot(robot_id='elsewhere'),
            'foreign': rig.robot('yard'),
            'gone': revoked_key(rig),
        }


def revoked_key(rig: Rig) -> dict[str, str]:
    record, key = rig.store.create_robot_key(
        name='key', robot_id=None, owner='alice', now_s=rig.wall()
    )
    owner = OperatorCaller(sub='alice', role=Role.OPERATOR)
    assert rig.store.revoke_robot_key(record.key_id, owner, rig.wall())
    return {'X-Robot-API-Key': key}


class Scene:
    """A robot that alice drives, eve watches and bob asks for."""

    numbers = count()

    def __init__(self, rig: Rig, callers: Callers) -> None:
        self.rig = rig
        self.callers = callers
        self.name = f'robot {next(self.numbers)}'
        record, key = rig.store.create_robot_key(
            name='key', robot_id=None, owner='alice', now_s=rig.wall()
        )
        self.key_id = record.key_id
        self.robot = {'X-Robot-API-Key': key}
        self.alice = rig.operator()
        token = self.alice['Authorization'].removeprefix('Bearer ')
        self.token_id = rig.store.token_record(token).token_id

    async def set(self) -> None:
        rig, path = self.rig, '/sessions/{}'
        self.session = await rig.dial(self.robot, robot_id=self.name)
        path = path.format(self.session)
        self.driver = (await rig.join(self.session, self.alice)).body
        self.driver_media = self.driver['cf_session_id']
        bridged = (await rig.bridge(self.session, self.alice)).body
        assert bridged['video_offer'] is not None
        eve = (await rig.join(self.session, self.callers.eve, role='viewer')).body
        named = {'cf_session_id': eve['cf_session_id']}
        assert (await rig.bridge(self.session, self.callers.eve, **named)).status == 200
        asked = await rig.post(f'{path}/request-control', self.callers.bob)
        assert asked.body == {'state': 'pending', 'operator_id': 'alice'}
        self.robot_media = self.driver['robot_cf_session_id']
        self.told = await rig.robot_ids(self.session, self.robot)
        assert None not in self.told.values()
        self.streams = [rig.media.open_streams(media) for media in self.peers]

    @property
    def peers(self) -> tuple[str, str]:
        return self.robot_media, self.driver_media

    def headers(self, kind: str, who: str) -> dict[str, str]:
        if kind == 'people':
            return self.alice if who == 'driver' else self.callers.people[who]
        if who == 'own':
            return self.robot
        if who == 'bound':
            return self.rig.robot(robot_id=self.name)
        return self.callers.robots[who]

    async def ask(self, row: Row, headers: dict[str, str]) -> Answer:
        method, path = row.call.split()
        path = path.format(session=self.session, key=self.key_id, token=self.token_id)
        is_join = path.endswith('/join')
        body: dict[str, Any] = {
            **BODY,
            'operator_id': 'bob' if path.endswith('/grant-control') else 'eve',
            'robot_id': 'elsewhere' if row.variant == 'as_another' else self.name,
        }
        if is_join:
            body['role'] = 'viewer' if row.variant == 'as_viewer' else 'operator'
        if row.variant == 'naming_the_driver':
            body['cf_session_id'] = self.driver_media
        return await self.rig.call(method, path, headers, body if method == 'POST' else None)

    async def check(self, *, is_watched: bool) -> None:
        """Make sure that alice drives as before: same connection, same channels, no successor."""
        rig, path = self.rig, f'/sessions/{self.session}'
        assert [rig.media.open_streams(media) for media in self.peers] == self.streams
        beat = await rig.heartbeat(self.session, self.robot)
        assert {name: beat.body[name] for name in IDS} == self.told
        assert beat.body['control_epoch'] == self.driver['control_epoch']
        for named in ({}, {'cf_session_id': self.driver_media}):
            assert (await rig.post(f'{path}/op-heartbeat', self.alice, named)).status == 200
        row = (await rig.get(f'{path}/status', self.alice)).body
        assert (row['state'], row['operator_id']) == ('active', 'alice')
        if is_watched:
            assert row['watching'] == [{'operator_id': 'eve', 'role': 'viewer'}]
        refused = await rig.join(self.session, self.callers.bob)
        assert (refused.status, refused.detail) == (409, 'Session already has operator: alice')


async def check_row(rig: Rig, row: Row, kind: str, expected: dict[str, str]) -> None:
    callers = Callers(rig)
    scene: Scene | None = None
    for who, cell in expected.items():
        if scene is None:
            scene = Scene(rig, callers)
            await scene.set()
        headers = {} if who == 'nobody' else scene.headers(kind, who)
        answer = await scene.ask(row, headers)
        assert answer.status != 429
        assert answer.status == int(cell.rstrip('!')), (who, answer.text)
        is_refused = answer.status >= 400
        if not cell.endswith('!'):
            await scene.check(is_watched=is_refused)
        if not is_refused:
            scene = None  # what was done may be seen in the next cell


@pytest.mark.parametrize('row', PEOPLES_ROWS, ids=name_of)
async def test_what_people_may_do_to_a_driven_robot(rig: Rig, row: Row) -> None:
    await check_row(rig, row, 'people', row.answers | {'nobody': '401'})


@pytest.mark.parametrize('row', PEOPLES_ROWS, ids=name_of)
async def test_robots_keys_are_no_tokens(rig: Rig, row: Row) -> None:
    await check_row(rig, row, 'robots', dict.fromkeys(ROBOTS_ROWS[0].answers, '401'))


@pytest.mark.parametrize('row', ROBOTS_ROWS, ids=name_of)
async def test_what_robots_may_do_to_a_driven_robot(rig: Rig, row: Row) -> None:
    await check_row(rig, row, 'robots', row.answers | {'nobody': '401'})


@pytest.mark.parametrize('row', ROBOTS_ROWS, ids=name_of)
async def test_tokens_are_no_robots_keys(rig: Rig, row: Row) -> None:
    await check_row(rig, row, 'people', dict.fromkeys(PEOPLES_ROWS[0].answers, '401'))


@pytest.mark.parametrize('kind', ['people', 'robots'])
@pytest.mark.parametrize('call', [*ANYBODY, EITHER])
async def test_what_is_for_everybody_disturbs_nobody(rig: Rig, call: str, kind: str) -> None:
    row = Row(call=call, variant='', answers={})
    columns = (PEOPLES_ROWS if kind == 'people' else ROBOTS_ROWS)[0].answers
    expected = dict.fromkeys(columns, '200') | {'nobody': '200'}
    if call == EITHER:
        expected |= {'gone': '401', 'nobody': '401'}
    await check_row(rig, row, kind, expected)
