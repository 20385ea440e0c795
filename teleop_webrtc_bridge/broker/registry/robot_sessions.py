"""
What robots do with their sessions.

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

from teleop_webrtc_bridge.broker.identity import RobotCaller
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.session_table import SessionTable, state_changed
from teleop_webrtc_bridge.broker.registry.sessions import (
    Effect,
    LinkQuality,
    NewSession,
    NoPendingOffer,
    Reason,
    Session,
    SessionUnknown,
    SnapshotChanged,
    TooManySessions,
)
from teleop_webrtc_bridge.broker.registry.video_choice import sent_codec
from teleop_webrtc_bridge.core.messages import ChannelIds, HeartbeatAnswer, VideoCodec

__all__ = ['RobotSessions']


class RobotSessions:
    """The robots' side of the session table."""

    def __init__(self, table: SessionTable, caps: Limits) -> None:
        self._table = table
        self._caps = caps

    def check_room(self, owner: str, key_id: str, robot_id: str) -> None:
        """
        Make sure that a tenant, and one of its API keys, may have one more session.

        :raises TooManySessions: They may not; a named robot that replaces itself always may.
        """
        live = self._table.where(lambda session: session.identity.owner == owner)
        if robot_id != '' and any(s.identity.robot_id == robot_id for s in live):
            return
        of_key = sum(session.identity.key_id == key_id for session in live)
        if of_key >= self._caps.robots_per_key:
            raise TooManySessions(f'{of_key} live sessions of this API key; no more are accepted')
        if len(live) >= self._caps.robots_per_tenant:
            raise TooManySessions(f'{len(live)} live sessions; no more are accepted')

    def create(self, identity: NewSession, now_s: float) -> list[Effect]:
        """
        Add a robot's session; the older ones of the same (owner, robot_id) end.

        :raises TooManySessions: The tenant or the API key has too many.
        """
        self.check_room(identity.owner, identity.key_id, identity.robot_id)
        effects: list[Effect] = []
        if identity.robot_id:
            for old in self._table.where(lambda s: _same_robot(s.identity, identity)):
                if _is_other_instance(old.identity, identity):
                    self._table.bury(old, now_s)
                effects += self._table.end(old, Reason.SUPERSEDED)
        session = Session(identity=identity, heartbeat_at_s=now_s)
        self._table.store(session)
        return [*effects, state_changed(session, Reason.CREATED, None)]

    def robot_heartbeat(
        self, session_id: str, caller: RobotCaller, link: LinkQuality, now_s: float
    ) -> str | None:
        """
        Note that a robot is alive.

        :returns: The robot's media session if this heartbeat proves that the robot has opened the
            channels it was told of: it came after their ids had been sent. Once per bridge.
        :raises SessionUnknown: The robot has to dial again.
        :raises Superseded: Another instance of this robot took over.
        """
        session = replace(
            self._table.of_robot(session_id, caller), heartbeat_at_s=now_s, link=link
        )
        bridge = session.bridge
        ready = bridge is not None and bridge.answered and not bridge.robot_ready
        if bridge is not None and ready:
            session = replace(session, bridge=replace(bridge, robot_ready=True))
        self._table.store(session)
        return session.identity.media_id if ready else None

    def has_news(self, session_id: str) -> bool:
        """Return whether the snapshot differs from the last one sent, or the session is gone."""
        session = self._table.find(session_id)
        if session is None or session.snapshot_version != session.answered_version:
            return True
        return _codec(session) is not session.answered_codec

    def other_codecs(self) -> list[Effect]:
        """Have the robots told that are to send another codec than they were told last."""
        sessions = self._table.where(lambda it: _codec(it) is not it.answered_codec)
        return [SnapshotChanged(session_id=session.session_id) for session in sessions]

    def answer_heartbeat(self, session_id: str, caller: RobotCaller) -> HeartbeatAnswer:
        """
        Return the snapshot and count it as sent; a ``renegotiate_offer`` leaves with it.

        :raises SessionUnknown: The session ended meanwhile.
        :raises Superseded: Another instance of this robot took over meanwhile.
        """
        session = self._table.of_robot(session_id, caller)
        bridge = replace(session.bridge, answered=True) if session.bridge else None
        self._table.store(
            replace(
                session,
                bridge=bridge,
                renegotiate_offer=None,
                answered_version=session.snapshot_version,
                answered_codec=_codec(session),
            )
        )
        return HeartbeatAnswer(
            channels=bridge.robot_ids if bridge else ChannelIds(),
            renegotiate_offer=session.renegotiate_offer,
            control_epoch=session.control_epoch,
            video_codec=_codec(session),
        )

    def offer_renegotiation(self, session_id: str, sdp_offer: str) -> list[Effect]:
        """
        Hand an SDP offer of the media backend to the robot with its next heartbeat answer.

        :raises SessionUnknown: No such session.
        """
        session = self._table.find(session_id)
        if session is None:
            raise SessionUnknown
        self._table.store(
            replace(
                session,
                renegotiate_offer=sdp_offer,
                renegotiation_pending=True,
                snapshot_version=session.snapshot_version + 1,
            )
        )
        return [SnapshotChanged(session_id=session_id)]

    def take_robot_answer(self, session_id: str, caller: RobotCaller) -> str:
        """
        Accept that a robot answers its ``renegotiate_offer``; once per offer.

        :returns: The robot's media session.
        :raises SessionUnknown: No such session.
        :raises Superseded: Another instance of this robot took over.
        :raises NoPendingOffer: No offer was handed out.
        """
        session = self._table.of_robot(session_id, caller)
        if not session.renegotiation_pending or session.renegotiate_offer is not None:
            raise NoPendingOffer
        self._table.store(replace(session, renegotiation_pending=False))
        return session.identity.media_id

    def refuse_robot_answer(self, session_id: str) -> None:
        """Note that the answer could not be used: the offer still stands."""
        session = self._table.find(session_id)
        if session is not None:
            self._table.store(replace(session, renegotiation_pending=True))

    def delete(self, session_id: str, caller: RobotCaller) -> list[Effect]:
        """
        End a session at its robot's wish.

        :raises SessionUnknown: No such session.
        :raises Superseded: Another instance of this robot took over.
        """
        return self._table.end(self._table.of_robot(session_id, caller), Reason.DELETED)

    def revoke_key(self, key_id: str) -> list[Effect]:
        """End all sessions that were made with an API key."""
        effects: list[Effect] = []
        for session in self._table.where(lambda s: s.identity.key_id == key_id):
            effects += self._table.end(session, Reason.KEY_REVOKED)
        return effects


def _codec(session: Session) -> VideoCodec | None:
    """Return the codec that a robot has to be told; ``None``: it has no choice."""
    return sent_codec(session) if len(session.identity.video_codecs) > 1 else None


def _same_robot(one: NewSession, other: NewSession) -> bool:
    return (one.owner, one.robot_id) == (other.owner, other.robot_id)


def _is_other_instance(one: NewSession, other: NewSession) -> bool:
    """Return whether two sessions are of different processes, as far as they say."""
    return one.instance_id is None or one.instance_id != other.instance_id
