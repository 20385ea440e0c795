"""Faults of the database of a running broker."""

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
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
import os
from pathlib import Path
import shutil
import sqlite3
from typing import Final

from failing_disk import FailingDisk

SLOW_S: Final = 2.0
DATABASE: Final = 'broker.sqlite3'


class Fault:
    """
    A fault of the database of a running broker.

    :param begin: Starts the fault and returns a function that ends it.
    """

    def __init__(self, begin: Callable[[], Callable[[], object]]) -> None:
        self._begin = begin

    @asynccontextmanager
    async def lasting(self) -> AsyncIterator[None]:
        end = await asyncio.to_thread(self._begin)
        try:
            yield
        finally:
            await asyncio.to_thread(end)


def faults(state_dir: Path, disk: FailingDisk | None) -> Mapping[str, Fault]:
    """
    Return the possible faults of a database, by name.

    :param disk: The disk that holds the database, if it can be made to fail.
    """
    file = state_dir / DATABASE

    def lock() -> Callable[[], object]:
        other = sqlite3.connect(file, isolation_level=None, timeout=30.0, check_same_thread=False)
        other.execute('BEGIN EXCLUSIVE')
        return other.close

    def copy() -> Path:
        path = state_dir / 'copy'
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
        return path

    def replace() -> Callable[[], object]:
        os.replace(copy(), file)
        return lambda: None

    def remove() -> Callable[[], object]:
        elsewhere = file.rename(state_dir / 'elsewhere')
        return lambda: elsewhere.rename(file)

    def overwrite() -> Callable[[], object]:
        good = copy()
        file.write_bytes(b'garbage' * 10_000)
        return lambda: shutil.copyfile(good, file)

    found = {
        'nothing': Fault(lambda: lambda: None),
        'locked': Fault(lock),
        'replaced by one of ours': Fault(replace),
        'removed': Fault(remove),
        'overwritten with garbage': Fault(overwrite),
    }
    if disk is not None:
        for name, begin in {
            'disk full': disk.is_full,
            'disk read-only': disk.is_read_only,
            'each sync takes 2 s': lambda: disk.syncs_slowly(SLOW_S),
            'each write takes 2 s': lambda: disk.is_slow(SLOW_S),
        }.items():
            found[name] = Fault(_of_disk(disk, begin))
    return found


def _of_disk(disk: FailingDisk, begin: Callable[[], None]) -> Callable[[], Callable[[], object]]:
    def fail() -> Callable[[], object]:
        begin()
        return disk.works

    return fail
