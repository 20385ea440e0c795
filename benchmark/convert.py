"""
Conversion of a frame from the slot to 4:2:0, by encoding: ``python3 -m benchmark.convert``.

Reports the processor time of a 720p picture, the median of a repeat. ``mono16 12`` is a camera
with 12-bit values; ``bgr8`` is the reference. ``--json FILE`` writes the figures.
"""

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

import statistics
import sys
import time
from typing import Any, Final

import numpy as np

import benchmark  # noqa: F401 - finds test/support
from benchmark.figures import Figures
from benchmark.running import machine, options, report, run
from teleop_webrtc_bridge.bridge.link.frame_slot import Frame, FrameHeader
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter

WIDTH, HEIGHT = 1280, 720
RATE_HZ: Final = 30.0
_RAMP: Final = (np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 4096).astype(np.uint16)
_RGB: Final = np.stack([_RAMP] * 3, -1)

CASES: Final = {
    'bgr8': ('bgr8', (_RGB >> 4).astype(np.uint8)),
    'mono16': ('mono16', _RAMP << 4),
    'mono16 12': ('mono16', _RAMP),
    '16UC1': ('16UC1', _RAMP * 2),
    '32FC1': ('32FC1', (_RAMP / 500).astype(np.float32)),
    'rgb16': ('rgb16', _RGB << 4),
    'rgb16 12': ('rgb16', _RGB),
    'bayer_rggb16': ('bayer_rggb16', _RAMP << 4),
    'bayer_rggb16 12': ('bayer_rggb16', _RAMP),
}


def measure(encoding: str, pixels: Any, seconds: float) -> Figures:
    """Convert one picture repeatedly; return the median processor time."""
    data = memoryview(pixels.tobytes())
    converter = FrameConverter()
    took_s: list[float] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        header = FrameHeader(
            capture_s=len(took_s) / RATE_HZ,
            width=WIDTH,
            height=HEIGHT,
            step=len(data) // HEIGHT,
            encoding=encoding,
        )
        frame = Frame(sequence=1, header=header, data=data, is_intact=lambda: True)
        begin_s = time.process_time()
        converter.convert(frame, max_width_px=WIDTH, scale=1.0)
        took_s.append(time.process_time() - begin_s)
    return {'cpu_ms': 1e3 * statistics.median(took_s)}


def main() -> None:
    """Measure, print and write."""
    arguments = options('convert', __doc__ or '', seconds=1.0).parse_args(sys.argv[1:])
    results: dict[str, list[Figures]] = {name: [] for name in CASES}
    for _ in range(arguments.repeats):
        for name, repeats in results.items():
            repeats.append(measure(*CASES[name], arguments.seconds))
    report(results, machine(), arguments.json)


if __name__ == '__main__':
    run('convert', main)
