"""
Which data channels join a robot to its operator, as the robot is to be told.

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

from dataclasses import replace

from teleop_webrtc_bridge.broker.identity import OperatorCaller
from teleop_webrtc_bridge.broker.registry.session_table import bridge_channels, SessionTable
from teleop_webrtc_bridge.broker.registry.sessions import (
    Bridge,
    BridgePlan,
    Effect,
    NoPendingOffer,
    NotOperator,
    Session,
    SessionUnknown,
    SnapshotChanged,
)
from teleop_webrtc_bridge.core.messages import ChannelIds

__all__ = ['BridgeState']


class BridgeState:
    """The bridges of the session table."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table

    def plan(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> BridgePlan:
        """
        Say between whom channels are to be opened.

        The older bridge stays in the snapshot until :meth:`commit`: ids that go to null and
        back would tell the robot that its operator had left.

        :raises SessionUnknown: See :meth:`get`.
        :raises NotOperator: The caller is not the operator.
        """
        session, operator = self._table.of_operator(session_id, caller, media_id, now_s)
        return BridgePlan(
            session_id=session_id,
            epoch=operator.epoch,
            operator=operator.caller.identity,
            operator_media_id=operator.media_id,
            robot_media_id=session.identity.media_id,
            close=bridge_channels(session),
        )

    def commit(
        self, plan: BridgePlan, *, robot_ids: ChannelIds, operator_ids: ChannelIds, now_s: float
    ) -> list[Effect]:
        """
        Put the ids of the open channels into the snapshot.

        :raises SessionUnknown: The session ended meanwhile.
        :raises NotOperator: The operator went away meanwhile.
        """
        session = self._planned(plan)
        if session is None:
            raise NotOperator if self._table.find(plan.session_id) else SessionUnknown
        bridge = Bridge(robot_ids=robot_ids, operator_ids=operator_ids, since_s=now_s)
        return self._replace_bridge(session, bridge)

    def abort(self, plan: BridgePlan) -> list[Effect]:
        """Note that the older bridge was closed, but no newer one came of it."""
        session = self._planned(plan)
        if session is None or session.bridge is None:
            return []
        return self._replace_bridge(session, None)

    def expect_video_answer(self, plan: BridgePlan) -> None:
        """Note that the operator was sent a ``video_offer``."""
        session = self._planned(plan)
        if session is not None and session.bridge is not None:
            bridge = replace(session.bridge, video_offer_pending=True)
            self._table.store(replace(session, bridge=bridge))

    def take_video_answer(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> str:
        """
        Accept that an operator answers its ``video_offer``; once per offer.

        :returns: The operator's media session.
        :raises SessionUnknown: See :meth:`get`.
        :raises NotOperator: The caller is not the operator.
        :raises NoPendingOffer: There is no such offer, or it was answered already.
        """
        session, operator = self._table.of_operator(session_id, caller, media_id, now_s)
        if session.bridge is None or not session.bridge.video_offer_pending:
            raise NoPendingOffer
        bridge = replace(session.bridge, video_offer_pending=False)
        self._table.store(replace(session, bridge=bridge))
        return operator.media_id

    def refuse_video_answer(self, session_id: str, media_id: str) -> None:
        """Note that the answer could not be used: the offer still stands."""
        session = self._table.find(session_id)
        if session is None or session.bridge is None or session.operator is None:
            return
        if session.operator.media_id == media_id:
            bridge = replace(session.bridge, video_offer_pending=True)
            self._table.store(replace(session, bridge=bridge))

    def _planned(self, plan: BridgePlan) -> Session | None:
        """Return the session if its operator is still the one that the plan was made for."""
        session = self._table.find(plan.session_id)
        if session is None or session.operator is None or session.operator.epoch != plan.epoch:
            return None
        return session

    def _replace_bridge(self, session: Session, bridge: Bridge | None) -> list[Effect]:
        self._table.store(
            replace(session, bridge=bridge, snapshot_version=session.snapshot_version + 1)
        )
        return [SnapshotChanged(session_id=session.session_id)]
