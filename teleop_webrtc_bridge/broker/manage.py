"""
The commands ``teleop_broker keys …``, ``teleop_broker operators …`` and ``teleop_broker audit``.

They work on the broker's database, whether the broker is running or not. A running broker
disconnects users of a revoked key or token within a second. Only ``add`` creates a database.
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

import argparse
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timedelta, UTC
import json
import os
import re
import sqlite3
import sys
import time
from typing import Final

from teleop_webrtc_bridge.broker.access.audit import about_key, about_token, AuditAction, DAY_S
from teleop_webrtc_bridge.broker.access.store import AuditRow, Store, TooManyCredentials
from teleop_webrtc_bridge.broker.configuration import OneLineParser, read_configuration
from teleop_webrtc_bridge.broker.identity import (
    as_label,
    as_name,
    LABEL_ALLOWED,
    NAME_ALLOWED,
    OperatorCaller,
    Role,
)
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['SUBJECTS', 'manage']

SUBJECTS: Final = ('keys', 'operators', 'audit')
WRITING: Final = ('add', 'revoke')
COMMAND_LINE: Final = 'command line'
FIRST_TENANT: Final = 'owner'
SINCE_ALLOWED: Final = 'a time such as 2026-11-30T14:00 (UTC), or a span such as 90m, 2h or 7d'
_SPAN: Final = re.compile(r'(\d{1,6})([smhdw])', re.ASCII)
_UNITS: Final = {'s': 'seconds', 'm': 'minutes', 'h': 'hours', 'd': 'days', 'w': 'weeks'}

#: Access to the database file includes access to all tenants.
_EVERYBODY: Final = OperatorCaller(sub='', role=Role.ADMIN)


def manage(arguments: Sequence[str]) -> int:
    """
    Carry out one command.

    :param arguments: They begin with one of :data:`SUBJECTS`.
    :returns: The exit status: 0; 1 if there is nothing to revoke, or too many to add another.
    :raises ConfigurationError: An argument or the database is unusable.
    """
    options = _parser().parse_args(arguments)
    places = [('--state-dir', options.state_dir), ('--config', options.config)]
    given = [word for name, value in places if value is not None for word in (name, value)]
    configuration = read_configuration(given)
    directory = configuration.state_dir
    # revoke must not create an empty database and report that it holds no such key.
    with closing(Store.open(directory, may_create=options.action == 'add')) as store:
        try:
            status = _carry_out(store, options, configuration.caps)
            sys.stdout.flush()
        except sqlite3.Error as error:
            allowed = f'a directory whose database can be used ({error})'
            raise ConfigurationError('--state-dir', str(directory), allowed) from error
        except BrokenPipeError:
            _end_output()
            return 0
        except TooManyCredentials as error:
            print(f'teleop_broker: {error}', file=sys.stderr)
            return 1
        if options.action in WRITING:
            store.checkpoint()
    return status


def _end_output() -> None:
    """Print nothing more: the reader, for example ``head``, has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _carry_out(store: Store, options: argparse.Namespace, caps: Limits) -> int:
    match options.subject, options.action:
        case 'keys', 'list':
            return _list_keys(store)
        case 'keys', 'add':
            return _add_key(store, options, caps)
        case 'keys', 'revoke':
            return _revoke_key(store, options.id)
        case 'operators', 'list':
            return _list_operators(store)
        case 'operators', 'add':
            return _add_operator(store, options, caps)
        case 'operators', 'revoke':
            return _revoke_operator(store, options.id)
        case _:
            since_s = _since(options.since, time.time())
            rows = store.audit(since_s=since_s, robot_id=options.robot)
            _print_json(rows) if options.json else _print_table(rows)
            return 0


def _parser() -> OneLineParser:
    parser = OneLineParser(prog='teleop_broker', allow_abbrev=False)
    subjects = parser.add_subparsers(dest='subject', required=True)
    keys = subjects.add_parser('keys', help='robot API keys')
    actions = keys.add_subparsers(dest='action', required=True)
    _common(actions.add_parser('list', help='list the valid keys'))
    add = _common(actions.add_parser('add', help='create a key; it is printed only once'))
    add.add_argument('name', help='a name for the key')
    add.add_argument(
        '--tenant', default=FIRST_TENANT, help=f'tenant of the robots ({FIRST_TENANT})'
    )
    add.add_argument('--robot-id', help='the only robot that may use it (any)')
    _revoke(actions, 'revoke a key', 'as shown by keys list')
    operators = subjects.add_parser('operators', help="operators' tokens")
    actions = operators.add_subparsers(dest='action', required=True)
    _common(actions.add_parser('list', help='list the valid tokens'))
    add = _common(actions.add_parser('add', help='create a token; it is printed only once'))
    add.add_argument('name', help='name of the person')
    add.add_argument(
        '--tenant', default=FIRST_TENANT, help=f'tenant of the robots ({FIRST_TENANT})'
    )
    roles = [role.value for role in Role]
    add.add_argument('--role', choices=roles, default='operator', help='(operator)')
    add.add_argument('--days', type=float, help='how long it is valid (for ever)')
    _revoke(actions, 'revoke tokens', 'the id of one token, or a name for all of their tokens')
    audit = _common(subjects.add_parser('audit', help='show who did what, newest last'))
    audit.set_defaults(action='list')
    audit.add_argument('--since', metavar='WHEN', help=f'{SINCE_ALLOWED} (all)')
    audit.add_argument('--robot', metavar='ROBOT_ID', help='show only actions on this robot (all)')
    audit.add_argument(
        '--json', action='store_true', help='print a JSON list, one object per line'
    )
    return parser


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument('--state-dir', metavar='DIR', help="the broker's")
    parser.add_argument('--config', metavar='FILE', help="the broker's")
    return parser


def _revoke(actions: argparse._SubParsersAction[OneLineParser], text: str, which: str) -> None:
    _common(actions.add_parser('revoke', help=text)).add_argument('id', help=which)


def _name(option: str, value: str) -> str:
    name = as_name(value)
    if name is None:
        raise ConfigurationError(option, value, NAME_ALLOWED)
    return name


def _robot_id(value: str | None) -> str | None:
    label = as_label(value or '')
    if label is None:
        raise ConfigurationError('--robot-id', value, LABEL_ALLOWED)
    return label or None


def _list_keys(store: Store) -> int:
    _table(
        ('ID', 'NAME', 'TENANT', 'ROBOT', 'KEY', 'CREATED', 'LAST USED'),
        [
            (
                key.key_id,
                key.name,
                key.owner,
                key.robot_id or 'any',
                f'{key.prefix}…',
                _date(key.created_at_s),
                'never' if key.last_used_at_s is None else _date(key.last_used_at_s),
            )
            for key in store.robot_keys(_EVERYBODY)
        ],
    )
    return 0


def _add_key(store: Store, options: argparse.Namespace, caps: Limits) -> int:
    name, tenant = _name('name', options.name), _name('--tenant', options.tenant)
    robot_id, now_s = _robot_id(options.robot_id), time.time()
    with store.transaction():
        record, key = store.create_robot_key(
            name=name, robot_id=robot_id, owner=tenant, now_s=now_s, most=caps.keys_per_tenant
        )
        _note(store, AuditAction.KEY_CREATED, about_key(record), record.robot_id)
    print(key)
    return 0


def _revoke_key(store: Store, key_id: str) -> int:
    with store.transaction():
        record = store.revoke_robot_key(key_id, _EVERYBODY, time.time())
        if record is not None:
            _note(store, AuditAction.KEY_REVOKED, about_key(record), record.robot_id)
    return _report(record is not None, f'key {key_id!r}')


def _note(store: Store, action: AuditAction, detail: str, robot_id: str | None = None) -> None:
    """Append a line to the audit trail."""
    row = AuditRow(
        at_s=time.time(),
        action=action.value,
        subject=COMMAND_LINE,
        robot_id=robot_id or '',
        address=COMMAND_LINE,
        detail=detail,
    )
    store.append_audit([row])


def _list_operators(store: Store) -> int:
    _table(
        ('ID', 'NAME', 'ROLE', 'TENANT', 'CREATED', 'EXPIRES'),
        [
            (
                token.token_id,
                token.sub,
                token.role.value,
                token.tenant,
                _date(token.created_at_s),
                'never' if token.expires_at_s is None else _date(token.expires_at_s),
            )
            for token in store.operator_tokens(_EVERYBODY, time.time())
        ],
    )
    return 0


def _add_operator(store: Store, options: argparse.Namespace, caps: Limits) -> int:
    now_s = time.time()
    if options.days is not None and not 0.0 < options.days <= 36500.0:
        raise ConfigurationError('--days', options.days, 'more than 0, up to 36500')
    name, tenant = _name('name', options.name), _name('--tenant', options.tenant)
    with store.transaction():
        token = store.create_operator_token(
            sub=name,
            role=Role(options.role),
            tenant_name=tenant,
            now_s=now_s,
            expires_at_s=None if options.days is None else now_s + options.days * DAY_S,
            most=caps.tokens_per_tenant,
        )
        _note(store, AuditAction.TOKEN_CREATED, about_token(store.token_record(token)))
    print(token)
    return 0


def _revoke_operator(store: Store, name: str) -> int:
    now_s = time.time()
    with store.transaction():
        one = store.revoke_operator_token(name, _EVERYBODY, now_s)
        revoked = [one] if one else store.revoke_operator_tokens(name, now_s)
        for record in revoked:
            _note(store, AuditAction.TOKEN_REVOKED, about_token(record))
    return _report(bool(revoked), f'token or operator {name!r}')


def _report(done: bool, what: str) -> int:
    if not done:
        print(f'teleop_broker: there is no {what}', file=sys.stderr)
    return 0 if done else 1


# --- lists ---------------------------------------------------------------------------------------


def _since(given: str | None, now_s: float) -> float:
    """
    Return the time of ``--since``, in seconds since 1970.

    :raises ConfigurationError: It is malformed.
    """
    if given is None:
        return 0.0
    span = _SPAN.fullmatch(given)
    if span is not None:
        return now_s - timedelta(**{_UNITS[span[2]]: int(span[1])}).total_seconds()
    try:
        at = datetime.fromisoformat(given)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ConfigurationError('--since', given, SINCE_ALLOWED) from None


def _print_json(rows: Iterable[AuditRow]) -> None:
    """Print the audit trail as a JSON list, one object per line."""
    before = '['
    for row in rows:
        fields = asdict(row)
        at = datetime.fromtimestamp(fields.pop('at_s'), UTC).isoformat(timespec='milliseconds')
        print(f'{before}{json.dumps({"at": at, **fields})}', end='')
        before = ',\n'
    print(']' if before != '[' else '[]')


def _print_table(rows: Iterable[AuditRow]) -> None:
    """Print the audit trail as a table."""
    head = 'TIME (UTC)', 'ACTION', 'WHO', 'ROLE', 'TENANT', 'ROBOT', 'SESSION', 'ADDRESS', 'DETAIL'
    _table(
        head,
        [
            (
                f'{datetime.fromtimestamp(row.at_s, UTC):%Y-%m-%d %H:%M:%S}',
                row.action,
                *(_shown(text) for text in (row.subject, row.role, row.tenant, row.robot_id)),
                _shown(row.session_id[:8]),
                _shown(row.address),
                _shown(row.detail),
            )
            for row in rows
        ],
    )


def _shown(text: str) -> str:
    """Return a text without control characters for the terminal."""
    return (text if text.isprintable() else ascii(text)) or '-'


def _date(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime('%Y-%m-%d %H:%M')


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        line = '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
