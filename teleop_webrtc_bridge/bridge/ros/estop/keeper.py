"""Logs what happens to the E-STOP latch, and keeps the latch over restarts if that is wanted."""

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

from collections.abc import Callable, Iterable
import json
from typing import Final

from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.estop.file import EstopFile
from teleop_webrtc_bridge.bridge.ros.estop.record import EstopAction, EstopCause, EstopEvent

__all__ = ['EstopKeeper']

_WARNINGS: Final = frozenset({EstopAction.LATCHED, EstopAction.RESTORED})


class EstopKeeper:
    """
    Keeps the latch of a bridge that crashes, and of one that ends if the owner wants that.

    Whatever starts a crashed bridge again must not release the robot. Used from one thread, never
    from the drive thread: a disk may take its time.

    :param file: Where the latch is kept.
    :param outlives_end: Whether it is kept as well when the bridge ends in good order.
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
        """Who set the latch that was kept; ``None``: none was."""
        # Where nothing can be read, nothing was kept: robots whose owner does not ask for more
        # must be able to start there.
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
            say = self._warn if event.action in _WARNINGS else self._log
            say(f'event={event.action.value} {line}')

    def save(self, snapshot: DriveSnapshot) -> None:
        """Keep the latch, if it has changed; then who set it."""
        if snapshot.estopped is not self._saved and not self._write(snapshot.estopped):
            return
        if snapshot.cause != self._explained:
            self._explained = snapshot.cause
            if snapshot.cause is not None:
                self._explain(snapshot.cause)

    def end(self) -> None:
        """Forget the latch, unless it outlives an end in good order, which this is."""
        if self._saved and not self.outlives_end:
            self._write(False)

    def _write(self, latched: bool) -> bool:
        """Return whether the latch is recorded."""
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
