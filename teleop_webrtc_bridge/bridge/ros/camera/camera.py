"""
The robot's cameras: which are selected, which are shown, and whether the operator can see.

:class:`Camera` is one of them: its topic, its intake, and the shared memory for its images.

The node does not subscribe to cameras that are not shown, so a newly selected camera has no image.
Until its first image, or until a camera counts as stalled, the previous cameras stay subscribed
and shown. Then the selected ones are shown, grey if they have no image.
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

from collections import Counter
from collections.abc import Callable, Sequence
import enum
import functools
import os
import time
from typing import Any, Final

from rclpy.node import Node

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot, FrameWriter
from teleop_webrtc_bridge.bridge.link.packet_ring import create_ring, PacketWriter
from teleop_webrtc_bridge.bridge.ros.camera.image_intake import ImageIntake
from teleop_webrtc_bridge.bridge.ros.camera.image_subscription import ImageSubscription
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.camera.intake import STALLED_S, WarnOnce
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl
from teleop_webrtc_bridge.bridge.ros.camera.stream_intake import SetsWatch, StreamIntake
from teleop_webrtc_bridge.bridge.ros.parameters.table import CameraSettings
from teleop_webrtc_bridge.core.configuration import CameraKind

__all__ = ['Camera', 'Cameras', 'StampFault', 'StampWatch']

BLANK_S: Final = 0.5
"""How long grey is repeated, because a single frame may be lost or buffered."""
LINGER_S: Final = 5.0
"""Time to stay subscribed when nobody watches: a disconnected viewer usually reconnects."""
MAX_OFF_S: Final = 1.0
"""Largest difference between a stamp and the node's clock without a warning."""
RECENT_S: Final = 1.0
"""Time for which the newest image represents the stamps."""


class StampFault(enum.Enum):
    """A fault of the stamps; the value is part of the message."""

    ZERO = 'are stamped zero'
    BEHIND = "behind the node's clock"
    AHEAD = "ahead of the node's clock"


class StampWatch:
    """
    Compares the stamp of each image with the node's clock at its arrival.

    Written by the image thread; other threads may read.
    """

    def __init__(self) -> None:
        self._newest: tuple[float, StampFault | None, float] = (float('-inf'), None, 0.0)
        """Arrival, fault, age."""

    def note(self, stamp_ns: int, age_s: float, now: float) -> None:
        """
        Check the stamp of an image.

        :param stamp_ns: Its stamp.
        :param age_s: The node's time minus the stamp, in seconds.
        :param now: Its arrival, in seconds of any steady clock.
        """
        fault = None
        if stamp_ns == 0:
            fault = StampFault.ZERO
        elif abs(age_s) > MAX_OFF_S:
            fault = StampFault.BEHIND if age_s > 0 else StampFault.AHEAD
        # One assignment, so that readers never see a mixture.
        self._newest = now, fault, age_s

    def fault(self, now: float) -> StampFault | None:
        """Return the fault of the stamps; ``None``: there is none, or there are no images."""
        arrival_s, fault, _ = self._newest
        return fault if now - arrival_s <= RECENT_S else None

    def remark(self, now: float, *, simulated: bool) -> str:
        """
        Return the fault as a text; empty: there is none.

        :param now: Seconds of the same clock.
        :param simulated: The node's ``use_sim_time``.
        """
        arrival_s, fault, age_s = self._newest
        if fault is None or now - arrival_s > RECENT_S:
            return ''
        if fault is StampFault.ZERO:
            return 'images are stamped zero: the camera must set header.stamp'
        return (
            f'images are stamped {_duration(abs(age_s))} {fault.value} (use_sim_time: '
            f'{str(simulated).lower()}): they are late, or the clocks or use_sim_time differ'
        )


def _duration(seconds: float) -> str:
    """Return a duration as a text that does not change with each image."""
    return f'{seconds:.0f} s' if seconds < 3600.0 else f'{seconds / 3600.0:.0f} h'


class Camera:
    """
    One camera; owned by the thread of the node's callbacks, while the image thread takes images.

    :param node: Subscribes to the topic.
    :param settings: The camera's configuration.
    :param thread: The image thread.
    :param wake: Descriptor of the eventfd that is raised for each image.
    :param on_image: Called by the image thread after each image, shown or not.
    :param warn: Logs a warning; called by both threads.
    :param rcl: Takes the images; ``None``: rclpy takes them.
    """

    def __init__(
        self,
        node: Node,
        settings: CameraSettings,
        *,
        thread: ImageThread,
        wake: int,
        on_image: Callable[[], None],
        warn: Callable[[str], None],
        rcl: Rcl | None,
    ) -> None:
        self.settings = settings
        is_coded = settings.configuration().kind is CameraKind.H264
        self.memory = create_ring() if is_coded else create_slot()
        """Descriptor of the shared memory that the WebRTC half reads."""
        self._node = node
        self._thread = thread
        self._on_image = on_image
        self._warn = warn
        self._writer: FrameWriter | PacketWriter
        self._intake: ImageIntake | StreamIntake
        self._stream: StreamIntake | None = None
        """The intake, if the camera encodes H.264 itself."""
        self._sets = SetsWatch()
        self._is_watched = False
        if is_coded:
            self._writer = PacketWriter(self.memory, wake)
            self._intake = self._stream = StreamIntake(self._writer, self._tell)
            self._stream.is_listening = True
        else:
            self._writer = FrameWriter(self.memory, wake)
            self._intake = ImageIntake(self._writer, warn)
        self._intake.expected = settings.is_named
        self._blank_s = float('-inf')
        self._stamps = StampWatch()
        self._warn_once = WarnOnce(warn)
        self._images = ImageSubscription(
            node,
            topic=settings.topic,
            transport=settings.transport,
            reliability=settings.reliability,
            thread=thread,
            memory=self._intake.memory,
            callback=self._accept,
            refused=lambda reason: self._intake.refuse(reason, time.monotonic()),
            rcl=rcl,
        )

    @property
    def topic(self) -> str:
        """The topic's full name, after remapping."""
        return self._images.topic

    @property
    def is_open(self) -> bool:
        """Whether the topic is subscribed to for viewers."""
        return self._is_watched

    @property
    def is_subscribed(self) -> bool:
        """Whether the topic is subscribed to at all: for viewers, or for parameter sets."""
        return self._images.is_open

    @property
    def reliability(self) -> str:
        """The reliability in force."""
        return self._images.reliability

    @property
    def exists(self) -> bool:
        """Whether the topic has had a publisher, or ``cameras`` names the camera."""
        return self._intake.expected

    @property
    def is_grey(self) -> bool:
        """Whether grey is shown instead of an image."""
        return self._intake.is_grey

    @property
    def counters(self) -> Counter[str]:
        return self._intake.counters

    def remark(self, now: float) -> str:
        """Return the fault of the images; empty: none."""
        stamps = self._stamps.remark(now, simulated=self._is_simulated())
        remarks = (self._intake.remark(now), stamps)
        return '; '.join(filter(None, remarks))

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults of the topic on the graph."""
        return self._images.faults

    def publisher_count(self) -> int:
        return self._images.publisher_count()

    def open(self, now: float) -> None:
        """Subscribe for viewers; ``now`` as for :meth:`is_stalled`."""
        if self._stream is not None and not self._is_watched:
            # Nobody has watched the pictures until now.
            self._thread.request(self._stream.forget)
            self._stream.is_listening = False
        self._is_watched = True
        self._images.open(now)

    def rest(self, now: float) -> None:
        """
        Unsubscribe because nobody watches, unless parameter sets are needed.

        The last image is then outdated.
        """
        was_watched, self._is_watched = self._is_watched, False
        self._intake.wanted_fps = 0.0
        if self._stream is not None:
            self._stream.is_listening = True
        if self._stream is not None and self._sets.needs(self._stream.sets_known_s):
            self._images.open(now, wants_history=True)
        else:
            self._images.close()
        if was_watched:
            self._thread.request(self._intake.forget)

    def close(self) -> None:
        """Unsubscribe."""
        self._is_watched = False
        self._images.close()

    def want(self, fps: float) -> None:
        """Set the frame rate, up to the configured one."""
        self._intake.wanted_fps = min(fps, self.settings.fps)

    def is_stalled(self, now: float) -> bool:
        """
        Return whether there is a camera, but no current image to drive by.

        :param now: Seconds of ``time.monotonic``.
        """
        return self._intake.is_stalled(now)

    def is_fresh(self, now: float) -> bool:
        """Return whether there is a current image; ``now`` as for :meth:`is_stalled`."""
        return self._intake.is_fresh(now)

    def has_picture(self, now: float) -> bool:
        """Return whether a current image can be shown."""
        return not self._intake.is_grey and self._intake.is_fresh(now)

    def is_silent(self, now: float) -> bool:
        """Return whether it is stalled, unless it was subscribed to just now."""
        return self.is_stalled(now) and self._images.open_for(now) > STALLED_S

    def keep_alive(self, now: float) -> None:
        """Send one grey frame."""
        self._thread.request(lambda: self._intake.keep_alive(now))

    def blank(self, now: float, *, anew: bool = False) -> None:
        """
        Send grey frames instead of an outdated image; to be called repeatedly.

        :param anew: The viewers may have seen something else before.
        """
        if anew or not self._intake.is_grey:
            self._blank_s = now
        if now - self._blank_s < BLANK_S:
            self.keep_alive(now)

    def watch_graph(self) -> None:
        """Follow the publishers of the topic."""
        self._images.follow_publishers()
        self._intake.expected |= self._images.publisher_count() > 0
        self._tell_stamps(time.monotonic())
        if self._stream is not None:
            gone_s = self._sets.look(self._images.publishers, time.monotonic())
            if gone_s is not None:
                self._thread.request(functools.partial(self._stream.forget_sets, gone_s))

    def _tell_stamps(self, now: float) -> None:
        fault = self._stamps.fault(now)
        if fault is not None:
            reason = self._stamps.remark(now, simulated=self._is_simulated())
            self._warn_once(fault, f'event=image_stamps topic={self.topic} reason="{reason}"')

    def _is_simulated(self) -> bool:
        return bool(self._node.get_parameter('use_sim_time').value)

    def free(self) -> None:
        """Free the memory, after :meth:`close`, when the image thread has ended."""
        self._writer.close()
        os.close(self.memory)

    def _accept(self, image: Any, stamp_ns: int) -> None:
        age_ns = self._node.get_clock().now().nanoseconds - stamp_ns
        now = time.monotonic()
        self._stamps.note(stamp_ns, age_ns * 1e-9, now)
        self._intake.accept(image, now, age_ns * 1e-9)
        if self._is_watched:
            self._on_image()

    def _tell(self, text: str) -> None:
        self._warn(f'topic={self.topic} {text}')


class Cameras:
    """
    All cameras of the robot; owned by the thread of the node's callbacks.

    Every ``now`` is in seconds of ``time.monotonic``.

    :param cameras: At least one, with different names; the first one is shown.
    :param thread: The image thread.
    :param on_show: Called by the image thread with the names of the cameras that are to be shown,
        when their first frames are in the shared memory.
    :param warn: Logs a warning.
    :param discovered_s: When DDS has discovered each publisher that was there at the start.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        *,
        thread: ImageThread,
        on_show: Callable[[tuple[str, ...]], None],
        warn: Callable[[str], None],
        discovered_s: float,
    ) -> None:
        self.all = tuple(cameras)
        self._shown = self.all[:1]
        self._selected = self._shown
        self._selected_s = float('-inf')
        self._thread = thread
        self._on_show = on_show
        self._warn = warn
        self._discovered_s = discovered_s
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
        """
        Return whether a camera that is shown has no current image to drive by.

        Before discovery has ended, a camera may be there although no publisher is known yet.
        """
        if now < self._discovered_s:
            return not all(camera.is_fresh(now) for camera in self._shown)
        return any(camera.is_stalled(now) for camera in self._shown)

    def faults(self, now: float) -> dict[str, str]:
        """Return the faults of the cameras that are shown, by name."""
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
            # Otherwise its last image would be shown, which may be old.
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
