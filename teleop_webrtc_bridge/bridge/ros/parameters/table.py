"""
The node's parameters: one table, from which they are declared, checked and documented.

Needs no ROS, so that a start can be refused before ROS is loaded.

``config/go2.yaml`` and the README list the same parameters; a test compares them with this table.
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

from collections.abc import Iterable
from dataclasses import dataclass
import difflib
import math
from typing import Final

from teleop_webrtc_bridge.bridge.ros.camera.transports import check_transport, TRANSPORTS
from teleop_webrtc_bridge.bridge.ros.parameters.api_key import API_KEY_VARIABLE
from teleop_webrtc_bridge.bridge.ros.parameters.row import Parameter
from teleop_webrtc_bridge.core.configuration import (
    BridgeConfiguration,
    CameraConfiguration,
    check_name,
    check_robot_id,
    shown_name,
    VideoConfiguration,
)
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.motion.command_frames import check_frames, DEFAULT_REFUSED
from teleop_webrtc_bridge.core.motion.velocity_limits import GateLimits

__all__ = ['PARAMETERS', 'Settings', 'refuse_unknown']

#: Declared by rclpy itself on every node.
_RCLPY_NAMES: Final = frozenset({'use_sim_time', 'start_type_description_service'})
_RCLPY_PREFIX: Final = 'qos_overrides.'
_AXES: Final = ('linear_x', 'linear_y', 'linear_z', 'angular_x', 'angular_y', 'angular_z')


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
        name='command_frames_refused',
        default=list(DEFAULT_REFUSED),
        description='Commands whose frame_id has one of these words do not mean the base; * and ? '
        "stand for any characters; ! before words that are meant all the same; ['']: none",
        check=check_frames,
    ),
    Parameter(
        name='estop_persist',
        default=False,
        description='Keep the E-STOP latch when the node ends in good order, too; in ~/.ros',
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
        check_loads=True,
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
        description='h264, with VP8 while whoever drives has a browser without it; or vp8',
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
    command_frames_refused: list[str]
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
            command_frames_refused=tuple(self.command_frames_refused),
        )


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
