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

"""A simulated robot with its bridge and, without ``broker_url``, a broker: all on this machine."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

PACKAGE = 'teleop_webrtc_bridge'


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
                'use_sim_time',
                'log_level',
            )
        }.items(),
    )
    simulated_robot = Node(
        package=PACKAGE,
        executable='simulated_robot',
        namespace=LaunchConfiguration('namespace'),
        ros_arguments=[
            '--log-level',
            LaunchConfiguration('log_level'),
            '-p',
            ['use_sim_time:=', LaunchConfiguration('use_sim_time')],
        ],
        output='screen',
        on_exit=Shutdown(reason='the simulated robot has ended'),
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
                description="The bridge's parameters",
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
                description='Port of the broker that is started here, on loopback',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                choices=['true', 'false'],
                description='Take the time from /clock',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=['debug', 'info', 'warn', 'error', 'fatal'],
                description='Least severity of log lines',
            ),
            simulated_robot,
            bridge,
        ]
    )
