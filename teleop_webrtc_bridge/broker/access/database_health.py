"""Whether the database works, since when it does not, and why."""

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

from collections.abc import Callable
from dataclasses import dataclass
import enum
import logging
from pathlib import Path
from typing import Final

__all__ = ['HOLD_S', 'DatabaseHealth', 'Fault']

HOLD_S: Final = 60.0
"""How long the last known credentials hold while the database cannot be read."""
REPLACED_SHOWN_S: Final = 60.0
"""How long a file that was replaced and is in use is told of."""

_log = logging.getLogger(__name__)


class Fault(enum.Enum):
    """What may fail by itself: a full disk can be read."""

    READING = 'reading'
    WRITING = 'writing'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    since_s: float
    reason: str


class DatabaseHealth:
    """
    Keeps what fails, and logs one line when it begins and one when all of it is over.

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
        """Called with what is worth a line in the audit trail."""

    @property
    def reason(self) -> str | None:
        """What fails; ``None``: nothing."""
        reasons = dict.fromkeys(failure.reason for failure in self._failures.values())
        return '; '.join(reasons) or None

    @property
    def note(self) -> str | None:
        """What is worth knowing although nothing fails."""
        at_s = self._replaced_at_s
        if at_s is None or self._clock() - at_s > REPLACED_SHOWN_S:
            return None
        return 'the file was replaced; the new one is in use'

    def works(self, fault: Fault) -> None:
        """Note that reading, or writing, was possible."""
        if self._failures.pop(fault, None) is None:
            return
        if fault is Fault.READING:
            self._is_given_up = False
        if not self._failures:
            for_s = self._clock() - self._began_s
            _log.warning('event=database_works_again file=%s after_s=%.1f', self._file, for_s)
            self.on_news(f'works again after {for_s:.1f} s')

    def fails(self, fault: Fault, reason: str) -> None:
        """Note that reading, or writing, was not possible."""
        now_s = self._clock()
        older = self._failures.get(fault)
        if not self._failures:
            self._began_s = now_s
            _log.error(
                'event=database_fails file=%s what=%s reason="%s"', self._file, fault.value, reason
            )
            self.on_news(f'fails, {fault.value}: {reason}')
        since_s = now_s if older is None else older.since_s
        self._failures[fault] = _Failure(since_s=since_s, reason=reason)

    def was_replaced(self) -> None:
        """Note that another file of ours has taken the place of the one that was in use."""
        self._replaced_at_s = self._clock()
        _log.warning('event=database_replaced file=%s hint="the new file is in use"', self._file)
        self.on_news('the file was replaced; the new one is in use')

    def is_given_up(self) -> bool:
        """Return whether it could not be read for so long that nothing known of it holds."""
        failure = self._failures.get(Fault.READING)
        if failure is None or self._clock() - failure.since_s < HOLD_S:
            return False
        if not self._is_given_up:
            self._is_given_up = True
            _log.error('event=credentials_void after_s=%g reason="%s"', HOLD_S, failure.reason)
            self.on_news(f'could not be read for {HOLD_S:g} s: nobody is let in any more')
        return True
