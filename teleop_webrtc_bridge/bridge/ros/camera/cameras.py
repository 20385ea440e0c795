"""
The robot's cameras: which are selected, which are shown, and whether somebody can drive by them.

A camera that is not shown is not subscribed, so one that is selected has no picture yet. Until it
has one, but no longer than a camera may be silent, the present ones are subscribed, shown and
judged; then the selected ones are, grey where there is no picture of now.
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
"""How long images stay subscribed when nobody watches: who was cut off soon comes back."""


class Cameras:
    """
    Owned by the thread that runs the node's callbacks; every ``now`` as in ``time.monotonic``.

    :param cameras: At least one, each with a name of its own; the first is shown.
    :param thread: Takes their images.
    :param on_show: Told the names of the cameras that the picture is to consist of, by the thread
        that takes images: what they are to show at first is there then.
    :param warn: Tells the robot's owner.
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
        """Whether cameras are selected that are not shown yet."""
        return self._selected != self._shown

    @property
    def are_closed(self) -> bool:
        """Whether nobody watches any, so that whether the operator is blind does not change."""
        return not any(camera.is_open for camera in self.all)

    @property
    def has_any(self) -> bool:
        """Whether there is a camera at all, as far as anybody has shown or said."""
        return any(camera.exists for camera in self.all)

    def is_selected(self, camera: Camera) -> bool:
        return camera in self._selected

    def follow(self, now: float, fps: float, selected: Sequence[str]) -> None:
        """
        Subscribe what is watched, and show what is selected as soon as that can be.

        :param fps: Frames a second that are wanted; 0: nobody watches.
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
        """Return whether a camera that is shown has no picture of now to drive by."""
        return any(camera.is_stalled(now) for camera in self._shown)

    def faults(self, now: float) -> dict[str, str]:
        """Return what is not as it should be with cameras that are shown, by their names."""
        remarks = {camera.settings.name: camera.remark(now) for camera in self._shown}
        return {name: remark for name, remark in remarks.items() if remark}

    def keep_alive(self, now: float) -> None:
        """Send something while nobody watches: media backends give up tracks that are silent."""
        for camera in self._shown:
            camera.keep_alive(now)

    def watch_graph(self) -> None:
        """Follow the publishers."""
        for camera in self.all:
            camera.watch_graph()

    def close(self) -> None:
        """End all subscriptions."""
        for camera in self.all:
            camera.close()

    def free(self) -> None:
        """Give the memory back, when all are closed and the thread that takes images has ended."""
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
            # Else its last picture would be seen, of whenever that was.
            camera.blank(now, anew=True)
        self._shown = self._selected
        names = tuple(camera.settings.name for camera in self._shown)
        self._thread.request(lambda: self._on_show(names))
        self._subscribe(now)

    def _blank_stalled(self, now: float) -> None:
        """Beside a picture that moves, one that stands still looks as if it were of now."""
        for camera in self._shown:
            if camera.is_stalled(now) and (camera.is_grey or len(self._shown) > 1):
                camera.blank(now)

    def _tell_silent(self, now: float) -> None:
        silent = {camera.topic for camera in self._shown if camera.is_silent(now)}
        for topic in sorted(silent - self._silent):
            self._warn(f'event=camera_stalled topic={topic}')
        self._silent = frozenset(silent)
