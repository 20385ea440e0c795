"""
The robot's session with the broker, as a state machine.

Pure: events and ``now`` in, decisions and a deadline out. The transitions::

    BACKING_OFF ──deadline──► DIALLING ──created, connected──► CONNECTED ◄─heartbeat─► OPERATED
         ▲                       │ failed                         │ lost, gone           │
         └───────────────────────┴────────────────────────────────┴──────────────────────┘
    SUPERSEDED, REFUSED: the same as BACKING_OFF, for longer and with a reason for the owner.

An event that does not fit the state is a mistake of the caller: it raises, and changes nothing.
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

from collections.abc import Callable
from dataclasses import dataclass
import enum
from typing import Final

from teleop_webrtc_bridge.core.exceptions import (
    BrokerError,
    BrokerRefused,
    SessionGone,
    SessionLapsed,
    SessionSuperseded,
    TeleopError,
)
from teleop_webrtc_bridge.core.messages import HeartbeatAnswer

__all__ = ['BridgeSession', 'BridgeState', 'HeartbeatSilence', 'Transition']

FIRST_BACK_OFF_S: Final = 0.5
LONGEST_BACK_OFF_S: Final = 15.0
SUPERSEDED_S: Final = 30.0
"""Two robots that share an id by mistake must not take turns under one operator."""
REFUSED_S: Final = 60.0
REAPED_S: Final = 30.0
"""A broker gives up a robot that has been silent for so long."""


class BridgeState(enum.Enum):
    """Where the session stands."""

    DIALLING = 'dialling'
    CONNECTED = 'connected'
    OPERATED = 'operated'
    BACKING_OFF = 'backing_off'
    SUPERSEDED = 'superseded'
    REFUSED = 'refused'


_WAITING: Final = (BridgeState.BACKING_OFF, BridgeState.SUPERSEDED, BridgeState.REFUSED)
_UP: Final = (BridgeState.CONNECTED, BridgeState.OPERATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of state, to be logged and shown once."""

    state: BridgeState
    reason: str
    control_epoch: int


class HeartbeatSilence:
    """
    Whether the broker may have given a session up because no heartbeat reached it.

    Old brokers do not say so: to a session that they gave up they answer for ever as if nobody
    drove. Brokers that tell the control epoch say it themselves.

    :param now: When the session began, in seconds of a clock that does not stop while the computer
        is suspended.
    """

    def __init__(self, now: float) -> None:
        self._heard_s = now
        self._longest_s = 0.0

    def answered(self, sent_s: float, now: float, answer: HeartbeatAnswer) -> None:
        """
        Take the answer to a heartbeat.

        :param sent_s: When the heartbeat was sent.
        :param now: When its answer was there.
        :raises SessionLapsed: The session has to be taken for gone.
        """
        # From the sending of the last one that was answered: the broker heard nothing for longer.
        self._longest_s = max(self._longest_s, now - self._heard_s)
        self._heard_s = sent_s
        if answer.control_epoch is not None or self._longest_s < REAPED_S:
            return
        # A session that somebody drives was not given up; it is judged again when they have left.
        if all(stream is None for stream in answer.channels.by_label().values()):
            raise SessionLapsed(
                f'no heartbeat was answered for {self._longest_s:.0f} s, after which a broker '
                'gives a session up'
            )


class BridgeSession:
    """
    Decides when to dial, what a failure means, and which session the broker has to be told of.

    :param random: Returns a number in [0, 1), for the jitter that keeps a fleet from dialling at
        the same moment.
    :param on_transition: Told of each change.
    """

    def __init__(
        self, *, random: Callable[[], float], on_transition: Callable[[Transition], None]
    ) -> None:
        self.state = BridgeState.BACKING_OFF
        self.reason = ''
        self.control_epoch = 0
        """Rises whenever commands of somebody else, or of another session, may follow."""
        self.dial_at_s = float('-inf')
        """When to dial next, while not connected."""
        self._session_id: str | None = None
        """The session that the broker has, as far as we know."""
        self._random = random
        self._on_transition = on_transition
        self._failures = 0
        self._control: tuple[int | None, ...] = ()
        """Who controls, as far as the broker says: its epoch, and the stream ids."""

    def begin_dial(self) -> None:
        """
        Say that dialling begins.

        :raises RuntimeError: There is an attempt or a connection, or a session without goodbye.
        """
        self._expect(*_WAITING)
        if self._session_id is not None:
            raise RuntimeError('the broker still has a session')
        self._enter(BridgeState.DIALLING, self.reason)

    def created(self, session_id: str) -> None:
        """
        Say that the broker has made a session.

        :raises RuntimeError: Nobody is dialling, or there is one already.
        """
        self._expect(BridgeState.DIALLING)
        if self._session_id is not None:
            raise RuntimeError('the broker has a session already')
        self._session_id = session_id

    def connected(self) -> None:
        """
        Say that the peer connection is up.

        :raises RuntimeError: Nobody is dialling, or the broker has made no session.
        """
        self._expect(BridgeState.DIALLING)
        if self._session_id is None:
            raise RuntimeError('connected without a session')
        self._control = ()
        self._enter(BridgeState.CONNECTED, '', new_epoch=True)

    def heartbeat(self, answer: HeartbeatAnswer) -> None:
        """
        Take a heartbeat answer: an operator came, left, or was replaced.

        :raises RuntimeError: There is no connection.
        """
        self._expect(*_UP)
        # Only now: a broker that takes the session but does not know it would be dialled for ever.
        self._failures = 0
        operated = answer.channels.state is not None or answer.channels.cmd is not None
        # Every bridge has fresh ids: they tell a new one where the broker knows no epoch.
        control = (answer.control_epoch, answer.channels.state, answer.channels.cmd)
        replaced = control != self._control
        self._control = control
        if operated:
            was_operated = self.state is BridgeState.OPERATED
            self._enter(BridgeState.OPERATED, '', new_epoch=replaced or not was_operated)
        else:
            left = 'the operator left' if self.state is BridgeState.OPERATED else self.reason
            self._enter(BridgeState.CONNECTED, left)

    def ended(self, now: float, error: TeleopError) -> None:
        """
        Take the end of a session, or of an attempt to begin one.

        Once more when the goodbye tells a better reason.

        :param now: Seconds of any steady clock, the one of :attr:`dial_at_s`.
        """
        if isinstance(error, SessionGone | SessionSuperseded):
            self._session_id = None
        if isinstance(error, SessionSuperseded):
            self.dial_at_s = now + SUPERSEDED_S
            self._enter(BridgeState.SUPERSEDED, str(error))
        elif isinstance(error, BrokerRefused):
            self.dial_at_s = now + REFUSED_S
            self._enter(BridgeState.REFUSED, str(error))
        else:
            self.dial_at_s = now + self._back_off_s(error)
            self._enter(BridgeState.BACKING_OFF, str(error))

    def farewell(self) -> str | None:
        """Return the session that the broker has to be told the end of, once; or ``None``."""
        session_id, self._session_id = self._session_id, None
        return session_id

    def _expect(self, *states: BridgeState) -> None:
        if self.state not in states:
            raise RuntimeError(f'not while {self.state.value}')

    def _back_off_s(self, error: TeleopError) -> float:
        first_failure = self._failures == 0
        self._failures += 1
        if isinstance(error, SessionGone | SessionLapsed) and first_failure:
            return 0.0
        doublings = min(self._failures - 1, 10)
        longest_s = min(FIRST_BACK_OFF_S * 2.0**doublings, LONGEST_BACK_OFF_S)
        asked_s = error.retry_after_s if isinstance(error, BrokerError) else None
        # Not less than asked, nor all of a fleet at the same moment, nor at once for ever.
        return max(asked_s or 0.0, 0.0) + longest_s * self._random()

    def _enter(self, state: BridgeState, reason: str, *, new_epoch: bool = False) -> None:
        if state is self.state and reason == self.reason and not new_epoch:
            return
        self.state = state
        self.reason = reason
        self.control_epoch += new_epoch
        self._on_transition(
            Transition(state=state, reason=reason, control_epoch=self.control_epoch)
        )
