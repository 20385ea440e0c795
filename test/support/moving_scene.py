"""Pictures that keep an encoder busy: a shaking camera in front of a carpet."""

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
from typing import Any

import numpy as np
from webrtc_half import WebrtcHalf

WIDTH, HEIGHT = 640, 360
MARGIN = 64


class MovingScene:
    """
    Send pictures to a WebRTC process until cancelled.

    :param fps: Pictures per second.
    """

    def __init__(self, half: WebrtcHalf, *, fps: float) -> None:
        self._half = half
        self._period_s = 1.0 / fps
        source = np.random.default_rng(5)
        carpet = np.zeros((HEIGHT + MARGIN, WIDTH + MARGIN))
        for size, height in ((4, 30), (16, 60), (64, 120)):
            rows, columns = -(-carpet.shape[0] // size), -(-carpet.shape[1] // size)
            coarse = source.random((rows, columns)) * height
            fine = np.kron(coarse, np.ones((size, size)))
            carpet += fine[: carpet.shape[0], : carpet.shape[1]]
        self._carpet: np.ndarray[Any, Any] = carpet.astype(np.uint8)
        self._source = source

    async def run(self) -> None:
        while True:
            y, x = self._source.integers(0, MARGIN, 2)
            self._half.show_pixels(self._carpet[y : y + HEIGHT, x : x + WIDTH])
            await asyncio.sleep(self._period_s)
