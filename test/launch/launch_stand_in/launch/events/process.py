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

from launch.types import called


class ProcessExited:
    """For annotations only; :meth:`launch.Run.end` creates its own events."""


class ShutdownProcess:
    def __init__(self, *, process_matcher: Callable[[Any], bool]) -> None:
        self.process_matcher = called(process_matcher, 'process_matcher')
