"""Starts a launch file: with ROS's launch if installed, otherwise with the stand-in."""

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

from dataclasses import dataclass
import os
from pathlib import Path
from typing import Any

import launch
import pytest
from tree import ROOT

IS_STAND_IN = hasattr(launch, 'Run')
PACKAGE = 'teleop_webrtc_bridge'
DIES_WITH_LAUNCH = ['setpriv', '--pdeathsig', 'TERM']
#: The broker's first output, split at awkward places.
BROKER_OUTPUT = (b'2026 INFO listening\nOperator pa', b'ge: http://127.0.0.1:8765/#tok', b'en=t\n')


class Refused(Exception):
    """The launch file does not accept its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One process that a launch file has started."""

    executable: str
    arguments: tuple[str, ...]

    @property
    def remappings(self) -> dict[str, str]:
        """Return the arguments of ``-r``, including ``__node`` and ``__ns``."""
        return dict(rule.split(':=', 1) for rule in self._after('-r'))

    @property
    def parameters(self) -> dict[str, str]:
        """Return the arguments of ``-p``, verbatim."""
        return dict(rule.split(':=', 1) for rule in self._after('-p'))

    @property
    def params_files(self) -> list[str]:
        return self._after('--params-file')

    def _after(self, option: str) -> list[str]:
        pairs = zip(self.arguments, self.arguments[1:], strict=False)
        return [value for name, value in pairs if name == option]


def start(
    name: str, arguments: dict[str, str], *, count: int, output: tuple[bytes, ...] = BROKER_OUTPUT
) -> list[Started]:
    """
    Return the processes that a launch file starts, in order.

    :param count: Number of processes to wait for; real ones are then ended.
    :param output: Output of the stand-in's broker.
    :raises Refused: The launch file does not accept the arguments.
    """
    launch_file = ROOT / 'launch' / name
    if not IS_STAND_IN:
        commands = _start_for_real(launch_file, arguments, count)
    else:
        try:
            commands = launch.run(launch_file, arguments, output).commands
        except RuntimeError as error:
            raise Refused from error
    begin = len(DIES_WITH_LAUNCH)
    assert all(command[:begin] == DIES_WITH_LAUNCH for command in commands)
    return [
        Started(executable=Path(command[begin]).name, arguments=tuple(command[begin + 1 :]))
        for command in commands
    ]


def _start_for_real(launch_file: Path, arguments: dict[str, str], count: int) -> list[list[str]]:
    from ament_index_python.packages import get_package_prefix, PackageNotFoundError
    from launch.actions import EmitEvent, IncludeLaunchDescription, RegisterEventHandler
    from launch.event_handlers import OnProcessStart
    from launch.events import Shutdown
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    try:
        get_package_prefix(PACKAGE)
    except PackageNotFoundError:
        pytest.skip(f'{PACKAGE} is not built, or its install/setup.bash not sourced')
    commands: list[list[str]] = []

    def record(event: Any, context: Any) -> list[Any]:
        commands.append(list(event.cmd))
        return [EmitEvent(event=Shutdown())] if len(commands) == count else []

    service = launch.LaunchService(noninteractive=True)
    source = PythonLaunchDescriptionSource(str(launch_file))
    service.include_launch_description(
        launch.LaunchDescription(
            [
                RegisterEventHandler(OnProcessStart(on_start=record)),
                IncludeLaunchDescription(source, launch_arguments=arguments.items()),
            ]
        )
    )
    if service.run() != 0 and not commands:
        raise Refused
    return commands


def share() -> Path:
    """Return the folder in which the launch files look for the parameter files."""
    if IS_STAND_IN:
        return ROOT
    from ament_index_python.packages import get_package_share_directory

    return Path(os.path.join(get_package_share_directory(PACKAGE)))
