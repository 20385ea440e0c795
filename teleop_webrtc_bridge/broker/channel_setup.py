"""Channel setup: opens data channels and video between robots, operators and viewers."""

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
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from teleop_webrtc_bridge.broker.effect_runner import EffectRunner
from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller
from teleop_webrtc_bridge.broker.media.backend import (
    DataChannelRequest,
    Media,
    MediaError,
    MediaSessionGone,
    NoPublishedTrack,
)
from teleop_webrtc_bridge.broker.registry.operators import BridgePlan
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import CloseChannels, Session
from teleop_webrtc_bridge.core.messages import (
    ChannelIds,
    CHANNELS,
    CMD_UNRELIABLE,
    MAP_UNRELIABLE,
    STATE_RELIABLE,
    STATE_RELIABLE_BACK,
)

__all__ = ['BridgeAnswer', 'ChannelSetup', 'media_timeout']

CONNECT_TIMEOUT_S: Final = 3.0
CHANNELS_TIMEOUT_S: Final = 5.0
VIDEO_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeAnswer:
    """What an operator or a viewer needs to open their channel ends."""

    channels: ChannelIds
    video_offer: str | None
    video_status: str
    """See docs/protocol.md §2."""
    video_reason: str | None
    """Why there is no picture, for people; ``None``: there should be one."""


@asynccontextmanager
async def media_timeout(timeout_s: float, what: str) -> AsyncIterator[None]:
    """
    Bound a call of the media backend.

    :raises MediaError: It took too long.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise MediaError(f'{what} took too long') from error


class ChannelSetup:
    """
    Connects robots to operators and viewers.

    :param clock: Monotonic seconds.
    :param viewers_may_stop: Whether viewers' E-STOP reaches their robot.
    """

    def __init__(
        self,
        media: Media,
        registry: Registry,
        effects: EffectRunner,
        clock: Callable[[], float],
        *,
        viewers_may_stop: bool,
    ) -> None:
        self._media = media
        self._registry = registry
        self._effects = effects
        self._clock = clock
        self._viewers_may_stop = viewers_may_stop
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Session id → the lock under which its channels are opened."""

    async def bridge_operator(
        self, session_id: str, caller: OperatorCaller, media_id: str | None
    ) -> BridgeAnswer:
        """
        Open an operator's data channels, with new ids.

        :raises RegistryRefusal: No such session, or not its operator.
        :raises MediaError: A peer connection is gone, or the backend failed.
        """
        async with self._lock(session_id):
            plan = self._registry.operators.plan_bridge(
                session_id, caller, media_id, self._clock()
            )
            await self._wait_until_connected(plan.operator_media_id, plan.robot_media_id)
            ids = await self._open_bridge(plan)
            # The operator opens their ends when they get the answer. Earlier messages of the robot
            # are telemetry, which is repeated; all others answer the operator's messages.
            self._media.subscriber_ready(plan.operator_media_id)
            return await self._with_video(
                session_id, ids, receiver=plan.operator_media_id, publisher=plan.robot_media_id
            )

    async def bridge_viewer(self, session_id: str, media_id: str) -> BridgeAnswer:
        """
        Open a viewer's data channels, with new ids.

        :raises RegistryRefusal: The session or the viewer is gone.
        :raises MediaError: A peer connection is gone, or the backend failed.
        """
        viewers = self._registry.viewers
        plan = viewers.plan(session_id, media_id)
        # Before the lock: a viewer that never connects must not hold up the operator's bridge.
        await self._wait_until_connected(plan.viewer_media_id, plan.robot_media_id)
        async with self._lock(session_id):
            plan = viewers.plan(session_id, media_id)
            await self._effects.close_channels(plan.close)
            async with media_timeout(CHANNELS_TIMEOUT_S, 'opening channels'):
                opened = await self._media.watch_channels(
                    plan.viewer_media_id,
                    publisher=plan.robot_media_id,
                    by=plan.viewer,
                    may_stop=self._viewers_may_stop,
                )
            ids = _channel_ids(opened)
            viewers.commit(plan, ids, self._clock())
            self._media.subscriber_ready(plan.viewer_media_id)  # as in bridge_operator
            answer = await self._with_video(
                session_id, ids, receiver=plan.viewer_media_id, publisher=plan.robot_media_id
            )
        await self.serve_robots()
        return answer

    async def serve_robots(self) -> None:
        """Open the channels of robots that have viewers but no operator."""
        for session in self._registry.viewers.unserved():
            async with self._lock(session.session_id):
                await self._serve(session)

    async def _serve(self, session: Session) -> None:
        robot_media_id = session.identity.media_id
        try:
            async with media_timeout(CHANNELS_TIMEOUT_S, 'opening channels'):
                opened = await self._media.open_for_viewers(robot_media_id)
        except MediaError:
            return  # the robot is leaving, or the next sweep tries again
        ids = ChannelIds(
            state=opened[STATE_RELIABLE],
            state_back=opened[STATE_RELIABLE_BACK],
            map=opened[MAP_UNRELIABLE],
        )
        effects = self._registry.viewers.serve(session.session_id, ids, self._clock())
        if effects is None:
            effects = [CloseChannels.of(robot_media_id, ids)]
        await self._effects.carry_out(effects)

    # --- inside --------------------------------------------------------------------------------

    def _lock(self, session_id: str) -> asyncio.Lock:
        return self._locks.setdefault(session_id, asyncio.Lock())

    async def _wait_until_connected(self, *media_ids: str) -> None:
        """
        Wait for peer connections.

        :raises MediaSessionGone: One is gone, or does not connect in time.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                for media_id in media_ids:
                    await self._media.connected(media_id)
        except TimeoutError:
            raise MediaSessionGone('not connected') from None

    async def _open_bridge(self, plan: BridgePlan) -> ChannelIds:
        """
        Close an operator's older channels and open new ones; after a failure none is open.

        :returns: The ids at the operator.
        :raises RegistryRefusal: The session or its operator is gone.
        :raises MediaError: A peer connection is gone, or the backend failed.
        """
        robot, operator = plan.robot_media_id, plan.operator_media_id
        opened: dict[str, dict[str, int]] = {robot: {}, operator: {}}
        committed = False
        try:
            async with media_timeout(CHANNELS_TIMEOUT_S, 'opening channels'):
                for older in plan.close:
                    await self._media.close_data_channels(older.media_id, older.stream_ids)
                for media_id, requests in _steps(plan):
                    opened[media_id] |= await self._media.new_data_channels(media_id, requests)
            operator_ids = _channel_ids(opened[operator])
            effects = self._registry.operators.commit_bridge(
                plan,
                robot_ids=_channel_ids(opened[robot]),
                operator_ids=operator_ids,
                now_s=self._clock(),
            )
            committed = True
        finally:
            if not committed:
                await self._effects.carry_out(
                    [
                        *self._registry.operators.abort_bridge(plan),
                        *(
                            CloseChannels(media_id=media_id, stream_ids=tuple(streams.values()))
                            for media_id, streams in opened.items()
                        ),
                    ]
                )
        await self._effects.carry_out(effects)
        return operator_ids

    async def _with_video(
        self, session_id: str, ids: ChannelIds, *, receiver: str, publisher: str
    ) -> BridgeAnswer:
        """Ask for the robot's video; without video there are still channels."""
        offer, status = None, 'ok'
        try:
            async with asyncio.timeout(VIDEO_TIMEOUT_S):
                offer = await self._media.pull_video(receiver, publisher=publisher)
        except NoPublishedTrack:
            status = 'no_published_track'
        except (MediaError, TimeoutError):
            status = 'pull_error'
        if offer is not None:
            self._registry.expect_video_answer(session_id, receiver)
        return BridgeAnswer(
            channels=ids,
            video_offer=offer,
            video_status=status,
            video_reason=self._registry.video_reason(session_id, receiver),
        )


def _steps(plan: BridgePlan) -> Iterator[tuple[str, list[DataChannelRequest]]]:
    """Yield which peer opens which ends: in each direction, the publisher first."""
    robot, operator = plan.robot_media_id, plan.operator_media_id
    for to_robot, publisher, subscriber in ((True, operator, robot), (False, robot, operator)):
        by = plan.operator if to_robot else None
        yield publisher, _requests(to_robot=to_robot, publisher=None, by=by)
        yield subscriber, _requests(to_robot=to_robot, publisher=publisher)


def _requests(
    *, to_robot: bool, publisher: str | None, by: Identity | None = None
) -> list[DataChannelRequest]:
    return [
        DataChannelRequest(
            label=channel.label,
            ordered=channel.ordered,
            max_retransmits=channel.max_retransmits,
            publisher=publisher,
            by=by,
        )
        for channel in CHANNELS
        if channel.to_robot is to_robot
    ]


def _channel_ids(opened: dict[str, int]) -> ChannelIds:
    """
    Return the ids that a media backend has given to the channels.

    :raises MediaError: Some are missing.
    """
    missing = {channel.label for channel in CHANNELS} - opened.keys()
    if missing:
        raise MediaError(f'the media backend did not open {sorted(missing)}')
    return ChannelIds(
        cmd=opened[CMD_UNRELIABLE],
        state=opened[STATE_RELIABLE],
        state_back=opened[STATE_RELIABLE_BACK],
        map=opened[MAP_UNRELIABLE],
    )
