"""
The parameters of several cameras: ``cameras`` names them, each has parameters under its name.

As Nav2 does it with ``observation_sources``. Without names there is one camera, on ``image``.
Needs no ROS before a topic is checked.
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

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import re
from typing import Any, Final

from teleop_webrtc_bridge.bridge.ros.parameters.row import Parameter
from teleop_webrtc_bridge.bridge.ros.parameters.table import PARAMETERS, refuse_unknown
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['INHERITED', 'MAX_CAMERAS', 'camera_rows', 'checked_names', 'refuse_unknown_names']

MAX_CAMERAS: Final = 8
#: A token of a ROS name.
_NAME: Final = re.compile(r'[A-Za-z](_?[A-Za-z0-9]){0,31}')
#: Of one camera; where they are not set, the parameters of the same names are in force.
INHERITED: Final = ('image_transport', 'image_reliability', 'video_max_width', 'video_fps')
_OWN: Final = ('topic', *INHERITED)


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """
    Return the names of the cameras that are listed.

    :raises ConfigurationError: One cannot be used.
    """
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


def camera_rows(name: str, common: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """
    Return the parameters of one camera.

    :param common: The values of the parameters that it inherits.
    """
    topic = Parameter(
        name='topic',
        default=f'{name}/image',
        description=f'Images of the camera {name}; without what image_transport adds',
        check=lambda value: _checked_topic(f'{name}.topic', value),
        check_loads=True,
    )
    inherited = (
        dataclasses.replace(
            row,
            default=common[row.name],
            description=f'{row.description}; of the camera {name}',
        )
        for row in PARAMETERS
        if row.name in INHERITED
    )
    return (topic, *inherited)


def refuse_unknown_names(given: Sequence[str], names: Sequence[str]) -> None:
    """
    Refuse parameter names that this node with these cameras does not have.

    :param given: The names given on the command line or in parameter files.
    :param names: Those of the cameras, without that of the one that has none.
    :raises ConfigurationError: One is neither a parameter of ours nor one of rclpy's own.
    """
    for name in given:
        camera, _, own = name.rpartition('.')
        if own in _OWN and camera and camera not in names:
            raise ConfigurationError('cameras', [*names], f'a list with {camera}: {name} is set')
    refuse_unknown(given, [f'{name}.{own}' for name in names for own in _OWN])


def _checked_topic(name: str, value: str) -> str:
    from rclpy.exceptions import InvalidTopicNameException
    from rclpy.validate_topic_name import validate_topic_name

    try:
        validate_topic_name(value)
    except (InvalidTopicNameException, ValueError) as error:
        raise ConfigurationError(name, value, 'a topic, like camera/image_raw') from error
    return value
