"""Of several ways the first that works counts, and the others leave nothing behind."""

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
from collections.abc import Callable, Coroutine
from functools import partial
import math
from typing import Any

import pytest

from teleop_webrtc_bridge.aiortc_support.ice_servers import first_of

PATIENCE_S = 60.0


class Way:
    """An end that has been found, which is its own transport."""

    def __init__(self) -> None:
        self.transport = self
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Ways:
    """Attempts that succeed, fail or hang, and what came of them."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.cancelled: list[str] = []
        self.failed: dict[str, str] = {}
        self.made = {'first': Way(), 'second': Way()}
        self.is_over = False

    async def take(self, name: str, deed: str) -> Any:
        self.began.append(name)
        if deed == 'works':
            return self.made[name]
        if deed == 'fails':
            raise OSError(name)
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            if deed == 'works too late':
                return self.made[name]
            raise

    def fails(self, name: str, error: BaseException) -> bool:
        self.failed[name] = type(error).__name__
        return self.is_over

    async def run(self, *deeds: str, pause_s: float = 0.0, time_s: float = PATIENCE_S) -> Any:
        attempts: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            name: partial(self.take, name, deed)
            for name, deed in zip(('first', 'second'), deeds, strict=True)
        }
        end_s = asyncio.get_running_loop().time() + time_s
        return await first_of(attempts, pause_s=pause_s, end_s=end_s, failed=self.fails)


async def test_what_works_is_not_followed_by_another() -> None:
    ways = Ways()
    assert await ways.run('works', 'works', pause_s=PATIENCE_S) == ('first', ways.made['first'])
    assert ways.began == ['first']


async def test_what_fails_is_followed_at_once_and_what_hangs_after_its_head_start() -> None:
    ways = Ways()
    found = await ways.run('fails', 'works', pause_s=math.inf)
    assert found == ('second', ways.made['second'])
    assert ways.failed == {'first': 'OSError'}
    ways = Ways()
    assert await ways.run('hangs', 'works') == ('second', ways.made['second'])
    assert (ways.cancelled, ways.failed) == (['first'], {})


async def test_what_hangs_to_the_end_has_failed() -> None:
    ways = Ways()
    assert await ways.run('hangs', 'fails', time_s=0.1) is None
    assert ways.failed == {'first': 'TimeoutError', 'second': 'OSError'}
    assert ways.cancelled == ['first']


async def test_a_failure_may_end_it_all() -> None:
    ways = Ways()
    ways.is_over = True
    assert await ways.run('fails', 'works') is None
    assert ways.began == ['first']


async def test_what_works_too_late_is_closed() -> None:
    ways = Ways()
    assert await ways.run('works too late', 'works') == ('second', ways.made['second'])
    assert ways.made['first'].is_closed
    assert not ways.made['second'].is_closed


@pytest.mark.parametrize('deed', ['hangs', 'works too late'])
async def test_a_search_that_is_given_up_leaves_nothing_behind(deed: str) -> None:
    ways = Ways()
    before = asyncio.all_tasks()
    search = asyncio.create_task(ways.run(deed, deed, pause_s=PATIENCE_S))
    # Once for the search, once for its attempt.
    for _ in range(2):
        await asyncio.sleep(0)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert ways.cancelled == ways.began == ['first']
    assert ways.made['first'].is_closed == (deed == 'works too late')
    assert asyncio.all_tasks() == before
