"""The declaration of parameters on a node; rclpy reads values and enforces type and bounds."""

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

from collections.abc import Iterator
from contextlib import contextmanager
import dataclasses
import re
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterException,
)
from rclpy.node import Node

from teleop_webrtc_bridge.bridge.ros.parameters.row import Parameter
from teleop_webrtc_bridge.bridge.ros.parameters.table import (
    camera_rows,
    CameraSettings,
    checked_names,
    checked_pair,
    INHERITED,
    PARAMETERS,
    Settings,
)
from teleop_webrtc_bridge.core.configuration import check_broker_url
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['declare', 'declare_cameras', 'declare_row', 'descriptor', 'given_parameters']


@contextmanager
def given_parameters(node_name: str, **arguments: Any) -> Iterator[list[str]]:
    """
    Yield the names of all parameters that are given to a node, known or unknown.

    A temporary node reads them. The real node must be created within the context: the last node of
    a ROS context destroys the DDS participant, in which Fast DDS may hang.

    :param arguments: As for :class:`rclpy.node.Node`.
    :raises ConfigurationError: A parameter is an empty list.
    """
    try:
        probe = Node(
            node_name,
            **arguments,
            enable_rosout=False,
            start_parameter_services=False,
            allow_undeclared_parameters=True,
            automatically_declare_parameters_from_overrides=True,
        )
    except ValueError:
        # An empty list has no type in ROS. rclpy does not say which parameter it is.
        raise ConfigurationError(
            'parameter', '[]', "a value: leave the parameter out, or, of texts, ['']"
        ) from None
    try:
        yield list(probe.get_parameters_by_prefix(''))
    finally:
        probe.destroy_node()


def declare(node: Node) -> Settings:
    """
    Declare every parameter of the bridge and return the values.

    :raises ConfigurationError: A value has the wrong type or is not accepted.
    """
    values: dict[str, Any] = {row.name: declare_row(node, row) for row in PARAMETERS}
    values['broker_url'] = check_broker_url(
        values['broker_url'], allow_insecure=values['allow_insecure_broker']
    )
    return Settings(**values)


def declare_cameras(node: Node, settings: Settings) -> tuple[CameraSettings, ...]:
    """
    Declare the parameters of every camera and return the cameras, in their order.

    :raises ConfigurationError: A name or a value is not accepted.
    """
    names = checked_names(settings.cameras)
    checked_pair(settings.stereo_cameras, names)
    common = {name: getattr(settings, name) for name in INHERITED}
    if not names:
        return (_camera('image', {'topic': 'image', **common}, is_named=False),)
    return tuple(
        _camera(
            name, {row.name: declare_row(node, row, name) for row in camera_rows(name, common)}
        )
        for name in names
    )


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


def declare_row(node: Node, row: Parameter, group: str = '') -> Any:
    """
    Declare one parameter and return its value.

    :param group: Prefix of its name, before a dot.
    :raises ConfigurationError: The value has the wrong type or is not accepted.
    """
    name = f'{group}.{row.name}' if group else row.name
    row = dataclasses.replace(row, name=name)
    try:
        value: Any = node.declare_parameter(name, row.default, descriptor(row)).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ConfigurationError(name, _given(error), row.allowed()) from error
    except ParameterException as error:
        raise ConfigurationError(name, str(error), row.allowed()) from error
    return row.checked(value)


def descriptor(row: Parameter) -> ParameterDescriptor:
    """Return the descriptor of a parameter, whose type and bounds rclpy enforces."""
    described = ParameterDescriptor(
        description=row.description + (f' [{row.unit}]' if row.unit else ''),
        read_only=not row.dynamic,
        additional_constraints=f'one of: {row.allowed()}' if row.choices else '',
    )
    if row.bounds is not None:
        low, high = row.bounds
        if type(row.default) is float:
            described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            described.integer_range = [
                IntegerRange(from_value=int(low), to_value=int(high), step=row.step)
            ]
    return described


def _given(error: ParameterException) -> str:
    """Return the refused value, which rclpy's exceptions hold only in their text."""
    text = str(error)
    found = re.search(r"to '(.*)' of type|value \((.*)\) for parameter", text)
    return next((group for group in found.groups() if group is not None), text) if found else text
