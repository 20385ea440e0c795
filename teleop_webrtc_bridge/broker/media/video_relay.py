"""The video of one robot, forwarded packet by packet to its operator and viewers."""

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
from dataclasses import dataclass
import functools
import logging
import time
from typing import Final

from aiortc import RTCRtpReceiver, RTCRtpTransceiver
from aiortc.rtp import RtpPacket

from teleop_webrtc_bridge.aiortc_support.feedback import Feedback, take_feedback
from teleop_webrtc_bridge.aiortc_support.forwarding import VideoEgress, VideoIngress

__all__ = ['VideoRelay']

KEYFRAME_PERIOD_S: Final = 1.0
"""Shortest time between keyframes, which are large; the first request is served at once."""
VIEWERS_KEYFRAME_PERIOD_S: Final = 2.0
"""The same for viewers while somebody drives, so that their bad links do not cost the driver."""
KEYFRAME_ARRIVES_S: Final = 0.4
"""A request this soon after another one is served by the same keyframe."""
FEEDBACK_PERIOD_S: Final = 0.05
"""Receivers report a few times a second; more frequent reports are ignored."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Viewer:
    egress: VideoEgress
    only_watches: bool
    reported_s: dict[type[Feedback], float]
    """When a report of each kind was last forwarded, in seconds of ``time.monotonic``."""


class VideoRelay:
    """
    One published video track and its receivers.

    The robot adapts its video to its receivers' reports. While somebody drives, only the
    operator's reports count: a viewer on a bad link must not degrade the driver's video.

    :param receiver: The robot's track, from the ``track`` event.
    """

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._ingress = VideoIngress(receiver, self._forward)
        self._viewers: dict[str, _Viewer] = {}
        self._keyframe_asked_s = float('-inf')
        self._keyframe_due_s = float('inf')
        self._keyframe_timer: asyncio.TimerHandle | None = None
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def has_begun(self) -> bool:
        """Whether a packet has arrived."""
        return self._ingress.packets > 0

    def add_viewer(
        self, media_id: str, transceiver: RTCRtpTransceiver, *, only_watches: bool
    ) -> None:
        """
        Forward the video to a media session too.

        :param only_watches: Whether it is a viewer's, not the operator's.
        """
        request_keyframe = functools.partial(self.request_keyframe, only_watches=only_watches)
        egress = VideoEgress(transceiver, self._ingress, request_keyframe)
        self._viewers[media_id] = _Viewer(egress=egress, only_watches=only_watches, reported_s={})
        take_feedback(transceiver.sender, functools.partial(self._on_feedback, media_id))

    def remove_viewer(self, media_id: str) -> None:
        self._viewers.pop(media_id, None)

    @property
    def _is_driven(self) -> bool:
        return not all(viewer.only_watches for viewer in self._viewers.values())

    async def request_keyframe(self, *, only_watches: bool = False, is_new: bool = False) -> None:
        """
        Request a keyframe from the robot as soon as the shortest period allows.

        :param is_new: A keyframe on its way may arrive before this receiver is ready for it.
        """
        now = time.monotonic()
        yields = only_watches and self._is_driven
        due_s = self._keyframe_asked_s + (
            VIEWERS_KEYFRAME_PERIOD_S if yields else KEYFRAME_PERIOD_S
        )
        if now >= due_s:
            await self._ask_for_keyframe(now)
        elif (is_new or now - self._keyframe_asked_s >= KEYFRAME_ARRIVES_S) and (
            due_s < self._keyframe_due_s
        ):
            self._cancel_timer()
            self._keyframe_due_s = due_s
            loop = asyncio.get_running_loop()
            self._keyframe_timer = loop.call_later(due_s - now, self._on_keyframe_due)

    def _on_keyframe_due(self) -> None:
        self._keep(asyncio.create_task(self._ask_for_keyframe(time.monotonic())))

    async def _ask_for_keyframe(self, now: float) -> None:
        self._cancel_timer()
        self._keyframe_asked_s = now
        await self._ingress.request_keyframe()

    def _cancel_timer(self) -> None:
        if self._keyframe_timer is not None:
            self._keyframe_timer.cancel()
        self._keyframe_timer, self._keyframe_due_s = None, float('inf')

    def close(self) -> None:
        """Stop requesting keyframes: the robot is gone."""
        self._cancel_timer()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    def _on_feedback(self, media_id: str, feedback: Feedback) -> None:
        viewer = self._viewers.get(media_id)
        if viewer is None or (viewer.only_watches and self._is_driven):
            return
        now, kind = time.monotonic(), type(feedback)
        if now - viewer.reported_s.get(kind, float('-inf')) < FEEDBACK_PERIOD_S:
            return
        viewer.reported_s[kind] = now
        self._keep(asyncio.create_task(self._ingress.pass_on(feedback)))

    async def _forward(self, packet: RtpPacket) -> None:
        for media_id, viewer in list(self._viewers.items()):
            try:
                await viewer.egress.forward(packet)
            except Exception:
                # An exception here would close the robot's connection: drop the viewer instead.
                _logger.exception('event=viewer_lost media_id=%s', media_id)
                self.remove_viewer(media_id)
