"""The parameters of the simulated robot."""

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

from rclpy.node import Node

from teleop_webrtc_bridge.bridge.ros.parameters.declaration import declare_row
from teleop_webrtc_bridge.bridge.ros.parameters.row import Parameter
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['PARAMETERS', 'RobotParameters', 'declare_parameters']


def _frame(name: str, default: str, description: str) -> Parameter:
    def check(value: str) -> str:
        if not value:
            raise ConfigurationError(name, value, 'a text that is not empty')
        return value

    return Parameter(name, default, description, check=check)


PARAMETERS = (
    Parameter('width', 1280, 'Width of the picture', unit='px', bounds=(64, 3840), step=2),
    Parameter('height', 720, 'Height of the picture', unit='px', bounds=(64, 2160), step=2),
    Parameter('fps', 30.0, 'Pictures per second', unit='Hz', bounds=(1.0, 120.0)),
    Parameter('encoding', 'bgr8', 'Order of the colours in a pixel', choices=('bgr8', 'rgb8')),
    Parameter('overlay', True, 'Draw instruments in the picture'),
    Parameter('odom_rate', 50.0, 'Odometry messages per second', unit='Hz', bounds=(1.0, 200.0)),
    Parameter(
        'max_linear_velocity',
        1.5,
        'Fastest forward and backward',
        unit='m/s',
        bounds=(0.01, 5.0),
    ),
    Parameter(
        'max_angular_velocity',
        2.0,
        'Fastest turn in either direction',
        unit='rad/s',
        bounds=(0.01, 10.0),
    ),
    Parameter(
        'cmd_vel_timeout',
        0.5,
        'Age of its stamp at which a command no longer counts and the robot stops',
        unit='s',
        bounds=(0.05, 10.0),
    ),
    Parameter(
        'use_stamped_vel',
        True,
        'cmd_vel is a geometry_msgs/TwistStamped; false: a Twist',
    ),
    _frame('base_frame', 'base_link', 'Frame of the robot'),
    _frame('odom_frame', 'odom', 'Frame of the odometry'),
    _frame(
        'camera_frame',
        'camera_optical_frame',
        'Frame of the pictures: z forward, x right, y down (REP 103)',
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

    :raises ConfigurationError: A value has the wrong type or is not accepted.
    """
    values: dict[str, Any] = {row.name: declare_row(node, row) for row in PARAMETERS}
    return RobotParameters(**values)
