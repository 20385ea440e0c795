"""Calls to the media backend, each with a time-out: a backend that hangs is one that failed."""

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
from collections.abc import Sequence
import logging
from typing import Final

from teleop_webrtc_bridge.broker.media.backend import Media, MediaError, MediaSession
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['close_channels', 'close_session', 'new_session', 'renegotiate']

NEW_SESSION_TIMEOUT_S: Final = 15.0
"""Gathering candidates takes up to 10 s."""
RENEGOTIATE_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 5.0

_log = logging.getLogger(__name__)


async def new_session(
    media: Media,
    sdp_offer: str,
    *,
    beside: str | None = None,
    video_codecs: Sequence[VideoCodec] = (),
) -> MediaSession:
    """
    Answer an offer.

    :param beside: An operator's or viewer's: the media session of their robot.
    :param video_codecs: A robot's: those it can change between while it sends.
    :raises MediaError: The backend refuses it, fails, or does not answer in 15 s.
    """
    try:
        async with asyncio.timeout(NEW_SESSION_TIMEOUT_S):
            return await media.new_session(sdp_offer, beside=beside, video_codecs=video_codecs)
    except TimeoutError as error:
        raise MediaError('a new media session took too long') from error


async def renegotiate(
    media: Media, media_id: str, sdp_answer: str
) -> tuple[VideoCodec, ...] | None:
    """
    Take an answer.

    :returns: The codecs that the receiver takes; ``None``: that is not known.
    :raises MediaError: The backend refuses it, fails, or does not answer in 5 s.
    """
    try:
        async with asyncio.timeout(RENEGOTIATE_TIMEOUT_S):
            return await media.renegotiate(media_id, sdp_answer)
    except TimeoutError as error:
        raise MediaError('renegotiation took too long') from error


async def close_session(media: Media, media_id: str) -> None:
    """Close a peer connection; that it fails is logged, there is nobody to tell."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await media.close_session(media_id)
    except (MediaError, TimeoutError) as error:
        _log.warning('event=media_close_failed media=%s error=%r', media_id, error)


async def close_channels(media: Media, media_id: str, stream_ids: Sequence[int]) -> None:
    """Close channel ends; that it fails is logged, there is nobody to tell."""
    if not stream_ids:
        return
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await media.close_data_channels(media_id, stream_ids)
    except (MediaError, TimeoutError) as error:
        _log.warning('event=channel_close_failed media=%s error=%r', media_id, error)
