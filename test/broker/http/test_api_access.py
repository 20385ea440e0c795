"""Who gets in, how often, and what everybody is told."""

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

from datetime import datetime, UTC
import gzip
from pathlib import Path

import pytest
from rig import OFFER, Rig, running

from teleop_webrtc_bridge.broker.access.database import DatabaseUnavailable
from teleop_webrtc_bridge.broker.configuration import OidcSettings
from teleop_webrtc_bridge.broker.http.page import PageFile, read_page
from teleop_webrtc_bridge.broker.http.routes_operator import sign_in_fields
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.core.messages import IceServer

ROBOT_CALLS = [
    ('POST', '/sessions'),
    ('POST', '/sessions/{}/heartbeat'),
    ('POST', '/sessions/{}/renegotiate-robot'),
    ('DELETE', '/sessions/{}'),
]
SESSION_CALLS = [
    ('POST', '/sessions/{}/join'),
    ('POST', '/sessions/{}/bridge-datachannel'),
    ('POST', '/sessions/{}/renegotiate-answer'),
    ('POST', '/sessions/{}/op-heartbeat'),
    ('POST', '/sessions/{}/leave'),
    ('GET', '/sessions/{}/status'),
]
OPERATOR_CALLS = [
    *SESSION_CALLS,
    ('GET', '/sessions'),
    ('GET', '/keys'),
    ('POST', '/keys'),
    ('DELETE', '/keys/abc'),
]
BODY = {'robot_name': 'Go2', 'role': 'operator', 'sdp_offer': OFFER, 'sdp_answer': OFFER}


def body(method: str) -> dict[str, str] | None:
    return BODY if method == 'POST' else None


@pytest.mark.parametrize(('method', 'path'), ROBOT_CALLS)
async def test_robot_endpoints_take_robot_keys_only(rig: Rig, method: str, path: str) -> None:
    path = path.format(await rig.dial(rig.robot()))
    for headers in (
        {},
        rig.operator(),
        rig.operator(role=Role.ADMIN),
        {'X-Robot-API-Key': 'dtk_live_' + '0' * 40},
        {'X-Robot-API-Key': rig.operator()['Authorization'].removeprefix('Bearer ')},
    ):
        assert (await rig.call(method, path, headers, body(method))).status == 401


@pytest.mark.parametrize(('method', 'path'), OPERATOR_CALLS)
async def test_operator_endpoints_take_tokens_only(rig: Rig, method: str, path: str) -> None:
    robot = rig.robot()
    path = path.format(await rig.dial(robot))
    for headers in (
        {},
        robot,
        {'Authorization': 'Bearer ' + robot['X-Robot-API-Key']},
        {'Authorization': 'Bearer dto_live_' + '0' * 40},
        {'Authorization': 'Basic YTpi'},
        {'Authorization': 'Bearer'},
    ):
        assert (await rig.call(method, path, headers, body(method))).status == 401


@pytest.mark.parametrize(('method', 'path'), SESSION_CALLS)
async def test_what_another_tenant_has_does_not_exist(rig: Rig, method: str, path: str) -> None:
    session = await rig.dial(rig.robot('alice'))
    bob = rig.operator('bob')
    foreign = await rig.call(method, path.format(session), bob, body(method))
    unknown = await rig.call(method, path.format('0' * 32), bob, body(method))
    assert foreign.status == unknown.status == 404
    assert foreign.text == unknown.text


@pytest.mark.parametrize(('method', 'path'), ROBOT_CALLS[1:])
async def test_robots_of_other_tenants_are_unknown(rig: Rig, method: str, path: str) -> None:
    session = await rig.dial(rig.robot('alice'))
    answer = await rig.call(method, path.format(session), rig.robot('bob'), body(method))
    assert (answer.status, answer.detail) == (404, 'Session not found')


async def test_an_admin_sees_and_controls_all(rig: Rig) -> None:
    sessions = {await rig.dial(rig.robot('alice')), await rig.dial(rig.robot('bob'))}
    admin = rig.operator('root', Role.ADMIN)
    rows = (await rig.get('/sessions', admin)).body
    assert {row['session_id'] for row in rows} == sessions
    assert (await rig.join(sessions.pop(), admin)).status == 200
    rows = (await rig.get('/sessions', rig.operator('bob'))).body
    assert len(rows) == 1


async def test_a_token_expires(rig: Rig) -> None:
    token = rig.store.create_operator_token(
        sub='alice', role=Role.OPERATOR, now_s=rig.wall(), expires_at_s=rig.wall() + 60.0
    )
    headers = {'Authorization': f'Bearer {token}'}
    assert (await rig.get('/sessions', headers)).status == 200
    rig.wall.now_s += 60.0
    assert (await rig.get('/sessions', headers)).status == 401


# --- keys --------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_works_until_it_is_revoked(rig: Rig) -> None:
    operator = rig.operator()
    created = await rig.post('/keys', operator, {'name': 'yard', 'robot_id': 'go2'})
    assert created.status == 201
    key = created.body.pop('api_key')
    assert key.startswith(created.body['key_prefix'])
    assert (await rig.get('/keys', operator)).body == {'keys': [created.body]}
    robot = {'X-Robot-API-Key': key}
    session = await rig.dial(robot)
    path = f'/keys/{created.body["id"]}'
    assert (await rig.call('DELETE', path, rig.operator('bob'))).status == 404
    assert (await rig.call('DELETE', path, operator)).status == 204
    assert (await rig.call('DELETE', path, operator)).status == 404
    assert (await rig.heartbeat(session, robot)).status == 401
    assert (await rig.get('/sessions', operator)).body == []
    assert rig.media.sessions == {}
    assert (await rig.get('/keys', operator)).body == {'keys': []}


@pytest.mark.parametrize('fields', [{}, {'name': '<'}, {'name': 'a', 'robot_id': 7}])
async def test_a_key_needs_a_name(rig: Rig, fields: dict[str, object]) -> None:
    assert (await rig.post('/keys', rig.operator(), fields)).status == 422


async def test_the_list_tells_when_a_key_was_last_used(rig: Rig) -> None:
    operator, robot = rig.operator(), rig.robot()

    async def last_used() -> object:
        (key,) = (await rig.get('/keys', operator)).body['keys']
        return key['last_used_at']

    def stored() -> object:
        (key,) = rig.store.robot_keys(OperatorCaller(sub='alice', role=Role.OPERATOR))
        return key.last_used_at_s

    assert await last_used() is None
    session = await rig.dial(robot)
    for _ in range(50):
        rig.wall.now_s += 1.0
        assert (await rig.heartbeat(session, robot)).status == 200
    used = datetime.fromtimestamp(rig.wall(), UTC).isoformat()
    rig.wall.now_s += 100.0
    assert await last_used() == used
    # Not a write for each of them.
    assert stored() is None
    await rig.key_usage.write()
    assert stored() == rig.wall() - 100.0
    assert await last_used() == used
    assert rig.key_usage.waiting() == {}


async def test_a_key_that_was_revoked_is_not_used_any_more(rig: Rig) -> None:
    operator, robot = rig.operator(), rig.robot()
    await rig.dial(robot)
    await rig.key_usage.write()
    (key,) = (await rig.get('/keys', operator)).body['keys']
    assert (await rig.call('DELETE', f'/keys/{key["id"]}', operator)).status == 204
    assert (await rig.post('/sessions', robot, BODY)).status == 401
    assert rig.key_usage.waiting() == {}


async def test_usage_that_cannot_be_written_is_kept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise DatabaseUnavailable('disk full')

    await rig.dial(rig.robot())
    waiting = rig.key_usage.waiting()
    assert len(waiting) == 1
    with monkeypatch.context() as patch:
        patch.setattr(rig.database, 'write', fail)
        await rig.key_usage.write()
    assert rig.key_usage.waiting() == waiting
    await rig.key_usage.flush()
    assert rig.key_usage.waiting() == {}


# --- who am I, and how do I sign in ------------------------------------------------------------


async def test_operators_are_told_as_whom_they_are_known(rig: Rig) -> None:
    for sub, role in (('alice', Role.OPERATOR), ('root', Role.ADMIN), ('eve', Role.VIEWER)):
        answer = await rig.get('/auth/me', rig.operator(sub, role))
        assert (answer.status, answer.body) == (200, {'sub': sub, 'role': role.value})
    for headers in ({}, rig.robot(), {'Authorization': 'Bearer dto_live_' + '0' * 40}):
        assert (await rig.get('/auth/me', headers)).status == 401


async def test_anybody_is_told_how_to_sign_in(rig: Rig) -> None:
    for headers in ({}, rig.operator(), {'Authorization': 'Bearer a.b.c'}):
        answer = await rig.get('/auth/config', headers)
        assert answer.status == 200
        assert answer.body == {'sign_in': ['token'], 'issuer': None, 'client_id': None}


def issuer(url: str) -> OidcSettings:
    return OidcSettings(
        issuer=url, client_id='teleop', tenant='a', tenant_claim=None, role_claim='r', roles={}
    )


def test_who_has_an_issuer_is_told_it_and_an_old_console_its_user_pool() -> None:
    told = {'sign_in': ['token', 'oidc'], 'client_id': 'teleop'}
    url = 'https://login.example.org/realms/yard'
    assert sign_in_fields(issuer(url)) == {**told, 'issuer': url}
    url = 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12'
    pool = {'region': 'eu-west-1', 'user_pool_id': 'eu-west-1_Ab12'}
    assert sign_in_fields(issuer(url)) == {**told, 'issuer': url, **pool}
    url = 'https://cognito-idp.eu-west-1.amazonaws.com.example.org/x'
    assert sign_in_fields(issuer(url)) == {**told, 'issuer': url}


# --- rate limits -------------------------------------------------------------------------------


async def test_sessions_are_limited_per_caller(rig: Rig) -> None:
    robot, other = rig.robot(), rig.robot()
    for _ in range(12):
        await rig.dial(robot)
    answer = await rig.post('/sessions', robot, BODY)
    assert (answer.status, answer.headers['Retry-After']) == (429, '5')
    assert answer.detail
    await rig.dial(other)
    rig.clock.now_s += 5.0
    session = await rig.dial(robot)
    operator = rig.operator()
    statuses = [(await rig.join(session, operator)).status for _ in range(13)]
    assert statuses == [200] * 12 + [429]


LIMITED = {
    'join': (12, 'POST', '/sessions/{}/join'),
    'key writes': (10, 'POST', '/keys'),
    'turn credentials': (6, 'GET', '/sessions/turn-credentials'),
}


@pytest.mark.parametrize('what', LIMITED)
async def test_a_person_uses_up_nobody_elses_budget(rig: Rig, what: str) -> None:
    session = await rig.dial(rig.robot())
    burst, method, path = LIMITED[what]
    path = path.format(session)
    carol, same = rig.operator('carol'), rig.operator('carol')
    fields = BODY | {'name': 'key', 'role': 'viewer'} if method == 'POST' else None

    async def is_limited(headers: dict[str, str]) -> bool:
        return (await rig.call(method, path, headers, fields)).status == 429

    # Two tokens of one person share a budget: half each.
    for _ in range(burst // 2):
        assert not await is_limited(carol)
        assert not await is_limited(same)
    assert await is_limited(carol)
    assert await is_limited(same)
    for others in (
        rig.operator('carol', tenant='alice'),
        rig.operator('carol', Role.ADMIN),
        rig.operator('carol', Role.VIEWER),
    ):
        assert not await is_limited(others)


async def test_key_writes_are_limited(rig: Rig) -> None:
    operator = rig.operator()
    statuses = [(await rig.post('/keys', operator, {'name': 'a'})).status for _ in range(11)]
    assert statuses == [201] * 10 + [429]
    assert (await rig.get('/keys', operator)).status == 200


async def test_a_tenant_has_only_so_many_keys_and_tokens(tmp_path: Path) -> None:
    caps = Limits(keys_per_tenant=2, tokens_per_tenant=2)
    async with running(tmp_path, caps=caps) as rig:
        alice, root = rig.operator(), rig.operator('root', Role.ADMIN)
        for path, who, body, why in (
            ('/keys', alice, {'name': 'a'}, "Tenant 'alice' has 2 API keys"),
            ('/operators', root, {'operator_id': 'b', 'tenant': 'yard'}, "Tenant 'yard' has 2 op"),
        ):
            made = [await rig.post(path, who, body) for _ in range(3)]
            assert [answer.status for answer in made] == [201, 201, 409]
            assert made[2].detail.startswith(why)
            assert 'caps.' in made[2].detail
            assert (await rig.call('DELETE', f'{path}/{made[0].body["id"]}', who)).status == 204
            assert (await rig.post(path, who, body)).status == 201
        assert (await rig.post('/keys', rig.operator('bob'), {'name': 'a'})).status == 201


async def test_turn_credentials_are_limited(rig: Rig) -> None:
    operator = rig.operator()
    statuses = [(await rig.get('/sessions/turn-credentials', operator)).status for _ in range(7)]
    assert statuses == [200] * 6 + [429]


async def test_every_robot_of_a_key_gets_turn_credentials_when_all_dial_at_once(rig: Rig) -> None:
    robot = rig.robot()
    burst = Limits().robots_per_key
    path = '/sessions/turn-credentials'
    statuses = [(await rig.get(path, robot)).status for _ in range(burst + 1)]
    assert statuses == [200] * burst + [429]


async def test_keys_and_tenants_have_a_bounded_number_of_sessions(tmp_path: Path) -> None:
    async with running(tmp_path, caps=Limits(robots_per_key=2, robots_per_tenant=3)) as rig:
        first, second = rig.robot(), rig.robot()
        for robot, name in ((first, 'a'), (first, 'b'), (second, 'c')):
            await rig.dial(robot, robot_id=name)
        for robot, why in ((first, 'of this API key'), (second, '3 live sessions')):
            media = len(rig.media.sessions)
            answer = await rig.post('/sessions', robot, BODY)
            assert (answer.status, answer.headers['Retry-After']) == (429, '30')
            assert why in answer.detail
            assert len(rig.media.sessions) == media
        await rig.dial(first, robot_id='a')
        await rig.dial(rig.robot('bob'))


async def test_a_fleet_under_one_key_is_back_at_once(rig: Rig) -> None:
    robot = rig.robot()
    for number in range(Limits().robots_per_key):
        await rig.dial(robot, robot_id=f'robot{number}')


async def test_the_creates_of_a_key_are_limited_whatever_robots_they_name(rig: Rig) -> None:
    robot = rig.robot()
    burst = Limits().robots_per_key
    bodies = [{**BODY, 'robot_id': f'r{number}', 'sdp_offer': 'x'} for number in range(burst + 6)]
    statuses = [(await rig.post('/sessions', robot, body)).status for body in bodies]
    assert statuses == [400] * burst + [429] * 6
    rig.clock.now_s += 0.5
    await rig.dial(robot)


# --- signing in --------------------------------------------------------------------------------


async def test_guessing_is_slowed_down_and_keeps_nobody_out(rig: Rig) -> None:
    robot, operator = rig.robot(), rig.operator()
    guesses = [{'Authorization': f'Bearer dto_live_{number:040x}'} for number in range(30)]
    guesses += [{'X-Robot-API-Key': f'dtk_live_{number:040x}'} for number in range(30)]
    answers = [await rig.get('/sessions/turn-credentials', guess) for guess in guesses]
    assert [answer.status for answer in answers] == [401] * 10 + [429] * 50
    assert answers[-1].headers['Retry-After'] == '6'
    session = await rig.dial(robot)
    assert (await rig.join(session, operator)).status == 200
    rig.clock.now_s += 6.0
    statuses = [(await rig.get('/sessions', guess)).status for guess in guesses[:2]]
    assert statuses == [401, 429]


async def test_who_has_an_old_secret_reads_that_whatever_strangers_have_tried(rig: Rig) -> None:
    token = rig.store.create_operator_token(
        sub='alice', role=Role.OPERATOR, now_s=rig.wall(), expires_at_s=rig.wall() + 60.0
    )
    expired, revoked, robot = (
        {'Authorization': f'Bearer {token}'},
        rig.operator('bob'),
        rig.robot(),
    )
    assert rig.store.revoke_operator_tokens('bob', rig.wall())
    everybody = OperatorCaller(sub='', role=Role.ADMIN)
    (key,) = rig.store.robot_keys(everybody)
    assert rig.store.revoke_robot_key(key.key_id, everybody, rig.wall())
    rig.wall.now_s += 60.0
    for number in range(12):
        guess = {'Authorization': f'Bearer dto_live_{number:040x}'}
        status = (await rig.get('/sessions', guess)).status
    assert status == 429
    for _ in range(12):
        for headers, why in (
            (expired, 'This operator token has expired'),
            (revoked, 'This operator token has been revoked'),
            (robot, 'This robot API key has been revoked'),
        ):
            answer = await rig.get('/sessions/turn-credentials', headers)
            assert (answer.status, answer.detail) == (401, why)
    assert (await rig.get('/sessions', guess)).status == 429


# --- where peers may be ------------------------------------------------------------------------


@pytest.mark.parametrize('local', [True, False])
async def test_nobody_may_have_us_send_to_this_machine(tmp_path: Path, local: bool) -> None:
    def line(address: str) -> str:
        return f'a=candidate:1 1 udp 1 {address} 9 typ host\r\n'

    offer = (
        OFFER + line('192.0.2.1') + line('127.0.0.1') + line('169.254.169.254') + line('a.local')
    )
    expected = OFFER + line('192.0.2.1') + (line('127.0.0.1') if local else '')
    async with running(tmp_path, include_loopback=local) as rig:
        session = await rig.dial(rig.robot(), sdp_offer=offer)
        await rig.join(session, rig.operator(), sdp_offer=offer)
        assert [media.offer for media in rig.media.sessions.values()] == [expected] * 2


# --- ICE servers, health, errors, headers ------------------------------------------------------


async def test_turn_credentials_come_from_the_configuration(tmp_path: Path) -> None:
    servers = (
        IceServer(urls=('stun:a',)),
        IceServer(urls=('turn:b', 'turns:b'), username='u', credential='c'),
    )
    expected = [
        {'urls': ['stun:a']},
        {'urls': ['turn:b', 'turns:b'], 'username': 'u', 'credential': 'c'},
    ]
    async with running(tmp_path, ice_servers=servers) as rig:
        for headers in (rig.robot(), rig.operator()):
            answer = await rig.get('/sessions/turn-credentials', headers)
            assert answer.body == {'ice_servers': expected}
        assert (await rig.get('/sessions/turn-credentials')).status == 401
        created = await rig.post('/sessions', rig.robot(), BODY)
        assert created.body['ice_servers'] == expected


async def test_without_servers_the_list_is_empty(rig: Rig) -> None:
    answer = await rig.get('/sessions/turn-credentials', rig.operator())
    assert (answer.status, answer.body) == (200, {'ice_servers': []})


async def test_health_is_for_anyone(rig: Rig) -> None:
    assert (await rig.get('/health')).body == {'status': 'ok'}


async def test_the_routers_errors_are_json_too(rig: Rig) -> None:
    missing = await rig.get('/nothing')
    assert (missing.status, missing.detail) == (404, 'Not Found')
    wrong = await rig.call('PUT', '/health')
    assert (wrong.status, wrong.detail) == (405, 'Method Not Allowed')
    assert wrong.headers['Allow'] == 'GET,HEAD'


@pytest.mark.parametrize(
    'origin', ['http://evil.example', 'null', 'http://127.0.0.1:1', 'http://[', 'https://']
)
async def test_other_sites_change_nothing(rig: Rig, origin: str) -> None:
    session = await rig.dial(rig.robot())
    headers = {**rig.operator(), 'Origin': origin}
    assert (await rig.join(session, headers)).status == 403
    assert (await rig.get('/sessions', headers)).status == 200
    assert 'Access-Control-Allow-Origin' not in (await rig.get('/sessions', headers)).headers


@pytest.mark.parametrize('scheme', ['http', 'https'])
async def test_our_own_page_may(rig: Rig, scheme: str) -> None:
    session = await rig.dial(rig.robot())
    headers = {**rig.operator(), 'Origin': f'{scheme}://127.0.0.1:{rig.port}'}
    assert (await rig.join(session, headers)).status == 200


async def test_compressed_bodies_are_not_unpacked(rig: Rig) -> None:
    headers = {**rig.robot(), 'Content-Encoding': 'gzip'}
    answer = await rig.call('POST', '/sessions', headers, data=gzip.compress(b' ' * 10**6))
    assert answer.status == 422


async def test_secrets_are_not_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('DEBUG')
    robot, operator = rig.robot(), rig.operator()
    session = await rig.dial(robot)
    await rig.join(session, operator)
    await rig.get('/sessions?token=queried', operator)
    await rig.get('/sessions/x%0Ay', operator)
    key = (await rig.post('/keys', operator, {'name': 'a'})).body['api_key']
    for secret in (robot['X-Robot-API-Key'], operator['Authorization'][7:], key, 'queried'):
        assert secret not in caplog.text
    assert 'event=session_active' in caplog.text
    assert all('\n' not in record.getMessage() for record in caplog.records)


# --- the page ----------------------------------------------------------------------------------


async def test_the_page_is_served_with_a_strict_policy(tmp_path: Path) -> None:
    folder = tmp_path / 'page'
    (folder / 'lib').mkdir(parents=True)
    (folder / 'index.html').write_text('<!doctype html>')
    (folder / 'lib' / 'a.js').write_text('export {}')
    (folder / 'secret.py').write_text('no')
    (folder / '.hidden.js').write_text('no')
    async with running(tmp_path / 'state', page=read_page(folder)) as rig:
        for path, kind in (
            ('/', 'text/html'),
            ('/index.html', 'text/html'),
            ('/lib/a.js', 'text/javascript'),
        ):
            async with rig.http.get(path) as response:
                assert (response.status, response.content_type) == (200, kind)
                assert response.headers['Cache-Control'] == 'no-cache'
                assert response.headers['Referrer-Policy'] == 'no-referrer'
                policy = response.headers['Content-Security-Policy']
                assert policy.startswith("default-src 'none'; script-src 'self';")
        for path in ('/secret.py', '/.hidden.js', '/lib', '/lib/', '/lib/%2e%2e/secret.py'):
            async with rig.http.get(path) as response:
                assert response.status == 404


async def test_a_page_without_files_is_not_found(rig: Rig) -> None:
    async with rig.http.get('/') as response:
        assert response.status == 404


def test_the_packages_own_page_can_be_read() -> None:
    assert all(isinstance(file, PageFile) for file in read_page())
