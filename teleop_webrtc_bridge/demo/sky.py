"""Paint the sky all around: a gradient, a sun, drifts of cloud and two ranges of hills."""

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

import math

import numpy as np
from numpy.typing import NDArray

from teleop_webrtc_bridge.demo.textures import Picture

__all__ = ['SKY_COLUMNS', 'paint_sky']

# Columns for a full turn; column 0 is east, and columns run clockwise, as the eye reads.
SKY_COLUMNS = 2880


def _waves(
    rng: np.random.Generator, angle: NDArray[np.float64], frequencies: tuple[int, ...]
) -> NDArray[np.float64]:
    # Whole frequencies only, so that the end of the turn meets its start.
    phases = rng.uniform(0.0, 2.0 * math.pi, len(frequencies))
    parts = [
        np.sin(f * angle + phase) / f**0.7 for f, phase in zip(frequencies, phases, strict=True)
    ]
    return np.asarray(sum(parts))


def _cover(picture: Picture, share: NDArray[np.float64], colour: tuple[float, ...]) -> None:
    picture += share[..., None].astype(np.float32) * (np.array(colour, np.float32) - picture)


def paint_sky(rows: int, focal_px: float) -> Picture:
    """
    Paint the sky as a band around the horizon.

    :param rows: Height of the band above the horizon, in pixels.
    :param focal_px: The camera's focal length, in pixels: what a slope is worth in rows.
    """
    rng = np.random.default_rng(11)
    angle = np.linspace(0.0, 2.0 * math.pi, SKY_COLUMNS, endpoint=False)[None, :]
    slope = ((rows - np.arange(rows) - 0.5) / focal_px)[:, None]
    picture = np.empty((rows, SKY_COLUMNS, 3), np.float32)
    picture[:] = (212.0, 226.0, 236.0)
    height = np.clip(slope / 0.5, 0.0, 1.0) ** 0.8 * np.ones_like(angle)
    _cover(picture, height, (72.0, 134.0, 206.0))
    drift = _waves(rng, angle + 1.6 * slope, (3, 5, 8, 13)) + _waves(rng, angle, (21, 34, 55))
    billow = drift + 0.9 * np.sin(26.0 * slope + 2.0 * _waves(rng, angle, (2, 5, 9)))
    cloud = np.clip((billow - 0.35) / 1.1, 0.0, 1.0)
    _cover(picture, 0.85 * cloud**1.5, (250.0, 250.0, 248.0))
    away = np.abs((angle - 0.75 * math.pi + math.pi) % (2.0 * math.pi) - math.pi)
    sun = np.hypot(away, slope - 0.36)
    _cover(picture, np.clip(np.exp(-((sun / 0.16) ** 2)), 0.0, 1.0) * 0.7, (255.0, 246.0, 214.0))
    _cover(picture, np.clip((0.05 - sun) / 0.006, 0.0, 1.0), (255.0, 252.0, 236.0))
    far = 0.23 + 0.05 * _waves(rng, angle, (2, 3, 7, 12, 19, 41))
    _cover(picture, (slope < far).astype(float), (156.0, 178.0, 204.0))
    near = 0.17 + 0.035 * _waves(rng, angle, (3, 4, 9, 17, 60, 130))
    _cover(picture, (slope < near).astype(float), (112.0, 144.0, 150.0))
    return picture
