"""
The intake of H.264 that the camera encoded and that is forwarded unchanged.

A picture counts as usable only if it is sent and the operator's decoder has the pictures that it
depends on.

Some encoders send their parameter sets (SPS, PPS) once, when they start. A node that subscribes
only while somebody watches would miss them, and without them no picture can be decoded.
:class:`SetsWatch` decides when to subscribe for them.
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

from collections.abc import Callable
import mmap
import re
from typing import Any, Final

from teleop_webrtc_bridge.bridge.link.packet_ring import PacketWriter
from teleop_webrtc_bridge.bridge.ros.camera.intake import (
    cannot_show,
    capture_time,
    Intake,
    STALLED_S,
    WarnOnce,
)
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.texts import MAX_NAME_CHARS, shown
from teleop_webrtc_bridge.core.video.h264 import AccessUnit, Held, MAX_UNIT_BYTES, Stream
from teleop_webrtc_bridge.core.video.serialized_image import SerializedCompressedImage

__all__ = ['DISCOVERY_S', 'SLOW_KEYFRAMES_S', 'SetsWatch', 'StreamIntake']

SLOW_KEYFRAMES_S: Final = 1.5
"""A viewer who joins or loses a packet sees nothing until the next keyframe."""
LATE_KEYFRAME_S: Final = 1.2
"""Time to wait for the first keyframe before a warning."""
HINT: Final = (
    "viewers who join or lose a packet see nothing for that time; set the camera's keyframe "
    'interval (GOP) to 1 s'
)
GRADUAL_HINT: Final = (
    'its encoder uses intra-refresh instead of keyframes, and browsers cannot start without a '
    'keyframe: switch it off and set a keyframe interval (GOP) of 1 s'
)
SETS_HINT: Final = (
    'its encoder sent the parameter sets (SPS, PPS) before this node subscribed: let it repeat '
    'them with every keyframe (x264 repeat-headers=1, V4L2 repeat_sequence_header=1, GStreamer '
    'config-interval=-1 or insert-sps-pps=1, FFmpeg -bsf:v dump_extra), or restart it'
)
NO_SETS_S: Final = 10.0
"""Time without parameter sets after which the camera is not expected to send any."""
BUFFER_BYTES: Final = MAX_UNIT_BYTES + 4096
"""For a message: a picture and the fields around it."""
DISCOVERY_S: Final = 0.5
"""A publisher may be heard this long before the graph shows it."""
_H264: Final = re.compile(r'[hx]\.?264|avc', re.IGNORECASE)


class SetsWatch:
    """Decides whether to listen for parameter sets; every ``now`` is of one steady clock."""

    def __init__(self) -> None:
        self._publishers: frozenset[bytes] = frozenset()
        """The last ones that were present; one that returns after an interruption is not new."""
        self._is_there = False
        self._asked_s = float('-inf')
        """When the newest publisher was seen for the first time."""
        self._looked_s = float('-inf')

    def look(self, publishers: frozenset[bytes], now: float) -> float | None:
        """
        Update the publishers.

        :param publishers: An identity for each, which changes when it restarts.
        :returns: If all of them have been replaced, the time before which everything came from the
            old ones; else ``None``.
        """
        new = publishers - self._publishers
        is_replaced = bool(self._publishers and new) and not publishers & self._publishers
        gone_s = self._looked_s - DISCOVERY_S if is_replaced else None
        self._looked_s, self._is_there = now, bool(publishers)
        if new:
            self._asked_s = now
        if publishers:
            self._publishers = publishers
        return gone_s

    def needs(self, known_s: float) -> bool:
        """
        Return whether to subscribe although nobody watches.

        True also while there is no publisher, to receive a new one's messages from its start.

        :param known_s: Arrival of the last picture whose parameter sets are known.
        """
        return not self._is_there or known_s < self._asked_s


class StreamIntake(Intake[PacketWriter]):
    """
    Puts a camera's H.264 into the ring, from a keyframe on and without gaps.

    ``wanted_fps`` only tells whether somebody watches, because no picture can be left out.
    Additional counters: ``keyframes``, ``no_keyframe`` (depends on a picture that was not sent),
    ``no_picture`` (parameter sets), ``lost`` (gaps).

    :param writer: The ring.
    :param warn: Logs a warning; called once for each kind of fault.
    """

    def __init__(self, writer: PacketWriter, warn: Callable[[str], object]) -> None:
        super().__init__(writer, warn)
        self._warn_late = WarnOnce(warn)
        """Separate: many kinds of unusable messages must not suppress this warning."""
        self.is_listening = False
        """Whether nobody watches, and the topic is subscribed to only for parameter sets."""
        self.sets_known_s = float('-inf')
        """Arrival of the last picture whose parameter sets are known."""
        self.keyframe_interval_s: float | None = None
        """Between the last two keyframes."""
        self._stream = Stream()
        self._keyframe_s: float | None = None
        self._received_s = float('-inf')
        self._sending = False
        self._held_s: float | None = None
        """When pictures began to wait for a keyframe."""
        self._setless_s: float | None = None
        """When pictures began to arrive whose parameter sets are unknown."""
        # The kernel allocates only those pages that messages fill.
        self._memory = memoryview(mmap.mmap(-1, BUFFER_BYTES))

    def memory(self) -> memoryview:
        """Return the memory for the next message."""
        return self._memory

    def remark(self, now: float) -> str:
        """Return the fault of the stream; empty: none."""
        if self._misses_sets(now):
            return cannot_show(SETS_HINT)
        if self.is_listening:
            return ''
        if self.is_stalled(now) and now - self._received_s < STALLED_S:
            return cannot_show(self._reason)
        interval_s = self.keyframe_interval_s
        if interval_s is None or interval_s <= SLOW_KEYFRAMES_S:
            return ''
        return f'a keyframe every {interval_s:.1f} s: {HINT}'

    def accept(self, message: Any, now: float, age_s: float) -> None:
        """
        Process a message from the topic.

        :param message: :class:`SerializedCompressedImage` or
            ``ffmpeg_image_transport_msgs/FFMPEGPacket``.
        :param now: Its arrival.
        :param age_s: Its age by its header, in seconds.
        """
        self._note_received()
        self._received_s = now
        try:
            _check_codec(message)
            found = self._stream.read(bytes(memoryview(message.data)), now)
        except PictureUndecodable as error:
            self._note_sets(now)
            self._note_unusable(SETS_HINT if self._stream.lacks_sets else str(error))
            self._warn_once(self._reason, f'image dropped: {self._reason}')
            return
        self._note_sets(now)
        self.counters['lost'] = self._stream.losses
        self._reason = GRADUAL_HINT if self._stream.is_gradual else 'no keyframe yet'
        if isinstance(found, Held):
            self._hold(found, now)
            return
        self._note_keyframe(found, now)
        self._send(found, capture_time(now, age_s), now)

    def refuse(self, reason: str, now: float) -> None:
        """
        Note a message that is not a picture.

        :param now: Its arrival.
        """
        self._note_received()
        self._note_unusable(shown(reason))
        self._received_s = now

    def keep_alive(self, now: float) -> None:
        self._sending = False
        super().keep_alive(now)

    def forget(self) -> None:
        """Treat the last picture as outdated, and the next one as the start of a new stream."""
        super().forget()
        self._stream.interrupt()
        self._sending = False
        self._keyframe_s = self._held_s = None

    def forget_sets(self, before_s: float) -> None:
        """
        Forget the parameter sets of publishers that another one has replaced.

        :param before_s: Parameter sets that came later belong to the new one.
        """
        self._stream.forget_sets(before_s)
        self._sending = False
        self._setless_s = None
        self.sets_known_s = float('-inf')

    def _misses_sets(self, now: float) -> bool:
        """Return whether pictures arrive whose parameter sets never will."""
        if self._setless_s is None or now - self._received_s > NO_SETS_S:
            return False
        return self._stream.lacks_sets or now - self._setless_s > NO_SETS_S

    def _note_sets(self, now: float) -> None:
        if self._stream.knows_sets is None:
            return  # no picture yet, or no H.264
        if self._stream.knows_sets:
            self.sets_known_s, self._setless_s = now, None
            return
        if self._setless_s is None:
            self._setless_s = now
        if self._misses_sets(now):
            self._warn_once(SETS_HINT, f'image dropped: {SETS_HINT}')

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
        self._writer.write(unit, capture_s, now)
        self._note_sent(now, (unit.width, unit.height))

    def _hold(self, why: Held, now: float) -> None:
        self.counters[why.value] += 1
        if self._held_s is None:
            self._held_s = now
        if self.wanted_fps > 0.0 and now - self._held_s > LATE_KEYFRAME_S:
            hint = GRADUAL_HINT if self._stream.is_gradual else HINT
            self._warn_late('late keyframe', f'no keyframe for {now - self._held_s:.1f} s: {hint}')

    def _note_keyframe(self, unit: AccessUnit, now: float) -> None:
        if not unit.keyframe:
            return
        self.counters['keyframes'] += 1
        if self._keyframe_s is not None:
            self.keyframe_interval_s = now - self._keyframe_s
        self._keyframe_s = now


def _check_codec(message: Any) -> None:
    """
    Check that a message does not claim to be anything but H.264.

    :raises PictureUndecodable: It claims to be something else.
    """
    if isinstance(message, SerializedCompressedImage):
        name, given, needed = 'format', message.format, "'h264'"
    else:
        # The encoder; newer versions append the pixel formats.
        name, given = 'encoding', message.encoding.partition(';')[0]
        needed = "H.264 (ffmpeg_image_transport's encoder libx264, h264_nvenc, h264_vaapi, ...)"
    if given and not _H264.search(given):
        raise PictureUndecodable(
            f'{name} {shown(given, MAX_NAME_CHARS)!r}; browsers need {needed}'
        )
