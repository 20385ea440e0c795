"""
The registry: which robots are connected, who drives each, and who watches.

Pure: no clock, no I/O, no lock. ``now_s`` is monotonic seconds. A method either raises a
:class:`RegistryRefusal` and changes nothing, or returns the effects that the caller has
to carry out, in that order.

- ``robots.py``: sessions and heartbeats of robots.
- ``operators.py``: the operator slot, and how it changes hands.
- ``viewers.py``: viewers and their channels.
- ``sessions.py``: the contents of a session, its state machine, and the table of all sessions.
- ``people.py``, ``refusals.py``: names and bans; the reasons for refusals.

The rules:

- One robot has one session: a new one of the same (owner, robot_id) supersedes the older. If the
  older one was another process, it learns this (409): two robots that share a name by mistake must
  not take turns under one operator. A robot that merely dialled again does not (404).
- The first claim gets the operator slot. Its holder may claim it again, from a reloaded page;
  another person only after a grant. The epoch counts the operators.
- A person is a tenant, a name and a role: the same name with another role is another person.
  Media session ids, else tokens, distinguish several joins of one person.
- A person who was removed from a robot's viewers may neither watch nor drive it for ten minutes.
- The operator's browser decides which codec a robot sends, then the viewers' browsers.
- For a caller, the sessions of other tenants do not exist.
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

from teleop_webrtc_bridge.broker.identity import OperatorCaller
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.operators import eviction, Operators
from teleop_webrtc_bridge.broker.registry.people import Bans
from teleop_webrtc_bridge.broker.registry.refusals import NoPendingOffer, NotOperator
from teleop_webrtc_bridge.broker.registry.robots import Robots, video_reason
from teleop_webrtc_bridge.broker.registry.sessions import (
    Effect,
    Join,
    MediaLiveness,
    Operator,
    Reason,
    Session,
    SessionState,
    SessionTable,
)
from teleop_webrtc_bridge.broker.registry.viewers import Viewers
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['Registry']


class Registry:
    """
    Owns all sessions; used by one event loop (or test) only.

    :param udp_ports: The largest number of peer connections; ``None``: unlimited.
    """

    def __init__(self, limits: Limits, udp_ports: int | None = None) -> None:
        self._table = SessionTable()
        self._bans = Bans()
        self.robots = Robots(self._table, limits)
        self.operators = Operators(self._table, self._bans)
        self.viewers = Viewers(self._table, self._bans, limits, udp_ports)

    # --- sessions ------------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        """Return all sessions, the oldest first."""
        return list(self._table)

    def visible(self, caller: OperatorCaller, now_s: float) -> list[Session]:
        """Return the sessions that a caller may see, the oldest first."""
        return self._table.where(
            lambda session: caller.sees(session.identity.owner) and session.is_alive(now_s)
        )

    def get(self, session_id: str, caller: OperatorCaller, now_s: float) -> Session:
        """
        Return one of them.

        :raises SessionUnknown: It is unknown, not this caller's, or its robot is silent.
        """
        return self._table.get(session_id, caller, now_s)

    def media_ids(self) -> list[str]:
        """Return the media sessions of all robots, operators and viewers."""
        robots = [session.identity.media_id for session in self._table]
        return robots + [join.media_id for session in self._table for join in session.joins]

    def session_of_media(self, media_id: str) -> Session | None:
        """Return the session that an operator's or viewer's media session belongs to."""
        found = self._table.where(
            lambda session: any(join.media_id == media_id for join in session.joins)
        )
        return found[0] if found else None

    def figures(self) -> dict[SessionState, int]:
        """Return the number of sessions in each state."""
        states = [session.state for session in self._table]
        return {state: states.count(state) for state in (SessionState.IDLE, SessionState.ACTIVE)}

    def key_ids(self) -> set[str]:
        """Return the API keys that the sessions were created with."""
        return {session.identity.key_id for session in self._table}

    def token_ids(self) -> set[str]:
        """Return the broker's own tokens that operators and viewers use."""
        callers = [join.caller for session in self._table for join in session.joins]
        return {caller.token_id for caller in callers if caller.token_id is not None}

    # --- operators and viewers alike -----------------------------------------------------------

    def join_of(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> Join:
        """
        Return the caller as the operator or a viewer of a session.

        :param media_id: The join that the request is about; see :meth:`Join.is_of`.
        :raises SessionUnknown: See :meth:`get`.
        :raises NotOperator: The caller is neither.
        """
        return self._table.of_join(session_id, caller, media_id, now_s)[1]

    def heartbeat(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> Join:
        """
        Note that an operator or a viewer is alive.

        :returns: Who it is.
        :raises RegistryRefusal: See :meth:`join_of`.
        """
        join = self.join_of(session_id, caller, media_id, now_s)
        renewed = join.caller.renewed_by(caller)
        self._table.change_join(session_id, join.media_id, caller=renewed, heartbeat_at_s=now_s)
        return join

    def leave(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> tuple[SessionState, list[Effect]]:
        """
        Disconnect the caller; nothing happens if they are neither operator nor viewer.

        :raises SessionUnknown: See :meth:`get`.
        """
        effects: list[Effect] = []
        try:
            session, join = self._table.of_join(session_id, caller, media_id, now_s)
        except NotOperator:
            pass
        else:
            if isinstance(join, Operator):
                effects = self._table.drop_operator(session, Reason.LEFT)
            else:
                effects = self.viewers.drop(session_id, join.media_id)
        return self.get(session_id, caller, now_s).state, effects

    def expect_video_answer(self, session_id: str, media_id: str) -> None:
        """Note that a ``video_offer`` was sent, or that the answer to it was unusable."""
        self._table.change_join(session_id, media_id, video_offer_pending=True)

    def take_video_answer(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> str:
        """
        Accept the answer to a ``video_offer``, once per offer.

        :returns: The caller's media session.
        :raises RegistryRefusal: See :meth:`join_of`.
        :raises NoPendingOffer: No offer was sent, or it was answered already.
        """
        join = self.join_of(session_id, caller, media_id, now_s)
        if not join.video_offer_pending:
            raise NoPendingOffer
        self._table.change_join(session_id, join.media_id, video_offer_pending=False)
        return join.media_id

    def note_codecs(self, session_id: str, media_id: str, codecs: tuple[VideoCodec, ...]) -> None:
        """Note which codecs an operator or a viewer can receive."""
        self._table.change_join(session_id, media_id, video_codecs=codecs)

    def video_reason(self, session_id: str, media_id: str) -> str | None:
        """Say which codec keeps an operator or a viewer from seeing a picture, if one does."""
        session = self._table.find(session_id)
        if session is None:
            return None
        join = next((join for join in session.joins if join.media_id == media_id), None)
        return None if join is None else video_reason(session, join.video_codecs)

    # --- revocation and time -------------------------------------------------------------------

    def revoke(self, is_revoked: Callable[[OperatorCaller], bool]) -> list[Effect]:
        """Disconnect all operators and viewers whose tokens are no longer valid."""
        effects: list[Effect] = []
        for session in self._table:
            for viewer in session.viewers:
                if is_revoked(viewer.caller):
                    effects += self.viewers.drop(session.session_id, viewer.media_id)
            session = self._table.find(session.session_id) or session
            if session.operator is not None and is_revoked(session.operator.caller):
                effects += self._table.drop_operator(session, Reason.OPERATOR_REVOKED)
        return effects

    def reap(self, now_s: float, liveness: Mapping[str, MediaLiveness]) -> list[Effect]:
        """
        End the sessions of silent robots, and disconnect silent operators and viewers.

        :param liveness: Of media sessions; one that is missing is not judged.
        """
        effects: list[Effect] = []
        for session in self._table:
            robot_media = liveness.get(session.identity.media_id)
            if not session.is_alive(now_s):
                effects += self._table.end(session, Reason.ROBOT_SILENT)
            elif robot_media is not None and robot_media.last_heard_s is None:
                effects += self._table.end(session, Reason.ROBOT_MEDIA_LOST)
            elif (reason := eviction(session, now_s, liveness)) is not None:
                effects += self._table.drop_operator(session, reason)
            effects += self.viewers.reap(session.session_id, now_s, liveness)
        self._table.forget_old(now_s)
        self._bans.forget_old(now_s)
        return effects
