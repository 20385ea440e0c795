"""The transports of images over ROS: message type, topic suffix and kind of camera."""

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
from dataclasses import dataclass
import importlib
from types import ModuleType
from typing import Any, Final

from teleop_webrtc_bridge.core.configuration import CameraKind
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['TRANSPORTS', 'Transport', 'check_transport']


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """A transport of image_transport, or one that names its topics in the same way."""

    module: str
    """Module of the message type."""
    message: str
    suffix: str
    """Suffix of the topic, after ``image/``."""
    kind: CameraKind = CameraKind.PICTURES
    depth: int = 2
    """Depth of the subscription's queue; of images, only the newest is useful."""
    package: str = ''
    """The message's ROS package, if it is not part of every ROS."""

    def message_type(self, load: Callable[[str], ModuleType] = importlib.import_module) -> Any:
        """
        Return the message's class.

        :param load: Imports a module.
        :raises ImportError: Its package is not installed.
        """
        return getattr(load(self.module), self.message)


#: A lost packet of H.264 makes all pictures until the next keyframe undecodable.
_STREAM_DEPTH: Final = 10

TRANSPORTS: Final = {
    'raw': Transport(module='sensor_msgs.msg', message='Image', suffix=''),
    'compressed': Transport(
        module='sensor_msgs.msg', message='CompressedImage', suffix='compressed'
    ),
    'h264': Transport(
        module='sensor_msgs.msg',
        message='CompressedImage',
        suffix='h264',
        kind=CameraKind.H264,
        depth=_STREAM_DEPTH,
    ),
    'ffmpeg': Transport(
        module='ffmpeg_image_transport_msgs.msg',
        message='FFMPEGPacket',
        suffix='ffmpeg',
        kind=CameraKind.H264,
        depth=_STREAM_DEPTH,
        package='ffmpeg_image_transport_msgs',
    ),
}


def check_transport(name: str, load: Callable[[str], ModuleType] = importlib.import_module) -> str:
    """
    Return the name of a transport, after a check that its message type is installed.

    :param load: Imports a module.
    :raises ConfigurationError: It is not.
    """
    transport = TRANSPORTS[name]
    try:
        transport.message_type(load)
    except (ImportError, AttributeError) as error:
        apt = transport.package.replace('_', '-')
        others = ', '.join(other for other in TRANSPORTS if other != name)
        allowed = f'{name} with {transport.package} installed (ros-$ROS_DISTRO-{apt}), or {others}'
        raise ConfigurationError('image_transport', name, allowed) from error
    return name
