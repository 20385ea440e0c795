"""
The broker's service: carries out the registry's decisions on the media backend.

It does not know HTTP. One event loop owns it, and the registry changes only between two awaits.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, UTC
import logging
import secrets
from typing import Final
from weakref import WeakValueDictionary

from teleop_webrtc_bridge.broker.access.audit import Audit, AuditAction
from teleop_webrtc_bridge.broker.access.authenticator import Credentials
from teleop_webrtc_bridge.broker.caller_addresses import network_of
from teleop_webrtc_bridge.broker.channel_setup import BridgeAnswer, ChannelSetup, media_timeout
from teleop_webrtc_bridge.broker.effect_runner import EffectRunner
from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, RobotCaller
from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.media.backend import (
    Arrived,
    CountsArrivals,
    Media,
    MediaSession,
    StopSeen,
    UnusableSdp,
)
from teleop_webrtc_bridge.broker.registry.operators import ControlState
from teleop_webrtc_bridge.broker.registry.people import NamedPerson
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import (
    LinkQuality,
    MediaLiveness,
    NewSession,
    Session,
    SessionState,
    Viewer,
)
from teleop_webrtc_bridge.broker.registry.viewers import RemovedViewers
from teleop_webrtc_bridge.broker.split_sessions import ADVICE, Split, SplitSessions
from teleop_webrtc_bridge.core.messages import HeartbeatAnswer, VideoCodec
from teleop_webrtc_bridge.core.sdp import offered_by

__all__ = ['Broker', 'JoinAnswer', 'RobotDetails']

MAX_BUILDING: Final = 4
"""Building peer connections blocks the loop; heartbeats must get their turn."""
MAX_BUILDING_OF_TENANT: Final = 2
"""Keeps one tenant from holding up the others."""
NEW_SESSION_TIMEOUT_S: Final = 15.0
"""Gathering candidates takes up to 10 s."""
RENEGOTIATE_TIMEOUT_S: Final = 5.0
SWEEP_PERIOD_S: Final = 0.5
SWEEP_FAILURES: Final = 10
"""In a row; a broker that cannot evict silent operators must not go on."""
SWEEP_LATE_S: Final = 1.5
"""A loop that was stalled this long has received nothing, so peers are not judged."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotDetails:
    """A robot's description of itself, sent when it dials in."""

    robot_id: str
    robot_name: str
    robot_type: str | None
    instance_id: str | None
    video_codecs: tuple[VideoCodec, ...] = ()
    """Codecs that it can switch between while it sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAnswer:
    """A new peer connection, and the session that its peer is part of."""

    media: MediaSession
    session: Session
    role: str
    """``operator`` or ``viewer``."""
    may_stop: bool | None = None
    """Whether a viewer's E-STOP reaches the robot; ``None``: not a viewer."""
    split: Split | None
    """Set if the session seems to be one half of a robot."""
    video_reason: str | None
    """As :attr:`BridgeAnswer.video_reason`."""


class Broker:
    """
    Connects robots, operators and viewers.

    :param clock: Monotonic seconds, the same as ``Media.last_heard_s``.
    :param wall_clock: Seconds since 1970, to show to people.
    :param viewers_may_stop: Whether viewers' E-STOP reaches their robot.
    :param udp_ports: The number of ports that the media may use; ``None``: unlimited.
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
        self._splits = SplitSessions()
        self._building = asyncio.Semaphore(MAX_BUILDING)
        self._building_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """By tenant."""
        self._audit = audit
        self._effects = EffectRunner(media, audit)
        self._viewers_may_stop = viewers_may_stop
        self._channels = ChannelSetup(
            media, self._registry, self._effects, clock, viewers_may_stop=viewers_may_stop
        )

    # --- robot ---------------------------------------------------------------------------------

    async def create_session(
        self, caller: RobotCaller, robot: RobotDetails, sdp_offer: str, address: str = ''
    ) -> tuple[str, MediaSession]:
        """
        Answer a robot that dials in.

        :param sdp_offer: Checked, and without host names.
        :param address: The robot's IP address.
        :returns: The session id and the robot's peer connection.
        :raises TooManySessions: The tenant or the API key has reached its limit.
        :raises MediaError: The backend refused the offer or failed.
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
                await self._effects.close_session(media.media_id)
        await self._effects.carry_out(effects)
        self._find_splits()
        return identity.session_id, media

    async def wait_for_news(
        self, caller: RobotCaller, session_id: str, link: LinkQuality, wait_s: float
    ) -> None:
        """
        Note a robot's heartbeat, then hold it until its answer differs from the last one.

        :param wait_s: The longest time to hold it, in seconds.
        :raises SessionUnknown: The robot has to dial again.
        :raises Superseded: Another instance of this robot took over.
        """
        robots = self._registry.robots
        ready = robots.heartbeat(session_id, caller, link, self._clock())
        if ready is not None:
            self._media.subscriber_ready(ready)
        if wait_s <= 0.0 or robots.has_news(session_id):
            return
        await self._effects.hold(session_id, wait_s)

    def answer_heartbeat(self, caller: RobotCaller, session_id: str) -> HeartbeatAnswer:
        """
        Return the answer to a heartbeat, and count it as sent.

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
        :raises MediaError: The backend refused the answer or failed.
        """
        media_id = self._registry.robots.take_robot_answer(session_id, caller)
        try:
            await self._renegotiate(media_id, sdp_answer)
        except UnusableSdp:
            self._registry.robots.refuse_robot_answer(session_id)
            raise

    async def delete_session(self, caller: RobotCaller, session_id: str) -> None:
        """
        End a robot's session because the robot asks for it.

        :raises RegistryRefusal: No such session.
        """
        await self._effects.carry_out(self._registry.robots.delete(session_id, caller))

    # --- operator ------------------------------------------------------------------------------

    def sessions(self, caller: OperatorCaller) -> list[Session]:
        """Return the sessions that a caller may see."""
        return self._registry.visible(caller, self._clock())

    def session(self, caller: OperatorCaller, session_id: str) -> Session:
        """
        Return one of them.

        :raises SessionUnknown: No such session.
        """
        return self._registry.get(session_id, caller, self._clock())

    def split_of(self, session_id: str) -> Split | None:
        """Return the robot that a session seems to be one half of, if any."""
        return self._splits.of(session_id)

    async def join(
        self, caller: OperatorCaller, session_id: str, sdp_offer: str, address: str = ''
    ) -> JoinAnswer:
        """
        Make a caller the operator of a session.

        :param sdp_offer: Checked, and without host names.
        :param address: Their IP address, for the audit trail.
        :raises RegistryRefusal: No such session, or the operator slot is taken.
        :raises MediaError: The backend refused the offer or failed.
        """
        operators = self._registry.operators
        claim = operators.claim(session_id, caller, self._clock())
        robot = self.session(caller, session_id).identity.media_id
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
                    await self._effects.close_session(media.media_id)
        self._audit.entered(
            AuditAction.JOIN, caller.identity, media.media_id, session, address, effects
        )
        await self._effects.carry_out(effects)
        return JoinAnswer(
            media=media,
            session=session,
            role='operator',
            split=self._splits.of(session_id),
            video_reason=self._registry.video_reason(session_id, media.media_id),
        )

    def operator_heartbeat(
        self, caller: OperatorCaller, session_id: str, media_id: str | None
    ) -> str | None:
        """
        Note that an operator or a viewer is alive.

        :returns: Why they see no picture, if a codec is the reason.
        :raises RegistryRefusal: No such session, or the caller is neither.
        """
        join = self._registry.heartbeat(session_id, caller, media_id, self._clock())
        return self._registry.video_reason(session_id, join.media_id)

    async def leave(
        self, caller: OperatorCaller, session_id: str, media_id: str | None
    ) -> SessionState:
        """
        Disconnect the caller if they are the operator or a viewer.

        :raises SessionUnknown: No such session.
        """
        state, effects = self._registry.leave(session_id, caller, media_id, self._clock())
        await self._effects.carry_out(effects)
        return state

    async def bridge(
        self, caller: OperatorCaller, session_id: str, media_id: str | None
    ) -> BridgeAnswer:
        """
        Open the caller's data channels and video, with new ids.

        :raises RegistryRefusal: No such session, or the caller is neither operator nor viewer.
        :raises MediaError: A peer connection is gone, or the backend failed.
        """
        join = self._registry.join_of(session_id, caller, media_id, self._clock())
        if isinstance(join, Viewer):
            return await self._channels.bridge_viewer(session_id, join.media_id)
        return await self._channels.bridge_operator(session_id, caller, media_id)

    async def take_operator_answer(
        self, caller: OperatorCaller, session_id: str, media_id: str | None, sdp_answer: str
    ) -> None:
        """
        Pass on an operator's or a viewer's answer to their ``video_offer``.

        :param sdp_answer: Checked, and without host names.
        :raises RegistryRefusal: No such session, the caller is neither, or no offer is pending.
        :raises MediaError: The backend refused the answer or failed.
        """
        media_id = self._registry.take_video_answer(session_id, caller, media_id, self._clock())
        try:
            taken = await self._renegotiate(media_id, sdp_answer)
        except UnusableSdp:
            self._registry.expect_video_answer(session_id, media_id)
            raise
        if taken is not None:
            self._registry.note_codecs(session_id, media_id, taken)
            await self._effects.carry_out(self._registry.robots.other_codecs())

    # --- viewers, and who has control ----------------------------------------------------------

    async def watch(
        self, caller: OperatorCaller, session_id: str, sdp_offer: str, address: str = ''
    ) -> JoinAnswer:
        """
        Make a caller a viewer of a session.

        :param sdp_offer: Checked, and without host names.
        :param address: Their IP address, for the audit trail.
        :raises RegistryRefusal: No such session, it has too many viewers, or the caller is banned
            from this robot.
        :raises MediaError: The backend refused the offer or failed.
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
                await self._effects.close_session(media.media_id)
        self._audit.entered(AuditAction.WATCH, caller.identity, media.media_id, session, address)
        await self._effects.carry_out(self._registry.robots.other_codecs())
        return JoinAnswer(
            media=media,
            session=session,
            role='viewer',
            may_stop=self._viewers_may_stop,
            split=self._splits.of(session_id),
            video_reason=self._registry.video_reason(session_id, media.media_id),
        )

    async def remove_viewer(
        self, caller: OperatorCaller, session_id: str, named: NamedPerson
    ) -> RemovedViewers:
        """
        Remove a viewer, and ban that person from the robot for some time.

        :raises RegistryRefusal: No such session, not its operator, or no such viewer.
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
        Ask the holder of the operator slot for it, or renew the request.

        :returns: The state of the request, and the holder.
        :raises RegistryRefusal: No such session, or the caller may only watch.
        """
        return self._registry.operators.request_control(session_id, caller, self._clock())

    def grant_control(
        self, caller: OperatorCaller, session_id: str, named: NamedPerson
    ) -> Identity:
        """
        Let a person who has asked take over with their next join.

        :returns: That person.
        :raises RegistryRefusal: No such session, not its operator, no such request, or several.
        """
        return self._registry.operators.grant_control(session_id, caller, named, self._clock())

    def take_control(self, caller: OperatorCaller, session_id: str) -> None:
        """
        Let an administrator take over with their next join.

        :raises RegistryRefusal: No such session, or the caller is not an administrator.
        """
        self._registry.operators.take_control(session_id, caller, self._clock())

    def figures(self) -> dict[SessionState, int]:
        """Return the number of sessions in each state."""
        return self._registry.figures()

    @property
    def viewers(self) -> int:
        """The number of viewers of all robots."""
        return self._registry.viewers.count

    # --- time ----------------------------------------------------------------------------------

    async def sweep_for_ever(self) -> None:
        """Sweep twice a second until cancelled; give up after ten failures in a row."""
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
                # The outermost boundary: the cause may be one session, and gone the next time.
                failures += 1
                if failures == SWEEP_FAILURES:
                    raise
                _log.exception('event=sweep_failed')

    async def sweep(self) -> None:
        """Evict silent operators and viewers, and reap dead sessions."""
        liveness = {
            media_id: MediaLiveness(last_heard_s=self._media.last_heard_s(media_id))
            for media_id in self._registry.media_ids()
        }
        effects = self._registry.reap(self._clock(), liveness)
        effects += self._registry.revoke(self._credentials.has_expired)
        effects += self._registry.robots.other_codecs()
        await self._effects.carry_out(effects)
        self._find_splits()
        await self._channels.serve_robots()

    async def watch_credentials_for_ever(self) -> None:
        """
        Apply revocations of keys and tokens within a second.

        This is not part of the sweep, because the sweep must not wait for the database.
        """
        while True:
            await asyncio.sleep(SWEEP_PERIOD_S)
            await self.let_revoked_go()

    async def let_revoked_go(self) -> None:
        """End the sessions and joins whose API keys and tokens have been revoked."""
        ended = await self._credentials.ended(self._registry.key_ids(), self._registry.token_ids())
        effects = self._registry.revoke(lambda caller: caller.token_id in ended.token_ids)
        for key_id in ended.key_ids:
            effects += self._registry.robots.revoke_key(key_id)
        await self._effects.carry_out(effects)

    async def run_media(self) -> None:
        """Run the media backend until cancelled."""
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
        detail = f'{stop.left_out} earlier ones were not recorded' if stop.left_out else ''
        self._audit.acted(action, stop.media_id, detail)

    def release_polls(self) -> None:
        """Answer all held heartbeats, because the broker is about to stop."""
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
        """Build a peer connection; only a few at a time, in all and per tenant."""
        share = self._building_of.setdefault(tenant, asyncio.Semaphore(MAX_BUILDING_OF_TENANT))
        async with (
            share,
            self._building,
            media_timeout(NEW_SESSION_TIMEOUT_S, 'a new media session'),
        ):
            return await self._media.new_session(
                sdp_offer, beside=beside, video_codecs=video_codecs
            )

    async def _renegotiate(self, media_id: str, sdp_answer: str) -> tuple[VideoCodec, ...] | None:
        async with media_timeout(RENEGOTIATE_TIMEOUT_S, 'renegotiation'):
            return await self._media.renegotiate(media_id, sdp_answer)

    def _find_splits(self) -> None:
        """Compare all sessions, and log new findings."""
        arrived = self._media.arrived if isinstance(self._media, CountsArrivals) else _unknown
        for split in self._splits.look(self._registry.sessions(), arrived, self._clock()):
            _log.warning(
                'event=split_session video_session=%s video_robot_id=%r data_session=%s'
                ' data_robot_id=%r hint="%s"',
                *(split.video.session_id, split.video.robot_id),
                *(split.data.session_id, split.data.robot_id, ADVICE),
            )


def _unknown(_: str) -> Arrived | None:
    """Return ``None``: the media backend does not count what robots send."""
    return None
