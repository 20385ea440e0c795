"""
Refuses a start that cannot work before ROS is loaded, which costs five times as much.

What passes here is checked again, by rclpy and with all that only the node can know.
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

from collections.abc import Sequence
import dataclasses
import os
from typing import Any

from teleop_webrtc_bridge.bridge.ros.parameters.api_key import read_api_key
from teleop_webrtc_bridge.bridge.ros.parameters.camera_rows import (
    camera_rows,
    checked_names,
    refuse_unknown_names,
)
from teleop_webrtc_bridge.bridge.ros.parameters.given import Given, read_arguments, UNCERTAIN
from teleop_webrtc_bridge.bridge.ros.parameters.row import Parameter
from teleop_webrtc_bridge.bridge.ros.parameters.table import PARAMETERS
from teleop_webrtc_bridge.core.configuration import check_broker_url
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['refuse_early']


def refuse_early(arguments: Sequence[str]) -> None:
    """
    Refuse what rclpy or the node would refuse.

    :param arguments: After the program's name.
    :raises ConfigurationError: A parameter or the API key cannot work.
    """
    given = read_arguments(arguments)
    if given is None:
        return
    values = {row.name: _checked(row, given) for row in PARAMETERS}
    url, insecure = values['broker_url'], values['allow_insecure_broker']
    if UNCERTAIN not in (url, insecure):
        check_broker_url(url, allow_insecure=insecure)
    if values['cameras'] is not UNCERTAIN:
        _check_cameras(values, given)
    if values['api_key_file'] is not UNCERTAIN and not _is_special(values['api_key_file']):
        read_api_key(values['api_key_file'])


def _checked(row: Parameter, given: Given) -> Any:
    """
    Return the value that a parameter has, or UNCERTAIN.

    :raises ConfigurationError: It is not allowed.
    """
    value = given.value(row.name, row.default)
    if value is UNCERTAIN or row.name not in given.values:
        return value
    if not row.fits(value):
        raise ConfigurationError(row.name, str(value), row.allowed())
    return dataclasses.replace(row, check=None if row.check_loads else row.check).checked(value)


def _check_cameras(values: dict[str, Any], given: Given) -> None:
    defaults = {row.name: row.default for row in PARAMETERS}
    common = {
        name: defaults[name] if value is UNCERTAIN else value for name, value in values.items()
    }
    names = checked_names(values['cameras'])
    for name in names:
        for row in camera_rows(name, common):
            _checked(dataclasses.replace(row, name=f'{name}.{row.name}'), given)
    refuse_unknown_names(list(given.values), names)


def _is_special(path: str) -> bool:
    """Return whether a file is a pipe, for instance, which can be read only once."""
    path = os.path.expanduser(path)
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
