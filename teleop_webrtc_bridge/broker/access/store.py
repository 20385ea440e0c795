"""
The store: robot API keys, operator tokens and the audit trail, in SQLite.

Only SHA-256 hashes of secrets are stored. A slow password hash is not needed: every secret has 160
random bits, so nobody can guess one or search for the one behind a hash. Lookup by hash is safe
for the same reason: its duration depends on bits of the hash, which a caller cannot steer towards
a stored one.
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

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
import hashlib
import json
from pathlib import Path
import secrets
import sqlite3
from typing import Any, Final, Self

from teleop_webrtc_bridge.broker.access.database_file import (
    BUSY_TIMEOUT_S,
    connect,
    create_file,
    DATABASE_NAME,
)
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.core.exceptions import ConfigurationError, TeleopError

__all__ = [
    'API_KEY_PREFIX',
    'OPERATOR_TOKEN_PREFIX',
    'SECRET_BYTES',
    'AuditRow',
    'KeyRecord',
    'Known',
    'Store',
    'TokenRecord',
    'TooManyCredentials',
    'hash_of',
]

API_KEY_PREFIX: Final = 'dtk_live_'
OPERATOR_TOKEN_PREFIX: Final = 'dto_live_'
SECRET_BYTES: Final = 20
SHOWN_CHARS: Final = len(API_KEY_PREFIX) + 8
"""Length of the key prefix that is displayed; the remaining 128 bits stay secret."""
CHECKPOINT_BUSY_MS: Final = 100
"""How long a checkpoint waits for readers."""
ROWS_AT_ONCE: Final = 500
NO_CAP: Final = 2**63 - 1


class TooManyCredentials(TeleopError):
    """A tenant has reached its limit of keys or tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The caller to whom a secret belongs."""

    caller: RobotCaller | OperatorCaller
    is_revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """An API key without its secret."""

    key_id: str
    name: str
    prefix: str
    robot_id: str | None
    owner: str
    created_at_s: float
    """Seconds since 1970, like all times here."""
    last_used_at_s: float | None = None
    """``None``: no use has been recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """An operator token without its secret."""

    token_id: str
    sub: str
    role: Role
    tenant: str
    created_at_s: float
    expires_at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One line of the audit trail."""

    at_s: float
    action: str
    tenant: str = ''
    subject: str = ''
    role: str = ''
    robot_id: str = ''
    session_id: str = ''
    address: str = ''
    detail: str = ''


class Store:
    """One connection to the database; used by one thread at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def open(cls, directory: Path, *, may_create: bool = True) -> Self:
        """
        Open the database in a directory, or create it.

        :raises ConfigurationError: The directory or the database is unusable.
        """
        try:
            if may_create:
                create_file(directory)
            elif not (directory / DATABASE_NAME).is_file():
                raise FileNotFoundError(f'there is no {DATABASE_NAME}')
            return cls(connect(directory / DATABASE_NAME, may_be_new=may_create))
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                '--state-dir', str(directory), f'a directory for our database ({error})'
            ) from error

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """
        Open an existing database.

        :raises sqlite3.Error: It is unusable.
        """
        return cls(connect(path, may_be_new=False))

    def close(self) -> None:
        self._database.close()

    def checkpoint(self) -> int:
        """
        Move the write-ahead log into the database file, unless a reader is active.

        If somebody replaces the file, the log of the old one must be empty: SQLite would apply it
        to the new one.

        :returns: Size of the file once everything is written, in bytes.
        """
        self._database.execute(f'PRAGMA busy_timeout = {CHECKPOINT_BUSY_MS}')
        with suppress(sqlite3.Error):  # nothing is lost, and the next call tries again
            self._database.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()
        self._database.execute(f'PRAGMA busy_timeout = {int(1e3 * BUSY_TIMEOUT_S)}')
        (pages,) = self._database.execute('PRAGMA page_count').fetchone()
        (page_bytes,) = self._database.execute('PRAGMA page_size').fetchone()
        return int(pages * page_bytes)

    def version(self) -> int:
        """Return a number that changes with each commit through another connection."""
        (version,) = self._database.execute('PRAGMA data_version').fetchone()
        return int(version)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the changes made inside, or roll them back if an exception is raised."""
        self._database.execute('BEGIN IMMEDIATE')
        try:
            yield
            self._database.execute('COMMIT')
        except BaseException:
            if self._database.in_transaction:  # a full disk may have ended it
                self._database.execute('ROLLBACK')
            raise

    def is_empty(self) -> bool:
        """Return whether no key and no token has ever been made."""
        query = 'SELECT EXISTS (SELECT 1 FROM robot_key) OR EXISTS (SELECT 1 FROM operator_token)'
        (occupied,) = self._database.execute(query).fetchone()
        return not occupied

    def in_force(
        self, key_ids: Collection[str], token_ids: Collection[str], now_s: float
    ) -> tuple[set[str], set[str]]:
        """
        Return those of the given keys and tokens that are neither revoked nor expired.

        :param now_s: Seconds since 1970, as everywhere in this class.
        """
        # fetchall: a query that is still open would keep seeing the database as it was.
        keys = self._database.execute(
            'SELECT robot_key.id FROM json_each(?) CROSS JOIN robot_key ON robot_key.id = value'
            ' WHERE revoked_at_s IS NULL',
            (json.dumps(list(key_ids)),),
        ).fetchall()
        tokens = self._database.execute(
            'SELECT operator_token.id FROM json_each(?)'
            ' CROSS JOIN operator_token ON operator_token.id = value'
            ' WHERE revoked_at_s IS NULL AND (expires_at_s IS NULL OR expires_at_s > ?)',
            (json.dumps(list(token_ids)), now_s),
        ).fetchall()
        return {key for (key,) in keys}, {token for (token,) in tokens}

    # --- robot API keys ------------------------------------------------------------------------

    def create_robot_key(
        self,
        *,
        name: str,
        robot_id: str | None,
        owner: str,
        now_s: float,
        most: int = NO_CAP,
    ) -> tuple[KeyRecord, str]:
        """
        Create an API key.

        :param robot_id: The only robot that may use it; ``None``: any of the owner's.
        :param most: How many keys the owner may have; exact only inside a transaction.
        :returns: Its record, and the key itself, which is not stored.
        :raises TooManyCredentials: The owner already has that many.
        """
        query = 'SELECT count(*) FROM robot_key WHERE owner = ? AND revoked_at_s IS NULL'
        (count,) = self._database.execute(query, (owner,)).fetchone()
        if count >= most:
            raise TooManyCredentials(
                f'Tenant {owner!r} has {count} API keys; revoke some'
                f' (caps.keys_per_tenant: {most})'
            )
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
            (record.key_id, hash_of(api_key), record.prefix, name, robot_id, owner, now_s),
        )
        return record, api_key

    def robot_of(self, secret_hash: bytes) -> Known | None:
        """Return the caller to whom the key behind a hash belongs or belonged."""
        row = self._database.execute(
            'SELECT id, owner, robot_id, revoked_at_s FROM robot_key WHERE hash = ?',
            (secret_hash,),
        ).fetchone()
        if row is None:
            return None
        caller = RobotCaller(key_id=row[0], owner=row[1], robot_id=row[2])
        return Known(caller=caller, is_revoked=row[3] is not None)

    def robot_keys(self, caller: OperatorCaller) -> list[KeyRecord]:
        """Return the valid keys that a caller may see, the oldest first."""
        where, values = _visible(caller, 'owner')
        rows = self._database.execute(
            f'SELECT {_KEY_COLUMNS} FROM robot_key'
            f' WHERE revoked_at_s IS NULL AND {where} ORDER BY created_at_s, rowid',
            values,
        )
        return [_key_record(row) for row in rows]

    def revoke_robot_key(
        self, key_id: str, caller: OperatorCaller, now_s: float
    ) -> KeyRecord | None:
        """
        Revoke a key for good.

        :returns: Its record; ``None``: the caller may see no such key.
        """
        where, values = _visible(caller, 'owner')
        rows = self._database.execute(
            'UPDATE robot_key SET revoked_at_s = ? WHERE id = ? AND revoked_at_s IS NULL'
            f' AND {where} RETURNING {_KEY_COLUMNS}',
            (now_s, key_id, *values),
        ).fetchall()
        return _key_record(rows[0]) if rows else None

    def note_key_usage(self, last_used_s: Mapping[str, float]) -> None:
        """Store when some keys were last used, by key id."""
        self._database.executemany(
            'UPDATE robot_key SET last_used_at_s = ? WHERE id = ?',
            [(at_s, key_id) for key_id, at_s in last_used_s.items()],
        )

    # --- operator tokens -----------------------------------------------------------------------

    def create_operator_token(
        self,
        *,
        sub: str,
        role: Role,
        now_s: float,
        expires_at_s: float | None,
        tenant_name: str | None = None,
        most: int = NO_CAP,
    ) -> str:
        """
        Create a bearer token.

        :param expires_at_s: ``None``: never.
        :param tenant_name: The tenant whose robots the token gives access to; ``None``: the one
            named ``sub``.
        :param most: How many tokens the tenant may have; exact only inside a transaction.
        :returns: The token, which is not stored.
        :raises TooManyCredentials: The tenant already has that many.
        """
        tenant = sub if tenant_name is None else tenant_name
        (count,) = self._database.execute(
            f'SELECT count(*) FROM operator_token WHERE {_TENANT} = ? AND {_TOKEN_WORKS}',
            (tenant, now_s),
        ).fetchone()
        if count >= most:
            raise TooManyCredentials(
                f'Tenant {tenant!r} has {count} operator tokens; revoke some'
                f' (caps.tokens_per_tenant: {most})'
            )
        token = OPERATOR_TOKEN_PREFIX + secrets.token_hex(SECRET_BYTES)
        self._database.execute(
            'INSERT INTO operator_token (id, hash, sub, role, tenant, created_at_s, expires_at_s)'
            ' VALUES (?, ?, ?, ?, ?, ?, ?)',
            (
                secrets.token_hex(8),
                hash_of(token),
                sub,
                role.value,
                None if tenant == sub else tenant,
                now_s,
                expires_at_s,
            ),
        )
        return token

    def token_record(self, token: str) -> TokenRecord:
        """
        Return the record of a token.

        :raises KeyError: It is unknown.
        """
        row = self._database.execute(
            f'SELECT {_TOKEN_COLUMNS} FROM operator_token WHERE hash = ?', (hash_of(token),)
        ).fetchone()
        if row is None:
            raise KeyError
        return _token_record(row)

    def operator_of(self, secret_hash: bytes) -> Known | None:
        """Return the caller to whom the token behind a hash belongs or belonged."""
        row = self._database.execute(
            'SELECT sub, role, tenant, id, expires_at_s, revoked_at_s FROM operator_token'
            ' WHERE hash = ?',
            (secret_hash,),
        ).fetchone()
        if row is None:
            return None
        caller = OperatorCaller(
            sub=row[0],
            role=Role(row[1]),
            tenant_name=row[2],
            token_id=row[3],
            expires_at_s=row[4],
        )
        return Known(caller=caller, is_revoked=row[5] is not None)

    def operator_tokens(self, caller: OperatorCaller, now_s: float) -> list[TokenRecord]:
        """Return the valid tokens that a caller may see, the oldest first."""
        where, values = _visible(caller, _TENANT)
        rows = self._database.execute(
            f'SELECT {_TOKEN_COLUMNS} FROM operator_token WHERE {_TOKEN_WORKS} AND {where}'
            ' ORDER BY created_at_s, rowid',
            (now_s, *values),
        )
        return [_token_record(row) for row in rows]

    def revoke_operator_token(
        self, token_id: str, caller: OperatorCaller, now_s: float
    ) -> TokenRecord | None:
        """
        Revoke one token for good.

        :returns: Its record; ``None``: the caller may see no such token.
        """
        where, values = _visible(caller, _TENANT)
        rows = self._revoke_tokens(f'id = ? AND {where}', (token_id, *values), now_s)
        return rows[0] if rows else None

    def revoke_operator_tokens(self, sub: str, now_s: float) -> list[TokenRecord]:
        """Revoke all tokens with a name, whatever their tenant, and return their records."""
        return self._revoke_tokens('sub = ?', (sub,), now_s)

    def _revoke_tokens(
        self, where: str, values: tuple[str, ...], now_s: float
    ) -> list[TokenRecord]:
        rows = self._database.execute(
            f'UPDATE operator_token SET revoked_at_s = ? WHERE {_TOKEN_WORKS} AND {where}'
            f' RETURNING {_TOKEN_COLUMNS}',
            (now_s, now_s, *values),
        ).fetchall()
        return [_token_record(row) for row in rows]

    # --- the audit trail -----------------------------------------------------------------------

    def append_audit(self, rows: Iterable[AuditRow]) -> None:
        """Append lines to the audit trail."""
        self._database.executemany(
            f'INSERT INTO audit ({", ".join(_AUDIT_COLUMNS)})'
            f' VALUES ({", ".join("?" * len(_AUDIT_COLUMNS))})',
            [astuple(row) for row in rows],
        )

    def audit(self, *, since_s: float = 0.0, robot_id: str | None = None) -> Iterator[AuditRow]:
        """
        Return lines of the audit trail, the newest last.

        :param robot_id: Only lines about robots with this name; ``None``: all.
        """
        after = (since_s, -1)
        # In portions: a slow reader must not hold up the checkpoint.
        while rows := self._database.execute(
            f'SELECT number, {", ".join(_AUDIT_COLUMNS)} FROM audit'
            ' WHERE (at_s, number) > (?, ?) AND (? IS NULL OR robot_id = ?)'
            ' ORDER BY at_s, number LIMIT ?',
            (*after, robot_id, robot_id, ROWS_AT_ONCE),
        ).fetchall():
            for number, *row in rows:
                line = AuditRow(**dict(zip(_AUDIT_COLUMNS, row, strict=True)))
                yield line
                after = (line.at_s, number)

    def forget_audit(self, before_s: float) -> None:
        """Delete the lines of the audit trail that are older than a time."""
        self._database.execute('DELETE FROM audit WHERE at_s < ?', (before_s,))


_KEY_COLUMNS: Final = 'id, name, prefix, robot_id, owner, created_at_s, last_used_at_s'
_TENANT: Final = 'coalesce(tenant, sub)'
_TOKEN_COLUMNS: Final = f'id, sub, role, {_TENANT}, created_at_s, expires_at_s'
_TOKEN_WORKS: Final = 'revoked_at_s IS NULL AND (expires_at_s IS NULL OR expires_at_s > ?)'
_AUDIT_COLUMNS: Final = tuple(field.name for field in fields(AuditRow))


def _key_record(row: tuple[Any, ...]) -> KeyRecord:
    return KeyRecord(
        key_id=row[0],
        name=row[1],
        prefix=row[2],
        robot_id=row[3],
        owner=row[4],
        created_at_s=row[5],
        last_used_at_s=row[6],
    )


def _token_record(row: tuple[Any, ...]) -> TokenRecord:
    return TokenRecord(
        token_id=row[0],
        sub=row[1],
        role=Role(row[2]),
        tenant=row[3],
        created_at_s=row[4],
        expires_at_s=row[5],
    )


def _visible(caller: OperatorCaller, tenant: str) -> tuple[str, tuple[str, ...]]:
    """Return the SQL condition that selects what a caller may see, and its values."""
    if caller.role is Role.ADMIN:
        return 'TRUE', ()
    return f'{tenant} = ?', (caller.tenant,)


def hash_of(secret: str) -> bytes:
    """Return the hash under which a secret is stored."""
    return hashlib.sha256(secret.encode('utf-8', 'surrogateescape')).digest()
