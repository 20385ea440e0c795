"""
Who watches which robot: video and telemetry, no commands, and the E-STOP.

While a robot has an operator, its viewers receive copies of what he receives, and nothing changes
for the robot. While it has none, the broker opens the robot's channels for them, all but the one
for commands: the robot then sends its picture and telemetry, and can be stopped.

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
from dataclasses import dataclass, replace
from typing import Any, Final

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.bans import Bans
from teleop_webrtc_bridge.broker.registry.named_person import NamedPerson
from teleop_webrtc_bridge.broker.registry.operator_slots import (
    OPERATOR_CONNECT_S,
    OPERATOR_SILENT_S,
)
from teleop_webrtc_bridge.broker.registry.session_table import (
    closing_operator,
    is_same_join,
    SessionTable,
)
from teleop_webrtc_bridge.broker.registry.sessions import (
    Bridge,
    CloseChannels,
    CloseMedia,
    Effect,
    MediaLiveness,
    NoPendingOffer,
    NotOperator,
    NotRemovable,
    NotWatching,
    Session,
    SessionUnknown,
    SnapshotChanged,
    TooManyViewers,
    Viewer,
    WatchPlan,
)
from teleop_webrtc_bridge.core.messages import ChannelIds, VideoCodec

__all__ = ['RemovedViewers', 'Viewers']


RESERVE: Final = 4
"""One of so many UDP ports is kept: viewers must not keep a driven robot from dialling anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedViewers:
    """Who was put out of a robot's viewers."""

    who: Identity
    robot_id: str
    count: int
    """How many of the robot's viewers this person was."""


class Viewers:
    """
    The viewers of the session table.

    :param udp_ports: How many peer connections there can be; ``None``: as many as come.
    """

    def __init__(
        self, table: SessionTable, bans: Bans, caps: Limits, udp_ports: int | None = None
    ) -> None:
        self._table = table
        self._bans = bans
        self._caps = caps
        self._udp_ports = udp_ports

    @property
    def count(self) -> int:
        """How many there are, of all robots together."""
        return sum(len(session.viewers) for session in self._table.where(lambda session: True))

    def check_room(self, session_id: str, caller: OperatorCaller, now_s: float) -> Session:
        """
        Make sure that a robot may have the caller as one more viewer.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises PutOut: The caller was put out.
        :raises TooManyViewers: It may not have one more.
        """
        session = self._table.get(session_id, caller, now_s)
        self._bans.check(session.identity, caller.identity, now_s)
        viewers = len(session.viewers)
        if viewers >= self._caps.viewers_per_robot:
            raise TooManyViewers(f'{viewers} viewers already watch this robot')
        theirs = sum(viewer.identity == caller.identity for viewer in session.viewers)
        if theirs >= self._caps.viewers_per_person:
            raise TooManyViewers(f'you already watch this robot {theirs} times')
        ports = self._udp_ports
        if ports is not None and ports - self._table.peers() <= ports / RESERVE:
            raise TooManyViewers('the last UDP ports of the broker are for robots and operators')
        return session

    def attach(
        self,
        session_id: str,
        caller: OperatorCaller,
        media_id: str,
        now_s: float,
        *,
        video_codecs: tuple[VideoCodec, ...] | None = None,
    ) -> Session:
        """
        Let a caller watch through a media session.

        :param video_codecs: Those that the caller takes; ``None``: that is not known.
        :returns: The session with this viewer.
        :raises SessionUnknown: The session ended meanwhile.
        :raises PutOut: The caller was put out meanwhile.
        :raises TooManyViewers: Others were faster.
        """
        session = self.check_room(session_id, caller, now_s)
        viewer = Viewer(
            caller=caller, media_id=media_id, heartbeat_at_s=now_s, video_codecs=video_codecs
        )
        session = replace(session, viewers=(*session.viewers, viewer))
        self._table.store(session)
        return session

    def find(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> Viewer | None:
        """
        Return the caller as a viewer.

        :param media_id: Which join the call is about; see :func:`is_same_join`. ``None``: if it is
            not the operator's, the newest.
        :raises SessionUnknown: See :meth:`SessionTable.get`.
        """
        session = self._table.get(session_id, caller, now_s)
        operator = session.operator
        if operator is not None and is_same_join(operator, caller, media_id):
            return None
        for viewer in reversed(session.viewers):
            if is_same_join(viewer, caller, media_id):
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

    def put_out(
        self, session_id: str, caller: OperatorCaller, named: NamedPerson, now_s: float
    ) -> tuple[RemovedViewers, list[Effect]]:
        """
        Let all viewers of one person go, who may not come back to this robot for some time.

        Whoever drives, and administrators, cannot be put out: nobody locks themselves out.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotOperator: The caller neither drives the robot nor is an administrator.
        :raises NotWatching: Nobody of that name watches.
        :raises NotRemovable: Who does cannot be put out.
        :raises AmbiguousName: Several people of that name watch.
        """
        session = self._table.get(session_id, caller, now_s)
        if caller.role is not Role.ADMIN:
            self._table.of_operator(session_id, caller, None, now_s)
        named_so = [item.identity for item in session.viewers if named.means(item.identity)]
        if not named_so:
            raise NotWatching
        who = named.among(item for item in named_so if session.may_be_removed(item))
        if who is None:
            raise NotRemovable(named_so[0])
        self._bans.add(session.identity, who, now_s)
        requests = tuple(request for request in session.requests if request.who != who)
        self._table.store(replace(session, requests=requests))
        theirs = [viewer for viewer in session.viewers if viewer.identity == who]
        effects = [effect for viewer in theirs for effect in self.leave(session_id, viewer)]
        robot_id = session.identity.robot_id
        return RemovedViewers(who=who, robot_id=robot_id, count=len(theirs)), effects

    # --- his channels --------------------------------------------------------------------------

    def plan(self, session_id: str, viewer: Viewer) -> WatchPlan:
        """
        Say from where a viewer is to receive.

        :raises SessionUnknown: The session ended.
        :raises NotOperator: The viewer went away.
        """
        session = self._table.find(session_id)
        if session is None:
            raise SessionUnknown
        # As it is now: another call of the same viewer may have opened channels meanwhile.
        now = next((item for item in session.viewers if item.media_id == viewer.media_id), None)
        if now is None:
            raise NotOperator
        return WatchPlan(
            session_id=session_id,
            viewer=viewer.caller.identity,
            viewer_media_id=viewer.media_id,
            robot_media_id=session.identity.media_id,
            close=CloseChannels(media_id=viewer.media_id, stream_ids=now.streams),
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
