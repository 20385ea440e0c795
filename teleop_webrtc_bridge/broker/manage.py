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
``teleop_broker keys …`` and ``teleop_broker operators …``: who may use a broker.

Works on the broker's database, whether the broker runs or not: a running one looks every key and
token up when it is used, and ends what is going on with a revoked one within a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, UTC
import sys
import time
from typing import Final

from teleop_webrtc_bridge.broker.configuration import OneLineParser, read_configuration
from teleop_webrtc_bridge.broker.identity import OperatorCaller, Role
from teleop_webrtc_bridge.broker.names import check_label, check_name
from teleop_webrtc_bridge.broker.store import Store
from teleop_webrtc_bridge.exceptions import ConfigurationError

__all__ = ['SUBJECTS', 'manage']

SUBJECTS: Final = ('keys', 'operators')
FIRST_TENANT: Final = 'owner'
DAY_S: Final = 86400.0

#: Whoever can write the database sees all of it.
_EVERYBODY: Final = OperatorCaller(sub='', role=Role.ADMIN)


def manage(arguments: Sequence[str]) -> int:
    """
    Carry out one command.

    :param arguments: Beginning with one of :data:`SUBJECTS`.
    :returns: The exit status: 0, or 1 if there is nothing to revoke.
    :raises ConfigurationError: An argument cannot be used, or the database cannot.
    """
    options = _parser().parse_args(arguments)
    places = [('--state-dir', options.state_dir), ('--config', options.config)]
    given = [word for name, value in places if value is not None for word in (name, value)]
    with closing(Store.open(read_configuration(given).state_dir)) as store:
        match options.subject, options.action:
            case 'keys', 'list':
                return _list_keys(store)
            case 'keys', 'add':
                return _add_key(store, options)
            case 'keys', 'revoke':
                done = store.revoke_robot_key(options.id, _EVERYBODY, time.time())
                return _report(done, f'key {options.id!r}')
            case 'operators', 'list':
                return _list_operators(store)
            case 'operators', 'add':
                return _add_operator(store, options)
            case _:
                return _revoke_operator(store, options.id)


def _parser() -> OneLineParser:
    parser = OneLineParser(prog='teleop_broker', allow_abbrev=False)
    subjects = parser.add_subparsers(dest='subject', required=True)
    keys = subjects.add_parser('keys', help='robot API keys')
    actions = keys.add_subparsers(dest='action', required=True)
    _common(actions.add_parser('list', help='show the keys that work'))
    add = _common(actions.add_parser('add', help='make a key; it is printed this once'))
    add.add_argument('name', help='to tell keys apart')
    add.add_argument('--tenant', default=FIRST_TENANT, help=f'whose robots ({FIRST_TENANT})')
    add.add_argument('--robot-id', help='the only robot that it is good for (any)')
    _revoke(actions, 'make a key useless', 'as keys list shows it')
    operators = subjects.add_parser('operators', help="operators' tokens")
    actions = operators.add_subparsers(dest='action', required=True)
    _common(actions.add_parser('list', help='show the tokens that work'))
    add = _common(actions.add_parser('add', help='make a token; it is printed this once'))
    add.add_argument('name', help='who it is for')
    add.add_argument('--tenant', default=FIRST_TENANT, help=f'whose robots ({FIRST_TENANT})')
    roles = [role.value for role in Role]
    add.add_argument('--role', choices=roles, default='operator', help='(operator)')
    add.add_argument('--days', type=float, help='how long it is good for (for ever)')
    _revoke(actions, 'make tokens useless', 'of one token, or the name of its owner for all')
    return parser


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument('--state-dir', metavar='DIR', help="the broker's")
    parser.add_argument('--config', metavar='FILE', help="the broker's")
    return parser


def _revoke(actions: argparse._SubParsersAction[OneLineParser], text: str, which: str) -> None:
    _common(actions.add_parser('revoke', help=text)).add_argument('id', help=which)


def _list_keys(store: Store) -> int:
    _table(
        ('ID', 'NAME', 'TENANT', 'ROBOT', 'KEY', 'CREATED'),
        [
            (
                key.key_id,
                key.name,
                key.owner,
                key.robot_id or 'any',
                f'{key.prefix}…',
                _date(key.created_at_s),
            )
            for key in store.robot_keys(_EVERYBODY)
        ],
    )
    return 0


def _add_key(store: Store, options: argparse.Namespace) -> int:
    _, key = store.create_robot_key(
        name=check_name('name', options.name),
        robot_id=check_label('--robot-id', options.robot_id),
        owner=check_name('--tenant', options.tenant),
        now_s=time.time(),
    )
    print(key)
    return 0


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


def _add_operator(store: Store, options: argparse.Namespace) -> int:
    now_s = time.time()
    if options.days is not None and not 0.0 < options.days <= 36500.0:
        raise ConfigurationError('--days', options.days, 'more than 0, up to 36500')
    token = store.create_operator_token(
        sub=check_name('name', options.name),
        role=Role(options.role),
        tenant_name=check_name('--tenant', options.tenant),
        now_s=now_s,
        expires_at_s=None if options.days is None else now_s + options.days * DAY_S,
    )
    print(token)
    return 0


def _revoke_operator(store: Store, name: str) -> int:
    now_s = time.time()
    done = store.revoke_operator_token(name, _EVERYBODY, now_s)
    done = done or store.revoke_operator_tokens(name, now_s) > 0
    return _report(done, f'token or operator {name!r}')


def _report(done: bool, what: str) -> int:
    if not done:
        print(f'teleop_broker: there is no {what}', file=sys.stderr)
    return 0 if done else 1


def _date(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime('%Y-%m-%d %H:%M')


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        line = '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
