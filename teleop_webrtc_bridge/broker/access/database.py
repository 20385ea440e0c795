"""
The database, accessed by two threads, so that a slow disk never blocks the event loop.

One thread reads and one writes; each has its own connection. The event loop awaits them with a
time-out, so a slow disk or a locked file delays only the request that needs it. There are two so
that a sign-in does not wait for a write: SQLite's readers do not wait for writers (WAL), but the
writing thread may wait for seconds.
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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import enum
from functools import partial
import logging
from pathlib import Path
from queue import SimpleQueue
import sqlite3
import threading
import time
from typing import Final, TypeVar

from teleop_webrtc_bridge.broker.access.database_file import (
    check_is_ours,
    DATABASE_NAME,
    FileSignature,
)
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.core.exceptions import TeleopError

__all__ = ['RETRY_AFTER_S', 'Database', 'DatabaseUnavailable']

READ_TIMEOUT_S: Final = 2.0
WRITE_TIMEOUT_S: Final = 8.0
"""Longer than SQLite waits for another process that writes."""
WRITE_ATTEMPTS: Final = 3
"""Another program may change the file between our check and our write."""
MAX_CALLS: Final = 1000
"""Maximum number of calls that wait for one thread."""
JOIN_TIMEOUT_S: Final = 0.3
REOPEN_TIMEOUT_S: Final = 1.0
"""How long a reader that must reopen the file waits for a write."""
RETRY_AFTER_S: Final = 5.0
CREDENTIALS_HOLD_S: Final = 60.0
"""How long the last known credentials stay valid while the database cannot be read."""
REPLACED_SHOWN_S: Final = 60.0
"""How long the health report mentions that the file was replaced."""

_T = TypeVar('_T')

_logger = logging.getLogger(__name__)


class DatabaseUnavailable(TeleopError):
    """The database fails, or does not answer in time; the text says why."""

    retry_after_s: Final = RETRY_AFTER_S


class _FileChanged(Exception):
    """Another program has changed the file: check it again."""


class _Abandoned(Exception):
    """The caller no longer waits for the result."""


class Fault(enum.Enum):
    """An operation that can fail separately: a full disk is still readable."""

    READING = 'reading'
    WRITING = 'writing'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    since_s: float
    reason: str


class DatabaseHealth:
    """
    The current faults; logs one line when the first begins and one when all are over.

    :param file: Named in the log.
    :param clock: Monotonic seconds.
    """

    def __init__(self, file: Path, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._failures: dict[Fault, _Failure] = {}
        self._began_s = 0.0
        self._replaced_at_s: float | None = None
        self._is_given_up = False
        self.on_news: Callable[[str], None] = lambda text: None
        """Called with each message for the audit trail."""

    @property
    def reason(self) -> str | None:
        """Why the database fails; ``None``: it works."""
        reasons = dict.fromkeys(failure.reason for failure in self._failures.values())
        return '; '.join(reasons) or None

    @property
    def note(self) -> str | None:
        """A remark for the health report while nothing fails."""
        at_s = self._replaced_at_s
        if at_s is None or self._clock() - at_s > REPLACED_SHOWN_S:
            return None
        return 'the file was replaced; the new one is in use'

    def works(self, fault: Fault) -> None:
        """Record that reading or writing has succeeded."""
        if self._failures.pop(fault, None) is None:
            return
        if fault is Fault.READING:
            self._is_given_up = False
        if not self._failures:
            for_s = self._clock() - self._began_s
            _logger.warning('event=database_works_again file=%s after_s=%.1f', self._file, for_s)
            self.on_news(f'works again after {for_s:.1f} s')

    def fails(self, fault: Fault, reason: str) -> None:
        """Record that reading or writing has failed."""
        now_s = self._clock()
        older = self._failures.get(fault)
        if not self._failures:
            self._began_s = now_s
            _logger.error(
                'event=database_fails file=%s what=%s reason="%s"', self._file, fault.value, reason
            )
            self.on_news(f'fails, {fault.value}: {reason}')
        since_s = now_s if older is None else older.since_s
        self._failures[fault] = _Failure(since_s=since_s, reason=reason)

    def was_replaced(self) -> None:
        """Record that another database of ours has replaced the file."""
        self._replaced_at_s = self._clock()
        _logger.warning(
            'event=database_replaced file=%s hint="the new file is in use"', self._file
        )
        self.on_news('the file was replaced; the new one is in use')

    def is_given_up(self) -> bool:
        """Return whether reading has failed for so long that known credentials are void."""
        failure = self._failures.get(Fault.READING)
        if failure is None or self._clock() - failure.since_s < CREDENTIALS_HOLD_S:
            return False
        if not self._is_given_up:
            self._is_given_up = True
            _logger.error(
                'event=credentials_void after_s=%g reason="%s"', CREDENTIALS_HOLD_S, failure.reason
            )
            self.on_news(
                f'could not be read for {CREDENTIALS_HOLD_S:g} s: nobody can sign in any more'
            )
        return True


class _Thread:
    """A thread that runs calls one after the other."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon: a hanging disk must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self,
        job: Callable[[Callable[[], bool]], _T],
        afterwards: Callable[[], None] = lambda: None,
    ) -> asyncio.Future[_T]:
        """
        Run a job on the thread.

        :param job: Receives a predicate that tells whether the future was cancelled.
        :param afterwards: Called after the result of a successful job was handed over.
        :raises DatabaseUnavailable: Too many calls are waiting.
        """
        if self._calls.qsize() >= MAX_CALLS:
            raise DatabaseUnavailable('too many calls wait for the database')
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        # A caller who has given up does not retrieve the exception.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def deliver(result: _T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def call() -> None:
            if future.cancelled():
                return
            result: _T | None = None
            error: BaseException | None = None
            try:
                result = job(future.cancelled)
            except Exception as raised:  # noqa: BLE001
                error = raised  # handed to the caller
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(deliver, result, error)
            if error is None:
                afterwards()

        self._calls.put(call)
        return future

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def close(self) -> bool:
        """End the thread; returns whether it ended in time."""
        self._calls.put(None)
        self._thread.join(JOIN_TIMEOUT_S)
        return not self._thread.is_alive()


class Database:
    """
    Owns both threads, their connections, and the record of the database's health.

    Methods are called on the event loop's thread. The jobs passed to them run on the other two.

    :param directory: The database in it is opened, or created.
    :raises ConfigurationError: The directory or the database is unusable.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = directory / DATABASE_NAME
        self._writer: Store | None = Store.open(directory)
        self._reader: Store | None = Store.of_file(self._path)
        self._signature: FileSignature | None = FileSignature.of(self._path)
        self._log_inode = self._inode_of_log()
        self._lock = threading.Lock()
        """Held while the writer's connection is used, or both are replaced."""
        self._was_replaced = False
        """Whether the file was replaced, unless ``health`` knows already."""
        self.health = DatabaseHealth(self._path, clock)
        self._reading = _Thread('database_reader')
        self._writing = _Thread('database_writer')

    def close(self) -> None:
        """End the threads; a hanging one is left behind."""
        if all([self._reading.close(), self._writing.close()]):
            self._close_stores()

    # --- for the event loop --------------------------------------------------------------------

    def ask(self, job: Callable[[Store], _T]) -> asyncio.Future[_T]:
        """
        Start reading; :meth:`answer` waits for the result.

        :raises DatabaseUnavailable: Too many calls are waiting.
        """
        return self._reading.submit(lambda is_cancelled: job(self._current_reader()))

    async def answer(self, asked: asyncio.Future[_T]) -> _T:
        """
        Return the result of :meth:`ask`; several callers may wait for the same one.

        :raises DatabaseUnavailable: Reading fails or takes too long.
        """
        return await self._within(asyncio.shield(asked), READ_TIMEOUT_S, Fault.READING)

    async def read(self, job: Callable[[Store], _T]) -> _T:
        """
        Run a job that reads.

        :raises DatabaseUnavailable: Reading fails or takes too long.
        """
        return await self._within(self.ask(job), READ_TIMEOUT_S, Fault.READING)

    async def check(self, job: Callable[[Store], _T]) -> _T:
        """
        Run a job that reads; only its success proves that the database can be read again.

        Other reads prove nothing: if one table is broken, others may still be readable.

        :raises DatabaseUnavailable: Reading fails or takes too long.
        """
        found, log_is_empty = await self.read(lambda store: (job(store), self._log_is_empty()))
        self.health.works(Fault.READING)
        if not log_is_empty:
            self._writing.submit(lambda is_cancelled: self._checkpoint())
        return found

    async def write(
        self, job: Callable[[Store], _T], committed: Callable[[], None] = lambda: None
    ) -> _T:
        """
        Run a job that writes, in a transaction.

        :param committed: Called by the writing thread after the commit, even if the caller no
            longer waits for the result.
        :raises DatabaseUnavailable: Writing fails, or takes too long; in the second case it is
            unknown whether the job was committed.
        """
        for _ in range(WRITE_ATTEMPTS):
            await self.read(lambda store: None)  # reopens the file if it was replaced
            write = partial(self._write, job, committed)
            written = self._writing.submit(write, self._checkpoint)
            try:
                result = await self._within(written, WRITE_TIMEOUT_S, Fault.WRITING)
            except _FileChanged:
                continue
            self.health.works(Fault.WRITING)
            return result
        raise DatabaseUnavailable('another program keeps changing the database')

    async def _within(self, future: asyncio.Future[_T], timeout_s: float, fault: Fault) -> _T:
        try:
            async with asyncio.timeout(timeout_s):
                result = await future
        except TimeoutError:
            reason = f'{fault.value} takes longer than {timeout_s:g} s'
        except FileNotFoundError:
            reason = f'{DATABASE_NAME} is missing'
        except (sqlite3.Error, OSError) as error:
            reason = str(error)
        else:
            if self._was_replaced:
                self._was_replaced = False
                self.health.was_replaced()
            return result
        self.health.fails(fault, reason)
        raise DatabaseUnavailable(f'The database fails: {reason}')

    # --- on the threads ------------------------------------------------------------------------

    def _write(
        self,
        job: Callable[[Store], _T],
        committed: Callable[[], None],
        is_cancelled: Callable[[], bool],
    ) -> _T:
        with self._lock:
            if self._writer is None or FileSignature.of(self._path) != self._signature:
                raise _FileChanged
            with self._writer.transaction():
                result = job(self._writer)
                if is_cancelled():
                    raise _Abandoned
            committed()
            return result

    def _checkpoint(self) -> None:
        """Empty the write-ahead log, if it still belongs to the file."""
        # The file may be removed or damaged at any moment, also between these lines.
        with self._lock, suppress(OSError, sqlite3.Error):
            if self._writer is None or FileSignature.of(self._path) != self._signature:
                return
            size_bytes = self._writer.checkpoint()
            # If another program has written too, the signature stays old and the file is reopened.
            signature = FileSignature.of(self._path)
            if signature.size_bytes == size_bytes and signature.is_same_file(self._signature):
                self._signature = signature

    def _log_is_empty(self) -> bool:
        try:
            return self._log.stat().st_size == 0
        except OSError:
            return True

    def _current_reader(self) -> Store:
        """Return the store that reads the current file."""
        signature = FileSignature.of(self._path)
        if signature == self._signature and self._reader is not None:
            return self._reader
        if (
            self._reader is not None
            and self._signature is not None
            and signature.is_same_file(self._signature)
            and self._lock.locked()
        ):
            return self._reader  # most likely the change is our own: the writer is busy
        if not self._lock.acquire(timeout=REOPEN_TIMEOUT_S):
            raise sqlite3.OperationalError('the file was replaced during a write')
        try:
            return self._reopen(FileSignature.of(self._path))
        finally:
            self._lock.release()

    def _reopen(self, signature: FileSignature) -> Store:
        """Reopen the file: it was replaced, or another program has written to it."""
        older = self._signature
        if signature == older and self._reader is not None:
            return self._reader  # the change was our own
        self._close_stores()
        is_other_file = older is not None and not signature.is_same_file(older)
        if is_other_file:
            self._remove_old_log()
        self._writer = Store.of_file(self._path)
        self._reader = Store.of_file(self._path)
        self._signature, self._log_inode = FileSignature.of(self._path), self._inode_of_log()
        self._was_replaced |= is_other_file
        return self._reader

    def _close_stores(self) -> None:
        for store in (self._writer, self._reader):
            if store is not None:
                store.close()
        self._writer = self._reader = None

    @property
    def _log(self) -> Path:
        return self._path.with_name(f'{DATABASE_NAME}-wal')

    def _inode_of_log(self) -> int | None:
        try:
            return self._log.stat().st_ino
        except OSError:
            return None

    def _remove_old_log(self) -> None:
        """Remove the log of the file that is gone: SQLite would apply it to the new one."""
        if self._log_inode is None or self._inode_of_log() != self._log_inode:
            return
        # Unless the new file is ours, the old one may come back and need its log.
        check_is_ours(self._path)
        self._log.unlink()
