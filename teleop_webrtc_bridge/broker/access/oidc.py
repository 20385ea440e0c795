"""
OpenID Connect: operators who sign in with an issuer's id tokens.

Needs PyJWT, which is an optional dependency: import this module only if an issuer is configured.
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

import asyncio
import base64
import binascii
from collections.abc import Callable
import logging
import math
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt

from teleop_webrtc_bridge.broker.configuration import is_loopback_host, OidcSettings
from teleop_webrtc_bridge.broker.errors import ApiError, NoGuess
from teleop_webrtc_bridge.broker.identity import as_name, MAX_CHARS, OperatorCaller, Role
from teleop_webrtc_bridge.core.codec import parse_json_object
from teleop_webrtc_bridge.core.exceptions import ProtocolError

__all__ = ['IdTokens', 'IssuerKeys']

FETCH_TIMEOUT_S: Final = 5.0
"""Time-out for both documents together, discovery and keys."""
MAX_DOCUMENT_BYTES: Final = 256 * 1024
FETCH_PAUSE_S: Final = 30.0
"""The shortest time between two fetches, whatever callers send."""
KEYS_AGE_S: Final = 600.0
"""Older keys are fetched again, so that we stop using keys that the issuer has withdrawn."""
SUB_PREFIX: Final = 'oidc/'
"""Our own names have no slash, so an issuer's user cannot pass for one of ours."""
MAX_TOKEN_CHARS: Final = 4096
CLOCK_SKEW_S: Final = 60.0
"""How far the issuer's clock may be ahead of ours; it does not extend a token's life."""
ALGORITHMS: Final = {
    'RS256': ('RSA', None),
    'PS256': ('RSA', None),
    'ES256': ('EC', 'P-256'),
    'EdDSA': ('OKP', 'Ed25519'),
}
"""Algorithm → type and curve of its key. Algorithms with a shared secret are not accepted."""
RSA_BITS: Final = (2048, 8192)
"""Shorter keys can be broken, longer ones are slow to check."""
RANKS: Final = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
"""The highest first."""


_log = logging.getLogger(__name__)


class IssuerKeys:
    """
    The public keys of an issuer: fetched when needed, and cached.

    The first fetch happens when the first token arrives. While the issuer cannot be reached, the
    cached keys stay valid.

    :param issuer: Its address, exactly as in the ``iss`` claim of its tokens.
    :param clock: Monotonic seconds.
    :param timeout_s: How long one fetch may take.
    """

    def __init__(
        self, issuer: str, clock: Callable[[], float], *, timeout_s: float = FETCH_TIMEOUT_S
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._timeout_s = timeout_s
        self._keys: dict[str, dict[str, Any]] = {}
        self._fetched_at_s = float('-inf')
        self._asked_at_s = float('-inf')
        self._asking = asyncio.Lock()

    def get(self, key_id: str) -> dict[str, Any] | None:
        """Return a key by its name: a JSON Web Key that is not yet validated."""
        return self._keys.get(key_id)

    async def look_for(self, key_id: str) -> None:
        """Fetch the keys, unless the key is cached and fresh or the last fetch was just now."""
        # While one request fetches fresher keys, others do not wait if theirs is cached.
        if key_id in self._keys and (self._are_fresh() or self._asking.locked()):
            return
        async with self._asking:
            if key_id in self._keys and self._are_fresh():
                return
            if self._clock() - self._asked_at_s < FETCH_PAUSE_S:
                return
            self._asked_at_s = self._clock()
            try:
                self._keys = await self._fetch()
            except (aiohttp.ClientError, OSError, ValueError, ProtocolError) as error:
                # A timeout is an OSError, a malformed address a ValueError.
                _log.warning('event=issuer_keys_failed issuer=%s error=%r', self._issuer, error)
            else:
                self._fetched_at_s = self._clock()
                _log.info('event=issuer_keys issuer=%s count=%d', self._issuer, len(self._keys))

    def _are_fresh(self) -> bool:
        return self._clock() - self._fetched_at_s < KEYS_AGE_S

    async def _fetch(self) -> dict[str, dict[str, Any]]:
        # A new client each time: this happens a few times an hour.
        async with asyncio.timeout(self._timeout_s), _client() as http:
            base = self._issuer.rstrip('/')
            discovery = await _get(http, f'{base}/.well-known/openid-configuration')
            if discovery.get('issuer') != self._issuer:
                raise ProtocolError('the discovery document names another issuer')
            address = discovery.get('jwks_uri')
            if not isinstance(address, str) or not self._may_be_asked(address):
                raise ProtocolError('jwks_uri: not an https address')
            listed = (await _get(http, address)).get('keys')
        if not isinstance(listed, list):
            raise ProtocolError('keys: not a list')
        keys: dict[str, dict[str, Any]] = {}
        for key in listed:
            if isinstance(key, dict) and isinstance(key.get('kid'), str):
                keys.setdefault(key['kid'], key)
        return keys

    def _may_be_asked(self, address: str) -> bool:
        """Return whether responses from an address cannot be tampered with on the way."""
        parts = urlsplit(address)
        if parts.scheme == 'https':
            return True
        # Plain http only if the issuer, too, is on this machine.
        own = urlsplit(self._issuer)
        return parts.scheme == own.scheme == 'http' and is_loopback_host(parts.hostname or '')


def _client() -> aiohttp.ClientSession:
    # No compression: a small response could become a large one.
    return aiohttp.ClientSession(
        auto_decompress=False,
        headers={'Accept': 'application/json', 'Accept-Encoding': 'identity'},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _get(http: aiohttp.ClientSession, address: str) -> dict[str, Any]:
    async with http.get(address, allow_redirects=False) as response:
        if response.status != 200:
            raise ProtocolError(f'status {response.status}')
        data = bytearray()
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > MAX_DOCUMENT_BYTES:
                raise ProtocolError(f'more than {MAX_DOCUMENT_BYTES} bytes')
    return parse_json_object(bytes(data), max_bytes=MAX_DOCUMENT_BYTES)


class IdTokens:
    """
    Identifies operators by the id tokens of one issuer.

    :param wall_clock: Seconds since 1970.
    """

    def __init__(
        self, settings: OidcSettings, keys: IssuerKeys, wall_clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._wall_clock = wall_clock

    async def prepare(self, token: str) -> None:
        """Fetch the key with which a token claims to be signed, if there is such a key."""
        try:
            _, key_id = _header(token)
        except ApiError:
            return  # caller() raises it again, if it matters
        await self._keys.look_for(key_id)

    def caller(self, token: str) -> OperatorCaller:
        """
        Return the person to whom a token belongs.

        :raises ApiError: 401 if it is not valid, 403 if it grants nothing here.
        """
        claims = self._signed(token)
        expires_at_s = self._check(claims)
        return OperatorCaller(
            sub=_sub(claims),
            role=self._role(claims),
            tenant_name=self._tenant(claims),
            expires_at_s=expires_at_s,
        )

    # --- validity: 401 -------------------------------------------------------------------------

    def _signed(self, token: str) -> dict[str, Any]:
        """Return the claims of a token after checking its signature."""
        algorithm, key_id = _header(token)
        key = self._keys.get(key_id)
        if key is None:
            raise _invalid('its key is unknown')
        try:
            signed = jwt.PyJWS(algorithms=[algorithm]).decode_complete(
                token, _public_key(key, algorithm), algorithms=[algorithm]
            )
            return parse_json_object(signed['payload'], max_bytes=MAX_TOKEN_CHARS)
        except (jwt.PyJWTError, ProtocolError, TypeError, ValueError) as error:
            raise _invalid('it cannot be read, or its signature is wrong') from error

    def _check(self, claims: dict[str, Any]) -> float:
        """
        Check that a token is the issuer's, intended for us, and valid now.

        :returns: When it expires, in seconds since 1970.
        """
        if claims.get('iss') != self._settings.issuer:
            raise _invalid('it comes from another issuer')
        audience = claims.get('aud')
        audiences = audience if isinstance(audience, list) else [audience]
        client_id = self._settings.client_id
        # With several audiences, the token may have been issued to another one.
        made_for = claims.get('azp', client_id if len(audiences) == 1 else None)
        if client_id not in audiences or made_for != client_id:
            raise _invalid('it is for another audience')
        now_s = self._wall_clock()
        expires_at_s = _seconds(claims, 'exp')
        if expires_at_s <= now_s:
            # Not a guess: the issuer has signed it.
            raise NoGuess(401, 'The id token is not accepted: it has expired')
        starts = ('iat', 'nbf') if 'nbf' in claims else ('iat',)
        if max(_seconds(claims, name) for name in starts) > now_s + CLOCK_SKEW_S:
            raise _invalid('it is not valid yet')
        return expires_at_s

    # --- permissions: 403 ----------------------------------------------------------------------

    def _tenant(self, claims: dict[str, Any]) -> str:
        if self._settings.tenant_claim is None:
            assert self._settings.tenant is not None
            return self._settings.tenant
        tenant = claims.get(self._settings.tenant_claim)
        # It must be a valid name as it is: it decides whose robots this person may access.
        if not isinstance(tenant, str) or as_name(tenant) != tenant:
            raise ApiError(403, 'The id token names no tenant')
        return tenant

    def _role(self, claims: dict[str, Any]) -> Role:
        named = claims.get(self._settings.role_claim)
        values = named if isinstance(named, list) else [named]
        roles = {self._settings.roles.get(value) for value in values if isinstance(value, str)}
        for role in RANKS:
            if role in roles:
                return role
        raise ApiError(403, 'The id token names no role that is configured here')


def _invalid(why: str) -> ApiError:
    return ApiError(401, f'The id token is not accepted: {why}')


def _header(token: str) -> tuple[str, str]:
    """
    Read a token's header, which is not authenticated yet.

    :returns: The algorithm, and the name of the key.
    """
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise _invalid(f'only ASCII, at most {MAX_TOKEN_CHARS} characters, is read')
    encoded = token.partition('.')[0]
    try:
        data = base64.urlsafe_b64decode(encoded + '=' * (-len(encoded) % 4))
        header = parse_json_object(data, max_bytes=MAX_TOKEN_CHARS)
    except (binascii.Error, ProtocolError) as error:
        raise _invalid('it cannot be read') from error
    algorithm, key_id, kind = header.get('alg'), header.get('kid'), header.get('typ', 'JWT')
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _invalid(f'alg: {", ".join(ALGORITHMS)} are accepted')
    if not isinstance(key_id, str):
        raise _invalid('kid: the name of a key is needed')
    # Issuers sign other things too, such as access and logout tokens.
    if not isinstance(kind, str) or kind.upper() != 'JWT' or 'crit' in header:
        raise _invalid('it is not an id token')
    return algorithm, key_id


def _public_key(key: dict[str, Any], algorithm: str) -> Any:
    """
    Return a key for checking signatures of an algorithm.

    :raises ValueError: The key is not meant for that.
    :raises jwt.PyJWTError: It is malformed.
    """
    if (key.get('kty'), key.get('crv')) != ALGORITHMS[algorithm] or 'd' in key:
        raise ValueError('a key of another type')
    if key.get('alg', algorithm) != algorithm or key.get('use', 'sig') != 'sig':
        raise ValueError('a key for another purpose')
    public = jwt.PyJWK(key, algorithm).key
    if key['kty'] == 'RSA' and not RSA_BITS[0] <= public.key_size <= RSA_BITS[1]:
        raise ValueError(f'an RSA key of {public.key_size} bits')
    return public


def _seconds(claims: dict[str, Any], name: str) -> float:
    """Read a time, in seconds since 1970."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f'{name}: a number is needed')
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise _invalid(f'{name}: a number is needed')
    return seconds


def _sub(claims: dict[str, Any]) -> str:
    sub = claims.get('sub')
    if not isinstance(sub, str) or not sub:
        raise _invalid('sub: a name is needed')
    # ASCII, as the standard demands: names that look the same are the same.
    name = SUB_PREFIX + sub
    if len(name) > MAX_CHARS or not name.isascii() or not name.isprintable():
        most = MAX_CHARS - len(SUB_PREFIX)
        raise ApiError(403, f'sub: at most {most} printable ASCII characters are accepted')
    return name
