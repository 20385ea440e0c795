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

import os
from typing import Any

from launch import LaunchContext, Substitution, text


class LaunchConfiguration(Substitution):
    def __init__(self, name: str) -> None:
        self.name = name

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self.name]


class EnvironmentVariable(Substitution):
    def __init__(self, name: str, *, default_value: str) -> None:
        self.name = name
        self.default_value = default_value

    def perform(self, context: LaunchContext) -> str:
        return os.environ.get(self.name, self.default_value)


class PathJoinSubstitution(Substitution):
    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

    def perform(self, context: LaunchContext) -> str:
        return os.path.join(*(text(part, context) for part in self.parts))
