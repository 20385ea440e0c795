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
from typing import Any

from launch import LaunchContext, LaunchDescriptionEntity, text


class Node(LaunchDescriptionEntity):
    def __init__(
        self,
        *,
        package: str,
        executable: str,
        name: str | None = None,
        namespace: Any = None,
        arguments: Iterable[Any] = (),
        ros_arguments: Iterable[Any] = (),
        remappings: Iterable[tuple[Any, Any]] = (),
        output: str,
        on_exit: Any,
    ) -> None:
        self.node_package = package
        self.node_executable = executable
        self.name = name
        self.namespace = namespace
        self.arguments = arguments
        self.ros_arguments = list(ros_arguments)
        self.remappings = remappings
        self.output = output
        self.on_exit = on_exit

    def command(self, context: LaunchContext) -> list[str]:
        """Return the command line that launch_ros makes, but for the executable's folder."""
        command = [self.node_executable, *(text(part, context) for part in self.arguments)]
        if self.ros_arguments:
            command += ['--ros-args', *(text(part, context) for part in self.ros_arguments)]
        command += ['--ros-args']
        if self.name is not None:
            command += ['-r', f'__node:={self.name}']
        if self.namespace is not None:
            namespace = text(self.namespace, context)
            command += ['-r', f'__ns:=/{namespace.removeprefix("/")}']
        for source, target in self.remappings:
            command += ['-r', f'{text(source, context)}:={text(target, context)}']
        return command
