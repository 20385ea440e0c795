"""
Shared parts of the launch files: programs that are restarted when they fail.

Imports ``launch`` and ``launch_ros``, so nothing else in this package may import this module.
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

from collections.abc import Callable
import math
import os
from typing import Any, Final

from launch import LaunchContext, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, Shutdown
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

__all__ = ['BROKER_LOG_LEVELS', 'PACKAGE', 'Supervision', 'path_of', 'respawn_arguments']

PACKAGE: Final = 'teleop_webrtc_bridge'
BROKER_LOG_LEVELS: Final = {'warn': 'warning', 'fatal': 'error'}
"""ROS level → the broker's, which is no ROS node and uses the names of Python's logging."""

REFUSED: Final = 2
"""Exit status of a program with an unusable configuration: a restart would not help."""
LEAST_DELAY_S: Final = 0.1
"""A program that fails at once must not occupy a processor, and launch needs a moment to learn
that a program is not to be started again."""
LONGEST_DELAY_S: Final = 3600.0
DIES_WITH_LAUNCH: Final = 'setpriv --pdeathsig TERM '
"""launch ends at once on SIGTERM and SIGKILL, and would leave its processes behind. ``setpriv``
belongs to util-linux, which every Debian has."""


def respawn_arguments() -> list[LaunchDescriptionEntity]:
    """Return the declarations of the arguments that :meth:`Supervision.read` reads."""
    return [
        DeclareLaunchArgument(
            'respawn',
            default_value='true',
            choices=['true', 'false'],
            description='Restart a program that has failed; not one that was refused (status '
            '2) or has ended in good order',
        ),
        DeclareLaunchArgument(
            'respawn_delay',
            default_value='1.0',
            description='How long to wait before that, in seconds: '
            f'{LEAST_DELAY_S} to {LONGEST_DELAY_S}',
        ),
    ]


class Supervision:
    """
    Decides what happens when a program of a launch ends.

    :param respawn: Whether to start it again after a failure.
    :param delay_s: Delay before that, in seconds.
    """

    def __init__(self, *, respawn: bool, delay_s: float) -> None:
        self._respawn = respawn
        self._delay_s = delay_s
        self._left = 0

    @classmethod
    def read(cls, value: Callable[[str], str]) -> Supervision:
        """
        Read the launch arguments.

        :param value: Returns a launch argument's value by its name.
        :raises RuntimeError: The delay is unusable.
        """
        text = value('respawn_delay')
        try:
            delay_s = float(text)
        except ValueError:
            delay_s = math.nan
        if not LEAST_DELAY_S <= delay_s <= LONGEST_DELAY_S:
            raise RuntimeError(
                f'respawn_delay: {text!r} is not usable; '
                f'allowed: a number of seconds from {LEAST_DELAY_S} to {LONGEST_DELAY_S}'
            )
        return cls(respawn=value('respawn') == 'true', delay_s=delay_s)

    def node(self, executable: str, *, others_go_on: bool = False, **arguments: Any) -> Node:
        """
        Return the launch action of a program of this package.

        :param others_go_on: Whether the other programs go on when this one has ended for good.
        :param arguments: Further arguments of launch_ros' Node.
        """
        self._left += 1

        def on_exit(
            event: ProcessExited, context: LaunchContext
        ) -> list[LaunchDescriptionEntity] | None:
            status = event.returncode
            is_failure = status not in (0, REFUSED)
            if context.is_shutdown or (is_failure and self._respawn):
                return None
            self._left -= 1
            if others_go_on and self._left:
                # launch would start it again; this makes launch consider the process finished.
                return [EmitEvent(event=ShutdownProcess(process_matcher=matches_action(node)))]
            if status == 0:
                return [Shutdown(reason=f'{executable} has ended')]
            # launch's own status is 1 after an exception; after a Shutdown it would be 0.
            raise RuntimeError(f'{executable} has ended with status {status}')

        node = Node(
            package=PACKAGE,
            executable=executable,
            # Else launch names the process after the prefix.
            exec_name=executable,
            prefix=[DIES_WITH_LAUNCH, LaunchConfiguration('launch-prefix', default='')],
            output='screen',
            respawn=self._respawn,
            respawn_delay=self._delay_s,
            on_exit=on_exit,
            **arguments,
        )
        return node


def path_of(name: str, text: str) -> str:
    """
    Return a path with ``~`` expanded, which no shell does after ``:=``.

    :param name: Name of the launch argument.
    :raises RuntimeError: It begins with the name of an unknown user.
    """
    path = os.path.expanduser(text)
    if path.startswith('~'):
        raise RuntimeError(f'{name}: {text!r}: there is no such home folder')
    return path
