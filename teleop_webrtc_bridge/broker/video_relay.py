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

"""A robot's video, forwarded packet by packet to whoever watches."""

from __future__ import annotations

import logging
import time
from typing import Final

from aiortc import RTCRtpReceiver, RTCRtpTransceiver
from aiortc.rtp import RtpPacket

from teleop_webrtc_bridge.aiortc_support.internals import VideoEgress, VideoIngress

__all__ = ['VideoRelay']

KEYFRAME_PERIOD_S: Final = 0.4
"""Keyframes are large: no more of them than this, however many viewers ask."""

_logger = logging.getLogger(__name__)


class VideoRelay:
    """
    One published video track and its viewers.

    :param receiver: The robot's track, from the ``track`` event.
    """

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._ingress = VideoIngress(receiver, self._forward)
        self._viewers: dict[str, VideoEgress] = {}
        self._keyframe_asked_s = float('-inf')

    def add_viewer(self, media_id: str, transceiver: RTCRtpTransceiver) -> None:
        """Send the video to a media session as well."""
        self._viewers[media_id] = VideoEgress(transceiver, self._ingress, self.request_keyframe)

    def remove_viewer(self, media_id: str) -> None:
        self._viewers.pop(media_id, None)

    async def request_keyframe(self) -> None:
        """Ask the robot for a keyframe, unless that was done just now."""
        now = time.monotonic()
        if now - self._keyframe_asked_s >= KEYFRAME_PERIOD_S:
            self._keyframe_asked_s = now
            await self._ingress.request_keyframe()

    async def _forward(self, packet: RtpPacket) -> None:
        for media_id, viewer in list(self._viewers.items()):
            try:
                await viewer.forward(packet)
            except Exception:
                # An exception in here would close the robot's connection: lose the viewer instead.
                _logger.exception('event=viewer_lost media_id=%s', media_id)
                self.remove_viewer(media_id)
