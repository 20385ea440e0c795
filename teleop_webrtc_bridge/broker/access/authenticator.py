"""Who is calling: the secrets in a request's headers, looked up."""

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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from teleop_webrtc_bridge.broker.access.credentials import Credentials
from teleop_webrtc_bridge.broker.access.database import DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.store import OPERATOR_TOKEN_PREFIX
from teleop_webrtc_bridge.broker.errors import ApiError, NoGuess
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller

__all__ = ['Authenticator', 'IssuedTokens', 'SignIn']


class IssuedTokens(Protocol):
    """What another issuer's tokens say; see :mod:`~teleop_webrtc_bridge.broker.access.oidc`."""

    async def prepare(self, token: str) -> None:
        """Fetch what is needed to check a token."""

    def caller(self, token: str) -> OperatorCaller:
        """
        Return whom a token belongs to.

        :raises ApiError: 401, 403.
        """


def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Who calls, according to the headers of one request; by default nobody."""

    find_robot: Callable[[], RobotCaller | None] = _nobody
    """Raises what is the matter with a key; ``None``: it is unknown, or there is none."""
    find_operator: Callable[[], OperatorCaller | None] = _nobody

    def robot(self) -> RobotCaller:
        """
        Return the robot that calls.

        :raises ApiError: 401; 503 while the database fails.
        """
        caller = self.find_robot()
        if caller is None:
            raise ApiError(401, 'Unknown, missing or revoked robot API key')
        return caller

    def operator(self) -> OperatorCaller:
        """
        Return the operator that calls.

        :raises ApiError: 401; 403 for an issuer's token that allows nothing here; 503 while the
            database fails.
        """
        caller = self.find_operator()
        if caller is None:
            raise ApiError(401, 'Unknown, missing or expired operator token')
        return caller

    def anyone(self) -> RobotCaller | OperatorCaller:
        """
        Return the robot or the operator that calls.

        :raises ApiError: 401; 403 for an issuer's token that allows nothing here; 503 while the
            database fails.
        """
        try:
            robot = self.find_robot()
        except NoGuess:
            operator = self.find_operator()
            if operator is None:
                raise
            return operator
        caller = robot or self.find_operator()
        if caller is None:
            raise ApiError(401, 'A robot API key or an operator token is needed')
        return caller


class Authenticator:
    """
    Tells callers by their headers; case-insensitive mappings such as aiohttp's are expected.

    :param issued: Accepts the tokens of another issuer beside our own; ``None``: there is none.
    """

    def __init__(self, credentials: Credentials, issued: IssuedTokens | None = None) -> None:
        self._credentials = credentials
        self._issued = issued

    async def prepare(self, headers: Mapping[str, str]) -> SignIn:
        """Look up who calls. What is wrong with it is said only if somebody wants to know."""
        api_key, token = headers.get('X-Robot-API-Key', ''), _bearer_token(headers)
        find_robot = await self._find_robot(api_key) if api_key else _nobody
        issued = self._issued
        if issued is not None and _is_issued(token):
            await issued.prepare(token)
            return SignIn(find_robot=find_robot, find_operator=lambda: issued.caller(token))
        find_operator = await self._find_operator(token) if token else _nobody
        return SignIn(find_robot=find_robot, find_operator=find_operator)

    async def _find_robot(self, api_key: str) -> Callable[[], RobotCaller | None]:
        try:
            known = await self._credentials.robot(api_key)
        except DatabaseUnavailable as error:
            return _raising(_unavailable(error))
        if known is None:
            return _nobody
        caller = known.caller
        assert isinstance(caller, RobotCaller)
        if known.is_revoked:
            return _raising(NoGuess(401, 'This robot API key has been revoked'))
        return lambda: caller

    async def _find_operator(self, token: str) -> Callable[[], OperatorCaller | None]:
        try:
            known = await self._credentials.operator(token)
        except DatabaseUnavailable as error:
            return _raising(_unavailable(error))
        if known is None:
            return _nobody
        caller = known.caller
        assert isinstance(caller, OperatorCaller)
        if known.is_revoked:
            return _raising(NoGuess(401, 'This operator token has been revoked'))
        if self._credentials.has_expired(caller):
            return _raising(NoGuess(401, 'This operator token has expired'))
        return lambda: caller


def _unavailable(error: DatabaseUnavailable) -> NoGuess:
    return NoGuess(503, str(error), retry_after_s=error.retry_after_s)


def _raising(error: NoGuess) -> Callable[[], None]:
    def find() -> None:
        raise error

    return find


def _bearer_token(headers: Mapping[str, str]) -> str:
    """Return the token that was sent, or an empty text."""
    scheme, _, token = headers.get('Authorization', '').partition(' ')
    return token.strip() if scheme.lower() == 'bearer' else ''


def _is_issued(token: str) -> bool:
    """Return whether a token looks like a signed one of another issuer, not like our own."""
    return token.count('.') == 2 and not token.startswith(OPERATOR_TOKEN_PREFIX)
