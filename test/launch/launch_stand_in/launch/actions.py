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
from typing import Any

from launch import LaunchContext, LaunchDescriptionEntity


class DeclareLaunchArgument(LaunchDescriptionEntity):
    def __init__(
        self, name: str, *, default_value: Any, description: str, choices: list[str] | None = None
    ) -> None:
        self.name = name
        self.default_value = default_value
        self.description = description
        self.choices = choices


class OpaqueFunction(LaunchDescriptionEntity):
    def __init__(
        self, *, function: Callable[[LaunchContext], list[LaunchDescriptionEntity]]
    ) -> None:
        self.function = function


class RegisterEventHandler(LaunchDescriptionEntity):
    def __init__(self, event_handler: Any) -> None:
        self.event_handler = event_handler


class IncludeLaunchDescription(LaunchDescriptionEntity):
    def __init__(self, source: Any, *, launch_arguments: Iterable[tuple[str, Any]]) -> None:
        self.source = source
        self.launch_arguments = list(launch_arguments)


class Shutdown(LaunchDescriptionEntity):
    def __init__(self, *, reason: str) -> None:
        self.reason = reason
