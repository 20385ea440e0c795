"""
The parameters of ``teleop_bridge`` and of its cameras, as tables.

They are declared, checked and documented from these tables. Needs no ROS, so that a start with a
bad configuration can be refused before ROS is loaded. ``config/go2.yaml`` lists the same
parameters; a test compares the two.

``cameras`` names several cameras. Each of them has parameters under its name, like Nav2's
``observation_sources``. Without names there is one camera, on ``image``.

The API key is never a parameter, because everybody on the ROS graph can read parameters.
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

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from dataclasses import dataclass
import difflib
import itertools
import math
import os
from pathlib import Path
import re
from typing import Any, Final

from teleop_webrtc_bridge.bridge.ros.camera.transports import check_transport, TRANSPORTS
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

__all__ = [
    'API_KEY_VARIABLE',
    'INHERITED',
    'MAX_CAMERAS',
    'PARAMETERS',
    'CameraSettings',
    'Settings',
    'camera_rows',
    'checked_names',
    'checked_pair',
    'read_api_key',
    'refuse_unknown',
]

API_KEY_VARIABLE: Final = 'TELEOP_API_KEY'
MAX_CAMERAS: Final = 8
DEFAULT_BUDGET_S: Final = 0.2
"""docs/safety.md says why."""
#: Parameters of a camera that default to the node's parameters of the same names.
INHERITED: Final = ('image_transport', 'image_reliability', 'video_max_width', 'video_fps')
_OF_CAMERA: Final = ('topic', *INHERITED)
#: A token of a ROS name.
_CAMERA_NAME: Final = re.compile(r'[A-Za-z](_?[A-Za-z0-9]){0,31}')
#: rclpy declares these on every node.
_RCLPY_NAMES: Final = frozenset({'use_sim_time', 'start_type_description_service'})
_RCLPY_PREFIX: Final = 'qos_overrides.'
_AXES: Final = ('linear_x', 'linear_y', 'linear_z', 'angular_x', 'angular_y', 'angular_z')


def _limit(axis: str, default: float) -> Parameter:
    return Parameter(
        f'max_{axis}',
        default,
        f'Largest {axis.replace("_", ".")} that is published; 0.0 forbids the axis',
        unit='m/s' if axis.startswith('linear') else 'rad/s',
        bounds=(0.0, 10.0),
        dynamic=True,
    )


PARAMETERS: Final = (
    Parameter(
        'robot_id',
        '',
        'Identity of this robot, unique among the robots that share the API key',
        check=check_robot_id,
    ),
    Parameter(
        'robot_name',
        '',
        'Name that operators see; empty: the robot_id',
        check=lambda value: check_name('robot_name', value),
    ),
    Parameter(
        'robot_type',
        '',
        'Kind of robot, shown to operators',
        check=lambda value: check_name('robot_type', value),
    ),
    Parameter(
        'broker_url',
        'http://127.0.0.1:8765',
        'Address of the broker: https, or http on this machine',
    ),
    Parameter(
        'allow_insecure_broker',
        False,
        'Allow http to other machines: anybody on the network path can read the API key',
    ),
    Parameter(
        'api_key_file',
        '',
        f'File that holds the API key; empty: environment variable {API_KEY_VARIABLE}',
    ),
    Parameter('base_frame', 'base_link', 'frame_id of the published velocities'),
    Parameter(
        'publish_stamped',
        True,
        'Publish geometry_msgs/TwistStamped; false: geometry_msgs/Twist',
    ),
    Parameter(
        'command_timeout',
        0.25,
        'Time without a command after which the robot is stopped',
        unit='s',
        bounds=(0.05, 1.0),
        dynamic=True,
    ),
    _limit('linear_x', 1.0),
    _limit('linear_y', 0.5),
    _limit('linear_z', 0.0),
    _limit('angular_x', 0.0),
    _limit('angular_y', 0.0),
    _limit('angular_z', 1.5),
    Parameter(
        'max_linear_acceleration',
        2.5,
        'Largest increase of each linear speed; 0.0: no limit',
        unit='m/s^2',
        bounds=(0.0, 100.0),
        dynamic=True,
    ),
    Parameter(
        'max_angular_acceleration',
        6.0,
        'Largest increase of each angular speed; 0.0: no limit',
        unit='rad/s^2',
        bounds=(0.0, 100.0),
        dynamic=True,
    ),
    Parameter(
        'blind_speed_factor',
        0.3,
        'Fraction of the largest speeds allowed while the camera is stalled, the page shows no '
        'picture, or the round trip is long or unknown; 0.0 stops the robot',
        unit='1',
        bounds=(0.0, 1.0),
        dynamic=True,
    ),
    Parameter(
        'latency_budget',
        DEFAULT_BUDGET_S,
        'Largest latency at full speed, camera to screen plus hand to wheels; above it the speed '
        'falls in proportion; 0.0: no limit by latency',
        unit='s',
        bounds=(0.0, 5.0),
        dynamic=True,
    ),
    Parameter(
        'latency_speed_floor',
        0.3,
        'Least fraction of the largest speeds that a latency leaves, also an unknown one; 0.0 '
        'stops the robot while the latency is unknown',
        unit='1',
        bounds=(0.0, 1.0),
        dynamic=True,
    ),
    Parameter(
        'command_frames_refused',
        list(DEFAULT_REFUSED),
        'Words in the frame_id of commands that are not for the base; * and ? are wildcards; '
        "! excludes words from being refused; ['']: refuse none",
        check=check_frames,
    ),
    Parameter(
        'joy',
        False,
        "Publish the operator's hand controllers as sensor_msgs/Joy on joy",
    ),
    Parameter(
        'joy_while_estopped',
        False,
        'Publish joy also while the E-STOP is latched, for lights and the like',
    ),
    Parameter(
        'pose_commands',
        False,
        "Publish the poses of the operator's hands on ~/pose_left and ~/pose_right",
    ),
    Parameter(
        'estop_persist',
        False,
        'Keep the E-STOP latch, in ~/.ros, when the node ends normally, too',
    ),
    Parameter(
        'cameras',
        [''],
        'Names of several cameras, each with its own parameters; empty: one camera',
    ),
    Parameter(
        'stereo_cameras',
        [''],
        'The left and the right one of cameras that are a stereo pair; empty: none are',
    ),
    Parameter(
        'image_transport',
        'raw',
        'raw: sensor_msgs/Image; compressed: JPEG or PNG, from image/compressed; h264 and ffmpeg: '
        'H.264 that the camera encoded, forwarded unchanged, from image/h264 or image/ffmpeg',
        choices=tuple(TRANSPORTS),
        check=check_transport,
        is_check_slow=True,
    ),
    Parameter(
        'image_reliability',
        'auto',
        'QoS reliability of the image subscription; auto follows the publishers',
        choices=('auto', 'reliable', 'best_effort'),
    ),
    Parameter(
        'direct_image_take',
        True,
        'Take images from rcl without the interpreter lock; false: let rclpy take them',
    ),
    Parameter(
        'video_codec',
        'h264',
        'h264, with VP8 while the operator has a browser without H.264; or vp8',
        choices=('h264', 'vp8'),
    ),
    Parameter(
        'video_encoder',
        'auto',
        'H.264 encoder; auto: a hardware encoder if there is one, else libx264',
        choices=('auto', 'libx264', 'h264_nvenc', 'h264_qsv', 'h264_v4l2m2m'),
    ),
    Parameter(
        'video_bitrate',
        2_500_000,
        'Largest bitrate of the video; it is lowered on a slower link',
        unit='bit/s',
        bounds=(150_000, 20_000_000),
    ),
    Parameter(
        'video_fps', 30.0, 'Largest frame rate that is sent', unit='Hz', bounds=(1.0, 120.0)
    ),
    Parameter(
        'video_max_width',
        1280,
        'Wider images are scaled down to this width',
        unit='px',
        bounds=(160, 7680),
    ),
    Parameter(
        'video_playout_delay',
        0.0,
        'Time for which the browser buffers frames to show them evenly',
        unit='s',
        bounds=(0.0, 1.0),
    ),
    Parameter(
        'video_stamp_strip',
        False,
        'Encode the capture time in a black and white strip below the picture',
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of :data:`PARAMETERS`."""

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
    latency_budget: float
    latency_speed_floor: float
    command_frames_refused: list[str]
    joy: bool
    joy_while_estopped: bool
    pose_commands: bool
    estop_persist: bool
    cameras: list[str]
    stereo_cameras: list[str]
    image_transport: str
    image_reliability: str
    direct_image_take: bool
    video_codec: str
    video_encoder: str
    video_bitrate: int
    video_fps: float
    video_max_width: int
    video_playout_delay: float
    video_stamp_strip: bool

    def limits(self) -> GateLimits:
        """Return the limits that the command gate enforces."""
        linear = self.max_linear_acceleration or math.inf
        angular = self.max_angular_acceleration or math.inf
        return GateLimits(
            command_timeout_s=self.command_timeout,
            max_axes=tuple(float(getattr(self, f'max_{axis}')) for axis in _AXES),
            max_acceleration=(linear,) * 3 + (angular,) * 3,
            blind_speed_factor=self.blind_speed_factor,
            latency_budget_s=self.latency_budget,
            latency_speed_floor=self.latency_speed_floor,
        )

    def bridge_configuration(
        self,
        *,
        instance_id: str,
        api_key: str,
        clock_ahead_s: float,
        cameras: tuple[CameraConfiguration, ...],
    ) -> BridgeConfiguration:
        """Return the configuration of the WebRTC half."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """The configuration of one camera."""

    name: str
    topic: str
    """Before remapping, without the suffix of the transport."""
    transport: str
    reliability: str
    fps: float
    max_width_px: int
    is_named: bool = False
    """Whether ``cameras`` names it: then it counts as stalled until its first image."""

    def configuration(self) -> CameraConfiguration:
        """Return the configuration for the WebRTC half."""
        kind = TRANSPORTS[self.transport].kind
        return CameraConfiguration(name=self.name, kind=kind, max_width_px=self.max_width_px)


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """
    Return the names of the cameras.

    :raises ConfigurationError: A name is not accepted.
    """
    # An empty list has no type in ROS; a list with an empty text stands for it.
    listed = [name for name in names if name]
    taken = {row.name for row in PARAMETERS} | {'qos_overrides'}
    for name in listed:
        if not _CAMERA_NAME.fullmatch(name):
            raise ConfigurationError(
                'cameras', name, 'letters, digits and single _, a letter first, 32 at most'
            )
        if name in taken:
            raise ConfigurationError('cameras', name, 'names that no other parameter has')
        if listed.count(name) > 1:
            raise ConfigurationError('cameras', name, 'each name once')
    if len(listed) > MAX_CAMERAS:
        raise ConfigurationError('cameras', listed, f'{MAX_CAMERAS} names at most')
    return tuple(listed)


def checked_pair(pair: Iterable[str], cameras: Sequence[str]) -> tuple[str, ...]:
    """
    Return the names of the left and the right camera of a stereo pair; empty: there is none.

    :param cameras: The names of all cameras, in their order.
    :raises ConfigurationError: The two are no cameras, or the right one comes first.
    """
    listed = tuple(name for name in pair if name)
    # In this order they are side by side in the picture.
    if listed and listed not in set(itertools.combinations(cameras, 2)):
        allowed = f'two of {list(cameras)} in this order' if len(cameras) > 1 else 'two cameras'
        raise ConfigurationError('stereo_cameras', list(listed), allowed)
    return listed


def camera_rows(name: str, common: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """
    Return the parameters of one camera.

    :param common: Values of the node's parameters that a camera inherits.
    """
    topic = Parameter(
        'topic',
        f'{name}/image',
        f'Topic of the camera {name}, without the suffix of the image_transport',
        check=lambda value: _checked_topic(f'{name}.topic', value),
        is_check_slow=True,
    )
    inherited = (
        dataclasses.replace(
            row, default=common[row.name], description=f'{row.description}; of the camera {name}'
        )
        for row in PARAMETERS
        if row.name in INHERITED
    )
    return (topic, *inherited)


def refuse_unknown(given: Sequence[str], cameras: Sequence[str] = ()) -> None:
    """
    Refuse parameter names that this node does not have: a mistyped limit must not be ignored.

    :param given: The names given on the command line or in parameter files.
    :param cameras: The names of the cameras in the parameter ``cameras``.
    :raises ConfigurationError: A name is neither in the tables nor one of rclpy's own.
    """
    known = {row.name for row in PARAMETERS}
    known.update(f'{camera}.{own}' for camera in cameras for own in _OF_CAMERA)
    for name in given:
        camera, _, own = name.rpartition('.')
        if own in _OF_CAMERA and camera and camera not in cameras:
            raise ConfigurationError('cameras', [*cameras], f'a list with {camera}: {name} is set')
    for name in given:
        if name not in known and name not in _RCLPY_NAMES and not name.startswith(_RCLPY_PREFIX):
            close = difflib.get_close_matches(name, known, n=1)
            allowed = f'did you mean {close[0]}?' if close else ', '.join(sorted(known))
            raise ConfigurationError('parameter', name, allowed)


def _checked_topic(name: str, value: str) -> str:
    # Imported lazily: the table needs no ROS.
    from rclpy.exceptions import InvalidTopicNameException
    from rclpy.validate_topic_name import validate_topic_name

    try:
        validate_topic_name(value)
    except (InvalidTopicNameException, ValueError) as error:
        raise ConfigurationError(name, value, 'a topic, like camera/image_raw') from error
    return value


def read_api_key(api_key_file: str) -> str:
    """
    Return the API key from the file or, if there is no file, from the environment.

    :raises ConfigurationError: The key is missing, unreadable or malformed; the error hides it.
    """
    if not api_key_file:
        key = os.environ.get(API_KEY_VARIABLE, '').strip()
        if not key:
            raise ConfigurationError(
                API_KEY_VARIABLE, '', 'the API key in this variable, or in a file: api_key_file'
            )
        return _usable(key, API_KEY_VARIABLE)
    try:
        key = Path(os.path.expanduser(api_key_file)).read_text(encoding='ascii').strip()
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
