"""
Which robot sessions exist, who operates them, and what each robot is to be told.

Pure: no clock, no I/O, no lock. ``now_s`` is monotonic seconds. A method either raises a
:class:`~teleop_webrtc_bridge.broker.registry.sessions.RegistryRefusal` and nothing has changed, or
returns what the caller has to do (media to close, long polls to answer), in that order.

The states of a session follow from its operator slot::

    idle   ── claim ─────────────────────────────────────────────────► active
    active ── leave, operator silent, its media lost, join failed ───► idle
    any    ── deleted, superseded, robot silent, its media lost, key revoked ──► disconnected

- One robot has one session: a new one of the same (owner, robot_id) supersedes the older. The
  older one is told so (409) if it was another process, because two robots that share a name by
  mistake must not take turns under one operator; a robot that dialled again is not told (404).
- Who claims the slot first has it; the holder may claim it again, from a reloaded page. Another
  one gets it when the holder grants his request, and joins; the epoch counts the operators.
- What the operator's browser takes decides which codec a robot that has a choice sends; see
  :mod:`~teleop_webrtc_bridge.broker.registry.video_choice`.
- Viewers watch beside the slot; see :mod:`~teleop_webrtc_bridge.broker.registry.viewers`.
- A person is a tenant, a name and a role: a token of the same name that only watches is another
  person's. Several joins of one person are told apart by their media sessions, else by the token.
- Who was put out of a robot's viewers is neither viewer nor operator of it for ten minutes.
- What another tenant has does not exist.
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

from collections.abc import Callable, Mapping
from dataclasses import replace

from teleop_webrtc_bridge.broker.identity import OperatorCaller
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.bans import Bans
from teleop_webrtc_bridge.broker.registry.bridge_state import BridgeState
from teleop_webrtc_bridge.broker.registry.control_requests import ControlRequests
from teleop_webrtc_bridge.broker.registry.operator_slots import eviction, OperatorSlots
from teleop_webrtc_bridge.broker.registry.robot_sessions import RobotSessions
from teleop_webrtc_bridge.broker.registry.session_table import is_alive, SessionTable
from teleop_webrtc_bridge.broker.registry.sessions import (
    Effect,
    MediaLiveness,
    Operator,
    Reason,
    Session,
    SessionState,
    Viewer,
)
from teleop_webrtc_bridge.broker.registry.video_choice import video_reason
from teleop_webrtc_bridge.broker.registry.viewers import Viewers
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['Registry']


class Registry:
    """
    Owns all sessions; used by one event loop (or test) only.

    :param udp_ports: How many peer connections there can be; ``None``: as many as come.
    """

    def __init__(self, caps: Limits, udp_ports: int | None = None) -> None:
        self._table = SessionTable()
        self._bans = Bans()
        self.robots = RobotSessions(self._table, caps)
        """What robots do."""
        self.operators = OperatorSlots(self._table, self._bans)
        """What operators do."""
        self.viewers = Viewers(self._table, self._bans, caps, udp_ports)
        """Who only watches."""
        self.control = ControlRequests(self._table, self._bans)
        """How control goes from one operator to another."""
        self.bridges = BridgeState(self._table)
        """The data channels between the two."""

    def media_ids(self) -> list[str]:
        """Return every media session that a session or its operator uses."""
        sessions = self._table.where(lambda session: True)
        ids = [session.identity.media_id for session in sessions]
        ids += [session.operator.media_id for session in sessions if session.operator]
        return ids + [viewer.media_id for session in sessions for viewer in session.viewers]

    def sessions(self) -> list[Session]:
        """Return all sessions, the oldest first."""
        return self._table.where(lambda session: True)

    def session_of_media(self, media_id: str) -> Session | None:
        """Return the session that an operator's or viewer's media session belongs to."""
        found = self._table.where(
            lambda session: (
                (session.operator is not None and session.operator.media_id == media_id)
                or any(viewer.media_id == media_id for viewer in session.viewers)
            )
        )
        return found[0] if found else None

    def note_codecs(self, media_id: str, codecs: tuple[VideoCodec, ...]) -> None:
        """Note which codecs an operator or a viewer has turned out to take."""
        session = self.session_of_media(media_id)
        if session is None:
            return
        operator = session.operator
        if operator is not None and operator.media_id == media_id:
            self._table.store(replace(session, operator=replace(operator, video_codecs=codecs)))
            return
        viewers = tuple(
            replace(viewer, video_codecs=codecs) if viewer.media_id == media_id else viewer
            for viewer in session.viewers
        )
        self._table.store(replace(session, viewers=viewers))

    def video_reason(self, media_id: str) -> str | None:
        """Say why an operator or a viewer sees no picture; ``None``: no codec is in the way."""
        session = self.session_of_media(media_id)
        if session is None:
            return None
        people: list[Operator | Viewer] = [*session.viewers]
        people += [session.operator] if session.operator else []
        taken = next(person.video_codecs for person in people if person.media_id == media_id)
        return video_reason(session, taken)

    def figures(self) -> dict[SessionState, int]:
        """Count the live sessions by state."""
        states = [session.state for session in self._table.where(lambda session: True)]
        return {state: states.count(state) for state in (SessionState.IDLE, SessionState.ACTIVE)}

    def key_ids(self) -> set[str]:
        """Return the API keys that live sessions were made with."""
        sessions = self._table.where(lambda session: True)
        return {session.identity.key_id for session in sessions}

    def token_ids(self) -> set[str]:
        """Return our own tokens that people in live sessions came with."""
        sessions = self._table.where(lambda session: True)
        callers = [viewer.caller for session in sessions for viewer in session.viewers]
        callers += [session.operator.caller for session in sessions if session.operator]
        return {caller.token_id for caller in callers if caller.token_id is not None}

    def revoke(self, is_revoked: Callable[[OperatorCaller], bool]) -> list[Effect]:
        """Let all go whose tokens are not valid any more."""
        effects: list[Effect] = []
        for session in self._table.where(lambda session: True):
            for viewer in session.viewers:
                if is_revoked(viewer.caller):
                    effects += self.viewers.leave(session.session_id, viewer)
            session = self._table.find(session.session_id) or session
            if session.operator is not None and is_revoked(session.operator.caller):
                effects += self._table.drop_operator(session, Reason.OPERATOR_REVOKED)
        return effects

    def reap(self, now_s: float, liveness: Mapping[str, MediaLiveness]) -> list[Effect]:
        """
        End the sessions of silent robots and evict silent operators.

        :param liveness: Of the media sessions of :meth:`media_ids`; what is not in it is not
            judged.
        """
        effects: list[Effect] = []
        for session in self._table.where(lambda session: True):
            robot_media = liveness.get(session.identity.media_id)
            if not is_alive(session, now_s):
                effects += self._table.end(session, Reason.ROBOT_SILENT)
            elif robot_media is not None and robot_media.last_heard_s is None:
                effects += self._table.end(session, Reason.ROBOT_MEDIA_LOST)
            elif (reason := eviction(session, now_s, liveness)) is not None:
                effects += self._table.drop_operator(session, reason)
            effects += self.viewers.reap(session.session_id, now_s, liveness)
        self._table.forget_old(now_s)
        self._bans.forget_old(now_s)
        return effects
