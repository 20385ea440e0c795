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
"""Logs what happens to the E-STOP latch, and keeps the latch over restarts if that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
import json
from typing import Final

from teleop_webrtc_bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.ros.estop_file import EstopFile
from teleop_webrtc_bridge.ros.estop_record import EstopAction, EstopCause, EstopEvent

__all__ = ['EstopKeeper']

_WARNINGS: Final = frozenset({EstopAction.LATCHED, EstopAction.RESTORED})


class EstopKeeper:
    """
    Used from one thread, never from the drive thread: a disk may take its time.

    :param file: Where the latch is kept; ``None``: nowhere.
    :param log: Logs a line.
    :param warn: Logs a warning.
    :param complain: Logs an error.
    """

    def __init__(
        self,
        file: EstopFile | None,
        *,
        log: Callable[[str], object],
        warn: Callable[[str], object],
        complain: Callable[[str], object],
    ) -> None:
        self.restored: EstopCause | None = None
        """Who set the latch that was kept; ``None``: none was."""
        if file is not None and file.is_latched():
            self.restored = file.cause()
        self._file = file
        self._saved = self.restored is not None
        self._explained = self.restored
        self._log = log
        self._warn = warn
        self._complain = complain

    @property
    def is_keeping(self) -> bool:
        """Whether the latch outlives the bridge."""
        return self._file is not None

    def log(self, events: Iterable[EstopEvent]) -> None:
        """Log who pressed and who released."""
        for event in events:
            fields = {'latch': event.latch, **event.by.as_fields()}
            line = ' '.join(f'{name}={json.dumps(value)}' for name, value in fields.items())
            say = self._warn if event.action in _WARNINGS else self._log
            say(f'event={event.action.value} {line}')

    def save(self, snapshot: DriveSnapshot) -> None:
        """Keep the latch, if it has changed; then who set it."""
        if self._file is None:
            return
        if snapshot.estopped is not self._saved:
            self._saved = snapshot.estopped
            try:
                self._file.write(snapshot.estopped)
            except OSError as error:
                self._complain(f'event=estop_not_saved reason="{error}"')
                return
        if snapshot.cause != self._explained:
            self._explained = snapshot.cause
            if snapshot.cause is not None:
                self._explain(self._file, snapshot.cause)

    def _explain(self, file: EstopFile, cause: EstopCause) -> None:
        try:
            file.explain(cause)
        except OSError as error:
            by = json.dumps(str(cause.by))
            self._warn(f'event=estop_name_not_saved by={by} reason="{error}"')
