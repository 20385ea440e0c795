"""The stand-in refuses the same arguments of our launch files as the real launch."""

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

from collections.abc import Callable
from typing import Any

import launch
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessIO
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
import pytest
from starting import IS_STAND_IN

PACKAGE = 'teleop_webrtc_bridge'


def node(**arguments: Any) -> Any:
    """Return a node with one argument that differs from ours."""
    ours = {
        'package': PACKAGE,
        'executable': 'teleop_bridge',
        'exec_name': 'teleop_bridge',
        'prefix': ['setpriv ', LaunchConfiguration('launch-prefix', default='')],
        'output': 'screen',
        'respawn': True,
        'respawn_delay': 1.0,
        'on_exit': lambda event, context: None,
    }
    return Node(**ours | arguments)


def argument(**arguments: Any) -> Any:
    return DeclareLaunchArgument(
        'name', **{'default_value': 'a', 'description': 'What it is'} | arguments
    )


@pytest.mark.parametrize(
    'make',
    [
        lambda: node(arguments=[1]),
        lambda: node(remappings=[['image', 'camera']]),
        lambda: node(remappings=[('image', 1)]),
        lambda: node(ros_arguments=('--log-level', 'info')),
        lambda: node(prefix=[1]),
        lambda: node(respawn=1),
        lambda: node(retries=1),
        lambda: argument(default_value=1),
        lambda: argument(default_value='c', choices=['a', 'b']),
        lambda: argument(choices=[]),
        lambda: OpaqueFunction(function='start'),
        lambda: OnProcessIO(target_action='broker', on_stdout=lambda event: None),
    ],
)
def test_both_refuse_what_no_action_can_have(make: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, RuntimeError)):
        make()


def test_both_take_what_is_ours() -> None:
    assert node(on_exit=[Shutdown(reason='it has ended')], namespace=LaunchConfiguration('name'))
    assert argument(choices=['a', 'b'])
    assert RegisterEventHandler(OnProcessIO(target_action=node(), on_stdout=lambda event: None))


@pytest.mark.skipif(
    not IS_STAND_IN, reason='the real one fails at the start or the end of the process'
)
@pytest.mark.parametrize(
    ('argument', 'value', 'error'),
    [
        ('namespace', 7, TypeError),
        ('on_exit', ['shutdown'], TypeError),
        ('on_exit', [None], TypeError),
        ('on_exit', [], AttributeError),
        ('respawn_delay', '1.0', TypeError),
    ],
)
def test_what_the_real_one_fails_at_later_is_refused_at_once(
    argument: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        node(**{argument: value})


@pytest.mark.skipif(not IS_STAND_IN, reason='asks the stand-in')
def test_what_is_no_entity_is_not_visited() -> None:
    run = launch.Run((), launch.LaunchContext({}))
    with pytest.raises(AttributeError):
        run.visit([OpaqueFunction(function=lambda context: ['node'])])
