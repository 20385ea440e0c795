"""
What the broker does: the registry's decisions, carried out on the media backend.

Knows nothing of HTTP. One event loop owns it; between two awaits the registry does not change.
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

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, UTC
import logging
import secrets
from typing import Final, Protocol
from weakref import WeakValueDictionary

from teleop_webrtc_bridge.broker import media_calls
from teleop_webrtc_bridge.broker.access.audit import Audit, AuditAction
from teleop_webrtc_bridge.broker.access.authenticator import CredentialIds
from teleop_webrtc_bridge.broker.answers import BridgeAnswer, JoinAnswer
from teleop_webrtc_bridge.broker.bridger import Bridger
from teleop_webrtc_bridge.broker.caller_addresses import network_of
from teleop_webrtc_bridge.broker.effects import Effects
from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, RobotCaller
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.media.backend import Media, MediaSession, StopSeen, UnusableSdp
from teleop_webrtc_bridge.broker.registry.named_person import NamedPerson
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import (
    ControlState,
    LinkQuality,
    MediaLiveness,
    NewSession,
    Session,
    SessionState,
    Viewer,
)
from teleop_webrtc_bridge.broker.registry.viewers import RemovedViewers
from teleop_webrtc_bridge.broker.split_sessions import Split
from teleop_webrtc_bridge.broker.split_watch import SplitWatch
from teleop_webrtc_bridge.core.messages import HeartbeatAnswer, VideoCodec
from teleop_webrtc_bridge.core.sdp import offered_by

__all__ = ['Broker', 'RobotDetails']

MAX_BUILDING: Final = 4
"""New peer connections take the loop's time; heartbeats come in between."""
MAX_BUILDING_OF_TENANT: Final = 2
"""So that one tenant's never keep out another's."""
SWEEP_PERIOD_S: Final = 0.5
SWEEP_FAILURES: Final = 10
"""One after the other; a broker that evicts nobody must not go on."""
SWEEP_LATE_S: Final = 1.5
"""A loop that was stalled for this long has heard nobody: it must not blame the peers."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotDetails:
    """What a robot says about itself when it dials in."""

    robot_id: str
    robot_name: str
    robot_type: str | None
    instance_id: str | None
    video_codecs: tuple[VideoCodec, ...] = ()
    """Those that it can change between while it sends."""


class Credentials(Protocol):
    """What is known of keys and tokens that are in use."""

    async def ended(self, key_ids: Collection[str], token_ids: Collection[str]) -> CredentialIds:
        """Return which of some keys and tokens, and of others in use, work no more."""

    def has_expired(self, caller: OperatorCaller) -> bool:
        """Return whether the time of somebody's token is over."""


class Broker:
    """
    The robots, their operators, and the media between them.

    :param clock: Monotonic seconds, the same as ``Media.last_heard_s``.
    :param wall_clock: Seconds since 1970, to show to people.
    :param viewers_may_stop: Whether the E-STOP of people who watch reaches their robot.
    :param udp_ports: How many the media may use; ``None``: any.
    """

    def __init__(
        self,
        media: Media,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        caps: Limits,
        credentials: Credentials,
        audit: Audit,
        viewers_may_stop: bool,
        udp_ports: int | None,
    ) -> None:
        self._media = media
        self._clock = clock
        self._wall_clock = wall_clock
        self._credentials = credentials
        self._registry = Registry(caps, udp_ports)
        self._splits = SplitWatch(media, self._registry, clock)
        self._building = asyncio.Semaphore(MAX_BUILDING)
        self._building_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """Tenant → its share."""
        self._audit = audit
        self._effects = Effects(media, audit)
        self._viewers_may_stop = viewers_may_stop
        self._bridger = Bridger(
            media, self._registry, self._effects, clock, viewers_may_stop=viewers_may_stop
        )

    # --- robot ---------------------------------------------------------------------------------

    async def create_session(
        self, caller: RobotCaller, robot: RobotDetails, sdp_offer: str, address: str = ''
    ) -> tuple[str, MediaSession]:
        """
        Answer a robot that dials in.

        :param sdp_offer: Checked, and without host names.
        :param address: Where it is.
        :returns: The session id and the robot's peer connection.
        :raises TooManySessions: The tenant has too many.
        :raises MediaError: The backend refuses the offer or fails.
        """
        self._registry.robots.check_room(caller.owner, caller.key_id, robot.robot_id)
        media = await self._new_media(
            caller.owner, sdp_offer, beside=None, video_codecs=robot.video_codecs
        )
        offered = offered_by(sdp_offer)
        identity = NewSession(
            session_id=secrets.token_hex(16),
            owner=caller.owner,
            key_id=caller.key_id,
            robot_id=robot.robot_id,
            robot_name=robot.robot_name,
            robot_type=robot.robot_type,
            instance_id=robot.instance_id,
            media_id=media.media_id,
            created_at=datetime.fromtimestamp(self._wall_clock(), UTC).isoformat(),
            network=network_of(address),
            offers_video=offered.video,
            offers_channels=offered.channels,
            hosts=offered.hosts,
            video_codecs=media.video_codecs or (),
        )
        created = False
        try:
            effects = self._registry.robots.create(identity, self._clock())
            created = True
        finally:
            if not created:
                await media_calls.close_session(self._media, media.media_id)
        await self._effects.carry_out(effects)
        self._splits.look()
        return identity.session_id, media

    async def wait_for_news(
        self, caller: RobotCaller, session_id: str, link: LinkQuality, wait_s: float
    ) -> None:
        """
        Note a robot's heartbeat, then hold it until its answer differs from the last one.

        :param wait_s: How long to hold it at most, in seconds.
        :raises SessionUnknown: The robot has to dial again.
        :raises Superseded: Another instance of this robot took over.
        """
        robots = self._registry.robots
        ready = robots.robot_heartbeat(session_id, caller, link, self._clock())
        if ready is not None:
            self._media.subscriber_ready(ready)
        if wait_s <= 0.0 or robots.has_news(session_id):
            return
        await self._effects.hold(session_id, wait_s)

    def answer_heartbeat(self, caller: RobotCaller, session_id: str) -> HeartbeatAnswer:
        """
        Return the snapshot and count it as sent.

        :raises SessionUnknown: The session ended while the heartbeat was held.
        :raises Superseded: Another instance took over while the heartbeat was held.
        """
        return self._registry.robots.answer_heartbeat(session_id, caller)

    async def take_robot_answer(
        self, caller: RobotCaller, session_id: str, sdp_answer: str
    ) -> None:
        """
        Pass on a robot's answer to its ``renegotiate_offer``.

        :raises RegistryRefusal: No such session, or no offer is pending.
        :raises MediaError: The backend refuses the answer or fails.
        """
        media_id = self._registry.robots.take_robot_answer(session_id, caller)
        try:
            await media_calls.renegotiate(self._media, media_id, sdp_answer)
        except UnusableSdp:
            self._registry.robots.refuse_robot_answer(session_id)
            raise

    async def delete_session(self, caller: RobotCaller, session_id: str) -> None:
        """
        End a robot's session.

        :raises RegistryRefusal: No such session.
        """
        await self._effects.carry_out(self._registry.robots.delete(session_id, caller))

    # --- operator ------------------------------------------------------------------------------

    def sessions(self, caller: OperatorCaller) -> list[Session]:
        """Return the sessions that an operator may see."""
        return self._registry.operators.visible(caller, self._clock())

    def session(self, caller: OperatorCaller, session_id: str) -> Session:
        """
        Return one of them.

        :raises SessionUnknown: No such session.
        """
        return self._registry.operators.get(session_id, caller, self._clock())

    def split_of(self, session_id: str) -> Split | None:
        """Return what a session is a half of."""
        return self._splits.of(session_id)

    async def join(
        self, caller: OperatorCaller, session_id: str, sdp_offer: str, address: str = ''
    ) -> JoinAnswer:
        """
        Make a caller the operator of a session.

        :param sdp_offer: Checked, and without host names.
        :param address: Where they are, for the audit trail.
        :raises RegistryRefusal: No such session, or the operator slot is taken.
        :raises MediaError: The backend refuses the offer or fails.
        """
        operators = self._registry.operators
        claim = operators.claim(session_id, caller, self._clock())
        robot = self._registry.operators.get(session_id, caller, self._clock()).identity.media_id
        media: MediaSession | None = None
        joined = False
        try:
            media = await self._new_media(caller.tenant, sdp_offer, beside=robot)
            session, effects = operators.attach(
                session_id,
                claim,
                media.media_id,
                self._clock(),
                video_codecs=media.video_codecs,
            )
            joined = True
        finally:
            if not joined:
                await self._effects.carry_out(operators.abandon(session_id, claim))
                if media is not None:
                    await media_calls.close_session(self._media, media.media_id)
        self._audit.entered(
            AuditAction.JOIN, caller.identity, media.media_id, session, address, effects
        )
        await self._effects.carry_out(effects)
        return JoinAnswer(
            media=media,
            session=session,
            role='operator',
            split=self._splits.of(session_id),
            video_reason=self._registry.video_reason(media.media_id),
        )

    def operator_heartbeat(
        self, caller: OperatorCaller, session_id: str, media_id: str | None
    ) -> str | None:
        """
        Note that an operator is alive.

        :returns: Why they see no picture, if a codec is in the way.
        :raises RegistryRefusal: No such session, or not its operator.
        """
        viewer = self._viewer(caller, session_id, media_id)
        if viewer is not None:
            self._registry.viewers.heartbeat(session_id, viewer, caller, self._clock())
            return self._registry.video_reason(viewer.media_id)
        operator = self._registry.operators.operator_heartbeat(
            session_id, caller, media_id, self._clock()
        )
        return self._registry.video_reason(operator.media_id)

    async def leave(
        self, caller: OperatorCaller, session_id: str, media_id: str | None
    ) -> SessionState:
        """
        Free the operator slot if the caller holds it.

        :raises SessionUnknown: No such session.
        """
        viewer = self._viewer(caller, session_id, media_id)
        if viewer is not None:
            await self._effects.carry_out(self._registry.viewers.leave(session_id, viewer))
            return self.session(caller, session_id).state
        state, effects = self._registry.operators.leave(
            session_id, caller, media_id, self._clock()
        )
        await self._effects.carry_out(effects)
        return state

    async def bridge(
        self, caller: OperatorCaller, session_id: str, media_id: str | None
    ) -> BridgeAnswer:
        """
        Open the data channels between a robot and its operator, with fresh ids.

        :raises RegistryRefusal: No such session, or not its operator.
        :raises MediaError: A peer connection is gone, or the backend fails.
        """
        self.session(caller, session_id)  # no lock is made for what does not exist
        viewer = self._viewer(caller, session_id, media_id)
        if viewer is not None:
            return await self._bridger.bridge_viewer(session_id, viewer)
        return await self._bridger.bridge_operator(session_id, caller, media_id)

    async def take_operator_answer(
        self, caller: OperatorCaller, session_id: str, media_id: str | None, sdp_answer: str
    ) -> None:
        """
        Pass on an operator's answer to its ``video_offer``.

        :param sdp_answer: Checked, and without host names.
        :raises RegistryRefusal: No such session, not its operator, or no offer is pending.
        :raises MediaError: The backend refuses the answer or fails.
        """
        viewer = self._viewer(caller, session_id, media_id)
        operator_media_id = (
            self._registry.bridges.take_video_answer(session_id, caller, media_id, self._clock())
            if viewer is None
            else self._registry.viewers.take_video_answer(session_id, viewer)
        )
        try:
            taken = await media_calls.renegotiate(self._media, operator_media_id, sdp_answer)
        except UnusableSdp:
            if viewer is None:
                self._registry.bridges.refuse_video_answer(session_id, operator_media_id)
            else:
                self._registry.viewers.refuse_video_answer(session_id, viewer)
            raise
        if taken is not None:
            self._registry.note_codecs(operator_media_id, taken)
            await self._effects.carry_out(self._registry.robots.other_codecs())

    # --- viewers, and who has control ----------------------------------------------------------

    async def watch(
        self, caller: OperatorCaller, session_id: str, sdp_offer: str, address: str = ''
    ) -> JoinAnswer:
        """
        Make a caller a viewer of a session.

        :param sdp_offer: Checked, and without host names.
        :param address: Where they are, for the audit trail.
        :raises RegistryRefusal: No such session, it has too many viewers, or the caller was put
            out of it.
        :raises MediaError: The backend refuses the offer or fails.
        """
        robot = self._registry.viewers.check_room(session_id, caller, self._clock()).identity
        media = await self._new_media(caller.tenant, sdp_offer, beside=robot.media_id)
        session: Session | None = None
        try:
            session = self._registry.viewers.attach(
                session_id,
                caller,
                media.media_id,
                self._clock(),
                video_codecs=media.video_codecs,
            )
        finally:
            if session is None:
                await media_calls.close_session(self._media, media.media_id)
        self._audit.entered(AuditAction.WATCH, caller.identity, media.media_id, session, address)
        await self._effects.carry_out(self._registry.robots.other_codecs())
        return JoinAnswer(
            media=media,
            session=session,
            role='viewer',
            may_stop=self._viewers_may_stop,
            split=self._splits.of(session_id),
            video_reason=self._registry.video_reason(media.media_id),
        )

    async def remove_viewer(
        self, caller: OperatorCaller, session_id: str, named: NamedPerson
    ) -> RemovedViewers:
        """
        Put a viewer out; that person may not come back for some time.

        :raises RegistryRefusal: No such session, not its operator, or nobody who can be put out.
        """
        viewers = self._registry.viewers
        removed, effects = viewers.put_out(session_id, caller, named, self._clock())
        _log.info(
            'event=viewer_removed session=%s robot_id=%r viewer=%r by=%r',
            session_id,
            removed.robot_id,
            str(removed.who),
            str(caller.identity),
        )
        await self._effects.carry_out(effects)
        return removed

    def request_control(
        self, caller: OperatorCaller, session_id: str
    ) -> tuple[ControlState, Identity | None]:
        """
        Ask the holder of the operator slot for it, or go on asking.

        :returns: Where the request stands, and who the holder is.
        :raises RegistryRefusal: No such session, or the caller may only watch.
        """
        return self._registry.control.request(session_id, caller, self._clock())

    def grant_control(
        self, caller: OperatorCaller, session_id: str, named: NamedPerson
    ) -> Identity:
        """
        Let somebody who has asked take over with the next join.

        :returns: Whom.
        :raises RegistryRefusal: No such session, not its operator, no such request, or several.
        """
        return self._registry.control.grant(session_id, caller, named, self._clock())

    def take_control(self, caller: OperatorCaller, session_id: str) -> None:
        """
        Let an administrator take over with the next join.

        :raises RegistryRefusal: No such session, or the caller is no administrator.
        """
        self._registry.control.take(session_id, caller, self._clock())

    def _viewer(
        self, caller: OperatorCaller, session_id: str, media_id: str | None
    ) -> Viewer | None:
        return self._registry.viewers.find(session_id, caller, media_id, self._clock())

    def figures(self) -> dict[SessionState, int]:
        """Count the live sessions by state."""
        return self._registry.figures()

    @property
    def viewers(self) -> int:
        return self._registry.viewers.count

    # --- time ----------------------------------------------------------------------------------

    async def sweep_for_ever(self) -> None:
        """Evict and reap twice a second; ends only by cancellation, or if it fails for seconds."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            before = loop.time()
            await asyncio.sleep(SWEEP_PERIOD_S)
            if loop.time() - before >= SWEEP_LATE_S:
                continue
            try:
                await self.sweep()
                failures = 0
            except Exception:
                # The outermost boundary: what was wrong with one session may be over.
                failures += 1
                if failures == SWEEP_FAILURES:
                    raise
                _log.exception('event=sweep_failed')

    async def sweep(self) -> None:
        """Evict and reap whom it is time for."""
        liveness = {
            media_id: MediaLiveness(last_heard_s=self._media.last_heard_s(media_id))
            for media_id in self._registry.media_ids()
        }
        effects = self._registry.reap(self._clock(), liveness)
        effects += self._registry.revoke(self._credentials.has_expired)
        effects += self._registry.robots.other_codecs()
        await self._effects.carry_out(effects)
        self._splits.look()
        await self._bridger.serve_robots()

    async def watch_credentials_for_ever(self) -> None:
        """
        Let go whose keys and tokens are revoked, within a second.

        Not with the sweep, which must not wait for the database.
        """
        while True:
            await asyncio.sleep(SWEEP_PERIOD_S)
            await self.let_revoked_go()

    async def let_revoked_go(self) -> None:
        """End what revoked API keys and tokens are being used for, whoever revoked them."""
        ended = await self._credentials.ended(self._registry.key_ids(), self._registry.token_ids())
        effects = self._registry.revoke(lambda caller: caller.token_id in ended.token_ids)
        for key_id in ended.key_ids:
            effects += self._registry.robots.revoke_key(key_id)
        await self._effects.carry_out(effects)

    async def run_media(self) -> None:
        """Let the media backend do its own work; ends only by cancellation."""
        await self._media.run(self._note_stop)

    def _note_stop(self, stop: StopSeen) -> None:
        session = self._registry.session_of_media(stop.media_id)
        robot_id = session.identity.robot_id if session else ''
        session_id = session.session_id if session else ''
        action = AuditAction.ESTOP_CLEAR if stop.is_release else AuditAction.ESTOP
        _log.warning(
            'event=%s session=%s robot_id=%r by=%r left_out=%d',
            *(action.value, session_id, robot_id, str(stop.by), stop.left_out),
        )
        detail = f'{stop.left_out} before it were too many to note' if stop.left_out else ''
        self._audit.acted(action, stop.media_id, detail)

    def release_polls(self) -> None:
        """Answer all held heartbeats now: the broker is about to stop."""
        self._effects.wake_all()

    # --- inside --------------------------------------------------------------------------------

    async def _new_media(
        self,
        tenant: str,
        sdp_offer: str,
        *,
        beside: str | None,
        video_codecs: Sequence[VideoCodec] = (),
    ) -> MediaSession:
        """Build a peer connection: others wait for a few of theirs, not for all of them."""
        share = self._building_of.setdefault(tenant, asyncio.Semaphore(MAX_BUILDING_OF_TENANT))
        async with share, self._building:
            return await media_calls.new_session(
                self._media, sdp_offer, beside=beside, video_codecs=video_codecs
            )
