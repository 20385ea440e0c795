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
from launch.types import texts


class LaunchConfiguration(Substitution):
    def __init__(self, name: str, *, default: Any = None) -> None:
        self.name = texts(name)
        self.default = default if default is None else texts(default)

    def perform(self, context: LaunchContext) -> str:
        if self.default is not None and self.name not in context.launch_configurations:
            return text(self.default, context)
        return context.launch_configurations[self.name]


class PathJoinSubstitution(Substitution):
    def __init__(self, parts: list[Any]) -> None:
        self.parts = [texts(part) for part in parts]

    def perform(self, context: LaunchContext) -> str:
        return os.path.join(*(text(part, context) for part in self.parts))
