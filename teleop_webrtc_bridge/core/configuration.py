"""
The configuration of one robot's bridge, and the checks of its values.

Both halves share it: the ROS half builds it from parameters, the WebRTC half receives it.
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

from dataclasses import dataclass, field
import enum
import ipaddress
import re
import unicodedata
from urllib.parse import urlsplit

from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import VideoCodec
from teleop_webrtc_bridge.core.motion.command_frames import DEFAULT_REFUSED

__all__ = [
    'BridgeConfiguration',
    'CameraConfiguration',
    'CameraKind',
    'VideoConfiguration',
    'check_aiortc',
    'check_broker_url',
    'check_name',
    'check_robot_id',
    'is_loopback_url',
    'shown_name',
]

MAX_ROBOT_ID_CHARS = 64
_NAME = re.compile(r'[\w .:-]{1,64}')
#: aiortc before 1.16 loses most reliable messages once packets are lost (docs/protocol.md §5).
AIORTC_MINIMUM = (1, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoConfiguration:
    """How the robot's video is encoded."""

    codec: str
    """``h264``, with VP8 for browsers that do not support it, or ``vp8``."""
    bitrate_bps: int
    fps: float
    max_width_px: int
    encoder: str = 'auto'
    """The H.264 encoder of FFmpeg to try first; ``auto``: hardware, then software."""
    playout_delay_s: float = 0.0
    """How long a browser delays frames to show them evenly; 0: not at all."""
    stamp_ahead_s: float | None = None
    """
    If set, a strip below the picture shows its capture time, on a clock that is this far ahead of
    ``time.monotonic``.
    """

    @property
    def codecs(self) -> tuple[VideoCodec, ...]:
        """The codecs that may be sent, the preferred one first."""
        favourite = VideoCodec(self.codec)
        return (favourite, *(it for it in (VideoCodec.VP8,) if it is not favourite))


class CameraKind(enum.StrEnum):
    """The content of a camera's shared memory; writer and reader depend on it."""

    PICTURES = 'pictures'
    """The newest picture (``link/frame_slot.py``)."""
    H264 = 'h264'
    """A stream that the camera encoded itself (``link/packet_ring.py``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraConfiguration:
    """One camera, as the WebRTC half sees it."""

    name: str
    kind: CameraKind = CameraKind.PICTURES
    max_width_px: int | None = None
    """Wider pictures are scaled down; ``None``: the limit of the whole video applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfiguration:
    """Everything that the WebRTC half needs to know about one robot."""

    robot_id: str
    robot_name: str
    robot_type: str
    broker_url: str
    instance_id: str
    """Identifies this process; it stays the same over redials, and differs between robots."""
    api_key: str = field(repr=False)
    clock_ahead_s: float
    """
    The clock that operators see is ``time.monotonic()`` plus this: wall time as of the bridge's
    start, which never steps. If the wall clock were corrected while somebody drives, each
    operator's offset would be wrong until their next clock sync.
    """
    video: VideoConfiguration
    cameras: tuple[CameraConfiguration, ...] = (CameraConfiguration(name='image'),)
    """At least one; the first is shown until the operator selects others."""
    command_frames_refused: tuple[str, ...] = DEFAULT_REFUSED
    """
    Patterns of commands that are not for the base. The ROS half refuses them; they must not
    displace a command for the base.
    """


def check_robot_id(value: str) -> str:
    """
    Check a robot id and return it.

    :raises ConfigurationError: It has more than 64 characters, or an unprintable one.
    """
    if len(value) > MAX_ROBOT_ID_CHARS or not _is_printable(value):
        raise ConfigurationError('robot_id', value, '0 to 64 printable characters')
    return value


def check_name(name: str, value: str) -> str:
    """
    Check a text that operators see and return it.

    :raises ConfigurationError: The broker would refuse it (docs/protocol.md §2).
    """
    if value and not _NAME.fullmatch(value):
        raise ConfigurationError(name, value, 'up to 64 letters, digits, spaces and _ . : -')
    return value


def shown_name(robot_id: str) -> str:
    """Return the name that operators see if a robot has only an id."""
    return re.sub(r'[^\w .:-]', '-', robot_id) or 'robot'


def _is_printable(value: str) -> bool:
    return not any(unicodedata.category(character).startswith('C') for character in value)


def check_broker_url(value: str, *, allow_insecure: bool = False) -> str:
    """
    Check the broker's address and return it without a trailing slash.

    :param allow_insecure: Whether to accept http to other machines.
    :raises ConfigurationError: It is neither https nor loopback: the API key would be readable.
    """
    allowed = (
        'https://HOST[:PORT], or http on this machine (http://127.0.0.1:PORT); '
        'http elsewhere only with allow_insecure_broker'
    )
    try:
        parts = urlsplit(value)
        port_is_usable = parts.port is None or parts.port > 0
    except ValueError:
        raise ConfigurationError('broker_url', value, allowed) from None
    if '@' in parts.netloc:
        raise ConfigurationError('broker_url', '(with a user, not shown)', allowed)
    # urlsplit drops line breaks; the next parser may not.
    is_clean = _is_printable(value) and not any(character.isspace() for character in value)
    if not parts.hostname or parts.query or parts.fragment or not (port_is_usable and is_clean):
        raise ConfigurationError('broker_url', value, allowed)
    http_is_fine = allow_insecure or is_loopback_url(value)
    if parts.scheme != 'https' and not (parts.scheme == 'http' and http_is_fine):
        raise ConfigurationError('broker_url', value, allowed)
    return value.rstrip('/')


def is_loopback_url(value: str) -> bool:
    """Return whether the address is of this machine itself."""
    host = urlsplit(value).hostname or ''
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def check_aiortc() -> None:
    """
    Check that a usable aiortc is installed, without importing it.

    :raises ConfigurationError: It is missing or older than 1.16.
    """
    allowed = 'aiortc >= 1.16 (python3 -m pip install "aiortc>=1.16")'
    # Imported lazily: it loads much, and most users of this module don't need it.
    from importlib import metadata

    try:
        version = metadata.version('aiortc')
    except metadata.PackageNotFoundError:
        raise ConfigurationError('aiortc', 'not installed', allowed) from None
    numbers = tuple(int(part) for part in version.split('.')[:2] if part.isdigit())
    if numbers < AIORTC_MINIMUM:
        raise ConfigurationError('aiortc', version, allowed)
