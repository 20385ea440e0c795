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

from collections.abc import Callable, Iterable
import inspect
from typing import Any

from launch import LaunchContext, LaunchDescriptionEntity
from launch.event_handlers import OnProcessIO
from launch.events.process import ShutdownProcess
from launch.types import called, of_type, texts


class DeclareLaunchArgument(LaunchDescriptionEntity):
    def __init__(
        self, name: str, *, default_value: Any, description: str, choices: list[str] | None = None
    ) -> None:
        self.name = of_type(name, str, 'name')
        self.default_value = texts(default_value)
        self.description = of_type(description, str, 'description')
        if choices is not None:
            if not choices:
                raise RuntimeError('Provided choices arg is empty')
            if isinstance(default_value, str) and default_value not in choices:
                raise RuntimeError(f'Provided default_value "{default_value}" is not in choices')
        self.choices = choices


class OpaqueFunction(LaunchDescriptionEntity):
    def __init__(
        self, *, function: Callable[[LaunchContext], list[LaunchDescriptionEntity]]
    ) -> None:
        self.function = called(function, 'function')
        # The real one calls it like this.
        inspect.signature(function).bind(None)


class RegisterEventHandler(LaunchDescriptionEntity):
    def __init__(self, event_handler: Any) -> None:
        self.event_handler = of_type(event_handler, OnProcessIO, 'event_handler')


class IncludeLaunchDescription(LaunchDescriptionEntity):
    def __init__(self, source: Any, *, launch_arguments: Iterable[tuple[str, Any]]) -> None:
        self.source = source
        self.launch_arguments = [(name, texts(value)) for name, value in launch_arguments]


class EmitEvent(LaunchDescriptionEntity):
    def __init__(self, *, event: Any) -> None:
        self.event = of_type(event, ShutdownProcess, 'event')


class Shutdown(LaunchDescriptionEntity):
    def __init__(self, *, reason: str) -> None:
        self.reason = of_type(reason, str, 'reason')
