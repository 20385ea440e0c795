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

"""rclpy's executor for one thread, without what it does for several."""

from __future__ import annotations

from typing import Any

from rclpy.executors import SingleThreadedExecutor

__all__ = ['LoneExecutor']


class _Nobody:
    """Stands in for the guard condition that wakes other threads."""

    def trigger(self) -> None:
        """Wake nobody."""


class LoneExecutor(SingleThreadedExecutor):
    """
    Runs the callbacks of its nodes in one thread.

    rclpy's triggers its own guard condition twice for each callback, for threads that wait
    meanwhile. Here none does, so that all it causes is another turn for nothing, with a wait set
    made of every entity anew: a fifth of what a callback costs.
    """

    def _make_handler(self, *arguments: Any) -> Any:
        """As rclpy's (a private name): hand out a callback, which gets the guard condition."""
        guard, self._guard = self._guard, _Nobody()  # type: ignore[assignment]
        try:
            return super()._make_handler(*arguments)
        finally:
            self._guard = guard
