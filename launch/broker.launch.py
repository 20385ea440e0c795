"""The broker alone, with the operator page: on a host that robots and operators reach."""

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

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from teleop_webrtc_bridge.processes.launching import (
    BROKER_LOG_LEVELS,
    PACKAGE,
    path_of,
    respawn_arguments,
    Supervision,
)


def generate_launch_description() -> LaunchDescription:
    default_config_file = PathJoinSubstitution(
        [FindPackageShare(PACKAGE), 'config', 'broker.yaml']
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'config_file',
                default_value=default_config_file,
                description="File with the broker's configuration",
            ),
            DeclareLaunchArgument(
                'host',
                default_value='',
                description='Address to listen on; empty: as in config_file',
            ),
            DeclareLaunchArgument(
                'port',
                default_value='',
                description='Port to listen on; empty: as in config_file',
            ),
            DeclareLaunchArgument(
                'state_dir',
                default_value='',
                description='Directory of keys and tokens; empty: as in config_file',
            ),
            DeclareLaunchArgument(
                'login_link',
                default_value='false',
                choices=['true', 'false'],
                description='Print a sign-in link for the operator page',
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
    """Start the broker with the given options."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    log_level = BROKER_LOG_LEVELS.get(value('log_level'), value('log_level'))
    arguments = ['--config', path_of('config_file', value('config_file'))]
    arguments += ['--log-level', log_level]
    for name, option in {'host': '--host', 'port': '--port'}.items():
        if value(name):
            arguments += [option, value(name)]
    if value('state_dir'):
        arguments += ['--state-dir', path_of('state_dir', value('state_dir'))]
    if value('login_link') == 'true':
        arguments += ['--login-link']
    return [Supervision.read(value).node('teleop_broker', arguments=arguments)]
