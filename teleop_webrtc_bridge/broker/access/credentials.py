"""
The keys and tokens that are in use, in memory: who comes with one of them waits for nothing.

One that is not known here is looked up in the database, once for all who come with it meanwhile.
Twice a second :meth:`Credentials.ended` looks whether anybody has changed the database, and only
then asks about all that are in use; how many others there are makes no difference.
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
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
import re
from typing import Any, Final

from teleop_webrtc_bridge.broker.access.database import Database, DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.key_usage import KeyUsage
from teleop_webrtc_bridge.broker.access.records import Known
from teleop_webrtc_bridge.broker.access.store import (
    API_KEY_PREFIX,
    hash_of,
    OPERATOR_TOKEN_PREFIX,
    SECRET_BYTES,
    Store,
)
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller

__all__ = ['Credentials', 'Ended']

MAX_IN_USE: Final = 4096
"""Beyond, the one that was not used for the longest time has to be looked up again."""
MAX_LOOKUPS: Final = 256
"""At once. So many come only from somebody who guesses."""

_SECRET: Final = rf'[0-9a-f]{{{2 * SECRET_BYTES}}}'
_API_KEY: Final = re.compile(API_KEY_PREFIX + _SECRET)
_OPERATOR_TOKEN: Final = re.compile(OPERATOR_TOKEN_PREFIX + _SECRET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Credentials that were in use and are good for nothing any more."""

    key_ids: frozenset[str] = frozenset()
    token_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    """What the database said about some credentials, and at which of its versions."""

    version: Any
    key_ids: set[str]
    token_ids: set[str]
    asked_key_ids: Collection[str]
    asked_token_ids: Collection[str]


class Credentials:
    """
    Owns the credentials in use; for the event loop's thread.

    :param wall_clock: Seconds since 1970, for tokens that expire.
    """

    def __init__(self, database: Database, wall_clock: Callable[[], float]) -> None:
        self.key_usage = KeyUsage(database, wall_clock)
        self._database = database
        self._wall_clock = wall_clock
        self._in_use: OrderedDict[bytes, Known] = OrderedDict()
        """Hash of the secret → whom it belongs to."""
        self._lookups: dict[bytes, asyncio.Future[Known | None]] = {}
        self._version: Any = None
        """Of the database, when the credentials below were last asked about."""
        self._confirmed_keys: set[str] = set()
        self._confirmed_tokens: set[str] = set()

    # --- who comes with it ---------------------------------------------------------------------

    async def robot(self, api_key: str) -> Known | None:
        """
        Return whom an API key belongs to, or belonged to.

        :raises DatabaseUnavailable: It has to be looked up, and cannot be.
        """
        if _API_KEY.fullmatch(api_key) is None:
            return None  # whoever tries anything does not get as far as the database
        known = await self._known(api_key, Store.robot_of)
        if known is not None and isinstance(known.caller, RobotCaller) and not known.is_revoked:
            self.key_usage.note(known.caller.key_id)
        return known

    async def operator(self, token: str) -> Known | None:
        """
        Return whom an operator token belongs to, or belonged to.

        :raises DatabaseUnavailable: It has to be looked up, and cannot be.
        """
        if _OPERATOR_TOKEN.fullmatch(token) is None:
            return None
        return await self._known(token, Store.operator_of)

    def has_expired(self, caller: OperatorCaller) -> bool:
        """Return whether the time of somebody's token is over."""
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
            lookup = self._database.ask(partial(_look_up, look_up, secret_hash))
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

    # --- what has become of them ---------------------------------------------------------------

    async def ended(self, key_ids: Collection[str], token_ids: Collection[str]) -> Ended:
        """
        Return which of the credentials in use have been revoked, have expired or are gone.

        While the database cannot be read, none are, for a minute; then all of them.

        :param key_ids: What live sessions were made with, used just now or not.
        :param token_ids: What people in live sessions came with.
        """
        keys, tokens = self._ids_in_use()
        keys.update(key_ids)
        tokens.update(token_ids)
        try:
            found = await self._database.check(
                partial(
                    _in_force,
                    version=self._version,
                    now_s=self._wall_clock(),
                    all_of=(keys, tokens),
                    new=(keys - self._confirmed_keys, tokens - self._confirmed_tokens),
                )
            )
        except DatabaseUnavailable:
            if not self._database.health.is_given_up():
                return Ended()
            self._forget_all()
            return Ended(key_ids=frozenset(keys), token_ids=frozenset(tokens))
        return self._note(found)

    def _ids_in_use(self) -> tuple[set[str], set[str]]:
        keys, tokens = set(), set()
        for known in self._in_use.values():
            if known.is_revoked:
                continue
            if isinstance(known.caller, RobotCaller):
                keys.add(known.caller.key_id)
            elif known.caller.token_id is not None and not self.has_expired(known.caller):
                tokens.add(known.caller.token_id)
        return keys, tokens

    def _note(self, found: _InForce) -> Ended:
        is_changed = found.version != self._version
        if is_changed:
            self._version = found.version
            self._confirmed_keys.clear()
            self._confirmed_tokens.clear()
        self._confirmed_keys |= found.key_ids
        self._confirmed_tokens |= found.token_ids
        ended = Ended(
            key_ids=frozenset(found.asked_key_ids) - found.key_ids,
            token_ids=frozenset(found.asked_token_ids) - found.token_ids,
        )
        if is_changed or ended.key_ids or ended.token_ids:
            # Whoever comes with one that is not kept is told what the database says then.
            self._in_use = OrderedDict(
                (secret_hash, known)
                for secret_hash, known in self._in_use.items()
                if not known.is_revoked and not _is_among(known, ended)
            )
        return ended

    def _forget_all(self) -> None:
        self._version = None
        self._in_use.clear()
        self._confirmed_keys.clear()
        self._confirmed_tokens.clear()


def _is_among(known: Known, ended: Ended) -> bool:
    if isinstance(known.caller, RobotCaller):
        return known.caller.key_id in ended.key_ids
    return known.caller.token_id in ended.token_ids


def _look_up(
    look_up: Callable[[Store, bytes], Known | None], secret_hash: bytes, store: Store
) -> Known | None:
    return look_up(store, secret_hash)


def _in_force(
    store: Store,
    *,
    version: Any,
    now_s: float,
    all_of: tuple[set[str], set[str]],
    new: tuple[set[str], set[str]],
) -> _InForce:
    """Ask about all if anything has changed, else about those that were not asked about yet."""
    # The version first: what is changed in between is noticed the next time.
    found = (store, store.version())
    key_ids, token_ids = new if found == version else all_of
    keys, tokens = store.in_force(key_ids, token_ids, now_s)
    return _InForce(
        version=found,
        key_ids=keys,
        token_ids=tokens,
        asked_key_ids=key_ids,
        asked_token_ids=token_ids,
    )
