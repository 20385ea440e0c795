"""
The bridge of one robot: drives a Go2, or any robot that takes ``cmd_vel``, from a browser.

Without ``broker_url`` a broker runs beside it on this machine, and the address of its operator
page is printed. With ``broker_url`` the robot dials that broker, with the API key from the
environment variable ``TELEOP_API_KEY`` or from ``api_key_file``.
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

from collections.abc import Callable
import json
from pathlib import Path
import re

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessIO
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from teleop_webrtc_bridge.broker.configuration import default_state_dir
from teleop_webrtc_bridge.processes.launching import (
    BROKER_LOG_LEVELS,
    PACKAGE,
    path_of,
    respawn_arguments,
    Supervision,
)

NAMESPACE = re.compile(r'/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?', re.ASCII)


def generate_launch_description() -> LaunchDescription:
    default_params_file = PathJoinSubstitution([FindPackageShare(PACKAGE), 'config', 'go2.yaml'])
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'robot_id',
                default_value='',
                description='Identity of this robot; empty: as in params_file',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=default_params_file,
                description="File with the node's parameters",
            ),
            DeclareLaunchArgument(
                'namespace',
                default_value='',
                description='Namespace of the topics: letters, digits, underscores, slashes',
            ),
            DeclareLaunchArgument(
                'broker_url',
                default_value='',
                description='Broker to dial (https://…); empty: one is started on this machine',
            ),
            DeclareLaunchArgument(
                'api_key_file',
                default_value='',
                description='File with the API key, used with broker_url; '
                'empty: as in params_file, or the variable TELEOP_API_KEY',
            ),
            DeclareLaunchArgument(
                'image_topic',
                default_value='camera/image_raw',
                description='Topic of the camera (sensor_msgs/Image)',
            ),
            DeclareLaunchArgument(
                'cmd_vel_topic',
                default_value='cmd_vel',
                description='Topic on which the velocities are published',
            ),
            DeclareLaunchArgument(
                'broker_port',
                default_value='8765',
                description='Port of the broker that is started on this machine, on loopback',
            ),
            DeclareLaunchArgument(
                'broker_state_dir',
                default_value='',
                description='Directory for the keys of the broker that is started on this '
                'machine; empty: $XDG_STATE_HOME/teleop_webrtc_bridge, or below ~/.local/state',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='',
                choices=['', 'true', 'false'],
                description='Use the time from /clock; empty: as in params_file',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=['debug', 'info', 'warn', 'error', 'fatal'],
                description='Minimum severity of log messages',
            ),
            *respawn_arguments(),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start the bridge, preceded by a broker if none was named."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    supervision = Supervision.read(value)
    # launch only warns about a missing file, and a refused namespace ends in a traceback of rcl.
    params_file = path_of('params_file', value('params_file'))
    if not Path(params_file).is_file():
        raise RuntimeError(f'params_file: {value("params_file")!r} is not a file')
    if not NAMESPACE.fullmatch(value('namespace')):
        raise RuntimeError(
            f'namespace: {value("namespace")!r} is not usable; '
            'allowed: letters, digits, underscores and slashes, for example go2_a'
        )

    def bridge(broker_url: str, api_key_file: str) -> Node:
        return supervision.node(
            'teleop_bridge',
            name='teleop_bridge',
            namespace=value('namespace'),
            ros_arguments=[
                *('--log-level', value('log_level'), '--params-file', params_file),
                *parameters(value, broker_url=broker_url, api_key_file=api_key_file),
            ],
            remappings=[('image', value('image_topic')), ('cmd_vel', value('cmd_vel_topic'))],
        )

    if value('broker_url'):
        return [bridge(value('broker_url'), path_of('api_key_file', value('api_key_file')))]

    given = path_of('broker_state_dir', value('broker_state_dir'))
    state_dir = Path(given) if given else default_state_dir()
    broker = supervision.node(
        'teleop_broker',
        arguments=[
            '--host',
            '127.0.0.1',
            '--port',
            value('broker_port'),
            '--state-dir',
            str(state_dir),
            '--log-level',
            BROKER_LOG_LEVELS.get(value('log_level'), value('log_level')),
            '--login-link',
        ],
    )
    beside_it = bridge(
        f'http://127.0.0.1:{value("broker_port")}', str(state_dir / 'robot_api_key')
    )
    return [*when_ready(broker, [beside_it]), broker]


def parameters(value: Callable[[str], str], *, broker_url: str, api_key_file: str) -> list[str]:
    """
    Return the parameters as command line arguments.

    Of several sources of a parameter the last one wins: the command line over params_file. Given
    through Node(parameters=...), a robot_id like 1e3 would arrive as a number even with
    ParameterValue(value_type=str), because rcl reads more texts as numbers than launch quotes.
    A JSON string is always a string in YAML.

    :param value: Returns a launch argument's value by its name.
    """
    overrides = {'broker_url': broker_url}
    for name, text in {'robot_id': value('robot_id'), 'api_key_file': api_key_file}.items():
        if text:
            overrides[name] = text
    written: list[str] = []
    for name, text in overrides.items():
        written += ['-p', f'{name}:={json.dumps(text, ensure_ascii=False)}']
    if value('use_sim_time'):
        written += ['-p', f'use_sim_time:={value("use_sim_time")}']
    return written


def when_ready(
    broker: Node, entities: list[LaunchDescriptionEntity]
) -> list[LaunchDescriptionEntity]:
    """Return the handler that starts the entities once the broker is ready."""
    said = bytearray()
    waiting = [*entities]

    def look(event) -> list[LaunchDescriptionEntity]:
        # The broker writes the robot's API key before it says that it is ready.
        if not waiting:
            return []
        said.extend(event.text)
        if not re.search(rb'^Operator page: \S.*\n', said, re.MULTILINE):
            return []
        started, waiting[:] = [*waiting], []
        return started

    return [RegisterEventHandler(OnProcessIO(target_action=broker, on_stdout=look))]
