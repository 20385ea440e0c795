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

"""One parameter of a node: how it is described, declared and checked."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from dataclasses import dataclass
import re
from typing import Any, Final

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterException,
)
from rclpy.node import Node

from teleop_webrtc_bridge.exceptions import ConfigurationError

__all__ = ['Parameter', 'declare_row']

_KINDS: Final = {
    str: 'text (quote what looks like a number)',
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number with a decimal point',
    list: 'a list of texts',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One row of the table."""

    name: str
    default: str | bool | int | float | list[str]
    description: str
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str], str] | None = None
    dynamic: bool = False
    """May be set while the node runs; otherwise read-only."""

    def allowed(self) -> str:
        """Return in words what the parameter accepts."""
        if self.choices:
            return ', '.join(self.choices)
        text = _KINDS[type(self.default)]
        if self.minimum is not None:
            text += f' from {self.minimum} to {self.maximum}'
        return f'{text} {self.unit}'.rstrip()

    def descriptor(self) -> ParameterDescriptor:
        description = self.description + (f' [{self.unit}]' if self.unit else '')
        descriptor = ParameterDescriptor(
            description=description,
            read_only=not self.dynamic,
            additional_constraints=f'one of: {self.allowed()}' if self.choices else '',
        )
        if self.minimum is not None and self.maximum is not None:
            if type(self.default) is float:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
                ]
            else:
                descriptor.integer_range = [
                    IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))
                ]
        return descriptor

    def checked(self, value: Any) -> Any:
        """
        Return the value, checked beyond what the descriptor enforces.

        :raises ConfigurationError: It is not one of the choices, or the check refuses it.
        """
        if self.choices and value not in self.choices:
            raise ConfigurationError(self.name, value, self.allowed())
        try:
            return self.check(value) if self.check else value
        except ConfigurationError as error:
            # Of one of several cameras, its name is a longer one.
            raise ConfigurationError(self.name, error.value, error.allowed) from error


def declare_row(node: Node, row: Parameter, group: str = '') -> Any:
    """
    Declare one parameter on the node and return its value.

    :param group: What its name begins with, before a dot.
    :raises ConfigurationError: The value has the wrong type or is out of bounds.
    """
    name = f'{group}.{row.name}' if group else row.name
    row = dataclasses.replace(row, name=name)
    try:
        value: Any = node.declare_parameter(name, row.default, row.descriptor()).value
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
