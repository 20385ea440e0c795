"""A simulated robot with its bridge and, without ``broker_url``, a broker: all on this machine."""

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
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from teleop_webrtc_bridge.processes.launching import PACKAGE, respawn_arguments, Supervision

REAR_CAMERA = 'camera_rear/image_raw'


def generate_launch_description() -> LaunchDescription:
    share = FindPackageShare(PACKAGE)
    bridge = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, 'launch', 'go2.launch.py'])),
        launch_arguments={
            name: LaunchConfiguration(name)
            for name in (
                'robot_id',
                'params_file',
                'namespace',
                'broker_url',
                'broker_port',
                'image_topic',
                'cmd_vel_topic',
                'use_sim_time',
                'log_level',
                'respawn',
                'respawn_delay',
            )
        }.items(),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'robot_id',
                default_value='demo-1',
                description='Identity of the simulated robot',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=PathJoinSubstitution([share, 'config', 'go2.yaml']),
                description="File with the bridge's parameters",
            ),
            DeclareLaunchArgument(
                'namespace',
                default_value='',
                description='Namespace of all topics: letters, digits, underscores, slashes',
            ),
            DeclareLaunchArgument(
                'broker_url',
                default_value='',
                description='Broker to dial (https://…); empty: one is started on this machine',
            ),
            DeclareLaunchArgument(
                'broker_port',
                default_value='8765',
                description='Port of the broker that is started on this machine, on loopback',
            ),
            DeclareLaunchArgument(
                'image_topic',
                default_value='camera/image_raw',
                description="Topic of the simulated robot's camera; "
                f'{REAR_CAMERA}: the rear camera',
            ),
            DeclareLaunchArgument(
                'cmd_vel_topic',
                default_value='cmd_vel',
                description='Topic of the velocities between bridge and simulated robot',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                choices=['true', 'false'],
                description='Use the time from /clock',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=['debug', 'info', 'warn', 'error', 'fatal'],
                description='Minimum severity of log messages',
            ),
            *respawn_arguments(),
            OpaqueFunction(function=start_robot),
            bridge,
        ]
    )


def start_robot(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start the simulated robot, with the topics of its bridge."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    remappings = [('cmd_vel', value('cmd_vel_topic'))]
    # The other camera keeps its topic.
    if not value('image_topic').endswith(REAR_CAMERA):
        remappings.append(('camera/image_raw', value('image_topic')))
    return [
        Supervision.read(value).node(
            'simulated_robot',
            namespace=value('namespace'),
            ros_arguments=[
                *('--log-level', value('log_level')),
                *('-p', f'use_sim_time:={value("use_sim_time")}'),
            ],
            remappings=remappings,
        )
    ]
