"""Opening channels and video: for operators, for viewers, and for robots that are only watched."""

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

from teleop_webrtc_bridge.broker.answers import BridgeAnswer
from teleop_webrtc_bridge.broker.bridging import (
    open_channels,
    open_for_viewers,
    pull_video,
    wait_until_connected,
    watch_channels,
)
from teleop_webrtc_bridge.broker.effects import Effects
from teleop_webrtc_bridge.broker.identity import OperatorCaller
from teleop_webrtc_bridge.broker.media.backend import Media, MediaError
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import (
    BridgePlan,
    CloseChannels,
    Session,
    Viewer,
)
from teleop_webrtc_bridge.core.messages import ChannelIds

__all__ = ['Bridger']


class Bridger:
    """
    Joins robots to operators and viewers.

    :param clock: Monotonic seconds.
    :param viewers_may_stop: Whether the E-STOP of people who watch reaches their robot.
    """

    def __init__(
        self,
        media: Media,
        registry: Registry,
        effects: Effects,
        clock: Callable[[], float],
        *,
        viewers_may_stop: bool,
    ) -> None:
        self._media = media
        self._registry = registry
        self._effects = effects
        self._clock = clock
        self._viewers_may_stop = viewers_may_stop

    async def bridge_operator(
        self, session_id: str, caller: OperatorCaller, media_id: str | None
    ) -> BridgeAnswer:
        """
        Open the data channels of an operator, with fresh ids.

        :raises RegistryRefusal: No such session, or not its operator.
        :raises MediaError: A peer connection is gone, or the backend fails.
        """
        async with self._effects.bridging(session_id):
            plan = self._registry.bridges.plan(session_id, caller, media_id, self._clock())
            await wait_until_connected(self._media, plan.operator_media_id, plan.robot_media_id)
            operator_ids = await self._open_channels(plan)
            # It opens its ends when it gets the answer. What the robot says earlier is telemetry,
            # which is repeated; acknowledgements and pongs follow what the operator sends.
            self._media.subscriber_ready(plan.operator_media_id)
            video_offer, video_status = await pull_video(
                self._media, plan.operator_media_id, plan.robot_media_id
            )
            if video_offer is not None:
                self._registry.bridges.expect_video_answer(plan)
        return BridgeAnswer(
            channels=operator_ids,
            video_offer=video_offer,
            video_status=video_status,
            video_reason=self._registry.video_reason(plan.operator_media_id),
        )

    async def bridge_viewer(self, session_id: str, viewer: Viewer) -> BridgeAnswer:
        """
        Open the data channels of a viewer, with fresh ids.

        :raises RegistryRefusal: The session or the viewer is gone.
        :raises MediaError: A peer connection is gone, or the backend fails.
        """
        viewers = self._registry.viewers
        plan = viewers.plan(session_id, viewer)
        # Before the lock: a viewer that never connects must not hold up the operator's bridge.
        await wait_until_connected(self._media, plan.viewer_media_id, plan.robot_media_id)
        async with self._effects.bridging(session_id):
            plan = viewers.plan(session_id, viewer)
            ids = await watch_channels(self._media, plan, may_stop=self._viewers_may_stop)
            viewers.commit(plan, ids, self._clock())
            # He opens his ends when he gets the answer; see :meth:`bridge_operator`.
            self._media.subscriber_ready(plan.viewer_media_id)
            offer, status = await pull_video(
                self._media, plan.viewer_media_id, plan.robot_media_id
            )
            if offer is not None:
                viewers.expect_video_answer(plan)
        await self.serve_robots()
        return BridgeAnswer(
            channels=ids,
            video_offer=offer,
            video_status=status,
            video_reason=self._registry.video_reason(plan.viewer_media_id),
        )

    async def serve_robots(self) -> None:
        """Open the channels of robots that are watched but not driven."""
        for session in self._registry.viewers.unserved():
            async with self._effects.bridging(session.session_id):
                await self._serve(session)

    async def _serve(self, session: Session) -> None:
        robot_media_id = session.identity.media_id
        try:
            ids = await open_for_viewers(self._media, robot_media_id)
        except MediaError:
            return  # the robot is leaving, or the next sweep tries again
        effects = self._registry.viewers.serve(session.session_id, ids, self._clock())
        if effects is None:
            effects = [_closing(robot_media_id, ids)]
        await self._effects.carry_out(effects)

    async def _open_channels(self, plan: BridgePlan) -> ChannelIds:
        bridges = self._registry.bridges
        committed = False
        robot_ids = operator_ids = ChannelIds()
        try:
            robot_ids, operator_ids = await open_channels(self._media, plan)
            effects = bridges.commit(
                plan, robot_ids=robot_ids, operator_ids=operator_ids, now_s=self._clock()
            )
            committed = True
        finally:
            if not committed:
                await self._effects.carry_out(
                    [
                        *bridges.abort(plan),
                        _closing(plan.robot_media_id, robot_ids),
                        _closing(plan.operator_media_id, operator_ids),
                    ]
                )
        await self._effects.carry_out(effects)
        return operator_ids


def _closing(media_id: str, ids: ChannelIds) -> CloseChannels:
    streams = tuple(stream for stream in ids.by_label().values() if stream is not None)
    return CloseChannels(media_id=media_id, stream_ids=streams)
