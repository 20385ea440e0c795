"""Fixtures: a counted broker, and programs that end while it still serves them."""

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
from collections.abc import AsyncIterator
from pathlib import Path

from counted_broker import counted_broker, CountedBroker
from programs import Programs
import pytest


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[CountedBroker]:
    async with counted_broker(tmp_path) as running:
        yield running


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[Programs]:
    """Start programs that end with the test, while the broker still serves them."""
    running = Programs(tmp_path)
    yield running
    await asyncio.to_thread(running.end)
