"""Declares the parameters on the node: rclpy decides what is given, and enforces the bounds."""

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
from teleop_webrtc_bridge.bridge.ros.parameters.table import PARAMETERS, Settings
from teleop_webrtc_bridge.core.configuration import check_broker_url
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['declare', 'declare_row', 'descriptor']


def declare(node: Node) -> Settings:
    """
    Declare every parameter on the node and return their values.

    :raises ConfigurationError: A value has the wrong type or is out of bounds.
    """
    values: dict[str, Any] = {}
    for row in PARAMETERS:
        values[row.name] = declare_row(node, row)
    values['broker_url'] = check_broker_url(
        values['broker_url'], allow_insecure=values['allow_insecure_broker']
    )
    return Settings(**values)


def descriptor(row: Parameter) -> ParameterDescriptor:
    """Return what rclpy tells others of a parameter, and enforces."""
    description = row.description + (f' [{row.unit}]' if row.unit else '')
    described = ParameterDescriptor(
        description=description,
        read_only=not row.dynamic,
        additional_constraints=f'one of: {row.allowed()}' if row.choices else '',
    )
    if row.minimum is not None and row.maximum is not None:
        if type(row.default) is float:
            described.floating_point_range = [
                FloatingPointRange(from_value=row.minimum, to_value=row.maximum)
            ]
        else:
            described.integer_range = [
                IntegerRange(from_value=int(row.minimum), to_value=int(row.maximum))
            ]
    return described


def declare_row(node: Node, row: Parameter, group: str = '') -> Any:
    """
    Declare one parameter on the node and return its value.

    :param group: What its name begins with, before a dot.
    :raises ConfigurationError: The value has the wrong type or is out of bounds.
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


def _given(error: ParameterException) -> str:
    """Return the refused value as rclpy tells it; the exceptions keep it in their text only."""
    text = str(error)
    found = re.search(r"to '(.*)' of type|value \((.*)\) for parameter", text)
    return next((group for group in found.groups() if group is not None), text) if found else text
