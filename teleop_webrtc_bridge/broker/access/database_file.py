"""
The broker's SQLite file: opens it, recognises it as ours, migrates its schema.

A file is changed only after it has been recognised as ours.
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

from dataclasses import dataclass
import os
from pathlib import Path
import sqlite3
from typing import Final, Self

__all__ = [
    'BUSY_TIMEOUT_S',
    'DATABASE_NAME',
    'FileSignature',
    'check_is_ours',
    'connect',
    'create_file',
]

DATABASE_NAME: Final = 'broker.sqlite3'
APPLICATION_ID: Final = 0x54656C65
"""In the file's header: "Tele"."""
BUSY_TIMEOUT_S: Final = 5.0
"""How long SQLite waits for another process that writes."""

_CREATE: Final = (
    """
    CREATE TABLE robot_key (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        prefix TEXT NOT NULL,
        name TEXT NOT NULL,
        robot_id TEXT,
        owner TEXT NOT NULL,
        created_at_s REAL NOT NULL,
        revoked_at_s REAL
    ) STRICT
    """,
    """
    CREATE TABLE operator_token (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        sub TEXT NOT NULL,
        role TEXT NOT NULL,
        created_at_s REAL NOT NULL,
        expires_at_s REAL,
        revoked_at_s REAL
    ) STRICT
    """,
)
_TENANTS: Final = ('ALTER TABLE operator_token ADD COLUMN tenant TEXT',)
_AUDIT: Final = (
    # The cost of one tenant's counts and lists must not depend on other tenants.
    'CREATE INDEX robot_key_of_owner ON robot_key (owner) WHERE revoked_at_s IS NULL',
    """
    CREATE INDEX operator_token_of_tenant ON operator_token (coalesce(tenant, sub))
    WHERE revoked_at_s IS NULL
    """,
    """
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at_s REAL NOT NULL,
        action TEXT NOT NULL,
        tenant TEXT NOT NULL,
        subject TEXT NOT NULL,
        role TEXT NOT NULL,
        robot_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        address TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT
    """,
    'CREATE INDEX audit_at ON audit (at_s)',
    """
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    """
    CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    # The setting audit_days is at least one.
    """
    CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
    WHEN OLD.at_s > CAST(strftime('%s', 'now') AS INTEGER) - 86400
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    f'PRAGMA application_id = {APPLICATION_ID}',
)

_KEY_USAGE: Final = ('ALTER TABLE robot_key ADD COLUMN last_used_at_s REAL',)

#: Version n → the statements that migrate it to n + 1.
_STEPS: Final = (_CREATE, _TENANTS, _AUDIT, _KEY_USAGE)
#: Version → its tables.
_TABLES: Final = (
    frozenset[str](),
    frozenset({'robot_key', 'operator_token'}),
    frozenset({'robot_key', 'operator_token'}),
    frozenset({'robot_key', 'operator_token', 'audit'}),
    frozenset({'robot_key', 'operator_token', 'audit'}),
)
MARKED_SINCE: Final = 3
"""The first version whose file header has our application id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSignature:
    """Detects that a file was replaced or written to by another program."""

    device: int
    inode: int
    size_bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """
        Return the signature of a file.

        :raises OSError: It is missing or inaccessible.
        """
        found = path.stat()
        return cls(
            device=found.st_dev,
            inode=found.st_ino,
            size_bytes=found.st_size,
            changed_ns=found.st_mtime_ns,
        )

    def is_same_file(self, other: FileSignature) -> bool:
        return (self.device, self.inode) == (other.device, other.inode)


def create_file(directory: Path) -> None:
    """
    Create an empty file with mode 0600, unless the file exists.

    :raises OSError: The directory is unusable.
    """
    # The mode of an existing directory is left alone: it may be somebody's home.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / DATABASE_NAME
    try:
        # O_EXCL: closing a descriptor of a file that SQLite has open in this process would
        # release SQLite's locks.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        path.chmod(0o600)  # SQLite gives the same mode to the files beside it


def connect(path: Path, *, may_be_new: bool) -> sqlite3.Connection:
    """
    Open a database of ours and migrate it to the current version.

    :param may_be_new: Create the tables if the file is empty.
    :raises sqlite3.Error: It is unusable, or another program has written it.
    """
    database = sqlite3.connect(
        f'{path.absolute().as_uri()}?mode=rw',
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,  # one thread at a time, not always the same one
    )
    try:
        if _version(database) == 0 and not may_be_new:
            raise sqlite3.DatabaseError(f'{path.name} is empty')
        # With WAL, readers do not wait for writers.
        database.execute('PRAGMA journal_mode = WAL')
        # The writer decides when to checkpoint: see Store.checkpoint().
        database.execute('PRAGMA wal_autocheckpoint = 0')
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def check_is_ours(path: Path) -> None:
    """
    Check a database file alone, without its write-ahead log.

    :raises sqlite3.Error: It is unusable, or another program has written it.
    """
    database = sqlite3.connect(f'{path.absolute().as_uri()}?immutable=1', uri=True)
    try:
        _version(database)
    finally:
        database.close()


def _version(database: sqlite3.Connection) -> int:
    """
    Return the schema version of a database of ours; 0: it is empty.

    :raises sqlite3.Error: Another program has written it, or a newer broker.
    """
    (application_id,) = database.execute('PRAGMA application_id').fetchone()
    (version,) = database.execute('PRAGMA user_version').fetchone()
    if application_id == APPLICATION_ID and version >= len(_TABLES):
        raise sqlite3.DatabaseError(f'written by a newer version of the broker: {version}')
    rows = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    tables = {name for (name,) in rows if not name.startswith('sqlite_')}
    known = _TABLES[version] if 0 <= version < len(_TABLES) else frozenset[str]()
    if foreign := sorted(tables - known):
        shown = ', '.join(repr(name) for name in foreign[:4])
        raise sqlite3.DatabaseError(f'another program has written it: it has tables {shown}')
    expected = APPLICATION_ID if version >= MARKED_SINCE else 0
    if tables != known or application_id != expected or version < 0:
        raise sqlite3.DatabaseError('another program has written it')
    return int(version)


def _migrate(database: sqlite3.Connection) -> None:
    if _version(database) == len(_STEPS):
        return
    database.execute('BEGIN IMMEDIATE')
    try:
        version = _version(database)  # another process may have been faster
        for step in _STEPS[version:]:
            for statement in step:
                database.execute(statement)
        database.execute(f'PRAGMA user_version = {len(_STEPS)}')
    except BaseException:
        database.execute('ROLLBACK')
        raise
    database.execute('COMMIT')
