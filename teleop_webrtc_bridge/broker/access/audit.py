"""
The audit trail: who did what, to which robot, when, and from where.

The database's thread writes it in batches, so recording an event never waits for the database and
never fails because of it. While the database cannot be written to, a limited number of lines is
kept in memory. Lines beyond the limit are counted, and the trail later reports how many were lost.
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
from collections import deque, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
import enum
import logging
from typing import Final

from teleop_webrtc_bridge.broker.access.database import Database, DatabaseUnavailable
from teleop_webrtc_bridge.broker.access.store import AuditRow, KeyRecord, Store, TokenRecord
from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller
from teleop_webrtc_bridge.broker.registry.sessions import CloseMedia, Effect, Reason, Session

__all__ = ['DAY_S', 'Audit', 'AuditAction', 'about_key', 'about_token']

DAY_S: Final = 86_400.0
BATCH_S: Final = 0.2
"""Lines within this time are written together."""
WRITE_RETRY_S: Final = 2.0
MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 500
FORGET_PERIOD_S: Final = 3600.0
SIGN_IN_AGAIN_S: Final = 3600.0
"""Use of a token after a longer pause counts as a new sign-in."""
MAX_SEEN: Final = 4096
AUDIT_FLUSH_TIMEOUT_S: Final = 0.3

_log = logging.getLogger(__name__)


class AuditAction(enum.Enum):
    """The action that a line reports."""

    SIGN_IN = 'sign_in'
    """A token is used from an address for the first time in an hour."""
    JOIN = 'join'
    WATCH = 'watch'
    LEAVE = 'leave'
    """The reason is in the detail."""
    GRANT = 'grant'
    TAKE_OVER = 'take_over'
    ESTOP = 'estop'
    ESTOP_CLEAR = 'estop_clear'
    KEY_CREATED = 'key_created'
    KEY_REVOKED = 'key_revoked'
    TOKEN_CREATED = 'token_created'
    TOKEN_REVOKED = 'token_revoked'
    VIEWER_REMOVED = 'viewer_removed'
    DATABASE = 'database'
    """The database started or stopped failing, or lines of this trail were lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Presence:
    """A person's connection to a robot."""

    who: Identity
    robot_id: str
    session_id: str
    address: str


def about_key(record: KeyRecord) -> str:
    """Describe a key for the trail."""
    return f'key {record.key_id} {record.name!r} of {record.owner}'


def about_token(record: TokenRecord) -> str:
    """Describe a token for the trail."""
    return f'token {record.token_id} of {record.sub} ({record.role.value} of {record.tenant})'


class Audit:
    """
    Records what happens; used on the event loop's thread.

    :param wall_clock: Seconds since 1970.
    :param keep_days: Older lines are deleted.
    """

    def __init__(
        self, database: Database, wall_clock: Callable[[], float], *, keep_days: int
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._keep_s = keep_days * DAY_S
        self._waiting: deque[AuditRow] = deque()
        self._lost = 0
        self._lost_reported = 0
        """Number of lost lines that the trail reports; changed by the writing thread."""
        self._has_news = asyncio.Event()
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        """Credential and address → when it was last used."""
        self._present: dict[str, _Presence] = {}
        """Media session → the person connected through it."""
        database.health.on_news = self._note_database

    def record(self, action: AuditAction, who: Identity | None, **fields: str) -> None:
        """
        Append a line; never waits, never fails.

        :param fields: The remaining fields of an ``AuditRow``.
        """
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        if who is not None:
            fields |= {'tenant': who.tenant, 'subject': who.sub, 'role': who.role.value}
        row = AuditRow(at_s=self._wall_clock(), action=action.value, **fields)
        self._waiting.append(row)
        self._has_news.set()

    def _note_database(self, text: str) -> None:
        self.record(AuditAction.DATABASE, None, detail=text)

    # --- who is here ----------------------------------------------------------------------------

    def used(self, caller: OperatorCaller, address: str) -> None:
        """Record a sign-in if a person uses their token for the first time in an hour."""
        now_s, key = self._wall_clock(), (caller.credential, address)
        last_s = self._seen.get(key)
        self._seen[key] = now_s
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        if last_s is None or now_s - last_s > SIGN_IN_AGAIN_S:
            self.record(AuditAction.SIGN_IN, caller.identity, address=address)

    def entered(
        self,
        action: AuditAction,
        who: Identity,
        media_id: str,
        session: Session,
        address: str,
        effects: Iterable[Effect] = (),
    ) -> None:
        """
        Record that a person has joined or watches; call :meth:`left` when that ends.

        :param effects: The join's effects, which may close the connection of an earlier operator.
        """
        presence = _Presence(
            who=who,
            robot_id=session.identity.robot_id,
            session_id=session.session_id,
            address=address,
        )
        for effect in effects:
            if isinstance(effect, CloseMedia):
                self._replaced(effect.media_id, presence)
        self._present[media_id] = presence
        self._record_of(action, presence, '')

    def _replaced(self, media_id: str, by: _Presence) -> None:
        older = self._present.pop(media_id, None)
        if older is None:
            return
        if older.who == by.who:
            self._record_of(AuditAction.LEAVE, older, 'joined_again')
            return
        self._record_of(AuditAction.TAKE_OVER, by, f'from {older.who}')
        self._record_of(AuditAction.LEAVE, older, Reason.TAKEN_OVER.value)

    def left(self, media_id: str, reasons: Mapping[str, str]) -> None:
        """
        Record that a person has left, if the closed media session was theirs.

        :param reasons: Session id → why it changed.
        """
        presence = self._present.pop(media_id, None)
        if presence is not None:
            reason = reasons.get(presence.session_id, '')
            self._record_of(AuditAction.LEAVE, presence, reason)

    def acted(self, action: AuditAction, media_id: str, detail: str) -> None:
        """Record an action of an operator or a viewer on the robot."""
        presence = self._present.get(media_id)
        if presence is not None:
            self._record_of(action, presence, detail)

    def _record_of(self, action: AuditAction, presence: _Presence, detail: str) -> None:
        self.record(
            action,
            presence.who,
            robot_id=presence.robot_id,
            session_id=presence.session_id,
            address=presence.address,
            detail=detail,
        )

    # --- writing -------------------------------------------------------------------------------

    async def write_for_ever(self) -> None:
        """Write new lines and delete old ones; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forget_for_ever())
            while True:
                await self._has_news.wait()
                await asyncio.sleep(BATCH_S)
                while self._waiting:
                    if not await self._write():
                        await asyncio.sleep(WRITE_RETRY_S)

    async def flush(self) -> None:
        """Write the pending lines, unless that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AUDIT_FLUSH_TIMEOUT_S):
                while self._waiting and await self._write():
                    pass
        lost = len(self._waiting) + self._lost - self._lost_reported
        if lost:
            _log.error('event=audit_lost lines=%d', lost)

    async def _write(self) -> bool:
        """Write one batch; return whether it succeeded."""
        lines = lost = 0

        # Both functions run on the writing thread, which alone removes lines. No line is written
        # twice, even if a write outlasts its time-out.
        def write(store: Store) -> None:
            nonlocal lines, lost
            waiting = len(self._waiting)
            lines = min(waiting, MAX_BATCH)
            rows = [self._waiting[at] for at in range(lines)]
            # The lost lines are newer than all pending lines.
            lost = self._lost - self._lost_reported if waiting <= MAX_BATCH else 0
            if lost:
                detail = f'{lost} lines were lost while the database failed'
                action = AuditAction.DATABASE.value
                rows.append(AuditRow(at_s=self._wall_clock(), action=action, detail=detail))
            store.append_audit(rows)

        def written() -> None:
            for _ in range(lines):
                self._waiting.popleft()
            self._lost_reported += lost

        try:
            await self._database.write(write, written)
        except DatabaseUnavailable:
            return False
        if lost:
            _log.error('event=audit_lost lines=%d', lost)
        if not self._waiting:
            self._has_news.clear()
        return True

    async def _forget_for_ever(self) -> None:
        def forget(store: Store) -> None:
            store.forget_audit(self._wall_clock() - self._keep_s)

        while True:
            with suppress(DatabaseUnavailable):  # reported by its health
                await self._database.write(forget)
            await asyncio.sleep(FORGET_PERIOD_S)
