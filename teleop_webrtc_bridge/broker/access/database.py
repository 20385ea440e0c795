"""
The database, away from the event loop.

Two threads own a connection each: one reads, one writes. The event loop only waits for them, each
time with a time-out, so a disk that is slow or a file that is locked makes nobody wait but the
one who asked. Two, because a sign-in must not wait for a write: SQLite's readers do not wait for
writers (WAL), and a thread that writes may wait for seconds.
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
from functools import partial
from pathlib import Path
from queue import SimpleQueue
import sqlite3
import threading
import time
from typing import Final, Self, TypeVar

from teleop_webrtc_bridge.broker.access.database_file import (
    check_is_ours,
    DATABASE_NAME,
    FileSignature,
)
from teleop_webrtc_bridge.broker.access.database_health import DatabaseHealth, Fault
from teleop_webrtc_bridge.broker.access.store import Store
from teleop_webrtc_bridge.core.exceptions import TeleopError

__all__ = ['RETRY_S', 'Database', 'DatabaseUnavailable']

READ_TIMEOUT_S: Final = 2.0
WRITE_TIMEOUT_S: Final = 8.0
"""More than SQLite waits for another process that writes."""
ATTEMPTS: Final = 3
"""To write to a file that others change."""
MAX_CALLS: Final = 1000
"""That may wait for one thread."""
CLOSE_TIMEOUT_S: Final = 0.3
REOPEN_TIMEOUT_S: Final = 1.0
"""How long the one who reads waits for a write, to open another file."""
RETRY_S: Final = 5.0

_T = TypeVar('_T')


class DatabaseUnavailable(TeleopError):
    """The database cannot be used now, or does not answer in time; the text says why."""

    retry_after_s: Final = RETRY_S


class _FileChanged(Exception):
    """Somebody else has changed the file: it has to be looked at again."""


class _Abandoned(Exception):
    """Nobody waits for this any more."""


class _Thread:
    """Runs calls one after the other, on a thread of its own."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon: a disk that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self,
        job: Callable[[Callable[[], bool]], _T],
        afterwards: Callable[[], None] = lambda: None,
    ) -> asyncio.Future[_T]:
        """
        Have something done.

        :param job: Gets what tells whether the future was cancelled.
        :param afterwards: Called when the job is done and whoever waits for it goes on.
        :raises DatabaseUnavailable: Too many calls wait already.
        """
        if self._calls.qsize() >= MAX_CALLS:
            raise DatabaseUnavailable('too many calls wait for the database')
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        # Who has given up does not fetch the exception.
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
                error = raised  # told to whoever waits
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
        """End the thread, and return whether it has ended in time."""
        self._calls.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        return not self._thread.is_alive()


class Database:
    """
    Owns both threads, their connections, and what is known of the database's health.

    All methods are for the event loop's thread. What is passed as a job runs on another one.
    """

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self._path = directory / DATABASE_NAME
        self._writer: Store | None = Store.open(directory)
        self._reader: Store | None = Store.of_file(self._path)
        self._signature: FileSignature | None = FileSignature.of(self._path)
        self._log_inode = self._inode_of_log()
        self._lock = threading.Lock()
        """Held by the thread that uses the writer's connection or replaces both."""
        self._was_replaced = False
        """And nobody has said so yet."""
        self.health = DatabaseHealth(self._path, clock)
        self._reading = _Thread('database_reader')
        self._writing = _Thread('database_writer')

    @classmethod
    def open(cls, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> Self:
        """
        Open, or create, the database in a directory.

        :raises ConfigurationError: The directory or the database cannot be used.
        """
        return cls(directory, clock)

    def close(self) -> None:
        """End the threads; one that hangs is left behind."""
        if all([self._reading.close(), self._writing.close()]):
            self._close_stores()

    # --- for the event loop --------------------------------------------------------------------

    def ask(self, job: Callable[[Store], _T]) -> asyncio.Future[_T]:
        """
        Begin to read something; :meth:`answer` waits for it.

        :raises DatabaseUnavailable: Too many calls wait already.
        """
        return self._reading.submit(lambda is_cancelled: job(self._current_reader()))

    async def answer(self, asked: asyncio.Future[_T]) -> _T:
        """
        Return what was asked for; several may wait for the same.

        :raises DatabaseUnavailable: It cannot be read, or not in time.
        """
        return await self._within(asyncio.shield(asked), READ_TIMEOUT_S, Fault.READING)

    async def read(self, job: Callable[[Store], _T]) -> _T:
        """
        Read something.

        :raises DatabaseUnavailable: It cannot be read, or not in time.
        """
        return await self._within(self.ask(job), READ_TIMEOUT_S, Fault.READING)

    async def check(self, job: Callable[[Store], _T]) -> _T:
        """
        Read what has to be readable before the database is said to work again.

        Not just anything: if one table is broken, others may still answer.

        :raises DatabaseUnavailable: It cannot be read, or not in time.
        """
        found, is_settled = await self.read(lambda store: (job(store), self._is_settled()))
        self.health.works(Fault.READING)
        if not is_settled:
            self._writing.submit(lambda is_cancelled: self._settle())
        return found

    async def write(
        self, job: Callable[[Store], _T], committed: Callable[[], None] = lambda: None
    ) -> _T:
        """
        Write something, in a transaction.

        :param committed: Called by the thread that writes, once it is written, even if nobody
            waits for it any more.
        :raises DatabaseUnavailable: It cannot be written; or not in time, and then it is not
            known whether it was.
        """
        for _ in range(ATTEMPTS):
            await self.read(lambda store: None)  # looks at the file
            write = partial(self._write, job, committed)
            written = self._writing.submit(write, self._settle)
            try:
                result = await self._within(written, WRITE_TIMEOUT_S, Fault.WRITING)
            except _FileChanged:
                continue
            self.health.works(Fault.WRITING)
            return result
        raise DatabaseUnavailable('another program changes the database all the time')

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

    def _settle(self) -> None:
        """Empty the log, if the file is still the one that it belongs to."""
        with self._lock, suppress(OSError):
            if self._writer is None or FileSignature.of(self._path) != self._signature:
                return
            size_bytes = self._writer.settle()
            # Somebody may have written to the file meanwhile: then it is to be looked at again.
            signature = FileSignature.of(self._path)
            if signature.size_bytes == size_bytes and signature.is_same_file(self._signature):
                self._signature = signature

    def _is_settled(self) -> bool:
        try:
            return self._log.stat().st_size == 0
        except OSError:
            return True

    def _current_reader(self) -> Store:
        """Return what reads the file that is there now."""
        signature = FileSignature.of(self._path)
        if signature == self._signature and self._reader is not None:
            return self._reader
        if (
            self._reader is not None
            and self._signature is not None
            and signature.is_same_file(self._signature)
            and self._lock.locked()
        ):
            return self._reader  # we are writing: most likely it is we who change the file
        if not self._lock.acquire(timeout=REOPEN_TIMEOUT_S):
            raise sqlite3.OperationalError('the file was replaced while it was written to')
        try:
            return self._reopen(FileSignature.of(self._path))
        finally:
            self._lock.release()

    def _reopen(self, signature: FileSignature) -> Store:
        """Open the file anew, because it is another one or another program has written to it."""
        older = self._signature
        if signature == older and self._reader is not None:
            return self._reader  # it was we
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
        """Remove what the file that is gone has left: SQLite would add it to the new one."""
        if self._log_inode is None or self._inode_of_log() != self._log_inode:
            return
        # If the new one is not for us, the old one may come back, and needs it.
        check_is_ours(self._path)
        self._log.unlink()
