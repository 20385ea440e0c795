"""
Pictures that the camera encoded itself: which of them go on to the operator, untouched.

A picture counts as one to drive by only if it is sent, and if the operator's decoder has what it
refers to.
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
from collections.abc import Callable
import mmap
import re
from typing import Any, Final

from teleop_webrtc_bridge.bridge.link.packet_ring import PacketWriter
from teleop_webrtc_bridge.bridge.ros.camera.image_intake import MAX_AGE_S, MAX_TOLD, STALLED_S
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.texts import MAX_NAME_CHARS, shown
from teleop_webrtc_bridge.core.video.h264 import AccessUnit, Held, MAX_UNIT_BYTES, Stream
from teleop_webrtc_bridge.core.video.serialized_image import SerializedCompressedImage

__all__ = ['SLOW_KEYFRAMES_S', 'StreamIntake']

SLOW_KEYFRAMES_S: Final = 1.5
"""Who begins to watch, or loses a packet, sees nothing until the next one."""
LATE_KEYFRAME_S: Final = 1.2
"""For the first one may be waited so long."""
HINT: Final = (
    "who begins to watch, or loses a packet, sees nothing for so long; set the camera's keyframe "
    'interval (GOP) to 1 s'
)
GRADUAL_HINT: Final = (
    'its encoder refreshes pictures bit by bit (intra-refresh), with which no browser begins: '
    'switch that off and set a keyframe interval (GOP) of 1 s'
)
SETS_HINT: Final = (
    'its encoder sent the parameter sets (SPS, PPS) before this node listened: let it repeat '
    'them with every keyframe (x264 repeat-headers=1, V4L2 repeat_sequence_header=1, GStreamer '
    'config-interval=-1 or insert-sps-pps=1, FFmpeg -bsf:v dump_extra), or restart it'
)
NO_SETS_S: Final = 10.0
"""A camera whose pictures have had no parameter sets for so long keeps them for itself."""
MAX_MESSAGE_BYTES: Final = MAX_UNIT_BYTES + 4096
"""With what a message has around its picture."""
GREY_SIZE_PX: Final = (640, 360)
"""Of what keeps the track alive, before there was any picture."""
_H264: Final = re.compile(r'[hx]\.?264|avc', re.IGNORECASE)


class StreamIntake:
    """
    Puts a camera's H.264 into the ring, from a keyframe on and without gaps.

    Owned by the thread that takes images, and to be asked from others, as :class:`.ImageIntake`.

    :param writer: The ring.
    :param warn: Tells the robot's owner; called once for each kind of fault.
    """

    def __init__(self, writer: PacketWriter, warn: Callable[[str], None]) -> None:
        self.wanted_fps = 0.0
        """0: nobody watches. Any other: all of them, for none can be left out."""
        self.is_listening = False
        """Whether nobody is about to watch: it is subscribed for its parameter sets, if at all."""
        self.sets_known_s = float('-inf')
        """When the last picture came whose parameter sets are known."""
        self.counters: Counter[str] = Counter()
        """``received``, ``sent`` (into the ring), ``keyframes``, ``unusable``, ``no_keyframe``
        (refers to what was not sent), ``no_picture`` (parameter sets), ``lost`` (gaps)."""
        self.expected = False
        """Whether there is, or was, a camera: somebody publishes the topic."""
        self.is_grey = False
        """Whether grey is shown, instead of a picture."""
        self.keyframe_interval_s: float | None = None
        """From the last keyframe but one to the last."""
        self._stream = Stream()
        self._writer = writer
        self._warn = warn
        self._told: set[str] = set()
        self._last_usable_s: float | None = None
        self._keyframe_s: float | None = None
        self._received_s = float('-inf')
        self._reason = ''
        """Why the last message was not shown, if it was not."""
        self._sending = False
        self._held_s: float | None = None
        """Since when pictures wait for a keyframe."""
        self._told_late = False
        self._setless_s: float | None = None
        """Since when pictures come whose parameter sets are not known."""
        self._size_px = GREY_SIZE_PX
        # Nobody touches more of it than the largest message has.
        self._memory = memoryview(mmap.mmap(-1, MAX_MESSAGE_BYTES))

    def is_stalled(self, now: float) -> bool:
        """
        Return whether there is a camera, but no picture of now to drive by.

        :param now: Seconds of ``time.monotonic``.
        """
        return not self.is_fresh(now) and (self.expected or self._last_usable_s is not None)

    def is_fresh(self, now: float) -> bool:
        """Return whether there is a picture of now."""
        last_usable_s = self._last_usable_s
        return last_usable_s is not None and now - last_usable_s <= STALLED_S

    def memory(self) -> memoryview:
        """Return where the next message is to be put."""
        return self._memory

    def remark(self, now: float) -> str:
        """
        Return what is not as it should be with the stream; empty: nothing.

        :param now: Seconds of ``time.monotonic``.
        """
        if self._misses_sets(now):
            return f'what comes cannot be shown: {SETS_HINT}'
        if self.is_listening:
            return ''
        if self.is_stalled(now) and now - self._received_s < STALLED_S:
            return f'what comes cannot be shown: {self._reason}'
        interval_s = self.keyframe_interval_s
        if interval_s is None or interval_s <= SLOW_KEYFRAMES_S:
            return ''
        return f'a keyframe every {interval_s:.1f} s: {HINT}'

    def accept(self, message: Any, now: float, age_s: float) -> None:
        """
        Take a message from the topic.

        :param message: :class:`SerializedCompressedImage` or
            ``ffmpeg_image_transport_msgs/FFMPEGPacket``.
        :param now: Its arrival, in seconds of ``time.monotonic``.
        :param age_s: How long ago its header says that it was taken, in seconds.
        """
        self.counters['received'] += 1
        self.expected = True
        self._received_s = now
        try:
            _check_codec(message)
            found = self._stream.read(bytes(memoryview(message.data)), now)
        except PictureUndecodable as error:
            self._note_sets(now)
            self.counters['unusable'] += 1
            self._reason = SETS_HINT if self._stream.lacks_sets else str(error)
            self._tell_once(self._reason)
            return
        self._note_sets(now)
        self.counters['lost'] = self._stream.losses
        self._reason = GRADUAL_HINT if self._stream.is_gradual else 'no keyframe yet'
        if isinstance(found, Held):
            self._hold(found, now)
            return
        self._note_keyframe(found, now)
        # A stamp from another clock says nothing about the age.
        capture_s = now - age_s if 0.0 <= age_s <= MAX_AGE_S else now
        self._send(found, capture_s, now)

    def refuse(self, reason: str, now: float) -> None:
        """
        Take note of a message that is no picture at all.

        :param now: Its arrival, in seconds of ``time.monotonic``.
        """
        self.counters['received'] += 1
        self.counters['unusable'] += 1
        self.expected = True
        self._reason, self._received_s = shown(reason), now

    def keep_alive(self, now: float) -> None:
        """
        Have grey shown: a media backend may give up a track that sends nothing.

        :param now: Seconds of ``time.monotonic``.
        """
        self._sending = False
        self._writer.write_grey(*self._size_px, now)
        self.counters['grey'] += 1
        self.is_grey = True

    def forget(self) -> None:
        """Take the last picture for one of long ago, and what comes for another stream."""
        self._stream.interrupt()
        self._sending = False
        self._last_usable_s = self._keyframe_s = self._held_s = None

    def forget_sets(self, before_s: float) -> None:
        """
        Forget the parameter sets of publishers that are gone; another one is there.

        :param before_s: What was heard later is of that one, in seconds of ``time.monotonic``.
        """
        self._stream.forget_sets(before_s)
        self._sending = False
        self._setless_s = None
        self.sets_known_s = float('-inf')

    def _misses_sets(self, now: float) -> bool:
        """Return whether pictures come, but their parameter sets never will."""
        if self._setless_s is None or now - self._received_s > NO_SETS_S:
            return False
        return self._stream.lacks_sets or now - self._setless_s > NO_SETS_S

    def _note_sets(self, now: float) -> None:
        if self._stream.knows_sets is None:
            return  # no picture yet, or nothing of H.264
        if self._stream.knows_sets:
            self.sets_known_s, self._setless_s = now, None
            return
        if self._setless_s is None:
            self._setless_s = now
        if self._misses_sets(now):
            self._tell_once(SETS_HINT)

    def _send(self, unit: AccessUnit, capture_s: float, now: float) -> None:
        if self.wanted_fps <= 0.0:
            self._sending, self._held_s = False, None
            if not self.is_listening:
                self._last_usable_s = now
            return
        if not (self._sending or unit.keyframe):
            self._hold(Held.NO_KEYFRAME, now)
            return
        self._held_s = None
        self._sending = True
        self.is_grey = False
        self._size_px = (unit.width, unit.height)
        self._writer.write(unit, capture_s, now)
        self._last_usable_s = now
        self.counters['sent'] += 1

    def _hold(self, why: Held, now: float) -> None:
        self.counters[why.value] += 1
        if self._held_s is None:
            self._held_s = now
        if self.wanted_fps > 0.0 and now - self._held_s > LATE_KEYFRAME_S and not self._told_late:
            self._told_late = True
            hint = GRADUAL_HINT if self._stream.is_gradual else HINT
            self._warn(f'no keyframe for {now - self._held_s:.1f} s: {hint}')

    def _note_keyframe(self, unit: AccessUnit, now: float) -> None:
        if not unit.keyframe:
            return
        self.counters['keyframes'] += 1
        if self._keyframe_s is not None:
            self.keyframe_interval_s = now - self._keyframe_s
        self._keyframe_s = now

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(text)
            self._warn(f'image dropped: {text}')


def _check_codec(message: Any) -> None:
    """
    Make sure that a message does not say itself that it is something else.

    :raises PictureUndecodable: It does.
    """
    if isinstance(message, SerializedCompressedImage):
        name, given, needed = 'format', message.format, "'h264'"
    else:
        # The encoder, after which newer versions tell the formats of the picture.
        name, given = 'encoding', message.encoding.partition(';')[0]
        needed = "H.264 (ffmpeg_image_transport's encoder libx264, h264_nvenc, h264_vaapi, ...)"
    if given and not _H264.search(given):
        raise PictureUndecodable(
            f'{name} {shown(given, MAX_NAME_CHARS)!r}; browsers need {needed}'
        )
