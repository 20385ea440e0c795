"""Who pressed the E-STOP that holds, and who released it: what explains a robot that stands."""

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
from dataclasses import dataclass
from datetime import datetime, UTC
import enum
from typing import Final

from teleop_webrtc_bridge.core.messages import Origin

__all__ = ['EstopAction', 'EstopCause', 'EstopEvent', 'EstopRecord']

MAX_EVENTS: Final = 64
"""That wait to be logged; beyond it the oldest is lost."""
MAX_OTHERS: Final = 8
"""Others who press while a latch holds, and are logged; each of them once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstopCause:
    """Why the robot is stopped: who pressed first, and when."""

    by: Origin
    since_s: float | None
    """Seconds since 1970 by the robot's clock; ``None``: not known."""

    @property
    def since(self) -> str:
        """When, for people; empty: not known."""
        if self.since_s is None:
            return ''
        return datetime.fromtimestamp(self.since_s, UTC).isoformat(timespec='seconds')


class EstopAction(enum.Enum):
    """What happened to the latch; the values are the events of the log."""

    LATCHED = 'estop'
    RESTORED = 'estop_restored'
    """It was latched before the bridge was started."""
    PRESSED_AGAIN = 'estop_again'
    """Somebody else pressed while it held."""
    RELEASED = 'estop_released'


@dataclass(frozen=True, slots=True, kw_only=True)
class EstopEvent:
    """Something that happened to the latch, to be logged."""

    action: EstopAction
    latch: int
    by: Origin


class EstopRecord:
    """
    Knows who pressed; the gate alone knows whether the robot is stopped.

    The first who pressed is the name of a latch until it is released. Whoever else presses while
    it holds is logged, once each, and does not rename it: the robot stands because of the first.
    Owned by the drive thread, which calls it after the stop was published; nothing here raises.

    :param clock_ahead_s: What the clock of ``pong`` is ahead of ``time.monotonic``, in seconds.
    :param latch: The number of the latch that holds from the start.
    :param cause: Who had pressed then; ``None``: nobody.
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
            self._tell(EstopAction.RESTORED, latch, cause.by)

    def cause(self, latch: int | None) -> EstopCause | None:
        """
        Return who set a latch, and when.

        :param latch: The one that holds, as the gate says.
        """
        return self._cause if latch is not None and latch == self._latch else None

    def pressed(self, now: float, latch: int | None, by: Origin) -> None:
        """
        Note who pressed.

        :param now: Seconds of ``time.monotonic``.
        :param latch: The one that holds since.
        """
        if latch is None:
            return
        if self._cause is None or latch != self._latch:
            self._latch = latch
            self._cause = EstopCause(by=by, since_s=now + self._clock_ahead_s)
            self._others.clear()
            self._tell(EstopAction.LATCHED, latch, by)
        elif by != self._cause.by and by not in self._others and len(self._others) < MAX_OTHERS:
            self._others.add(by)
            self._tell(EstopAction.PRESSED_AGAIN, latch, by)

    def released(self, latch: int | None, by: Origin) -> None:
        """
        Note who released.

        :param latch: The one that held until then; ``None``: none did.
        """
        if latch is None:
            return
        self._latch = self._cause = None
        self._tell(EstopAction.RELEASED, latch, by)

    def take_events(self) -> list[EstopEvent]:
        """Return what happened since the last call; may be called from any one thread."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def _tell(self, action: EstopAction, latch: int, by: Origin) -> None:
        self._events.append(EstopEvent(action=action, latch=latch, by=by))
