"""Robots: their sessions and heartbeats, and the codec that each has to send."""

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

from collections.abc import Collection
from dataclasses import replace

from teleop_webrtc_bridge.broker.identity import RobotCaller
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.refusals import (
    NoPendingOffer,
    SessionUnknown,
    TooManySessions,
)
from teleop_webrtc_bridge.broker.registry.sessions import (
    Effect,
    LinkQuality,
    NewSession,
    Reason,
    Session,
    SessionTable,
    SnapshotChanged,
)
from teleop_webrtc_bridge.core.messages import ChannelIds, HeartbeatAnswer, VideoCodec

__all__ = ['Robots', 'video_reason']


class Robots:
    """What robots may do with the table of sessions."""

    def __init__(self, table: SessionTable, limits: Limits) -> None:
        self._table = table
        self._limits = limits

    def check_room(self, owner: str, key_id: str, robot_id: str) -> None:
        """
        Make sure that a tenant and an API key have not reached their limits of sessions.

        :raises TooManySessions: One has. A named robot may always replace its own session.
        """
        live = self._table.where(lambda session: session.identity.owner == owner)
        if robot_id != '' and any(s.identity.robot_id == robot_id for s in live):
            return
        of_key = sum(session.identity.key_id == key_id for session in live)
        if of_key >= self._limits.robots_per_key:
            raise TooManySessions(f'{of_key} live sessions of this API key; no more are accepted')
        if len(live) >= self._limits.robots_per_tenant:
            raise TooManySessions(f'{len(live)} live sessions; no more are accepted')

    def create(self, identity: NewSession, now_s: float) -> list[Effect]:
        """
        Add a robot's session, and end older ones of the same (owner, robot_id).

        :raises TooManySessions: See :meth:`check_room`.
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
        return [*effects, session.changed(Reason.CREATED, None)]

    def heartbeat(
        self, session_id: str, caller: RobotCaller, link: LinkQuality, now_s: float
    ) -> str | None:
        """
        Note that a robot is alive.

        :returns: The robot's media session, once per bridge: with the first heartbeat after the
            answer that contained the channel ids, because the robot has then opened them.
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
        """Return whether the next heartbeat answer differs from the last one."""
        session = self._table.find(session_id)
        if session is None or session.snapshot_version != session.answered_version:
            return True
        return _codec(session) is not session.answered_codec

    def other_codecs(self) -> list[Effect]:
        """Return the effects for robots that have to change to another codec."""
        sessions = self._table.where(lambda it: _codec(it) is not it.answered_codec)
        return [SnapshotChanged(session_id=session.session_id) for session in sessions]

    def answer_heartbeat(self, session_id: str, caller: RobotCaller) -> HeartbeatAnswer:
        """
        Return the answer to a heartbeat, and count it as sent.

        :raises SessionUnknown: The session ended while the heartbeat was held.
        :raises Superseded: Another instance took over while the heartbeat was held.
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
        Send an SDP offer of the media backend to the robot with its next heartbeat answer.

        For hosted backends: only with an offer can they add the operator's audio to a robot's
        peer connection.

        :raises SessionUnknown: No such session.
        """
        session = self._table.find(session_id)
        if session is None:
            raise SessionUnknown
        return self._table.tell_robot(
            session, renegotiate_offer=sdp_offer, renegotiation_pending=True
        )

    def take_robot_answer(self, session_id: str, caller: RobotCaller) -> str:
        """
        Accept a robot's answer to its ``renegotiate_offer``, once per offer.

        :returns: The robot's media session.
        :raises SessionUnknown: No such session.
        :raises Superseded: Another instance of this robot took over.
        :raises NoPendingOffer: No offer was sent, or it was answered already.
        """
        session = self._table.of_robot(session_id, caller)
        if not session.renegotiation_pending or session.renegotiate_offer is not None:
            raise NoPendingOffer
        self._table.store(replace(session, renegotiation_pending=False))
        return session.identity.media_id

    def refuse_robot_answer(self, session_id: str) -> None:
        """Note that the answer was unusable: the offer may be answered again."""
        session = self._table.find(session_id)
        if session is not None:
            self._table.store(replace(session, renegotiation_pending=True))

    def delete(self, session_id: str, caller: RobotCaller) -> list[Effect]:
        """
        End a session because its robot asks for it.

        :raises SessionUnknown: No such session.
        :raises Superseded: Another instance of this robot took over.
        """
        return self._table.end(self._table.of_robot(session_id, caller), Reason.DELETED)

    def revoke_key(self, key_id: str) -> list[Effect]:
        """End all sessions that were created with an API key."""
        effects: list[Effect] = []
        for session in self._table.where(lambda s: s.identity.key_id == key_id):
            effects += self._table.end(session, Reason.KEY_REVOKED)
        return effects


def _same_robot(one: NewSession, other: NewSession) -> bool:
    return (one.owner, one.robot_id) == (other.owner, other.robot_id)


def _is_other_instance(one: NewSession, other: NewSession) -> bool:
    """Return whether two sessions may belong to different processes."""
    return one.instance_id is None or one.instance_id != other.instance_id


# --- which codec a robot sends -----------------------------------------------------------------


def video_reason(session: Session, taken: Collection[VideoCodec] | None) -> str | None:
    """
    Say why a person sees no picture.

    :param taken: The codecs that their browser can receive; ``None``: unknown.
    :returns: ``None`` if they should see one, or if the robot has no video.
    """
    sent = _sent_codec(session)
    if sent is None or taken is None or sent in taken:
        return None
    takes = f'this browser takes {_listed(taken)} only' if taken else 'this browser takes neither'
    mine = session.identity.video_codecs
    if not set(taken) & set(mine):
        # An older robot, or its owner has restricted it.
        return f'No picture: this robot sends {_listed(mine)} only, and {takes}.'
    driver = session.operator
    drives = driver is not None and sent in (driver.video_codecs or ())
    whom = 'its operator' if drives else 'its other viewers'
    return f'No picture: this robot sends {sent} for {whom}, and {takes}.'


def _codec(session: Session) -> VideoCodec | None:
    """Return the codec to request from a robot; ``None``: it has no choice."""
    return _sent_codec(session) if len(session.identity.video_codecs) > 1 else None


def _sent_codec(session: Session) -> VideoCodec | None:
    """
    Return the codec that the robot sends; ``None``: it has no video.

    The operator's browser decides, if it can receive any of the robot's codecs; else the viewers'.
    """
    mine = session.identity.video_codecs
    if session.operator is not None and session.operator.video_codecs is not None:
        taken = _first(mine, session.operator.video_codecs)
        if taken is not None:
            return taken
    watched = {codec for viewer in session.viewers for codec in viewer.video_codecs or ()}
    return _first(mine, watched) or next(iter(mine), None)


def _first(preferred: Collection[VideoCodec], taken: Collection[VideoCodec]) -> VideoCodec | None:
    return next((codec for codec in preferred if codec in taken), None)


def _listed(codecs: Collection[VideoCodec]) -> str:
    return ' and '.join(sorted(map(str, codecs)))
