"""
Stand-in for ROS's ``launch`` where that is missing, limited to the parts our launch files use.

It starts nothing. :func:`run` returns the processes that would be started and their command lines,
and :meth:`Run.end` simulates their ends. It refuses the same arguments as the real one, see
:mod:`launch.types`. Its behaviour follows the source and test runs of Jazzy's ``launch``.
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

from collections.abc import Iterable
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class LaunchDescriptionEntity:
    """An element of a launch description."""


class Substitution:
    """A text that is only known when the launch file runs."""

    def perform(self, context: LaunchContext) -> str:
        raise NotImplementedError


class LaunchContext:
    """The values of the launch arguments."""

    def __init__(self, launch_configurations: dict[str, str]) -> None:
        self.launch_configurations = launch_configurations
        self.is_shutdown = False


class LaunchDescription(LaunchDescriptionEntity):
    def __init__(self, entities: Iterable[LaunchDescriptionEntity]) -> None:
        self.entities = list(entities)


def text(value: Any, context: LaunchContext) -> str:
    """Return the value of a text, a substitution, or a list of these."""
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
    """Simulated run of a launch file. Owned by the test that started it."""

    def __init__(self, output: Iterable[bytes], context: LaunchContext) -> None:
        self.started: list[Any] = []
        """The nodes, in the order of their start."""
        self.commands: list[list[str]] = []
        self.context = context
        self.shutdown = ''
        """Reason for the shutdown; empty while there is none."""
        self.status = 0
        """Exit status of launch itself, once it has ended."""
        self._output = list(output)
        self._handlers: list[Any] = []
        self._gone: list[Any] = []

    def end(self, node: Any, status: int) -> float | None:
        """
        Simulate the end of a process.

        :returns: Seconds until its restart; ``None`` if it is not restarted.
        """
        assert node not in self._gone
        event = SimpleNamespace(returncode=status, action=node)
        try:
            self.visit(node.exit_entities(event, self.context))
        except RuntimeError as error:
            # The real one reports the error and ends everything.
            self._shut_down(str(error), status=1)
        if node.respawn and node not in self._gone and not self.context.is_shutdown:
            return float(node.respawn_delay)
        return None

    def visit(self, entities: Iterable[Any] | None) -> None:
        for entity in () if entities is None else entities:
            if not isinstance(entity, LaunchDescriptionEntity):
                # The real one fails on its missing `visit`.
                raise AttributeError(f'{entity!r} is no LaunchDescriptionEntity')
            getattr(self, f'_{type(entity).__name__}')(entity, self.context)

    def _shut_down(self, reason: str, *, status: int = 0) -> None:
        self.shutdown, self.status = reason, status
        self.context.is_shutdown = True

    def _LaunchDescription(self, entity: Any, context: LaunchContext) -> None:
        self.visit(entity.entities)

    def _DeclareLaunchArgument(self, entity: Any, context: LaunchContext) -> None:
        default = text(entity.default_value, context)
        value = context.launch_configurations.setdefault(entity.name, default)
        if entity.choices is not None and value not in entity.choices:
            raise RuntimeError(f'Argument "{entity.name}" provided value "{value}" is not valid')

    def _OpaqueFunction(self, entity: Any, context: LaunchContext) -> None:
        self.visit(entity.function(context))

    def _RegisterEventHandler(self, entity: Any, context: LaunchContext) -> None:
        self._handlers.append(entity.event_handler)

    def _IncludeLaunchDescription(self, entity: Any, context: LaunchContext) -> None:
        for name, value in entity.launch_arguments:
            context.launch_configurations[name] = text(value, context)
        self.visit([load(Path(text(entity.source.location, context)))])

    def _EmitEvent(self, entity: Any, context: LaunchContext) -> None:
        self._gone += [node for node in self.started if entity.event.process_matcher(node)]

    def _Shutdown(self, entity: Any, context: LaunchContext) -> None:
        self._shut_down(entity.reason)

    def _Node(self, entity: Any, context: LaunchContext) -> None:
        self.started.append(entity)
        self.commands.append(entity.command(context))
        for handler in self._handlers:
            if handler.target_action is entity:
                for chunk in self._output:
                    self.visit(handler.on_stdout(SimpleNamespace(text=chunk)))


def run(launch_file: Path, arguments: dict[str, str], output: Iterable[bytes]) -> Run:
    """
    Return the simulated run of a launch file.

    :param output: Output, piece by piece, of a process whose output is awaited.
    """
    result = Run(output, LaunchContext(dict(arguments)))
    result.visit([load(launch_file)])
    return result
