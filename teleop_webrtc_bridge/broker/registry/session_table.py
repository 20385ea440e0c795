"""
The sessions that exist, who may see them, and how they end.

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

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, RobotCaller
from teleop_webrtc_bridge.broker.registry.sessions import (
    CloseChannels,
    CloseMedia,
    Effect,
    JoinReplaced,
    NotOperator,
    Operator,
    Reason,
    Session,
    SessionState,
    SessionUnknown,
    SnapshotChanged,
    StateChanged,
    Superseded,
    Viewer,
)
from teleop_webrtc_bridge.core.messages import ChannelIds

__all__ = [
    'MAX_TOMBSTONES',
    'ROBOT_SILENT_S',
    'TOMBSTONE_AGE_S',
    'SessionTable',
    'bridge_channels',
    'closing_operator',
    'is_alive',
    'is_same_join',
    'state_changed',
]

ROBOT_SILENT_S: Final = 30.0
MAX_TOMBSTONES: Final = 1024
TOMBSTONE_AGE_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tombstone:
    """What is left of a session that another instance took over."""

    owner: str
    robot_id: str
    died_at_s: float


class SessionTable:
    """Owns the live sessions, and the names of those that were taken over."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._tombstones: dict[str, _Tombstone] = {}

    # --- looking up ----------------------------------------------------------------------------

    def find(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def where(self, condition: Callable[[Session], bool]) -> list[Session]:
        """Return the sessions that meet a condition, the oldest first."""
        return [session for session in self._sessions.values() if condition(session)]

    def of_robot(self, session_id: str, caller: RobotCaller) -> Session:
        """
        Return a session to its robot.

        :raises SessionUnknown: It is unknown, ended, another tenant's, or of another robot than
            the only one that the API key is good for.
        :raises Superseded: Another instance of this robot took over.
        """
        session = self._sessions.get(session_id)
        if session is not None and caller.sees(session.identity.owner, session.identity.robot_id):
            return session
        tombstone = self._tombstones.get(session_id)
        if tombstone is not None and caller.sees(tombstone.owner, tombstone.robot_id):
            raise Superseded(tombstone.robot_id)
        raise SessionUnknown

    def get(self, session_id: str, caller: OperatorCaller, now_s: float) -> Session:
        """
        Return a session to somebody who may see it.

        :raises SessionUnknown: It is unknown, not this caller's, or its robot is silent.
        """
        session = self._sessions.get(session_id)
        if session is None or not caller.sees(session.identity.owner):
            raise SessionUnknown
        if not is_alive(session, now_s):
            raise SessionUnknown
        return session

    def of_operator(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> tuple[Session, Operator]:
        """
        Return a session to its operator.

        :param media_id: Which join the call is about; see :func:`is_same_join`.
        :raises SessionUnknown: See :meth:`get`.
        :raises NotOperator: The caller is not the operator.
        :raises JoinReplaced: They are, by a newer join than the one that they name.
        """
        session = self.get(session_id, caller, now_s)
        operator = session.operator
        if operator is None or not is_same_join(operator, caller, media_id):
            is_theirs = operator is not None and operator.identity == caller.identity
            raise JoinReplaced if is_theirs and media_id is not None else NotOperator
        return session, operator

    def peers(self) -> int:
        """Return how many peer connections there are: each robot, operator and viewer has one."""
        return sum(
            1 + (session.operator is not None) + len(session.viewers)
            for session in self._sessions.values()
        )

    # --- changing ------------------------------------------------------------------------------

    def store(self, session: Session) -> None:
        self._sessions[session.session_id] = session

    def drop_operator(self, session: Session, reason: Reason) -> list[Effect]:
        """Free the operator slot, unless the operator is joining again right now."""
        version = session.snapshot_version + (session.bridge is not None)
        without = replace(session, operator=None, bridge=None, snapshot_version=version)
        self.store(without)
        operator = session.operator.identity if session.operator else None
        changed: list[Effect] = [SnapshotChanged(session_id=session.session_id)]
        return [
            *closing_operator(session),
            *(changed if session.bridge is not None else []),
            state_changed(without, reason, operator),
        ]

    def end(self, session: Session, reason: Reason) -> list[Effect]:
        """Remove a session; its operator's connection ends with it."""
        del self._sessions[session.session_id]
        effects: list[Effect] = []
        if session.operator is not None:
            effects.append(CloseMedia(media_id=session.operator.media_id))
        effects += [CloseMedia(media_id=viewer.media_id) for viewer in session.viewers]
        effects.append(CloseMedia(media_id=session.identity.media_id))
        ended = StateChanged(
            session_id=session.session_id,
            robot_id=session.identity.robot_id,
            operator=session.holder,
            state=SessionState.DISCONNECTED,
            reason=reason,
        )
        return [*effects, ended]

    def bury(self, session: Session, now_s: float) -> None:
        """Remember that another instance takes this session over."""
        self._tombstones[session.session_id] = _Tombstone(
            owner=session.identity.owner, robot_id=session.identity.robot_id, died_at_s=now_s
        )
        if len(self._tombstones) > MAX_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]

    def forget_old(self, now_s: float) -> None:
        """Let go of what was remembered for long enough."""
        self._tombstones = {
            session_id: tombstone
            for session_id, tombstone in self._tombstones.items()
            if now_s - tombstone.died_at_s < TOMBSTONE_AGE_S
        }


def is_same_join(joined: Operator | Viewer, caller: OperatorCaller, media_id: str | None) -> bool:
    """
    Return whether a call is about somebody's join.

    :param media_id: Which join the caller says that it is about. ``None``: the one that was made
        with the same token, so that a forgotten tab never speaks for another device's join.
    """
    if joined.identity != caller.identity:
        return False
    if media_id is None:
        return joined.caller.credential == caller.credential
    return joined.media_id == media_id


def is_alive(session: Session, now_s: float) -> bool:
    """Return whether the robot has been heard in time."""
    return now_s - session.heartbeat_at_s < ROBOT_SILENT_S


def bridge_channels(session: Session) -> tuple[CloseChannels, ...]:
    """Return both sides of the bridge that a session has, if any."""
    if session.bridge is None:
        return ()
    robot = CloseChannels(
        media_id=session.identity.media_id, stream_ids=_streams(session.bridge.robot_ids)
    )
    if session.operator is None:
        return (robot,)
    operator = CloseChannels(
        media_id=session.operator.media_id, stream_ids=_streams(session.bridge.operator_ids)
    )
    return operator, robot


def closing_operator(session: Session) -> list[Effect]:
    """Return what ends the reach of an operator, or of viewers; the robot's connection goes on."""
    robot_side = [
        channels
        for channels in bridge_channels(session)
        if channels.media_id == session.identity.media_id
    ]
    if session.operator is None:
        return [*robot_side]
    return [CloseMedia(media_id=session.operator.media_id), *robot_side]


def state_changed(session: Session, reason: Reason, operator: Identity | None) -> StateChanged:
    """Return the note that a live session is now in its state."""
    return StateChanged(
        session_id=session.session_id,
        robot_id=session.identity.robot_id,
        operator=operator,
        state=session.state,
        reason=reason,
    )


def _streams(ids: ChannelIds) -> tuple[int, ...]:
    return tuple(stream for stream in ids.by_label().values() if stream is not None)
