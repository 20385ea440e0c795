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
from typing import Any

from launch.types import called, of_type


class OnProcessIO:
    def __init__(self, *, target_action: Any, on_stdout: Callable[[Any], Any]) -> None:
        from launch_ros.actions import Node

        self.target_action = of_type(target_action, Node, 'action_matcher')
        self.on_stdout = called(on_stdout, 'on_stdout')
