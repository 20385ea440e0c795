"""
Robot sessions: their contents, state machine and table.

A session is driven through its operator slot. The transitions of the slot, :data:`TRANSITIONS`:

    =======  ================================  =========
    event    in state                          new state
    =======  ================================  =========
    claim    free, joining                     joining
    claim    held, replacing                   replacing
    attach   joining, replacing                held
    abandon  joining                           free
    abandon  replacing                         held
    drop     held                              free
    drop     replacing                         joining
    end      free, joining, held, replacing    ended
    =======  ================================  =========

Callers see a coarser state: ``idle`` while the slot is free, ``disconnected`` after the end, else
``active``. The state of the slot follows from the claim and the operator that a session holds;
:meth:`SessionTable.change` refuses a change that the table does not have.
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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
import enum
from typing import Any, Final

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.broker.registry.refusals import (
    JoinReplaced,
    NotOperator,
    SessionUnknown,
    Superseded,
)
from teleop_webrtc_bridge.core.messages import ChannelIds, VideoCodec

__all__ = [
    'MAX_TOMBSTONES',
    'OPERATOR_CONNECT_S',
    'OPERATOR_SILENT_S',
    'TOMBSTONE_AGE_S',
    'TRANSITIONS',
    'Bridge',
    'Claim',
    'CloseChannels',
    'CloseMedia',
    'ControlRequest',
    'Effect',
    'Join',
    'LinkQuality',
    'MediaLiveness',
    'NewSession',
    'Operator',
    'Reason',
    'Session',
    'SessionState',
    'SessionTable',
    'SlotEvent',
    'SlotState',
    'SnapshotChanged',
    'StateChanged',
    'Viewer',
]

ROBOT_SILENT_S: Final = 30.0
OPERATOR_SILENT_S: Final = 20.0
"""Without a heartbeat; for viewers too."""
OPERATOR_CONNECT_S: Final = 20.0
"""Before its channels are bridged a peer may have nothing to send for this long."""
MAX_TOMBSTONES: Final = 1024
TOMBSTONE_AGE_S: Final = 3600.0


# --- states ------------------------------------------------------------------------------------


class SessionState(enum.Enum):
    """The state of a session as callers see it."""

    IDLE = 'idle'
    ACTIVE = 'active'
    """The operator slot is taken."""
    DISCONNECTED = 'disconnected'


class SlotState(enum.Enum):
    """The state of a session's operator slot."""

    FREE = 'free'
    JOINING = 'joining'
    """Claimed by a join that is under way."""
    HELD = 'held'
    REPLACING = 'replacing'
    """Held, and claimed by a join that will replace the operator's."""
    ENDED = 'ended'


class SlotEvent(enum.Enum):
    """An event that changes the operator slot."""

    CLAIM = 'claim'
    ATTACH = 'attach'
    ABANDON = 'abandon'
    DROP = 'drop'
    END = 'end'


TRANSITIONS: Final = {
    (SlotState.FREE, SlotEvent.CLAIM): SlotState.JOINING,
    (SlotState.JOINING, SlotEvent.CLAIM): SlotState.JOINING,
    (SlotState.HELD, SlotEvent.CLAIM): SlotState.REPLACING,
    (SlotState.REPLACING, SlotEvent.CLAIM): SlotState.REPLACING,
    (SlotState.JOINING, SlotEvent.ATTACH): SlotState.HELD,
    (SlotState.REPLACING, SlotEvent.ATTACH): SlotState.HELD,
    (SlotState.JOINING, SlotEvent.ABANDON): SlotState.FREE,
    (SlotState.REPLACING, SlotEvent.ABANDON): SlotState.HELD,
    (SlotState.HELD, SlotEvent.DROP): SlotState.FREE,
    (SlotState.REPLACING, SlotEvent.DROP): SlotState.JOINING,
    (SlotState.FREE, SlotEvent.END): SlotState.ENDED,
    (SlotState.JOINING, SlotEvent.END): SlotState.ENDED,
    (SlotState.HELD, SlotEvent.END): SlotState.ENDED,
    (SlotState.REPLACING, SlotEvent.END): SlotState.ENDED,
}
_SHOWN: Final = {SlotState.FREE: SessionState.IDLE, SlotState.ENDED: SessionState.DISCONNECTED}
"""All others: active."""


class Reason(enum.Enum):
    """Why a session or its operator changed."""

    CREATED = 'created'
    JOINED = 'joined'
    JOIN_FAILED = 'join_failed'
    TAKEN_OVER = 'taken_over'
    LEFT = 'left'
    OPERATOR_REVOKED = 'operator_revoked'
    OPERATOR_SILENT = 'operator_silent'
    OPERATOR_MEDIA_LOST = 'operator_media_lost'
    DELETED = 'deleted'
    SUPERSEDED = 'superseded'
    ROBOT_SILENT = 'robot_silent'
    ROBOT_MEDIA_LOST = 'robot_media_lost'
    KEY_REVOKED = 'key_revoked'


# --- effects: what the caller of the registry has to do ----------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMedia:
    """Close a peer connection."""

    media_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseChannels:
    """Close channel ends of a peer connection that stays open."""

    media_id: str
    stream_ids: tuple[int, ...]

    @classmethod
    def of(cls, media_id: str, ids: ChannelIds) -> CloseChannels:
        """Return the effect that closes the channels with these ids."""
        streams = tuple(stream for stream in ids.by_label().values() if stream is not None)
        return cls(media_id=media_id, stream_ids=streams)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChanged:
    """Answer the robot's held heartbeat: it differs from the last answer."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """Log a transition; after ``disconnected``, answer the robot's held heartbeat too."""

    session_id: str
    robot_id: str
    operator: Identity | None
    state: SessionState
    reason: Reason


Effect = CloseMedia | CloseChannels | SnapshotChanged | StateChanged


# --- what a session holds ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQuality:
    """A robot's report on its link; shown to operators, not used for decisions."""

    rtt_ms: float | None = None
    packet_loss_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A robot that dials in; does not change during the session."""

    session_id: str
    owner: str
    key_id: str
    robot_id: str
    """Empty: the robot has no name and supersedes nothing."""
    robot_name: str
    robot_type: str | None
    instance_id: str | None
    """One per robot process; ``None`` from robots that do not send it."""
    media_id: str
    created_at: str
    """ISO 8601, for people."""
    network: str = ''
    """Where it dialled from; see :func:`~.caller_addresses.network_of`."""
    offers_video: bool = True
    offers_channels: bool = True
    hosts: frozenset[str] = frozenset()
    """Its local addresses, as far as its SDP offer contains them."""
    video_codecs: tuple[VideoCodec, ...] = ()
    """Codecs that it can send, its favourite first; the broker chooses if there are several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The operator slot, taken by a join that is under way."""

    ticket: int
    caller: OperatorCaller

    @property
    def identity(self) -> Identity:
        return self.caller.identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A person who is connected to a robot through one peer connection."""

    caller: OperatorCaller
    media_id: str
    heartbeat_at_s: float
    video_codecs: tuple[VideoCodec, ...] | None = None
    """Codecs that the browser can receive; ``None``: unknown."""
    video_offer_pending: bool = False
    """A ``video_offer`` is waiting for an answer."""

    @property
    def identity(self) -> Identity:
        return self.caller.identity

    def is_of(self, caller: OperatorCaller, media_id: str | None) -> bool:
        """
        Return whether a request is about this join.

        :param media_id: The join that the request names. ``None``: the join that was made with
            the same token, so that a forgotten tab never acts for another device's join.
        """
        if self.identity != caller.identity:
            return False
        if media_id is None:
            return self.caller.credential == caller.credential
        return self.media_id == media_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator(Join):
    """The person who controls the robot."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer(Join):
    """A person who watches the robot."""

    bridged_at_s: float | None = None
    streams: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """A person asks for the operator slot that another one has."""

    who: Identity
    asked_at_s: float
    granted_at_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The robot's open data channels: to the operator, else for the viewers alone."""

    robot_ids: ChannelIds
    operator_ids: ChannelIds
    since_s: float
    answered: bool = False
    """A heartbeat answer with these ids was sent."""
    robot_ready: bool = False
    """The robot sent another heartbeat after that answer: its channels are open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One robot's session; immutable, so the registry replaces it as a whole."""

    identity: NewSession
    heartbeat_at_s: float
    link: LinkQuality = LinkQuality()
    claim: Claim | None = None
    operator: Operator | None = None
    viewers: tuple[Viewer, ...] = ()
    """The oldest first."""
    requests: tuple[ControlRequest, ...] = ()
    """For control, the oldest first."""
    bridge: Bridge | None = None
    control_epoch: int = 0
    """Counts the operators that this session has had."""
    renegotiate_offer: str | None = None
    """Sent once."""
    renegotiation_pending: bool = False
    snapshot_version: int = 1
    answered_version: int = 0
    answered_codec: VideoCodec | None = None

    @property
    def session_id(self) -> str:
        return self.identity.session_id

    @property
    def slot(self) -> SlotState:
        if self.operator is None:
            return SlotState.FREE if self.claim is None else SlotState.JOINING
        return SlotState.HELD if self.claim is None else SlotState.REPLACING

    @property
    def state(self) -> SessionState:
        return _SHOWN.get(self.slot, SessionState.ACTIVE)

    @property
    def holder(self) -> Identity | None:
        """The person who has the operator slot, or is about to."""
        slot = self.claim or self.operator
        return slot.identity if slot else None

    @property
    def joins(self) -> list[Join]:
        """The operator, then the viewers, the oldest first."""
        return [*([] if self.operator is None else [self.operator]), *self.viewers]

    def is_driven_by(self, who: Identity) -> bool:
        """Return whether a person has the operator slot, or is about to."""
        return any(
            slot is not None and slot.identity == who for slot in (self.claim, self.operator)
        )

    def may_be_removed(self, who: Identity) -> bool:
        """Return whether a viewer can be removed: neither the operator nor administrators."""
        return who.role is not Role.ADMIN and not self.is_driven_by(who)

    def is_alive(self, now_s: float) -> bool:
        """Return whether the robot's last heartbeat is recent enough."""
        return now_s - self.heartbeat_at_s < ROBOT_SILENT_S

    def closing(self) -> list[Effect]:
        """Return what disconnects the operator, or the viewers; the robot stays connected."""
        effects: list[Effect] = []
        if self.operator is not None:
            effects.append(CloseMedia(media_id=self.operator.media_id))
        if self.bridge is not None:
            effects.append(CloseChannels.of(self.identity.media_id, self.bridge.robot_ids))
        return effects

    def changed(self, reason: Reason, operator: Identity | None) -> StateChanged:
        """Return the effect that reports the state that the session now has."""
        return StateChanged(
            session_id=self.session_id,
            robot_id=self.identity.robot_id,
            operator=operator,
            state=self.state,
            reason=reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLiveness:
    """A peer connection as the media backend sees it."""

    last_heard_s: float | None
    """Monotonic seconds; ``None``: the peer connection is gone."""


# --- the table ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tombstone:
    """The tombstone of a session that another instance took over."""

    owner: str
    robot_id: str
    died_at_s: float


class SessionTable:
    """Owns the live sessions, and the tombstones of those that were taken over."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._tombstones: dict[str, _Tombstone] = {}

    def __iter__(self) -> Iterator[Session]:
        """Return the sessions, the oldest first; the table may change meanwhile."""
        return iter(list(self._sessions.values()))

    # --- looking up ----------------------------------------------------------------------------

    def find(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def where(self, condition: Callable[[Session], bool]) -> list[Session]:
        """Return the sessions that meet a condition, the oldest first."""
        return [session for session in self._sessions.values() if condition(session)]

    def of_robot(self, session_id: str, caller: RobotCaller) -> Session:
        """
        Return a session to its robot.

        :raises SessionUnknown: It is unknown, ended, another tenant's, or its robot is not the
            one that the API key is bound to.
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
        Return a session to a caller who may see it.

        :raises SessionUnknown: It is unknown, not this caller's, or its robot is silent.
        """
        session = self._sessions.get(session_id)
        if session is None or not caller.sees(session.identity.owner):
            raise SessionUnknown
        if not session.is_alive(now_s):
            raise SessionUnknown
        return session

    def of_operator(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> tuple[Session, Operator]:
        """
        Return a session to its operator.

        :param media_id: The join that the request is about; see :meth:`Join.is_of`.
        :raises SessionUnknown: See :meth:`get`.
        :raises NotOperator: The caller is not the operator.
        :raises JoinReplaced: They are, but through a newer join than the one that they name.
        """
        session = self.get(session_id, caller, now_s)
        operator = session.operator
        if operator is None or not operator.is_of(caller, media_id):
            is_theirs = operator is not None and operator.identity == caller.identity
            raise JoinReplaced if is_theirs and media_id is not None else NotOperator
        return session, operator

    def of_join(
        self, session_id: str, caller: OperatorCaller, media_id: str | None, now_s: float
    ) -> tuple[Session, Join]:
        """
        Return a session to its operator or to one of its viewers.

        :param media_id: The join that the request is about; see :meth:`Join.is_of`. ``None``: if
            it is not the operator's, the newest.
        :raises SessionUnknown: See :meth:`get`.
        :raises NotOperator: The caller is neither.
        :raises JoinReplaced: See :meth:`of_operator`.
        """
        session = self.get(session_id, caller, now_s)
        if session.operator is None or not session.operator.is_of(caller, media_id):
            for viewer in reversed(session.viewers):
                if viewer.is_of(caller, media_id):
                    return session, viewer
        return self.of_operator(session_id, caller, media_id, now_s)

    def peers(self) -> int:
        """Return the number of peer connections: one per robot, operator and viewer."""
        return sum(1 + len(session.joins) for session in self)

    # --- changing ------------------------------------------------------------------------------

    def store(self, session: Session) -> None:
        self._sessions[session.session_id] = session

    def change(self, session: Session, event: SlotEvent, **changes: Any) -> Session:
        """
        Store a session whose operator slot changes.

        :raises RuntimeError: The change is not in the table of transitions.
        """
        changed = replace(session, **changes)
        if TRANSITIONS.get((session.slot, event)) is not changed.slot:
            raise RuntimeError(f'no {event.value!r} event while {session.slot.value}')
        self.store(changed)
        return changed

    def tell_robot(self, session: Session, **changes: Any) -> list[Effect]:
        """Store a session with something new for the robot's next heartbeat answer."""
        self.store(replace(session, snapshot_version=session.snapshot_version + 1, **changes))
        return [SnapshotChanged(session_id=session.session_id)]

    def change_join(self, session_id: str, media_id: str, **changes: Any) -> bool:
        """Change the join that has a media session; return whether it still exists."""
        session = self.find(session_id)
        if session is None or all(join.media_id != media_id for join in session.joins):
            return False
        operator = session.operator
        if operator is not None and operator.media_id == media_id:
            self.store(replace(session, operator=replace(operator, **changes)))
        else:
            viewers = tuple(
                replace(viewer, **changes) if viewer.media_id == media_id else viewer
                for viewer in session.viewers
            )
            self.store(replace(session, viewers=viewers))
        return True

    def drop_operator(self, session: Session, reason: Reason) -> list[Effect]:
        """Disconnect the operator; a join that is under way keeps its claim."""
        was_bridged = session.bridge is not None
        without = self.change(
            session,
            SlotEvent.DROP,
            operator=None,
            bridge=None,
            snapshot_version=session.snapshot_version + was_bridged,
        )
        told: list[Effect] = [SnapshotChanged(session_id=session.session_id)]
        return [
            *session.closing(),
            *(told if was_bridged else []),
            without.changed(reason, session.operator.identity if session.operator else None),
        ]

    def end(self, session: Session, reason: Reason) -> list[Effect]:
        """Remove a session, and close the connections of all its peers."""
        del self._sessions[session.session_id]
        ended = StateChanged(
            session_id=session.session_id,
            robot_id=session.identity.robot_id,
            operator=session.holder,
            state=_SHOWN[TRANSITIONS[session.slot, SlotEvent.END]],
            reason=reason,
        )
        return [
            *(CloseMedia(media_id=join.media_id) for join in session.joins),
            CloseMedia(media_id=session.identity.media_id),
            ended,
        ]

    def bury(self, session: Session, now_s: float) -> None:
        """Remember that another instance takes this session over."""
        self._tombstones[session.session_id] = _Tombstone(
            owner=session.identity.owner, robot_id=session.identity.robot_id, died_at_s=now_s
        )
        if len(self._tombstones) > MAX_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]

    def forget_old(self, now_s: float) -> None:
        """Remove the tombstones that are old enough."""
        self._tombstones = {
            session_id: tombstone
            for session_id, tombstone in self._tombstones.items()
            if now_s - tombstone.died_at_s < TOMBSTONE_AGE_S
        }
