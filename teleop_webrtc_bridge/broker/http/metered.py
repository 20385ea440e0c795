"""Processor time of one coroutine, whatever else the event loop does while it waits."""

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

from collections.abc import Awaitable, Callable, Generator
import time
from typing import Any, Generic, TypeVar

__all__ = ['Metered']

_T = TypeVar('_T')


class Metered(Generic[_T]):
    """
    Awaits something once, and adds up the processor time of its steps.

    Other tasks that it starts, and threads, do not count.
    """

    def __init__(self, awaitable: Awaitable[_T]) -> None:
        self.cpu_s = 0.0
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, _T]:
        steps = self._awaitable.__await__()
        resume: Callable[[Any], Any] = steps.send
        brought: Any = None
        while True:
            began_s = time.thread_time()
            try:
                awaited = resume(brought)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]
            finally:
                self.cpu_s += time.thread_time() - began_s
            try:
                resume, brought = steps.send, (yield awaited)
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001
                # Cancellation, say: it is up to what is awaited.
                resume, brought = steps.throw, error
