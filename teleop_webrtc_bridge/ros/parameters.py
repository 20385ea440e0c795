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
The node's parameters: one table, from which they are declared, checked and documented.

``config/go2.yaml`` and the README list the same parameters; a test compares them with this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import dataclasses
from dataclasses import dataclass
import difflib
import math
import os
from pathlib import Path
import re
from typing import Any, Final

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterException,
)
from rclpy.node import Node

from teleop_webrtc_bridge.configuration import (
    BridgeConfiguration,
    CameraConfiguration,
    check_broker_url,
    check_name,
    check_robot_id,
    shown_name,
    VideoConfiguration,
)
from teleop_webrtc_bridge.exceptions import ConfigurationError
from teleop_webrtc_bridge.ros.transports import check_transport, TRANSPORTS
from teleop_webrtc_bridge.velocity_limits import GateLimits

__all__ = [
    'API_KEY_VARIABLE',
    'PARAMETERS',
    'Parameter',
    'Settings',
    'declare',
    'declare_row',
    'read_api_key',
    'refuse_unknown',
]

API_KEY_VARIABLE: Final = 'TELEOP_API_KEY'
#: Declared by rclpy itself on every node.
_RCLPY_NAMES: Final = frozenset({'use_sim_time', 'start_type_description_service'})
_RCLPY_PREFIX: Final = 'qos_overrides.'
_KINDS: Final = {
    str: 'text (quote what looks like a number)',
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number with a decimal point',
    list: 'a list of texts',
}
_AXES: Final = ('linear_x', 'linear_y', 'linear_z', 'angular_x', 'angular_y', 'angular_z')


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


def _limit(axis: str, default: float) -> Parameter:
    unit = 'm/s' if axis.startswith('linear') else 'rad/s'
    return Parameter(
        name=f'max_{axis}',
        default=default,
        description=f'Largest {axis.replace("_", ".")} to be published; 0.0 forbids the axis',
        unit=unit,
        minimum=0.0,
        maximum=10.0,
        dynamic=True,
    )


PARAMETERS: Final = (
    Parameter(
        name='robot_id',
        default='',
        description='Identity of this robot among those that share the API key',
        check=check_robot_id,
    ),
    Parameter(
        name='robot_name',
        default='',
        description='What operators see; empty: the robot_id',
        check=lambda value: check_name('robot_name', value),
    ),
    Parameter(
        name='robot_type',
        default='',
        description='Kind of robot, shown to operators',
        check=lambda value: check_name('robot_type', value),
    ),
    Parameter(
        name='broker_url',
        default='http://127.0.0.1:8765',
        description='Address of the broker: https, or http on this machine',
    ),
    Parameter(
        name='allow_insecure_broker',
        default=False,
        description='Accept http to other machines, too: the API key can be read on the way',
    ),
    Parameter(
        name='api_key_file',
        default='',
        description=f'File that holds the API key; empty: environment variable {API_KEY_VARIABLE}',
    ),
    Parameter(
        name='base_frame',
        default='base_link',
        description='frame_id of the published velocities',
    ),
    Parameter(
        name='publish_stamped',
        default=True,
        description='Publish geometry_msgs/TwistStamped; false: geometry_msgs/Twist',
    ),
    Parameter(
        name='command_timeout',
        default=0.25,
        description='Silence of the operator after which the robot is stopped',
        unit='s',
        minimum=0.05,
        maximum=1.0,
        dynamic=True,
    ),
    _limit('linear_x', 1.0),
    _limit('linear_y', 0.5),
    _limit('linear_z', 0.0),
    _limit('angular_x', 0.0),
    _limit('angular_y', 0.0),
    _limit('angular_z', 1.5),
    Parameter(
        name='max_linear_acceleration',
        default=2.5,
        description='Largest rise of each linear speed; 0.0: no limit',
        unit='m/s^2',
        minimum=0.0,
        maximum=100.0,
        dynamic=True,
    ),
    Parameter(
        name='max_angular_acceleration',
        default=6.0,
        description='Largest rise of each angular speed; 0.0: no limit',
        unit='rad/s^2',
        minimum=0.0,
        maximum=100.0,
        dynamic=True,
    ),
    Parameter(
        name='blind_speed_factor',
        default=0.3,
        description='Part of the largest speeds that is left when the camera stalls; 0.0 stops',
        unit='1',
        minimum=0.0,
        maximum=1.0,
        dynamic=True,
    ),
    Parameter(
        name='estop_persist',
        default=False,
        description='Keep the E-STOP latch over restarts of the node, in ~/.ros',
    ),
    Parameter(
        name='cameras',
        default=[''],
        description='Names of several cameras, each with parameters of its own; empty: one camera',
    ),
    Parameter(
        name='image_transport',
        default='raw',
        description='raw: sensor_msgs/Image; compressed: JPEG or PNG, from image/compressed; '
        'h264 and ffmpeg: what the camera encoded, passed on, from image/h264 or image/ffmpeg',
        choices=tuple(TRANSPORTS),
        check=check_transport,
    ),
    Parameter(
        name='image_reliability',
        default='auto',
        description='QoS reliability of the image subscription; auto follows the publishers',
        choices=('auto', 'reliable', 'best_effort'),
    ),
    Parameter(
        name='video_codec',
        default='h264',
        description='Codec that is offered first',
        choices=('h264', 'vp8'),
    ),
    Parameter(
        name='video_encoder',
        default='auto',
        description='H.264 encoder; auto: what hardware offers, else libx264',
        choices=('auto', 'libx264', 'h264_nvenc', 'h264_qsv', 'h264_v4l2m2m'),
    ),
    Parameter(
        name='video_bitrate',
        default=2_500_000,
        description='Largest bitrate of the video; less on a link that does not carry it',
        unit='bit/s',
        minimum=150_000,
        maximum=20_000_000,
    ),
    Parameter(
        name='video_fps',
        default=30.0,
        description='Largest frame rate that is sent',
        unit='Hz',
        minimum=1.0,
        maximum=120.0,
    ),
    Parameter(
        name='video_max_width',
        default=1280,
        description='Wider images are scaled down to this width',
        unit='px',
        minimum=160,
        maximum=7680,
    ),
    Parameter(
        name='video_playout_delay',
        default=0.0,
        description='How long the browser holds frames back to show them evenly',
        unit='s',
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        name='video_stamp_strip',
        default=False,
        description='Tell below the picture, in black and white, when it was taken',
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of all parameters, typed."""

    robot_id: str
    robot_name: str
    robot_type: str
    broker_url: str
    allow_insecure_broker: bool
    api_key_file: str
    base_frame: str
    publish_stamped: bool
    command_timeout: float
    max_linear_x: float
    max_linear_y: float
    max_linear_z: float
    max_angular_x: float
    max_angular_y: float
    max_angular_z: float
    max_linear_acceleration: float
    max_angular_acceleration: float
    blind_speed_factor: float
    estop_persist: bool
    cameras: list[str]
    image_transport: str
    image_reliability: str
    video_codec: str
    video_encoder: str
    video_bitrate: int
    video_fps: float
    video_max_width: int
    video_playout_delay: float
    video_stamp_strip: bool

    def limits(self) -> GateLimits:
        """Return what the gate enforces."""
        linear = self.max_linear_acceleration or math.inf
        angular = self.max_angular_acceleration or math.inf
        return GateLimits(
            command_timeout_s=self.command_timeout,
            max_axes=tuple(float(getattr(self, f'max_{axis}')) for axis in _AXES),
            max_acceleration=(linear,) * 3 + (angular,) * 3,
            blind_speed_factor=self.blind_speed_factor,
        )

    def bridge_configuration(
        self,
        *,
        instance_id: str,
        api_key: str,
        clock_ahead_s: float,
        cameras: tuple[CameraConfiguration, ...],
    ) -> BridgeConfiguration:
        """Return what the WebRTC half needs to know."""
        return BridgeConfiguration(
            robot_id=self.robot_id,
            robot_name=self.robot_name or shown_name(self.robot_id),
            robot_type=self.robot_type,
            broker_url=self.broker_url,
            instance_id=instance_id,
            api_key=api_key,
            clock_ahead_s=clock_ahead_s,
            video=VideoConfiguration(
                codec=self.video_codec,
                bitrate_bps=self.video_bitrate,
                fps=self.video_fps,
                max_width_px=self.video_max_width,
                encoder=self.video_encoder,
                playout_delay_s=self.video_playout_delay,
                stamp_ahead_s=clock_ahead_s if self.video_stamp_strip else None,
            ),
            cameras=cameras,
        )


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


def refuse_unknown(overrides: Iterable[str], others: Iterable[str] = ()) -> None:
    """
    Refuse parameter names that this node does not have: a mistyped limit must not be ignored.

    :param overrides: The names given on the command line or in parameter files.
    :param others: Names beside those of the table.
    :raises ConfigurationError: One is neither in the table nor one of rclpy's own.
    """
    known = {row.name for row in PARAMETERS}.union(others)
    for name in overrides:
        if name not in known and name not in _RCLPY_NAMES and not name.startswith(_RCLPY_PREFIX):
            close = difflib.get_close_matches(name, known, n=1)
            allowed = f'did you mean {close[0]}?' if close else ', '.join(sorted(known))
            raise ConfigurationError('parameter', name, allowed)


def read_api_key(api_key_file: str) -> str:
    """
    Return the API key from the file or, without one, from the environment.

    :raises ConfigurationError: There is no key, or the file cannot be read; never shows the key.
    """
    if not api_key_file:
        key = os.environ.get(API_KEY_VARIABLE, '').strip()
        if not key:
            raise ConfigurationError(
                API_KEY_VARIABLE, '', 'the API key in this variable, or in a file: api_key_file'
            )
        return _usable(key, API_KEY_VARIABLE)
    try:
        key = Path(api_key_file).expanduser().read_text(encoding='ascii').strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is not text'
        raise ConfigurationError(
            'api_key_file', api_key_file, f'a readable file with the API key ({reason})'
        ) from error
    return _usable(key, 'api_key_file')


def _usable(key: str, name: str) -> str:
    if not 16 <= len(key) <= 256 or not key.isascii() or not key.isprintable() or ' ' in key:
        raise ConfigurationError(name, '(not shown)', 'one API key of 16 to 256 characters')
    return key
