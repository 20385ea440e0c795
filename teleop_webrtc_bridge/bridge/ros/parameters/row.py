"""One ROS parameter: its name, default, description and the values it accepts."""

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
from dataclasses import dataclass, KW_ONLY
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


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    One row of a parameter table; needs no ROS.

    :param bounds: The smallest and the largest value; ``None`` if there are none.
    :param step: Of whole numbers, counted from the smallest; 0 accepts all.
    :param choices: The texts that are accepted; empty if any is.
    :param check: Returns the value, or raises :class:`ConfigurationError`.
    :param is_check_slow: The check imports rclpy or message packages.
    :param dynamic: The value may be set while the node runs; otherwise it is read-only.
    """

    name: str
    default: str | bool | int | float | list[str]
    description: str
    _: KW_ONLY
    unit: str = ''
    bounds: tuple[float, float] | None = None
    step: int = 0
    choices: tuple[str, ...] = ()
    check: Callable[[Any], Any] | None = None
    is_check_slow: bool = False
    dynamic: bool = False

    def allowed(self) -> str:
        """Return a description of the accepted values."""
        if self.choices:
            return ', '.join(self.choices)
        text = _KINDS[type(self.default)]
        if self.bounds is not None:
            text += f' from {self.bounds[0]} to {self.bounds[1]}'
        if self.step:
            text += f' in steps of {self.step}'
        return f'{text} {self.unit}'.rstrip()

    def fits(self, value: Any) -> bool:
        """Return whether rclpy accepts the value, by its type and bounds."""
        if type(value) is not type(self.default):
            return False
        if isinstance(value, list):
            return all(isinstance(item, str) for item in value)
        if self.bounds is None:
            return True
        number: Any = value
        # Like rclpy, accept a value that equals a bound but for rounding.
        low, high = self.bounds
        return low <= number <= high or any(math.isclose(number, end) for end in self.bounds)

    def checked(self, value: Any) -> Any:
        """
        Return the value after the checks that rclpy cannot do.

        :raises ConfigurationError: It is not one of the choices, or the check refuses it.
        """
        if self.choices and value not in self.choices:
            raise ConfigurationError(self.name, value, self.allowed())
        try:
            return self.check(value) if self.check else value
        except ConfigurationError as error:
            # The check does not know the prefix that the name of a camera's parameter has.
            raise ConfigurationError(self.name, error.value, error.allowed) from error
