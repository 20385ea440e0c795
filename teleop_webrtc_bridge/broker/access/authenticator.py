"""
Authentication: identifies callers by the secrets in the headers of their requests.

Keys and tokens in use are cached, so most requests do not wait for the database. An unknown key or
token is looked up once, even if several requests present it at the same time. Twice a second,
:meth:`Credentials.ended` checks whether the database has changed. Only then does it query all keys
and tokens in use; the cost does not depend on the number of others.
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
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
import re
from typing import Any, Final, Protocol

from teleop_webrtc_bridge.broker.access.database import Database, DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.store import (
    API_KEY_PREFIX,
    hash_of,
    Known,
    OPERATOR_TOKEN_PREFIX,
    SECRET_BYTES,
    Store,
)
from teleop_webrtc_bridge.broker.errors import ApiError, NoGuess
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller

__all__ = [
    'Authenticator',
    'CredentialIds',
    'Credentials',
    'IssuedTokens',
    'KeyUsage',
    'SignIn',
]

MAX_IN_USE: Final = 4096
"""Size of the cache; beyond it, the least recently used entry is dropped."""
MAX_LOOKUPS: Final = 256
"""Simultaneous look-ups. Only an attacker who guesses secrets causes so many."""
USAGE_PERIOD_S: Final = 60.0
"""Robots present their keys every second. A broker that is killed loses this much."""
USAGE_FLUSH_TIMEOUT_S: Final = 0.3

_SECRET: Final = rf'[0-9a-f]{{{2 * SECRET_BYTES}}}'
_API_KEY: Final = re.compile(API_KEY_PREFIX + _SECRET)
_OPERATOR_TOKEN: Final = re.compile(OPERATOR_TOKEN_PREFIX + _SECRET)


class KeyUsage:
    """
    When each robot API key was last used: kept in memory, stored once a minute.

    :param wall_clock: Seconds since 1970.
    """

    def __init__(self, database: Database, wall_clock: Callable[[], float]) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._waiting: dict[str, float] = {}

    def note(self, key_id: str) -> None:
        """Record that a key is used now; never waits, never fails."""
        self._waiting[key_id] = self._wall_clock()

    def waiting(self) -> Mapping[str, float]:
        """Return what is not stored yet: key → seconds since 1970."""
        return dict(self._waiting)

    async def write_for_ever(self) -> None:
        """Write once a minute; ends only by cancellation."""
        while True:
            await asyncio.sleep(USAGE_PERIOD_S)
            await self.write()

    async def write(self) -> None:
        """Write what is not stored yet; after a failure it is kept for the next time."""
        written = self.waiting()
        if not written:
            return
        with suppress(DatabaseUnavailable):  # reported by its health
            await self._database.write(lambda store: store.note_key_usage(written))
            for key_id, at_s in written.items():
                if self._waiting.get(key_id) == at_s:
                    del self._waiting[key_id]

    async def flush(self) -> None:
        """Write what is not stored yet, unless that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(USAGE_FLUSH_TIMEOUT_S):
                await self.write()


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialIds:
    """A set of robot API keys and operator tokens."""

    key_ids: frozenset[str] = frozenset()
    token_ids: frozenset[str] = frozenset()

    def __or__(self, other: CredentialIds) -> CredentialIds:
        return CredentialIds(
            key_ids=self.key_ids | other.key_ids, token_ids=self.token_ids | other.token_ids
        )

    def __sub__(self, other: CredentialIds) -> CredentialIds:
        return CredentialIds(
            key_ids=self.key_ids - other.key_ids, token_ids=self.token_ids - other.token_ids
        )

    def __bool__(self) -> bool:
        return bool(self.key_ids or self.token_ids)

    def __contains__(self, caller: RobotCaller | OperatorCaller) -> bool:
        if isinstance(caller, RobotCaller):
            return caller.key_id in self.key_ids
        return caller.token_id in self.token_ids


class Credentials:
    """
    The cache of keys and tokens in use; used on the event loop's thread.

    :param wall_clock: Seconds since 1970, for tokens that expire.
    """

    def __init__(self, database: Database, wall_clock: Callable[[], float]) -> None:
        self.key_usage = KeyUsage(database, wall_clock)
        self._database = database
        self._wall_clock = wall_clock
        self._in_use: OrderedDict[bytes, Known] = OrderedDict()
        """Hash of the secret → the caller to whom it belongs."""
        self._lookups: dict[bytes, asyncio.Future[Known | None]] = {}
        self._version: Any = None
        """The version of the database at which the following were confirmed."""
        self._confirmed = CredentialIds()

    async def robot(self, api_key: str) -> Known | None:
        """
        Return the robot to which an API key belongs or belonged.

        :raises DatabaseUnavailable: The key must be looked up, and the database fails.
        """
        if _API_KEY.fullmatch(api_key) is None:
            return None  # malformed secrets must not reach the database
        known = await self._known(api_key, Store.robot_of)
        if known is not None and isinstance(known.caller, RobotCaller) and not known.is_revoked:
            self.key_usage.note(known.caller.key_id)
        return known

    async def operator(self, token: str) -> Known | None:
        """
        Return the person to whom an operator token belongs or belonged.

        :raises DatabaseUnavailable: The token must be looked up, and the database fails.
        """
        if _OPERATOR_TOKEN.fullmatch(token) is None:
            return None
        return await self._known(token, Store.operator_of)

    def has_expired(self, caller: OperatorCaller) -> bool:
        """Return whether a person's token has expired."""
        return caller.expires_at_s is not None and caller.expires_at_s <= self._wall_clock()

    async def _known(
        self, secret: str, look_up: Callable[[Store, bytes], Known | None]
    ) -> Known | None:
        if self._database.health.is_given_up():
            raise DatabaseUnavailable(f'The database fails: {self._database.health.reason}')
        secret_hash = hash_of(secret)
        known = self._in_use.get(secret_hash)
        if known is not None:
            self._in_use.move_to_end(secret_hash)
            return known
        lookup = self._lookups.get(secret_hash)
        if lookup is None:
            if len(self._lookups) >= MAX_LOOKUPS:
                raise DatabaseUnavailable('Too many keys and tokens are being looked up')
            lookup = self._database.ask(lambda store: look_up(store, secret_hash))
            self._lookups[secret_hash] = lookup
            lookup.add_done_callback(partial(self._looked_up, secret_hash))
        return await self._database.answer(lookup)

    def _looked_up(self, secret_hash: bytes, lookup: asyncio.Future[Known | None]) -> None:
        del self._lookups[secret_hash]
        if lookup.cancelled() or lookup.exception() is not None:
            return
        known = lookup.result()
        if known is not None:
            self._in_use[secret_hash] = known
            if len(self._in_use) > MAX_IN_USE:
                self._in_use.popitem(last=False)

    # --- revocation ----------------------------------------------------------------------------

    async def ended(self, key_ids: Collection[str], token_ids: Collection[str]) -> CredentialIds:
        """
        Return the credentials in use that were revoked, have expired or were deleted.

        While the database cannot be read, return an empty result for a minute, then all
        credentials in use.

        :param key_ids: The keys of live sessions, whether they were used recently or not.
        :param token_ids: The tokens of the people in live sessions.
        """
        in_sessions = CredentialIds(key_ids=frozenset(key_ids), token_ids=frozenset(token_ids))
        in_use = in_sessions | self._ids_in_use()
        try:
            version, asked, in_force = await self._database.check(partial(self._ask, in_use))
        except DatabaseUnavailable:
            if not self._database.health.is_given_up():
                return CredentialIds()
            self._version, self._confirmed = None, CredentialIds()
            self._in_use.clear()
            return in_use
        is_changed = version != self._version
        if is_changed:
            self._version, self._confirmed = version, CredentialIds()
        self._confirmed |= in_force
        ended = asked - in_force
        if is_changed or ended:
            # The next request that presents a dropped secret triggers a new look-up.
            self._in_use = OrderedDict(
                (secret_hash, known)
                for secret_hash, known in self._in_use.items()
                if not known.is_revoked and known.caller not in ended
            )
        return ended

    def _ids_in_use(self) -> CredentialIds:
        keys, tokens = set(), set()
        for known in self._in_use.values():
            if known.is_revoked:
                continue
            if isinstance(known.caller, RobotCaller):
                keys.add(known.caller.key_id)
            elif known.caller.token_id is not None and not self.has_expired(known.caller):
                tokens.add(known.caller.token_id)
        return CredentialIds(key_ids=frozenset(keys), token_ids=frozenset(tokens))

    def _ask(
        self, in_use: CredentialIds, store: Store
    ) -> tuple[Any, CredentialIds, CredentialIds]:
        """
        Query all credentials in use if the database has changed, else only the new ones.

        :returns: The database's version, the queried credentials, and those of them that are
            valid.
        """
        # Read the version first, so that a change in between is noticed the next time.
        version = (store, store.version())
        asked = in_use - self._confirmed if version == self._version else in_use
        keys, tokens = store.in_force(asked.key_ids, asked.token_ids, self._wall_clock())
        in_force = CredentialIds(key_ids=frozenset(keys), token_ids=frozenset(tokens))
        return version, asked, in_force


class IssuedTokens(Protocol):
    """Checks the tokens of an issuer; see :mod:`~teleop_webrtc_bridge.broker.access.oidc`."""

    async def prepare(self, token: str) -> None:
        """Fetch the key that is needed to check a token."""

    def caller(self, token: str) -> OperatorCaller:
        """
        Return the person to whom a token belongs.

        :raises ApiError: 401, 403.
        """


def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """The caller that the headers of one request identify; by default none."""

    find_robot: Callable[[], RobotCaller | None] = _nobody
    """Raises the error that refuses a key; ``None``: the key is unknown or missing."""
    find_operator: Callable[[], OperatorCaller | None] = _nobody

    def robot(self) -> RobotCaller:
        """
        Return the calling robot.

        :raises ApiError: 401; 503 while the database fails.
        """
        caller = self.find_robot()
        if caller is None:
            raise ApiError(401, 'Unknown, missing or revoked robot API key')
        return caller

    def operator(self) -> OperatorCaller:
        """
        Return the calling operator.

        :raises ApiError: 401; 403 for an issuer's token that allows nothing here; 503 while the
            database fails.
        """
        caller = self.find_operator()
        if caller is None:
            raise ApiError(401, 'Unknown, missing or expired operator token')
        return caller

    def anyone(self) -> RobotCaller | OperatorCaller:
        """
        Return the calling robot or operator.

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
    Identifies callers by their headers, which must be a case-insensitive mapping.

    :param issued: Checks the tokens of an issuer besides our own; ``None``: there is no issuer.
    """

    def __init__(self, credentials: Credentials, issued: IssuedTokens | None = None) -> None:
        self._credentials = credentials
        self._issued = issued

    async def prepare(self, headers: Mapping[str, str]) -> SignIn:
        """Look up the caller. Only the methods of the result raise errors."""
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
    """Return the bearer token, or an empty string."""
    scheme, _, token = headers.get('Authorization', '').partition(' ')
    return token.strip() if scheme.lower() == 'bearer' else ''


def _is_issued(token: str) -> bool:
    """Return whether a token looks like an issuer's signed token, not like our own."""
    return token.count('.') == 2 and not token.startswith(OPERATOR_TOKEN_PREFIX)
