"""
The broker's SQLite file: opening it, telling it from others', bringing it up to date.

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
"""In the header of the file: "Tele"."""
BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for another process that writes."""

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
    # What is counted and listed of one tenant must not cost more the more others have.
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

#: What brings a database from version n to n + 1.
_STEPS: Final = (_CREATE, _TENANTS, _AUDIT, _KEY_USAGE)
#: Version → the tables it has.
_TABLES: Final = (
    frozenset[str](),
    frozenset({'robot_key', 'operator_token'}),
    frozenset({'robot_key', 'operator_token'}),
    frozenset({'robot_key', 'operator_token', 'audit'}),
    frozenset({'robot_key', 'operator_token', 'audit'}),
)
MARKED_SINCE: Final = 3
"""The version from which on the file's header tells that it is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSignature:
    """Tells whether a path still names the same file, and whether anybody has written to it."""

    device: int
    inode: int
    size_bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """
        Look at a file.

        :raises OSError: It is missing, or cannot be looked at.
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
    Make an empty file that only we can read, unless there is a file.

    :raises OSError: The directory cannot be used.
    """
    # A directory that exists is left as it is: it may be somebody's home.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / DATABASE_NAME
    try:
        # Only a file that is new: closing a descriptor of one that SQLite has open in this
        # process would take SQLite's locks away.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        path.chmod(0o600)  # SQLite gives the same mode to the files beside it


def connect(path: Path, *, may_be_new: bool) -> sqlite3.Connection:
    """
    Open a database of ours and bring it up to date.

    :param may_be_new: An empty file becomes a database.
    :raises sqlite3.Error: It cannot be used, or somebody else has written it.
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
        # Who reads does not wait for whoever writes.
        database.execute('PRAGMA journal_mode = WAL')
        # When the log is emptied is decided by whoever writes: see Store.settle().
        database.execute('PRAGMA wal_autocheckpoint = 0')
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def check_is_ours(path: Path) -> None:
    """
    Look at a database as it is without its log, and at nothing beside it.

    :raises sqlite3.Error: It cannot be used, or somebody else has written it.
    """
    database = sqlite3.connect(f'{path.absolute().as_uri()}?immutable=1', uri=True)
    try:
        _version(database)
    finally:
        database.close()


def _version(database: sqlite3.Connection) -> int:
    """
    Return the version of a database of ours; 0: it is empty.

    :raises sqlite3.Error: Somebody else has written it, or a newer broker.
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
