"""
Viewers: they receive video and telemetry, and their only command is the E-STOP.

While a robot has an operator, its viewers receive copies of what the operator receives, and the
robot does not notice. Otherwise the broker opens the robot's channels for the viewers, all except
the one for commands: the robot then sends its video and telemetry, and can be stopped.
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
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, Role
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.people import Bans, NamedPerson
from teleop_webrtc_bridge.broker.registry.refusals import (
    NotOperator,
    NotRemovable,
    NotWatching,
    SessionUnknown,
    TooManyViewers,
)
from teleop_webrtc_bridge.broker.registry.sessions import (
    Bridge,
    CloseChannels,
    CloseMedia,
    Effect,
    MediaLiveness,
    OPERATOR_CONNECT_S,
    OPERATOR_SILENT_S,
    Session,
    SessionTable,
    Viewer,
)
from teleop_webrtc_bridge.core.messages import ChannelIds, VideoCodec

__all__ = ['RemovedViewers', 'Viewers', 'WatchPlan']


RESERVE: Final = 4
"""Viewers leave a quarter of the UDP ports free, so that robots and operators can connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedViewers:
    """A person who was removed from a robot's viewers."""

    who: Identity
    robot_id: str
    count: int
    """How many connections they had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """Which viewer receives from which robot, and which older channels to close first."""

    session_id: str
    viewer: Identity
    viewer_media_id: str
    robot_media_id: str
    close: CloseChannels


class Viewers:
    """
    What viewers may do with the table of sessions.

    :param udp_ports: The largest number of peer connections; ``None``: unlimited.
    """

    def __init__(
        self, table: SessionTable, bans: Bans, limits: Limits, udp_ports: int | None = None
    ) -> None:
        self._table = table
        self._bans = bans
        self._limits = limits
        self._udp_ports = udp_ports

    @property
    def count(self) -> int:
        """The number of viewers of all robots."""
        return sum(len(session.viewers) for session in self._table)

    def check_room(self, session_id: str, caller: OperatorCaller, now_s: float) -> Session:
        """
        Make sure that a robot may have the caller as one more viewer.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises PutOut: The caller is banned from this robot.
        :raises TooManyViewers: A limit is reached.
        """
        session = self._table.get(session_id, caller, now_s)
        self._bans.check(session.identity, caller.identity, now_s)
        viewers = len(session.viewers)
        if viewers >= self._limits.viewers_per_robot:
            raise TooManyViewers(f'{viewers} viewers already watch this robot')
        theirs = sum(viewer.identity == caller.identity for viewer in session.viewers)
        if theirs >= self._limits.viewers_per_person:
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

        :param video_codecs: Codecs that the caller can receive; ``None``: unknown.
        :returns: The session with this viewer.
        :raises RegistryRefusal: See :meth:`check_room`; it may have changed meanwhile.
        """
        session = self.check_room(session_id, caller, now_s)
        viewer = Viewer(
            caller=caller, media_id=media_id, heartbeat_at_s=now_s, video_codecs=video_codecs
        )
        session = replace(session, viewers=(*session.viewers, viewer))
        self._table.store(session)
        return session

    def drop(self, session_id: str, media_id: str) -> list[Effect]:
        """Disconnect a viewer; after the last one, the channels opened for viewers close."""
        session = self._table.find(session_id)
        if session is None:
            return []
        left = tuple(viewer for viewer in session.viewers if viewer.media_id != media_id)
        if len(left) == len(session.viewers):
            return []
        effects: list[Effect] = [CloseMedia(media_id=media_id)]
        session = replace(session, viewers=left)
        if left or session.operator is not None or session.bridge is None:
            self._table.store(session)
            return effects
        effects += session.closing()
        return effects + self._table.tell_robot(session, bridge=None)

    def put_out(
        self, session_id: str, caller: OperatorCaller, named: NamedPerson, now_s: float
    ) -> tuple[RemovedViewers, list[Effect]]:
        """
        Disconnect all viewers that are one person, and ban that person from this robot.

        The operator and administrators cannot be removed, so no person locks themselves out.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotOperator: The caller is neither the operator nor an administrator.
        :raises NotWatching: No person of that name watches.
        :raises NotRemovable: The person of that name cannot be removed.
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
        theirs = [viewer.media_id for viewer in session.viewers if viewer.identity == who]
        effects = [effect for media_id in theirs for effect in self.drop(session_id, media_id)]
        robot_id = session.identity.robot_id
        return RemovedViewers(who=who, robot_id=robot_id, count=len(theirs)), effects

    def reap(
        self, session_id: str, now_s: float, liveness: Mapping[str, MediaLiveness]
    ) -> list[Effect]:
        """Disconnect the viewers of a session that are silent or lost."""
        effects: list[Effect] = []
        session = self._table.find(session_id)
        for viewer in session.viewers if session is not None else ():
            media = liveness.get(viewer.media_id)
            lost = media is not None and _is_lost(viewer, media, now_s)
            if lost or now_s - viewer.heartbeat_at_s >= OPERATOR_SILENT_S:
                effects += self.drop(session_id, viewer.media_id)
        return effects

    # --- a viewer's channels -------------------------------------------------------------------

    def plan(self, session_id: str, media_id: str) -> WatchPlan:
        """
        Return which robot a viewer receives from.

        :raises SessionUnknown: The session ended.
        :raises NotOperator: The viewer left.
        """
        session = self._table.find(session_id)
        if session is None:
            raise SessionUnknown
        viewer = next((item for item in session.viewers if item.media_id == media_id), None)
        if viewer is None:
            raise NotOperator
        return WatchPlan(
            session_id=session_id,
            viewer=viewer.identity,
            viewer_media_id=media_id,
            robot_media_id=session.identity.media_id,
            close=CloseChannels(media_id=media_id, stream_ids=viewer.streams),
        )

    def commit(self, plan: WatchPlan, ids: ChannelIds, now_s: float) -> None:
        """
        Note that a viewer's channels are open.

        :raises NotOperator: The viewer left meanwhile.
        """
        streams = CloseChannels.of(plan.viewer_media_id, ids).stream_ids
        if not self._table.change_join(
            plan.session_id, plan.viewer_media_id, streams=streams, bridged_at_s=now_s
        ):
            raise NotOperator

    # --- the robot's channels while it has no operator -----------------------------------------

    def unserved(self) -> list[Session]:
        """
        Return the sessions whose robot's channels have to be opened for viewers alone.

        A robot is included only after it has learned that its operator left.
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
        Put the ids of channels that were opened for viewers into the heartbeat answers.

        :returns: ``None`` if they are no longer needed: close them.
        """
        session = self._table.find(session_id)
        if session is None or session not in self.unserved():
            return None
        bridge = Bridge(robot_ids=robot_ids, operator_ids=ChannelIds(), since_s=now_s)
        return self._table.tell_robot(session, bridge=bridge)


def _is_lost(viewer: Viewer, media: MediaLiveness, now_s: float) -> bool:
    if media.last_heard_s is None:
        return True
    since_s = max(media.last_heard_s, viewer.bridged_at_s or 0.0)
    return now_s - since_s > OPERATOR_CONNECT_S
