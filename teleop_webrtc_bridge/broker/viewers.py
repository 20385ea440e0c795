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

"""
Who watches which robot: video and telemetry, no commands, and the E-STOP.

While a robot has an operator, its viewers receive copies of what he receives, and nothing changes
for the robot. While it has none, the broker opens the robot's channels for them, all but the one
for commands: the robot then sends its picture and telemetry, and can be stopped.

Pure; a part of :mod:`~teleop_webrtc_bridge.broker.registry`, which explains the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from teleop_webrtc_bridge.broker.caps import Caps
from teleop_webrtc_bridge.broker.identity import OperatorCaller
from teleop_webrtc_bridge.broker.operator_slots import OPERATOR_CONNECT_S, OPERATOR_SILENT_S
from teleop_webrtc_bridge.broker.session_table import closing_operator, SessionTable
from teleop_webrtc_bridge.broker.sessions import (
    Bridge,
    CloseChannels,
    CloseMedia,
    Effect,
    MediaLiveness,
    NoPendingOffer,
    NotOperator,
    Session,
    SessionUnknown,
    SnapshotChanged,
    TooManyViewers,
    Viewer,
    WatchPlan,
)
from teleop_webrtc_bridge.messages import ChannelIds

__all__ = ['Viewers']


class Viewers:
    """The viewers of the session table."""

    def __init__(self, table: SessionTable, caps: Caps) -> None:
        self._table = table
        self._caps = caps

    @property
    def count(self) -> int:
        """How many there are, of all robots together."""
        return sum(len(session.viewers) for session in self._table.where(lambda session: True))

    def check_room(self, session_id: str, caller: OperatorCaller, now_s: float) -> Session:
        """
        Make sure that a robot may have one more viewer.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises TooManyViewers: It may not.
        """
        session = self._table.get(session_id, caller, now_s)
        if len(session.viewers) >= self._caps.viewers_per_robot:
            raise TooManyViewers(len(session.viewers))
        return session

    def attach(
        self, session_id: str, caller: OperatorCaller, media_id: str, now_s: float
    ) -> Session:
        """
        Let a caller watch through a media session.

        :raises SessionUnknown: The session ended meanwhile.
        :raises TooManyViewers: Others were faster.
        """
        session = self.check_room(session_id, caller, now_s)
        viewer = Viewer(caller=caller, media_id=media_id, heartbeat_at_s=now_s)
        self._table.store(replace(session, viewers=(*session.viewers, viewer)))
        return session

    def find(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> Viewer | None:
        """
        Return the caller as a viewer.

        :param media_id: Which of his viewers; ``None``: if he is not the operator, the newest.
        :raises SessionUnknown: See :meth:`SessionTable.get`.
        """
        session = self._table.get(session_id, caller, now_s)
        operator = session.operator
        if media_id is None and operator is not None and operator.sub == caller.sub:
            return None
        for viewer in reversed(session.viewers):
            if viewer.caller.sub == caller.sub and media_id in (None, viewer.media_id):
                return viewer
        return None

    def heartbeat(
        self, session_id: str, viewer: Viewer, caller: OperatorCaller, now_s: float
    ) -> None:
        """Note that a viewer is alive."""
        renewed = viewer.caller.renewed_by(caller)
        self._replace(session_id, viewer.media_id, caller=renewed, heartbeat_at_s=now_s)

    def leave(self, session_id: str, viewer: Viewer) -> list[Effect]:
        """Let a viewer go."""
        session = self._table.find(session_id)
        return [] if session is None else self._drop(session, viewer)

    # --- his channels --------------------------------------------------------------------------

    def plan(self, session_id: str, viewer: Viewer) -> WatchPlan:
        """
        Say from where a viewer is to receive.

        :raises SessionUnknown: The session ended.
        """
        session = self._table.find(session_id)
        if session is None:
            raise SessionUnknown
        return WatchPlan(
            session_id=session_id,
            viewer_media_id=viewer.media_id,
            robot_media_id=session.identity.media_id,
            close=CloseChannels(media_id=viewer.media_id, stream_ids=viewer.streams),
        )

    def commit(self, plan: WatchPlan, ids: ChannelIds, now_s: float) -> None:
        """
        Note that a viewer's channels are open.

        :raises NotOperator: The viewer went away meanwhile.
        """
        streams = tuple(stream for stream in ids.by_label().values() if stream is not None)
        known = self._replace(
            plan.session_id, plan.viewer_media_id, streams=streams, bridged_at_s=now_s
        )
        if not known:
            raise NotOperator

    def expect_video_answer(self, plan: WatchPlan) -> None:
        """Note that a viewer was sent a ``video_offer``."""
        self._replace(plan.session_id, plan.viewer_media_id, video_offer_pending=True)

    def take_video_answer(self, session_id: str, viewer: Viewer) -> str:
        """
        Accept that a viewer answers its ``video_offer``; once per offer.

        :returns: Its media session.
        :raises NoPendingOffer: There is none.
        """
        if not viewer.video_offer_pending:
            raise NoPendingOffer
        self._replace(session_id, viewer.media_id, video_offer_pending=False)
        return viewer.media_id

    def refuse_video_answer(self, session_id: str, viewer: Viewer) -> None:
        """Note that the answer could not be used: the offer still stands."""
        self._replace(session_id, viewer.media_id, video_offer_pending=True)

    # --- the robot's channels while nobody drives ----------------------------------------------

    def unserved(self) -> list[Session]:
        """
        Return the sessions whose robot's channels are to be opened for viewers alone.

        A robot has to be told that its operator has left before it is told of channels again.
        """
        return self._table.where(
            lambda session: (
                session.holder is None
                and session.bridge is None
                and session.answered_version == session.snapshot_version
                and any(viewer.bridged_at_s is not None for viewer in session.viewers)
            )
        )

    def serve(self, session_id: str, robot_ids: ChannelIds, now_s: float) -> list[Effect] | None:
        """
        Put the ids of channels that were opened for viewers into the snapshot.

        :returns: ``None`` if they are not wanted any more: close them.
        """
        session = self._table.find(session_id)
        if session is None or session not in self.unserved():
            return None
        bridge = Bridge(robot_ids=robot_ids, operator_ids=ChannelIds(), since_s=now_s)
        version = session.snapshot_version + 1
        self._table.store(replace(session, bridge=bridge, snapshot_version=version))
        return [SnapshotChanged(session_id=session_id)]

    # --- time ----------------------------------------------------------------------------------

    def reap(
        self, session_id: str, now_s: float, liveness: Mapping[str, MediaLiveness]
    ) -> list[Effect]:
        """Let the viewers of a session go that are silent or lost."""
        effects: list[Effect] = []
        session = self._table.find(session_id)
        for viewer in session.viewers if session is not None else ():
            media = liveness.get(viewer.media_id)
            lost = media is not None and _is_lost(viewer, media, now_s)
            if lost or now_s - viewer.heartbeat_at_s >= OPERATOR_SILENT_S:
                effects += self.leave(session_id, viewer)
        return effects

    def _drop(self, session: Session, viewer: Viewer) -> list[Effect]:
        left = tuple(item for item in session.viewers if item.media_id != viewer.media_id)
        if len(left) == len(session.viewers):
            return []
        effects: list[Effect] = [CloseMedia(media_id=viewer.media_id)]
        session = replace(session, viewers=left)
        if not left and session.operator is None and session.bridge is not None:
            effects += closing_operator(session)
            version = session.snapshot_version + 1
            session = replace(session, bridge=None, snapshot_version=version)
            effects.append(SnapshotChanged(session_id=session.session_id))
        self._table.store(session)
        return effects

    def _replace(self, session_id: str, media_id: str, **changes: Any) -> bool:
        session = self._table.find(session_id)
        if session is None or all(viewer.media_id != media_id for viewer in session.viewers):
            return False
        viewers = tuple(
            replace(viewer, **changes) if viewer.media_id == media_id else viewer
            for viewer in session.viewers
        )
        self._table.store(replace(session, viewers=viewers))
        return True


def _is_lost(viewer: Viewer, media: MediaLiveness, now_s: float) -> bool:
    if media.last_heard_s is None:
        return True
    since_s = max(media.last_heard_s, viewer.bridged_at_s or 0.0)
    return now_s - since_s > OPERATOR_CONNECT_S
