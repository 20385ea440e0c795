"""
The E-STOP latch: who pressed it, and the file that preserves it over restarts.

:class:`EstopRecord` belongs to the drive thread and explains the latch that the gate holds.
:class:`EstopKeeper` belongs to the node's thread: it logs and writes :class:`EstopFile`.
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

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, UTC
import enum
import json
import os
from pathlib import Path
import re
from typing import Final

from teleop_webrtc_bridge.core.codec import decode_origin, parse_json_object
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import Origin, OriginRole

__all__ = [
    'EstopAction',
    'EstopCause',
    'EstopEvent',
    'EstopFile',
    'EstopKeeper',
    'EstopRecord',
    'estop_path',
]

MAX_EVENTS: Final = 64
"""Limit of events that wait to be logged; beyond it, the oldest is lost."""
MAX_OTHERS: Final = 8
"""Limit of other people who press while a latch holds and are logged."""
MAX_FILE_BYTES: Final = 4096
MAX_NAME_CHARS: Final = 255
"""Of a topic or a service."""
LATEST_S: Final = 2.0**33
"""The largest time that is accepted from a file, in the year 2242."""
_OVERWRITE: Final = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class EstopCause:
    """Who pressed the E-STOP first, and when."""

    by: Origin
    since_s: float | None
    """Seconds since 1970 by the robot's clock; ``None``: unknown."""

    @property
    def since(self) -> str:
        """The time in ISO 8601; empty: unknown."""
        if self.since_s is None:
            return ''
        return datetime.fromtimestamp(self.since_s, UTC).isoformat(timespec='seconds')


#: Cause of a latch whose file names nobody: the parameter that preserves latches.
_UNKNOWN: Final = EstopCause(by=Origin(sub='estop_persist', role=OriginRole.ROBOT), since_s=None)


class EstopAction(enum.Enum):
    """What happened to the latch; the values are event names in the log."""

    LATCHED = 'estop'
    RESTORED = 'estop_restored'
    """It was latched before the bridge started."""
    PRESSED_AGAIN = 'estop_again'
    """Somebody else pressed while it was latched."""
    RELEASED = 'estop_released'


@dataclass(frozen=True, slots=True, kw_only=True)
class EstopEvent:
    """Something that happened to the latch and is to be logged."""

    action: EstopAction
    latch: int
    by: Origin


class EstopRecord:
    """
    Records who pressed; only the gate knows whether the robot is stopped.

    The first person who pressed stays the cause until the latch is released. Others who press
    meanwhile are logged once each. Owned by the drive thread, which calls it after it has
    published the stop; no method raises.

    :param clock_ahead_s: Offset of the clock of ``pong`` from ``time.monotonic``, in seconds.
    :param latch: The number of the latch that holds from the start.
    :param cause: Its cause; ``None``: nobody had pressed.
    """

    def __init__(
        self, *, clock_ahead_s: float, latch: int | None = None, cause: EstopCause | None = None
    ) -> None:
        self._clock_ahead_s = clock_ahead_s
        self._latch = latch
        self._cause = cause
        self._others: set[Origin] = set()
        self._events: deque[EstopEvent] = deque(maxlen=MAX_EVENTS)
        if latch is not None and cause is not None:
            self._add_event(EstopAction.RESTORED, latch, cause.by)

    def cause(self, latch: int | None) -> EstopCause | None:
        """
        Return who set a latch, and when.

        :param latch: The gate's latch in force.
        """
        return self._cause if latch is not None and latch == self._latch else None

    def pressed(self, now: float, latch: int | None, by: Origin) -> None:
        """
        Record a press.

        :param now: Seconds of ``time.monotonic``.
        :param latch: The latch in force since then.
        """
        if latch is None:
            return
        if self._cause is None or latch != self._latch:
            self._latch = latch
            self._cause = EstopCause(by=by, since_s=now + self._clock_ahead_s)
            self._others.clear()
            self._add_event(EstopAction.LATCHED, latch, by)
        elif by != self._cause.by and by not in self._others and len(self._others) < MAX_OTHERS:
            self._others.add(by)
            self._add_event(EstopAction.PRESSED_AGAIN, latch, by)

    def released(self, latch: int | None, by: Origin) -> None:
        """
        Record a release.

        :param latch: The latch that held until then; ``None``: no latch held.
        """
        if latch is None:
            return
        self._latch = self._cause = None
        self._add_event(EstopAction.RELEASED, latch, by)

    def take_events(self) -> list[EstopEvent]:
        """Return the events since the last call; may be called from one other thread."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def _add_event(self, action: EstopAction, latch: int, by: Origin) -> None:
        self._events.append(EstopEvent(action=action, latch=latch, by=by))


def estop_path(robot_id: str, fully_qualified_name: str) -> Path:
    """
    Return the path of one robot's file, in ROS's folder for state.

    :param fully_qualified_name: The node's name: robots without an id must not share a latch.
    """
    # ROS expands ~ in it for its logs, too.
    home = Path(os.path.expanduser(os.environ.get('ROS_HOME') or '~/.ros'))
    name = re.sub(r'[^\w.-]', '_', robot_id or fully_qualified_name.strip('/'))
    return home / 'teleop_webrtc_bridge' / f'{name}.estop'


class EstopFile:
    """
    One robot's latch on disk: the file exists while the latch holds.

    Its content only explains the latch. A file that is empty, as older bridges wrote it, or
    unreadable is a latch, too. Used from one thread, never from the drive thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_latched(self, *, if_unreadable: bool = True) -> bool:
        """
        Return whether the latch held when the last bridge ended.

        :param if_unreadable: The answer if the folder cannot be read.
        """
        try:
            self._path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return if_unreadable
        return True

    def cause(self) -> EstopCause:
        """Return who set the latch, if the file says so."""
        try:
            fields = parse_json_object(self._read(), max_bytes=MAX_FILE_BYTES)
        except (OSError, ProtocolError):
            return _UNKNOWN
        by = decode_origin(fields.get('by'), max_chars=MAX_NAME_CHARS)
        return _UNKNOWN if by is None else EstopCause(by=by, since_s=_time(fields.get('since_s')))

    def _read(self) -> bytes:
        # Non-blocking: a pipe of that name must not hold up the start.
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(file, MAX_FILE_BYTES)
        finally:
            os.close(file)

    def explain(self, cause: EstopCause) -> None:
        """
        Write into the file who set the latch.

        :raises OSError: The file cannot be written; the latch is preserved anyway.
        """
        text = json.dumps({'by': cause.by.as_fields(), 'since_s': cause.since_s})
        # Without O_CREAT: a new file would be a new latch.
        file = os.open(self._path, _OVERWRITE)
        try:
            os.write(file, text.encode())
            os.fsync(file)
        finally:
            os.close(file)

    def write(self, latched: bool) -> None:
        """
        Create or remove the file, and wait until that is on disk.

        :raises OSError: The folder cannot be written to.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if latched:
            self._path.touch()
        else:
            self._path.unlink(missing_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0.0 <= value <= LATEST_S else None


class EstopKeeper:
    """
    Logs what happens to the latch, and preserves it when the bridge crashes.

    When a supervisor restarts a crashed bridge, that must not release the robot. Used from one
    thread, never from the drive thread, because disk writes may take long.

    :param outlives_end: Whether to preserve the latch when the bridge ends normally, too.
    :param log: Logs a line.
    :param warn: Logs a warning.
    :param complain: Logs an error.
    """

    def __init__(
        self,
        file: EstopFile,
        *,
        outlives_end: bool,
        log: Callable[[str], object],
        warn: Callable[[str], object],
        complain: Callable[[str], object],
    ) -> None:
        self.restored: EstopCause | None = None
        """The cause of the preserved latch; ``None``: there was no latch."""
        # By default, an unreadable folder means no latch, so that robots without one can start.
        if file.is_latched(if_unreadable=outlives_end):
            self.restored = file.cause()
        self.outlives_end = outlives_end
        self._file = file
        self._saved = self.restored is not None
        self._explained = self.restored
        self._log = log
        self._warn = warn
        self._complain = complain

    def log(self, events: Iterable[EstopEvent]) -> None:
        """Log who pressed and who released."""
        for event in events:
            fields = {'latch': event.latch, **event.by.as_fields()}
            line = ' '.join(f'{name}={json.dumps(value)}' for name, value in fields.items())
            is_warning = event.action in (EstopAction.LATCHED, EstopAction.RESTORED)
            say = self._warn if is_warning else self._log
            say(f'event={event.action.value} {line}')

    def save(self, latched: bool, cause: EstopCause | None) -> None:
        """Save the latch if it has changed, then its cause."""
        if latched is not self._saved and not self._write(latched):
            return
        if cause != self._explained:
            self._explained = cause
            if cause is not None:
                self._explain(cause)

    def end(self) -> None:
        """Forget the latch at a normal end, unless it is to outlive that."""
        if self._saved and not self.outlives_end:
            self._write(False)

    def _write(self, latched: bool) -> bool:
        """Return whether the latch is saved."""
        self._saved = latched
        try:
            self._file.write(latched)
        except OSError as error:
            say = self._complain if self.outlives_end else self._warn
            say(f'event=estop_not_saved reason="{error}"')
            return False
        return True

    def _explain(self, cause: EstopCause) -> None:
        try:
            self._file.explain(cause)
        except OSError as error:
            by = json.dumps(str(cause.by))
            self._warn(f'event=estop_name_not_saved by={by} reason="{error}"')
