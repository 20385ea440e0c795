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

"""Who is calling: the secrets in a request's headers, looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller
from teleop_webrtc_bridge.broker.store import OPERATOR_TOKEN_PREFIX, Store

__all__ = ['Authenticator', 'IssuedTokens']


class IssuedTokens(Protocol):
    """What another issuer's tokens say; see :mod:`~teleop_webrtc_bridge.broker.oidc`."""

    async def prepare(self, token: str) -> None:
        """Fetch what is needed to check a token."""

    def caller(self, token: str) -> OperatorCaller:
        """
        Return whom a token belongs to.

        :raises ApiError: 401, 403.
        """


class Authenticator:
    """
    Tells callers by their headers; case-insensitive mappings such as aiohttp's are expected.

    :param wall_clock: Seconds since 1970, for tokens that expire.
    :param issued: Accepts the tokens of another issuer beside our own; ``None``: there is none.
    """

    def __init__(
        self,
        store: Store,
        wall_clock: Callable[[], float],
        issued: IssuedTokens | None = None,
    ) -> None:
        self._store = store
        self._wall_clock = wall_clock
        self._issued = issued

    async def prepare(self, headers: Mapping[str, str]) -> None:
        """Fetch what :meth:`operator` and :meth:`anyone`, which cannot wait, will need."""
        token = _bearer_token(headers)
        if self._issued is not None and _is_issued(token):
            await self._issued.prepare(token)

    def keys_in_force(self) -> set[str]:
        """Return the ids of the API keys that work now."""
        return self._store.keys_in_force()

    def revoked(self) -> Callable[[OperatorCaller], bool]:
        """Return what tells whether an operator's token has been revoked or has expired."""
        now_s = self._wall_clock()
        in_force = self._store.tokens_in_force(now_s)

        def is_revoked(caller: OperatorCaller) -> bool:
            if caller.token_id is not None:
                return caller.token_id not in in_force
            return caller.expires_at_s is not None and caller.expires_at_s <= now_s

        return is_revoked

    def robot(self, headers: Mapping[str, str]) -> RobotCaller:
        """
        Return the robot that calls.

        :raises ApiError: 401.
        """
        caller = self._robot(headers)
        if caller is None:
            raise ApiError(401, 'Unknown, missing or revoked robot API key')
        return caller

    def operator(self, headers: Mapping[str, str]) -> OperatorCaller:
        """
        Return the operator that calls.

        :raises ApiError: 401; 403 for an issuer's token that allows nothing here.
        """
        caller = self._operator(headers)
        if caller is None:
            raise ApiError(401, 'Unknown, missing or expired operator token')
        return caller

    def anyone(self, headers: Mapping[str, str]) -> RobotCaller | OperatorCaller:
        """
        Return the robot or the operator that calls.

        :raises ApiError: 401; 403 for an issuer's token that allows nothing here.
        """
        caller = self._robot(headers) or self._operator(headers)
        if caller is None:
            raise ApiError(401, 'A robot API key or an operator token is needed')
        return caller

    def _robot(self, headers: Mapping[str, str]) -> RobotCaller | None:
        api_key = headers.get('X-Robot-API-Key')
        return self._store.robot_of(api_key) if api_key else None

    def _operator(self, headers: Mapping[str, str]) -> OperatorCaller | None:
        token = _bearer_token(headers)
        if self._issued is not None and _is_issued(token):
            return self._issued.caller(token)
        return self._store.operator_of(token, self._wall_clock()) if token else None


def _bearer_token(headers: Mapping[str, str]) -> str:
    """Return the token that was sent, or an empty text."""
    scheme, _, token = headers.get('Authorization', '').partition(' ')
    return token.strip() if scheme.lower() == 'bearer' else ''


def _is_issued(token: str) -> bool:
    """Return whether a token looks like a signed one of another issuer, not like our own."""
    return token.count('.') == 2 and not token.startswith(OPERATOR_TOKEN_PREFIX)
