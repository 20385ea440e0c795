"""The OpenAPI document: its accuracy, and the permissions that it states."""

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
from collections.abc import AsyncIterator
import json
from pathlib import Path
import re
import sys
from typing import Any

from path_proxy import path_proxy
import pytest
import pytest_asyncio
from rig import Answer, no_limits, OFFER, Rig, running
from yarl import URL

from teleop_webrtc_bridge.broker.http.app import describe_api
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role

DOCUMENT = describe_api()
CALLS = [
    (method, path, call)
    for path, methods in DOCUMENT['paths'].items()
    for method, call in methods.items()
]
OPEN_PATHS = ('/api/v1/health', '/api/v1/openapi.json', '/api/v1/auth/config')
ADMIN_PATHS = ('/api/v1/operators', '/api/v1/operators/{token_id}')
BODY = {
    'robot_name': 'Go2',
    'name': 'key',
    'operator_id': 'nobody',
    'sdp_offer': OFFER,
    'sdp_answer': OFFER,
}
FOREIGN = 'f' * 32


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path / 'state', limits=no_limits()) as rig:
        yield rig


async def test_the_document_names_the_address_that_it_was_got_from(rig: Rig) -> None:
    async with path_proxy(f'http://127.0.0.1:{rig.port}') as proxy:
        for root in (proxy.url, f'http://127.0.0.1:{rig.port}/'):
            url = URL(root) / 'api/v1/openapi.json'
            async with rig.http.get(url) as answer:
                (server,) = (await answer.json())['servers']
            base = str(url.join(URL(server['url'])))
            assert base == root
            async with rig.http.get(f'{base.rstrip("/")}/api/v1/health') as answer:
                assert answer.status == 200


async def test_the_document_is_served_and_names_every_endpoint(rig: Rig) -> None:
    assert (await rig.get('/openapi.json')).body == DOCUMENT
    served = {
        (route.method.lower(), re.sub(r':[^/]+}', '}', route.resource.canonical))
        for route in rig.app.router.routes()
        if route.resource is not None and route.method != 'HEAD'
    }
    assert served - {(method, path) for method, path, _ in CALLS} == {('get', '/metrics')}
    assert {(method, path) for method, path, _ in CALLS} <= served


# --- who may do what ---------------------------------------------------------------------------


def callers(rig: Rig, tenant: str) -> dict[str, dict[str, str]]:
    """Return the headers of all kinds of callers of a tenant."""
    _, key = rig.store.create_robot_key(name='k', robot_id=None, owner=tenant, now_s=rig.wall())
    revoked = rig.operator(tenant, tenant=tenant)
    assert rig.store.revoke_operator_tokens(tenant, rig.wall())
    return {
        'revoked operator': revoked,
        'robot': {'X-Robot-API-Key': key},
        'revoked robot': _revoked_robot(rig, tenant),
        'operator': rig.operator(f'{tenant}-operator', tenant=tenant),
        'viewer': rig.operator(f'{tenant}-viewer', Role.VIEWER, tenant=tenant),
        'admin': rig.operator(f'{tenant}-admin', Role.ADMIN),
        'none': {},
    }


def _revoked_robot(rig: Rig, tenant: str) -> dict[str, str]:
    before = rig.store.robot_keys(_admin())
    headers = rig.robot(tenant)
    (key,) = [key for key in rig.store.robot_keys(_admin()) if key not in before]
    assert rig.store.revoke_robot_key(key.key_id, _admin(), rig.wall())
    return headers


def _admin() -> OperatorCaller:
    return OperatorCaller(sub='', role=Role.ADMIN)


def is_let_in(call: dict[str, Any], who: str) -> bool:
    """Return whether a call accepts the credentials of a kind of caller, by the document."""
    schemes = {name for scheme in call['security'] for name in scheme}
    needed = {'robot': 'robotApiKey'}.get(who, 'operatorToken')
    return not schemes or (needed in schemes and not who.startswith('revoked') and who != 'none')


async def ask(rig: Rig, method: str, path: str, headers: dict[str, str], **ids: str) -> Answer:
    path = path.format(**{**dict.fromkeys(('session_id', 'key_id', 'token_id'), FOREIGN), **ids})
    body = BODY if method == 'post' else None
    return await rig.call(method.upper(), path.removeprefix('/api/v1'), headers, body)


async def own_ids(rig: Rig, tenant: str) -> dict[str, str]:
    """Create a watched session, a key and a token of a tenant; return their ids."""
    robot = rig.robot(tenant)
    session_id = await rig.dial(robot)
    watcher = rig.operator(BODY['operator_id'], tenant=tenant)
    assert (await rig.join(session_id, watcher, role='viewer')).status == 200
    (key_id,) = [key.key_id for key in rig.store.robot_keys(_admin()) if key.owner == tenant][-1:]
    rig.operator(f'{tenant}-spare', tenant=tenant)
    tokens = rig.store.operator_tokens(_admin(), rig.wall())
    token_id = next(token.token_id for token in tokens if token.sub == f'{tenant}-spare')
    return {'session_id': session_id, 'key_id': key_id, 'token_id': token_id}


@pytest.mark.parametrize(('method', 'path', 'call'), CALLS, ids=lambda value: str(value)[:60])
async def test_the_matrix(rig: Rig, method: str, path: str, call: dict[str, Any]) -> None:
    """Check 2 tenants x 7 callers at one endpoint, with own, foreign and unknown ids."""
    for tenant, other in (('alice', 'bob'), ('bob', 'alice')):
        foreign = await own_ids(rig, other)
        for who, headers in callers(rig, tenant).items():
            own = await ask(rig, method, path, headers, **await own_ids(rig, tenant))
            unknown = await ask(rig, method, path, headers)
            theirs = await ask(rig, method, path, headers, **foreign)
            for answer in (own, unknown, theirs):
                assert str(answer.status) in call['responses'], (who, answer.status, answer.text)
            if not is_let_in(call, who):
                assert {own.status, unknown.status, theirs.status} == {401}, who
                assert own.text == unknown.text == theirs.text
                continue
            forbidden = who != 'admin' and path in ADMIN_PATHS
            forbidden |= who == 'viewer' and path.startswith('/api/v1/keys')
            if forbidden:
                assert {own.status, unknown.status, theirs.status} == {403}, who
            elif '{' in path:
                assert own.status != 404, (who, own.text)
                assert unknown.status == 404, who
                if who != 'admin':
                    assert (theirs.status, theirs.text) == (404, unknown.text), who
                else:
                    assert theirs.status != 404
            else:
                assert own.status < 300, (who, own.text)


@pytest.mark.parametrize('path', sorted(DOCUMENT['paths']))
async def test_other_methods_are_not_allowed(rig: Rig, path: str) -> None:
    allowed = {method.upper() for method in DOCUMENT['paths'][path]}
    allowed |= {'HEAD'} if 'GET' in allowed else set()
    for method in {'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE'} - allowed:
        concrete = re.sub(r'{\w+}', FOREIGN, path).removeprefix('/api/v1')
        answer = await rig.call(method, concrete, rig.operator('root', Role.ADMIN))
        assert answer.status == 405, (method, answer.status)
        assert set(answer.headers['Allow'].split(',')) == allowed


# --- random requests against the document ------------------------------------------------------


@pytest.mark.real_programs
async def test_schemathesis_finds_nothing(rig: Rig, tmp_path: Path) -> None:
    robot, admin = rig.robot(), rig.operator('root', Role.ADMIN)
    for number in range(4):
        await rig.dial(robot, robot_id=f'r{number}')
    headers = {**robot, **admin}
    words = [word for name, value in headers.items() for word in ('-H', f'{name}: {value}')]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, '-m', 'schemathesis.cli', 'run'),
        f'http://127.0.0.1:{rig.port}/api/v1/openapi.json',
        *words,
        *('--max-examples', '15', '--seed', '1', '--phases', 'examples,coverage,fuzzing'),
        # A text that is not SDP is refused, which the schema cannot express.
        *('--exclude-checks', 'positive_data_acceptance'),
        *('--generation-database', 'none', '--no-color'),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    async with asyncio.timeout(90.0):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-6000:]


# --- metrics -----------------------------------------------------------------------------------


async def test_metrics_are_for_this_machine(rig: Rig) -> None:
    session = await rig.dial(rig.robot())
    await rig.join(session, rig.operator())
    async with rig.http.get('/metrics') as response:
        assert response.status == 200
        assert response.content_type == 'text/plain'
        text = await response.text()
    assert 'teleop_broker_sessions_active 1\n' in text
    assert 'teleop_broker_sessions_idle 0\n' in text
    assert 'teleop_broker_responses_total{status="201"} 1\n' in text
    for line in text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) .+|teleop_broker_\w+(\{status="\d+"\})? [\d.e+]+', line
        )


@pytest.mark.parametrize('name', ['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'Via'])
async def test_a_proxy_does_not_make_strangers_local(rig: Rig, name: str) -> None:
    async with rig.http.get('/metrics', headers={name: '127.0.0.1'}) as response:
        assert response.status == 404
        assert json.loads(await response.text()) == {'detail': 'Not Found'}
