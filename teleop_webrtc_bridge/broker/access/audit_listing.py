"""The audit trail and other lists, for people and for programs that read what is printed."""

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

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, UTC
import json
import re
from typing import Final

from teleop_webrtc_bridge.broker.access.records import AuditRow
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['SINCE_ALLOWED', 'date', 'print_json', 'print_table', 'since', 'table']

SINCE_ALLOWED: Final = 'a time such as 2026-11-30T14:00 (UTC), or a span such as 90m, 2h or 7d'
_SPAN: Final = re.compile(r'(\d{1,6})([smhdw])', re.ASCII)
_UNITS: Final = {'s': 'seconds', 'm': 'minutes', 'h': 'hours', 'd': 'days', 'w': 'weeks'}


def since(given: str | None, now_s: float) -> float:
    """
    Return what ``--since`` means, in seconds since 1970.

    :raises ConfigurationError: It means nothing.
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


def print_json(rows: Iterable[AuditRow]) -> None:
    """Print a JSON list, one object a line."""
    before = '['
    for row in rows:
        fields = asdict(row)
        at = datetime.fromtimestamp(fields.pop('at_s'), UTC).isoformat(timespec='milliseconds')
        print(f'{before}{json.dumps({"at": at, **fields})}', end='')
        before = ',\n'
    print(']' if before != '[' else '[]')


def print_table(rows: Iterable[AuditRow]) -> None:
    """Print a table for people."""
    head = (
        'TIME (UTC)',
        'ACTION',
        'WHO',
        'ROLE',
        'TENANT',
        'ROBOT',
        'SESSION',
        'ADDRESS',
        'DETAIL',
    )
    table(
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
    """Return a text that does nothing to a terminal."""
    return (text if text.isprintable() else ascii(text)) or '-'


def date(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime('%Y-%m-%d %H:%M')


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print columns that are as wide as they have to be."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        line = '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
