"""Sign-in with id tokens: a real issuer over HTTP, and everything that can be wrong."""

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
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
import hashlib
import hmac
import json
import os
from pathlib import Path
import sys
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import jwt
from jwt.algorithms import RSAAlgorithm
from oidc_issuer import CLIENT_ID, DISCOVERY, Issuer, issuing, private_key, public_jwk
import pytest
import pytest_asyncio
from rig import Clock, no_limits, OFFER, Rig, running
from tree import ROOT, SUPPORT

from teleop_webrtc_bridge.broker.access.oidc import (
    CLOCK_SKEW_S,
    FETCH_PAUSE_S,
    IdTokens,
    IssuerKeys,
    KEYS_AGE_S,
    MAX_DOCUMENT_BYTES,
    MAX_TOKEN_CHARS,
)
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.identity import Role

PROGRAM = SUPPORT / 'broker_on_fake_media.py'
NOW_S = 1.7e9
"""The initial time of the rig's clock."""
WAIT_S = 20.0


class Server:
    """The issuer of :func:`issuing`, with the clock that it shares with the broker."""

    def __init__(self, issuer: Issuer, server: TestServer, wall: Clock) -> None:
        self.issuer, self.server, self.wall = issuer, server, wall


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Server]:
    wall = Clock(NOW_S)
    async with issuing(wall) as (issuer, server):
        yield Server(issuer, server, wall)


@pytest.fixture
def issuer(served: Server) -> Issuer:
    return served.issuer


@pytest_asyncio.fixture
async def rig(tmp_path: Path, served: Server) -> AsyncIterator[Rig]:
    """Run a broker that accepts the issuer's tokens."""
    limits, oidc = no_limits(), served.issuer.settings()
    async with running(tmp_path / 'state', limits=limits, oidc=oidc) as rig:
        served.wall = rig.wall
        yield rig


async def status_of(rig: Rig, headers: dict[str, str]) -> int:
    return (await rig.get('/sessions', headers)).status


def bearer(token: str) -> dict[str, str]:
    return {'Authorization': f'Bearer {token}'}


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


# --- accepted tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize('key', ['rsa', 'pss', 'ec', 'ed'])
async def test_an_operator_of_the_issuer_sees_and_drives(
    rig: Rig, issuer: Issuer, key: str
) -> None:
    session = await rig.dial(rig.robot('yard'))
    assert issuer.requests == []
    ann = issuer.signed_in(key)
    rows = (await rig.get('/sessions', ann)).body
    assert [row['session_id'] for row in rows] == [session]
    joined = await rig.join(session, ann)
    assert (joined.status, joined.body['operator_id']) == (200, 'oidc/ann')
    assert (await rig.bridge(session, ann)).status == 200
    assert (await rig.get(f'/sessions/{session}/status', ann)).body['operator_id'] == 'oidc/ann'
    assert (await rig.post(f'/sessions/{session}/leave', ann, {})).body['state'] == 'idle'
    assert issuer.requests == [DISCOVERY, '/keys']


async def test_tenants_from_a_claim_do_not_see_each_other(rig: Rig, issuer: Issuer) -> None:
    yard, mine = await rig.dial(rig.robot('yard')), await rig.dial(rig.robot('mine'))
    ann, bob = issuer.signed_in(), issuer.signed_in(sub='bob', org='mine')
    for who, own, foreign in ((ann, yard, mine), (bob, mine, yard)):
        rows = (await rig.get('/sessions', who)).body
        assert [row['session_id'] for row in rows] == [own]
        for path in (f'/sessions/{foreign}/join', f'/sessions/{foreign}/request-control'):
            assert (await rig.post(path, who, {'sdp_offer': OFFER})).status == 404
    boss = issuer.signed_in(org='elsewhere', groups='bosses')
    assert len((await rig.get('/sessions', boss)).body) == 2


async def test_everybody_can_be_of_one_tenant(tmp_path: Path, issuer: Issuer) -> None:
    oidc = issuer.settings(tenant='mine', tenant_claim=None)
    async with running(tmp_path / 'state', oidc=oidc) as rig:
        await rig.dial(rig.robot('yard'))
        session = await rig.dial(rig.robot('mine'))
        rows = (await rig.get('/sessions', issuer.signed_in(org='yard'))).body
        assert [row['session_id'] for row in rows] == [session]


@pytest.mark.parametrize(
    ('groups', 'drives', 'takes'),
    [
        ('drivers', 200, 403),
        ('guests', 403, 403),
        (['guests', 'drivers', 'unknown'], 200, 403),
        (['guests', 'bosses'], 200, 200),
    ],
)
async def test_the_highest_role_counts(
    rig: Rig, issuer: Issuer, groups: object, drives: int, takes: int
) -> None:
    session = await rig.dial(rig.robot('yard'))
    ann = issuer.signed_in(groups=groups)
    assert (await rig.join(session, ann)).status == drives
    assert (await rig.post(f'/sessions/{session}/take-control', ann, {})).status == takes
    assert (await rig.join(session, ann, role='viewer')).status == 200


async def test_nobody_of_ours_has_a_name_of_the_issuers(rig: Rig, issuer: Issuer) -> None:
    session = await rig.dial(rig.robot('yard'))
    ann, ours = issuer.signed_in(), rig.operator('ann', tenant='yard')
    assert (await rig.join(session, ann)).status == 200
    assert (await rig.join(session, ours)).status == 409
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', ours, {})).status == 403
    root = rig.operator('root', Role.ADMIN)
    for sub in ('oidc/ann', '/ann'):
        assert (await rig.post('/operators', root, {'operator_id': sub})).status == 422


async def test_control_goes_between_both_kinds_of_operators(rig: Rig, issuer: Issuer) -> None:
    session = await rig.dial(rig.robot('yard'))
    ann, bob = issuer.signed_in(), rig.operator('bob', tenant='yard')
    for holder, other, sub in ((bob, ann, 'oidc/ann'), (ann, bob, 'bob')):
        assert (await rig.join(session, holder)).status == 200
        assert (await rig.post(f'/sessions/{session}/request-control', other, {})).status == 200
        granted = await rig.post(
            f'/sessions/{session}/grant-control', holder, {'operator_id': sub}
        )
        assert granted.status == 200
        assert (await rig.join(session, other)).status == 200
        await rig.post(f'/sessions/{session}/leave', other, {})


async def test_who_comes_from_an_issuer_makes_no_keys_and_tokens(rig: Rig, issuer: Issuer) -> None:
    boss, root = issuer.signed_in(groups='bosses'), rig.operator('root', Role.ADMIN)
    for who in (boss, issuer.signed_in()):
        assert (await rig.post('/keys', who, {'name': 'a'})).status == 403
        assert (await rig.post('/operators', who, {'operator_id': 'a'})).status == 403
    key = (await rig.post('/keys', root, {'name': 'a'})).body['id']
    token = (await rig.post('/operators', root, {'operator_id': 'a'})).body['id']
    assert len((await rig.get('/keys', boss)).body['keys']) == 1
    assert len((await rig.get('/operators', boss)).body) == 2
    assert (await rig.call('DELETE', f'/keys/{key}', boss)).status == 204
    assert (await rig.call('DELETE', f'/operators/{token}', boss)).status == 204


async def test_our_own_tokens_work_beside_it(rig: Rig, issuer: Issuer) -> None:
    assert await status_of(rig, rig.operator()) == 200
    assert await status_of(rig, bearer('dto_live_a.b.c')) == 401
    assert await status_of(rig, bearer('a.b')) == 401
    assert (await rig.get('/health', bearer('a.b.c'))).status == 200
    assert issuer.requests == []


async def test_without_an_issuer_its_tokens_are_unknown(tmp_path: Path, issuer: Issuer) -> None:
    async with running(tmp_path / 'state') as rig:
        assert await status_of(rig, issuer.signed_in()) == 401
        assert issuer.requests == []


# --- single defects ----------------------------------------------------------------------------


def _unsigned(issuer: Issuer) -> str:
    head = {'alg': 'none', 'kid': 'ec'}
    return f'{encoded(head)}.{encoded(issuer.claims())}.'


def _keyed_hash(issuer: Issuer) -> str:
    """Sign with the public key as a shared secret."""
    public = private_key('rsa').public_key()
    secret = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = f'{encoded({"alg": "HS256", "kid": "rsa"})}.{encoded(issuer.claims())}'
    signature = hmac.digest(secret, content.encode(), hashlib.sha256)
    return f'{content}.{encoded(signature)}'


def _tampered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split('.')
    return f'{head}.{encoded(issuer.claims(groups="bosses"))}.{signature}'


def _other_header(issuer: Issuer) -> str:
    _, claims, signature = issuer.token('rsa').split('.')
    return f'{encoded({"alg": "PS256", "kid": "rsa"})}.{claims}.{signature}'


def _not_claims(issuer: Issuer) -> str:
    return jwt.PyJWS().encode(b'[1]', private_key('ec'), 'ES256', headers={'kid': 'ec'})


INVALID: dict[str, Callable[[Issuer], str]] = {
    'wrong iss': lambda issuer: issuer.token(iss='https://login.example.org'),
    'iss with a slash': lambda issuer: issuer.token(iss=f'{issuer.url}/'),
    'no iss': lambda issuer: issuer.token(iss=None),
    'wrong aud': lambda issuer: issuer.token(aud='other'),
    'no aud': lambda issuer: issuer.token(aud=None),
    'aud is a map': lambda issuer: issuer.token(aud={CLIENT_ID: 1}),
    'aud contains ours as a part': lambda issuer: issuer.token(aud=f'{CLIENT_ID}2'),
    'two audiences, no azp': lambda issuer: issuer.token(aud=[CLIENT_ID, 'other']),
    'two audiences, wrong azp': lambda issuer: issuer.token(aud=[CLIENT_ID, 'b'], azp='b'),
    'wrong azp': lambda issuer: issuer.token(azp='other'),
    'expires now': lambda issuer: issuer.token(exp=int(NOW_S)),
    'no exp': lambda issuer: issuer.token(exp=None),
    'exp is a text': lambda issuer: issuer.token(exp=str(int(NOW_S) + 60)),
    'iat is true': lambda issuer: issuer.token(iat=True),
    'endless': lambda issuer: issuer.token(exp=10**400),
    'future nbf': lambda issuer: issuer.token(nbf=NOW_S + CLOCK_SKEW_S + 1),
    'nbf is a text': lambda issuer: issuer.token(nbf='now'),
    'future iat': lambda issuer: issuer.token(iat=NOW_S + CLOCK_SKEW_S + 1),
    'no iat': lambda issuer: issuer.token(iat=None),
    'no sub': lambda issuer: issuer.token(sub=None),
    'empty sub': lambda issuer: issuer.token(sub=''),
    'unknown kid': lambda issuer: issuer.token(header={'kid': 'unknown'}),
    'kid of another key': lambda issuer: issuer.token('rsa', header={'kid': 'pss'}),
    'kid of another kind of key': lambda issuer: issuer.token('rsa', header={'kid': 'ec'}),
    'key of another issuer': lambda issuer: issuer.token(
        'ec-other', algorithm='ES256', header={'kid': 'ec'}
    ),
    'alg none': _unsigned,
    'alg HS256 with the public key': _keyed_hash,
    'alg RS512': lambda issuer: issuer.token('rsa', algorithm='RS512'),
    'alg of the same key': _other_header,
    'tampered': _tampered,
    'no signature': lambda issuer: issuer.token().rpartition('.')[0] + '.',
    'oversized': lambda issuer: issuer.token(more='x' * (MAX_TOKEN_CHARS * 3 // 4)),
    'access token': lambda issuer: issuer.token(header={'typ': 'at+jwt'}),
    'logout token': lambda issuer: issuer.token(header={'typ': 'logout+jwt'}),
    'crit': lambda issuer: issuer.token(header={'crit': ['exp'], 'exp': 1}),
    'no map of claims': _not_claims,
    'nothing': lambda issuer: '..',
    'no base64': lambda issuer: '%.%.%',
    'deep': lambda issuer: f'{encoded(b"[" * 2500)}.e30.e30',
}
NOT_ALLOWED: dict[str, dict[str, Any]] = {
    'long sub': {'sub': 'a' * 60},
    'line in sub': {'sub': 'a\nb'},
    'invisible sub': {'sub': 'ann\u200b'},
    'look-alike sub': {'sub': '\u0430nn'},
    'unknown role': {'groups': ['operator', 'admin']},
    'no role': {'groups': None},
    'empty role': {'groups': []},
    'role is a number': {'groups': 1},
    'role is a map': {'groups': {'drivers': True}},
    'role in a list of lists': {'groups': [['drivers']]},
    'role as a part': {'groups': 'drivers bosses'},
    'no tenant': {'org': None},
    'empty tenant': {'org': ''},
    'tenant is a list': {'org': ['yard']},
    'tenant with spaces around': {'org': ' yard'},
    'tenant that is none': {'org': 'a/b'},
    'tenant is true': {'org': True},
}


async def test_single_defects_are_refused(rig: Rig, issuer: Issuer) -> None:
    assert await status_of(rig, issuer.signed_in()) == 200
    for defect, make_token in INVALID.items():
        answer = await rig.get('/sessions', bearer(make_token(issuer)))
        assert (defect, answer.status) == (defect, 401), answer.text
        assert answer.headers['WWW-Authenticate'] == 'Bearer'
    assert await status_of(rig, issuer.signed_in()) == 200


async def test_who_has_no_rights_here_is_told_so(rig: Rig, issuer: Issuer) -> None:
    for defect, changes in NOT_ALLOWED.items():
        answer = await rig.get('/sessions', issuer.signed_in(**changes))
        assert (defect, answer.status) == (defect, 403), answer.text
    assert await status_of(rig, issuer.signed_in()) == 200


async def test_what_is_unusual_but_right_is_let_in(rig: Rig, issuer: Issuer) -> None:
    skewed_s = NOW_S + CLOCK_SKEW_S
    for changes in (
        {'aud': [CLIENT_ID]},
        {'aud': [CLIENT_ID, 'other'], 'azp': CLIENT_ID},
        {'azp': CLIENT_ID},
        {'iat': skewed_s, 'nbf': skewed_s},
        {'exp': NOW_S + 0.5},
        {'sub': 'a' * 59},
        {'sub': 'auth0|a@b, "c" <d>'},
        {'groups': [7, None, 'drivers']},
        {'more': 'x' * (MAX_TOKEN_CHARS // 2)},
    ):
        answer = await rig.get('/sessions', issuer.signed_in(**changes))
        assert (changes, answer.status) == (changes, 200), answer.text


# PyJWT's own, while the test signs.
@pytest.mark.filterwarnings('ignore:The RSA key is 1024 bits long')
@pytest.mark.parametrize(
    ('name', 'members'),
    [
        ('short', {}),
        ('rsa-more', {'use': 'enc'}),
        ('rsa-more', {'alg': 'RS512'}),
        ('rsa-more', {'kty': 'oct', 'k': 'c2VjcmV0'}),
        ('rsa-more', {'n': None}),
        ('rsa-more', {'n': 7}),
        ('rsa-more', {'e': 'AA'}),
    ],
)
async def test_keys_that_are_not_for_this_are_not_used(
    rig: Rig, issuer: Issuer, name: str, members: dict[str, Any]
) -> None:
    issuer.keys = [public_jwk(name, **members), public_jwk('ec'), 'no key', {'kid': 7}]
    for algorithm in ('RS256', 'PS256'):
        wrong = bearer(issuer.token(name, algorithm=algorithm))
        assert await status_of(rig, wrong) == 401
    assert await status_of(rig, issuer.signed_in()) == 200


async def test_a_published_private_key_is_not_used(rig: Rig, issuer: Issuer) -> None:
    private = json.loads(RSAAlgorithm.to_jwk(private_key('rsa')))
    del private['key_ops']
    issuer.keys = [{**private, 'kid': 'rsa'}, public_jwk('ec')]
    assert await status_of(rig, issuer.signed_in('rsa')) == 401
    assert await status_of(rig, issuer.signed_in('ec')) == 200


async def test_guessing_is_slowed_down(tmp_path: Path, issuer: Issuer) -> None:
    async with running(tmp_path / 'state', oidc=issuer.settings()) as rig:
        wrong = issuer.signed_in(aud='other')
        statuses = [await status_of(rig, wrong) for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert await status_of(rig, issuer.signed_in()) == 200
        # The issuer has signed it, so it is not a guess.
        expired = issuer.signed_in(exp=int(NOW_S))
        assert [await status_of(rig, expired) for _ in range(12)] == [401] * 12


async def test_id_tokens_are_not_logged(
    rig: Rig, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('DEBUG')
    good, wrong = issuer.token(), issuer.token(aud='other')
    assert await status_of(rig, bearer(good)) == 200
    assert await status_of(rig, bearer(wrong)) == 401
    for token in (good, wrong):
        assert token not in caplog.text
        assert token.rpartition('.')[2] not in caplog.text


# --- random tokens are refused without errors --------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        'alg': st.sampled_from(['RS256', 'ES256', 'EdDSA', 'HS256', 'none']) | JSON,
        'kid': st.sampled_from(['rsa', 'ec', 'ed']) | JSON,
        'typ': JSON,
        'b64': JSON,
    },
)


async def test_random_tokens_are_refused_and_nothing_else(issuer: Issuer) -> None:
    keys, now_s = IssuerKeys(issuer.url, Clock(1000.0)), Clock(NOW_S)
    tokens = IdTokens(issuer.settings(), keys, now_s)
    await tokens.prepare(issuer.token())
    assert tokens.caller(issuer.token()).sub == 'oidc/ann'

    def refused(token: str) -> None:
        with pytest.raises(ApiError) as caught:
            tokens.caller(token)
        assert caught.value.status in (401, 403)

    quickly = settings(
        max_examples=50,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )

    @quickly
    @given(st.text(max_size=40), HEADERS, st.binary(max_size=20), st.binary(max_size=70))
    def check_unsigned(text: str, header: dict[str, Any], claims: bytes, signature: bytes) -> None:
        refused(text)
        refused(f'{text}.{text}.{text}')
        refused(f'{encoded(header)}.{encoded(claims)}.{encoded(signature)}')

    @quickly
    @given(st.sampled_from(sorted(issuer.claims())), JSON)
    def check_signed(name: str, value: Any) -> None:
        claims = {**issuer.claims(), name: value}
        text = json.dumps(claims).encode()
        signed = jwt.PyJWS().encode(text, private_key('ec'), 'ES256', headers={'kid': 'ec'})
        with suppress(ApiError):
            caller = tokens.caller(signed)
            assert caller.sub.startswith('oidc/')
            assert caller.sub.isprintable()

    check_unsigned()
    check_signed()


# --- the issuer's keys -------------------------------------------------------------------------


async def test_a_new_key_is_fetched_and_an_old_one_goes(rig: Rig, issuer: Issuer) -> None:
    assert await status_of(rig, issuer.signed_in('ec')) == 200
    issuer.keys = [public_jwk('ec-new')]
    new = bearer(issuer.token('ec-new', algorithm='ES256'))
    assert await status_of(rig, new) == 401
    rig.clock.now_s += FETCH_PAUSE_S
    assert await status_of(rig, new) == 200
    assert await status_of(rig, issuer.signed_in('ec')) == 401
    assert issuer.fetches == 2


async def test_a_key_that_was_withdrawn_goes_out_of_use(rig: Rig, issuer: Issuer) -> None:
    assert await status_of(rig, issuer.signed_in('ec')) == 200
    issuer.keys = [public_jwk('rsa')]
    rig.clock.now_s += KEYS_AGE_S - 1.0
    assert await status_of(rig, issuer.signed_in('ec')) == 200
    rig.clock.now_s += 1.0
    assert await status_of(rig, issuer.signed_in('ec')) == 401
    assert issuer.fetches == 2


async def test_while_the_issuer_is_down_its_keys_stay_in_force(
    rig: Rig, served: Server, issuer: Issuer
) -> None:
    assert await status_of(rig, issuer.signed_in('ec')) == 200
    await served.server.close()
    new = bearer(issuer.token('ec-new', algorithm='ES256'))
    for _ in range(3):
        rig.clock.now_s += KEYS_AGE_S
        assert await status_of(rig, issuer.signed_in('ec')) == 200
        assert await status_of(rig, new) == 401
    assert await status_of(rig, rig.operator()) == 200


async def test_an_issuer_that_was_down_at_first_is_asked_again(rig: Rig, issuer: Issuer) -> None:
    issuer.answers[DISCOVERY] = lambda request: web.Response(status=503)
    assert await status_of(rig, issuer.signed_in()) == 401
    issuer.answers.clear()
    assert await status_of(rig, issuer.signed_in()) == 401
    assert issuer.fetches == 1
    rig.clock.now_s += FETCH_PAUSE_S
    assert await status_of(rig, issuer.signed_in()) == 200


async def test_a_flood_of_unknown_keys_is_one_fetch(rig: Rig, issuer: Issuer) -> None:
    unknown = [issuer.signed_in(header={'kid': f'unknown{number}'}) for number in range(60)]
    for expected in (1, 2):
        async with asyncio.TaskGroup() as tasks:
            flood = [tasks.create_task(status_of(rig, headers)) for headers in unknown]
            good = tasks.create_task(status_of(rig, issuer.signed_in()))
        assert {task.result() for task in flood} == {401}
        assert good.result() == 200
        assert issuer.fetches == expected
        rig.clock.now_s += FETCH_PAUSE_S


def _redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={'Location': f'{request.path}2'})


def _discovery(**changes: Any) -> Callable[[web.Request], web.Response]:
    def respond(request: web.Request) -> web.Response:
        base = str(request.url.origin())
        return web.json_response({'issuer': base, 'jwks_uri': f'{base}/keys', **changes})

    return respond


def _keys_beyond_this_machine(request: web.Request) -> web.Response:
    # The target exists, so that a followed redirect would be noticed.
    return _discovery(jwks_uri=f'http://0.0.0.0:{request.url.port}/keys')(request)


def _large(request: web.Request) -> web.Response:
    return web.json_response({'keys': [public_jwk('ec')], 'more': 'x' * MAX_DOCUMENT_BYTES})


def _compressed(request: web.Request) -> web.Response:
    response = web.json_response({'keys': [public_jwk('ec')]})
    response.enable_compression(web.ContentCoding.gzip)
    return response


ISSUER_DEFECTS: dict[str, tuple[str, Callable[[web.Request], web.StreamResponse]]] = {
    'redirecting discovery': (DISCOVERY, _redirect),
    'discovery of another issuer': (DISCOVERY, _discovery(issuer='https://a')),
    'discovery without issuer': (DISCOVERY, _discovery(issuer=None)),
    'discovery is a list': (DISCOVERY, lambda request: web.json_response([])),
    'no jwks_uri': (DISCOVERY, _discovery(jwks_uri=None)),
    'jwks_uri over http': (DISCOVERY, _keys_beyond_this_machine),
    'jwks_uri is a file': (DISCOVERY, _discovery(jwks_uri='file:///etc/passwd')),
    'jwks_uri is none': (DISCOVERY, _discovery(jwks_uri='http://[')),
    'jwks_uri with no port': (DISCOVERY, _discovery(jwks_uri='http://localhost:x')),
    'redirecting keys': ('/keys', _redirect),
    'huge keys': ('/keys', _large),
    'compressed keys': ('/keys', _compressed),
    'keys that are not JSON': ('/keys', lambda request: web.Response(text='<html>')),
    'keys that are not UTF-8': ('/keys', lambda request: web.Response(body=b'"\xff"')),
    'keys that are no list': ('/keys', lambda request: web.json_response({'keys': 'ec'})),
    'no keys': ('/keys', lambda request: web.json_response({})),
    'failing': (
        '/keys',
        lambda request: web.json_response({'keys': [public_jwk('ec')]}, status=500),
    ),
}


@pytest.mark.parametrize('defect', ISSUER_DEFECTS)
async def test_an_issuer_that_misbehaves_lets_nobody_in(
    rig: Rig, issuer: Issuer, defect: str
) -> None:
    path, respond = ISSUER_DEFECTS[defect]
    issuer.answers[path] = respond
    issuer.answers[f'{DISCOVERY}2'] = _discovery()
    issuer.answers['/keys2'] = lambda request: web.json_response({'keys': issuer.keys})
    assert await status_of(rig, issuer.signed_in()) == 401
    assert issuer.requests == [DISCOVERY, '/keys'][: 1 + (path == '/keys')]
    # The same issuer, without the defect.
    issuer.answers.clear()
    rig.clock.now_s += FETCH_PAUSE_S
    assert await status_of(rig, issuer.signed_in()) == 200


async def test_a_slow_issuer_is_given_up_and_holds_up_nobody_whose_key_is_there() -> None:
    reached, go_on, slow = asyncio.Event(), asyncio.Event(), False

    async def answer(request: web.Request) -> web.StreamResponse:
        if slow:
            reached.set()
            await go_on.wait()
        return await issuer.answer(request)

    issuer, clock = Issuer(Clock(NOW_S)), Clock(1000.0)
    app = web.Application()
    app.router.add_get('/{path:.*}', answer)
    async with TestServer(app, host='127.0.0.1') as server, asyncio.timeout(WAIT_S):
        issuer.url = f'http://127.0.0.1:{server.port}'
        keys = IssuerKeys(issuer.url, clock, timeout_s=5.0)
        await keys.look_for('ec')
        slow = True
        clock.now_s += KEYS_AGE_S
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(keys.look_for('ec'))
            await reached.wait()
            await keys.look_for('rsa')
            assert not first.done()
            go_on.set()
        go_on.clear()
        impatient = IssuerKeys(issuer.url, clock, timeout_s=0.1)
        await impatient.look_for('ec')
        assert impatient.get('ec') is None
        go_on.set()


# --- the end of a token ------------------------------------------------------------------------


async def test_an_operator_is_removed_when_their_token_ends(rig: Rig, issuer: Issuer) -> None:
    session = await rig.dial(rig.robot('yard'))
    ann, guest = issuer.signed_in(), issuer.signed_in(sub='guest', groups='guests')
    assert (await rig.join(session, ann)).status == 200
    assert (await rig.join(session, guest, role='viewer')).status == 200
    rig.wall.now_s += 299.0
    await rig.broker.sweep()
    row = (await rig.get(f'/sessions/{session}/status', ann)).body
    assert (row['operator_id'], row['viewers']) == ('oidc/ann', 1)
    rig.wall.now_s += 1.0
    await rig.broker.sweep()
    row = (await rig.get('/sessions', rig.operator('yard'))).body[0]
    assert (row['operator_id'], row['viewers'], row['state']) == (None, 0, 'idle')
    assert (await rig.post(f'/sessions/{session}/op-heartbeat', ann, {})).status == 401
    assert len(rig.media.sessions) == 1  # the robot's


async def test_who_comes_with_a_newer_token_stays(rig: Rig, issuer: Issuer) -> None:
    session = await rig.dial(rig.robot('yard'))
    heartbeat = f'/sessions/{session}/op-heartbeat'
    guest = {'sub': 'guest', 'groups': 'guests'}
    old, old_guest = issuer.signed_in(), issuer.signed_in(**guest)
    assert (await rig.join(session, old)).status == 200
    assert (await rig.join(session, old_guest, role='viewer')).status == 200
    later = NOW_S + 900
    new, new_guest = issuer.signed_in(exp=later), issuer.signed_in(exp=later, **guest)
    for headers in (new, new_guest, old, old_guest):
        assert (await rig.post(heartbeat, headers, {})).status == 200
    for now_s, operator, viewers in ((later - 1, 'oidc/ann', 1), (later, None, 0)):
        rig.wall.now_s = now_s
        await rig.broker.sweep()
        row = (await rig.get('/sessions', rig.operator('yard'))).body[0]
        assert (row['operator_id'], row['viewers']) == (operator, viewers)


@pytest.mark.parametrize('changes', [{'sub': 'bob'}, {'groups': 'guests'}, {'groups': 'bosses'}])
async def test_nothing_but_the_same_person_renews_a_drivers_token(
    rig: Rig, issuer: Issuer, changes: dict[str, str]
) -> None:
    session = await rig.dial(rig.robot('yard'))
    assert (await rig.join(session, issuer.signed_in())).status == 200
    other = issuer.signed_in(exp=NOW_S + 900, **changes)
    await rig.post(f'/sessions/{session}/op-heartbeat', other, {})
    rig.wall.now_s += 300.0
    await rig.broker.sweep()
    assert (await rig.get('/sessions', rig.operator('yard'))).body[0]['operator_id'] is None


async def test_our_own_tokens_are_not_exchanged_for_each_other(rig: Rig) -> None:
    session = await rig.dial(rig.robot('yard'))
    first, second = rig.operator('bob', tenant='yard'), rig.operator('bob', tenant='yard')
    joined = (await rig.join(session, first)).body
    heartbeat = f'/sessions/{session}/op-heartbeat'
    assert (await rig.post(heartbeat, second, {})).status == 403
    me = {'cf_session_id': joined['cf_session_id']}
    assert (await rig.post(heartbeat, second, me)).status == 200
    secret = first['Authorization'].removeprefix('Bearer ')
    root = rig.operator('root', Role.ADMIN)
    token_id = rig.store.token_record(secret).token_id
    assert (await rig.call('DELETE', f'/operators/{token_id}', root)).status == 204
    assert (await rig.get('/sessions', second)).body[0]['operator_id'] is None


# --- the program -------------------------------------------------------------------------------


def _config(folder: Path, issuer: str) -> str:
    path = folder / 'broker.yaml'
    settings = {
        'issuer': issuer,
        'client_id': 'teleop',
        'tenant': 'owner',
        'role_claim': 'groups',
        'roles': {'drivers': 'operator'},
    }
    path.write_text(json.dumps({'oidc': settings}))
    return str(path)


def _without_pyjwt(packages: Path) -> None:
    """Make a folder with all installed packages except PyJWT."""
    packages.mkdir()
    for folder in sys.path:
        if folder.endswith('-packages') and Path(folder).is_dir():
            for entry in Path(folder).iterdir():
                link = packages / entry.name
                if not entry.name.lower().startswith(('jwt', 'pyjwt')) and not link.exists():
                    link.symlink_to(entry)


@pytest.mark.real_programs
async def test_a_missing_library_is_one_line_and_status_2(tmp_path: Path) -> None:
    packages = tmp_path / 'packages'
    _without_pyjwt(packages)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, '-S', str(PROGRAM), '--port', '0'),
        *('--state-dir', str(tmp_path / 'state'), '--config', _config(tmp_path, 'https://a')),
        env={**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{packages}'},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate()
    assert (process.returncode, out) == (2, b''), err.decode()
    assert err.startswith(b"teleop_broker: PyJWT: 'not installed' ")
    assert err.count(b'\n') == 1
