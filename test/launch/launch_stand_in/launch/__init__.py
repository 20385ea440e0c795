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

"""
Stands in for ROS's ``launch`` where that is missing: as much of it as our launch files use.

It starts nothing. :func:`run` tells which processes would be started, with which command lines;
the real ``launch`` was read, and run, to write down the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class LaunchDescriptionEntity:
    """What a launch description consists of."""


class Substitution:
    """A text that is known when the launch file runs."""

    def perform(self, context: LaunchContext) -> str:
        raise NotImplementedError


class LaunchContext:
    """The values of the launch arguments."""

    def __init__(self, launch_configurations: dict[str, str]) -> None:
        self.launch_configurations = launch_configurations


class LaunchDescription(LaunchDescriptionEntity):
    def __init__(self, entities: Iterable[LaunchDescriptionEntity]) -> None:
        self.entities = list(entities)


def text(value: Any, context: LaunchContext) -> str:
    """Return what a text, a substitution or a list of those comes to."""
    if isinstance(value, str):
        return value
    if isinstance(value, Substitution):
        return value.perform(context)
    return ''.join(text(part, context) for part in value)


def load(launch_file: Path) -> LaunchDescription:
    spec = importlib.util.spec_from_file_location('launch_file', launch_file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


class Run:
    """What happens when a launch file is started. Owned by the test that started it."""

    def __init__(self, output: Iterable[bytes]) -> None:
        self.started: list[Any] = []
        """The nodes, in the order of their start."""
        self.commands: list[list[str]] = []
        self._output = list(output)
        self._handlers: list[Any] = []

    def visit(self, entities: Iterable[Any], context: LaunchContext) -> None:
        for entity in entities:
            getattr(self, f'_{type(entity).__name__}')(entity, context)

    def _LaunchDescription(self, entity: Any, context: LaunchContext) -> None:
        self.visit(entity.entities, context)

    def _DeclareLaunchArgument(self, entity: Any, context: LaunchContext) -> None:
        default = text(entity.default_value, context)
        value = context.launch_configurations.setdefault(entity.name, default)
        if entity.choices is not None and value not in entity.choices:
            raise RuntimeError(f'Argument "{entity.name}" provided value "{value}" is not valid')

    def _OpaqueFunction(self, entity: Any, context: LaunchContext) -> None:
        self.visit(entity.function(context), context)

    def _RegisterEventHandler(self, entity: Any, context: LaunchContext) -> None:
        self._handlers.append(entity.event_handler)

    def _IncludeLaunchDescription(self, entity: Any, context: LaunchContext) -> None:
        for name, value in entity.launch_arguments:
            context.launch_configurations[name] = text(value, context)
        self.visit([load(Path(text(entity.source.location, context)))], context)

    def _Node(self, entity: Any, context: LaunchContext) -> None:
        self.started.append(entity)
        self.commands.append(entity.command(context))
        for handler in self._handlers:
            if handler.target_action is entity:
                for chunk in self._output:
                    self.visit(handler.on_stdout(SimpleNamespace(text=chunk)), context)


def run(launch_file: Path, arguments: dict[str, str], output: Iterable[bytes]) -> Run:
    """
    Return what would be started.

    :param output: What a process whose output is awaited writes, piece by piece.
    """
    result = Run(output)
    result.visit([load(launch_file)], LaunchContext(dict(arguments)))
    return result
