"""Carrying out what the registry decides."""

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

from teleop_webrtc_bridge.broker import media_calls
from teleop_webrtc_bridge.broker.access.audit import Audit
from teleop_webrtc_bridge.broker.media.backend import Media
from teleop_webrtc_bridge.broker.registry.sessions import (
    CloseChannels,
    CloseMedia,
    Effect,
    SessionState,
    SnapshotChanged,
    StateChanged,
)

__all__ = ['Effects']

_log = logging.getLogger(__name__)


class Effects:
    """Owns the held heartbeats, and the locks of sessions whose channels are being opened."""

    def __init__(self, media: Media, audit: Audit) -> None:
        self._media = media
        self._audit = audit
        self._bridging: dict[str, asyncio.Lock] = {}
        self._polls: dict[str, asyncio.Event] = {}

    def bridging(self, session_id: str) -> asyncio.Lock:
        """Return the lock that a session's channels are opened under."""
        return self._bridging.setdefault(session_id, asyncio.Lock())

    async def carry_out(self, effects: Iterable[Effect]) -> None:
        """Tell the robots and the log at once; then close, all at the same time."""
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
                        closing.create_task(
                            media_calls.close_session(self._media, effect.media_id)
                        )
                    case CloseChannels():
                        closing.create_task(
                            media_calls.close_channels(
                                self._media, effect.media_id, effect.stream_ids
                            )
                        )
                    case SnapshotChanged():
                        self.wake(effect.session_id)
                    case StateChanged():
                        self._note_state(effect)

    async def hold(self, session_id: str, seconds: float) -> None:
        """Hold a heartbeat until its session is woken, for some time at most."""
        poll = asyncio.Event()
        self.wake(session_id)  # a robot that asks again no longer listens to its older request
        self._polls[session_id] = poll
        try:
            async with asyncio.timeout(seconds):
                await poll.wait()
        except TimeoutError:
            pass
        finally:
            if self._polls.get(session_id) is poll:
                del self._polls[session_id]

    def wake(self, session_id: str) -> None:
        """Have a held heartbeat answered."""
        poll = self._polls.pop(session_id, None)
        if poll is not None:
            poll.set()

    def wake_all(self) -> None:
        for session_id in list(self._polls):
            self.wake(session_id)

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
            self.wake(change.session_id)
            self._bridging.pop(change.session_id, None)
