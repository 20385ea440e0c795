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
import shlex
from types import NoneType
from typing import Any

from launch import LaunchContext, LaunchDescriptionEntity, Substitution, text
from launch.types import entities, of_type, texts


class Node(LaunchDescriptionEntity):
    def __init__(
        self,
        *,
        package: Any,
        executable: Any,
        exec_name: Any = None,
        name: Any = None,
        namespace: Any = None,
        arguments: Iterable[Any] = (),
        ros_arguments: list[Any] | None = None,
        remappings: Iterable[tuple[Any, Any]] = (),
        prefix: Any = '',
        output: Any = 'log',
        respawn: Any = False,
        respawn_delay: float | None = None,
        on_exit: Any = None,
    ) -> None:
        self.node_package = texts(package)
        self.node_executable = texts(executable)
        self.exec_name = texts(executable if exec_name is None else exec_name)
        self.name = name if name is None else texts(name)
        self.namespace = namespace if namespace is None else texts(namespace)
        self.arguments = [texts(part) for part in arguments]
        # Added to a list.
        self.ros_arguments = [
            texts(part) for part in of_type(ros_arguments or [], list, 'ros_arguments')
        ]
        self.remappings = [self._rule(rule) for rule in remappings]
        self.prefix = texts(prefix)
        self.output = output if isinstance(output, dict) else texts(output)
        self.respawn = of_type(respawn, (bool, str, Substitution), 'respawn')
        # Compared with 0.0 when the process has ended: no text, no substitution.
        self.respawn_delay = of_type(respawn_delay, (float, int, type(None)), 'respawn_delay')
        self.on_exit = entities(on_exit)

    @staticmethod
    def _rule(rule: Any) -> tuple[Any, Any]:
        source, target = of_type(rule, tuple, 'remap_rule')
        return texts(source), texts(target)

    def exit_entities(self, event: Any, context: LaunchContext) -> Any:
        """Return the entities that follow the end of the process."""
        if callable(self.on_exit):
            return self.on_exit(event, context)
        return self.on_exit if isinstance(self.on_exit, list | NoneType) else [self.on_exit]

    def command(self, context: LaunchContext) -> list[str]:
        """Return the command line that launch_ros builds, except for the executable's folder."""
        command = shlex.split(text(self.prefix, context))
        command += [self.node_executable, *(text(part, context) for part in self.arguments)]
        if self.ros_arguments:
            command += ['--ros-args', *(text(part, context) for part in self.ros_arguments)]
        command += ['--ros-args']
        if self.name is not None:
            command += ['-r', f'__node:={text(self.name, context)}']
        if self.namespace is not None:
            namespace = text(self.namespace, context)
            command += ['-r', f'__ns:=/{namespace.removeprefix("/")}']
        for source, target in self.remappings:
            command += ['-r', f'{text(source, context)}:={text(target, context)}']
        return command
