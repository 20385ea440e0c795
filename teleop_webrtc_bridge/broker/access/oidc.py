"""
Operators that another party vouches for: id tokens of an OpenID Connect issuer.

Needs PyJWT, which is installed for this alone; nothing else imports this module.
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

import base64
import binascii
from collections.abc import Callable
import math
from typing import Any, Final

import jwt

from teleop_webrtc_bridge.broker.access.issuer_keys import IssuerKeys
from teleop_webrtc_bridge.broker.configuration import OidcSettings
from teleop_webrtc_bridge.broker.errors import ApiError, NoGuess
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role
from teleop_webrtc_bridge.broker.names import as_name, MAX_CHARS
from teleop_webrtc_bridge.core.codec import parse_json_object
from teleop_webrtc_bridge.core.exceptions import ProtocolError

__all__ = ['IdTokens']

SUB_PREFIX: Final = 'oidc/'
"""Names of our own have no slash, so nobody of the issuer is taken for one of ours."""
MAX_TOKEN_CHARS: Final = 4096
CLOCK_SKEW_S: Final = 60.0
"""How far the issuer's clock may be ahead; the end of a token is not put off by it."""
ALGORITHMS: Final = {
    'RS256': ('RSA', None),
    'PS256': ('RSA', None),
    'ES256': ('EC', 'P-256'),
    'EdDSA': ('OKP', 'Ed25519'),
}
"""Signature → type and curve of its key; with public keys only, a key is no shared secret."""
RSA_BITS: Final = (2048, 8192)
"""Shorter ones can be broken, longer ones take long to check."""
RANKS: Final = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
"""The highest first."""


class IdTokens:
    """
    Tells operators by the id tokens of one issuer.

    :param wall_clock: Seconds since 1970.
    """

    def __init__(
        self, settings: OidcSettings, keys: IssuerKeys, wall_clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._wall_clock = wall_clock

    async def prepare(self, token: str) -> None:
        """Have the key at hand that a token claims to be signed with, if there is such a key."""
        try:
            _, key_id = _header(token)
        except ApiError:
            return  # said by caller(), if it matters
        await self._keys.look_for(key_id)

    def caller(self, token: str) -> OperatorCaller:
        """
        Return whom a token belongs to.

        :raises ApiError: 401 if it is not valid, 403 if it does not allow anything here.
        """
        claims = self._signed(token)
        expires_at_s = self._check(claims)
        return OperatorCaller(
            sub=_sub(claims),
            role=self._role(claims),
            tenant_name=self._tenant(claims),
            expires_at_s=expires_at_s,
        )

    # --- is it true: 401 -----------------------------------------------------------------------

    def _signed(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that the issuer has signed."""
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
        Make sure that a token is the issuer's, for us, and good now.

        :returns: When it ends, in seconds since 1970.
        """
        if claims.get('iss') != self._settings.issuer:
            raise _invalid('it is of another issuer')
        audience = claims.get('aud')
        audiences = audience if isinstance(audience, list) else [audience]
        client_id = self._settings.client_id
        # With several audiences, another one may be whom it was made for.
        made_for = claims.get('azp', client_id if len(audiences) == 1 else None)
        if client_id not in audiences or made_for != client_id:
            raise _invalid('it is for another audience')
        now_s = self._wall_clock()
        expires_at_s = _seconds(claims, 'exp')
        if expires_at_s <= now_s:
            # The issuer has signed it, so nobody has guessed it.
            raise NoGuess(401, 'The id token is not accepted: it has expired')
        starts = ('iat', 'nbf') if 'nbf' in claims else ('iat',)
        if max(_seconds(claims, name) for name in starts) > now_s + CLOCK_SKEW_S:
            raise _invalid('it is not valid yet')
        return expires_at_s

    # --- what it allows: 403 -------------------------------------------------------------------

    def _tenant(self, claims: dict[str, Any]) -> str:
        if self._settings.tenant_claim is None:
            assert self._settings.tenant is not None
            return self._settings.tenant
        tenant = claims.get(self._settings.tenant_claim)
        # Not one that has to be put right first: it decides whose robots are his.
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
        raise ApiError(403, 'The id token names no role that is known here')


def _invalid(why: str) -> ApiError:
    return ApiError(401, f'The id token is not accepted: {why}')


def _header(token: str) -> tuple[str, str]:
    """
    Read what a token says about its signature: nothing of it is certain.

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
        raise _invalid('it is no id token')
    return algorithm, key_id


def _public_key(key: dict[str, Any], algorithm: str) -> Any:
    """
    Return a key that may check signatures of an algorithm.

    :raises ValueError: It may not.
    :raises jwt.PyJWTError: It is no key.
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
    # ASCII, as the standard has it: what looks the same is the same.
    name = SUB_PREFIX + sub
    if len(name) > MAX_CHARS or not name.isascii() or not name.isprintable():
        most = MAX_CHARS - len(SUB_PREFIX)
        raise ApiError(403, f'sub: at most {most} printable ASCII characters are accepted')
    return name
