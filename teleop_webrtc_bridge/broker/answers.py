"""What operators and viewers get for joining a session."""

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

from teleop_webrtc_bridge.broker.media.backend import MediaSession
from teleop_webrtc_bridge.broker.registry.sessions import Session
from teleop_webrtc_bridge.broker.split_sessions import Split
from teleop_webrtc_bridge.core.messages import ChannelIds

__all__ = ['BridgeAnswer', 'JoinAnswer']


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAnswer:
    """A new peer connection, and the session that its peer is part of."""

    media: MediaSession
    session: Session
    role: str
    """``operator`` or ``viewer``."""
    may_stop: bool | None = None
    """Whether a viewer's E-STOP reaches the robot; ``None``: not a viewer."""
    split: Split | None = None
    """What the robot's session is a half of."""
    video_reason: str | None = None
    """Why there is no picture, for people; ``None``: there should be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeAnswer:
    """What a peer needs to open its ends."""

    channels: ChannelIds
    video_offer: str | None
    video_status: str
    video_reason: str | None = None
    """As :attr:`JoinAnswer.video_reason`."""
