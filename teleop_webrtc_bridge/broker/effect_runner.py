"""The effect runner: carries out the registry's decisions."""

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
from collections.abc import Iterable
import logging
from typing import Final

from teleop_webrtc_bridge.broker.access.audit import Audit
from teleop_webrtc_bridge.broker.media.backend import Media, MediaError
from teleop_webrtc_bridge.broker.registry.sessions import (
    CloseChannels,
    CloseMedia,
    Effect,
    SessionState,
    SnapshotChanged,
    StateChanged,
)

__all__ = ['EffectRunner']

CLOSE_TIMEOUT_S: Final = 5.0

_log = logging.getLogger(__name__)


class EffectRunner:
    """Closes media, writes the log and the audit trail, and owns the held heartbeats."""

    def __init__(self, media: Media, audit: Audit) -> None:
        self._media = media
        self._audit = audit
        self._polls: dict[str, asyncio.Event] = {}

    async def carry_out(self, effects: Iterable[Effect]) -> None:
        """Answer held heartbeats and log at once; then close media concurrently."""
        effects = list(effects)
        reasons = {
            effect.session_id: effect.reason.value
            for effect in effects
            if isinstance(effect, StateChanged)
        }
        async with asyncio.TaskGroup() as closing:
            for effect in effects:
                match effect:
                    case CloseMedia():
                        self._audit.left(effect.media_id, reasons)
                        closing.create_task(self.close_session(effect.media_id))
                    case CloseChannels():
                        closing.create_task(self.close_channels(effect))
                    case SnapshotChanged():
                        self._wake(effect.session_id)
                    case StateChanged():
                        self._note_state(effect)

    async def close_session(self, media_id: str) -> None:
        """Close a peer connection; a failure is only logged."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._media.close_session(media_id)
        except (MediaError, TimeoutError) as error:
            _log.warning('event=media_close_failed media=%s error=%r', media_id, error)

    async def close_channels(self, channels: CloseChannels) -> None:
        """Close channel ends; a failure is only logged."""
        media_id, stream_ids = channels.media_id, channels.stream_ids
        if not stream_ids:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._media.close_data_channels(media_id, stream_ids)
        except (MediaError, TimeoutError) as error:
            _log.warning('event=channel_close_failed media=%s error=%r', media_id, error)

    # --- held heartbeats -----------------------------------------------------------------------

    async def hold(self, session_id: str, timeout_s: float) -> None:
        """Hold a heartbeat until there is news for its session, or until the timeout."""
        poll = asyncio.Event()
        self._wake(session_id)  # a robot that asks again does not wait for its older request
        self._polls[session_id] = poll
        try:
            async with asyncio.timeout(timeout_s):
                await poll.wait()
        except TimeoutError:
            pass
        finally:
            if self._polls.get(session_id) is poll:
                del self._polls[session_id]

    def wake_all(self) -> None:
        """Release all held heartbeats, so that they are answered."""
        for session_id in list(self._polls):
            self._wake(session_id)

    def _wake(self, session_id: str) -> None:
        poll = self._polls.pop(session_id, None)
        if poll is not None:
            poll.set()

    def _note_state(self, change: StateChanged) -> None:
        _log.info(
            'event=session_%s session=%s robot_id=%r operator=%r reason=%s',
            change.state.value,
            change.session_id,
            change.robot_id,
            None if change.operator is None else str(change.operator),
            change.reason.value,
        )
        if change.state is SessionState.DISCONNECTED:
            self._wake(change.session_id)
