"""An OpenID Connect issuer that serves HTTP and can be made to misbehave."""

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

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
import json
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
import jwt
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from teleop_webrtc_bridge.broker.configuration import OidcSettings
from teleop_webrtc_bridge.broker.identity import Role

__all__ = ['CLIENT_ID', 'Issuer', 'issuing', 'private_key', 'public_jwk']

CLIENT_ID = 'teleop'
ALGORITHMS = {'rsa': 'RS256', 'pss': 'PS256', 'ec': 'ES256', 'ed': 'EdDSA'}
"""Initial key → the algorithm that it signs with."""
DISCOVERY = '/.well-known/openid-configuration'

Respond = Callable[[web.Request], web.StreamResponse]


@cache
def private_key(name: str) -> Any:
    """Return the key with a name; the name begins with the kind of key."""
    if name.startswith('ec'):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith('ed'):
        return ed25519.Ed25519PrivateKey.generate()
    bits = 1024 if name.startswith('short') else 2048
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def public_jwk(name: str, **members: Any) -> dict[str, Any]:
    """Return the public part of a key, as an issuer publishes it."""
    key = private_key(name).public_key()
    kind: Any = RSAAlgorithm
    if name.startswith('ec'):
        kind = ECAlgorithm
    elif name.startswith('ed'):
        kind = OKPAlgorithm
    jwk = json.loads(kind.to_jwk(key))
    # Some versions add it; it would restrict the key to one use.
    jwk.pop('key_ops', None)
    return {**jwk, 'kid': name, 'use': 'sig', **members}


class Issuer:
    """Issues tokens and publishes its keys."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self.url = ''
        self.keys = [public_jwk(name) for name in ALGORITHMS]
        self.requests: list[str] = []
        self.answers: dict[str, Respond] = {}
        """Path → the response to send instead."""

    def settings(self, **changes: Any) -> OidcSettings:
        """Return the settings of a broker that accepts its tokens."""
        values: dict[str, Any] = {
            'issuer': self.url,
            'client_id': CLIENT_ID,
            'tenant': None,
            'tenant_claim': 'org',
            'role_claim': 'groups',
            'roles': {'drivers': Role.OPERATOR, 'guests': Role.VIEWER, 'bosses': Role.ADMIN},
        }
        return OidcSettings(**{**values, **changes})

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return valid claims; ``None`` omits one."""
        now_s = int(self._wall_clock())
        claims: dict[str, Any] = {
            'iss': self.url,
            'aud': CLIENT_ID,
            'sub': 'ann',
            'iat': now_s,
            'exp': now_s + 300,
            'org': 'yard',
            'groups': ['staff', 'drivers'],
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def token(
        self,
        key: str = 'ec',
        *,
        algorithm: str | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Return a signed token."""
        algorithm = algorithm or ALGORITHMS[key]
        return jwt.encode(
            self.claims(**changes),
            private_key(key),
            algorithm=algorithm,
            headers={'kid': key, **(header or {})},
        )

    def signed_in(self, key: str = 'ec', **changes: Any) -> dict[str, str]:
        """Return the headers of an operator."""
        return {'Authorization': f'Bearer {self.token(key, **changes)}'}

    @property
    def fetches(self) -> int:
        """How many requests for its keys were started."""
        return self.requests.count(DISCOVERY)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if request.path in self.answers:
            return self.answers[request.path](request)
        if request.path == DISCOVERY:
            return web.json_response({'issuer': self.url, 'jwks_uri': f'{self.url}/keys'})
        if request.path == '/keys':
            return web.json_response({'keys': self.keys})
        raise web.HTTPNotFound


@asynccontextmanager
async def issuing(wall_clock: Callable[[], float]) -> AsyncIterator[tuple[Issuer, TestServer]]:
    """Run an issuer while the context is open."""
    issuer = Issuer(wall_clock)
    app = web.Application()
    app.router.add_get('/{path:.*}', issuer.answer)
    async with TestServer(app, host='127.0.0.1') as server:
        issuer.url = f'http://127.0.0.1:{server.port}'
        yield issuer, server
