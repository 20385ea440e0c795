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

"""
Robot API keys and operator tokens, on disk.

Only SHA-256 hashes are kept. That is enough here, and no slow password hash is needed, because
every secret has 160 random bits: nobody can guess one, so nobody can search for the one behind a
hash. It is also why looking a secret up by its hash is safe: how long the lookup takes depends on
bits of the hash, which a caller cannot steer towards a stored one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import secrets
import sqlite3
from typing import Final, Self

from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.exceptions import ConfigurationError

__all__ = ['OPERATOR_TOKEN_PREFIX', 'KeyRecord', 'Store', 'TokenRecord']

DATABASE_NAME: Final = 'broker.sqlite3'
API_KEY_PREFIX: Final = 'dtk_live_'
OPERATOR_TOKEN_PREFIX: Final = 'dto_live_'
SECRET_BYTES: Final = 20
#: So much of a key is shown, to tell keys apart; the remaining 128 bits stay secret.
SHOWN_CHARS: Final = len(API_KEY_PREFIX) + 8
#: A lookup by a caller's text is not worth hashing megabytes.
MAX_SECRET_CHARS: Final = 256
#: How long to wait for another process that writes, in seconds; the event loop waits too.
BUSY_TIMEOUT_S: Final = 1.0

_SCHEMA_VERSION: Final = 2
#: What brings a database from version n to n + 1.
_SCHEMAS: Final = (
    """
BEGIN;
CREATE TABLE robot_key (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    name TEXT NOT NULL,
    robot_id TEXT,
    owner TEXT NOT NULL,
    created_at_s REAL NOT NULL,
    revoked_at_s REAL
) STRICT;
CREATE TABLE operator_token (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    sub TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at_s REAL NOT NULL,
    expires_at_s REAL,
    revoked_at_s REAL
) STRICT;
PRAGMA user_version = 1;
COMMIT;
""",
    """
BEGIN;
ALTER TABLE operator_token ADD COLUMN tenant TEXT;
PRAGMA user_version = 2;
COMMIT;
""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is known of an API key; not the key."""

    key_id: str
    name: str
    prefix: str
    robot_id: str | None
    owner: str
    created_at_s: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What is known of an operator's token; not the token."""

    token_id: str
    sub: str
    role: Role
    tenant: str
    created_at_s: float
    """Seconds since 1970."""
    expires_at_s: float | None


class Store:
    """
    Owns the database connection; used by one thread.

    Lookups are of one row by its index and take some 10 µs, so they run on the event loop.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def open(cls, directory: Path) -> Self:
        """
        Open, or create, the database in a directory.

        :raises ConfigurationError: The directory or the database cannot be used.
        """
        try:
            # A directory that exists is left as it is: it may be somebody's home.
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = directory / DATABASE_NAME
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)  # SQLite gives the same mode to the files beside it
            return cls(_connect(path))
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                '--state-dir', str(directory), f'a directory for our database ({error})'
            ) from error

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all that happens inside, or nothing of it if an exception leaves."""
        self._database.execute('BEGIN IMMEDIATE')
        try:
            yield
        except BaseException:
            self._database.execute('ROLLBACK')
            raise
        self._database.execute('COMMIT')

    def is_empty(self) -> bool:
        """Return whether nobody was ever given a key or a token."""
        query = 'SELECT EXISTS (SELECT 1 FROM robot_key) OR EXISTS (SELECT 1 FROM operator_token)'
        (occupied,) = self._database.execute(query).fetchone()
        return not occupied

    # --- robot API keys ------------------------------------------------------------------------

    def create_robot_key(
        self, *, name: str, robot_id: str | None, owner: str, now_s: float
    ) -> tuple[KeyRecord, str]:
        """
        Make an API key.

        :param robot_id: The only robot that it is good for; ``None``: any of the owner's.
        :param now_s: Seconds since 1970.
        :returns: What is known of it, and the key itself, which is nowhere kept.
        """
        api_key = API_KEY_PREFIX + secrets.token_hex(SECRET_BYTES)
        record = KeyRecord(
            key_id=secrets.token_hex(8),
            name=name,
            prefix=api_key[:SHOWN_CHARS],
            robot_id=robot_id,
            owner=owner,
            created_at_s=now_s,
        )
        self._database.execute(
            'INSERT INTO robot_key (id, hash, prefix, name, robot_id, owner, created_at_s)'
            ' VALUES (?, ?, ?, ?, ?, ?, ?)',
            (record.key_id, _hash(api_key), record.prefix, name, robot_id, owner, now_s),
        )
        return record, api_key

    def robot_of(self, api_key: str) -> RobotCaller | None:
        """Return whom a key belongs to, or ``None`` if it is unknown or revoked."""
        if len(api_key) > MAX_SECRET_CHARS:
            return None
        row = self._database.execute(
            'SELECT id, owner, robot_id FROM robot_key WHERE hash = ? AND revoked_at_s IS NULL',
            (_hash(api_key),),
        ).fetchone()
        return None if row is None else RobotCaller(key_id=row[0], owner=row[1], robot_id=row[2])

    def robot_keys(self, caller: OperatorCaller) -> list[KeyRecord]:
        """Return the keys that a caller may see and that work, the oldest first."""
        rows = self._database.execute(
            'SELECT id, name, prefix, robot_id, owner, created_at_s FROM robot_key'
            ' WHERE revoked_at_s IS NULL ORDER BY created_at_s, rowid'
        )
        records = [
            KeyRecord(
                key_id=row[0],
                name=row[1],
                prefix=row[2],
                robot_id=row[3],
                owner=row[4],
                created_at_s=row[5],
            )
            for row in rows
        ]
        return [record for record in records if caller.sees(record.owner)]

    def revoke_robot_key(self, key_id: str, caller: OperatorCaller, now_s: float) -> bool:
        """
        Make a key useless, from now on and for ever.

        :returns: Whether there was such a key that the caller may see.
        """
        if key_id not in {record.key_id for record in self.robot_keys(caller)}:
            return False
        self._database.execute(
            'UPDATE robot_key SET revoked_at_s = ? WHERE id = ?', (now_s, key_id)
        )
        return True

    def keys_in_force(self) -> set[str]:
        """Return the ids of all keys that are not revoked."""
        rows = self._database.execute('SELECT id FROM robot_key WHERE revoked_at_s IS NULL')
        return {key_id for (key_id,) in rows}

    # --- operator tokens -----------------------------------------------------------------------

    def create_operator_token(
        self,
        *,
        sub: str,
        role: Role,
        now_s: float,
        expires_at_s: float | None,
        tenant_name: str | None = None,
    ) -> str:
        """
        Make a bearer token.

        :param now_s: Seconds since 1970.
        :param expires_at_s: Seconds since 1970; ``None``: never.
        :param tenant_name: Whose robots are his; ``None``: those of the tenant called ``sub``.
        :returns: The token, which is nowhere kept.
        """
        token = OPERATOR_TOKEN_PREFIX + secrets.token_hex(SECRET_BYTES)
        self._database.execute(
            'INSERT INTO operator_token (id, hash, sub, role, tenant, created_at_s, expires_at_s)'
            ' VALUES (?, ?, ?, ?, ?, ?, ?)',
            (
                secrets.token_hex(8),
                _hash(token),
                sub,
                role.value,
                None if tenant_name == sub else tenant_name,
                now_s,
                expires_at_s,
            ),
        )
        return token

    def operator_of(self, token: str, now_s: float) -> OperatorCaller | None:
        """
        Return whom a token belongs to.

        :param now_s: Seconds since 1970.
        :returns: ``None`` if it is unknown, revoked or expired.
        """
        if len(token) > MAX_SECRET_CHARS:
            return None
        row = self._database.execute(
            'SELECT sub, role, tenant, id, expires_at_s FROM operator_token'
            ' WHERE hash = ? AND revoked_at_s IS NULL'
            ' AND (expires_at_s IS NULL OR expires_at_s > ?)',
            (_hash(token), now_s),
        ).fetchone()
        if row is None:
            return None
        return OperatorCaller(
            sub=row[0],
            role=Role(row[1]),
            tenant_name=row[2],
            token_id=row[3],
            expires_at_s=row[4],
        )

    def operator_tokens(self, caller: OperatorCaller, now_s: float) -> list[TokenRecord]:
        """
        Return the tokens that a caller may see and that work, the oldest first.

        :param now_s: Seconds since 1970.
        """
        rows = self._database.execute(
            'SELECT id, sub, role, coalesce(tenant, sub), created_at_s, expires_at_s'
            ' FROM operator_token WHERE revoked_at_s IS NULL'
            ' AND (expires_at_s IS NULL OR expires_at_s > ?) ORDER BY created_at_s, rowid',
            (now_s,),
        )
        records = [
            TokenRecord(
                token_id=row[0],
                sub=row[1],
                role=Role(row[2]),
                tenant=row[3],
                created_at_s=row[4],
                expires_at_s=row[5],
            )
            for row in rows
        ]
        return [record for record in records if caller.sees(record.tenant)]

    def token_record(self, token: str) -> TokenRecord:
        """
        Return what is known of a token.

        :raises KeyError: It is unknown.
        """
        row = self._database.execute(
            'SELECT id FROM operator_token WHERE hash = ?', (_hash(token),)
        ).fetchone()
        everybody = OperatorCaller(sub='', role=Role.ADMIN)
        known = {item.token_id: item for item in self.operator_tokens(everybody, float('-inf'))}
        return known[row[0] if row else '']

    def tokens_in_force(self, now_s: float) -> set[str]:
        """
        Return the ids of all tokens that are neither revoked nor expired.

        :param now_s: Seconds since 1970.
        """
        rows = self._database.execute(
            'SELECT id FROM operator_token WHERE revoked_at_s IS NULL'
            ' AND (expires_at_s IS NULL OR expires_at_s > ?)',
            (now_s,),
        )
        return {token_id for (token_id,) in rows}

    def revoke_operator_token(self, token_id: str, caller: OperatorCaller, now_s: float) -> bool:
        """
        Make one token useless, from now on and for ever.

        :returns: Whether there was such a token that the caller may see.
        """
        if token_id not in {item.token_id for item in self.operator_tokens(caller, now_s)}:
            return False
        self._database.execute(
            'UPDATE operator_token SET revoked_at_s = ? WHERE id = ?', (now_s, token_id)
        )
        return True

    def revoke_operator_tokens(self, sub: str, now_s: float) -> int:
        """
        Make all tokens of a person useless.

        :returns: How many there were.
        """
        return self._database.execute(
            'UPDATE operator_token SET revoked_at_s = ? WHERE sub = ? AND revoked_at_s IS NULL',
            (now_s, sub),
        ).rowcount


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        database.execute('PRAGMA journal_mode = WAL')
        (version,) = database.execute('PRAGMA user_version').fetchone()
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f'written by a newer version of the broker: {version}')
        for schema in _SCHEMAS[version:]:
            database.executescript(schema)
    except BaseException:
        database.close()
        raise
    return database


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode('utf-8', 'surrogateescape')).digest()
