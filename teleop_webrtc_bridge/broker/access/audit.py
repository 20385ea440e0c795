"""
The audit trail: who did what, with which robot, when, and from where.

It is written in batches by the database's thread. Whoever does something never waits for it, and
it never fails because of it: while the database cannot be written to, lines are kept up to a
bound; beyond it they are counted, and the trail says later how many were lost.
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
from teleop_webrtc_bridge.broker.access.records import AuditRow, KeyRecord, TokenRecord
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller
from teleop_webrtc_bridge.broker.registry.sessions import CloseMedia, Effect, Reason, Session

__all__ = ['Audit', 'AuditAction', 'about_key', 'about_token', 'audit_row']

GATHER_S: Final = 0.2
"""What happens within this time is written together."""
RETRY_S: Final = 2.0
MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 500
FORGET_PERIOD_S: Final = 3600.0
DAY_S: Final = 86_400.0
SIGN_IN_AGAIN_S: Final = 3600.0
"""Who was not seen for this long signs in anew."""
MAX_SEEN: Final = 4096
FLUSH_TIMEOUT_S: Final = 0.3

_log = logging.getLogger(__name__)


class AuditAction(enum.Enum):
    """What is in the trail."""

    SIGN_IN = 'sign_in'
    """A token is used from an address for the first time within an hour."""
    JOIN = 'join'
    WATCH = 'watch'
    LEAVE = 'leave'
    """Whatever the reason, which is in the detail."""
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
    """The database began or ceased to fail, or lines of this trail were lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Presence:
    """Somebody's connection to a robot."""

    who: Identity
    robot_id: str
    session_id: str
    address: str


@dataclass(slots=True)
class _Batch:
    """What is written at once."""

    lines: int = 0
    lost: int = 0


def audit_row(
    at_s: float,
    action: AuditAction,
    who: Identity | None,
    *,
    robot_id: str = '',
    session_id: str = '',
    address: str = '',
    detail: str = '',
) -> AuditRow:
    """Return a line of the trail; nobody is an empty name."""
    return AuditRow(
        at_s=at_s,
        action=action.value,
        tenant=who.tenant if who else '',
        subject=who.sub if who else '',
        role=who.role.value if who else '',
        robot_id=robot_id,
        session_id=session_id,
        address=address,
        detail=detail,
    )


def about_key(record: KeyRecord) -> str:
    """Return which key a line is about."""
    return f'key {record.key_id} {record.name!r} of {record.owner}'


def about_token(record: TokenRecord) -> str:
    """Return which token a line is about."""
    return f'token {record.token_id} of {record.sub} ({record.role.value} of {record.tenant})'


class Audit:
    """
    Owns the lines that are not written yet; for the event loop's thread.

    :param wall_clock: Seconds since 1970.
    :param keep_days: How old lines become.
    """

    def __init__(
        self, database: Database, wall_clock: Callable[[], float], *, keep_days: int
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._keep_s = keep_days * DAY_S
        self._waiting: deque[AuditRow] = deque()
        self._lost = 0
        self._lost_told = 0
        """Of them, those that the trail tells of; changed by the thread that writes."""
        self._has_news = asyncio.Event()
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        """Credential and address → when it was used last."""
        self._present: dict[str, _Presence] = {}
        """Media session → who it is."""
        database.health.on_news = self._note_database

    def record(
        self,
        action: AuditAction,
        who: Identity | None,
        *,
        robot_id: str = '',
        session_id: str = '',
        address: str = '',
        detail: str = '',
    ) -> None:
        """Add a line; never waits, never fails."""
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append(
            audit_row(
                self._wall_clock(),
                action,
                who,
                robot_id=robot_id,
                session_id=session_id,
                address=address,
                detail=detail,
            )
        )
        self._has_news.set()

    def _note_database(self, text: str) -> None:
        self.record(AuditAction.DATABASE, None, detail=text)

    # --- what takes more than one line to say ---------------------------------------------------

    def used(self, caller: OperatorCaller, address: str) -> None:
        """Note that somebody uses their token; a line only if they have not for an hour."""
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
        Note that somebody has joined or watches; :meth:`left` is to be called when that ends.

        :param effects: What happens because of it: an older operator's connection may end.
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
        Note that a media session is closed, if it was somebody's.

        :param reasons: Session id → why it changed.
        """
        presence = self._present.pop(media_id, None)
        if presence is not None:
            reason = reasons.get(presence.session_id, '')
            self._record_of(AuditAction.LEAVE, presence, reason)

    def acted(self, action: AuditAction, media_id: str, detail: str) -> None:
        """Note what somebody who has joined or watches did to the robot."""
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
        """Write what there is, and forget what is too old; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forget_for_ever())
            while True:
                await self._has_news.wait()
                await asyncio.sleep(GATHER_S)
                while self._waiting:
                    if not await self._write():
                        await asyncio.sleep(RETRY_S)

    async def flush(self) -> None:
        """Write what there is, if that is possible quickly."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while self._waiting and await self._write():
                    pass
        lost = len(self._waiting) + self._lost - self._lost_told
        if lost:
            _log.error('event=audit_lost lines=%d', lost)

    async def _write(self) -> bool:
        """Write one batch, and return whether that was possible."""
        batch = _Batch()

        # Both run on the thread that writes, and only there are lines taken away. Nothing is
        # written twice, even if it took so long that nobody waits for it any more.
        def write(store: Store) -> None:
            waiting = len(self._waiting)
            batch.lines = min(waiting, MAX_BATCH)
            # What was lost came after all that waits.
            batch.lost = self._lost - self._lost_told if waiting <= MAX_BATCH else 0
            rows = [self._waiting[at] for at in range(batch.lines)]
            store.append_audit([*rows, *self._loss(batch.lost)])

        def written() -> None:
            for _ in range(batch.lines):
                self._waiting.popleft()
            self._lost_told += batch.lost

        try:
            await self._database.write(write, written)
        except DatabaseUnavailable:
            return False
        if batch.lost:
            _log.error('event=audit_lost lines=%d', batch.lost)
        if not self._waiting:
            self._has_news.clear()
        return True

    def _loss(self, lost: int) -> list[AuditRow]:
        """Return what is to be said of lines that were lost."""
        if not lost:
            return []
        detail = f'{lost} lines were lost while the database failed'
        return [audit_row(self._wall_clock(), AuditAction.DATABASE, None, detail=detail)]

    async def _forget_for_ever(self) -> None:
        def forget(store: Store) -> None:
            store.forget_audit(self._wall_clock() - self._keep_s)

        while True:
            with suppress(DatabaseUnavailable):  # said by whoever watches its health
                await self._database.write(forget)
            await asyncio.sleep(FORGET_PERIOD_S)
