"""
Operators: the operator slot, requests for control, and the operator's data channels.

A session has one operator. Another person takes over after the operator has granted their request
for control, or as an administrator. They do so by joining; until then the operator keeps control.
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
from dataclasses import dataclass, replace
import enum
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, Role
from teleop_webrtc_bridge.broker.registry.people import Bans, NamedPerson
from teleop_webrtc_bridge.broker.registry.refusals import (
    ClaimLost,
    NotAllowed,
    NotOperator,
    NotRequested,
    SessionUnknown,
    SlotTaken,
)
from teleop_webrtc_bridge.broker.registry.sessions import (
    Bridge,
    Claim,
    CloseChannels,
    ControlRequest,
    Effect,
    MediaLiveness,
    Operator,
    OPERATOR_CONNECT_S,
    OPERATOR_SILENT_S,
    Reason,
    Session,
    SessionTable,
    SlotEvent,
    SnapshotChanged,
)
from teleop_webrtc_bridge.core.messages import ChannelIds, VideoCodec

__all__ = ['BridgePlan', 'ControlState', 'Operators', 'eviction', 'open_requests']

OPERATOR_MEDIA_SILENT_S: Final = 3.0
REQUEST_S: Final = 10.0
"""How long a request for control is valid; the page repeats it every second or two."""
GRANT_S: Final = 15.0
"""How long a grant is valid."""
MAX_REQUESTS: Final = 8


class ControlState(enum.Enum):
    """The state of a request for control."""

    FREE = 'free'
    """The operator slot is free: join."""
    HOLDER = 'holder'
    """The caller has control."""
    PENDING = 'pending'
    GRANTED = 'granted'
    """A join now takes over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePlan:
    """Which peers to open channels between, and which older channels to close first."""

    session_id: str
    epoch: int
    operator: Identity
    operator_media_id: str
    robot_media_id: str
    close: tuple[CloseChannels, ...]


class Operators:
    """What operators may do with the table of sessions."""

    def __init__(self, table: SessionTable, bans: Bans) -> None:
        self._table = table
        self._bans = bans
        self._tickets = 0

    # --- joining -------------------------------------------------------------------------------

    def claim(self, session_id: str, caller: OperatorCaller, now_s: float) -> Claim:
        """
        Take the operator slot for a join; the holder may take it again.

        An operator who joins again stays connected until :meth:`attach`. Each claim has to end
        in :meth:`attach` or :meth:`abandon`.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotAllowed: The caller may only watch.
        :raises PutOut: The caller is banned from this robot.
        :raises SlotTaken: Another operator has it, and has not granted it to the caller.
        """
        session = self._table.get(session_id, caller, now_s)
        if not caller.may_control:
            raise NotAllowed
        self._bans.check(session.identity, caller.identity, now_s)
        holder = session.holder
        granted = session.claim is None and _has_grant(session, caller.identity, now_s)
        if holder is not None and holder != caller.identity and not granted:
            raise SlotTaken(holder.sub)
        self._tickets += 1
        claim = Claim(ticket=self._tickets, caller=caller)
        self._table.change(session, SlotEvent.CLAIM, claim=claim)
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

        :param video_codecs: Codecs that the operator can receive; ``None``: unknown.
        :raises SessionUnknown: The session ended meanwhile.
        :raises ClaimLost: The same operator joined again meanwhile.
        """
        session = self._table.find(session_id)
        if session is None:
            raise SessionUnknown
        if session.claim != claim:
            raise ClaimLost
        closing = session.closing()
        older = session.operator
        taken_over = older is not None and older.identity != claim.identity
        epoch = session.control_epoch + 1
        operator = Operator(
            caller=claim.caller,
            media_id=media_id,
            epoch=epoch,
            heartbeat_at_s=now_s,
            video_codecs=video_codecs,
        )
        session = self._table.change(
            session,
            SlotEvent.ATTACH,
            claim=None,
            operator=operator,
            requests=tuple(item for item in session.requests if item.who != claim.identity),
            bridge=None,
            control_epoch=epoch,
            snapshot_version=session.snapshot_version + 1,
        )
        reason = Reason.TAKEN_OVER if taken_over else Reason.JOINED
        return session, [
            *closing,
            SnapshotChanged(session_id=session_id),
            session.changed(reason, claim.identity),
        ]

    def abandon(self, session_id: str, claim: Claim) -> list[Effect]:
        """Give up a claim whose join failed; a claim that is gone already is ignored."""
        session = self._table.find(session_id)
        if session is None or session.claim != claim:
            return []
        session = self._table.change(session, SlotEvent.ABANDON, claim=None)
        return [session.changed(Reason.JOIN_FAILED, claim.identity)]

    # --- handing control over ------------------------------------------------------------------

    def request_control(
        self, session_id: str, caller: OperatorCaller, now_s: float
    ) -> tuple[ControlState, Identity | None]:
        """
        Ask for control, or renew the request.

        :returns: The state of the request, and the person who has control.
        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotAllowed: The caller may only watch.
        :raises PutOut: The caller is banned from this robot.
        """
        session = self._table.get(session_id, caller, now_s)
        if not caller.may_control:
            raise NotAllowed
        who = caller.identity
        self._bans.check(session.identity, who, now_s)
        if session.holder is None:
            return ControlState.FREE, None
        if session.holder == who:
            return ControlState.HOLDER, session.holder
        self._put(session, who, now_s, granted_at_s=None)
        granted = _has_grant(self._table.get(session_id, caller, now_s), who, now_s)
        return ControlState.GRANTED if granted else ControlState.PENDING, session.holder

    def grant_control(
        self, session_id: str, caller: OperatorCaller, named: NamedPerson, now_s: float
    ) -> Identity:
        """
        Let a person who has asked take over with their next join.

        :returns: That person.
        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotOperator: The caller does not have control.
        :raises NotRequested: No person of that name has asked.
        :raises AmbiguousName: Several of that name have.
        """
        session, _ = self._table.of_operator(session_id, caller, None, now_s)
        who = named.among(request.who for request in open_requests(session, now_s))
        if who is None:
            raise NotRequested
        self._put(session, who, now_s, granted_at_s=now_s)
        return who

    def take_control(self, session_id: str, caller: OperatorCaller, now_s: float) -> None:
        """
        Let an administrator take over with their next join.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotAllowed: The caller is not an administrator.
        """
        session = self._table.get(session_id, caller, now_s)
        if caller.role is not Role.ADMIN:
            raise NotAllowed
        self._put(session, caller.identity, now_s, granted_at_s=now_s)

    def _put(
        self, session: Session, who: Identity, now_s: float, *, granted_at_s: float | None
    ) -> None:
        """Add or renew a request; if there are eight already, drop the newest silently."""
        requests = open_requests(session, now_s)
        older = next((request for request in requests if request.who == who), None)
        if older is None:
            renewed = ControlRequest(who=who, asked_at_s=now_s, granted_at_s=granted_at_s)
            requests = (
                [*requests[: MAX_REQUESTS - 1], renewed]
                if granted_at_s
                else [*requests, renewed][:MAX_REQUESTS]
            )
        else:
            granted = older.granted_at_s if granted_at_s is None else granted_at_s
            renewed = replace(older, asked_at_s=now_s, granted_at_s=granted)
            requests = [renewed if request is older else request for request in requests]
        self._table.store(replace(session, requests=tuple(requests)))

    # --- the operator's data channels ----------------------------------------------------------

    def plan_bridge(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> BridgePlan:
        """
        Return which peers to open channels between.

        The older bridge stays in the heartbeat answers until :meth:`commit_bridge`: ids that
        became null for a moment would tell the robot that its operator had left.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotOperator: The caller is not the operator.
        """
        session, operator = self._table.of_operator(session_id, caller, media_id, now_s)
        robot, bridge = session.identity.media_id, session.bridge
        close: tuple[CloseChannels, ...] = ()
        if bridge is not None:
            close = (
                CloseChannels.of(operator.media_id, bridge.operator_ids),
                CloseChannels.of(robot, bridge.robot_ids),
            )
        return BridgePlan(
            session_id=session_id,
            epoch=operator.epoch,
            operator=operator.identity,
            operator_media_id=operator.media_id,
            robot_media_id=robot,
            close=close,
        )

    def commit_bridge(
        self, plan: BridgePlan, *, robot_ids: ChannelIds, operator_ids: ChannelIds, now_s: float
    ) -> list[Effect]:
        """
        Put the ids of the open channels into the heartbeat answers.

        :raises SessionUnknown: The session ended meanwhile.
        :raises NotOperator: The operator left meanwhile.
        """
        session = self._planned(plan)
        if session is None:
            raise NotOperator if self._table.find(plan.session_id) else SessionUnknown
        bridge = Bridge(robot_ids=robot_ids, operator_ids=operator_ids, since_s=now_s)
        return self._replace_bridge(session, bridge)

    def abort_bridge(self, plan: BridgePlan) -> list[Effect]:
        """Note that the older bridge was closed, and that opening the new one failed."""
        session = self._planned(plan)
        if session is None or session.bridge is None:
            return []
        return self._replace_bridge(session, None)

    def _planned(self, plan: BridgePlan) -> Session | None:
        """Return the session if it still has the operator that the plan was made for."""
        session = self._table.find(plan.session_id)
        if session is None or session.operator is None or session.operator.epoch != plan.epoch:
            return None
        return session

    def _replace_bridge(self, session: Session, bridge: Bridge | None) -> list[Effect]:
        assert session.operator is not None
        # An answer to the older bridge's video offer would not fit the new one.
        operator = replace(session.operator, video_offer_pending=False)
        return self._table.tell_robot(session, bridge=bridge, operator=operator)


def open_requests(session: Session, now_s: float) -> list[ControlRequest]:
    """Return the requests for control that are still valid, the oldest first."""
    return [
        request
        for request in session.requests
        if now_s - request.asked_at_s < REQUEST_S or _is_granted(request, now_s)
    ]


def _has_grant(session: Session, who: Identity, now_s: float) -> bool:
    """Return whether a join of this person may take the slot from its holder."""
    return any(request.who == who and _is_granted(request, now_s) for request in session.requests)


def _is_granted(request: ControlRequest, now_s: float) -> bool:
    return request.granted_at_s is not None and now_s - request.granted_at_s < GRANT_S


def eviction(
    session: Session, now_s: float, liveness: Mapping[str, MediaLiveness]
) -> Reason | None:
    """Return why the operator has to be disconnected; ``None``: they may stay."""
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
        # Silence before the channels were open does not count.
        silent_for_s = now_s - max(media.last_heard_s, session.bridge.since_s)
        limit_s = OPERATOR_MEDIA_SILENT_S
    return Reason.OPERATOR_MEDIA_LOST if silent_for_s > limit_s else None
