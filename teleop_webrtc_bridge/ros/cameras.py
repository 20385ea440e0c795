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

"""The robot's cameras: which are shown, and whether somebody can drive by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from teleop_webrtc_bridge.ros.camera import Camera

__all__ = ['Cameras']

LINGER_S: Final = 5.0
"""How long images stay subscribed when nobody watches: who was cut off soon comes back."""


class Cameras:
    """
    Owned by the thread that runs the node's callbacks; every ``now`` as in ``time.monotonic``.

    :param cameras: At least one; the first is shown.
    :param warn: Tells the robot's owner.
    """

    def __init__(self, cameras: Sequence[Camera], warn: Callable[[str], None]) -> None:
        self.all = tuple(cameras)
        self._shown = self.all[:1]
        self._warn = warn
        self._watched_s = float('-inf')
        self._silent: frozenset[str] = frozenset()

    def follow(self, now: float, fps: float) -> None:
        """
        Subscribe what is watched.

        :param fps: Frames a second that are wanted; 0: nobody watches.
        """
        if fps > 0.0:
            self._watched_s = now
            for camera in self._shown:
                camera.open(now)
        elif now - self._watched_s > LINGER_S:
            for camera in self._shown:
                camera.close()
        for camera in self._shown:
            camera.want(fps)
        self._tell_silent(now)

    def is_blind(self, now: float) -> bool:
        """Return whether a camera that is shown has no picture of now to drive by."""
        return any(camera.is_stalled(now) for camera in self._shown)

    def keep_alive(self, now: float) -> None:
        """Send something while nobody watches: media backends give up tracks that are silent."""
        self._shown[0].keep_alive(now)

    def watch_graph(self) -> None:
        """Follow the publishers."""
        for camera in self.all:
            camera.watch_graph()

    def free(self) -> None:
        for camera in self.all:
            camera.free()

    def _tell_silent(self, now: float) -> None:
        silent = {camera.topic for camera in self._shown if camera.is_silent(now)}
        for topic in sorted(silent - self._silent):
            self._warn(f'event=camera_stalled topic={topic}')
        self._silent = frozenset(silent)
