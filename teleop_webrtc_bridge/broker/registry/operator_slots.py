"""
Who operates which robot: one operator a session, and his heartbeat.

Pure; a part of :mod:`~teleop_webrtc_bridge.broker.registry.registry`, which explains the rules.
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

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from teleop_webrtc_bridge.broker.identity import OperatorCaller
from teleop_webrtc_bridge.broker.registry.bans import Bans
from teleop_webrtc_bridge.broker.registry.control_requests import has_grant
from teleop_webrtc_bridge.broker.registry.session_table import (
    closing_operator,
    is_alive,
    SessionTable,
    state_changed,
)
from teleop_webrtc_bridge.broker.registry.sessions import (
    Claim,
    ClaimLost,
    Effect,
    MediaLiveness,
    NotAllowed,
    NotOperator,
    Operator,
    Reason,
    Session,
    SessionState,
    SessionUnknown,
    SlotTaken,
    SnapshotChanged,
)
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = [
    'OPERATOR_CONNECT_S',
    'OPERATOR_MEDIA_SILENT_S',
    'OPERATOR_SILENT_S',
    'OperatorSlots',
    'eviction',
]

OPERATOR_SILENT_S: Final = 20.0
OPERATOR_MEDIA_SILENT_S: Final = 3.0
OPERATOR_CONNECT_S: Final = 20.0
"""Before its channels are bridged an operator may have nothing to say for longer."""


class OperatorSlots:
    """The operators' side of the session table."""

    def __init__(self, table: SessionTable, bans: Bans) -> None:
        self._table = table
        self._bans = bans
        self._tickets = 0

    def visible(self, caller: OperatorCaller, now_s: float) -> list[Session]:
        """Return the sessions of robots that are alive and this caller's, the oldest first."""
        return self._table.where(
            lambda session: caller.sees(session.identity.owner) and is_alive(session, now_s)
        )

    def get(self, session_id: str, caller: OperatorCaller, now_s: float) -> Session:
        """
        Return one session.

        :raises SessionUnknown: It is unknown, not this caller's, or its robot is silent.
        """
        return self._table.get(session_id, caller, now_s)

    def claim(self, session_id: str, caller: OperatorCaller, now_s: float) -> Claim:
        """
        Take the operator slot, in one step, for a join; the holder may take it again.

        An operator that joins again stays connected until :meth:`attach`. Each claim has to end
        in :meth:`attach` or :meth:`abandon`.

        :raises SessionUnknown: See :meth:`get`.
        :raises NotAllowed: The caller may only watch.
        :raises PutOut: The caller was put out of this robot's viewers.
        :raises SlotTaken: Another operator has it, and has not granted it to the caller.
        """
        session = self._table.get(session_id, caller, now_s)
        if not caller.may_control:
            raise NotAllowed
        self._bans.check(session.identity, caller.identity, now_s)
        holder = session.holder
        granted = session.claim is None and has_grant(session, caller.identity, now_s)
        if holder is not None and holder != caller.identity and not granted:
            raise SlotTaken(holder.sub)
        self._tickets += 1
        claim = Claim(ticket=self._tickets, caller=caller)
        self._table.store(replace(session, claim=claim))
        return claim

    def attach(
        self,
        session_id: str,
        claim: Claim,
        media_id: str,
        now_s: float,
        *,
        video_codecs: tuple[VideoCodec, ...] | None = None,
    ) -> tuple[Session, list[Effect]]:
        """
        Finish a join: the claim's operator controls the robot through this media session.

        :param video_codecs: Those that the operator takes; ``None``: that is not known.
        :raises SessionUnknown: The session ended meanwhile.
        :raises ClaimLost: The same operator joined again meanwhile.
        """
        session = self._table.find(session_id)
        if session is None:
            raise SessionUnknown
        if session.claim != claim:
            raise ClaimLost
        closing = closing_operator(session)
        older = session.operator
        taken_over = older is not None and older.identity != claim.identity
        epoch = session.control_epoch + 1
        session = replace(
            session,
            claim=None,
            operator=Operator(
                caller=claim.caller,
                media_id=media_id,
                epoch=epoch,
                heartbeat_at_s=now_s,
                video_codecs=video_codecs,
            ),
            requests=tuple(item for item in session.requests if item.who != claim.identity),
            bridge=None,
            control_epoch=epoch,
            snapshot_version=session.snapshot_version + 1,
        )
        self._table.store(session)
        reason = Reason.TAKEN_OVER if taken_over else Reason.JOINED
        return session, [
            *closing,
            SnapshotChanged(session_id=session_id),
            state_changed(session, reason, claim.identity),
        ]

    def abandon(self, session_id: str, claim: Claim) -> list[Effect]:
        """Give up a claim whose join failed; a claim that is gone already is ignored."""
        session = self._table.find(session_id)
        if session is None or session.claim != claim:
            return []
        without = replace(session, claim=None)
        self._table.store(without)
        return [state_changed(without, Reason.JOIN_FAILED, claim.identity)]

    def operator_heartbeat(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> Operator:
        """
        Note that an operator is alive.

        :param media_id: Which join the call is about; see :meth:`SessionTable.of_operator`.
        :returns: The operator.
        :raises SessionUnknown: See :meth:`get`.
        :raises NotOperator: The caller is not the operator.
        """
        session, operator = self._table.of_operator(session_id, caller, media_id, now_s)
        operator = replace(
            operator, caller=operator.caller.renewed_by(caller), heartbeat_at_s=now_s
        )
        self._table.store(replace(session, operator=operator))
        return operator

    def leave(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> tuple[SessionState, list[Effect]]:
        """
        Free the operator slot; nothing happens if the caller does not hold it.

        :raises SessionUnknown: See :meth:`get`.
        """
        try:
            session, _ = self._table.of_operator(session_id, caller, media_id, now_s)
        except NotOperator:
            return self._table.get(session_id, caller, now_s).state, []
        effects = self._table.drop_operator(session, Reason.LEFT)
        return self._table.get(session_id, caller, now_s).state, effects


def eviction(
    session: Session, now_s: float, liveness: Mapping[str, MediaLiveness]
) -> Reason | None:
    """Return why the operator has to go, if it has to."""
    operator = session.operator
    if operator is None:
        return None
    if now_s - operator.heartbeat_at_s >= OPERATOR_SILENT_S:
        return Reason.OPERATOR_SILENT
    media = liveness.get(operator.media_id)
    if media is None:
        return None
    if media.last_heard_s is None:
        return Reason.OPERATOR_MEDIA_LOST
    if session.bridge is None:
        silent_for_s, limit_s = now_s - media.last_heard_s, OPERATOR_CONNECT_S
    else:
        # An operator that was silent while it waited for its bridge gets its 3 s from then on.
        silent_for_s = now_s - max(media.last_heard_s, session.bridge.since_s)
        limit_s = OPERATOR_MEDIA_SILENT_S
    return Reason.OPERATOR_MEDIA_LOST if silent_for_s > limit_s else None
