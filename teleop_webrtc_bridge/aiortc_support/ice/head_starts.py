"""Several ways to one end, begun one after the other: the first that works counts (RFC 8305)."""

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

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from typing import Any, TypeVar

from aioice.ice import StunProtocol

__all__ = ['first_of']

K = TypeVar('K', bound=Hashable)


async def first_of(
    attempts: Mapping[K, Callable[[], Coroutine[Any, Any, StunProtocol]]],
    *,
    pause_s: float,
    end_s: float,
    failed: Callable[[K, BaseException], bool],
) -> tuple[K, StunProtocol] | None:
    """
    Return which attempt gave what; ``None``: none did. What others give as well is closed.

    :param attempts: In the order in which they begin.
    :param pause_s: The head start of each before the next, unless one fails by then.
    :param end_s: When all are given up, by the event loop's clock.
    :param failed: Told how each failed; returns whether the others need not be tried.
    """
    loop = asyncio.get_running_loop()
    waiting = list(attempts)
    running: dict[asyncio.Task[StunProtocol], K] = {}
    found: tuple[K, StunProtocol] | None = None
    is_over = False
    try:
        while not is_over and (waiting or running) and (left_s := end_s - loop.time()) > 0.0:
            if waiting:
                key = waiting.pop(0)
                running[loop.create_task(attempts[key]())] = key
            done, _ = await asyncio.wait(
                running,
                timeout=min(pause_s, left_s) if waiting else left_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            # In the order in which they began.
            for task in [task for task in running if task in done]:
                error = task.exception()
                if error is not None:
                    is_over |= failed(running.pop(task), error)
                elif found is None:
                    found, is_over = (running.pop(task), task.result()), True
        if not is_over:
            for key in (*running.values(), *waiting):
                failed(key, TimeoutError())
    finally:
        await _end(running, found)
    return found


async def _end(
    running: Mapping[asyncio.Task[StunProtocol], K], found: tuple[K, StunProtocol] | None
) -> None:
    """End what is not needed any more, also what was found if nobody waits for it any more."""
    for task in running:
        task.cancel()
    try:
        await asyncio.gather(*running, return_exceptions=True)
    except asyncio.CancelledError:
        if found is not None:
            found[1].transport.close()
        raise
    finally:
        for task in running:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().transport.close()
