"""
Robot API keys, operator tokens and the audit trail, on disk.

Only SHA-256 hashes of secrets are kept. That is enough here, and no slow password hash is needed,
because every secret has 160 random bits: nobody can guess one, so nobody can search for the one
behind a hash. It is also why looking a secret up by its hash is safe: how long the lookup takes
depends on bits of the hash, which a caller cannot steer towards a stored one.
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
from dataclasses import astuple, fields
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
from teleop_webrtc_bridge.broker.access.records import (
    AuditRow,
    KeyRecord,
    Known,
    TokenRecord,
    TooManyCredentials,
)
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['API_KEY_PREFIX', 'OPERATOR_TOKEN_PREFIX', 'SECRET_BYTES', 'Store', 'hash_of']

API_KEY_PREFIX: Final = 'dtk_live_'
OPERATOR_TOKEN_PREFIX: Final = 'dto_live_'
SECRET_BYTES: Final = 20
#: So much of a key is shown, to tell keys apart; the remaining 128 bits stay secret.
SHOWN_CHARS: Final = len(API_KEY_PREFIX) + 8
SETTLE_BUSY_MS: Final = 100
"""How long to wait for readers before the log is left as it is."""
ROWS_AT_ONCE: Final = 500
NO_CAP: Final = 2**63 - 1


class Store:
    """Owns one connection to the database; used by one thread at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def open(cls, directory: Path, *, may_create: bool = True) -> Self:
        """
        Open, or create, the database in a directory.

        :raises ConfigurationError: The directory or the database cannot be used.
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
        Open a database that is there.

        :raises sqlite3.Error: It cannot be used.
        """
        return cls(connect(path, may_be_new=False))

    def close(self) -> None:
        self._database.close()

    def settle(self) -> int:
        """
        Move what was written from the log into the database file, if nobody reads just now.

        If somebody puts another file in its place, the log of the old one must be empty: SQLite
        would add it to the new one.

        :returns: How large the file is to be, in bytes.
        """
        self._database.execute(f'PRAGMA busy_timeout = {SETTLE_BUSY_MS}')
        with suppress(sqlite3.Error):  # the log is as good, and the next call tries again
            self._database.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()
        self._database.execute(f'PRAGMA busy_timeout = {int(1e3 * BUSY_TIMEOUT_S)}')
        (pages,) = self._database.execute('PRAGMA page_count').fetchone()
        (page_bytes,) = self._database.execute('PRAGMA page_size').fetchone()
        return int(pages * page_bytes)

    def version(self) -> int:
        """Return a number that is another one after each change through other connections."""
        (version,) = self._database.execute('PRAGMA data_version').fetchone()
        return int(version)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all that happens inside, or nothing of it if an exception leaves."""
        self._database.execute('BEGIN IMMEDIATE')
        try:
            yield
            self._database.execute('COMMIT')
        except BaseException:
            if self._database.in_transaction:  # a full disk may have ended it
                self._database.execute('ROLLBACK')
            raise

    def is_empty(self) -> bool:
        """Return whether nobody was ever given a key or a token."""
        query = 'SELECT EXISTS (SELECT 1 FROM robot_key) OR EXISTS (SELECT 1 FROM operator_token)'
        (occupied,) = self._database.execute(query).fetchone()
        return not occupied

    def in_force(
        self, key_ids: Collection[str], token_ids: Collection[str], now_s: float
    ) -> tuple[set[str], set[str]]:
        """
        Return those of some keys and tokens that are neither revoked nor expired.

        :param now_s: Seconds since 1970.
        """
        # Fetched at once: a query that is not at its end sees the database as it was.
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
        Make an API key.

        :param robot_id: The only robot that it is good for; ``None``: any of the owner's.
        :param now_s: Seconds since 1970.
        :param most: How many the owner may have; inside a transaction, nobody gets in between.
        :returns: What is known of it, and the key itself, which is nowhere kept.
        :raises TooManyCredentials: The owner has that many.
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
        """Return whom the key behind a hash belongs to, or belonged to."""
        row = self._database.execute(
            'SELECT id, owner, robot_id, revoked_at_s FROM robot_key WHERE hash = ?',
            (secret_hash,),
        ).fetchone()
        if row is None:
            return None
        caller = RobotCaller(key_id=row[0], owner=row[1], robot_id=row[2])
        return Known(caller=caller, is_revoked=row[3] is not None)

    def robot_keys(self, caller: OperatorCaller) -> list[KeyRecord]:
        """Return the keys that a caller may see and that work, the oldest first."""
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
        Make a key useless, from now on and for ever.

        :returns: What it was; ``None``: there is no such key that the caller may see.
        """
        where, values = _visible(caller, 'owner')
        rows = self._database.execute(
            'UPDATE robot_key SET revoked_at_s = ? WHERE id = ? AND revoked_at_s IS NULL'
            f' AND {where} RETURNING {_KEY_COLUMNS}',
            (now_s, key_id, *values),
        ).fetchall()
        return _key_record(rows[0]) if rows else None

    def note_key_usage(self, last_used_s: Mapping[str, float]) -> None:
        """
        Note when some keys were last used.

        :param last_used_s: Key → seconds since 1970.
        """
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
        Make a bearer token.

        :param now_s: Seconds since 1970.
        :param expires_at_s: Seconds since 1970; ``None``: never.
        :param tenant_name: The tenant whose robots it is for; ``None``: the one called ``sub``.
        :param most: How many the tenant may have; inside a transaction, nobody gets in between.
        :returns: The token, which is nowhere kept.
        :raises TooManyCredentials: The tenant has that many.
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
        Return what is known of a token.

        :raises KeyError: It is unknown.
        """
        row = self._database.execute(
            f'SELECT {_TOKEN_COLUMNS} FROM operator_token WHERE hash = ?', (hash_of(token),)
        ).fetchone()
        if row is None:
            raise KeyError
        return _token_record(row)

    def operator_of(self, secret_hash: bytes) -> Known | None:
        """Return whom the token behind a hash belongs to, or belonged to, expired or not."""
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
        """
        Return the tokens that a caller may see and that work, the oldest first.

        :param now_s: Seconds since 1970.
        """
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
        Make one token useless, from now on and for ever.

        :returns: What it was; ``None``: there is no such token that the caller may see.
        """
        where, values = _visible(caller, _TENANT)
        rows = self._revoke_tokens(f'id = ? AND {where}', (token_id, *values), now_s)
        return rows[0] if rows else None

    def revoke_operator_tokens(self, sub: str, now_s: float) -> list[TokenRecord]:
        """
        Make all tokens of a name useless, of whatever tenant.

        :returns: What they were.
        """
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
        """Add lines to the audit trail, in their order."""
        self._database.executemany(
            f'INSERT INTO audit ({", ".join(_AUDIT_COLUMNS)})'
            f' VALUES ({", ".join("?" * len(_AUDIT_COLUMNS))})',
            [astuple(row) for row in rows],
        )

    def audit(self, *, since_s: float = 0.0, robot_id: str | None = None) -> Iterator[AuditRow]:
        """
        Return lines of the audit trail, the newest last.

        :param since_s: Seconds since 1970.
        :param robot_id: Only those of robots with this name; ``None``: all.
        """
        after = (since_s, -1)
        # Bit by bit: whoever reads slowly must not keep the log from being emptied.
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
        """Delete the lines of the audit trail from before a time, in seconds since 1970."""
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
    """Return a condition for what a caller may see, and its values."""
    if caller.role is Role.ADMIN:
        return 'TRUE', ()
    return f'{tenant} = ?', (caller.tenant,)


def hash_of(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode('utf-8', 'surrogateescape')).digest()
