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

"""
The parameters of several cameras: ``cameras`` names them, each has parameters under its name.

As Nav2 does it with ``observation_sources``. Without names there is one camera, on ``image``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses
import re
from typing import Any, Final

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from teleop_webrtc_bridge.exceptions import ConfigurationError
from teleop_webrtc_bridge.ros.camera import CameraSettings
from teleop_webrtc_bridge.ros.parameter_row import declare_row, Parameter
from teleop_webrtc_bridge.ros.parameters import PARAMETERS, refuse_unknown, Settings

__all__ = ['MAX_CAMERAS', 'declare_cameras', 'refuse_unknown_names']

MAX_CAMERAS: Final = 8
#: A token of a ROS name.
_NAME: Final = re.compile(r'[A-Za-z](_?[A-Za-z0-9]){0,31}')
#: Of one camera; where they are not set, the parameters of the same names are in force.
_INHERITED: Final = ('image_transport', 'image_reliability', 'video_max_width', 'video_fps')
_OWN: Final = ('topic', *_INHERITED)


def declare_cameras(node: Node, settings: Settings) -> tuple[CameraSettings, ...]:
    """
    Declare the parameters of every camera and return the cameras, in their order.

    :raises ConfigurationError: A name or a value cannot be used.
    """
    names = _checked_names(settings.cameras)
    if not names:
        inherited = {name: getattr(settings, name) for name in _INHERITED}
        return (_camera('image', {'topic': 'image', **inherited}, is_named=False),)
    return tuple(
        _camera(name, {row.name: declare_row(node, row, name) for row in _rows(name, settings)})
        for name in names
    )


def refuse_unknown_names(given: Sequence[str], cameras: Sequence[CameraSettings]) -> None:
    """
    Refuse parameter names that this node with these cameras does not have.

    :param given: The names given on the command line or in parameter files.
    :raises ConfigurationError: One is neither a parameter of ours nor one of rclpy's own.
    """
    names = [camera.name for camera in cameras if camera.is_named]
    for name in given:
        camera, _, own = name.rpartition('.')
        if own in _OWN and camera and camera not in names:
            raise ConfigurationError('cameras', names, f'a list with {camera}: {name} is set')
    refuse_unknown(given, [f'{name}.{own}' for name in names for own in _OWN])


def _camera(name: str, values: dict[str, Any], *, is_named: bool = True) -> CameraSettings:
    return CameraSettings(
        name=name,
        topic=values['topic'],
        transport=values['image_transport'],
        reliability=values['image_reliability'],
        fps=values['video_fps'],
        max_width_px=values['video_max_width'],
        is_named=is_named,
    )


def _rows(name: str, settings: Settings) -> tuple[Parameter, ...]:
    topic = Parameter(
        name='topic',
        default=f'{name}/image',
        description=f'Images of the camera {name}; without what image_transport adds',
        check=lambda value: _checked_topic(f'{name}.topic', value),
    )
    inherited = (
        dataclasses.replace(
            row,
            default=getattr(settings, row.name),
            description=f'{row.description}; of the camera {name}',
        )
        for row in PARAMETERS
        if row.name in _INHERITED
    )
    return (topic, *inherited)


def _checked_names(names: Iterable[str]) -> tuple[str, ...]:
    # An empty list has no type in ROS: a list with an empty text stands for it.
    listed = [name for name in names if name]
    taken = {row.name for row in PARAMETERS} | {'qos_overrides'}
    for name in listed:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                'cameras', name, 'letters, digits and single _, a letter first, 32 at most'
            )
        if name in taken:
            raise ConfigurationError('cameras', name, 'names that no other parameter has')
        if listed.count(name) > 1:
            raise ConfigurationError('cameras', name, 'each name once')
    if len(listed) > MAX_CAMERAS:
        raise ConfigurationError('cameras', listed, f'{MAX_CAMERAS} names at most')
    return tuple(listed)


def _checked_topic(name: str, value: str) -> str:
    try:
        validate_topic_name(value)
    except (InvalidTopicNameException, ValueError) as error:
        raise ConfigurationError(name, value, 'a topic, like camera/image_raw') from error
    return value
