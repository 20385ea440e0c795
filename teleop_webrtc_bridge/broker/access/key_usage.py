"""When each robot API key was last used: remembered at once, written once a minute."""

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
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from teleop_webrtc_bridge.broker.access.database import Database, DatabaseUnavailable

__all__ = ['KeyUsage']

WRITE_PERIOD_S: Final = 60.0
"""A robot shows its key every second; a broker that is killed forgets this much."""
FLUSH_TIMEOUT_S: Final = 0.3


class KeyUsage:
    """
    Owns what is not written yet; for the event loop's thread.

    :param wall_clock: Seconds since 1970.
    """

    def __init__(self, database: Database, wall_clock: Callable[[], float]) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._waiting: dict[str, float] = {}

    def note(self, key_id: str) -> None:
        """Note that a key is used now; never waits, never fails."""
        self._waiting[key_id] = self._wall_clock()

    def waiting(self) -> Mapping[str, float]:
        """Return what the database does not know yet: key → seconds since 1970."""
        return dict(self._waiting)

    async def write_for_ever(self) -> None:
        """Write what there is once a minute; ends only by cancellation."""
        while True:
            await asyncio.sleep(WRITE_PERIOD_S)
            await self.write()

    async def write(self) -> None:
        """Write what there is; what cannot be written now is kept for the next time."""
        written = self.waiting()
        if not written:
            return
        with suppress(DatabaseUnavailable):  # said by whoever watches its health
            await self._database.write(lambda store: store.note_key_usage(written))
            for key_id, at_s in written.items():
                if self._waiting.get(key_id) == at_s:
                    del self._waiting[key_id]

    async def flush(self) -> None:
        """Write what there is, if that is possible quickly."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await self.write()
