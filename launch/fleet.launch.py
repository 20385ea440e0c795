"""
The bridges of several robots, one node each, all under one API key.

The robots are listed in ``robots_file``; config/fleet.yaml explains it. They dial ``broker_url``
with the key from the environment variable ``TELEOP_API_KEY`` or from ``api_key_file``.
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
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
import yaml

from teleop_webrtc_bridge.processes.launching import (
    PACKAGE,
    path_of,
    respawn_arguments,
    Supervision,
)

NAMESPACE = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)
TEXTS = ('robot_id', 'namespace', 'image_topic', 'cmd_vel_topic', 'params_file')
LIMITS = tuple(f'max_{kind}_{axis}' for kind in ('linear', 'angular') for axis in 'xyz')
LARGEST_LIMIT = 10.0
MAX_ID_CHARS = 64


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'robots_file',
                default_value=PathJoinSubstitution(
                    [FindPackageShare(PACKAGE), 'config', 'fleet.yaml']
                ),
                description='YAML file that lists the robots',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=PathJoinSubstitution(
                    [FindPackageShare(PACKAGE), 'config', 'go2.yaml']
                ),
                description='Parameters of the robots that do not name their own file',
            ),
            DeclareLaunchArgument(
                'broker_url',
                default_value='',
                description='Broker to dial (https://…); empty: as in each params_file',
            ),
            DeclareLaunchArgument(
                'api_key_file',
                default_value='',
                description='File with the API key of all robots; '
                'empty: as in each params_file, or the variable TELEOP_API_KEY',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='',
                choices=['', 'true', 'false'],
                description='Use the time from /clock; empty: as in each params_file',
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
    """Start one bridge for each robot in the file."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    supervision = Supervision.read(value)
    robots = read_robots(
        Path(path_of('robots_file', value('robots_file'))),
        default_params_file=path_of('params_file', value('params_file')),
    )
    return [bridge(value, supervision, robot) for robot in robots]


def read_robots(robots_file: Path, *, default_params_file: str) -> list[dict]:
    """Return the robots of a file, complete and checked."""
    try:
        document = yaml.safe_load(robots_file.read_text(encoding='utf-8'))
    except OSError as error:
        raise refused(robots_file, f'cannot be read: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'; line {mark.line + 1}' if mark is not None else ''
        raise refused(robots_file, f'is not YAML{where}') from None
    entries = document.get('robots') if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or set(document) != {'robots'}:
        raise refused(robots_file, "must be a map with one key, 'robots': a list of robots")
    robots: list[dict] = []
    for number, entry in enumerate(entries, 1):
        robot = checked(robots_file, f'robot {number}', entry)
        robot.setdefault('namespace', namespace_of(robot['robot_id']))
        if 'params_file' in robot:
            # A robot's own path is relative to robots_file; an absolute path is unchanged.
            own = path_of(f'{robots_file}: robot {number}: params_file', robot['params_file'])
            robot['params_file'] = str(robots_file.parent / own)
        else:
            robot['params_file'] = default_params_file
        if not Path(robot['params_file']).is_file():
            raise refused(
                robots_file, f'robot {number}: params_file {robot["params_file"]} is not a file'
            )
        refuse_twins(robots_file, robots, robot)
        robots.append(robot)
    return robots


def checked(robots_file: Path, which: str, entry: object) -> dict:
    """Return the entry of one robot."""

    def refuse(what: str) -> RuntimeError:
        return refused(robots_file, f'{which}: {what}')

    if not isinstance(entry, dict):
        raise refuse(f'{entry!r} is not a map with a robot_id')
    for name, it in entry.items():
        if name not in (*TEXTS, 'limits'):
            raise refuse(f'unknown key {name!r}; allowed: {", ".join(TEXTS)}, limits')
        if name in TEXTS and (not isinstance(it, str) or not it or not it.isprintable()):
            raise refuse(f'{name}: {it!r} is not a text; quote values that look like numbers')
    if not 1 <= len(entry.get('robot_id', '')) <= MAX_ID_CHARS:
        raise refuse(f'robot_id is required, with 1 to {MAX_ID_CHARS} characters')
    if 'namespace' in entry and not NAMESPACE.fullmatch(entry['namespace']):
        raise refuse(
            f'namespace: {entry["namespace"]!r} is not usable; '
            'allowed: letters, digits, underscores and slashes, for example go2_a'
        )
    limits = entry.get('limits', {})
    if not isinstance(limits, dict):
        raise refuse(f'limits: {limits!r} is not a map')
    for name, it in limits.items():
        if name not in LIMITS:
            raise refuse(f'unknown limit {name!r}; allowed: {", ".join(LIMITS)}')
        is_number = isinstance(it, int | float) and not isinstance(it, bool)
        if not is_number or not 0.0 <= it <= LARGEST_LIMIT:
            raise refuse(f'{name}: {it!r} is not a number from 0.0 to {LARGEST_LIMIT}')
    return dict(entry)


def refuse_twins(robots_file: Path, robots: list[dict], robot: dict) -> None:
    """Refuse a robot that has the id or the topics of another one."""
    number = len(robots) + 1
    for name in ('robot_id', 'namespace'):
        for other, it in enumerate(robots, 1):
            if it[name].strip('/') == robot[name].strip('/'):
                raise refused(
                    robots_file,
                    f'robots {other} and {number} have the same {name} {robot[name]!r}; '
                    f'give each its own {name}',
                )


def namespace_of(robot_id: str) -> str:
    """Return the namespace of a robot that names none."""
    namespace = re.sub(r'\W', '_', robot_id, flags=re.ASCII)
    return f'_{namespace}' if namespace[0].isdigit() else namespace


def refused(robots_file: Path, why: str) -> RuntimeError:
    return RuntimeError(f'{robots_file}: {why}')


def bridge(value: Callable[[str], str], supervision: Supervision, robot: dict) -> Node:
    """
    Return the bridge node of one robot.

    :param value: Returns a launch argument's value by its name.
    """
    overrides = {
        'robot_id': robot['robot_id'],
        'broker_url': value('broker_url'),
        'api_key_file': path_of('api_key_file', value('api_key_file')),
    }
    # Of several sources of a parameter the last one wins: the command line over params_file. A
    # JSON string is always a string in YAML; go2.launch.py explains why no other way is used.
    parameters = ['--params-file', robot['params_file']]
    for name, text in overrides.items():
        if text:
            parameters += ['-p', f'{name}:={json.dumps(text, ensure_ascii=False)}']
    for name, limit in robot.get('limits', {}).items():
        parameters += ['-p', f'{name}:={float(limit)}']
    if value('use_sim_time'):
        parameters += ['-p', f'use_sim_time:={value("use_sim_time")}']
    return supervision.node(
        'teleop_bridge',
        others_go_on=True,
        name='teleop_bridge',
        namespace=robot['namespace'],
        ros_arguments=['--log-level', value('log_level'), *parameters],
        remappings=[
            ('image', robot.get('image_topic', 'camera/image_raw')),
            ('cmd_vel', robot.get('cmd_vel_topic', 'cmd_vel')),
        ],
    )
