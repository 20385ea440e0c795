"""Opening the data channels between a robot and its operator, both ends of each."""

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
from collections.abc import Iterator
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.broker.media.backend import (
    DataChannelRequest,
    Media,
    MediaError,
    MediaSessionGone,
    NoPublishedTrack,
)
from teleop_webrtc_bridge.broker.media_calls import close_channels
from teleop_webrtc_bridge.broker.registry.sessions import BridgePlan, WatchPlan
from teleop_webrtc_bridge.core.messages import (
    ChannelIds,
    CHANNELS,
    CMD_UNRELIABLE,
    MAP_UNRELIABLE,
    STATE_RELIABLE,
    STATE_RELIABLE_BACK,
)

__all__ = [
    'open_channels',
    'open_for_viewers',
    'pull_video',
    'wait_until_connected',
    'watch_channels',
]

CONNECT_WAIT_S: Final = 3.0
CHANNELS_TIMEOUT_S: Final = 5.0
VIDEO_TIMEOUT_S: Final = 5.0


async def wait_until_connected(media: Media, *media_ids: str) -> None:
    """
    Wait for peer connections.

    :raises MediaSessionGone: One is gone, or does not connect in 3 s.
    """
    try:
        async with asyncio.timeout(CONNECT_WAIT_S):
            for media_id in media_ids:
                await media.connected(media_id)
    except TimeoutError:
        raise MediaSessionGone('not connected') from None


async def open_channels(media: Media, plan: BridgePlan) -> tuple[ChannelIds, ChannelIds]:
    """
    Close the older channels of a plan and open new ones; after a failure none is open.

    :returns: The ids at the robot and those at the operator.
    :raises MediaSessionGone: A peer connection is gone.
    :raises MediaError: The backend failed, or did not answer in 5 s.
    """
    opened: dict[str, dict[str, int]] = {plan.robot_media_id: {}, plan.operator_media_id: {}}
    try:
        async with asyncio.timeout(CHANNELS_TIMEOUT_S):
            for older in plan.close:
                await media.close_data_channels(older.media_id, older.stream_ids)
            for media_id, requests in _steps(plan):
                opened[media_id] |= await media.new_data_channels(media_id, requests)
        return _channel_ids(opened[plan.robot_media_id]), _channel_ids(
            opened[plan.operator_media_id]
        )
    except BaseException as error:
        for media_id, streams in opened.items():
            await close_channels(media, media_id, tuple(streams.values()))
        if isinstance(error, TimeoutError):
            raise MediaError('opening channels took too long') from error
        raise


async def open_for_viewers(media: Media, media_id: str) -> ChannelIds:
    """
    Open a robot's channels for viewers alone.

    :raises MediaError: The backend failed, or did not answer in 5 s.
    """
    try:
        async with asyncio.timeout(CHANNELS_TIMEOUT_S):
            opened = await media.open_for_viewers(media_id)
    except TimeoutError as error:
        raise MediaError('opening channels took too long') from error
    return ChannelIds(
        state=opened[STATE_RELIABLE],
        state_back=opened[STATE_RELIABLE_BACK],
        map=opened[MAP_UNRELIABLE],
    )


async def watch_channels(media: Media, plan: WatchPlan, *, may_stop: bool) -> ChannelIds:
    """
    Close a viewer's older channels and open new ones.

    :param may_stop: Whether the viewer's E-STOP reaches the robot.
    :raises MediaError: A peer connection is gone, the backend failed or did not answer in 5 s.
    """
    await close_channels(media, plan.close.media_id, plan.close.stream_ids)
    try:
        async with asyncio.timeout(CHANNELS_TIMEOUT_S):
            return _channel_ids(
                await media.watch_channels(
                    plan.viewer_media_id,
                    publisher=plan.robot_media_id,
                    by=plan.viewer,
                    may_stop=may_stop,
                )
            )
    except TimeoutError as error:
        raise MediaError('opening channels took too long') from error


async def pull_video(media: Media, receiver: str, publisher: str) -> tuple[str | None, str]:
    """
    Ask for the robot's video; trouble with it never keeps an operator from the controls.

    :returns: ``video_offer`` and ``video_status`` (docs/protocol.md §2).
    """
    try:
        async with asyncio.timeout(VIDEO_TIMEOUT_S):
            offer = await media.pull_video(receiver, publisher=publisher)
    except NoPublishedTrack:
        return None, 'no_published_track'
    except (MediaError, TimeoutError):
        return None, 'pull_error'
    return offer, 'ok'


def _steps(plan: BridgePlan) -> Iterator[tuple[str, list[DataChannelRequest]]]:
    """Yield who opens which ends: of either direction the publisher first."""
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
    missing = {channel.label for channel in CHANNELS} - opened.keys()
    if missing:
        raise MediaError(f'the media backend did not open {sorted(missing)}')
    return ChannelIds(
        cmd=opened[CMD_UNRELIABLE],
        state=opened[STATE_RELIABLE],
        state_back=opened[STATE_RELIABLE_BACK],
        map=opened[MAP_UNRELIABLE],
    )
