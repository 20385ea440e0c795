"""One parameter of a node: what it accepts. Needs no ROS."""

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
import math
from typing import Any, Final

from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['Parameter']

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
    check: Callable[[Any], Any] | None = None
    check_loads: bool = False
    """The check imports message types or rclpy, which takes long."""
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

    def fits(self, value: Any) -> bool:
        """Return whether rclpy takes the value, by its type and the bounds."""
        if type(value) is not type(self.default):
            return False
        if isinstance(value, list):
            return all(isinstance(item, str) for item in value)
        if self.minimum is None or self.maximum is None:
            return True
        number: Any = value
        # What is as good as a bound is within it.
        ends = (self.minimum, self.maximum)
        return ends[0] <= number <= ends[1] or any(math.isclose(number, end) for end in ends)

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
