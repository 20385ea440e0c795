"""The simulated robot's parameters: one table, checked by rclpy from its descriptors."""

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

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['PARAMETERS', 'RobotParameter', 'RobotParameters', 'declare_parameters']

Value = bool | int | float | str


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotParameter:
    """
    One row of the table.

    :param unit: Of the value, empty if it has none.
    :param low: Smallest value allowed; ``None`` if any is.
    :param high: Largest value allowed.
    :param step: For integers, from ``low``; 0 and 1 both mean any.
    :param choices: The strings allowed; empty if every string but the empty one is.
    """

    name: str
    default: Value
    description: str
    unit: str = ''
    low: float | None = None
    high: float | None = None
    step: int = 1
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """Say in words what may be given."""
        unit = f' {self.unit}' if self.unit else ''
        if isinstance(self.default, bool):
            return 'true or false'
        if isinstance(self.default, float):
            return f'a number with a decimal point from {self.low} to {self.high}{unit}'
        if isinstance(self.default, int):
            steps = f' in steps of {self.step}' if self.step > 1 else ''
            return f'an integer from {self.low} to {self.high}{unit}{steps}'
        return f'one of {", ".join(self.choices)}' if self.choices else 'a string, not empty'

    def descriptor(self) -> ParameterDescriptor:
        """Return what rclpy enforces; everything is read only, a robot has one shape."""
        unit = f' ({self.unit})' if self.unit else ''
        descriptor = ParameterDescriptor(
            name=self.name,
            description=f'{self.description}{unit}',
            additional_constraints=self.allowed,
            read_only=True,
        )
        if self.low is None or self.high is None:
            return descriptor
        if isinstance(self.default, float):
            limits = FloatingPointRange(from_value=float(self.low), to_value=float(self.high))
            descriptor.floating_point_range = [limits]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.low), to_value=int(self.high), step=self.step)
            ]
        return descriptor


PARAMETERS = (
    RobotParameter(
        name='width',
        default=1280,
        description='Width of the picture',
        unit='px',
        low=64,
        high=3840,
        step=2,
    ),
    RobotParameter(
        name='height',
        default=720,
        description='Height of the picture',
        unit='px',
        low=64,
        high=2160,
        step=2,
    ),
    RobotParameter(
        name='fps', default=30.0, description='Pictures per second', unit='Hz', low=1.0, high=120.0
    ),
    RobotParameter(
        name='encoding',
        default='bgr8',
        description='Order of the colours in a pixel',
        choices=('bgr8', 'rgb8'),
    ),
    RobotParameter(
        name='overlay', default=True, description='Whether instruments are drawn in the picture'
    ),
    RobotParameter(
        name='odom_rate',
        default=50.0,
        description='Odometry messages per second',
        unit='Hz',
        low=1.0,
        high=200.0,
    ),
    RobotParameter(
        name='max_linear_velocity',
        default=1.5,
        description='Fastest forward and backward',
        unit='m/s',
        low=0.01,
        high=5.0,
    ),
    RobotParameter(
        name='max_angular_velocity',
        default=2.0,
        description='Fastest turn in either direction',
        unit='rad/s',
        low=0.01,
        high=10.0,
    ),
    RobotParameter(
        name='cmd_vel_timeout',
        default=0.5,
        description='Age of its stamp at which a command no longer counts and the robot stops',
        unit='s',
        low=0.05,
        high=10.0,
    ),
    RobotParameter(
        name='use_stamped_vel',
        default=True,
        description='Whether cmd_vel is geometry_msgs/TwistStamped; if not, geometry_msgs/Twist',
    ),
    RobotParameter(name='base_frame', default='base_link', description='Frame of the robot'),
    RobotParameter(name='odom_frame', default='odom', description='Frame of the odometry'),
    RobotParameter(
        name='camera_frame',
        default='camera_optical_frame',
        description='Frame of the pictures: z forward, x right, y down (REP 103)',
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotParameters:
    """The values of :data:`PARAMETERS`, with the units given there."""

    width: int
    height: int
    fps: float
    encoding: str
    overlay: bool
    odom_rate: float
    max_linear_velocity: float
    max_angular_velocity: float
    cmd_vel_timeout: float
    use_stamped_vel: bool
    base_frame: str
    odom_frame: str
    camera_frame: str


def declare_parameters(node: Node) -> RobotParameters:
    """
    Declare every parameter of the table and return the values.

    :raises ConfigurationError: If a given value is of the wrong type or out of bounds.
    """
    values: dict[str, Any] = {row.name: _declare(node, row) for row in PARAMETERS}
    return RobotParameters(**values)


def _declare(node: Node, row: RobotParameter) -> Value:
    try:
        value: Value = node.declare_parameter(row.name, row.default, row.descriptor()).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ConfigurationError(row.name, _given(node, row.name), row.allowed) from error
    # rclpy has no descriptor for a set of strings.
    if isinstance(value, str) and (not value or (row.choices and value not in row.choices)):
        raise ConfigurationError(row.name, value, row.allowed)
    return value


def _given(node: Node, name: str) -> object:
    # The exceptions hold the value only inside a sentence; a parameter of any type tells it.
    if node.has_parameter(name):
        node.undeclare_parameter(name)
    descriptor = ParameterDescriptor(name=name, dynamic_typing=True)
    return node.declare_parameter(name, None, descriptor).value
