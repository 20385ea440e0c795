"""
The robot's session with its broker, as a state machine.

Pure: it takes events and the time, and returns decisions and a deadline. :data:`TRANSITIONS`:

    =========  ================================  ===========
    event      in state                          new state
    =========  ================================  ===========
    dial       backing_off, superseded, refused  dialling
    create     dialling                          dialling
    connect    dialling                          connected
    operated   connected, operated               operated
    idle       connected, operated               connected
    fail       any                               backing_off
    supersede  any                               superseded
    refuse     any                               refused
    =========  ================================  ===========

The rules on top of the table:

- The three waiting states differ in their duration and in the reason that the owner sees.
- A dial that begins while the broker still has the last session is an error, and so are a second
  session in one attempt and a connection without a session.
- An event that does not fit the state is an error of the caller: it raises and changes nothing.
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

__all__ = [
    'TRANSITIONS',
    'BridgeEvent',
    'BridgeSession',
    'BridgeState',
    'HeartbeatSilence',
    'Transition',
]

FIRST_BACK_OFF_S: Final = 0.5
LONGEST_BACK_OFF_S: Final = 15.0
SUPERSEDED_S: Final = 30.0
"""Keeps two robots with the same id from replacing each other under one operator."""
REFUSED_S: Final = 60.0
REAPED_S: Final = 30.0
"""A broker drops a robot that was silent for this long."""


class BridgeState(enum.Enum):
    """The state of the session."""

    DIALLING = 'dialling'
    CONNECTED = 'connected'
    OPERATED = 'operated'
    """The channels are open: for an operator, or only for viewers."""
    BACKING_OFF = 'backing_off'
    SUPERSEDED = 'superseded'
    REFUSED = 'refused'


class BridgeEvent(enum.Enum):
    """An event that changes the state."""

    DIAL = 'dial'
    CREATE = 'create'
    """The broker has created a session."""
    CONNECT = 'connect'
    OPERATED = 'operated'
    """A heartbeat answer with open channels."""
    IDLE = 'idle'
    """A heartbeat answer without open channels."""
    FAIL = 'fail'
    SUPERSEDE = 'supersede'
    REFUSE = 'refuse'


_WAITING: Final = (BridgeState.BACKING_OFF, BridgeState.SUPERSEDED, BridgeState.REFUSED)
_UP: Final = (BridgeState.CONNECTED, BridgeState.OPERATED)

TRANSITIONS: Final = {
    (state, event): new_state
    for event, states, new_state in (
        (BridgeEvent.DIAL, _WAITING, BridgeState.DIALLING),
        (BridgeEvent.CREATE, (BridgeState.DIALLING,), BridgeState.DIALLING),
        (BridgeEvent.CONNECT, (BridgeState.DIALLING,), BridgeState.CONNECTED),
        (BridgeEvent.OPERATED, _UP, BridgeState.OPERATED),
        (BridgeEvent.IDLE, _UP, BridgeState.CONNECTED),
        (BridgeEvent.FAIL, BridgeState, BridgeState.BACKING_OFF),
        (BridgeEvent.SUPERSEDE, BridgeState, BridgeState.SUPERSEDED),
        (BridgeEvent.REFUSE, BridgeState, BridgeState.REFUSED),
    )
    for state in states
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of state, to be logged and shown."""

    state: BridgeState
    reason: str
    control_epoch: int


class HeartbeatSilence:
    """
    Detects that no heartbeat reached the broker for so long that it has dropped the session.

    Only old brokers need this: they answer heartbeats of a dropped session as if there were no
    operator. Brokers that report a control epoch also report the end of a session.

    :param now: When the session began, in seconds of a clock that does not stop while the computer
        is suspended.
    """

    def __init__(self, now: float) -> None:
        self._heard_s = now
        self._longest_s = 0.0

    def answered(self, sent_s: float, now: float, answer: HeartbeatAnswer) -> None:
        """
        Process the answer to a heartbeat.

        :param sent_s: When the heartbeat was sent.
        :param now: When its answer arrived.
        :raises SessionLapsed: The broker may have dropped the session.
        """
        # Measured from the sending of the last answered heartbeat, so never too short.
        self._longest_s = max(self._longest_s, now - self._heard_s)
        self._heard_s = sent_s
        if answer.control_epoch is not None or self._longest_s < REAPED_S:
            return
        # Open channels prove that the session still exists; without them it is judged again.
        if all(stream is None for stream in answer.channels.by_label().values()):
            raise SessionLapsed(
                f'no heartbeat was answered for {self._longest_s:.0f} s, after which a broker '
                'gives up a session'
            )


class BridgeSession:
    """
    Decides when to dial, what a failure means, and which session the broker has to delete.

    :param random: Returns a number in [0, 1), for the jitter that keeps a fleet from dialling at
        the same moment.
    :param on_transition: Called with each change.
    """

    def __init__(
        self, *, random: Callable[[], float], on_transition: Callable[[Transition], None]
    ) -> None:
        self.state = BridgeState.BACKING_OFF
        self.reason = ''
        self.control_epoch = 0
        """Rises when the next commands may come from another person or another session."""
        self.dial_at_s = float('-inf')
        """When to dial next, while not connected."""
        self._session_id: str | None = None
        """The session that the broker has, as far as we know."""
        self._random = random
        self._on_transition = on_transition
        self._failures = 0
        self._control: tuple[int | None, ...] = ()
        """Identifies the operator: the broker's epoch, and the stream ids."""

    def begin_dial(self) -> None:
        """
        Start an attempt to connect.

        :raises RuntimeError: There is an attempt or a connection already, or the broker still has
            a session.
        """
        state = self._after(BridgeEvent.DIAL)
        if self._session_id is not None:
            raise RuntimeError('the broker still has a session')
        self._enter(state, self.reason)

    def created(self, session_id: str) -> None:
        """
        Note that the broker has created a session.

        :raises RuntimeError: No attempt is under way, or it has a session already.
        """
        self._after(BridgeEvent.CREATE)
        if self._session_id is not None:
            raise RuntimeError('the broker has a session already')
        self._session_id = session_id

    def connected(self) -> None:
        """
        Note that the peer connection is up.

        :raises RuntimeError: No attempt is under way, or the broker has created no session.
        """
        state = self._after(BridgeEvent.CONNECT)
        if self._session_id is None:
            raise RuntimeError('connected without a session')
        self._control = ()
        self._enter(state, '', new_epoch=True)

    def heartbeat(self, answer: HeartbeatAnswer) -> None:
        """
        Process a heartbeat answer: an operator may have come, left, or been replaced.

        :raises RuntimeError: There is no connection.
        """
        operated = answer.channels.state is not None or answer.channels.cmd is not None
        state = self._after(BridgeEvent.OPERATED if operated else BridgeEvent.IDLE)
        # Reset only here: a broker may accept every session and forget it at once.
        self._failures = 0
        # Every bridge has new stream ids, which reveal a new operator if there is no epoch.
        control = (answer.control_epoch, answer.channels.state, answer.channels.cmd)
        replaced = control != self._control
        self._control = control
        was_operated = self.state is BridgeState.OPERATED
        if operated:
            self._enter(state, '', new_epoch=replaced or not was_operated)
        else:
            self._enter(state, 'the operator left' if was_operated else self.reason)

    def ended(self, now: float, error: TeleopError) -> None:
        """
        Process the end of a session or of an attempt.

        May be called again if DELETE reveals a more specific reason.

        :param now: Seconds of any steady clock; :attr:`dial_at_s` uses the same.
        """
        if isinstance(error, SessionGone | SessionSuperseded):
            self._session_id = None
        if isinstance(error, SessionSuperseded):
            event, pause_s = BridgeEvent.SUPERSEDE, SUPERSEDED_S
        elif isinstance(error, BrokerRefused):
            event, pause_s = BridgeEvent.REFUSE, REFUSED_S
        else:
            event, pause_s = BridgeEvent.FAIL, self._back_off_s(error)
        self.dial_at_s = now + pause_s
        self._enter(self._after(event), str(error))

    def farewell(self) -> str | None:
        """Return the session to delete at the broker, once; ``None`` if there is none."""
        session_id, self._session_id = self._session_id, None
        return session_id

    def _after(self, event: BridgeEvent) -> BridgeState:
        """
        Return the state that follows an event.

        :raises RuntimeError: The event does not fit the state.
        """
        try:
            return TRANSITIONS[self.state, event]
        except KeyError:
            raise RuntimeError(f'no {event.value!r} event while {self.state.value}') from None

    def _back_off_s(self, error: TeleopError) -> float:
        first_failure = self._failures == 0
        self._failures += 1
        if isinstance(error, SessionGone | SessionLapsed) and first_failure:
            return 0.0
        doublings = min(self._failures - 1, 10)
        longest_s = min(FIRST_BACK_OFF_S * 2.0**doublings, LONGEST_BACK_OFF_S)
        asked_s = error.retry_after_s if isinstance(error, BrokerError) else None
        # The jitter is added to the broker's delay: it spreads a fleet and prevents a busy loop.
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
