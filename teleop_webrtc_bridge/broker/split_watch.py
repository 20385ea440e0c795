"""Looking for robots that have two sessions, and saying so once."""

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
import logging

from teleop_webrtc_bridge.broker.media.backend import Arrived, CountsArrivals, Media
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.split_sessions import ADVICE, Split, SplitSessions

__all__ = ['SplitWatch']

_log = logging.getLogger(__name__)


class SplitWatch:
    """
    Compares what the registry and the media backend know of the robots.

    :param clock: Monotonic seconds.
    """

    def __init__(self, media: Media, registry: Registry, clock: Callable[[], float]) -> None:
        self._media = media
        self._registry = registry
        self._clock = clock
        self._splits = SplitSessions()

    def of(self, session_id: str) -> Split | None:
        """Return what a session is a half of."""
        return self._splits.of(session_id)

    def look(self) -> None:
        """Compare all sessions."""
        sessions = self._registry.sessions()
        arrived: dict[str, Arrived] = {}
        if isinstance(self._media, CountsArrivals):
            for session in sessions:
                if session.identity.instance_id is not None:
                    continue  # it is not looked at
                found = self._media.arrived(session.identity.media_id)
                if found is not None:
                    arrived[session.identity.media_id] = found
        for split in self._splits.look(sessions, arrived, self._clock()):
            _log.warning(
                'event=split_session video_session=%s video_robot_id=%r data_session=%s'
                ' data_robot_id=%r hint="%s"',
                *(split.video.session_id, split.video.robot_id),
                *(split.data.session_id, split.data.robot_id, ADVICE),
            )
