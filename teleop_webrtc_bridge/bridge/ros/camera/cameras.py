"""
The robot's cameras: which are selected, which are shown, and whether the operator can see.

The node does not subscribe to cameras that are not shown, so a newly selected camera has no image.
Until its first image, but no longer than the time after which a camera is stalled, the cameras
before stay subscribed and shown. Then the selected ones are shown, grey if they have no image.
"""

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

from collections.abc import Callable, Sequence
from typing import Final

from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.camera.intake import STALLED_S

__all__ = ['Cameras']

LINGER_S: Final = 5.0
"""Time to stay subscribed when nobody watches: a disconnected viewer usually reconnects."""


class Cameras:
    """
    All cameras of the robot; owned by the thread of the node's callbacks.

    Every ``now`` is in seconds of ``time.monotonic``.

    :param cameras: At least one, with different names; the first one is shown.
    :param thread: The image thread.
    :param on_show: Called by the image thread with the names of the cameras that are to be shown,
        when their first frames are in the shared memory.
    :param warn: Logs a warning.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        *,
        thread: ImageThread,
        on_show: Callable[[tuple[str, ...]], None],
        warn: Callable[[str], None],
    ) -> None:
        self.all = tuple(cameras)
        self._shown = self.all[:1]
        self._selected = self._shown
        self._selected_s = float('-inf')
        self._thread = thread
        self._on_show = on_show
        self._warn = warn
        self._fps = 0.0
        self._watched_s = float('-inf')
        self._silent: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(camera.settings.name for camera in self.all)

    @property
    def is_changing(self) -> bool:
        """Whether the selected cameras are not shown yet."""
        return self._selected != self._shown

    @property
    def are_closed(self) -> bool:
        """Whether nobody watches any camera."""
        return not any(camera.is_open for camera in self.all)

    @property
    def has_any(self) -> bool:
        """Whether there is a camera: a publisher was seen, or ``cameras`` names one."""
        return any(camera.exists for camera in self.all)

    def is_selected(self, camera: Camera) -> bool:
        return camera in self._selected

    def follow(self, now: float, fps: float, selected: Sequence[str]) -> None:
        """
        Subscribe to the watched cameras, and show the selected ones as soon as possible.

        :param fps: Wanted frame rate; 0: nobody watches.
        :param selected: Names of cameras, from the left; at least one.
        """
        by_name = {camera.settings.name: camera for camera in self.all}
        wanted = tuple(by_name[name] for name in selected)
        if wanted != self._selected:
            self._selected, self._selected_s = wanted, now
        self._fps = fps
        if fps > 0.0:
            self._watched_s = now
        self._subscribe(now)
        self._change(now)
        self._blank_stalled(now)
        self._tell_silent(now)

    def is_blind(self, now: float) -> bool:
        """Return whether a camera that is shown has no current image to drive by."""
        return any(camera.is_stalled(now) for camera in self._shown)

    def faults(self, now: float) -> dict[str, str]:
        """Return what is wrong with the cameras that are shown, by their names."""
        remarks = {camera.settings.name: camera.remark(now) for camera in self._shown}
        return {name: remark for name, remark in remarks.items() if remark}

    def keep_alive(self, now: float) -> None:
        """Send a grey frame of each camera that is shown."""
        for camera in self._shown:
            camera.keep_alive(now)

    def watch_graph(self) -> None:
        """Follow the publishers."""
        for camera in self.all:
            camera.watch_graph()

    def close(self) -> None:
        """Unsubscribe from all cameras."""
        for camera in self.all:
            camera.close()

    def free(self) -> None:
        """Free the memory, when all are closed and the image thread has ended."""
        for camera in self.all:
            camera.free()

    def _subscribe(self, now: float) -> None:
        wanted = {*self._shown, *self._selected}
        lingers = now - self._watched_s <= LINGER_S
        for camera in self.all:
            if camera not in wanted or not (self._fps > 0.0 or lingers):
                camera.rest(now)
                continue
            if self._fps > 0.0:
                camera.open(now)
            camera.want(self._fps)

    def _change(self, now: float) -> None:
        if not self.is_changing:
            return
        missing = [camera for camera in self._selected if not camera.has_picture(now)]
        waits = self._fps > 0.0 and now - self._selected_s < STALLED_S
        if missing and waits:
            return
        for camera in missing:
            # Otherwise its last image would be seen, which may be old.
            camera.blank(now, anew=True)
        self._shown = self._selected
        names = tuple(camera.settings.name for camera in self._shown)
        self._thread.request(lambda: self._on_show(names))
        self._subscribe(now)

    def _blank_stalled(self, now: float) -> None:
        """Next to a moving picture, a frozen one looks like a current one."""
        for camera in self._shown:
            if camera.is_stalled(now) and (camera.is_grey or len(self._shown) > 1):
                camera.blank(now)

    def _tell_silent(self, now: float) -> None:
        silent = {camera.topic for camera in self._shown if camera.is_silent(now)}
        for topic in sorted(silent - self._silent):
            self._warn(f'event=camera_stalled topic={topic}')
        self._silent = frozenset(silent)
