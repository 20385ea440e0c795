"""
The values of the registry: sessions, refusals, and what has to be done after a change.

Pure: see :mod:`teleop_webrtc_bridge.broker.registry.registry`.
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

from dataclasses import dataclass
import enum
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, Role
from teleop_webrtc_bridge.core.exceptions import TeleopError
from teleop_webrtc_bridge.core.messages import ChannelIds, VideoCodec

__all__ = [
    'Bridge',
    'BridgePlan',
    'Claim',
    'ClaimLost',
    'CloseChannels',
    'CloseMedia',
    'ControlRequest',
    'ControlState',
    'Effect',
    'JoinReplaced',
    'LinkQuality',
    'MediaLiveness',
    'NewSession',
    'NoPendingOffer',
    'NotAllowed',
    'NotOperator',
    'NotRemovable',
    'NotRequested',
    'NotWatching',
    'Operator',
    'Reason',
    'RegistryRefusal',
    'Session',
    'SessionState',
    'SessionUnknown',
    'SlotTaken',
    'SnapshotChanged',
    'StateChanged',
    'Superseded',
    'TooManySessions',
    'TooManyViewers',
    'Viewer',
    'WatchPlan',
]


NEWER_JOIN: Final = 'A newer join of the same operator took over'
"""Pages know it by its beginning (docs/protocol.md §2)."""


class SessionState(enum.Enum):
    """Idle ⇄ active; any → disconnected, which is final."""

    IDLE = 'idle'
    ACTIVE = 'active'
    """The operator slot is taken."""
    DISCONNECTED = 'disconnected'


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


# --- refusals ----------------------------------------------------------------------------------


class RegistryRefusal(TeleopError):
    """What was asked is not allowed now; nothing has changed. Never raised itself."""


class SessionUnknown(RegistryRefusal):
    """No such session, or not this caller's: the two are told apart nowhere."""

    def __init__(self) -> None:
        super().__init__('Session not found')


class Superseded(RegistryRefusal):
    """Another instance of the robot took the session over."""

    def __init__(self, robot_id: str) -> None:
        super().__init__(
            f'Session superseded: another instance uses robot_id {robot_id!r}; '
            'give each robot its own robot_id'
        )


class TooManySessions(RegistryRefusal):
    """The tenant has as many live sessions as it may have."""


class SlotTaken(RegistryRefusal):
    """Another operator has the session."""

    def __init__(self, sub: str) -> None:
        super().__init__(f'Session already has operator: {sub}')


class ClaimLost(RegistryRefusal):
    """The operator slot went elsewhere while the join was under way."""

    def __init__(self) -> None:
        super().__init__(NEWER_JOIN)


class NotOperator(RegistryRefusal):
    """The caller is not the session's operator."""

    def __init__(self) -> None:
        super().__init__('Not the operator of this session')


class JoinReplaced(NotOperator):
    """The caller is the operator, by a newer join than the one that the call is about."""

    def __init__(self) -> None:
        RegistryRefusal.__init__(self, NEWER_JOIN)


class NotAllowed(RegistryRefusal):
    """The caller's role does not go so far."""

    def __init__(self) -> None:
        super().__init__('Your role does not allow this')


class NotRequested(RegistryRefusal):
    """Control cannot be given to somebody who does not ask for it."""

    def __init__(self) -> None:
        super().__init__('There is no such request for control')


class NotWatching(RegistryRefusal):
    """Nobody of a name can be put out, for nobody of that name watches."""

    def __init__(self) -> None:
        super().__init__('Nobody of that name watches this robot')


class NotRemovable(RegistryRefusal):
    """Whoever drives, and administrators, cannot be put out."""

    def __init__(self, who: Identity) -> None:
        why = (
            'an administrator cannot be removed'
            if who.role is Role.ADMIN
            else 'whoever drives this robot cannot be removed'
        )
        super().__init__(f'{who.sub}: {why}')


class TooManyViewers(RegistryRefusal):
    """As many watch the robot as may, or the broker has no room for more."""


class NoPendingOffer(RegistryRefusal):
    """An SDP answer came, but no offer waits for one."""

    def __init__(self) -> None:
        super().__init__('No offer is waiting for an answer')


# --- effects: what the caller of the registry has to do ----------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMedia:
    """Close a peer connection."""

    media_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseChannels:
    """Close channel ends of a peer connection that goes on."""

    media_id: str
    stream_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChanged:
    """The robot's next heartbeat answer differs: answer its long poll."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """A transition, to be logged; its long poll is to be answered too."""

    session_id: str
    robot_id: str
    operator: Identity | None
    state: SessionState
    reason: Reason


Effect = CloseMedia | CloseChannels | SnapshotChanged | StateChanged


# --- sessions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQuality:
    """What a robot says about its link; shown to operators, decides nothing."""

    rtt_ms: float | None = None
    packet_loss_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A robot that dials in."""

    session_id: str
    owner: str
    key_id: str
    robot_id: str
    """Empty: the robot has no name and supersedes nothing."""
    robot_name: str
    robot_type: str | None
    instance_id: str | None
    """One per robot process; ``None`` from robots that do not say."""
    media_id: str
    created_at: str
    """ISO 8601, for people."""
    network: str = ''
    """From where it dialled; see :func:`~.caller_addresses.network_of`."""
    offers_video: bool = True
    offers_channels: bool = True
    hosts: frozenset[str] = frozenset()
    """Its local addresses, as far as it tells them."""
    video_codecs: tuple[VideoCodec, ...] = ()
    """Those that it may send, its favourite first; of several it sends what it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The operator slot, taken for a join that is under way."""

    ticket: int
    caller: OperatorCaller

    @property
    def identity(self) -> Identity:
        return self.caller.identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who controls the robot."""

    caller: OperatorCaller
    media_id: str
    epoch: int
    heartbeat_at_s: float
    video_codecs: tuple[VideoCodec, ...] | None = None
    """Those that the browser takes; ``None``: it has not said."""

    @property
    def identity(self) -> Identity:
        return self.caller.identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who watches the robot, on one peer connection."""

    caller: OperatorCaller
    media_id: str
    heartbeat_at_s: float
    bridged_at_s: float | None = None
    streams: tuple[int, ...] = ()
    video_codecs: tuple[VideoCodec, ...] | None = None
    """As an operator's."""
    video_offer_pending: bool = False

    @property
    def identity(self) -> Identity:
        return self.caller.identity


class ControlState(enum.Enum):
    """Where a request for control stands."""

    FREE = 'free'
    """Nobody has control: join."""
    HOLDER = 'holder'
    """The caller has it."""
    PENDING = 'pending'
    GRANTED = 'granted'
    """A join now takes over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """Somebody wants the operator slot that another one has."""

    who: Identity
    asked_at_s: float
    granted_at_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The data channels between a robot and its operator."""

    robot_ids: ChannelIds
    operator_ids: ChannelIds
    since_s: float
    answered: bool = False
    """A heartbeat answer with these ids was sent."""
    robot_ready: bool = False
    """The robot came back after that answer: its channels are open."""
    video_offer_pending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One robot's session. Changed only by the registry, which replaces it as a whole."""

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
    """To the operator; without one, for the viewers alone."""
    control_epoch: int = 0
    """Counts the operators that this session has had."""
    renegotiate_offer: str | None = None
    """To be handed out once."""
    renegotiation_pending: bool = False
    snapshot_version: int = 1
    answered_version: int = 0
    answered_codec: VideoCodec | None = None

    @property
    def session_id(self) -> str:
        return self.identity.session_id

    @property
    def state(self) -> SessionState:
        """A session that is disconnected is not kept, so the operator slot says it all."""
        return SessionState.IDLE if self.holder is None else SessionState.ACTIVE

    @property
    def holder(self) -> Identity | None:
        """Who has the operator slot, or is about to."""
        slot = self.claim or self.operator
        return slot.identity if slot else None

    def is_driven_by(self, who: Identity) -> bool:
        """Return whether a person has the operator slot, or is about to."""
        return any(
            slot is not None and slot.identity == who for slot in (self.claim, self.operator)
        )

    def may_be_removed(self, who: Identity) -> bool:
        """Return whether a viewer can be removed: neither who drives nor an administrator."""
        return who.role is not Role.ADMIN and not self.is_driven_by(who)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePlan:
    """Between whom channels are to be opened, and which older ones to close before."""

    session_id: str
    epoch: int
    operator: Identity
    operator_media_id: str
    robot_media_id: str
    close: tuple[CloseChannels, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """Which viewer is to receive what a robot sends, and which older channels to close before."""

    session_id: str
    viewer: Identity
    viewer_media_id: str
    robot_media_id: str
    close: CloseChannels


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLiveness:
    """A peer connection as the media backend sees it."""

    last_heard_s: float | None
    """Monotonic seconds; ``None``: the peer connection is gone."""
